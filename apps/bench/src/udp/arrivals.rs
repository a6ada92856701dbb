//! Which messages have come, each counted once. Pure.

use alloc::vec;
use alloc::vec::Vec;

use super::parameters::WINDOW_MAX;

/// How far behind the newest a message may be and still be told from one that has come before: more than ever are on their way.
const REACH: u64 = 2 * WINDOW_MAX;

/// Which messages have come.
pub struct Arrivals {
    /// A bit for each of the last [`REACH`] numbers, at the number's rest.
    seen: Vec<u64>,
    /// The number after the newest.
    next: u64,
    all: u64,
    /// So many come before those that are measured.
    warm_up: u64,
    warmed: u64,
    measured: u64,
}

impl Arrivals {
    /// None yet, of so many.
    pub fn new(warm_up: u64, count: u64) -> Self {
        Self {
            seen: vec![0; (REACH / 64) as usize],
            next: 0,
            all: warm_up + count,
            warm_up,
            warmed: 0,
            measured: 0,
        }
    }

    /// This one has come; whether it is one that was not there yet, and `None` for a number that nobody sends. One that is long
    /// overdue is as good as lost.
    pub fn come(&mut self, number: u64) -> Option<bool> {
        if number >= self.all {
            return None;
        }
        if number.saturating_add(REACH) < self.next {
            return Some(false);
        }
        // Those that were left out are not there yet.
        if number >= self.next.saturating_add(REACH) {
            self.seen.fill(0);
        } else {
            for left_out in self.next..number {
                let (word, bit) = self.bit(left_out);
                *word &= !bit;
            }
        }
        let is_newest = number >= self.next;
        let (word, bit) = self.bit(number);
        let new = is_newest || *word & bit == 0;
        *word |= bit;
        self.next = self.next.max(number + 1);
        if new && number < self.warm_up {
            self.warmed += 1;
        } else if new {
            self.measured += 1;
        }
        Some(new)
    }

    fn bit(&mut self, number: u64) -> (&mut u64, u64) {
        let place = number % REACH;
        (&mut self.seen[(place / 64) as usize], 1 << (place % 64))
    }

    /// How many of those that are measured.
    pub fn measured(&self) -> u64 {
        self.measured
    }

    /// How many with the warm-up.
    pub fn all(&self) -> u64 {
        self.warmed + self.measured
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_counted_once_in_any_order() {
        let mut arrivals = Arrivals::new(3, 100);
        for number in (0..103).rev().chain(0..103) {
            assert!(arrivals.come(number).is_some(), "{number}");
        }
        assert_eq!(arrivals.come(5), Some(false));
        assert_eq!((arrivals.measured(), arrivals.all()), (100, 103));
        assert_eq!(arrivals.come(103), None);
        assert_eq!(arrivals.come(u64::MAX), None);
    }

    #[test]
    fn those_that_were_left_out_may_come_later_but_not_much_later() {
        let mut arrivals = Arrivals::new(0, u64::MAX);
        for number in 0..REACH {
            assert_eq!(arrivals.come(number), Some(true));
        }
        // All the bits are used a second time, but for one that is left out.
        for number in (REACH..2 * REACH).filter(|number| *number != REACH + 70) {
            assert_eq!(arrivals.come(number), Some(true), "{number}");
            assert_eq!(arrivals.come(number), Some(false), "{number}");
        }
        assert_eq!(arrivals.come(REACH + 70), Some(true));
        assert_eq!(arrivals.come(REACH - 1), Some(false));
        // A leap over everything.
        assert_eq!(arrivals.come(10 * REACH), Some(true));
        assert_eq!(arrivals.come(10 * REACH - 7), Some(true));
        assert_eq!(arrivals.come(9 * REACH - 7), Some(false));
        assert_eq!(arrivals.come(10 * REACH), Some(false));
        assert_eq!(arrivals.all(), 2 * REACH + 2);
    }
}
