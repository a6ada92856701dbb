//! `udp-bench`: measures UDP, on Linux; there is no such image.
#![cfg_attr(xen_guest, no_std, no_main)]

#[cfg(xen_guest)]
use ::bench as _;
#[cfg(not(xen_guest))]
process::main!(bench::UdpBench, bench::udp::main);
