//! The image `sensor`: replays recorded readings, or makes up a signal.
#![cfg_attr(xen_guest, no_std, no_main)]

unikernel::image!(sensor_aggregator::Sensor);
