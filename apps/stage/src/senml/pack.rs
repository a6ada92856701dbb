//! Reading one pack: base fields are applied, names are borrowed.

use alloc::string::String;

use super::cbor::{Reader, major};
use super::number::Number;
use super::reading::{Reading, Value, is_name};
use super::{ABSOLUTE_FROM_NANOS, SEQ, label};
use crate::time::Timestamp;

/// The version of SenML that we read (RFC 8428, section 4.4).
const VERSION: i64 = 10;

/// The longest unit that we carry, in bytes.
const MAX_UNIT: usize = 64;

/// The bytes of one pack.
#[derive(Debug, Clone, Copy)]
pub struct Pack<'b> {
    bytes: &'b [u8],
}

impl<'b> Pack<'b> {
    /// The pack in `bytes`, which hold nothing else.
    pub const fn new(bytes: &'b [u8]) -> Self {
        Self { bytes }
    }

    /// How many bytes it has.
    pub const fn length(&self) -> usize {
        self.bytes.len()
    }

    /// The readings of the pack; stamps relative to now become absolute with `now`.
    pub fn readings(&self, now: Timestamp) -> Result<Readings<'b>, PackError> {
        let mut reader = Reader::new(self.bytes);
        let remaining = reader.array()?;
        Ok(Readings {
            reader,
            remaining,
            now,
            base: Base::default(),
            seq: None,
            first: true,
            name: String::new(),
        })
    }
}

/// The readings of a pack, one after the other.
#[derive(Debug)]
pub struct Readings<'b> {
    reader: Reader<'b>,
    /// Records still to come; `None` for an array of indefinite length.
    remaining: Option<u64>,
    now: Timestamp,
    base: Base<'b>,
    seq: Option<u64>,
    first: bool,
    /// Where a base name and a name are joined.
    name: String,
}

/// What base fields have set so far.
#[derive(Debug, Clone, Copy, Default)]
struct Base<'b> {
    name: &'b str,
    nanos: i64,
    unit: &'b str,
    value: f64,
    sum: f64,
}

/// The fields of one record, as they stand.
#[derive(Debug, Default)]
struct Fields<'b> {
    name: &'b str,
    nanos: i64,
    unit: Option<&'b str>,
    value: Option<Value<'b>>,
    sum: Option<f64>,
}

