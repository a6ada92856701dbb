//! How often something may be done. Pure.

use smoltcp::time::{Duration, Instant};

/// A number of times at once, and then once in each interval.
#[derive(Debug)]
pub struct Pace {
    most: u32,
    interval: Duration,
    left: u32,
    /// When what is left was counted last.
    since: Instant,
}

impl Pace {
    /// `most` times at once, and as often again in as many intervals.
    pub const fn new(most: u32, interval: Duration) -> Self {
        Self {
            most,
            interval,
            left: most,
            since: Instant::ZERO,
        }
    }

    /// Whether it may be done now, which counts.
    pub fn allows(&mut self, now: Instant) -> bool {
        let micros = self.interval.total_micros().max(1);
        let earned = (now - self.since).total_micros() / micros;
        if earned >= u64::from(self.most - self.left) {
            (self.left, self.since) = (self.most, now);
        } else {
            self.left += earned as u32;
            self.since += self.interval * earned as u32;
        }
        let allowed = self.left > 0;
        self.left -= u32::from(allowed);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_up_is_spent_at_once_and_comes_back_one_by_one() {
        let mut pace = Pace::new(3, Duration::from_secs(5));
        let mut count = |millis| {
            let now = Instant::from_millis(millis);
            (0..10).filter(|_| pace.allows(now)).count()
        };
        assert_eq!([0, 1, 4999].map(&mut count), [3, 0, 0]);
        assert_eq!([5000, 9999, 10_000].map(&mut count), [1, 0, 1]);
        // Looks in between lose nothing, and no more is saved up than there was.
        assert_eq!([13_000, 15_000, 1_000_000].map(&mut count), [0, 1, 3]);
    }
}
