//! The stage `aggregator`: statistics of every series over tumbling windows.
#![cfg_attr(xen_guest, no_std, no_main)]

#[cfg(xen_guest)]
unikernel::image!(sensor_aggregator::Aggregator);
#[cfg(not(xen_guest))]
process::main!(sensor_aggregator::Aggregator);
