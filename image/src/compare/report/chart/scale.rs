//! From values to pixels. Pure.

/// An axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    log: bool,
    from: f64,
    to: f64,
    start: f64,
    end: f64,
}

/// Values nearer to nothing than this do not stand on a logarithmic axis.
const LEAST: f64 = 1e-12;

impl Scale {
    /// From nothing to the most of these values, over these pixels.
    pub fn linear(values: impl IntoIterator<Item = f64>, start: f64, end: f64) -> Self {
        let most = values
            .into_iter()
            .filter(|v| v.is_finite())
            .fold(0.0, f64::max);
        let to = if most > 0.0 { most } else { 1.0 };
        Self {
            log: false,
            from: 0.0,
            to,
            start,
            end,
        }
    }

    /// Over the powers of `base` around these values.
    pub fn log(values: impl IntoIterator<Item = f64>, base: f64, start: f64, end: f64) -> Self {
        let usable = values.into_iter().filter(|v| v.is_finite() && *v >= LEAST);
        let (least, most) = usable.fold((f64::INFINITY, 0.0), |(least, most), v| {
            (f64::min(least, v), f64::max(most, v))
        });
        let (least, most) = if most > 0.0 {
            (least, most)
        } else {
            (1.0, base)
        };
        let power = |value: f64| value.ln() / base.ln();
        let low = (power(least) + 1e-9).floor();
        let high = (power(most) - 1e-9).ceil().max(low + 1.0);
        Self {
            log: true,
            from: base.powf(low),
            to: base.powf(high).min(f64::MAX),
            start,
            end,
        }
    }

    /// The same, with its upper end, and where `both` says so its lower one, no further than the values need.
    pub fn tight(mut self, values: impl IntoIterator<Item = f64>, both: bool) -> Self {
        let usable = values.into_iter().filter(|v| v.is_finite() && *v >= LEAST);
        let (least, most) = usable.fold((f64::INFINITY, 0.0), |(least, most), v| {
            (f64::min(least, v), f64::max(most, v))
        });
        if self.log && most > self.from * 1.5 {
            self.to = self.to.min(most * 1.1);
        }
        if self.log && both && least < self.to / 1.5 {
            self.from = self.from.max(least / 1.1);
        }
        self
    }

    /// Where a value stands; what lies outside stands at the edge.
    pub fn at(&self, value: f64) -> f64 {
        let part = if self.log {
            (value.max(LEAST) / self.from).ln() / (self.to / self.from).ln()
        } else {
            value / self.to
        };
        let part = if part.is_finite() {
            part.clamp(0.0, 1.0)
        } else {
            0.0
        };
        self.start + part * (self.end - self.start)
    }

    /// At most `most` values to name on it: powers of `base`, evenly left out.
    pub fn ticks(&self, base: f64, most: usize) -> Vec<f64> {
        if !self.log {
            return vec![0.0, self.to / 2.0, self.to];
        }
        let power = |value: f64| value.ln() / base.ln();
        let low = (power(self.from) - 1e-9).ceil() as i32;
        let high = (power(self.to) + 1e-9).floor() as i32;
        let step = (high.saturating_sub(low).max(0) as usize)
            .div_ceil(most.max(2) - 1)
            .max(1);
        (low..=high)
            .step_by(step)
            .map(|power| base.powi(power))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_logarithmic_axis_runs_from_power_to_power() {
        let scale = Scale::log([20.0, 3_000.0], 10.0, 0.0, 300.0);
        assert_eq!(scale.from, 10.0);
        for (value, at) in [
            (10.0, 0.0),
            (100.0, 100.0),
            (1_000.0, 200.0),
            (1e9, 300.0),
            (0.0, 0.0),
        ] {
            assert!(
                (scale.at(value) - at).abs() < 0.01,
                "{value}: {}",
                scale.at(value)
            );
        }
        let ticks = scale.ticks(10.0, 4);
        assert_eq!(ticks.len(), 4);
        assert!(scale.ticks(10.0, 3).len() <= 3);
    }

    proptest! {
        #[test]
        fn every_value_stands_on_the_picture(values in prop::collection::vec(prop::num::f64::ANY, 0..9), at in prop::num::f64::ANY) {
            for scale in [
                Scale::log(values.clone(), 10.0, 5.0, 95.0),
                Scale::log(values.clone(), 10.0, 5.0, 95.0).tight(values.clone(), true),
                Scale::log(values.clone(), 10.0, 5.0, 95.0).tight(values.clone(), false),
                Scale::log(values.clone(), 2.0, 95.0, 5.0),
                Scale::linear(values.clone(), 5.0, 95.0),
            ] {
                prop_assert!((5.0..=95.0).contains(&scale.at(at)));
                let ticks = scale.ticks(10.0, 6);
                prop_assert!(ticks.len() <= 7, "{}", ticks.len());
            }
        }
    }
}
