//! The stage `scale`, as an image and as a process.
#![cfg_attr(xen_guest, no_std, no_main)]

#[cfg(xen_guest)]
unikernel::image!(scale::Scale);
#[cfg(not(xen_guest))]
process::main!(scale::Scale);
