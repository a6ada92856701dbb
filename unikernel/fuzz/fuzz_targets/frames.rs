//! See `unikernel::net::fuzz::frames`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| unikernel::net::fuzz::frames(data));
