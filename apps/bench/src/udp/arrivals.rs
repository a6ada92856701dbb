//! Which messages have come, each counted once. Pure.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Which messages have come.
pub struct Arrivals {
    seen: Vec<u64>,
    all: u64,
    /// So many come before those that are measured.
    warm_up: u64,
    warmed: u64,
    measured: u64,
}

impl Arrivals {
    /// None yet, of so many.
    pub fn new(warm_up: u64, count: u64) -> Result<Self, String> {
        let all = warm_up + count;
        let words = usize::try_from(all.div_ceil(64)).unwrap_or(usize::MAX);
        let mut seen = Vec::new();
        seen.try_reserve_exact(words)
            .map_err(|error| format!("count=: {error}; take fewer"))?;
        seen.resize(words, 0);
        Ok(Self {
            seen,
            all,
            warm_up,
            warmed: 0,
            measured: 0,
        })
    }

    /// This one has come; whether it is one that was not there yet, and `None` for a number that nobody sends.
    pub fn come(&mut self, number: u64) -> Option<bool> {
        if number >= self.all {
            return None;
        }
        let word = self.seen.get_mut((number / 64) as usize)?;
        let bit = 1 << (number % 64);
        let new = *word & bit == 0;
        *word |= bit;
        if new && number < self.warm_up {
            self.warmed += 1;
        } else if new {
            self.measured += 1;
        }
        Some(new)
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
        let mut arrivals = Arrivals::new(3, 100).unwrap();
        for number in (0..103).rev().chain(0..103) {
            assert!(arrivals.come(number).is_some(), "{number}");
        }
        assert_eq!(arrivals.come(5), Some(false));
        assert_eq!((arrivals.measured(), arrivals.all()), (100, 103));
        assert_eq!(arrivals.come(103), None);
        assert_eq!(arrivals.come(u64::MAX), None);
    }

    #[test]
    fn more_than_memory_holds_is_refused() {
        assert!(Arrivals::new(0, u64::MAX).is_err());
    }
}
