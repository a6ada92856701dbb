//! `join`: brings series together that were read at the same time.
//!
//! For each reading of the leading series (`lead`), that of every other (`with`) is looked for: the nearest by stamp, or with
//! `match=last` the last at or before it, no farther than `tolerance`. If all are found, records of all of them are emitted,
//! in the order of the parameters, with the names and units that they came with and the stamp of the leading one; else
//! nothing is, and the reading is counted as *unmatched*. Results are in the order of their stamps.
//!
//! Stamps alone count, not the order in which readings arrive: those of a series may be out of order by `lateness`; what comes later,
//! or has the stamp of one that is there already, is dropped as late. So a reading of the leading series waits until
//! nothing that comes can change what it is joined with. It waits no longer than for `keep` others of its series, and with `skew` no
//! longer than until its series is that much further: of each series so many readings are kept, and no more.
//!
//! Clocks that disagree join what does not belong together. With `skew`, a reading whose stamp is farther than that from the
//! latest of the leading series is refused (`skew`); give it more than the time between two readings.

use alloc::borrow::ToOwned;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;
use core::time::Duration;

use stage::params::{Count, ParamError};
use stage::senml::{ABSOLUTE_FROM, is_name};
use stage::{DropCause, EdgeKind, Kind, Outputs, Parameter, Params, Reading, Setup, SetupError};
use stage::{Stage, Timestamp, Value, Verdict};

use crate::series::bad;

/// The most series beside the leading one.
const MOST: usize = 16;

/// The join.
#[derive(Debug)]
pub struct Join {
    /// The leading series, and then the others.
    tracks: Vec<Track>,
    rule: Rule,
    /// The most readings of a series that are kept.
    keep: usize,
    /// How far the latest stamps of two series may be apart.
    skew: Option<i64>,
    /// The stamp of the last reading of the leading series that was joined, or found to be unmatched.
    decided: i64,
    joined: u64,
    unmatched: u64,
    /// The values that go together.
    row: Vec<f64>,
}

/// What goes with a reading.
#[derive(Debug, Clone, Copy)]
struct Rule {
    takes_last: bool,
    tolerance: i64,
    lateness: i64,
}

/// What is known of a series.
#[derive(Debug)]
struct Track {
    name: String,
    /// That of its first reading.
    unit: Option<String>,
    /// The latest stamp.
    watermark: i64,
    /// In order of their stamps.
    readings: VecDeque<(i64, f64)>,
}

impl Stage for Join {
    const NAME: &'static str = "join";
    const ABOUT: &'static str =
        "brings readings of several series together that belong to the same time";
    const PARAMETERS: &'static [Parameter] = &[
        Parameter::new(
            "lead",
            Kind::Text,
            "",
            "series whose readings are joined with others",
        ),
        Parameter::new(
            "with",
            Kind::Text,
            "",
            "the other series, with commas between",
        ),
        Parameter::new(
            "match",
            Kind::Choice(&["nearest", "last"]),
            "nearest",
            "which reading of another series: the nearest, or the last at or before",
        ),
        Parameter::new(
            "tolerance",
            Kind::Duration,
            "1s",
            "how far it may be from the leading one",
        ),
        Parameter::new(
            "lateness",
            Kind::Duration,
            "0",
            "how far behind its series' latest stamp a reading is still used",
        ),
        Parameter::new(
            "skew",
            Kind::Duration,
            "",
            "how far the latest stamps of two series may be apart; more than a reading",
        ),
        Parameter::new(
            "keep",
            Kind::Integer,
            "1024",
            "most readings of a series that wait for others, at most 65536",
        ),
    ];
    const EDGES: &'static [EdgeKind] = &[
        EdgeKind::inputs(Count::AtLeastOne, "readings of all series"),
        EdgeKind::outputs(Count::AtLeastOne, "readings that belong together"),
    ];

    fn new(setup: &Setup<'_>) -> Result<Self, SetupError> {
        let params = setup.params;
        let keep: u64 = params.require("keep")?;
        let keep = usize::try_from(keep)
            .ok()
            .filter(|keep| (1..=1 << 16).contains(keep));
        Ok(Self {
            tracks: tracks(params)?,
            rule: Rule {
                takes_last: params.text("match") == Some("last"),
                tolerance: nanos(params.require("tolerance")?),
                lateness: nanos(params.require("lateness")?),
            },
            keep: keep.ok_or_else(|| bad(params, "keep", "from 1 to 65536"))?,
            skew: params.get("skew")?.map(nanos),
            decided: i64::MIN,
            joined: 0,
            unmatched: 0,
            row: Vec::new(),
        })
    }

    fn reading(&mut self, _input: usize, reading: &Reading<'_>, out: &mut Outputs) -> Verdict {
        match self.take(reading) {
            Ok(()) => {
                self.decide(false, out);
                Verdict::Used
            }
            Err(cause) => Verdict::Dropped(cause),
        }
    }

    fn finish(&mut self, out: &mut Outputs) {
        self.decide(true, out);
    }

    fn own_counters(&self, text: &mut String) {
        // Writing into a String cannot fail.
        let _ = write!(text, "joined={} unmatched={}", self.joined, self.unmatched);
    }
}

