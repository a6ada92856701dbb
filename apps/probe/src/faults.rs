//! Ends that nobody wants. Each is one that Xen or the library OS has to notice.
#![expect(unsafe_code, reason = "instructions that fault")]

use core::arch::asm;
use core::hint::black_box;

/// Writes where a null pointer points.
pub fn write_to_null() -> ! {
    // SAFETY: page 0 is never mapped, so the instruction changes nothing: it faults.
    unsafe { asm!("mov byte ptr [{}], 1", in(reg) 0_usize) };
    panic!("a write to address 0 did not fault");
}

/// Executes the instruction that is none.
pub fn invalid_opcode() -> ! {
    // SAFETY: the fault's handler ends the domain.
    unsafe { asm!("ud2", options(noreturn)) }
}

/// Says where the page below the stack is, and calls itself until it gets there.
pub fn overflow_the_stack() -> ! {
    #[cfg(xen_guest)]
    log::info!(
        "guard page at {:#x}",
        unikernel::boot::guard_page().as_u64()
    );
    unikernel::console::drain();
    panic!("a stack of {} calls did not overflow", descend(1));
}

/// A call needs its frame as long as something is left to do after it.
fn descend(depth: u64) -> u64 {
    let frame = black_box([depth; 16]);
    match black_box(depth) {
        0 => 0,
        _ => descend(depth + 1).wrapping_add(frame[15]),
    }
}
