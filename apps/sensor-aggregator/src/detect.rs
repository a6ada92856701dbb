//! `detect`: raises an alert when a series leaves what is usual, and clears it when it is back, once each.
//!
//! Two ways to say what is usual: fixed limits (`above.SERIES`, `below.SERIES`) with a hysteresis, or as many standard deviations
//! from a moving mean as `sigmas` or `sigmas.SERIES` says (EWMA mean and variance, weight `alpha`), judged after `warm-up` readings. What is unusual does
//! not move the mean while its alert stands, so that a long anomaly does not become the usual.
//!
//! A series that is stuck, so many readings the same (`stuck`), is unusual too. One that is silent is told by a record `SERIES:stale`, a truth
//! value as well: true when it has said nothing for `stale` and up to half as long again, false at its next reading.
//!
//! An alert is a record `SERIES:alert` with a truth value and the time of the reading that brought it about: true when it is
//! raised, false when it is cleared. With `emit=all` every reading is handed on before what it brings about.

use alloc::format;
use alloc::string::String;
use core::time::Duration;

use stage::params::Count;
use stage::senml::MAX_NAME;
use stage::{DropCause, EdgeKind, Kind, Next, Outputs, Parameter, Reading, Setup, SetupError};
use stage::{Stage, Timestamp, Value, Verdict};

use crate::series::{PerSeries, Rules, bad, set_number};

/// What the names of alerts end with.
pub const SUFFIX: &str = ":alert";

/// What the names of records about silence end with.
pub const STALE: &str = ":stale";

/// The detector.
#[derive(Debug)]
pub struct Detect {
    limits: Rules<Limits>,
    hysteresis: f64,
    alpha: f64,
    warm_up: u64,
    /// Whether readings are handed on among the alerts.
    emits_all: bool,
    /// How many readings that are the same are unusual; 0 for none.
    stuck: u64,
    /// How long a series may say nothing.
    stale: Option<Duration>,
    series: PerSeries<State>,
    /// Where the name of an alert is put together.
    name: String,
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    above: f64,
    below: f64,
    /// How many standard deviations from the mean are unusual; infinite where only limits count.
    sigmas: f64,
}

const NONE: Limits = Limits {
    above: f64::INFINITY,
    below: f64::NEG_INFINITY,
    sigmas: f64::INFINITY,
};

