//! vchan's calls on the data path, each as a function of its own, for the linker to look at (`tests/link.rs`).
//!
//! The platform is the worst there is: every call of it leaves this library for a function that nobody defines, so the
//! optimizer knows nothing about what it returns. A panic and an allocation do the same. What the linker finds behind a call
//! is what the call can do, whatever the peer stores and whatever the platform answers.
#![cfg_attr(feature = "linked", no_std)]
// Empty but for `tests/link.rs`: with `std` beside it, as in a build of all packages with their tests, it could not have a panic
// handler of its own.
#![cfg(feature = "linked")]
#![expect(
    unsafe_code,
    reason = "symbols for the linker, and functions of no library"
)]

extern crate alloc;

mod calls;
mod platform;

use core::alloc::{GlobalAlloc, Layout};
use core::panic::PanicInfo;

unsafe extern "C" {
    safe fn vchan_panics(info: *const ()) -> !;
    safe fn vchan_allocates() -> *mut u8;
    safe fn vchan_deallocates();
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    // With what it says it leaves, or the compiler makes one function of all that panic.
    vchan_panics(core::ptr::from_ref(info).cast())
}

struct Heap;

// SAFETY: never called: nothing of this library runs.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        vchan_allocates()
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {
        vchan_deallocates();
    }
}

#[global_allocator]
static HEAP: Heap = Heap;
