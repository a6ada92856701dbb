//! SenML in JSON (RFC 8428): a pack, or a record of it, in each line. Pure.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use stage::senml::ABSOLUTE_FROM;
use stage::time::NANOS_PER_SECOND;
use stage::{Reading, Timestamp, Value};

use super::format::{BadLine, Sink};

/// The version of SenML that is read.
const VERSION: u64 = 10;

/// Why a line is no pack.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BadPack {
    /// Not JSON, or fields of other types than SenML gives them.
    #[error("not SenML: {0}")]
    Json(String),
    /// A later version.
    #[error("a version of SenML above {VERSION}")]
    Version,
    /// A field whose name ends with `_`.
    #[error("a field that must be understood and is not: {0}")]
    MustUnderstand(String),
    /// A stamp.
    #[error("a time before 1678 or after 2261")]
    Time,
    /// No value, or several.
    #[error("a record without a value, or with more than one")]
    Value,
    /// The bytes of `vd`.
    #[error("data that is not base 64 of the URL-safe alphabet")]
    Data,
}

impl From<BadPack> for BadLine {
    fn from(error: BadPack) -> Self {
        Self::SenMl(error)
    }
}

/// A record as it stands; each value stays text until it is known what it is, since a float would lose a time's nanoseconds.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct Record<'a>(#[serde(borrow)] BTreeMap<String, &'a RawValue>);

impl Record<'_> {
    fn field<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, BadPack> {
        let value = self
            .0
            .get(key)
            .map(|value| serde_json::from_str(value.get()));
        value
            .transpose()
            .map_err(|error| BadPack::Json(format!("{key}: {error}")))
    }

    fn nanos(&self, key: &str) -> Result<Option<i64>, BadPack> {
        self.0.get(key).map(|value| nanos(value.get())).transpose()
    }
}

/// What holds from the record that says it on.
#[derive(Debug, Default)]
struct Base {
    name: String,
    nanos: i64,
    unit: String,
    value: f64,
    sum: f64,
}

/// The readings of a line.
pub fn pack(text: &[u8], now: Timestamp, emit: Sink<'_>) -> Result<(), BadLine> {
    let json = |error: serde_json::Error| BadPack::Json(error.to_string());
    let records: Vec<Record<'_>> = if text.starts_with(b"[") {
        serde_json::from_slice(text).map_err(json)?
    } else {
        vec![serde_json::from_slice(text).map_err(json)?]
    };
    let mut base = Base::default();
    for record in records {
        resolve(record, &mut base, now, emit)?;
    }
    Ok(())
}

fn resolve(
    record: Record<'_>,
    base: &mut Base,
    now: Timestamp,
    emit: Sink<'_>,
) -> Result<(), BadLine> {
    if record
        .field::<u64>("bver")?
        .is_some_and(|version| version > VERSION)
    {
        return Err(BadPack::Version.into());
    }
    if let Some(name) = record.0.keys().find(|name| name.ends_with('_')) {
        let name = name.chars().filter(|c| !c.is_control()).take(40).collect();
        return Err(BadPack::MustUnderstand(name).into());
    }
    if let Some(name) = record.field("bn")? {
        base.name = name;
    }
    if let Some(unit) = record.field("bu")? {
        base.unit = unit;
    }
    base.nanos = record.nanos("bt")?.unwrap_or(base.nanos);
    base.value = record.field("bv")?.unwrap_or(base.value);
    base.sum = record.field("bs")?.unwrap_or(base.sum);
    let own_name: Option<String> = record.field("n")?;
    let own_unit: Option<String> = record.field("u")?;
    let own_nanos = record.nanos("t")?;
    let mut nanos = base
        .nanos
        .checked_add(own_nanos.unwrap_or(0))
        .ok_or(BadPack::Time)?;
    if nanos < ABSOLUTE_FROM * NANOS_PER_SECOND {
        nanos = nanos.checked_add(now.nanos()).ok_or(BadPack::Time)?;
    }
    let number: Option<f64> = record.field("v")?;
    let text: Option<String> = record.field("vs")?;
    let truth: Option<bool> = record.field("vb")?;
    let data: Option<String> = record.field("vd")?;
    let sum: Option<f64> = record.field("s")?;
    let data = data.as_deref().map(base64url).transpose()?;
    let values = [
        number.map(|number| Value::Number(based(number, base.value))),
        text.as_deref().map(Value::Text),
        truth.map(Value::Boolean),
        data.as_deref().map(Value::Data),
    ];
    let mut values = values.into_iter().flatten();
    let value = match (values.next(), values.next(), sum) {
        (Some(value), None, _) => value,
        (None, None, Some(sum)) => Value::Sum(based(sum, base.sum)),
        // A record of base values alone.
        (None, None, None) if own_name.is_none() && own_nanos.is_none() => return Ok(()),
        _ => return Err(BadPack::Value.into()),
    };
    let name = base.name.clone() + own_name.as_deref().unwrap_or_default();
    emit(&Reading {
        name: &name,
        unit: own_unit.as_deref().unwrap_or(&base.unit),
        time: Timestamp::from_nanos(nanos),
        value,
    })
}

