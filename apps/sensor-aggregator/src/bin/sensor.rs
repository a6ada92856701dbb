//! The stage `sensor`: replays recorded readings, or makes up a signal.
#![cfg_attr(xen_guest, no_std, no_main)]

#[cfg(xen_guest)]
unikernel::image!(sensor_aggregator::Sensor);
#[cfg(not(xen_guest))]
process::main!(sensor_aggregator::Sensor);
