//! `aggregator`: condenses readings into windows of event time, which tumble or, with `hop`, slide.
//!
//! Windows, watermarks, what is late, flagged and missing: see [`stage::window`]. Series are told
//! apart by name alone, whichever edge they come from.
//!
//! For each window with at least one reading, these records are emitted together and in this order,
//! their time being the start of the window. `SERIES` is the name of the series, its unit that of its
//! first reading:
//!
//! | name | unit | value |
//! |---|---|---|
//! | `SERIES:count` | `count` | readings that the figures are made of |
//! | `SERIES:mean` | of the series | arithmetic mean |
//! | `SERIES:min` | of the series | least value |
//! | `SERIES:max` | of the series | greatest value |
//! | `SERIES:stddev_pop` | of the series | standard deviation of the population |
//! | `SERIES:missing` | `count` | readings that did not come |
//! | `SERIES:flagged` | `count` | readings not finite or out of range, not in the figures |
//! | `SERIES:p50` … | of the series | percentiles, as `percentiles=50,99.9` asks for them; see [`stage::window::Digest`] |
//!
//! The figures are left out where `count` is 0, `missing` while the spacing is not known.
//!
//! In the stage's counters a flagged reading is *dropped* (`nan`, `range`), as is one that is late
//! (`late`), of another type or unit than its series (`type`), of a series beyond the first
//! [`MAX_SERIES`](crate::series::MAX_SERIES) (`series`), or of a name too long for the suffixes (`unsendable`).

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use stage::params::{Count, FromParam, ParamError};
use stage::senml::{ABSOLUTE_FROM, MAX_NAME};
use stage::window::{Percentile, Sample, Series, Summary, WindowError, Windows};
use stage::{DropCause, EdgeKind, Kind, Outputs, Parameter, Params, Reading, Setup, SetupError};
use stage::{Stage, Value, Verdict};

use crate::series::{PerSeries, Rules, bad, set_number};

/// What the names of results end with, in the order in which they are emitted; percentiles follow.
const SUFFIXES: &str = ":count:mean:min:max:stddev_pop:missing:flagged";

/// How many of them there are.
const FIGURES: usize = 7;

/// The longest of [`SUFFIXES`], in bytes.
const LONGEST_SUFFIX: usize = 11;

/// The most percentiles.
const MAX_PERCENTILES: usize = 8;

/// The aggregator.
#[derive(Debug)]
pub struct Aggregator {
    windows: Windows,
    rules: Rules<Rule>,
    report: Report,
    series: PerSeries<Entry>,
}

/// What is expected of a series.
#[derive(Debug, Clone, Copy)]
struct Rule {
    min: f64,
    max: f64,
    every: Option<Duration>,
}

#[derive(Debug)]
struct Entry {
    unit: String,
    rule: Rule,
    series: Series,
}

/// How the figures of a window are told.
#[derive(Debug)]
struct Report {
    on_console: bool,
    percentiles: Vec<Percentile>,
    /// [`SUFFIXES`] and those of the percentiles.
    suffixes: String,
    /// Where the names of results are put together.
    names: String,
}

impl Stage for Aggregator {
    const NAME: &'static str = "aggregator";
    const ABOUT: &'static str = "condenses readings into windows of event time";
    const PARAMETERS: &'static [Parameter] = &[
        Parameter::new(
            "window",
            Kind::Duration,
            "24h",
            "length of a window: divides 24h, or whole days; aligned to midnight UTC",
        ),
        Parameter::new(
            "hop",
            Kind::Duration,
            "",
            "from a window's start to the next one's; less than the window lets them slide",
        ),
        Parameter::new(
            "percentiles",
            Kind::Text,
            "",
            "more figures: 50,90,99.9 for the values that so many % are not above",
        ),
        Parameter::new(
            "lateness",
            Kind::Duration,
            "0",
            "how far behind its series' latest stamp a reading is still used",
        ),
        Parameter::new(
            "every",
            Kind::Duration,
            "",
            "spacing of readings; else derived from stamps",
        ),
        Parameter::new(
            "every.SERIES",
            Kind::Duration,
            "",
            "spacing of readings of one series",
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
            "results",
            Kind::Choice(&["edge", "console"]),
            "edge",
            "where results go: the output edges, or the console as SenML JSON lines",
        ),
    ];
    const EDGES: &'static [EdgeKind] = &[
        EdgeKind::inputs(Count::AtLeastOne, "readings"),
        EdgeKind::outputs(Count::Any, "the figures of each window"),
    ];

    fn new(setup: &Setup<'_>) -> Result<Self, SetupError> {
        let params = setup.params;
        let on_console = params.text("results") == Some("console");
        if on_console != setup.outputs.is_empty() {
            let expected = if on_console {
                "possible together with out.EDGE; give one"
            } else {
                "possible without out.EDGE; give one, or results=console"
            };
            return Err(bad(params, "results", expected).into());
        }
        Ok(Self {
            windows: windows(params)?,
            rules: rules(params)?,
            report: Report::new(params, on_console)?,
            series: PerSeries::default(),
        })
    }

    fn reading(&mut self, _input: usize, reading: &Reading<'_>, out: &mut Outputs) -> Verdict {
        let Value::Number(value) = reading.value else {
            return Verdict::Dropped(DropCause::WrongType);
        };
        if self.windows.start_of(reading.time).seconds() < ABSOLUTE_FROM
            || reading.name.len() + LONGEST_SUFFIX > MAX_NAME
        {
            return Verdict::Dropped(DropCause::Unsendable);
        }
        let rules = &self.rules;
        let entry = self.series.of(reading.name, || Entry {
            unit: reading.unit.to_owned(),
            rule: rules.of(reading.name),
            series: Series::new(),
        });
        let entry = match entry {
            Ok(entry) if entry.unit == reading.unit => entry,
            Ok(_) => return Verdict::Dropped(DropCause::WrongType),
            Err(cause) => return Verdict::Dropped(cause),
        };
        let (sample, verdict) = entry.rule.judge(value);
        let added = entry.series.add(&self.windows, reading.time, sample);
        if added.is_err() {
            return Verdict::Dropped(DropCause::Late);
        }
        let every = entry.rule.every;
        while let Some(summary) = entry.series.close_next(&self.windows, every) {
            self.report.tell(reading.name, &entry.unit, &summary, out);
        }
        verdict
    }

    fn finish(&mut self, out: &mut Outputs) {
        for (name, entry) in self.series.iter_mut() {
            let every = entry.rule.every;
            while let Some(summary) = entry.series.close_first(&self.windows, every) {
                self.report.tell(name, &entry.unit, &summary, out);
            }
        }
    }
}

