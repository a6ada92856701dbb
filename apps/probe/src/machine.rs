//! Clocks, random bytes, and Hermit's calls.
#![cfg_attr(xen_guest, expect(unsafe_code, reason = "a C interface is called"))]

use alloc::format;
use alloc::string::String;
use core::time::Duration;

use unikernel::{entropy, time};

use crate::Report;

/// Sleeps a second, and says how much of it the clocks noticed.
pub async fn clock(report: &Report) -> Result<(), String> {
    let (monotonic, wall) = (time::now(), time::unix());
    time::sleep_until(monotonic + Duration::from_secs(1)).await;
    let slept = time::now().saturating_sub(monotonic);
    let passed = time::unix().saturating_sub(wall);
    report
        .say("slept", format!("{} us", slept.as_micros()))
        .await;
    report
        .say("passed", format!("{} us", passed.as_micros()))
        .await;
    report.say("unix", time::unix().as_secs()).await;
    Ok(())
}

/// Says 32 random bytes, twice.
pub async fn entropy(report: &Report) -> Result<(), String> {
    for key in ["entropy", "entropy-again"] {
        let mut bytes = [0_u8; 32];
        entropy::fill(&mut bytes);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        report.say(key, hex).await;
    }
    Ok(())
}

#[cfg(xen_guest)]
mod calls {
    use alloc::format;
    use alloc::string::String;

    use hermit_abi::errno::{EBADF, EINVAL};
    use hermit_abi::{CLOCK_MONOTONIC, CLOCK_REALTIME, STDOUT_FILENO, timespec};

    use crate::Report;

    /// Calls each `sys_*` as a program of Hermit's would; ends by one of them.
    pub async fn abi(report: &Report) -> Result<(), String> {
        memory()?;
        let line = b"written by sys_write\r\n";
        // SAFETY: the bytes are there.
        let written = unsafe { hermit_abi::write(STDOUT_FILENO, line.as_ptr(), line.len()) };
        check("sys_write", written == line.len() as isize)?;
        // SAFETY: as above.
        let refused = unsafe { hermit_abi::write(7, line.as_ptr(), line.len()) };
        check("sys_write to nothing", refused == -(EBADF as isize))?;
        clocks()?;
        let mut random = [0_u8; 16];
        // SAFETY: the buffer has so many bytes.
        let filled = unsafe { hermit_abi::read_entropy(random.as_mut_ptr(), random.len(), 0) };
        check("sys_read_entropy", filled == 16 && random != [0; 16])?;
        report.say("abi", "ok").await;
        // SAFETY: ends the domain.
        unsafe { hermit_abi::exit(0) }
    }

    /// Ends the domain as a program of Hermit's would that gives up.
    pub fn abort() -> ! {
        // SAFETY: ends the domain.
        unsafe { hermit_abi::abort() }
    }

    fn check(what: &str, holds: bool) -> Result<(), String> {
        holds
            .then_some(())
            .ok_or_else(|| format!("{what} did not do what it should"))
    }

    fn memory() -> Result<(), String> {
        // SAFETY: one block, written within its size, grown, and given back once.
        unsafe {
            let block = hermit_abi::malloc(100, 64);
            check(
                "sys_malloc",
                !block.is_null() && block.addr().is_multiple_of(64),
            )?;
            block.write_bytes(7, 100);
            let grown = hermit_abi::realloc(block, 100, 64, 10_000);
            check(
                "sys_realloc",
                !grown.is_null() && grown.addr().is_multiple_of(64),
            )?;
            let kept = core::slice::from_raw_parts(grown, 100)
                .iter()
                .all(|&byte| byte == 7);
            check("sys_realloc", kept)?;
            hermit_abi::free(grown, 10_000, 64);
            check(
                "sys_malloc of too much",
                hermit_abi::malloc(1 << 40, 8).is_null(),
            )
        }
    }

    fn clocks() -> Result<(), String> {
        let mut times = [CLOCK_MONOTONIC, CLOCK_MONOTONIC, CLOCK_REALTIME].map(|clock| {
            let mut time = timespec {
                tv_sec: -1,
                tv_nsec: -1,
            };
            // SAFETY: the place is there.
            let status = unsafe { hermit_abi::clock_gettime(clock, &mut time) };
            (status, time.tv_sec, time.tv_nsec)
        });
        check(
            "sys_clock_gettime",
            times
                .iter()
                .all(|&(status, seconds, _)| status == 0 && seconds >= 0),
        )?;
        check(
            "sys_clock_gettime (monotonic)",
            (times[0].1, times[0].2) <= (times[1].1, times[1].2),
        )?;
        // The first of January 2020.
        check("sys_clock_gettime (real time)", times[2].1 > 1_577_836_800)?;
        let mut time = timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: the place is there.
        times[0].0 = unsafe { hermit_abi::clock_gettime(77, &mut time) };
        check("sys_clock_gettime of no clock", times[0].0 == -EINVAL)
    }
}

#[cfg(xen_guest)]
pub use calls::{abi, abort};

/// On a host there is nothing behind the calls.
#[cfg(not(xen_guest))]
pub async fn abi(_: &Report) -> Result<(), String> {
    Err("sys_* calls are only in an image".into())
}

/// On a host there is nothing behind the calls.
#[cfg(not(xen_guest))]
pub fn abort() -> ! {
    panic!("sys_* calls are only in an image")
}
