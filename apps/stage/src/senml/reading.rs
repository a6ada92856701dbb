//! One reading, resolved: a record of RFC 8428, section 4.6.

use crate::time::Timestamp;

/// The longest name that we carry, in bytes.
pub const MAX_NAME: usize = 255;

/// One reading.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading<'a> {
    /// The name of its series; see [`is_name`].
    pub name: &'a str,
    /// Its [`unit`](super::unit); empty for none.
    pub unit: &'a str,
    /// When it was taken.
    pub time: Timestamp,
    /// What was read.
    pub value: Value<'a>,
}

impl<'a> Reading<'a> {
    /// A number without a unit.
    pub const fn number(name: &'a str, time: Timestamp, value: f64) -> Self {
        Self {
            name,
            unit: "",
            time,
            value: Value::Number(value),
        }
    }

    /// The same, in a unit.
    pub const fn in_unit(self, unit: &'a str) -> Self {
        Self { unit, ..self }
    }
}

/// What was read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// A number (`v`).
    Number(f64),
    /// A truth value (`vb`).
    Boolean(bool),
    /// A text (`vs`).
    Text(&'a str),
    /// Bytes (`vd`).
    Data(&'a [u8]),
    /// Only the sum of values over time (`s`).
    Sum(f64),
}

/// Whether a name may stand in SenML (RFC 8428, section 4.5.1): `A-Z a-z 0-9 - : . / _`, the first a
/// letter or digit; and is at most [`MAX_NAME`] long.
pub fn is_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.len() <= MAX_NAME
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"-:./_".contains(b))
}
