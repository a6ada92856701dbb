//! The few instructions Rust has no word for.
#![expect(unsafe_code, reason = "instructions")]

use core::arch::x86_64 as x86;

/// The time-stamp counter.
pub fn rdtsc() -> u64 {
    // SAFETY: every x86-64 CPU has it, and Xen lets PV guests execute it.
    unsafe { x86::_rdtsc() }
}

/// 64 bits from the CPU's random number generator; `None` where the CPU has none, or it stays empty-handed.
pub fn rdrand() -> Option<u64> {
    /// Intel's advice: ten empty answers in a row mean that the generator is broken.
    const TRIES: usize = 10;
    const RDRAND: u32 = 1 << 30;
    if x86::__cpuid(1).ecx & RDRAND == 0 {
        return None;
    }
    (0..TRIES).find_map(|_| {
        let mut value = 0;
        // SAFETY: CPUID has just said that the instruction exists.
        let filled = unsafe { rdrand64(&mut value) };
        filled.then_some(value)
    })
}

#[target_feature(enable = "rdrand")]
fn rdrand64(value: &mut u64) -> bool {
    x86::_rdrand64_step(value) == 1
}

/// `rdx` bytes from `rsi` to `rdi`, upwards, 64 a turn. Not `rep movsb`: start-up costs more than it saves below a few KiB, and
/// emulators make a loop of single bytes of it.
macro_rules! copy_upwards {
    () => {
        "
        cmp rdx, 64
        jb 3f
        2:
        movups xmm0, [rsi]
        movups xmm1, [rsi + 16]
        movups xmm2, [rsi + 32]
        movups xmm3, [rsi + 48]
        movups [rdi], xmm0
        movups [rdi + 16], xmm1
        movups [rdi + 32], xmm2
        movups [rdi + 48], xmm3
        add rsi, 64
        add rdi, 64
        sub rdx, 64
        jz 5f
        cmp rdx, 64
        jae 2b
        3:
        cmp rdx, 8
        jb 4f
        mov rcx, [rsi]
        mov [rdi], rcx
        add rsi, 8
        add rdi, 8
        sub rdx, 8
        jmp 3b
        4:
        test rdx, rdx
        jz 5f
        mov cl, [rsi]
        mov [rdi], cl
        inc rsi
        inc rdi
        dec rdx
        jmp 4b
        5:"
    };
}

/// Copies `len` bytes by instructions that the compiler cannot see through: what shared memory asks for, where the peer may
/// write while we read.
///
/// # Safety
/// `source` must be readable and `target` writable for `len` bytes, and the two must not overlap. Either may be memory that
/// another domain changes meanwhile: the bytes are then those of some moment, each on its own.
#[inline]
pub unsafe fn copy_volatile(target: *mut u8, source: *const u8, len: usize) {
    // SAFETY: the caller's promise is that of the routine.
    #[cfg(all(xen_guest, not(for_speed)))]
    unsafe {
        mem::memcpy(target, source, len)
    };
    // In an image that is compiled for speed the instructions stand where they are wanted.
    // SAFETY: the caller's promise covers every byte that the instructions load and store; they change the registers that are
    // named, and the flags.
    #[cfg(any(not(xen_guest), for_speed))]
    unsafe {
        core::arch::asm!(
            copy_upwards!(),
            inout("rdi") target => _,
            inout("rsi") source => _,
            inout("rdx") len => _,
            out("rcx") _,
            out("xmm0") _,
            out("xmm1") _,
            out("xmm2") _,
            out("xmm3") _,
            options(nostack),
        );
    }
}

/// The functions that compiled code calls for moves, fills and comparisons. The prebuilt `core` leaves them to the platform;
/// in Rust they might be compiled into calls of themselves.
#[cfg(xen_guest)]
mod mem {
    #[unsafe(no_mangle)]
    #[unsafe(naked)]
    pub unsafe extern "sysv64" fn memcpy(
        target: *mut u8,
        source: *const u8,
        len: usize,
    ) -> *mut u8 {
        core::arch::naked_asm!("mov rax, rdi", copy_upwards!(), "ret")
    }

