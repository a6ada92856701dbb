//! The rooms of the network against a back end in ordinary memory.

extern crate std;

mod dhcp;
mod flood;
mod hostile;
mod lan;
mod lifecycle;
mod offload;
mod peers;
mod rings;
mod streams;

use proptest::test_runner::Config;

/// `usual` cases, or as many as `PROPTEST_CASES` asks for.
pub fn cases(usual: u32) -> Config {
    if is_soak() {
        return Config::default();
    }
    Config::with_cases(usual)
}

/// Whether the long forms of tests are asked for, as `make soak` does.
pub fn is_soak() -> bool {
    std::env::var_os("PROPTEST_CASES").is_some()
}
