//! The image `detect`: alerts when a series leaves what is usual.
#![cfg_attr(xen_guest, no_std, no_main)]

unikernel::image!(sensor_aggregator::Detect);
