//! Windows in event time, one row of them for each series.
//!
//! **Windows** are `length` long and aligned to midnight UTC. One begins every `hop`: with a hop of their length they tumble, with a
//! shorter one they slide over one another, and a reading lies in each that holds its stamp. A series is a name of its own with a
//! watermark of its own: the latest stamp taken. A reading is *late* if it lies more than `lateness`
//! before the watermark, and is not taken; a window is *closed*, in order, once the watermark is at
//! least `lateness` past its end, or when the stream ends. So no taken reading ever misses its window,
//! and the result does not depend on the order in which readings arrive within the lateness. A window
//! is closed only if at least one reading lies in it.
//!
//! **Flagged** readings (not finite, or out of range) count as present and move the watermark, but
//! enter no figure.
//!
//! **Percentiles**, where they are asked for, are the least value that at least so many percent of the readings are not above: see
//! [`Digest`] for how exact they are.
//!
//! **Deviation** is the population's: the root of the mean squared distance from the mean.
//!
//! **Missing** is what the window should hold less what it holds (`count + flagged`), at least 0. It
//! should hold `length / spacing` readings, rounded down. The spacing is what the function was given
//! (`every=`); or else the greatest common divisor of the distances between all stamps taken for the
//! series that lie before the end of the window, flagged ones included. For a record on a regular
//! grid that is the grid's step, however many readings are absent and in whatever order they come.
//! Until two different stamps are known there is no spacing, and nothing is said to be missing.
//! Stamps that jitter have no common step: give them `every=`.

mod digest;
mod moments;
mod percentile;

use alloc::vec::Vec;
use core::time::Duration;

use crate::time::{NANOS_PER_SECOND, SECONDS_PER_DAY, Timestamp};
pub use digest::{Digest, MAX_DISTINCT};
pub use moments::Moments;
pub use percentile::Percentile;

/// The most windows of a series that a reading may lie in.
pub const MAX_OVERLAP: u64 = 64;

/// The most windows that the lateness may span: each stays in memory until it is closed.
pub const MAX_LATENESS_WINDOWS: u64 = 1024;

const DAY: u64 = (SECONDS_PER_DAY * NANOS_PER_SECOND).unsigned_abs();

/// The length of windows, how far they are apart, and how late readings may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    length: i64,
    hop: i64,
    lateness: i64,
    digests: bool,
}

impl Windows {
    /// Windows that begin every `hop`, which divides a day or is whole days, so that they can be aligned to midnight. Their
    /// length is a multiple of it. `digests` says whether percentiles are asked for.
    pub fn new(
        length: Duration,
        hop: Duration,
        lateness: Duration,
        digests: bool,
    ) -> Result<Self, WindowError> {
        let length = nanos(length)
            .filter(|nanos| *nanos > 0)
            .ok_or(WindowError::Length)?;
        let hop = nanos(hop)
            .filter(|nanos| *nanos > 0)
            .ok_or(WindowError::Hop)?;
        let (unsigned, day) = (hop.unsigned_abs(), DAY);
        if day % unsigned != 0 && unsigned % day != 0 {
            let tumbles = hop == length;
            return Err(if tumbles {
                WindowError::Length
            } else {
                WindowError::Hop
            });
        }
        if length % hop != 0 || length.unsigned_abs() / unsigned > MAX_OVERLAP {
            return Err(WindowError::Hop);
        }
        let lateness = nanos(lateness).ok_or(WindowError::Lateness)?;
        if lateness.unsigned_abs() / unsigned > MAX_LATENESS_WINDOWS {
            return Err(WindowError::Lateness);
        }
        Ok(Self {
            length,
            hop,
            lateness,
            digests,
        })
    }

    /// Where the first window begins that holds `time`.
    pub fn start_of(&self, time: Timestamp) -> Timestamp {
        let nanos = time.nanos();
        let last = nanos.saturating_sub(nanos.rem_euclid(self.hop));
        Timestamp::from_nanos(last.saturating_sub(self.length - self.hop))
    }
}

/// Not inlined: one copy serves every span.
#[inline(never)]
fn nanos(span: Duration) -> Option<i64> {
    i64::try_from(span.as_nanos()).ok()
}

/// Windows that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.expected())]
pub enum WindowError {
    /// The length neither divides a day nor is a number of days.
    Length,
    /// The distance neither divides a day nor is a number of days, or the length is no small multiple of it.
    Hop,
    /// The lateness spans too many windows.
    Lateness,
}

impl WindowError {
    /// What it should have been.
    pub const fn expected(self) -> &'static str {
        match self {
            Self::Length => "a length that divides 24h, or a whole number of days",
            Self::Hop => {
                "1/64 of the window or more, a part of it, and a part of 24h or whole days"
            }
            Self::Lateness => "a lateness of at most 1024 windows",
        }
    }
}