    /// Upwards unless the target starts inside the source; then downwards.
    #[unsafe(no_mangle)]
    #[unsafe(naked)]
    unsafe extern "sysv64" fn memmove(target: *mut u8, source: *const u8, len: usize) -> *mut u8 {
        core::arch::naked_asm!(
            "mov rax, rdi",
            "sub rax, rsi",
            "cmp rax, rdx",
            "jae {forward}",
            "mov rax, rdi",
            "2: cmp rdx, 8",
            "jb 3f",
            "mov rcx, [rsi + rdx - 8]",
            "mov [rdi + rdx - 8], rcx",
            "sub rdx, 8",
            "jmp 2b",
            "3: test rdx, rdx",
            "jz 4f",
            "mov cl, [rsi + rdx - 1]",
            "mov [rdi + rdx - 1], cl",
            "dec rdx",
            "jmp 3b",
            "4: ret",
            forward = sym memcpy,
        )
    }

    #[unsafe(no_mangle)]
    #[unsafe(naked)]
    unsafe extern "sysv64" fn memset(target: *mut u8, value: i32, len: usize) -> *mut u8 {
        core::arch::naked_asm!(
            "mov r8, rdi",
            "movzx eax, sil",
            "mov rcx, 0x0101010101010101",
            "imul rax, rcx",
            "2: cmp rdx, 8",
            "jb 3f",
            "mov [rdi], rax",
            "add rdi, 8",
            "sub rdx, 8",
            "jmp 2b",
            "3: test rdx, rdx",
            "jz 4f",
            "mov [rdi], al",
            "inc rdi",
            "dec rdx",
            "jmp 3b",
            "4: mov rax, r8",
            "ret",
        )
    }

    #[unsafe(no_mangle)]
    #[unsafe(naked)]
    unsafe extern "sysv64" fn memcmp(left: *const u8, right: *const u8, len: usize) -> i32 {
        core::arch::naked_asm!(
            "2: cmp rdx, 8",
            "jb 3f",
            "mov rax, [rdi]",
            "mov rcx, [rsi]",
            "cmp rax, rcx",
            "jne 5f",
            "add rdi, 8",
            "add rsi, 8",
            "sub rdx, 8",
            "jmp 2b",
            "3: test rdx, rdx",
            "jz 4f",
            "movzx eax, byte ptr [rdi]",
            "movzx ecx, byte ptr [rsi]",
            "sub eax, ecx",
            "jnz 6f",
            "inc rdi",
            "inc rsi",
            "dec rdx",
            "jmp 3b",
            "4: xor eax, eax",
            "ret",
            // Eight bytes differ: the first in memory order decides, which big-endian order makes the most significant.
            "5: bswap rax",
            "bswap rcx",
            "cmp rax, rcx",
            "sbb eax, eax",
            "or eax, 1",
            "6: ret",
        )
    }

    #[unsafe(no_mangle)]
    #[unsafe(naked)]
    unsafe extern "sysv64" fn bcmp(left: *const u8, right: *const u8, len: usize) -> i32 {
        core::arch::naked_asm!("jmp {}", sym memcmp)
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    #[test]
    fn copies_every_length_and_nothing_beside() {
        let source: Vec<u8> = (0..300u32).map(|n| n as u8).collect();
        for len in 0..=256 {
            let mut target = [0xaa_u8; 300];
            // SAFETY: both hold more than `len` bytes from the offsets on, and are distinct.
            unsafe {
                super::copy_volatile(target.as_mut_ptr().add(7), source.as_ptr().add(3), len)
            };
            assert_eq!(target[7..7 + len], source[3..3 + len]);
            assert!(
                target[..7]
                    .iter()
                    .chain(&target[7 + len..])
                    .all(|&byte| byte == 0xaa)
            );
        }
    }

    #[test]
    fn the_counter_counts() {
        let earlier = super::rdtsc();
        assert!(super::rdtsc() >= earlier);
    }
}
