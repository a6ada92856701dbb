//! Copies between our memory and memory that a peer changes meanwhile.
#![expect(unsafe_code, reason = "memory that is no Rust object")]

/// Copies `len` bytes upwards.
///
/// Each byte is what stood there at some moment of the copy, and some of the last 15 may be copied twice. On x86-64 this is
/// assembly that the compiler cannot see through, so what another domain does meanwhile is no data race of the language;
/// elsewhere it is made of atomics.
///
/// # Safety
/// `source` must be readable and `target` writable for `len` bytes, and they must not overlap. One of the two is this
/// program's alone for the call.
#[inline]
pub(crate) unsafe fn copy(target: *mut u8, source: *const u8, len: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the caller's promise.
    unsafe {
        x86_64::copy(target, source, len);
    }
    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: the caller's promise.
    unsafe {
        portable::copy(target, source, len);
    }
}

/// Moves of 64, 16, 8, 4 and 1 bytes, and the string instruction for what is long. Not `rep movsb`: its start costs more than it saves below a few KiB, and an emulator
/// makes a loop of single bytes of it.
#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use core::arch::asm;
    use core::arch::x86_64::{__cpuid, __cpuid_count};
    use std::sync::OnceLock;

    macro_rules! moves {
        ($($name:ident: $class:ident, $load:literal, $store:literal;)*) => {
            $(
                /// # Safety
                /// As for `super::copy`, for as many bytes as the name says.
                #[inline(always)]
                unsafe fn $name(target: *mut u8, source: *const u8) {
                    // SAFETY: reads and writes what the caller vouches for; uses no stack and no flags.
                    unsafe {
                        asm!(
                            $load,
                            $store,
                            value = out($class) _,
                            source = in(reg) source,
                            target = in(reg) target,
                            options(nostack, preserves_flags),
                        );
                    }
                }
            )*
        };
    }

    moves! {
        copy_16: xmm_reg, "movups {value}, [{source}]", "movups [{target}], {value}";
        copy_8: reg, "mov {value}, [{source}]", "mov [{target}], {value}";
        copy_4: reg, "mov {value:e}, [{source}]", "mov [{target}], {value:e}";
        copy_1: reg_byte, "mov {value}, [{source}]", "mov [{target}], {value}";
    }

    /// # Safety
    /// As for `super::copy`, for 64 bytes.
    #[inline(always)]
    unsafe fn copy_64(target: *mut u8, source: *const u8) {
        // SAFETY: reads and writes what the caller vouches for; uses no stack and no flags.
        unsafe {
            asm!(
                "movups {a}, [{source}]",
                "movups {b}, [{source} + 16]",
                "movups {c}, [{source} + 32]",
                "movups {d}, [{source} + 48]",
                "movups [{target}], {a}",
                "movups [{target} + 16], {b}",
                "movups [{target} + 32], {c}",
                "movups [{target} + 48], {d}",
                a = out(xmm_reg) _,
                b = out(xmm_reg) _,
                c = out(xmm_reg) _,
                d = out(xmm_reg) _,
                source = in(reg) source,
                target = in(reg) target,
                options(nostack, preserves_flags),
            );
        }
    }

    /// Below, starting the string instruction costs more than it saves.
    const LONG: usize = 2048;

    /// Whether the CPU copies strings fast (`ERMS`): it does not fetch the lines that it overwrites, which the peer's CPU has.
    /// QEMU's emulator says so too, and makes a loop of single bytes of it.
    fn has_fast_strings() -> bool {
        static FAST: OnceLock<bool> = OnceLock::new();
        *FAST.get_or_init(|| {
            let (leaves, hypervisor) = (__cpuid(0).eax, __cpuid(0x4000_0000));
            let signature = [hypervisor.ebx, hypervisor.ecx, hypervisor.edx];
            let emulated = signature == [*b"TCGT", *b"CGTC", *b"GTCG"].map(u32::from_le_bytes);
            leaves >= 7 && __cpuid_count(7, 0).ebx & 1 << 9 != 0 && !emulated
        })
    }

    /// # Safety
    /// As for `super::copy`.
    unsafe fn copy_string(target: *mut u8, source: *const u8, len: usize) {
        // SAFETY: reads and writes what the caller vouches for, upwards, as the direction flag is clear by the ABI; uses no
        // stack and no flags.
        unsafe {
            asm!(
                "rep movsb",
                inout("rsi") source => _,
                inout("rdi") target => _,
                inout("rcx") len => _,
                options(nostack, preserves_flags),
            );
        }
    }

    /// # Safety
    /// As for `super::copy`.
    #[inline]
    pub(super) unsafe fn copy(target: *mut u8, source: *const u8, len: usize) {
        // SAFETY: every piece lies within the `len` bytes that the caller vouches for.
        unsafe {
            if len >= LONG && has_fast_strings() {
                copy_string(target, source, len);
            } else if len >= 16 {
                let mut at = 0;
                while len - at >= 64 {
                    copy_64(target.add(at), source.add(at));
                    at += 64;
                }
                while len - at >= 16 {
                    copy_16(target.add(at), source.add(at));
                    at += 16;
                }
                if at < len {
                    copy_16(target.add(len - 16), source.add(len - 16));
                }
            } else if len >= 8 {
                copy_8(target, source);
                copy_8(target.add(len - 8), source.add(len - 8));
            } else if len >= 4 {
                copy_4(target, source);
                copy_4(target.add(len - 4), source.add(len - 4));
            } else {
                for at in 0..len {
                    copy_1(target.add(at), source.add(at));
                }
            }
        }
    }
}

