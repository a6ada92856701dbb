//! `sys_exit`, `sys_abort`, `sys_read_entropy`.

use core::slice;

use hermit_abi::errno::EINVAL;

use crate::hypercall::{ShutdownReason, shutdown};
use crate::{console, entropy};

/// Ends the domain: with 0 as one that has done its work, else with reason *crash*, as the toolstack knows no numbers.
///
/// # Safety
/// Always safe to call in a guest.
#[cfg_attr(xen_guest, unsafe(no_mangle))]
pub unsafe extern "C" fn sys_exit(status: i32) -> ! {
    let reason = if status == 0 {
        ShutdownReason::Poweroff
    } else {
        console::last_words(format_args!("exit status {status}"));
        ShutdownReason::Crash
    };
    console::drain();
    shutdown(reason)
}

/// Ends the domain with reason *crash*.
///
/// # Safety
/// Always safe to call in a guest.
#[cfg_attr(xen_guest, unsafe(no_mangle))]
pub unsafe extern "C" fn sys_abort() -> ! {
    console::last_words(format_args!("abort"));
    console::drain();
    shutdown(ShutdownReason::Crash)
}

/// Fills `len` bytes at `buf` with random ones. Flags are hints about waiting, which this never does; unknown ones are refused.
///
/// # Safety
/// `buf` is writable for `len` bytes.
#[cfg_attr(xen_guest, unsafe(no_mangle))]
pub unsafe extern "C" fn sys_read_entropy(buf: *mut u8, len: usize, flags: u32) -> isize {
    /// `GRND_NONBLOCK` and `GRND_RANDOM`, which Hermit takes from Linux.
    const KNOWN: u32 = 3;
    let Ok(filled) = isize::try_from(len) else {
        return -(EINVAL as isize);
    };
    if flags & !KNOWN != 0 {
        return -(EINVAL as isize);
    }
    if len > 0 {
        // SAFETY: the caller vouches for the bytes; zeroed first, since a slice of Rust's holds values.
        let out = unsafe {
            buf.write_bytes(0, len);
            slice::from_raw_parts_mut(buf, len)
        };
        entropy::fill(out);
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_bytes_fill_the_buffer_and_nothing_more() {
        let mut bytes = [0xaa_u8; 64];
        // SAFETY: 48 bytes from the eighth on are there.
        let filled = unsafe { sys_read_entropy(bytes.as_mut_ptr().add(8), 48, 0) };
        assert_eq!(filled, 48);
        assert_eq!(
            (&bytes[..8], &bytes[56..]),
            (&[0xaa; 8][..], &[0xaa; 8][..])
        );
        assert_ne!(bytes[8..56], [0xaa; 48]);
        // SAFETY: refused before anything is written.
        assert_eq!(unsafe { sys_read_entropy(bytes.as_mut_ptr(), 8, 4) }, -22);
    }
}
