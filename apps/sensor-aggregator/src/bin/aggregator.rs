//! The image `aggregator`: statistics of every series over tumbling windows.
#![cfg_attr(xen_guest, no_std, no_main)]

unikernel::image!(sensor_aggregator::Aggregator);
