//! Time: pvclock (`vcpu_time_info` and the wall clock of `public/xen.h`), and tasks that sleep.
//!
//! Monotonic time is Xen's *system time*: nanoseconds since the host booted, the same for all its domains. `SCHEDOP_poll`
//! takes its deadlines in it.

use alloc::vec::Vec;
use core::cell::Cell;
use core::future::poll_fn;
use core::mem::offset_of;
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::{Poll, Waker};
use core::time::Duration;

use spin::{Mutex, Once};

use crate::cpu;
use crate::memory::Shared;
use crate::xen_abi::{shared_info, vcpu_info, vcpu_time_info};

/// Offset of vCPU 0's time in shared_info.
const TIME: usize = offset_of!(shared_info, vcpu_info) + offset_of!(vcpu_info, time);

static CLOCK: Once<Shared> = Once::new();

/// One consistent reading of `vcpu_time_info`: how to make time of the time-stamp counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PvClock {
    /// The counter when `system_time` was taken.
    pub tsc_timestamp: u64,
    /// Nanoseconds at that moment.
    pub system_time: u64,
    /// 32-bit fraction of nanoseconds per (shifted) tick.
    pub tsc_to_system_mul: u32,
    /// Ticks are shifted left by this, or right when negative.
    pub tsc_shift: i8,
}

impl PvClock {
    /// System time, in nanoseconds, at counter value `tsc`. A counter a little before the timestamp counts as the timestamp.
    pub fn at(&self, tsc: u64) -> u64 {
        // Modulo 2^64: where Xen emulates the counter, it begins at 0 with the domain, and the timestamp of a young one, taken
        // before that, is negative.
        let ticks = tsc.wrapping_sub(self.tsc_timestamp).cast_signed().max(0);
        self.system_time
            .wrapping_add(self.duration(ticks.cast_unsigned()))
    }

    /// Nanoseconds that `ticks` of the counter take.
    pub fn duration(&self, ticks: u64) -> u64 {
        let shift = u32::from(self.tsc_shift.unsigned_abs()).min(63);
        let shifted = if self.tsc_shift < 0 {
            ticks >> shift
        } else {
            ticks << shift
        };
        ((u128::from(shifted) * u128::from(self.tsc_to_system_mul)) >> 32) as u64
    }
}

/// Reads what Xen guards by a version: odd while it writes, another one when it has written.
fn consistent<T>(shared: &Shared, version: usize, read: impl Fn() -> T) -> T {
    loop {
        // Acquire: the version is loaded before the fields.
        let before = shared.load_u32(version, Ordering::Acquire);
        let value = read();
        // Acquire on the fields' side: they are loaded before the version is looked at again.
        core::sync::atomic::fence(Ordering::Acquire);
        let after = shared.load_u32(version, Ordering::Relaxed);
        if before == after && before & 1 == 0 {
            return value;
        }
    }
}

/// Starts the clock.
pub fn start(shared_info: Shared) {
    CLOCK.call_once(|| shared_info);
}

fn clock() -> &'static Shared {
    CLOCK.get().expect("the clock is started before it is read")
}

/// The current parameters of the clock, and the counter of the CPU that they are for.
fn pvclock() -> (PvClock, u64) {
    let page = clock();
    let u64_at = |field| page.load_u64(TIME + field, Ordering::Relaxed);
    consistent(page, TIME + offset_of!(vcpu_time_info, version), || {
        let clock = PvClock {
            tsc_timestamp: u64_at(offset_of!(vcpu_time_info, tsc_timestamp)),
            system_time: u64_at(offset_of!(vcpu_time_info, system_time)),
            tsc_to_system_mul: page.load_u32(
                TIME + offset_of!(vcpu_time_info, tsc_to_system_mul),
                Ordering::Relaxed,
            ),
            tsc_shift: page.load_u8(
                TIME + offset_of!(vcpu_time_info, tsc_shift),
                Ordering::Relaxed,
            ) as i8,
        };
        (clock, cpu::rdtsc())
    })
}

