//! Numbers of CBOR records: integers, floats and decimal fractions, and stamps made of them.

use super::PackError;
use super::cbor::{Reader, major};
use crate::decimal;
use crate::time::NANOS_PER_SECOND;

/// The tag of a decimal fraction: an array of exponent and mantissa (RFC 8949, section 3.4.4).
pub(super) const DECIMAL_FRACTION: u64 = 4;

/// A number as it stood on the wire.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    Integer(i64),
    Float(f64),
    /// `mantissa * 10^exponent`.
    Decimal {
        exponent: i32,
        mantissa: i64,
    },
}

impl Number {
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, PackError> {
        if reader.is_float() {
            return reader.float().map(Self::Float);
        }
        if reader.major()? != major::TAG {
            return reader.integer().map(Self::Integer);
        }
        if reader.tag()? != DECIMAL_FRACTION || reader.array()? != Some(2) {
            return Err(PackError::Number);
        }
        Ok(Self::Decimal {
            exponent: i32::try_from(reader.integer()?).map_err(|_| PackError::Cbor)?,
            mantissa: reader.integer()?,
        })
    }

    /// The number as a float; the nearest one where there is no equal.
    pub(super) fn to_f64(self) -> f64 {
        match self {
            Self::Integer(number) => number as f64,
            Self::Float(number) => number,
            Self::Decimal { exponent, mantissa } => decimal::scaled(mantissa, exponent),
        }
    }

    /// The number of seconds as nanoseconds, if they can be held.
    pub(super) fn to_nanos(self) -> Option<i64> {
        match self {
            Self::Integer(seconds) => seconds.checked_mul(NANOS_PER_SECOND),
            Self::Float(seconds) => float_to_nanos(seconds),
            Self::Decimal { exponent, mantissa } => {
                let shift = exponent.checked_add(9)?;
                let power = 10i64.checked_pow(shift.unsigned_abs());
                match (shift < 0, power) {
                    (false, power) => mantissa.checked_mul(power?),
                    (true, Some(power)) => Some(mantissa / power),
                    (true, None) => Some(0),
                }
            }
        }
    }
}

/// A float of today's size in seconds resolves a quarter of a microsecond; rounding it to whole
/// microseconds gives back the decimal that it was made from.
fn float_to_nanos(seconds: f64) -> Option<i64> {
    const LARGE: f64 = super::ABSOLUTE_FROM as f64;
    let (unit, nanos_per_unit) = if seconds.abs() < LARGE {
        (1e9, 1)
    } else {
        (1e6, 1_000)
    };
    let whole = libm::trunc(seconds);
    let units = libm::round((seconds - whole) * unit);
    // 2^63 nanoseconds are 9.2e9 seconds.
    if whole.is_nan() || whole.abs() >= 9.3e9 {
        return None;
    }
    (whole as i64)
        .checked_mul(NANOS_PER_SECOND)?
        .checked_add(units as i64 * nanos_per_unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_exact() {
        let decimal = |exponent, mantissa| Number::Decimal { exponent, mantissa };
        let nanos = 1_647_770_400_123_456_789;
        assert_eq!(decimal(-9, nanos).to_nanos(), Some(nanos));
        assert_eq!(
            decimal(-3, 1_647_770_400_123).to_nanos(),
            Some(1_647_770_400_123_000_000)
        );
        assert_eq!(decimal(2, 5).to_nanos(), Some(500 * NANOS_PER_SECOND));
        assert_eq!(decimal(-12, 7_000).to_nanos(), Some(7));
        assert_eq!(decimal(-2_000_000_000, 7).to_nanos(), Some(0));
        assert_eq!(decimal(i32::MAX, 7).to_nanos(), None);
        assert_eq!(
            Number::Float(1_647_770_400.123).to_nanos(),
            Some(1_647_770_400_123_000_000)
        );
        assert_eq!(Number::Float(-1.5e-9).to_nanos(), Some(-2));
        assert_eq!(Number::Float(0.25).to_nanos(), Some(250_000_000));
        for wild in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, -9.3e9] {
            assert_eq!(Number::Float(wild).to_nanos(), None);
        }
        assert_eq!(Number::Integer(i64::MAX).to_nanos(), None);
    }

    #[test]
    fn decimals_round_once() {
        let decimal = |exponent, mantissa| Number::Decimal { exponent, mantissa }.to_f64();
        assert_eq!(decimal(-2, 10_059), 100.59);
        assert_eq!(decimal(-1, 10_166), 1016.6);
        assert_eq!(decimal(3, 4), 4000.0);
        assert_eq!(decimal(i32::MIN, 1), 0.0);
        assert_eq!(decimal(i32::MAX, 1), f64::INFINITY);
    }
}
