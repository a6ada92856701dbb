//! `sys_write`.

use core::slice;

use hermit_abi::errno::{EBADF, EINVAL};
use hermit_abi::{STDERR_FILENO, STDOUT_FILENO};

use crate::console;

/// Writes to the console, for standard output and standard error. Never waits: what finds no room is dropped and counted, as
/// log lines are, and all of it counts as written.
///
/// # Safety
/// `buf` is readable for `len` bytes.
#[cfg_attr(xen_guest, unsafe(no_mangle))]
pub unsafe extern "C" fn sys_write(fd: i32, buf: *const u8, len: usize) -> isize {
    if fd != STDOUT_FILENO && fd != STDERR_FILENO {
        return -(EBADF as isize);
    }
    let Ok(written) = isize::try_from(len) else {
        return -(EINVAL as isize);
    };
    if len > 0 {
        // SAFETY: the caller vouches for the bytes.
        console::write_bytes(unsafe { slice::from_raw_parts(buf, len) });
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_two_outputs_are_open() {
        // SAFETY: the bytes are there.
        let write = |fd| unsafe { sys_write(fd, b"x".as_ptr(), 1) };
        assert_eq!(write(0), -9);
        assert_eq!(write(3), -9);
        assert_eq!(write(1), 1);
        assert_eq!(write(2), 1);
    }
}
