//! `sensor`: replays a recorded CSV file, or makes a signal from a seed.
//!
//! **Replay**, where the module holds `data.csv`. The time column is the one that `time=` names, or
//! else the first whose field in the first good row is an RFC 3339 stamp (without an offset it is
//! UTC). The other columns are value columns, the first being number 1. A value column's series has
//! the name `name.COL=`, else its header with every run of characters that SenML does not allow made
//! one `_`; COL is its number, or its header where that has no space or `=`. If any field of the
//! first line is a stamp, the file has no header and columns have numbers only.
//!
//! A row is skipped and counted (`malformed`, once for each value column) if its quotes, its number of
//! fields, its stamp or one of its values is wrong; `NaN` and `inf` are values. An empty cell is no
//! reading and is counted (`empty`). If no row is good, the sensor does not start.
//!
//! **Signal**, with `signal=`: `sine` (`offset + amplitude * sin(2π t / period)`), `walk` (a random
//! walk from `offset`, each step uniform within ± `amplitude`) or `noise` (uniform within `offset` ±
//! `amplitude`), `count` readings that lie `every` apart from `start` on. The same seed gives the same
//! readings, everywhere. Its series is column 1.
//!
//! **Pace**: `rate=` readings a second, `rate=max` (as fast as they are taken; the default), or
//! `speed=`: the spacing of their stamps, that many times faster.

mod pace;
mod replay;
mod signal;

use core::time::Duration;

use stage::params::Count;
use stage::{EdgeKind, Kind, Next, Outputs, Parameter, Setup, SetupError, Stage};

use replay::Replay;
use signal::Signal;

/// The sensor.
#[derive(Debug)]
pub struct Sensor {
    source: Source,
}

#[derive(Debug)]
enum Source {
    Replay(Replay),
    Signal(Signal),
}

impl Stage for Sensor {
    const NAME: &'static str = "sensor";
    const ABOUT: &'static str = "replays a recorded CSV file, or makes a signal from a seed";
    const PARAMETERS: &'static [Parameter] = &[
        Parameter::new(
            "name.COL",
            Kind::Text,
            "",
            "series name of a value column (number or header)",
        ),
        Parameter::new(
            "unit.COL",
            Kind::Text,
            "",
            "SenML unit of a value column (number or header)",
        ),
        Parameter::new(
            "time",
            Kind::Text,
            "",
            "header of the time column; else the first with stamps",
        ),
        Parameter::new("rate", Kind::Text, "max", "pace: readings a second, or max").in_unit("1/s"),
        Parameter::new(
            "speed",
            Kind::Number,
            "",
            "pace: recorded spacing, this many times faster",
        ),
        Parameter::new(
            "signal",
            Kind::Choice(&["sine", "walk", "noise"]),
            "",
            "makes a signal instead of replaying data.csv",
        ),
        Parameter::new(
            "seed",
            Kind::Integer,
            "1",
            "signal: what its random numbers come from",
        ),
        Parameter::new(
            "count",
            Kind::Integer,
            "1000",
            "signal: how many readings, 0 for no end",
        ),
        Parameter::new(
            "every",
            Kind::Duration,
            "1s",
            "signal: from one reading to the next",
        ),
        Parameter::new(
            "start",
            Kind::Time,
            "2026-01-01T00:00:00Z",
            "signal: stamp of the first",
        ),
        Parameter::new(
            "amplitude",
            Kind::Number,
            "1",
            "signal: how far it goes from its offset",
        ),
        Parameter::new("offset", Kind::Number, "0", "signal: what it goes around"),
        Parameter::new(
            "period",
            Kind::Duration,
            "60s",
            "signal: period of the sine",
        ),
    ];
    const EDGES: &'static [EdgeKind] = &[EdgeKind::outputs(Count::AtLeastOne, "the readings")];

    fn new(setup: &Setup<'_>) -> Result<Self, SetupError> {
        let source = match (setup.module.data, setup.params.text("signal")) {
            (_, Some(_)) => Source::Signal(Signal::new(setup)?),
            (Some(data), None) => Source::Replay(Replay::new(data, setup.params)?),
            (None, None) => {
                return Err(SetupError::Function(
                    "module: empty; give a CSV file as ramdisk=, or signal=sine, walk or noise"
                        .into(),
                ));
            }
        };
        Ok(Self { source })
    }

    fn poll(&mut self, now: Duration, out: &mut Outputs) -> Next {
        match &mut self.source {
            Source::Replay(replay) => replay.poll(now, out),
            Source::Signal(signal) => signal.poll(now, out),
        }
    }
}

#[cfg(test)]
mod tests;
