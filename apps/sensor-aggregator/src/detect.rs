//! `detect`: raises an alert when a series leaves what is usual, and clears it when it is back, once each.
//!
//! Two ways to say what is usual: fixed limits (`above.SERIES`, `below.SERIES`) with a hysteresis, or as many standard deviations
//! from a moving mean as `sigmas` says (EWMA mean and variance, weight `alpha`), judged after `warm-up` readings. What is unusual does
//! not move the mean while its alert stands, so that a long anomaly does not become the usual.
//!
//! An alert is a record `SERIES:alert` with a truth value and the time of the reading that brought it about: true when it is
//! raised, false when it is cleared.

use alloc::string::String;
use alloc::vec::Vec;

use stage::params::{Count, ParamError};
use stage::senml::{MAX_NAME, is_name};
use stage::{DropCause, EdgeKind, Kind, Outputs, Parameter, Params, Reading, Setup, SetupError};
use stage::{Stage, Value, Verdict};

use crate::series::PerSeries;

/// What the names of alerts end with.
pub const SUFFIX: &str = ":alert";

/// The detector.
#[derive(Debug)]
pub struct Detect {
    limits: Vec<(String, Limits)>,
    hysteresis: f64,
    /// How far from the mean is unusual; none where only limits count.
    sigmas: Option<f64>,
    alpha: f64,
    warm_up: u64,
    series: PerSeries<State>,
    /// Where the name of an alert is put together.
    name: String,
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    above: f64,
    below: f64,
}

const NONE: Limits = Limits {
    above: f64::INFINITY,
    below: f64::NEG_INFINITY,
};

/// What is known of a series.
#[derive(Debug, Default)]
struct State {
    raised: bool,
    readings: u64,
    mean: f64,
    variance: f64,
}

impl Stage for Detect {
    const NAME: &'static str = "detect";
    const ABOUT: &'static str = "raises and clears an alert when a series leaves what is usual";
    const PARAMETERS: &'static [Parameter] = &[
        Parameter::new(
            "above.SERIES",
            Kind::Number,
            "",
            "an alert when a value of the series is above this",
        ),
        Parameter::new(
            "below.SERIES",
            Kind::Number,
            "",
            "an alert when a value of the series is below this",
        ),
        Parameter::new(
            "hysteresis",
            Kind::Number,
            "0",
            "how far a value must be back within its limits",
        ),
        Parameter::new(
            "sigmas",
            Kind::Number,
            "",
            "an alert when a value is so many standard deviations from the moving mean",
        ),
        Parameter::new(
            "alpha",
            Kind::Number,
            "0.1",
            "weight of the newest value in the moving mean, above 0 and at most 1",
        ),
        Parameter::new(
            "warm-up",
            Kind::Integer,
            "30",
            "readings of a series before its moving mean counts",
        ),
    ];
    const EDGES: &'static [EdgeKind] = &[
        EdgeKind::inputs(Count::AtLeastOne, "readings"),
        EdgeKind::outputs(Count::AtLeastOne, "alerts"),
    ];

    fn new(setup: &Setup<'_>) -> Result<Self, SetupError> {
        let params = setup.params;
        let positive = |key: &str, value: f64, most: f64| {
            let fits = value > 0.0 && value <= most;
            let given = params.text(key).unwrap_or_default();
            if fits {
                Ok(value)
            } else {
                Err(ParamError::bad(key, given, "above 0 and not too large"))
            }
        };
        let hysteresis: f64 = params.require("hysteresis")?;
        if hysteresis < 0.0 {
            return Err(ParamError::bad(
                "hysteresis",
                params.text("hysteresis").unwrap_or_default(),
                "at least 0",
            )
            .into());
        }
        let sigmas = params
            .get("sigmas")?
            .map(|sigmas| positive("sigmas", sigmas, f64::MAX))
            .transpose()?;
        let limits = limits(params)?;
        if limits.is_empty() && sigmas.is_none() {
            return Err(ParamError::bad(
                "sigmas",
                "",
                "possible without above.SERIES or below.SERIES; give one of the three",
            )
            .into());
        }
        Ok(Self {
            limits,
            hysteresis,
            sigmas,
            alpha: positive("alpha", params.require("alpha")?, 1.0)?,
            warm_up: params.require("warm-up")?,
            series: PerSeries::default(),
            name: String::new(),
        })
    }

    fn reading(&mut self, _input: usize, reading: &Reading<'_>, out: &mut Outputs) -> Verdict {
        let Value::Number(value) = reading.value else {
            return Verdict::Dropped(DropCause::WrongType);
        };
        if !value.is_finite() {
            return Verdict::Dropped(DropCause::NotFinite);
        }
        if reading.name.len() + SUFFIX.len() > MAX_NAME {
            return Verdict::Dropped(DropCause::Unsendable);
        }
        let limits = self
            .limits
            .iter()
            .find(|(series, _)| series == reading.name)
            .map_or(NONE, |(_, limits)| *limits);
        let (sigmas, warm_up, alpha, hysteresis) =
            (self.sigmas, self.warm_up, self.alpha, self.hysteresis);
        let state = match self.series.of(reading.name, State::default) {
            Ok(state) => state,
            Err(cause) => return Verdict::Dropped(cause),
        };
        let before = state.raised;
        state.raised = limits.broken_by(value, before, hysteresis)
            || sigmas.is_some_and(|sigmas| state.is_far(value, sigmas, warm_up));
        if !state.raised {
            state.learn(value, alpha);
        }
        if state.raised == before {
            return Verdict::Used;
        }
        let raised = state.raised;
        self.name.clear();
        self.name.push_str(reading.name);
        self.name.push_str(SUFFIX);
        out.emit(&Reading {
            name: &self.name,
            unit: "",
            time: reading.time,
            value: Value::Boolean(raised),
        })
    }
}