/// The value of a reading.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sample {
    /// A finite number.
    Value(f64),
    /// One that must not enter the figures.
    Flagged,
}

/// The reading is too late for its series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Late;

/// A closed window.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Where the window begins.
    pub start: Timestamp,
    /// What its values came to; nothing where all readings were flagged.
    pub moments: Moments,
    /// For percentiles; empty where they are not asked for.
    pub digest: Digest,
    /// Readings that entered no figure.
    pub flagged: u64,
    /// Readings that did not come; `None` while the spacing is not known.
    pub missing: Option<u64>,
}

impl Summary {
    /// The least value that at least so many percent of the readings are not above; see [`Digest`].
    pub fn percentile(&self, percentile: Percentile) -> Option<f64> {
        let value = self.digest.at(percentile)?;
        Some(value.max(self.moments.min()?).min(self.moments.max()?))
    }
}

/// The open windows of one series.
#[derive(Debug, Default)]
pub struct Series {
    watermark: Option<i64>,
    /// In order of time. Most often one or two, so that the first is cheaply taken away.
    open: Vec<Open>,
    /// Of all stamps in closed windows.
    grid: Grid,
}

#[derive(Debug, Default)]
struct Open {
    start: i64,
    moments: Moments,
    digest: Digest,
    flagged: u64,
    grid: Grid,
}

impl Series {
    /// A series without readings.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a reading, unless it is late.
    pub fn add(&mut self, windows: &Windows, time: Timestamp, sample: Sample) -> Result<(), Late> {
        let mut start = windows.start_of(time).nanos();
        let time = time.nanos();
        let watermark = self.watermark.unwrap_or(time).max(time);
        if time < watermark.saturating_sub(windows.lateness) {
            return Err(Late);
        }
        self.watermark = Some(watermark);
        let mut index = self.open.partition_point(|window| window.start < start);
        while start <= time {
            if self
                .open
                .get(index)
                .is_none_or(|window| window.start != start)
            {
                let window = Open {
                    start,
                    ..Open::default()
                };
                self.open.insert(index, window);
            }
            let Some(window) = self.open.get_mut(index) else {
                break;
            };
            window.grid.add(time);
            match sample {
                Sample::Value(value) => {
                    window.moments.add(value);
                    if windows.digests {
                        window.digest.add(value);
                    }
                }
                Sample::Flagged => window.flagged += 1,
            }
            index += 1;
            let Some(next) = start.checked_add(windows.hop) else {
                break;
            };
            start = next;
        }
        Ok(())
    }

    /// The next window that the watermark closes. `every` is the spacing, where it is given.
    pub fn close_next(&mut self, windows: &Windows, every: Option<Duration>) -> Option<Summary> {
        let complete = self.watermark?.saturating_sub(windows.lateness);
        let first = self.open.first()?;
        if first.start.saturating_add(windows.length) > complete {
            return None;
        }
        self.close_first(windows, every)
    }

    /// The next window, closed because the stream has ended.
    pub fn close_first(&mut self, windows: &Windows, every: Option<Duration>) -> Option<Summary> {
        if self.open.is_empty() {
            return None;
        }
        let window = self.open.remove(0);
        self.grid.merge(&window.grid);
        let every = every.and_then(|every| u64::try_from(every.as_nanos()).ok());
        let spacing = every.or(self.grid.step).filter(|nanos| *nanos > 0);
        let present = window.moments.count() + window.flagged;
        let missing = spacing
            .map(|spacing| (windows.length.unsigned_abs() / spacing).saturating_sub(present));
        Some(Summary {
            start: Timestamp::from_nanos(window.start),
            moments: window.moments,
            digest: window.digest,
            flagged: window.flagged,
            missing,
        })
    }
}

/// The greatest common divisor of the distances between stamps, whatever their order.
#[derive(Debug, Clone, Copy, Default)]
struct Grid {
    origin: Option<i64>,
    step: Option<u64>,
}

impl Grid {
    fn add(&mut self, time: i64) {
        let origin = *self.origin.get_or_insert(time);
        self.narrow(origin.abs_diff(time));
    }

    fn merge(&mut self, other: &Self) {
        if let Some(origin) = other.origin {
            self.add(origin);
        }
        if let Some(step) = other.step {
            self.narrow(step);
        }
    }

    fn narrow(&mut self, distance: u64) {
        if distance > 0 {
            self.step = Some(divisor(self.step.unwrap_or(0), distance));
        }
    }
}

/// Euclid's: the greatest common divisor; 0 is divided by everything.
fn divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests;
