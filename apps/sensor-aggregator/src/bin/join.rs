//! The stage `join`: brings readings together that belong to the same time.
#![cfg_attr(xen_guest, no_std, no_main)]

#[cfg(xen_guest)]
unikernel::image!(sensor_aggregator::Join);
#[cfg(not(xen_guest))]
process::main!(sensor_aggregator::Join);
