//! Hermit's system calls, for programs written to `hermit-abi`: thin shims over the rooms before.
//!
//! So far memory, output, time, entropy and the end. Errors are negative errno values, as Hermit's are. Each call stands in a
//! list beside its declaration in `hermit-abi`, so that the compiler compares the two types.
#![expect(unsafe_code, reason = "a C interface")]

mod env;
mod io;
mod memory;
mod time;

pub use env::{sys_abort, sys_exit, sys_read_entropy};
pub use io::sys_write;
pub use memory::{sys_free, sys_malloc, sys_realloc};
pub use time::sys_clock_gettime;

const _: [unsafe extern "C" fn(usize, usize) -> *mut u8; 2] = [hermit_abi::malloc, sys_malloc];
const _: [unsafe extern "C" fn(*mut u8, usize, usize, usize) -> *mut u8; 2] =
    [hermit_abi::realloc, sys_realloc];
const _: [unsafe extern "C" fn(*mut u8, usize, usize); 2] = [hermit_abi::free, sys_free];
const _: [unsafe extern "C" fn(i32, *const u8, usize) -> isize; 2] = [hermit_abi::write, sys_write];
const _: [unsafe extern "C" fn(i32) -> !; 2] = [hermit_abi::exit, sys_exit];
const _: [unsafe extern "C" fn() -> !; 2] = [hermit_abi::abort, sys_abort];
const _: [unsafe extern "C" fn(hermit_abi::clockid_t, *mut hermit_abi::timespec) -> i32; 2] =
    [hermit_abi::clock_gettime, sys_clock_gettime];
const _: [unsafe extern "C" fn(*mut u8, usize, u32) -> isize; 2] =
    [hermit_abi::read_entropy, sys_read_entropy];
