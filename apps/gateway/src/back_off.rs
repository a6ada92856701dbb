//! How long to wait before the next attempt.

use core::time::Duration;

/// The first wait, at the longest.
const FIRST: Duration = Duration::from_millis(500);

/// The longest wait.
const LONGEST: Duration = Duration::from_secs(30);

/// Waits that double, each cut at random to between half and all of it, so that many clients of one broker that comes back
/// do not come at the same moment.
#[derive(Debug, Clone)]
pub struct BackOff {
    next: Duration,
}

impl BackOff {
    /// Before the first failure.
    pub const fn new() -> Self {
        Self { next: FIRST }
    }

    /// The wait after one more failure.
    pub fn wait(&mut self, random: u64) -> Duration {
        let longest = self.next;
        self.next = (longest * 2).min(LONGEST);
        // The upper half of the number is enough: a step of a nanosecond or so.
        let share = f64::from((random >> 32) as u32) / f64::from(u32::MAX);
        longest / 2 + (longest / 2).mul_f64(share)
    }
}

impl Default for BackOff {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn waits_double_to_their_longest_and_are_cut_at_random() {
        for (random, share) in [(0, 0.5), (u64::MAX, 1.0)] {
            let mut back_off = BackOff::new();
            let waits: Vec<f64> = (0..9)
                .map(|_| back_off.wait(random).as_secs_f64())
                .collect();
            let longest = [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0];
            assert_eq!(waits, longest.map(|wait| wait * share));
        }
    }
}
