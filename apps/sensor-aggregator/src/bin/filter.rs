//! The image `filter`: readings calibrated, bounded and smoothed.
#![cfg_attr(xen_guest, no_std, no_main)]

unikernel::image!(sensor_aggregator::Filter);
