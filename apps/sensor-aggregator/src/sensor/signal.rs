//! Making a signal from a seed.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use core::f64::consts::TAU;
use core::time::Duration;

use stage::params::ParamError;
use stage::{Next, Outputs, Reading, Setup, SetupError, Timestamp, Value};

use super::pace::Pace;
use super::replay::{check_name, check_unit};

#[derive(Debug, Clone, Copy)]
enum Shape {
    Sine,
    Walk,
    Noise,
}

/// A signal being made.
#[derive(Debug)]
pub(super) struct Signal {
    shape: Shape,
    name: String,
    unit: String,
    amplitude: f64,
    offset: f64,
    every: Duration,
    period: Duration,
    /// `None` for a signal without end.
    left: Option<u64>,
    /// The stamp of the next reading, and the time since the first.
    time: Timestamp,
    elapsed: Duration,
    level: f64,
    random: u64,
    pace: Pace,
}

impl Signal {
    pub(super) fn new(setup: &Setup<'_>) -> Result<Self, SetupError> {
        let params = setup.params;
        let shape_text: &str = params.require("signal")?;
        let shape = match shape_text {
            "sine" => Shape::Sine,
            "walk" => Shape::Walk,
            _ => Shape::Noise,
        };
        if setup.module.data.is_some() {
            let expected = "possible together with data.csv in the module; give one";
            return Err(ParamError::bad("signal", shape_text, expected).into());
        }
        let name = only_column(setup, "name")?.unwrap_or(shape_text);
        check_name("name.1", name)?;
        let unit = only_column(setup, "unit")?;
        unit.map_or(Ok(()), |unit| check_unit("unit.1", unit))?;
        let period: Duration = params.require("period")?;
        if period.is_zero() {
            return Err(ParamError::bad("period", "0", "a span above 0").into());
        }
        let offset = params.require("offset")?;
        Ok(Self {
            shape,
            name: name.to_owned(),
            unit: unit.unwrap_or_default().to_owned(),
            amplitude: params.require("amplitude")?,
            offset,
            every: params.require("every")?,
            period,
            left: Some(params.require("count")?).filter(|count| *count > 0),
            time: params.require("start")?,
            elapsed: Duration::ZERO,
            level: offset,
            random: params.require("seed")?,
            pace: Pace::new(params)?,
        })
    }

    pub(super) fn poll(&mut self, now: Duration, out: &mut Outputs) -> Next {
        if self.left == Some(0) {
            return Next::Done;
        }
        let due = self.pace.due(now, self.time);
        if due > now {
            return Next::At(due);
        }
        let value = Value::Number(self.value());
        let verdict = out.emit(&Reading {
            name: &self.name,
            unit: &self.unit,
            time: self.time,
            value,
        });
        out.count(verdict);
        self.pace.advance(1);
        self.left = self.left.map(|left| left - 1);
        self.elapsed = self.elapsed.saturating_add(self.every);
        match self.time.checked_add(self.every) {
            Some(time) => {
                self.time = time;
                Next::Now
            }
            None => {
                log::warn!("signal: ended by the end of time that a stamp can hold");
                Next::Done
            }
        }
    }

    fn value(&mut self) -> f64 {
        match self.shape {
            Shape::Sine => {
                let phase = self.elapsed.as_nanos() % self.period.as_nanos();
                let phase = phase as f64 / self.period.as_nanos() as f64;
                self.offset + self.amplitude * sine(phase)
            }
            Shape::Walk => {
                let level = self.level;
                self.level += self.amplitude * self.uniform();
                level
            }
            Shape::Noise => self.offset + self.amplitude * self.uniform(),
        }
    }

    /// Uniform from -1 to 1: the upper 53 bits of SplitMix64 (Steele, Lea and Flood, 2014).
    fn uniform(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.random;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^= bits >> 31;
        (bits >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }
}

/// The sine of a phase in turns, from 0 to 1.
fn sine(phase: f64) -> f64 {
    // To the nearest quarter, without rounding: at most an eighth of a turn is left.
    let quarter = libm::round(phase * 4.0);
    let angle = TAU * (phase - quarter / 4.0);
    match quarter as u32 % 4 {
        0 => series(angle, 1.0, angle),
        1 => series(1.0, 0.0, angle),
        2 => -series(angle, 1.0, angle),
        _ => -series(1.0, 0.0, angle),
    }
}

/// The Taylor series that begins with `term`, the one of this `order`: the sine's from the angle, the
/// cosine's from 1. Up to an eighth of a turn nine terms are below the last bit.
fn series(mut term: f64, mut order: f64, angle: f64) -> f64 {
    let mut sum = term;
    for _ in 0..9 {
        term *= -(angle * angle) / ((order + 1.0) * (order + 2.0));
        order += 2.0;
        sum += term;
    }
    sum
}

/// The value of `FAMILY.1`, the only column that a signal has.
fn only_column<'a>(setup: &Setup<'a>, family: &str) -> Result<Option<&'a str>, ParamError> {
    let mut value = None;
    for (member, text) in setup.params.family(&format!("{family}.")) {
        if member != "1" {
            let key = format!("{family}.{member}");
            return Err(ParamError::bad(
                &key,
                member,
                "a column of a signal, which has only column 1",
            ));
        }
        value = Some(text);
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sines_are_within_a_bit_of_the_library() {
        for step in 0..10_000 {
            let phase = f64::from(step) / 10_000.0;
            let expected = libm::sin(TAU * phase);
            assert!((sine(phase) - expected).abs() < 1e-15, "{phase}");
        }
        assert_eq!([0.0, 0.25, 0.5, 0.75].map(sine), [0.0, 1.0, 0.0, -1.0]);
    }
}