/// How long the counter takes from `earlier` to `later`, at the clock's present rate.
pub fn between(earlier: u64, later: u64) -> Duration {
    let (clock, _) = pvclock();
    Duration::from_nanos(clock.duration(later.saturating_sub(earlier)))
}

/// Monotonic time since the host booted. Never goes back: the clocks of two of the host's CPUs may differ by a little, and the
/// domain may move from one to the other.
pub fn now() -> Duration {
    static LATEST: AtomicU64 = AtomicU64::new(0);
    let (clock, tsc) = pvclock();
    let now = clock.at(tsc);
    // Relaxed: one vCPU, and nothing else is ordered by it.
    Duration::from_nanos(LATEST.fetch_max(now, Ordering::Relaxed).max(now))
}

/// Time since 1970-01-01T00:00:00Z, leap seconds not counted.
pub fn unix() -> Duration {
    let page = clock();
    let at_boot = consistent(page, offset_of!(shared_info, wc_version), || {
        let u32_at = |field| page.load_u32(field, Ordering::Relaxed);
        let seconds = u64::from(u32_at(offset_of!(shared_info, wc_sec)))
            | u64::from(u32_at(offset_of!(shared_info, wc_sec_hi))) << 32;
        let nanoseconds = u32_at(offset_of!(shared_info, wc_nsec));
        Duration::from_secs(seconds).saturating_add(Duration::from_nanos(nanoseconds.into()))
    });
    at_boot.saturating_add(now())
}

struct Sleeper {
    deadline: Duration,
    /// Tells sleepers with the same deadline apart.
    number: u64,
    waker: Waker,
}

/// Who sleeps, in no order: a stage has a handful of them.
static SLEEPERS: Mutex<Vec<Sleeper>> = Mutex::new(Vec::new());

/// A place in the list of sleepers; given up when the sleep is cancelled.
struct Place(u64);

impl Place {
    fn new() -> Self {
        static NEXT: Mutex<u64> = Mutex::new(0);
        let mut next = NEXT.lock();
        *next += 1;
        Self(*next)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        SLEEPERS.lock().retain(|sleeper| sleeper.number != self.0);
    }
}

/// Sleeps until monotonic time `deadline`.
pub fn sleep_until(deadline: Duration) -> impl Future<Output = ()> {
    let mut place = None;
    poll_fn(move |cx| {
        if now() >= deadline {
            return Poll::Ready(());
        }
        let place = place.get_or_insert_with(Place::new);
        let mut sleepers = SLEEPERS.lock();
        sleepers.retain(|sleeper| sleeper.number != place.0);
        sleepers.push(Sleeper {
            deadline,
            number: place.0,
            waker: cx.waker().clone(),
        });
        Poll::Pending
    })
}

/// Wakes those whose deadline has come; the next deadline of the others.
pub fn wake_sleepers() -> Option<Duration> {
    let mut sleepers = SLEEPERS.lock();
    if sleepers.is_empty() {
        return None;
    }
    wake_due(&mut sleepers, now())
}

/// The same at the time `now`. Wakes each where it stands, so that the end of a sleep needs no memory: a waker puts a number
/// into a queue, and never comes back to the list of sleepers. Pure.
fn wake_due(sleepers: &mut Vec<Sleeper>, now: Duration) -> Option<Duration> {
    sleepers.retain(|sleeper| {
        let due = sleeper.deadline <= now;
        if due {
            sleeper.waker.wake_by_ref();
        }
        !due
    });
    sleepers.iter().map(|sleeper| sleeper.deadline).min()
}

/// How long tasks have waited for others. Waits that overlap count once.
#[derive(Default)]
pub struct Waiting {
    waits: Cell<u32>,
    since: Cell<Duration>,
    total: Cell<Duration>,
    answer: Cell<Option<Duration>>,
}

