//! Medians, their spread, and what is beyond the noise. Pure.

/// Rounds on either side below which no difference is called one.
pub const ROUNDS_NEEDED: usize = 3;

/// The share of the old median below which no difference is called one: two builds of the same code differ by as much.
pub const LEAST_CHANGE: f64 = 0.05;

/// Some values, summed up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// How many.
    pub count: usize,
    /// The least.
    pub least: f64,
    /// A quarter lies below.
    pub lower: f64,
    /// Half of them do.
    pub median: f64,
    /// Three quarters do.
    pub upper: f64,
    /// The most.
    pub most: f64,
}

impl Summary {
    /// Of these values; `None` without any. Values that are no numbers do not count.
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let (&least, &most) = (sorted.first()?, sorted.last()?);
        Some(Self {
            count: sorted.len(),
            least,
            lower: quantile(&sorted, 0.25),
            median: quantile(&sorted, 0.5),
            upper: quantile(&sorted, 0.75),
            most,
        })
    }

    /// From the least to the most, as a share of the median; `None` of one value, or around nothing.
    pub fn spread(&self) -> Option<f64> {
        let share = (self.most - self.least) / self.median;
        (self.count > 1 && share.is_finite()).then_some(share)
    }
}

/// Between two neighbours it is as far as the rank is.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let rank = share * (sorted.len() - 1) as f64;
    let below = sorted[rank.floor() as usize];
    let above = sorted[rank.ceil() as usize];
    // Not above - below, which may be more than a number can say.
    let part = rank.fract();
    below * (1.0 - part) + above * part
}

/// How a value now differs from before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// More than the noise, upwards.
    Higher,
    /// More than the noise, downwards.
    Lower,
    /// Not more than the noise.
    Noise,
    /// Too few rounds to know the noise.
    Unknown,
}

/// Beyond the noise are medians further apart than both spreads (least to most) together, and than [`LEAST_CHANGE`].
pub fn difference(old: &Summary, new: &Summary) -> Difference {
    if old.count.min(new.count) < ROUNDS_NEEDED {
        return Difference::Unknown;
    }
    let apart = new.median - old.median;
    let noise = (old.most - old.least) + (new.most - new.least);
    if apart.abs() <= noise.max(LEAST_CHANGE * old.median.abs()) {
        Difference::Noise
    } else if apart > 0.0 {
        Difference::Higher
    } else {
        Difference::Lower
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(values: &[f64]) -> Summary {
        Summary::of(values).unwrap()
    }

    #[test]
    fn the_median_of_even_counts_lies_between_the_two_in_the_middle() {
        assert_eq!(of(&[4.0, 1.0, 3.0, 2.0]).median, 2.5);
        let five = of(&[5.0, 1.0, 9.0, 2.0, 3.0]);
        assert_eq!(
            (five.least, five.lower, five.median, five.upper, five.most),
            (1.0, 2.0, 3.0, 5.0, 9.0)
        );
        assert_eq!(five.spread(), Some(8.0 / 3.0));
    }

    #[test]
    fn nothing_has_no_median_and_one_value_no_spread() {
        assert_eq!(Summary::of(&[]), None);
        assert_eq!(Summary::of(&[f64::NAN, f64::INFINITY]), None);
        assert_eq!(of(&[7.0]).spread(), None);
        assert_eq!(of(&[0.0, 0.0]).spread(), None);
    }

    #[test]
    fn a_difference_is_one_beyond_both_spreads_and_five_percent() {
        let old = of(&[100.0, 101.0, 102.0]);
        let judged = |values: &[f64]| difference(&old, &of(values));
        assert_eq!(judged(&[110.0, 111.0, 112.0]), Difference::Higher);
        assert_eq!(judged(&[90.0, 91.0, 92.0]), Difference::Lower);
        // 4.9 % and quiet; 20 % and noisy; 20 % and seen twice alone.
        assert_eq!(judged(&[105.9, 105.9, 105.9]), Difference::Noise);
        assert_eq!(judged(&[105.0, 121.0, 140.0]), Difference::Noise);
        assert_eq!(judged(&[120.0, 121.0]), Difference::Unknown);
    }

    proptest! {
        #[test]
        fn quartiles_are_in_order(values in prop::collection::vec(0.0..f64::MAX, 1..20)) {
            let summary = of(&values);
            prop_assert!(summary.least <= summary.median && summary.median <= summary.most);
            prop_assert!(summary.median.is_finite());
        }

        #[test]
        fn a_run_does_not_differ_from_itself(values in prop::collection::vec(prop::num::f64::ANY, 1..20)) {
            if let Some(summary) = Summary::of(&values) {
                let verdict = difference(&summary, &summary);
                prop_assert!(matches!(verdict, Difference::Noise | Difference::Unknown));
            }
        }
    }
}
