//! Every window that arrived against every window that the recordings hold.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;

/// The largest difference allowed in a mean or a deviation, which depend on the order of summing; count, missing,
/// flagged, minimum and maximum must be equal.
pub const TOLERANCE: f64 = 1e-9;

/// Which window: its series, and its start in seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct WindowKey {
    /// The SenML name of the series.
    pub series: String,
    /// The start of the window.
    pub start: i64,
}

impl fmt::Display for WindowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Timestamp::from_second(self.start) {
            Ok(stamp) => write!(f, "{} {stamp}", self.series),
            Err(_) => write!(f, "{} {} s", self.series, self.start),
        }
    }
}

/// What a window says of its readings.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Window {
    /// Readings in it.
    pub count: u64,
    /// Readings that should have been there and were not, once the spacing of the series is known.
    pub missing: Option<u64>,
    /// The mean of the values.
    pub mean: f64,
    /// The smallest value.
    pub min: f64,
    /// The largest value.
    pub max: f64,
    /// The standard deviation of the population.
    pub deviation: f64,
    /// Readings that entered no figure: not finite, or out of range.
    pub flagged: u64,
}

/// Windows by their key.
pub type Windows = BTreeMap<WindowKey, Window>;

/// What is wrong with one window.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// It never arrived.
    Absent(WindowKey),
    /// It arrived and no recording has it.
    Unexpected(WindowKey),
    /// A figure of it is wrong.
    Differs {
        /// The window.
        key: WindowKey,
        /// The figure.
        figure: &'static str,
        /// What the recording says.
        expected: f64,
        /// What arrived.
        received: f64,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent(key) => write!(f, "{key}: did not arrive"),
            Self::Unexpected(key) => {
                write!(f, "{key}: arrived, but the recording has no such window")
            }
            Self::Differs {
                key,
                figure,
                expected,
                received,
            } => {
                write!(
                    f,
                    "{key}: {figure} is {received}, the recording gives {expected}"
                )
            }
        }
    }
}

/// The outcome of the comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Windows in the recordings.
    pub expected: usize,
    /// Windows that arrived and are right.
    pub verified: usize,
    /// All that is wrong.
    pub faults: Vec<Fault>,
}

impl Verdict {
    /// Whether every window arrived, is right, and there was at least one.
    pub fn passed(&self) -> bool {
        self.faults.is_empty() && self.verified == self.expected && self.expected > 0
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "verified {} of {} windows", self.verified, self.expected)
    }
}

/// Compares what arrived with what was recomputed.
pub fn compare(expected: &Windows, received: &Windows) -> Verdict {
    let mut verdict = Verdict {
        expected: expected.len(),
        verified: 0,
        faults: Vec::new(),
    };
    for (key, right) in expected {
        let Some(seen) = received.get(key) else {
            verdict.faults.push(Fault::Absent(key.clone()));
            continue;
        };
        let faults_before = verdict.faults.len();
        verdict.faults.extend(differences(key, right, seen));
        verdict.verified += usize::from(verdict.faults.len() == faults_before);
    }
    let unexpected = received.keys().filter(|key| !expected.contains_key(key));
    verdict
        .faults
        .extend(unexpected.cloned().map(Fault::Unexpected));
    verdict
}

fn differences(key: &WindowKey, right: &Window, seen: &Window) -> impl Iterator<Item = Fault> {
    // Counts of readings stay far below 2^53, where f64 would round them; no count at all is shown as -1.
    let whole = |count: Option<u64>| count.map_or(-1.0, |count| count as f64);
    let figures = [
        ("count", right.count as f64, seen.count as f64, 0.0),
        ("missing", whole(right.missing), whole(seen.missing), 0.0),
        ("mean", right.mean, seen.mean, TOLERANCE),
        ("min", right.min, seen.min, 0.0),
        ("max", right.max, seen.max, 0.0),
        ("deviation", right.deviation, seen.deviation, TOLERANCE),
        ("flagged", right.flagged as f64, seen.flagged as f64, 0.0),
    ];
    // Said this way round, a NaN is a difference.
    let equal = |expected: f64, received: f64, allowed: f64| (expected - received).abs() <= allowed;
    figures
        .into_iter()
        .filter(move |&(_, expected, received, allowed)| !equal(expected, received, allowed))
        .map(|(figure, expected, received, _)| Fault::Differs {
            key: key.clone(),
            figure,
            expected,
            received,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHT: Window = Window {
        count: 24,
        missing: Some(0),
        mean: 10.5,
        min: -1.0,
        max: 30.25,
        deviation: 2.0,
        flagged: 0,
    };

    fn key(start: i64) -> WindowKey {
        WindowKey {
            series: "wind".into(),
            start,
        }
    }

    fn one(window: Window) -> Windows {
        Windows::from([(key(0), window)])
    }

    #[test]
    fn equal_windows_pass_and_the_last_line_says_so() {
        let verdict = compare(&one(RIGHT), &one(RIGHT));
        assert!(verdict.passed());
        assert_eq!(verdict.to_string(), "verified 1 of 1 windows");
    }

    #[test]
    fn each_figure_is_compared() {
        let wrong = [
            ("count", Window { count: 23, ..RIGHT }),
            (
                "missing",
                Window {
                    missing: Some(1),
                    ..RIGHT
                },
            ),
            (
                "missing",
                Window {
                    missing: None,
                    ..RIGHT
                },
            ),
            (
                "mean",
                Window {
                    mean: 10.500_000_002,
                    ..RIGHT
                },
            ),
            (
                "min",
                Window {
                    min: -1.000_000_000_000_1,
                    ..RIGHT
                },
            ),
            (
                "max",
                Window {
                    max: f64::NAN,
                    ..RIGHT
                },
            ),
            (
                "deviation",
                Window {
                    deviation: f64::INFINITY,
                    ..RIGHT
                },
            ),
            (
                "flagged",
                Window {
                    flagged: 1,
                    ..RIGHT
                },
            ),
        ];
        for (name, window) in wrong {
            let verdict = compare(&one(RIGHT), &one(window));
            assert!(!verdict.passed());
            assert!(
                matches!(verdict.faults.as_slice(), [Fault::Differs { figure, .. }] if *figure == name),
                "{name}: {:?}",
                verdict.faults
            );
        }
    }

    #[test]
    fn rounding_in_the_order_of_summing_is_allowed() {
        let rounded = Window {
            mean: 10.500_000_000_5,
            deviation: 1.999_999_999_5,
            ..RIGHT
        };
        assert!(compare(&one(RIGHT), &one(rounded)).passed());
    }

    #[test]
    fn absent_and_unexpected_windows_fail_although_all_others_are_right() {
        let expected = Windows::from([(key(0), RIGHT), (key(86_400), RIGHT)]);
        let verdict = compare(&expected, &one(RIGHT));
        assert_eq!(
            (verdict.verified, verdict.faults.as_slice()),
            (1, [Fault::Absent(key(86_400))].as_slice())
        );
        let verdict = compare(&one(RIGHT), &expected);
        assert_eq!(
            (verdict.passed(), verdict.to_string()),
            (false, "verified 1 of 1 windows".to_owned())
        );
        assert_eq!(
            verdict.faults[0].to_string(),
            "wind 1970-01-02T00:00:00Z: arrived, but the recording has no such window"
        );
    }

    #[test]
    fn nothing_at_all_is_no_success() {
        assert!(!compare(&Windows::new(), &Windows::new()).passed());
    }
}