impl Waiting {
    /// Counts the time until what this returns is dropped.
    pub fn begin(&self) -> Wait<'_> {
        if self.waits.get() == 0 {
            self.since.set(now());
        }
        self.waits.set(self.waits.get() + 1);
        Wait(self)
    }

    /// Counts the answer, just now, to a request that was made to xenstore at the time `asked`.
    pub fn answered(&self, asked: Duration) {
        let took = now().saturating_sub(asked);
        let shortest = self.answer.get().map_or(took, |least| least.min(took));
        self.answer.set(Some(shortest));
    }

    /// The shortest answer: a longer one may have waited until this domain had time for it.
    pub fn shortest_answer(&self) -> Option<Duration> {
        self.answer.get()
    }

    /// The time so far, that of waits that have not ended left out.
    pub fn total(&self) -> Duration {
        self.total.get()
    }
}

/// A wait under way; it ends when this is dropped.
#[must_use = "a wait that is dropped has ended"]
pub struct Wait<'a>(&'a Waiting);

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let Waiting {
            waits,
            since,
            total,
            ..
        } = self.0;
        waits.set(waits.get() - 1);
        if waits.get() == 0 {
            total.set(total.get() + now().saturating_sub(since.get()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOCK: PvClock = PvClock {
        tsc_timestamp: 1_000,
        system_time: 5_000_000_000,
        // 2 GHz: half a nanosecond a tick.
        tsc_to_system_mul: 1 << 31,
        tsc_shift: 0,
    };

    #[derive(Default)]
    struct Woken(core::sync::atomic::AtomicU32);

    impl alloc::task::Wake for Woken {
        fn wake(self: alloc::sync::Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn who_is_due_is_woken_and_the_next_deadline_is_told() {
        let woken = alloc::sync::Arc::<Woken>::default();
        let sleeper = |number| Sleeper {
            deadline: Duration::from_secs(number),
            number,
            waker: Waker::from(alloc::sync::Arc::clone(&woken)),
        };
        let mut sleepers: Vec<Sleeper> = [4, 1, 5, 2].map(sleeper).into();
        let next = wake_due(&mut sleepers, Duration::from_secs(2));
        assert_eq!(next, Some(Duration::from_secs(4)));
        assert_eq!(woken.0.load(Ordering::Relaxed), 2);
        let left: Vec<u64> = sleepers.iter().map(|sleeper| sleeper.number).collect();
        assert_eq!(left, [4, 5]);
        assert_eq!(wake_due(&mut sleepers, Duration::MAX), None);
        assert_eq!(woken.0.load(Ordering::Relaxed), 4);
    }

    #[test]
    fn ticks_become_nanoseconds() {
        assert_eq!(CLOCK.at(1_000), 5_000_000_000);
        assert_eq!(CLOCK.at(3_000), 5_000_001_000);
        let slow = PvClock {
            tsc_shift: 2,
            ..CLOCK
        };
        assert_eq!(slow.duration(1_000), 2_000);
        let fast = PvClock {
            tsc_shift: -1,
            ..CLOCK
        };
        assert_eq!(fast.duration(1_000), 250);
    }

    #[test]
    fn a_counter_that_lags_does_not_take_time_back() {
        assert_eq!(CLOCK.at(0), CLOCK.at(1_000));
    }

    #[test]
    fn a_timestamp_from_before_the_domain_is_in_its_past() {
        let young = PvClock {
            tsc_timestamp: 1_000_u64.wrapping_sub(500_000),
            ..CLOCK
        };
        assert_eq!(young.at(1_000), CLOCK.at(501_000));
    }

    #[test]
    fn a_year_of_ticks_does_not_overflow() {
        let year = 365 * 24 * 3_600 * 2_000_000_000_u64;
        assert_eq!(CLOCK.duration(year), year / 2);
    }
}
