//! The first instructions, the ELF notes that Xen's domain builder reads, and the start-of-day page.

mod start_info;

pub use start_info::{CommandLineError, StartInfo};

/// The image's stack: room for the boot, the executor and one task's frames at a time.
pub const STACK_SIZE: usize = 32 * 1024;

#[cfg(xen_guest)]
mod entry {
    #![expect(unsafe_code, reason = "the entry from Xen")]

    use core::arch::global_asm;

    use super::StartInfo;
    use crate::memory::VirtAddr;
    use crate::xen_abi::start_info;

    // Xen enters with the address of start_info in RSI and a one-page stack, which we leave for one with a guard page.
    global_asm!(
        ".section .text.entry, \"ax\", @progbits",
        ".global _start",
        "_start:",
        "cld",
        "xor ebp, ebp",
        "lea rsp, [rip + stack_top]",
        "mov rdi, rsi",
        "rdtsc",
        "shl rdx, 32",
        "lea rsi, [rdx + rax]",
        "call {entry}",
        "ud2",
        // The linker script puts it at the start of a page.
        ".section .stack, \"aw\", @nobits",
        ".balign 16",
        ".global stack_guard",
        "stack_guard: .skip 4096",
        ".skip {stack_size}",
        "stack_top:",
        entry = sym entry,
        stack_size = const super::STACK_SIZE,
    );

    // `xen/include/public/elfnote.h`. Numbers: 1 ENTRY, 3 VIRT_BASE, 4 PADDR_OFFSET, 5 XEN_VERSION, 6 GUEST_OS, 8 LOADER,
    // 9 PAE_MODE, 10 FEATURES, 13 L1_MFN_VALID, 16 MOD_START_PFN: the module need not be mapped, which lets a domain be smaller.
    global_asm!(
        ".macro XENNOTE type",
        ".balign 4",
        ".long 4",
        ".long 9f - 8f",
        ".long \\type",
        ".asciz \"Xen\"",
        "8:",
        ".endm",
        ".macro XENNOTE_END",
        "9:",
        ".balign 4",
        ".endm",
        ".section .note.Xen, \"a\", @note",
        "XENNOTE 6",
        ".asciz \"Grantflow\"",
        "XENNOTE_END",
        "XENNOTE 8",
        ".asciz \"generic\"",
        "XENNOTE_END",
        "XENNOTE 5",
        ".asciz \"xen-3.0\"",
        "XENNOTE_END",
        "XENNOTE 3",
        ".quad {virt_base}",
        "XENNOTE_END",
        "XENNOTE 4",
        ".quad {virt_base}",
        "XENNOTE_END",
        "XENNOTE 1",
        ".quad _start",
        "XENNOTE_END",
        "XENNOTE 9",
        ".asciz \"yes\"",
        "XENNOTE_END",
        "XENNOTE 10",
        ".asciz \"!writable_page_tables|pae_pgdir_above_4gb\"",
        "XENNOTE_END",
        "XENNOTE 13",
        ".quad 1",
        ".quad 1",
        "XENNOTE_END",
        "XENNOTE 16",
        ".quad 1",
        "XENNOTE_END",
        virt_base = const crate::memory::VIRT_BASE,
    );

    unsafe extern "C" {
        static stack_guard: u8;
    }

    /// The page below the stack.
    pub fn guard_page() -> VirtAddr {
        VirtAddr::new(&raw const stack_guard as u64)
    }

    extern "C" fn entry(info: *const start_info, tsc: u64) -> ! {
        // SAFETY: Xen passes the address of its start-of-day page, which stays mapped and which nobody writes to again.
        let info: &'static start_info = unsafe { &*info };
        // SAFETY: both members of the union are integers; this is a domU.
        let console = unsafe { info.console.domU };
        let line = info.cmd_line.as_ptr().cast::<u8>();
        // SAFETY: the same bytes, as unsigned ones.
        let line = unsafe { core::slice::from_raw_parts(line, info.cmd_line.len()) };
        crate::rt::start(
            StartInfo::new(info, (console.mfn, console.evtchn), line),
            tsc,
        )
    }
}

#[cfg(xen_guest)]
pub use entry::guard_page;