/// Seconds as JSON writes them, in nanoseconds: exact where there is no exponent.
fn nanos(text: &str) -> Result<i64, BadPack> {
    let exact = || -> Option<i64> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = fraction.get(..fraction.len().min(9))?;
        let below = format!("{digits:0<9}");
        let seconds: i64 = whole.parse().ok()?;
        let below: i64 = below
            .parse()
            .ok()
            .filter(|_| fraction.bytes().all(|b| b.is_ascii_digit()))?;
        let below = if text.starts_with('-') { -below } else { below };
        seconds.checked_mul(NANOS_PER_SECOND)?.checked_add(below)
    };
    let rounded = || -> Option<i64> {
        let seconds: f64 = serde_json::from_str(text).ok()?;
        let nanos = seconds * NANOS_PER_SECOND as f64;
        // 2^63 and beyond have no room; below it the cast is exact to the float's own precision.
        (nanos.abs() < 9.2e18).then_some(nanos as i64)
    };
    exact().or_else(rounded).ok_or(BadPack::Time)
}

/// A number and its base; without a base the very same number, -0 too.
fn based(number: f64, base: f64) -> f64 {
    if base == 0.0 { number } else { number + base }
}

/// Base 64 with the URL-safe alphabet; padding is passed over (RFC 8428, section 5).
fn base64url(text: &str) -> Result<Vec<u8>, BadPack> {
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return Err(BadPack::Data),
        };
        bits = bits << 6 | u32::from(digit);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.extend((bits >> count).to_le_bytes().first());
        }
    }
    if count == 6 {
        return Err(BadPack::Data);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_nanos(2_000_000_000 * NANOS_PER_SECOND);

    fn read(line: &str) -> Result<Vec<String>, String> {
        let mut found = Vec::new();
        let done = pack(line.as_bytes(), NOW, &mut |reading| {
            found.push(format!(
                "{} {:?} {} {}",
                reading.name,
                reading.value,
                reading.unit,
                reading.time.nanos()
            ));
            Ok(())
        });
        done.map(|()| found).map_err(|error| error.to_string())
    }

    #[test]
    fn base_values_hold_from_record_to_record() {
        let line = r#"[{"bn":"urn:x:","bt":1320067464.000000001,"bu":"Cel","bv":20,"n":"a","v":1.5},{"n":"b","t":-0.5,"u":"%","v":2},{"n":"c","s":3},{"n":"d","vb":true},{"n":"e","vs":"x\ny"},{"n":"f","vd":"-_8AAQ"}]"#;
        assert_eq!(
            read(line).unwrap(),
            [
                "urn:x:a Number(21.5) Cel 1320067464000000001",
                "urn:x:b Number(22.0) % 1320067463500000001",
                "urn:x:c Sum(3.0) Cel 1320067464000000001",
                "urn:x:d Boolean(true) Cel 1320067464000000001",
                "urn:x:e Text(\"x\\ny\") Cel 1320067464000000001",
                "urn:x:f Data([251, 255, 0, 1]) Cel 1320067464000000001"
            ]
        );
    }

    #[test]
    fn one_record_is_a_pack_and_a_time_without_a_date_is_relative_to_now() {
        assert_eq!(
            read(r#"{"n":"a","t":-1.5,"v":1e2}"#).unwrap(),
            ["a Number(100.0)  1999999998500000000"]
        );
        assert_eq!(
            read(r#"{"n":"a","v":1,"ut":5,"x":{}}"#).unwrap(),
            ["a Number(1.0)  2000000000000000000"]
        );
        assert_eq!(
            read(r#"{"n":"a","bt":1.7e9,"v":1}"#).unwrap(),
            ["a Number(1.0)  1700000000000000000"]
        );
        assert_eq!(read("[]").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn what_is_none_is_refused() {
        for (line, said) in [
            ("x", "not SenML"),
            ("5", "not SenML"),
            (r#"{"n":5,"v":1}"#, "not SenML"),
            (r#"{"n":"a"}"#, "without a value"),
            (r#"{"n":"a","v":1,"vs":""}"#, "more than one"),
            (r#"{"n":"a","v":1,"bver":11}"#, "version"),
            (r#"{"n":"a","v":1,"x_":1}"#, "must be understood"),
            (r#"{"n":"a","v":1,"t":"now"}"#, "time"),
            (r#"{"n":"a","v":1,"t":9e18}"#, "time"),
            (r#"{"n":"a","vd":"a"}"#, "base 64"),
        ] {
            let error = read(line).unwrap_err();
            assert!(error.contains(said), "{line}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_line_is_too_much(line in ".{0,60}", field in "[a-z_]{1,3}", number in any::<f64>()) {
            let _ = read(&line);
            let _ = read(&format!(r#"[{{"n":"a","{field}":{number}}}]"#));
        }

        #[test]
        fn what_the_gateway_writes_is_read_back(value in any::<f64>().prop_filter("finite", |v| v.is_finite()), nanos in 0i64..1 << 60) {
            let time = Timestamp::from_nanos(nanos.max(ABSOLUTE_FROM * NANOS_PER_SECOND));
            let mut line = String::new();
            let reading = Reading::number("a:b", time, value).in_unit("Cel");
            stage::senml::json::line(&[reading], &mut line);
            let mut seen = 0;
            pack(line.trim_end().as_bytes(), NOW, &mut |back| {
                assert_eq!(*back, reading);
                seen += 1;
                Ok(())
            }).unwrap();
            prop_assert_eq!(seen, 1);
        }
    }
}
