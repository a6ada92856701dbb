//! What a function keeps for each series: found by name, bounded in number.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use stage::DropCause;

/// The most series that are kept; each costs memory, and a peer chooses the names.
pub const MAX_SERIES: usize = 1024;

/// A value for each series, in order of their names.
#[derive(Debug)]
pub struct PerSeries<T> {
    entries: Vec<(String, T)>,
    /// The series that was last asked for; the next is most often the same or the one after.
    recent: usize,
}

impl<T> Default for PerSeries<T> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            recent: 0,
        }
    }
}

impl<T> PerSeries<T> {
    /// What is kept for `name`; `make` makes it the first time.
    pub fn of(&mut self, name: &str, make: impl FnOnce() -> T) -> Result<&mut T, DropCause> {
        let is = |index: &usize| {
            self.entries
                .get(*index)
                .is_some_and(|(known, _)| known == name)
        };
        let index = match [self.recent, self.recent + 1].into_iter().find(is) {
            Some(index) => index,
            None => self.place(name, make)?,
        };
        self.recent = index;
        match self.entries.get_mut(index) {
            Some((_, value)) => Ok(value),
            None => Err(DropCause::TooManySeries),
        }
    }

    fn place(&mut self, name: &str, make: impl FnOnce() -> T) -> Result<usize, DropCause> {
        let place = self
            .entries
            .binary_search_by(|(known, _)| known.as_str().cmp(name));
        match place {
            Ok(index) => Ok(index),
            Err(_) if self.entries.len() >= MAX_SERIES => Err(DropCause::TooManySeries),
            Err(index) => {
                self.entries.insert(index, (name.to_owned(), make()));
                Ok(index)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    #[test]
    fn each_series_finds_its_own_again_whatever_the_order() {
        let mut counts = PerSeries::default();
        for round in 1..=3 {
            for name in ["b", "a", "c", "a"] {
                *counts.of(name, || 0).unwrap() += round;
            }
        }
        let count = |counts: &mut PerSeries<u32>, name| *counts.of(name, || 0).unwrap();
        assert_eq!(
            ["a", "b", "c", "d"].map(|name| count(&mut counts, name)),
            [12, 6, 6, 0]
        );
    }

    #[test]
    fn one_series_too_many_is_dropped_and_the_others_go_on() {
        let mut kept = PerSeries::default();
        for n in 0..MAX_SERIES {
            assert!(kept.of(&format!("s{n}"), || n).is_ok());
        }
        assert_eq!(kept.of("t", || 0), Err(DropCause::TooManySeries));
        assert_eq!(kept.of("s7", || 0), Ok(&mut 7));
    }
}
