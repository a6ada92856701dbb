//! See `peer` in `vchan/tests/hostile_peer/fuzz.rs`.
#![no_main]
#![allow(dead_code, reason = "the tests use more of it")]

#[path = "../../tests/hostile_peer/attack.rs"]
mod attack;
#[path = "../../tests/hostile_peer/fuzz.rs"]
mod fuzz;
#[path = "../../tests/hostile_peer/platform.rs"]
mod platform;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::peer(data));