#[cfg(any(test, not(target_arch = "x86_64")))]
mod portable {
    use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

    /// # Safety
    /// As for `super::copy`.
    pub(super) unsafe fn copy(target: *mut u8, source: *const u8, len: usize) {
        let mut at = 0;
        // SAFETY: every access lies within the `len` bytes that the caller vouches for, words only where both sides are
        // aligned. An atomic is the one type of which a reference claims nothing about who else writes; the source is only
        // loaded from, so that it may be mapped for reading.
        unsafe {
            if target.addr().is_multiple_of(8) && source.addr().is_multiple_of(8) {
                while len - at >= 8 {
                    let word = AtomicU64::from_ptr(source.add(at).cast_mut().cast());
                    let word = word.load(Ordering::Relaxed);
                    AtomicU64::from_ptr(target.add(at).cast()).store(word, Ordering::Relaxed);
                    at += 8;
                }
            }
            while at < len {
                let byte = AtomicU8::from_ptr(source.add(at).cast_mut()).load(Ordering::Relaxed);
                AtomicU8::from_ptr(target.add(at)).store(byte, Ordering::Relaxed);
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    type Copy = unsafe fn(*mut u8, *const u8, usize);

    // R26 of FAULTS.md.
    #[test]
    fn every_length_and_alignment_is_copied_and_no_byte_more() {
        let source: Vec<u8> = (0..4400).map(|at| (at * 7 + at / 251) as u8).collect();
        for copy in [super::copy as Copy, super::portable::copy] {
            for len in (0..300).chain([2047, 2048, 2049, 4097]) {
                for (from, to) in [(0, 0), (8, 16), (1, 3), (7, 8), (5, 31)] {
                    let mut target = [0xaa; 4400];
                    // SAFETY: both ranges lie within their arrays, which are two.
                    unsafe {
                        copy(target.as_mut_ptr().add(to), source.as_ptr().add(from), len);
                    }
                    assert_eq!(target[to..to + len], source[from..from + len]);
                    let rest = target[..to].iter().chain(&target[to + len..]);
                    assert!(rest.copied().all(|byte| byte == 0xaa), "{len} {from} {to}");
                }
            }
        }
    }
}
