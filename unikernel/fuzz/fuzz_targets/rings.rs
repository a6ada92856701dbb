//! See `unikernel::net::fuzz::rings`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| unikernel::net::fuzz::rings(data));
