//! The stage `filter`: readings calibrated, bounded and smoothed.
#![cfg_attr(xen_guest, no_std, no_main)]

#[cfg(xen_guest)]
unikernel::image!(sensor_aggregator::Filter);
#[cfg(not(xen_guest))]
process::main!(sensor_aggregator::Filter);
