//! What a function keeps for each series, found by name and bounded in number; and what it was told of them.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use stage::params::{FromParam, ParamError};
use stage::senml::is_name;
use stage::{DropCause, Params};

/// The most series that are kept; each costs memory, and a peer chooses the names.
pub const MAX_SERIES: usize = 1024;

/// The value of `name`: what the records that a function makes are named.
pub fn record_name(params: &Params<'_>) -> Result<String, ParamError> {
    let name: &str = params.require("name")?;
    if is_name(name) {
        return Ok(name.to_owned());
    }
    Err(ParamError::bad("name", name, "a name that SenML can carry"))
}

/// The value of `key` is not `expected`.
pub fn bad(params: &Params<'_>, key: &str, expected: &str) -> ParamError {
    ParamError::bad(key, params.text(key).unwrap_or_default(), expected)
}

/// Sets a number to what a parameter says.
pub fn set_number(number: &mut f64, text: &str) {
    if let Some(given) = f64::from_param(text) {
        *number = given;
    }
}

/// What parameters say of series: of some by their names, of all others alike.
#[derive(Debug)]
pub struct Rules<R> {
    /// By name, in the order in which they were first told of.
    pub named: Vec<(String, R)>,
    /// Of all others; what is not said of one by name holds for it as well.
    pub others: R,
}

impl<R: Copy> Rules<R> {
    /// The same for all series.
    pub fn new(others: R) -> Self {
        Self {
            named: Vec::new(),
            others,
        }
    }

    /// Takes in the parameters of a family, whose keys are `prefix` and the name of a series.
    /// `set` is given the text of a value, which is of the kind that the family is declared as; for all kinds there is one copy
    /// of this code.
    pub fn read(
        &mut self,
        params: &Params<'_>,
        prefix: &str,
        set: fn(&mut R, &str),
    ) -> Result<(), ParamError> {
        for (series, value) in params.family(prefix) {
            set(self.of_mut(prefix, series)?, value);
        }
        Ok(())
    }

    fn of_mut(&mut self, prefix: &str, series: &str) -> Result<&mut R, ParamError> {
        if !is_name(series) {
            let key = format!("{prefix}{series}");
            return Err(ParamError::bad(&key, series, "the name of a series"));
        }
        let known = self.named.iter().position(|(known, _)| known == series);
        let index = known.unwrap_or(self.named.len());
        if known.is_none() {
            self.named.push((series.to_owned(), self.others));
        }
        Ok(&mut self.named[index].1)
    }

    /// What holds for a series.
    pub fn of(&self, series: &str) -> R {
        let named = self.named.iter().find(|(known, _)| known == series);
        named.map_or(self.others, |(_, rule)| *rule)
    }
}

/// A value for each series, in order of their names.
#[derive(Debug)]
pub struct PerSeries<T> {
    /// Boxed, so that little moves when one comes between others.
    entries: Vec<(String, Box<T>)>,
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

    /// Every series and what is kept for it, in order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut T)> {
        let entries = self.entries.iter_mut();
        entries.map(|(name, value)| (name.as_str(), &mut **value))
    }

    fn place(&mut self, name: &str, make: impl FnOnce() -> T) -> Result<usize, DropCause> {
        let place = self
            .entries
            .binary_search_by(|(known, _)| known.as_str().cmp(name));
        match place {
            Ok(index) => Ok(index),
            Err(_) if self.entries.len() >= MAX_SERIES => Err(DropCause::TooManySeries),
            Err(index) => {
                self.entries
                    .insert(index, (name.to_owned(), Box::new(make())));
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
