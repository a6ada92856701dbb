//! Event time, and the RFC 3339 stamps it is read from.

use core::fmt;
use core::time::Duration;

/// Nanoseconds in a second.
pub const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// Seconds in a day.
pub const SECONDS_PER_DAY: i64 = 86_400;

/// A moment in UTC, in nanoseconds since 1970-01-01T00:00:00Z without leap seconds; from the year
/// 1677 to 2262.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The moment `nanos` nanoseconds after the epoch.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// The moment `seconds` seconds after the epoch, if it can be held.
    pub const fn from_seconds(seconds: i64) -> Option<Self> {
        match seconds.checked_mul(NANOS_PER_SECOND) {
            Some(nanos) => Some(Self(nanos)),
            None => None,
        }
    }

    /// Nanoseconds since the epoch.
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(NANOS_PER_SECOND)
    }

    /// Nanoseconds past [`seconds`](Self::seconds).
    pub const fn subsecond_nanos(self) -> u32 {
        self.0.rem_euclid(NANOS_PER_SECOND) as u32
    }

    /// The moment `span` later, if it can be held.
    pub fn checked_add(self, span: Duration) -> Option<Self> {
        self.0
            .checked_add(i64::try_from(span.as_nanos()).ok()?)
            .map(Self)
    }

    /// The time from `earlier` to here; zero if it is not earlier.
    pub fn saturating_since(self, earlier: Self) -> Duration {
        let nanos = i128::from(self.0) - i128::from(earlier.0);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
    }

    /// Reads an RFC 3339 (ISO 8601 extended) stamp, strictly: `YYYY-MM-DD`, then optionally `T`,
    /// `t` or one space, `hh:mm`, `:ss`, a fraction of up to nine digits, and an offset (`Z`, `z`,
    /// `+hh:mm`, `-hh:mm`). Without an offset it is UTC; a date alone is its midnight. Leap seconds
    /// (`:60`) have no moment here and are refused.
    pub fn parse(text: &[u8]) -> Result<Self, StampError> {
        let mut cursor = Cursor { rest: text };
        let days = cursor.date()?;
        let (nanos, offset) = if cursor.rest.is_empty() {
            (0, 0)
        } else {
            cursor.time()?
        };
        let seconds = days * SECONDS_PER_DAY - offset;
        let nanos = i128::from(seconds) * i128::from(NANOS_PER_SECOND) + i128::from(nanos);
        i64::try_from(nanos)
            .map(Self)
            .map_err(|_| StampError::OutOfRange)
    }
}

/// Writes the stamp in UTC, with as many of 0, 3, 6 or 9 fractional digits as it needs.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_from_days(self.seconds().div_euclid(SECONDS_PER_DAY));
        let second = self.seconds().rem_euclid(SECONDS_PER_DAY);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
        )?;
        match self.subsecond_nanos() {
            0 => {}
            nanos if nanos % 1_000_000 == 0 => write!(f, ".{:03}", nanos / 1_000_000)?,
            nanos if nanos % 1_000 == 0 => write!(f, ".{:06}", nanos / 1_000)?,
            nanos => write!(f, ".{nanos:09}")?,
        }
        f.write_str("Z")
    }
}

/// Why a stamp was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StampError {
    /// Not of the form.
    #[error("not an RFC 3339 stamp (2026-01-31T12:00:00+01:00)")]
    Form,
    /// A month 13, a 30th of February, an hour 24.
    #[error("no such date or time of day")]
    NoSuchTime,
    /// Before 1677 or after 2262.
    #[error("outside the years 1678 to 2261")]
    OutOfRange,
}

struct Cursor<'a> {
    rest: &'a [u8],
}