impl Join {
    /// Puts a reading where it belongs.
    fn take(&mut self, reading: &Reading<'_>) -> Result<(), DropCause> {
        let Value::Number(value) = reading.value else {
            return Err(DropCause::WrongType);
        };
        if !value.is_finite() {
            return Err(DropCause::NotFinite);
        }
        if reading.time.seconds() < ABSOLUTE_FROM {
            return Err(DropCause::Unsendable);
        }
        let time = reading.time.nanos();
        let index = self
            .tracks
            .iter()
            .position(|track| track.name == reading.name);
        let index = index.ok_or(DropCause::TooManySeries)?;
        let lead = self.tracks.first().map_or(i64::MIN, |lead| lead.watermark);
        if index == 0 && time <= self.decided {
            return Err(DropCause::Late);
        }
        if index > 0
            && lead > i64::MIN
            && self
                .skew
                .is_some_and(|skew| time.abs_diff(lead) > skew.unsigned_abs())
        {
            return Err(DropCause::Skewed);
        }
        let track = self.tracks.get_mut(index).ok_or(DropCause::TooManySeries)?;
        track.take(time, value, reading.unit, self.rule.lateness)?;
        // Of another series the oldest is of no use by then; one of the leading series is decided.
        if index > 0 && track.readings.len() > self.keep {
            track.readings.pop_front();
        }
        Ok(())
    }

    /// Joins what nothing can change any more; everything if `is_end`.
    fn decide(&mut self, is_end: bool, out: &mut Outputs) {
        let Self {
            tracks, rule, row, ..
        } = self;
        let Some((lead, others)) = tracks.split_first_mut() else {
            return;
        };
        while let Some((time, value)) = lead.readings.front().copied() {
            row.clear();
            row.push(value);
            let mut settled = lead.watermark.saturating_sub(rule.lateness) >= time;
            for other in others.iter() {
                let found = other.at(time, rule);
                settled &= other.is_settled(time, found, rule);
                row.extend(found.map(|(_, value)| value));
            }
            let waited = lead.watermark.saturating_sub(time);
            let is_late =
                self.skew.is_some_and(|skew| waited > skew) || lead.readings.len() > self.keep;
            if !(settled || is_late || is_end) {
                return;
            }
            lead.readings.pop_front();
            self.decided = time;
            others.iter_mut().for_each(|other| other.forget(time));
            if row.len() <= others.len() {
                self.unmatched += 1;
                continue;
            }
            self.joined += 1;
            for (track, value) in core::iter::once(&*lead).chain(&*others).zip(&*row) {
                let unit = track.unit.as_deref().unwrap_or_default();
                let record = Reading::number(&track.name, Timestamp::from_nanos(time), *value);
                // Names and times were checked when the readings were.
                let sent = out.emit(&record.in_unit(unit));
                debug_assert_eq!(sent, Verdict::Used);
            }
        }
    }
}

impl Track {
    fn take(&mut self, time: i64, value: f64, unit: &str, lateness: i64) -> Result<(), DropCause> {
        if self.unit.as_deref().is_some_and(|known| known != unit) {
            return Err(DropCause::WrongType);
        }
        if time < self.watermark.saturating_sub(lateness) {
            return Err(DropCause::Late);
        }
        let place = self.readings.partition_point(|(known, _)| *known < time);
        if self
            .readings
            .get(place)
            .is_some_and(|(known, _)| *known == time)
        {
            return Err(DropCause::Late);
        }
        if self.unit.is_none() {
            self.unit = Some(unit.to_owned());
        }
        self.watermark = self.watermark.max(time);
        self.readings.insert(place, (time, value));
        Ok(())
    }

    /// The reading that goes with `time`: how far it is, and its value.
    fn at(&self, time: i64, rule: &Rule) -> Option<(u64, f64)> {
        let after = self.readings.partition_point(|(known, _)| *known <= time);
        let of = |place: usize| {
            let (known, value) = self.readings.get(place)?;
            Some((known.abs_diff(time), *value))
        };
        let before = after.checked_sub(1).and_then(of);
        let after = of(after).filter(|_| !rule.takes_last);
        let nearest = match (before, after) {
            (Some(before), Some(after)) if after.0 < before.0 => Some(after),
            (before, after) => before.or(after),
        };
        nearest.filter(|(distance, _)| *distance <= rule.tolerance.unsigned_abs())
    }

    /// Whether nothing that may still come goes better with `time` than what was found.
    fn is_settled(&self, time: i64, found: Option<(u64, f64)>, rule: &Rule) -> bool {
        let complete = self.watermark.saturating_sub(rule.lateness);
        let Ok(ahead) = u64::try_from(complete.saturating_sub(time)) else {
            return false;
        };
        match found {
            Some((0, _)) => true,
            _ if rule.takes_last => ahead > 0,
            Some((distance, _)) => ahead >= distance,
            None => ahead > rule.tolerance.unsigned_abs(),
        }
    }

    /// Forgets what goes with nothing after `time`.
    fn forget(&mut self, time: i64) {
        while self
            .readings
            .get(1)
            .is_some_and(|(known, _)| *known <= time)
        {
            self.readings.pop_front();
        }
    }
}

fn nanos(span: Duration) -> i64 {
    i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)
}

fn tracks(params: &Params<'_>) -> Result<Vec<Track>, ParamError> {
    let mut tracks: Vec<Track> = Vec::new();
    for key in ["lead", "with"] {
        let list: &str = params.require(key)?;
        for name in list.split(',') {
            let is_new = tracks.iter().all(|track| track.name != name);
            if !is_name(name) || !is_new || tracks.len() > MOST {
                let expected = "the name of a series, or up to 16 with commas between, each once";
                return Err(bad(params, key, expected));
            }
            tracks.push(Track {
                name: name.to_owned(),
                unit: None,
                watermark: i64::MIN,
                readings: VecDeque::new(),
            });
        }
        if key == "lead" && tracks.len() != 1 {
            return Err(bad(params, key, "the name of one series"));
        }
    }
    Ok(tracks)
}

#[cfg(test)]
mod tests;