impl Limits {
    /// Whether `value` is outside; once it was, it has to be back by the hysteresis.
    fn broken_by(self, value: f64, raised: bool, hysteresis: f64) -> bool {
        let back = if raised { hysteresis } else { 0.0 };
        value > self.above - back || value < self.below + back
    }
}

impl State {
    /// Whether `value` is farther from the mean than so many standard deviations. A series that never moved has none, and then any
    /// other value is far.
    fn is_far(&self, value: f64, sigmas: f64, warm_up: u64) -> bool {
        let distance = value - self.mean;
        self.readings >= warm_up && distance * distance > sigmas * sigmas * self.variance
    }

    /// The exponentially weighted mean and variance (West 1979, for a constant weight).
    fn learn(&mut self, value: f64, alpha: f64) {
        self.readings = self.readings.saturating_add(1);
        if self.readings == 1 {
            self.mean = value;
            return;
        }
        let distance = value - self.mean;
        self.mean += alpha * distance;
        self.variance = (1.0 - alpha) * (self.variance + alpha * distance * distance);
    }
}

/// What the keys of a part begin with, and which it is.
type Part = (&'static str, fn(&mut Limits) -> &mut f64);

fn limits(params: &Params<'_>) -> Result<Vec<(String, Limits)>, ParamError> {
    let mut limits: Vec<(String, Limits)> = Vec::new();
    let parts: [Part; 2] = [
        ("above.", |limits| &mut limits.above),
        ("below.", |limits| &mut limits.below),
    ];
    for (prefix, part) in parts {
        for (series, value) in params.family_of::<f64>(prefix)? {
            if !is_name(series) {
                return Err(ParamError::bad(prefix, series, "the name of a series"));
            }
            let known = limits.iter().position(|(known, _)| known == series);
            let index = known.unwrap_or(limits.len());
            if known.is_none() {
                limits.push((series.into(), NONE));
            }
            *part(&mut limits[index].1) = value;
        }
    }
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{Bench, booleans, number};
    use proptest::prelude::*;
    use std::format;

    fn alerts(command: &str, values: &[f64]) -> Vec<bool> {
        let mut bench = Bench::<Detect>::new(command, 1);
        for value in values {
            let _ = bench.reading(&number("s", *value));
        }
        booleans(&mut bench.out)
            .into_iter()
            .map(|(_, raised)| raised)
            .collect()
    }

    #[test]
    fn an_alert_is_raised_once_and_cleared_once() {
        let values = [1.0, 5.1, 6.0, 7.0, 5.0, 4.0, 1.0];
        assert_eq!(alerts("above.s=5", &values), [true, false]);
        assert_eq!(alerts("below.s=2", &values), [true, false, true]);
    }

    #[test]
    fn a_value_that_trembles_at_its_limit_does_not_make_the_alert_tremble() {
        let values = [5.1, 4.9, 5.1, 4.9, 3.9, 5.1];
        assert_eq!(alerts("above.s=5", &values).len(), 5);
        assert_eq!(
            alerts("above.s=5 hysteresis=1", &values),
            [true, false, true]
        );
    }

    #[test]
    fn what_is_far_from_the_mean_is_told_and_does_not_become_the_usual() {
        let mut values: Vec<f64> = (0..60).map(|n| f64::from(n % 3)).collect();
        values.extend([50.0; 100]);
        values.extend([1.0; 3]);
        assert_eq!(alerts("sigmas=5", &values), [true, false]);
        assert_eq!(
            alerts("sigmas=5 warm-up=100", &values[..70]),
            [],
            "not yet warm"
        );
    }

    #[test]
    fn the_alert_carries_the_name_of_its_series_and_its_time() {
        let mut bench = Bench::<Detect>::new("above.a/b=0", 1);
        let _ = bench.reading(&number("a/b", 1.0));
        assert_eq!(booleans(&mut bench.out), [("a/b:alert".into(), true)]);
        let long = "n".repeat(MAX_NAME - 2);
        let verdict = bench.reading(&number(&long, 1.0));
        assert_eq!(verdict, Verdict::Dropped(DropCause::Unsendable));
    }

    #[test]
    fn a_series_without_limits_is_silent_and_what_is_no_number_is_dropped() {
        let mut bench = Bench::<Detect>::new("above.s=0", 1);
        assert_eq!(bench.reading(&number("t", 9.0)), Verdict::Used);
        assert_eq!(
            bench.reading(&number("s", f64::NAN)),
            Verdict::Dropped(DropCause::NotFinite)
        );
        assert!(booleans(&mut bench.out).is_empty());
    }

    #[test]
    fn a_detector_of_nothing_is_refused() {
        for (command, key) in [
            ("", "sigmas"),
            ("sigmas=0", "sigmas"),
            ("above.s=1 alpha=1.1", "alpha"),
            ("above.s=1 hysteresis=-1", "hysteresis"),
        ] {
            let error = Bench::<Detect>::refused(command);
            assert!(error.starts_with(key), "{command}: {error}");
        }
    }

    proptest! {
        #[test]
        fn alerts_alternate_whatever_comes(values in prop::collection::vec(any::<f64>(), 0..80), sigmas in 0.1..9.0f64) {
            let command = format!("above.s=1e9 below.s=-1e9 hysteresis=10 sigmas={sigmas} warm-up=5");
            let told = alerts(&command, &values);
            for (place, raised) in told.iter().enumerate() {
                prop_assert_eq!(*raised, place % 2 == 0);
            }
        }
    }
}