impl Rule {
    fn judge(&self, value: f64) -> (Sample, Verdict) {
        if !value.is_finite() {
            (Sample::Flagged, Verdict::Dropped(DropCause::NotFinite))
        } else if value < self.min || value > self.max {
            (Sample::Flagged, Verdict::Dropped(DropCause::OutOfRange))
        } else {
            (Sample::Value(value), Verdict::Used)
        }
    }
}

impl Report {
    fn new(params: &Params<'_>, on_console: bool) -> Result<Self, ParamError> {
        let mut report = Self {
            on_console,
            percentiles: Vec::new(),
            suffixes: SUFFIXES.to_owned(),
            names: String::new(),
        };
        let Some(list) = params.text("percentiles") else {
            return Ok(report);
        };
        for text in list.split(',') {
            match Percentile::parse(text) {
                Some(percentile) if report.percentiles.len() < MAX_PERCENTILES => {
                    report.percentiles.push(percentile);
                }
                _ => {
                    let expected = "up to 8 numbers from 0 to 100 with commas between";
                    return Err(bad(params, "percentiles", expected));
                }
            }
            report.suffixes.push_str(":p");
            report.suffixes.push_str(text);
        }
        Ok(report)
    }

    /// Emits the figures of a closed window.
    fn tell(&mut self, name: &str, unit: &str, summary: &Summary, out: &mut Outputs) {
        let moments = &summary.moments;
        let values = [
            Some(moments.count() as f64),
            moments.mean(),
            moments.min(),
            moments.max(),
            moments.deviation(),
            summary.missing.map(|missing| missing as f64),
            Some(summary.flagged as f64),
        ];
        self.names.clear();
        let mut ends = [0; FIGURES + MAX_PERCENTILES];
        for (suffix, end) in self.suffixes.split(':').skip(1).zip(&mut ends) {
            self.names.push_str(name);
            self.names.push(':');
            self.names.push_str(suffix);
            *end = self.names.len();
        }
        let mut line = [Reading::number("", summary.start, 0.0); FIGURES + MAX_PERCENTILES];
        let (mut length, mut begin) = (0, 0);
        for (index, end) in ends.into_iter().enumerate() {
            let value = match (values.get(index), index.checked_sub(FIGURES)) {
                (Some(value), _) => *value,
                (None, place) => place
                    .and_then(|place| self.percentiles.get(place))
                    .and_then(|percentile| summary.percentile(*percentile)),
            };
            if let Some(value) = value
                && let Some(name) = self.names.get(begin..end)
            {
                let unit = if matches!(index, 0 | 5 | 6) {
                    "count"
                } else {
                    unit
                };
                line[length] = Reading::number(name, summary.start, value).in_unit(unit);
                length += 1;
            }
            begin = end;
        }
        let line = &line[..length];
        if self.on_console {
            return out.print(line);
        }
        for record in line {
            // Names and times were checked when the readings were.
            let sent = out.emit(record);
            debug_assert_eq!(sent, Verdict::Used);
        }
    }
}

fn windows(params: &Params<'_>) -> Result<Windows, ParamError> {
    let length = params.require("window")?;
    let hop = params.get("hop")?.unwrap_or(length);
    let with_percentiles = params.is_given("percentiles");
    Windows::new(length, hop, params.require("lateness")?, with_percentiles).map_err(|error| {
        let key = match error {
            WindowError::Length => "window",
            WindowError::Hop => "hop",
            WindowError::Lateness => "lateness",
        };
        bad(params, key, error.expected())
    })
}

fn rules(params: &Params<'_>) -> Result<Rules<Rule>, ParamError> {
    let mut rules = Rules::new(Rule {
        min: f64::NEG_INFINITY,
        max: f64::INFINITY,
        every: params.get("every")?,
    });
    rules.read(params, "every.", |rule, text| {
        rule.every = Duration::from_param(text);
    })?;
    rules.read(params, "min.", |rule, text| set_number(&mut rule.min, text))?;
    rules.read(params, "max.", |rule, text| set_number(&mut rule.max, text))?;
    let never = |rule: &Rule| rule.every == Some(Duration::ZERO);
    if never(&rules.others) {
        return Err(bad(params, "every", "a span above 0"));
    }
    for (series, rule) in &rules.named {
        if never(rule) {
            return Err(bad(params, &format!("every.{series}"), "a span above 0"));
        }
        if rule.min > rule.max {
            let key = format!("max.{series}");
            return Err(bad(params, &key, "at least min of the series"));
        }
    }
    Ok(rules)
}

#[cfg(test)]
mod tests;