impl<'b> Readings<'b> {
    /// The next reading; `None` after the last. After an error the rest of the pack has no meaning.
    pub fn next_reading(&mut self) -> Result<Option<Reading<'_>>, PackError> {
        if !self.has_next()? {
            return Ok(None);
        }
        let fields = self.record()?;
        self.first = false;
        self.resolve(fields).map(Some)
    }

    /// What the first record said was sent before it; known once that record has been read.
    pub fn seq(&self) -> Option<u64> {
        self.seq
    }

    /// How many records are still to come, those that were not understood included; 0 where the pack
    /// does not say.
    pub fn remaining(&self) -> u64 {
        self.remaining.unwrap_or(0)
    }

    fn has_next(&mut self) -> Result<bool, PackError> {
        match &mut self.remaining {
            Some(0) => Ok(false),
            Some(_) => Ok(true),
            None => Ok(!self.reader.is_break()?),
        }
    }

    fn record(&mut self) -> Result<Fields<'b>, PackError> {
        let mut fields = Fields::default();
        let mut seen = 0u32;
        let mut entries = self.reader.map()?;
        while entries != Some(0) {
            if entries.is_none() && self.reader.is_break()? {
                self.reader.close()?;
                break;
            }
            match self.reader.major()? {
                major::TEXT => self.extension()?,
                _ => self.field(&mut fields, &mut seen)?,
            }
            entries = entries.map(|count| count - 1);
        }
        self.remaining = self.remaining.map(|count| count - 1);
        Ok(fields)
    }

    fn extension(&mut self) -> Result<(), PackError> {
        let key = self.reader.text()?;
        if key == SEQ && self.first {
            self.seq = Some(self.reader.unsigned()?);
            return Ok(());
        }
        if key.ends_with('_') {
            return Err(PackError::MustUnderstand);
        }
        self.reader.skip()
    }

    fn field(&mut self, fields: &mut Fields<'b>, seen: &mut u32) -> Result<(), PackError> {
        let key = self.reader.integer()?;
        let Some(key) = i8::try_from(key).ok().filter(|key| (-6..=8).contains(key)) else {
            return self.reader.skip();
        };
        let bit = 1 << (key + 6);
        if *seen & bit != 0 {
            return Err(PackError::Twice);
        }
        *seen |= bit;
        match key {
            label::BASE_VERSION if self.reader.integer()? > VERSION => {
                return Err(PackError::Version);
            }
            label::BASE_NAME => self.base.name = self.reader.text()?,
            label::BASE_TIME => self.base.nanos = self.nanos()?,
            label::BASE_UNIT => self.base.unit = self.reader.text()?,
            label::BASE_VALUE => self.base.value = self.number()?,
            label::BASE_SUM => self.base.sum = self.number()?,
            label::NAME => fields.name = self.reader.text()?,
            label::TIME => fields.nanos = self.nanos()?,
            label::UNIT => fields.unit = Some(self.reader.text()?),
            label::SUM => fields.sum = Some(self.number()?),
            label::UPDATE_TIME => drop(self.number()?),
            label::VALUE | label::STRING_VALUE | label::BOOLEAN_VALUE | label::DATA_VALUE => {
                let value = self.value(key)?;
                if fields.value.replace(value).is_some() {
                    return Err(PackError::Value);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn value(&mut self, key: i8) -> Result<Value<'b>, PackError> {
        Ok(match key {
            label::STRING_VALUE => Value::Text(self.reader.text()?),
            label::BOOLEAN_VALUE => Value::Boolean(self.reader.boolean()?),
            label::DATA_VALUE => Value::Data(self.reader.bytes()?),
            _ => Value::Number(self.number()?),
        })
    }

    fn number(&mut self) -> Result<f64, PackError> {
        Ok(Number::decode(&mut self.reader)?.to_f64())
    }

    fn nanos(&mut self) -> Result<i64, PackError> {
        Number::decode(&mut self.reader)?
            .to_nanos()
            .ok_or(PackError::Time)
    }

    fn resolve(&mut self, fields: Fields<'b>) -> Result<Reading<'_>, PackError> {
        let Base {
            name: base_name,
            nanos: base_nanos,
            unit,
            value,
            sum,
        } = self.base;
        let nanos = base_nanos
            .checked_add(fields.nanos)
            .ok_or(PackError::Time)?;
        let time = if nanos < ABSOLUTE_FROM_NANOS {
            nanos.checked_add(self.now.nanos()).ok_or(PackError::Time)?
        } else {
            nanos
        };
        let unit = fields.unit.unwrap_or(unit);
        if unit.len() > MAX_UNIT {
            return Err(PackError::Unit);
        }
        let value = match (fields.value, fields.sum) {
            (Some(Value::Number(number)), _) => Value::Number(based(number, value)),
            (Some(value), _) => value,
            (None, Some(number)) => Value::Sum(based(number, sum)),
            (None, None) => return Err(PackError::Value),
        };
        let name = if fields.name.is_empty() {
            base_name
        } else if base_name.is_empty() {
            fields.name
        } else {
            self.name.clear();
            self.name.push_str(base_name);
            self.name.push_str(fields.name);
            &self.name
        };
        if !is_name(name) {
            return Err(PackError::Name);
        }
        Ok(Reading {
            name,
            unit,
            time: Timestamp::from_nanos(time),
            value,
        })
    }
}

/// A number and its base; without a base the very same number, -0 too.
fn based(number: f64, base: f64) -> f64 {
    if base == 0.0 { number } else { number + base }
}

/// Why a pack, or the rest of one, cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    /// A field of another type than SenML gives it.
    #[error("a field of the wrong type")]
    Cbor,
    /// A number that is not an integer, a float or a decimal fraction.
    #[error("a number in a form that SenML does not know")]
    Number,
    /// A name that is empty, too long, or of other characters.
    #[error("a name that SenML does not allow, or longer than 255 bytes")]
    Name,
    /// A unit that is no unit's length.
    #[error("a unit longer than 64 bytes")]
    Unit,
    /// A stamp that cannot be held.
    #[error("a time before 1678 or after 2261")]
    Time,
    /// No value, or more than one.
    #[error("a record without a value, or with more than one")]
    Value,
    /// The same field twice in a record.
    #[error("a record with the same field twice")]
    Twice,
    /// A later version of SenML.
    #[error("a version of SenML above 10")]
    Version,
    /// An extension field that must be understood (its name ends with `_`), and is not.
    #[error("an extension field that must be understood")]
    MustUnderstand,
}
