//! The stage `actuate`: turns alerts into commands.
#![cfg_attr(xen_guest, no_std, no_main)]

#[cfg(xen_guest)]
unikernel::image!(sensor_aggregator::Actuate);
#[cfg(not(xen_guest))]
process::main!(sensor_aggregator::Actuate);
