//! The image `vchan-bench`: measures vchan, against anything that speaks it at the other end.
#![cfg_attr(xen_guest, no_std, no_main)]

unikernel::image!(bench::VchanBench, bench::vchan::main);
