//! `aggregator`: condenses readings into tumbling windows of event time.
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
//!
//! The four figures are left out where `count` is 0, `missing` while the spacing is not known.
//!
//! In the stage's counters a flagged reading is *dropped* (`nan`, `range`), as is one that is late
//! (`late`), of another type or unit than its series (`type`), of a series beyond the first
//! [`MAX_SERIES`] (`series`), or of a name too long for the suffixes (`unsendable`).

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use stage::decimal::Shortest;
use stage::params::{Count, ParamError};
use stage::senml::{ABSOLUTE_FROM, MAX_NAME, is_name};
use stage::window::{Sample, Series, Summary, Tumbling};
use stage::{DropCause, EdgeKind, Kind, Outputs, Parameter, Params, Reading, Setup, SetupError};
use stage::{Stage, Value, Verdict};

/// The most series that are kept; each costs memory, and a peer chooses the names.
pub const MAX_SERIES: usize = 1024;

/// What the names of results end with, in the order in which they are emitted.
pub const SUFFIXES: [&str; 7] = [
    ":count",
    ":mean",
    ":min",
    ":max",
    ":stddev_pop",
    ":missing",
    ":flagged",
];

/// The longest of [`SUFFIXES`], in bytes.
const LONGEST_SUFFIX: usize = 11;

/// The aggregator.
#[derive(Debug)]
pub struct Aggregator {
    windows: Tumbling,
    every: Option<Duration>,
    every_of: Vec<(String, Duration)>,
    ranges: Vec<Range>,
    on_console: bool,
    /// In order of their names.
    series: Vec<Entry>,
    /// The series of the last reading; the next is most often of the same or the one after.
    recent: usize,
    /// Where the names of results are put together.
    names: String,
}

/// What `min.SERIES` and `max.SERIES` allow.
#[derive(Debug, Clone)]
struct Range {
    series: String,
    min: f64,
    max: f64,
}

#[derive(Debug)]
struct Entry {
    name: String,
    unit: String,
    min: f64,
    max: f64,
    every: Option<Duration>,
    series: Series,
}

impl Stage for Aggregator {
    const NAME: &'static str = "aggregator";
    const ABOUT: &'static str = "condenses readings into tumbling windows of event time";
    const PARAMETERS: &'static [Parameter] = &[
        Parameter::new(
            "window",
            Kind::Duration,
            "24h",
            "length of a window: divides 24h, or whole days; aligned to midnight UTC",
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
        match (on_console, setup.outputs.is_empty()) {
            (true, false) => {
                let expected = "possible together with out.EDGE; give one";
                return Err(ParamError::bad("results", "console", expected).into());
            }
            (false, true) => {
                let expected = "possible without out.EDGE; give one, or results=console";
                return Err(ParamError::bad("results", "edge", expected).into());
            }
            _ => {}
        }
        Ok(Self {
            windows: windows(params)?,
            every: spacing(params.get("every")?, "every")?,
            every_of: spacings(params)?,
            ranges: ranges(params)?,
            on_console,
            series: Vec::new(),
            recent: 0,
            names: String::new(),
        })
    }

    fn reading(&mut self, _input: usize, reading: &Reading<'_>, out: &mut Outputs) -> Verdict {
        let Value::Number(value) = reading.value else {
            return Verdict::Dropped(DropCause::WrongType);
        };
        let index = match self.find(reading) {
            Ok(index) => index,
            Err(cause) => return Verdict::Dropped(cause),
        };
        let Some(entry) = self.series.get_mut(index) else {
            return Verdict::Dropped(DropCause::TooManySeries);
        };
        if entry.unit != reading.unit {
            return Verdict::Dropped(DropCause::WrongType);
        }
        let (sample, verdict) = entry.judge(value);
        if entry
            .series
            .add(&self.windows, reading.time, sample)
            .is_err()
        {
            return Verdict::Dropped(DropCause::Late);
        }
        while let Some(summary) = entry.series.close_next(&self.windows, entry.every) {
            report(entry, &summary, &mut self.names, self.on_console, out);
        }
        verdict
    }

    fn finish(&mut self, out: &mut Outputs) {
        for entry in &mut self.series {
            while let Some(summary) = entry.series.close_first(&self.windows, entry.every) {
                report(entry, &summary, &mut self.names, self.on_console, out);
            }
        }
    }
}

impl Aggregator {
    /// The series of a reading, a new one if need be.
    fn find(&mut self, reading: &Reading<'_>) -> Result<usize, DropCause> {
        if self.windows.start_of(reading.time).seconds() < ABSOLUTE_FROM {
            return Err(DropCause::Unsendable);
        }
        for index in [self.recent, self.recent + 1] {
            if self
                .series
                .get(index)
                .is_some_and(|entry| entry.name == reading.name)
            {
                self.recent = index;
                return Ok(index);
            }
        }
        let place = self
            .series
            .binary_search_by(|entry| entry.name.as_str().cmp(reading.name));
        self.recent = match place {
            Ok(index) => index,
            Err(index) => {
                let entry = self.admit(reading)?;
                self.series.insert(index, entry);
                index
            }
        };
        Ok(self.recent)
    }

