//! `vchan-bench`: measures vchan, against anything that speaks it at the other end.
#![cfg_attr(xen_guest, no_std, no_main)]

#[cfg(xen_guest)]
unikernel::image!(bench::VchanBench, bench::vchan::main);
#[cfg(not(xen_guest))]
process::main!(bench::VchanBench, bench::vchan::main);