impl Cursor<'_> {
    /// Days since the epoch.
    fn date(&mut self) -> Result<i64, StampError> {
        let year = self.digits(4)?;
        self.expect(b"-")?;
        let month = self.digits(2)?;
        self.expect(b"-")?;
        let day = self.digits(2)?;
        if !(1..=12).contains(&month) || !(1..=days_in_month(year, month)).contains(&day) {
            return Err(StampError::NoSuchTime);
        }
        Ok(days_from_civil(year, month, day))
    }

    /// Nanoseconds since midnight, and the offset in seconds.
    fn time(&mut self) -> Result<(i64, i64), StampError> {
        self.expect(b"Tt ")?;
        let hour = self.digits(2)?;
        self.expect(b":")?;
        let minute = self.digits(2)?;
        let (mut second, mut fraction) = (0, 0);
        if self.expect(b":").is_ok() {
            second = self.digits(2)?;
            if self.expect(b".").is_ok() {
                fraction = self.fraction()?;
            }
        }
        if hour > 23 || minute > 59 || second > 59 {
            return Err(StampError::NoSuchTime);
        }
        let offset = self.offset()?;
        let seconds = hour * 3600 + minute * 60 + second;
        Ok((seconds * NANOS_PER_SECOND + fraction, offset))
    }

    /// Seconds east of UTC.
    fn offset(&mut self) -> Result<i64, StampError> {
        if self.rest.is_empty() {
            return Ok(0);
        }
        let sign = match self.expect(b"Zz+-")? {
            b'+' => 1,
            b'-' => -1,
            _ if self.rest.is_empty() => return Ok(0),
            _ => return Err(StampError::Form),
        };
        let hour = self.digits(2)?;
        self.expect(b":")?;
        let minute = self.digits(2)?;
        match self.rest {
            [] if hour <= 23 && minute <= 59 => Ok(sign * (hour * 3600 + minute * 60)),
            [] => Err(StampError::NoSuchTime),
            _ => Err(StampError::Form),
        }
    }

    fn fraction(&mut self) -> Result<i64, StampError> {
        let length = self.rest.iter().take_while(|b| b.is_ascii_digit()).count();
        if !(1..=9).contains(&length) {
            return Err(StampError::Form);
        }
        let digits = self.digits(length)?;
        Ok((length..9).fold(digits, |number, _| number * 10))
    }

    fn digits(&mut self, count: usize) -> Result<i64, StampError> {
        let (digits, rest) = self.rest.split_at_checked(count).ok_or(StampError::Form)?;
        self.rest = rest;
        digits.iter().try_fold(0, |number, digit| match digit {
            b'0'..=b'9' => Ok(number * 10 + i64::from(digit - b'0')),
            _ => Err(StampError::Form),
        })
    }

    /// Takes one byte if it is one of `allowed`.
    fn expect(&mut self, allowed: &[u8]) -> Result<u8, StampError> {
        match self.rest {
            [first, rest @ ..] if allowed.contains(first) => {
                self.rest = rest;
                Ok(*first)
            }
            _ => Err(StampError::Form),
        }
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

// Both directions count in eras of 400 years that begin on 1 March, so that the leap day is the last
// of its year and months follow a fixed pattern of 153 days in five.

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = (shifted_month + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;

    fn nanos(text: &str) -> Result<i64, StampError> {
        Timestamp::parse(text.as_bytes()).map(Timestamp::nanos)
    }

    #[test]
    fn stamps_of_every_form() {
        let noon = 1_647_770_400 * NANOS_PER_SECOND;
        assert_eq!(nanos("2022-03-20T11:00:00+01:00"), Ok(noon));
        assert_eq!(nanos("2022-03-20T10:00:00Z"), Ok(noon));
        assert_eq!(nanos("2022-03-20 10:00:00"), Ok(noon));
        assert_eq!(nanos("2022-03-20t10:00z"), Ok(noon));
        assert_eq!(nanos("2022-03-20T05:30:00-04:30"), Ok(noon));
        assert_eq!(nanos("2022-03-20T10:00:00.000000001"), Ok(noon + 1));
        assert_eq!(
            nanos("2022-03-20T10:00:00.5Z"),
            Ok(noon + NANOS_PER_SECOND / 2)
        );
        assert_eq!(nanos("1970-01-02"), Ok(SECONDS_PER_DAY * NANOS_PER_SECOND));
        assert_eq!(nanos("2000-02-29"), Ok(951_782_400 * NANOS_PER_SECOND));
    }

    #[test]
    fn wrong_stamps_say_why() {
        for text in [
            "",
            "2022",
            "2022-3-20",
            "2022-03-20T",
            "2022-03-20T10",
            "2022-03-20T10:00:00.",
            "2022-03-20T10:00:00.1234567890",
            "2022-03-20T10:00:00Zx",
            "2022-03-20T10:00:00+01",
            "2022-03-20T10:00:00+01:00x",
            "2022-03-20x",
            "+022-03-20",
            "20.03.2022",
            "12:00:00",
        ] {
            assert_eq!(nanos(text), Err(StampError::Form), "{text}");
        }
        for text in [
            "2022-13-01",
            "2022-00-01",
            "2022-02-29",
            "1900-02-29",
            "2022-01-32",
            "2022-01-00",
            "2022-01-01T24:00:00",
            "2022-01-01T10:60",
            "2022-01-01T10:00:60",
            "2022-01-01T10:00:00+24:00",
        ] {
            assert_eq!(nanos(text), Err(StampError::NoSuchTime), "{text}");
        }
        assert_eq!(nanos("0001-01-01"), Err(StampError::OutOfRange));
        assert_eq!(nanos("2263-01-01"), Err(StampError::OutOfRange));
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(nanos in any::<i64>()) {
            let stamp = Timestamp::from_nanos(nanos);
            prop_assert_eq!(Timestamp::parse(stamp.to_string().as_bytes()), Ok(stamp));
        }

        #[test]
        fn days_count_up(days in -100_000i64..100_000) {
            let (year, month, day) = civil_from_days(days);
            prop_assert_eq!(days_from_civil(year, month, day), days);
            let next = civil_from_days(days + 1);
            prop_assert!(next == (year, month, day + 1)
                || next == (year, month + 1, 1) && day == days_in_month(year, month)
                || next == (year + 1, 1, 1) && (month, day) == (12, 31));
        }

        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = Timestamp::parse(&bytes);
        }
    }
}
