//! `filter`: hands on readings that are worth it, calibrated and smoothed.
//!
//! In this order, each step for every series by itself: calibration (`scale.SERIES`, `offset.SERIES`), range (`min.SERIES`,
//! `max.SERIES`), a median of the last values (`median`), their mean (`mean`), and a dead band (`dead-band`), within which a value is
//! not worth telling again. A reading that is not a number, or out of range, is dropped before it reaches what is smoothed; one
//! in the dead band is used, and nothing is emitted for it. What is emitted has name, unit and time of its reading.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::vec::Vec;

use stage::params::{Count, ParamError};
use stage::{DropCause, EdgeKind, Kind, Outputs, Parameter, Params, Reading, Setup, SetupError};
use stage::{Stage, Value, Verdict};

use crate::series::{PerSeries, Rules, bad, set_number};

/// The most values that are smoothed together.
const MOST: u64 = 256;

/// The filter.
#[derive(Debug)]
pub struct Filter {
    rules: Rules<Rule>,
    median: usize,
    mean: usize,
    dead_band: f64,
    series: PerSeries<State>,
}

/// What a series is calibrated with, and what is allowed of it.
#[derive(Debug, Clone, Copy)]
struct Rule {
    scale: f64,
    offset: f64,
    min: f64,
    max: f64,
}

const ANY: Rule = Rule {
    scale: 1.0,
    offset: 0.0,
    min: f64::NEG_INFINITY,
    max: f64::INFINITY,
};

/// The last values of a series on their way through the steps.
#[derive(Debug, Default)]
struct State {
    for_median: VecDeque<f64>,
    for_mean: VecDeque<f64>,
    emitted: Option<f64>,
}

impl Stage for Filter {
    const NAME: &'static str = "filter";
    const ABOUT: &'static str =
        "calibrates, bounds and smooths readings, and leaves out what is not new";
    const PARAMETERS: &'static [Parameter] = &[
        Parameter::new(
            "scale.SERIES",
            Kind::Number,
            "",
            "what values of a series are multiplied by [1]",
        ),
        Parameter::new(
            "offset.SERIES",
            Kind::Number,
            "",
            "what is added to them after that [0]",
        ),
        Parameter::new(
            "min.SERIES",
            Kind::Number,
            "",
            "least value of a series that is used",
        ),
        Parameter::new(
            "max.SERIES",
            Kind::Number,
            "",
            "greatest value of a series that is used",
        ),
        Parameter::new(
            "median",
            Kind::Integer,
            "1",
            "median of so many last values: odd, at most 255",
        ),
        Parameter::new(
            "mean",
            Kind::Integer,
            "1",
            "mean of so many last values, at most 256",
        ),
        Parameter::new(
            "dead-band",
            Kind::Number,
            "0",
            "a change of at most this much is not told",
        ),
    ];
    const EDGES: &'static [EdgeKind] = &[
        EdgeKind::inputs(Count::AtLeastOne, "readings"),
        EdgeKind::outputs(Count::AtLeastOne, "readings that are worth it"),
    ];

    fn new(setup: &Setup<'_>) -> Result<Self, SetupError> {
        let params = setup.params;
        let median = count(params, "median")?;
        if median.is_multiple_of(2) {
            return Err(bad(params, "median", "an odd number").into());
        }
        let dead_band: f64 = params.require("dead-band")?;
        if dead_band < 0.0 {
            return Err(bad(params, "dead-band", "at least 0").into());
        }
        Ok(Self {
            rules: rules(params)?,
            median,
            mean: count(params, "mean")?,
            dead_band,
            series: PerSeries::default(),
        })
    }

    fn reading(&mut self, _input: usize, reading: &Reading<'_>, out: &mut Outputs) -> Verdict {
        let Value::Number(raw) = reading.value else {
            return Verdict::Dropped(DropCause::WrongType);
        };
        let rule = self.rules.of(reading.name);
        let value = raw * rule.scale + rule.offset;
        if !value.is_finite() {
            return Verdict::Dropped(DropCause::NotFinite);
        }
        if value < rule.min || value > rule.max {
            return Verdict::Dropped(DropCause::OutOfRange);
        }
        let state = match self.series.of(reading.name, State::default) {
            Ok(state) => state,
            Err(cause) => return Verdict::Dropped(cause),
        };
        let value = middle(last(&mut state.for_median, self.median, value));
        let value = mean(last(&mut state.for_mean, self.mean, value));
        let is_new = state
            .emitted
            .is_none_or(|before| (value - before).abs() > self.dead_band || self.dead_band == 0.0);
        if !is_new {
            return Verdict::Used;
        }
        state.emitted = Some(value);
        out.emit(&Reading {
            value: Value::Number(value),
            ..*reading
        })
    }
}

/// The last `most` values, `value` being the latest.
fn last(values: &mut VecDeque<f64>, most: usize, value: f64) -> &VecDeque<f64> {
    if values.len() >= most {
        values.pop_front();
    }
    values.push_back(value);
    values
}

/// The median; of an even number of values the lower one in the middle, so that it is always one that was read.
fn middle(values: &VecDeque<f64>) -> f64 {
    let mut sorted: Vec<f64> = values.iter().copied().collect();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
        .get(sorted.len().saturating_sub(1) / 2)
        .copied()
        .unwrap_or_default()
}

