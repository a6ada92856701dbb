//! `sys_clock_gettime`.

use hermit_abi::errno::EINVAL;
use hermit_abi::{CLOCK_MONOTONIC, CLOCK_REALTIME, clockid_t, timespec};

use crate::time;

/// The time of `clock`, [`CLOCK_REALTIME`] or [`CLOCK_MONOTONIC`], at `time`.
///
/// # Safety
/// `time` is null or a place for the answer.
#[cfg_attr(xen_guest, unsafe(no_mangle))]
pub unsafe extern "C" fn sys_clock_gettime(clock: clockid_t, time: *mut timespec) -> i32 {
    let now = match clock {
        CLOCK_REALTIME => time::unix,
        CLOCK_MONOTONIC => time::now,
        _ => return -EINVAL,
    };
    if time.is_null() {
        return -EINVAL;
    }
    let now = now();
    let answer = timespec {
        tv_sec: i64::try_from(now.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i32::try_from(now.subsec_nanos()).unwrap_or(0),
    };
    // SAFETY: not null, so the caller vouches for it.
    unsafe { time.write(answer) };
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_none_and_a_place_that_is_none_are_refused() {
        let mut time = timespec {
            tv_sec: 7,
            tv_nsec: 7,
        };
        // SAFETY: the place is there, or null.
        unsafe {
            assert_eq!(sys_clock_gettime(99, &mut time), -EINVAL);
            assert_eq!(
                sys_clock_gettime(CLOCK_MONOTONIC, core::ptr::null_mut()),
                -EINVAL
            );
        }
        assert_eq!(time.tv_sec, 7);
    }
}
