//! The stage `detect`: alerts when a series leaves what is usual.
#![cfg_attr(xen_guest, no_std, no_main)]

#[cfg(xen_guest)]
unikernel::image!(sensor_aggregator::Detect);
#[cfg(not(xen_guest))]
process::main!(sensor_aggregator::Detect);