/// Each value is divided before they are added, so that the largest ones do not become infinite.
fn mean(values: &VecDeque<f64>) -> f64 {
    let count = values.len() as f64;
    values.iter().map(|value| value / count).sum()
}

fn count(params: &Params<'_>, key: &str) -> Result<usize, ParamError> {
    let count: u64 = params.require(key)?;
    match usize::try_from(count) {
        Ok(small) if (1..=MOST).contains(&count) => Ok(small),
        _ => Err(bad(params, key, &format!("from 1 to {MOST}"))),
    }
}

fn rules(params: &Params<'_>) -> Result<Rules<Rule>, ParamError> {
    let mut rules = Rules::new(ANY);
    rules.read(params, "scale.", |rule, text| {
        set_number(&mut rule.scale, text)
    })?;
    rules.read(params, "offset.", |rule, text| {
        set_number(&mut rule.offset, text)
    })?;
    rules.read(params, "min.", |rule, text| set_number(&mut rule.min, text))?;
    rules.read(params, "max.", |rule, text| set_number(&mut rule.max, text))?;
    match rules.named.iter().find(|(_, rule)| rule.min > rule.max) {
        Some((series, _)) => Err(bad(
            params,
            &format!("max.{series}"),
            "at least min of the series",
        )),
        None => Ok(rules),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{Bench, emitted, number};
    use proptest::prelude::*;
    use std::vec;

    fn filtered(command: &str, values: &[f64]) -> Vec<f64> {
        let mut bench = Bench::<Filter>::new(command, 1);
        for value in values {
            let _ = bench.reading(&number("s", *value));
        }
        emitted(&mut bench.out)
            .into_iter()
            .map(|(_, value)| value)
            .collect()
    }

    #[test]
    fn without_parameters_everything_passes() {
        assert_eq!(filtered("", &[1.0, 1.0, -2.5]), [1.0, 1.0, -2.5]);
    }

    #[test]
    fn a_value_is_calibrated_before_it_is_judged() {
        assert_eq!(
            filtered("scale.s=10 offset.s=1 max.s=25", &[1.0, 2.0, 3.0]),
            [11.0, 21.0]
        );
    }

    #[test]
    fn a_spike_does_not_pass_a_median_and_a_step_does() {
        assert_eq!(
            filtered("median=3", &[1.0, 1.0, 99.0, 1.0, 5.0, 5.0]),
            [1.0, 1.0, 1.0, 1.0, 5.0, 5.0]
        );
    }

    #[test]
    fn a_mean_moves_with_the_last_values() {
        assert_eq!(filtered("mean=2", &[1.0, 3.0, 5.0]), [1.0, 2.0, 4.0]);
    }

    #[test]
    fn what_hardly_changes_is_told_once_and_slow_drift_is_not_lost() {
        assert_eq!(
            filtered("dead-band=1", &[0.0, 0.6, 1.0, 1.2, 0.4, 2.3]),
            [0.0, 1.2, 2.3]
        );
    }

    #[test]
    fn what_is_dropped_says_why_and_leaves_no_trace() {
        let mut bench = Bench::<Filter>::new("mean=4 min.s=0", 1);
        assert_eq!(bench.reading(&number("s", 2.0)), Verdict::Used);
        for (value, cause) in [
            (f64::NAN, DropCause::NotFinite),
            (f64::INFINITY, DropCause::NotFinite),
            (-1.0, DropCause::OutOfRange),
        ] {
            assert_eq!(bench.reading(&number("s", value)), Verdict::Dropped(cause));
        }
        let text = Reading {
            value: Value::Text("x"),
            ..number("s", 0.0)
        };
        assert_eq!(bench.reading(&text), Verdict::Dropped(DropCause::WrongType));
        let _ = bench.reading(&number("s", 4.0));
        let values: Vec<f64> = emitted(&mut bench.out)
            .into_iter()
            .map(|(_, value)| value)
            .collect();
        assert_eq!(values, [2.0, 3.0]);
    }

    #[test]
    fn parameters_that_make_no_sense_are_refused_by_name() {
        for (command, key) in [
            ("median=2", "median"),
            ("median=0", "median"),
            ("mean=257", "mean"),
            ("dead-band=-1", "dead-band"),
            ("min.s=2 max.s=1", "max.s"),
        ] {
            let error = Bench::<Filter>::refused(command);
            assert!(error.starts_with(key), "{command}: {error}");
        }
    }

    proptest! {
        #[test]
        fn smoothed_values_lie_between_those_they_come_from(
            values in prop::collection::vec(any::<f64>(), 1..40),
            median in 0..4usize, mean in 1..6usize
        ) {
            let command = std::format!("median={} mean={mean}", 2 * median + 1);
            let finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
            let (least, most) = finite.iter().fold((f64::MAX, f64::MIN), |(least, most), v| (least.min(*v), most.max(*v)));
            let passed = filtered(&command, &values);
            prop_assert_eq!(passed.len(), finite.len());
            // Rounding may carry a mean of equal values past them by its last bits.
            let slack = (least.abs().max(most.abs())) * 1e-12;
            for value in passed {
                prop_assert!(value.is_finite() && value >= least - slack && value <= most + slack, "{value}");
            }
        }
    }

    #[test]
    fn no_more_is_kept_than_is_smoothed() {
        let mut values = VecDeque::from(vec![1.0, 2.0]);
        assert_eq!(last(&mut values, 2, 3.0), &[2.0, 3.0]);
    }
}