/// What is known of a series.
#[derive(Debug, Default)]
struct State {
    raised: bool,
    readings: u64,
    mean: f64,
    variance: f64,
    last: Option<(Timestamp, f64)>,
    /// How often the last value came in a row.
    same: u64,
    /// Looks at the clock since the last reading.
    looks: u8,
    is_stale: bool,
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
        Parameter::new("sigmas.SERIES", Kind::Number, "", "the same for one series"),
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
        Parameter::new(
            "stuck",
            Kind::Integer,
            "0",
            "an alert when so many readings in a row are the same; 0 for none",
        ),
        Parameter::new(
            "stale",
            Kind::Duration,
            "",
            "a series that says nothing for so long is told to be stale",
        ),
        Parameter::new(
            "emit",
            Kind::Choice(&["alerts", "all"]),
            "alerts",
            "alerts alone, or every reading with them",
        ),
    ];
    const EDGES: &'static [EdgeKind] = &[
        EdgeKind::inputs(Count::AtLeastOne, "readings"),
        EdgeKind::outputs(Count::AtLeastOne, "alerts, and readings if asked for"),
    ];

    fn new(setup: &Setup<'_>) -> Result<Self, SetupError> {
        let params = setup.params;
        let positive = |key: &str, value: f64, most: f64| {
            let fits = value > 0.0 && value <= most;
            if fits {
                Ok(value)
            } else {
                Err(bad(params, key, "above 0 and not too large"))
            }
        };
        let hysteresis: f64 = params.require("hysteresis")?;
        if hysteresis < 0.0 {
            return Err(bad(params, "hysteresis", "at least 0").into());
        }
        let sigmas = match params.get("sigmas")? {
            Some(sigmas) => positive("sigmas", sigmas, f64::MAX)?,
            None => NONE.sigmas,
        };
        let mut limits = Rules::new(Limits { sigmas, ..NONE });
        limits.read(params, "above.", |limits, text| {
            set_number(&mut limits.above, text);
        })?;
        limits.read(params, "below.", |limits, text| {
            set_number(&mut limits.below, text);
        })?;
        limits.read(params, "sigmas.", |limits, text| {
            set_number(&mut limits.sigmas, text);
        })?;
        for (series, limits) in &limits.named {
            if limits.sigmas <= 0.0 {
                positive(&format!("sigmas.{series}"), limits.sigmas, f64::MAX)?;
            }
        }
        let stuck = params.require("stuck")?;
        let stale: Option<Duration> = params.get("stale")?;
        if stale.is_some_and(|span| span.is_zero()) {
            return Err(bad(params, "stale", "a span above 0").into());
        }
        let has_limits = !limits.named.is_empty() || sigmas != NONE.sigmas;
        if !has_limits && stuck == 0 && stale.is_none() {
            let expected =
                "possible without another: give above.SERIES, below.SERIES, sigmas, stuck or stale";
            return Err(bad(params, "sigmas", expected).into());
        }
        Ok(Self {
            limits,
            hysteresis,
            alpha: positive("alpha", params.require("alpha")?, 1.0)?,
            warm_up: params.require("warm-up")?,
            emits_all: params.text("emit") == Some("all"),
            stuck,
            stale,
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
        let limits = self.limits.of(reading.name);
        let (warm_up, alpha, hysteresis) = (self.warm_up, self.alpha, self.hysteresis);
        let state = match self.series.of(reading.name, State::default) {
            Ok(state) => state,
            Err(cause) => return Verdict::Dropped(cause),
        };
        let before = state.raised;
        let is_stuck = state.comes(reading.time, value) >= self.stuck && self.stuck > 0;
        let was_stale = core::mem::take(&mut state.is_stale);
        state.raised = limits.broken_by(value, before, hysteresis)
            || is_stuck
            || state.is_far(value, limits.sigmas, warm_up);
        if !state.raised {
            state.learn(value, alpha);
        }
        let raised = state.raised;
        let mut verdict = Verdict::Used;
        if was_stale {
            verdict = tell(
                &mut self.name,
                reading.name,
                STALE,
                reading.time,
                false,
                out,
            );
        }
        if self.emits_all {
            verdict = out.emit(reading);
        }
        if raised != before {
            verdict = tell(
                &mut self.name,
                reading.name,
                SUFFIX,
                reading.time,
                raised,
                out,
            );
        }
        verdict
    }

    /// Looks for series that are silent, twice in the time that they may be.
    fn poll(&mut self, now: Duration, out: &mut Outputs) -> Next {
        let Some(span) = self.stale else {
            return Next::Idle;
        };
        for (series, state) in self.series.iter_mut() {
            state.looks = state.looks.saturating_add(1);
            if let Some((time, _)) = state.last
                && state.looks > 2
                && !state.is_stale
            {
                state.is_stale = true;
                let time = time.checked_add(span).unwrap_or(time);
                // As its readings could be.
                let sent = tell(&mut self.name, series, STALE, time, true, out);
                debug_assert_eq!(sent, Verdict::Used);
            }
        }
        Next::At(now + span / 2)
    }
}

/// Emits what is so of a series, or is so no more.
fn tell(
    name: &mut String,
    series: &str,
    suffix: &str,
    time: Timestamp,
    is_so: bool,
    out: &mut Outputs,
) -> Verdict {
    name.clear();
    name.push_str(series);
    name.push_str(suffix);
    out.emit(&Reading {
        name,
        unit: "",
        time,
        value: Value::Boolean(is_so),
    })
}

impl Limits {
    /// Whether `value` is outside; once it was, it has to be back by the hysteresis.
    fn broken_by(self, value: f64, raised: bool, hysteresis: f64) -> bool {
        let back = if raised { hysteresis } else { 0.0 };
        value > self.above - back || value < self.below + back
    }
}

impl State {
    /// Notes a reading, and says how often its value has come in a row.
    fn comes(&mut self, time: Timestamp, value: f64) -> u64 {
        let is_same = self.last.is_some_and(|(_, last)| last == value);
        self.same = if is_same {
            self.same.saturating_add(1)
        } else {
            1
        };
        self.last = Some((time, value));
        self.looks = 0;
        self.same
    }

    /// Whether `value` is farther from the mean than so many standard deviations. A series that never moved has none, and then any
    /// other value is far.
    fn is_far(&self, value: f64, sigmas: f64, warm_up: u64) -> bool {
        let distance = value - self.mean;
        self.readings >= warm_up
            && sigmas.is_finite()
            && distance * distance > sigmas * sigmas * self.variance
    }

    /// The exponentially weighted mean and variance (West 1979, for a constant weight).
    fn learn(&mut self, value: f64, alpha: f64) {
        self.readings = self.readings.saturating_add(1);
        if self.readings == 1 {
            self.mean = value;
            return;
        }
        let distance = value - self.mean;
        let variance = (1.0 - alpha) * (self.variance + alpha * distance * distance);
        // The square of a distance may be more than a float holds; then there is no deviation to learn.
        if variance.is_finite() {
            self.mean += alpha * distance;
            self.variance = variance;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{Bench, booleans, number};
    use proptest::prelude::*;
    use std::vec::Vec;

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
        assert_eq!(alerts("sigmas.s=5", &values), [true, false]);
        assert_eq!(alerts("sigmas.s=5e9 sigmas=5", &values), []);
        assert_eq!(alerts("above.s=1e9 sigmas=5", &values), [true, false]);
        assert_eq!(alerts("sigmas.t=5", &values), [], "of another series");
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
    fn readings_are_handed_on_before_their_alerts_if_asked_for() {
        let mut bench = Bench::<Detect>::new("above.s=5 emit=all", 1);
        for value in [1.0, 6.0, 7.0, 2.0] {
            assert_eq!(bench.reading(&number("s", value)), Verdict::Used);
        }
        let told: Vec<String> = crate::bench::records(&mut bench.out)
            .into_iter()
            .map(|(name, _, value)| format!("{name} {value:?}"))
            .collect();
        assert_eq!(
            told,
            [
                "s Number(1.0)",
                "s Number(6.0)",
                "s:alert Boolean(true)",
                "s Number(7.0)",
                "s Number(2.0)",
                "s:alert Boolean(false)"
            ]
        );
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
            ("sigmas.s=-1", "sigmas.s"),
            ("sigmas.-=1", "sigmas."),
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