    fn admit(&self, reading: &Reading<'_>) -> Result<Entry, DropCause> {
        if reading.name.len() + LONGEST_SUFFIX > MAX_NAME {
            return Err(DropCause::Unsendable);
        }
        if self.series.len() >= MAX_SERIES {
            return Err(DropCause::TooManySeries);
        }
        let range = self
            .ranges
            .iter()
            .find(|range| range.series == reading.name);
        let every = self
            .every_of
            .iter()
            .find(|(series, _)| series == reading.name);
        Ok(Entry {
            name: reading.name.to_owned(),
            unit: reading.unit.to_owned(),
            min: range.map_or(f64::NEG_INFINITY, |range| range.min),
            max: range.map_or(f64::INFINITY, |range| range.max),
            every: every.map(|(_, every)| *every).or(self.every),
            series: Series::new(),
        })
    }
}

impl Entry {
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

/// Emits the figures of a closed window.
fn report(
    entry: &Entry,
    summary: &Summary,
    names: &mut String,
    on_console: bool,
    out: &mut Outputs,
) {
    let (name, unit) = (entry.name.as_str(), entry.unit.as_str());
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
    names.clear();
    for suffix in SUFFIXES {
        names.push_str(name);
        names.push_str(suffix);
    }
    let mut rest = names.as_str();
    let records = SUFFIXES.iter().zip(values).filter_map(|(suffix, value)| {
        let (record_name, after) = rest.split_at_checked(name.len() + suffix.len())?;
        rest = after;
        let is_figure = matches!(*suffix, ":mean" | ":min" | ":max" | ":stddev_pop");
        let unit = if is_figure { unit } else { "count" };
        Some(Reading::number(record_name, summary.start, value?).in_unit(unit))
    });
    let mut line = Vec::new();
    for record in records {
        if on_console {
            line.push(record);
        } else if out.emit(&record) != Verdict::Used {
            // Names and times were checked when the series was admitted.
            log::error!("{}: a result cannot be sent", record.name);
        }
    }
    if on_console {
        out.print(&line);
    }
}

fn windows(params: &Params<'_>) -> Result<Tumbling, ParamError> {
    let (length, lateness) = (params.require("window")?, params.require("lateness")?);
    Tumbling::new(length, lateness).map_err(|error| {
        let key = match error {
            stage::window::WindowError::Length => "window",
            stage::window::WindowError::Lateness => "lateness",
        };
        ParamError::bad(
            key,
            params.text(key).unwrap_or_default(),
            &format!("{error}"),
        )
    })
}

/// A spacing, if it is one.
fn spacing(every: Option<Duration>, key: &str) -> Result<Option<Duration>, ParamError> {
    match every {
        Some(Duration::ZERO) => Err(ParamError::bad(key, "0", "a span above 0")),
        every => Ok(every),
    }
}

fn spacings(params: &Params<'_>) -> Result<Vec<(String, Duration)>, ParamError> {
    let mut spacings = Vec::new();
    for (series, every) in params.family_of::<Duration>("every.")? {
        let key = format!("every.{series}");
        check_series(&key, series)?;
        spacing(Some(every), &key)?;
        spacings.push((series.to_owned(), every));
    }
    Ok(spacings)
}

fn ranges(params: &Params<'_>) -> Result<Vec<Range>, ParamError> {
    let mut ranges: Vec<Range> = Vec::new();
    for (series, min) in params.family_of("min.")? {
        check_series(&format!("min.{series}"), series)?;
        range_of(&mut ranges, series).min = min;
    }
    for (series, max) in params.family_of("max.")? {
        let key = format!("max.{series}");
        check_series(&key, series)?;
        let range = range_of(&mut ranges, series);
        range.max = max;
        if range.min > max {
            let value = Shortest(max).to_string();
            return Err(ParamError::bad(&key, &value, "at least min of the series"));
        }
    }
    Ok(ranges)
}

/// The range of a series, one without bounds if it has none yet.
fn range_of<'a>(ranges: &'a mut Vec<Range>, series: &str) -> &'a mut Range {
    let known = ranges.iter().position(|range| range.series == series);
    let index = known.unwrap_or(ranges.len());
    if known.is_none() {
        ranges.push(Range {
            series: series.to_owned(),
            min: f64::NEG_INFINITY,
            max: f64::INFINITY,
        });
    }
    &mut ranges[index]
}

fn check_series(key: &str, series: &str) -> Result<(), ParamError> {
    if is_name(series) {
        return Ok(());
    }
    Err(ParamError::bad(key, series, "the name of a series"))
}

#[cfg(test)]
mod tests;
