//! Faults: one line with place and cause on the console, then the end with reason *crash*.
//!
//! Xen pushes its bounce frame onto the current stack. So a stack overflow, which faults on the guard page, leaves no place for
//! the frame: Xen itself ends the domain then, with reason *crash* and the registers in its own log (`xl dmesg`).
#![cfg_attr(xen_guest, expect(unsafe_code, reason = "trap handlers"))]

use core::fmt;

/// The exceptions of the CPU that a mistake can raise, and whether it pushes an error code (Intel SDM vol. 3, 6.3).
const EXCEPTIONS: [(u8, &str); 14] = [
    (0, "division by zero"),
    (1, "debug exception"),
    (3, "breakpoint"),
    (4, "overflow"),
    (5, "bound range exceeded"),
    (6, "invalid opcode"),
    (10, "invalid TSS"),
    (11, "segment not present"),
    (12, "stack segment fault"),
    (13, "general protection fault"),
    (14, "page fault"),
    (16, "x87 floating-point error"),
    (17, "alignment check"),
    (19, "SIMD floating-point error"),
];

/// What Xen pushes for an exception (`public/arch-x86/xen-x86_64.h`, `create_bounce_frame`), below it the vector that our
/// entry pushed. Exceptions without an error code get a 0 there.
#[repr(C)]
struct BounceFrame {
    vector: u64,
    rcx: u64,
    r11: u64,
    error_code: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
}

/// A fault in words.
struct Report<'a> {
    frame: &'a BounceFrame,
    /// The address that could not be accessed, for a page fault.
    address: u64,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let vector = self.frame.vector;
        let name = EXCEPTIONS
            .iter()
            .find(|&&(number, _)| u64::from(number) == vector)
            .map_or("exception", |&(_, name)| name);
        write!(f, "fault: {name} at {:#x}", self.frame.rip)?;
        if vector == PAGE_FAULT {
            let access = match self.frame.error_code {
                code if code & 16 != 0 => "executing",
                code if code & 2 != 0 => "writing",
                _ => "reading",
            };
            write!(f, ", {access} {:#x}", self.address)?;
            if self.address < 4096 {
                f.write_str(" (a null pointer)")?;
            }
        } else if self.frame.error_code != 0 {
            write!(f, ", error code {:#x}", self.frame.error_code)?;
        }
        write!(
            f,
            ", rsp {:#x}; `addr2line -e NAME.debug {:#x}` names the line",
            self.frame.rsp, self.frame.rip
        )
    }
}

const PAGE_FAULT: u64 = 14;

#[cfg(xen_guest)]
mod entry {
    use core::arch::naked_asm;

    use super::{BounceFrame, Report};
    use crate::hypercall::{ShutdownReason, shutdown};

    /// An entry for each exception. `code` says that Xen pushes an error code; where it does not, a 0 is put between RIP and
    /// R11, by moving RCX and R11 down, so that all frames look alike.
    macro_rules! entries {
        ($($name:ident = $vector:literal $(, $code:ident)?;)*) => {
            $(
                #[unsafe(naked)]
                unsafe extern "C" fn $name() {
                    naked_asm!(
                        entries!(@frame $($code)?),
                        concat!("push ", $vector),
                        "mov rdi, rsp",
                        "and rsp, -16",
                        "call {}",
                        "ud2",
                        sym report,
                    )
                }
            )*
            /// The entry of each vector.
            pub(super) const ENTRIES: &[(u8, unsafe extern "C" fn())] = &[$(($vector, $name)),*];
        };
        (@frame code) => { "" };
        (@frame) => { "sub rsp, 8\nmov rcx, [rsp + 8]\nmov [rsp], rcx\nmov rcx, [rsp + 16]\nmov [rsp + 8], rcx\nmov qword ptr [rsp + 16], 0" };
    }

    entries! {
        divide_error = 0;
        debug = 1;
        breakpoint = 3;
        overflow = 4;
        bound = 5;
        invalid_opcode = 6;
        invalid_tss = 10, code;
        segment_not_present = 11, code;
        stack_segment = 12, code;
        general_protection = 13, code;
        page_fault = 14, code;
        x87 = 16;
        alignment_check = 17, code;
        simd = 19;
    }

    extern "C" fn report(frame: *const BounceFrame) -> ! {
        // SAFETY: the entry passes the address of the frame that it completed, on this very stack.
        let frame = unsafe { &*frame };
        let address = crate::events::fault_address();
        crate::console::last_words(format_args!("{}", Report { frame, address }));
        crate::console::drain();
        shutdown(ShutdownReason::Crash)
    }
}

/// Registers the handlers.
#[cfg(xen_guest)]
pub fn start() -> Result<(), crate::hypercall::XenErrno> {
    use alloc::vec::Vec;

    use crate::hypercall;
    use crate::xen_abi::{FLAT_KERNEL_CS, trap_info};

    let mut table: Vec<trap_info> = entry::ENTRIES
        .iter()
        .map(|&(vector, address)| trap_info {
            vector,
            flags: 0,
            cs: FLAT_KERNEL_CS,
            address: address as *const () as u64,
        })
        .collect();
    table.push(trap_info {
        vector: 0,
        flags: 0,
        cs: 0,
        address: 0,
    });
    // SAFETY: each entry copes with the bounce frame of its vector, and the last one ends the table.
    unsafe { hypercall::set_trap_table(&table) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    const FRAME: BounceFrame = BounceFrame {
        vector: PAGE_FAULT,
        rcx: 0,
        r11: 0,
        error_code: 6,
        rip: 0x30_1234,
        cs: 0xe033,
        rflags: 0x202,
        rsp: 0x33_0000,
        ss: 0xe02b,
    };

    #[test]
    fn a_page_fault_names_place_access_and_address() {
        let report = Report {
            frame: &FRAME,
            address: 8,
        };
        assert_eq!(
            report.to_string(),
            "fault: page fault at 0x301234, writing 0x8 (a null pointer), rsp 0x330000; \
             `addr2line -e NAME.debug 0x301234` names the line"
        );
    }

    #[test]
    fn other_faults_have_no_address() {
        let frame = BounceFrame {
            vector: 6,
            error_code: 0,
            ..FRAME
        };
        let text = Report {
            frame: &frame,
            address: 8,
        }
        .to_string();
        assert!(
            text.starts_with("fault: invalid opcode at 0x301234, rsp"),
            "{text}"
        );
    }
}
