//! Lengths of time, counted in classes that are each some 3 % wide. Pure.

use alloc::vec;
use alloc::vec::Vec;

/// Classes to a doubling.
const CLASSES: u64 = 32;
/// Doublings that are told apart: up to 2^40 ns, 18 minutes.
const DOUBLINGS: usize = 40;

/// How often each length of time was seen.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; DOUBLINGS * CLASSES as usize],
            total: 0,
            max: 0,
        }
    }
}

/// The class of a value: below [`CLASSES`] each value has its own, above that each doubling has as many.
fn class(value: u64) -> usize {
    if value < CLASSES {
        return value as usize;
    }
    let doubling = u64::from(value.ilog2() - CLASSES.ilog2());
    let within = (value >> doubling) - CLASSES;
    ((doubling + 1) * CLASSES + within) as usize
}

/// The largest value of a class.
fn upper(class: usize) -> u64 {
    let class = class as u64;
    if class < CLASSES {
        return class;
    }
    let doubling = class / CLASSES - 1;
    let first = (CLASSES + class % CLASSES) << doubling;
    first + ((1 << doubling) - 1)
}

impl Histogram {
    /// Counts one value.
    pub fn add(&mut self, value: u64) {
        let last = self.counts.len() - 1;
        self.counts[class(value).min(last)] += 1;
        self.total += 1;
        self.max = self.max.max(value);
    }

    /// The value that `parts` of `of` values do not exceed, as exactly as its class; 0 without values.
    pub fn quantile(&self, parts: u64, of: u64) -> u64 {
        let wanted = (u128::from(self.total) * u128::from(parts)).div_ceil(of.into());
        let mut seen = 0;
        for (class, count) in self.counts.iter().enumerate() {
            seen += u128::from(*count);
            if seen >= wanted && seen > 0 {
                return upper(class).min(self.max);
            }
        }
        self.max
    }

    /// The largest value.
    pub fn max(&self) -> u64 {
        self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_holds_its_values_and_is_narrow() {
        for value in (0..5000).chain([1 << 20, (1 << 30) + 12_345, u32::MAX.into()]) {
            let upper = upper(class(value));
            assert!(upper >= value, "{value}");
            assert!(
                upper - value <= value / CLASSES,
                "{value} counts as {upper}"
            );
            assert_eq!(class(upper), class(value));
            assert_eq!(class(upper + 1), class(value) + 1);
        }
    }

    #[test]
    fn quantiles_are_those_of_the_values() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(1, 2), 0);
        (1..=1000).for_each(|value| histogram.add(value * 1000));
        let near = |value: u64, wanted: u64| value >= wanted && value - wanted <= wanted / CLASSES;
        assert!(near(histogram.quantile(50, 100), 500_000));
        assert!(near(histogram.quantile(99, 100), 990_000));
        assert!(near(histogram.quantile(999, 1000), 999_000));
        assert_eq!(histogram.quantile(1, 1), 1_000_000);
        assert_eq!(histogram.max(), 1_000_000);
    }

    #[test]
    fn a_value_beyond_all_classes_is_counted_as_the_largest() {
        let mut histogram = Histogram::default();
        histogram.add(u64::MAX);
        assert_eq!(histogram.max(), u64::MAX);
        assert_eq!(histogram.counts.iter().sum::<u64>(), 1);
    }
}
