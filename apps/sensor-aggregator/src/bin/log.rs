//! The image `log`: every reading on the console.
#![cfg_attr(xen_guest, no_std, no_main)]

unikernel::image!(sensor_aggregator::Log);
