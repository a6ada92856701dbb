//! The stage `log`: every reading on the console.
#![cfg_attr(xen_guest, no_std, no_main)]

#[cfg(xen_guest)]
unikernel::image!(sensor_aggregator::Log);
#[cfg(not(xen_guest))]
process::main!(sensor_aggregator::Log);
