//! The image `probe`: does one thing on request, for the lab's tests.
#![cfg_attr(xen_guest, no_std, no_main)]

unikernel::image!(probe_image::Probe, probe_image::main);
