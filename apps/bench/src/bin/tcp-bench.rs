//! The image `tcp-bench`: measures TCP over the network interface, against anything at the other end.
#![cfg_attr(xen_guest, no_std, no_main)]

unikernel::image!(bench::TcpBench, bench::tcp::main);
