//! When a reading is due.

use core::time::Duration;

use stage::params::{FromParam, ParamError};
use stage::{Params, Timestamp};

/// Longer than any domain runs, and short enough for any clock to reckon with: 136 years.
const NEVER: Duration = Duration::from_secs(1 << 32);

#[derive(Debug, Clone, Copy)]
enum Kind {
    Max,
    /// Readings a second.
    Rate(f64),
    /// Recorded time to time.
    Speed(f64),
}

/// The pace of a sensor, from its first reading on.
#[derive(Debug)]
pub(super) struct Pace {
    kind: Kind,
    /// When the first reading was due, and its stamp.
    origin: Option<(Duration, Timestamp)>,
    readings: u64,
}

impl Pace {
    pub(super) fn new(params: &Params<'_>) -> Result<Self, ParamError> {
        let kind = match (params.get::<f64>("speed")?, params.require("rate")?) {
            (Some(_), _) if params.is_given("rate") => {
                let rate: &str = params.require("rate")?;
                return Err(ParamError::bad(
                    "rate",
                    rate,
                    "possible together with speed=; give one",
                ));
            }
            (Some(speed), _) if speed > 0.0 => Kind::Speed(speed),
            (Some(_), _) => {
                let speed: &str = params.require("speed")?;
                return Err(ParamError::bad("speed", speed, "a number above 0"));
            }
            (None, "max") => Kind::Max,
            (None, rate) => match f64::from_param(rate) {
                Some(number) if number > 0.0 => Kind::Rate(number),
                _ => return Err(ParamError::bad("rate", rate, "max or a number above 0")),
            },
        };
        Ok(Self {
            kind,
            origin: None,
            readings: 0,
        })
    }

    /// When the next readings, with this stamp, are due. The first are due at once.
    pub(super) fn due(&mut self, now: Duration, time: Timestamp) -> Duration {
        let (start, first) = *self.origin.get_or_insert((now, time));
        let seconds = match self.kind {
            Kind::Max => return now,
            Kind::Rate(rate) => self.readings as f64 / rate,
            Kind::Speed(speed) => time.saturating_since(first).as_secs_f64() / speed,
        };
        let past = Duration::try_from_secs_f64(seconds)
            .unwrap_or(NEVER)
            .min(NEVER);
        start.saturating_add(past)
    }

    /// Counts readings that were due.
    pub(super) fn advance(&mut self, readings: usize) {
        self.readings += readings as u64;
    }
}
