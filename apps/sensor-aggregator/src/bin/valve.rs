//! The stage `valve`: a simulated valve that obeys commands.
#![cfg_attr(xen_guest, no_std, no_main)]

#[cfg(xen_guest)]
unikernel::image!(sensor_aggregator::Valve);
#[cfg(not(xen_guest))]
process::main!(sensor_aggregator::Valve);
