//! `tcp-bench`: measures TCP over the network interface, against anything at the other end.
#![cfg_attr(xen_guest, no_std, no_main)]

#[cfg(xen_guest)]
unikernel::image!(bench::TcpBench, bench::tcp::main);
#[cfg(not(xen_guest))]
process::main!(bench::TcpBench, bench::tcp::main);
