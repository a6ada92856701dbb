//! Packs as lines of JSON (RFC 8428, section 5).

use alloc::string::String;
use core::fmt::Write as _;

use super::reading::{Reading, Value};
use crate::decimal::Shortest;
use crate::time::{NANOS_PER_SECOND, Timestamp};

/// Appends a pack to `out` as one line, and returns how many readings it holds. JSON has no word for
/// NaN and infinity; readings of such a value are left out, and a line of none is not written.
///
/// The common beginning of the names becomes the base name, a common stamp the base time.
pub fn line(pack: &[Reading<'_>], out: &mut String) -> u64 {
    let mut records = pack.iter().filter(|reading| is_finite(&reading.value));
    let Some(first) = records.next() else {
        return 0;
    };
    let base_name = common_beginning(pack);
    let same_time = pack.iter().all(|reading| reading.time == first.time);
    let mut written = 0;
    out.push('[');
    for reading in core::iter::once(first).chain(records) {
        out.push_str(if written == 0 { "{" } else { ",{" });
        if written == 0 {
            field(out, "bn", base_name);
            if same_time {
                out.push_str("\"bt\":");
                time(out, first.time);
                out.push(',');
            }
        }
        record(out, reading, base_name.len(), !same_time);
        out.push('}');
        written += 1;
    }
    out.push_str("]\n");
    written
}

fn record(out: &mut String, reading: &Reading<'_>, base: usize, with_time: bool) {
    field(out, "n", reading.name.get(base..).unwrap_or_default());
    field(out, "u", reading.unit);
    if with_time {
        out.push_str("\"t\":");
        time(out, reading.time);
        out.push(',');
    }
    match reading.value {
        Value::Number(value) => number(out, "v", value),
        Value::Sum(value) => number(out, "s", value),
        Value::Boolean(value) => out.push_str(if value { "\"vb\":true" } else { "\"vb\":false" }),
        Value::Text(text) => {
            out.push_str("\"vs\":");
            string(out, text);
        }
        Value::Data(data) => {
            out.push_str("\"vd\":\"");
            base64url(out, data);
            out.push('"');
        }
    }
}

fn is_finite(value: &Value<'_>) -> bool {
    !matches!(value, Value::Number(number) | Value::Sum(number) if !number.is_finite())
}

/// What all names begin with, as far as a divider, or a name that all share.
fn common_beginning<'a>(pack: &[Reading<'a>]) -> &'a str {
    let Some((first, rest)) = pack.split_first() else {
        return "";
    };
    if rest.iter().all(|reading| reading.name == first.name) {
        return first.name;
    }
    let common = rest.iter().fold(first.name.len(), |length, reading| {
        let pairs = first.name.bytes().zip(reading.name.bytes()).take(length);
        pairs.take_while(|(a, b)| a == b).count()
    });
    // A byte of a divider is a character of its own, so the cut never falls into one.
    let divider = first
        .name
        .bytes()
        .take(common)
        .rposition(|b| b":/._-".contains(&b));
    divider
        .and_then(|at| first.name.get(..=at))
        .unwrap_or_default()
}

/// A text and a comma, or nothing for an empty text.
fn field(out: &mut String, key: &str, text: &str) {
    if !text.is_empty() {
        let _ = write!(out, "\"{key}\":");
        string(out, text);
        out.push(',');
    }
}

fn number(out: &mut String, key: &str, value: f64) {
    // Writing into a String cannot fail.
    let _ = write!(out, "\"{key}\":{}", Shortest(value));
}

fn time(out: &mut String, time: Timestamp) {
    let (nanos, sign) = (
        time.nanos().unsigned_abs(),
        if time.nanos() < 0 { "-" } else { "" },
    );
    let second = NANOS_PER_SECOND.unsigned_abs();
    let _ = write!(out, "{sign}{}", nanos / second);
    if nanos % second != 0 {
        let _ = write!(out, ".{:09}", nanos % second);
        out.truncate(out.trim_end_matches('0').len());
    }
}

fn string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            // Control characters must be escaped; U+007F to U+009F would upset a terminal.
            _ if c.is_control() => drop(write!(out, "\\u{:04x}", u32::from(c))),
            _ => out.push(c),
        }
    }
    out.push('"');
}

/// Base 64 with the URL-safe alphabet and without padding (RFC 4648, section 5).
fn base64url(out: &mut String, data: &[u8]) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for chunk in data.chunks(3) {
        let bits = (0..3).fold(0, |bits, at| {
            bits << 8 | usize::from(chunk.get(at).copied().unwrap_or(0))
        });
        for at in 0..=chunk.len() {
            out.push(char::from(ALPHABET[bits >> (18 - 6 * at) & 63]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value as Json;
    use std::vec::Vec;

    const NOON: Timestamp = Timestamp::from_nanos(1_647_770_400 * NANOS_PER_SECOND);

    fn written(pack: &[Reading<'_>]) -> String {
        let mut out = String::new();
        line(pack, &mut out);
        out
    }

    #[test]
    fn a_window_is_one_short_line() {
        let pack = [
            Reading::number("water-flow:count", NOON, 24.0).in_unit("count"),
            Reading::number("water-flow:mean", NOON, 100.59).in_unit("l/s"),
        ];
        let expected = "[{\"bn\":\"water-flow:\",\"bt\":1647770400,\"n\":\"count\",\"u\":\"count\",\"v\":24},\
                        {\"n\":\"mean\",\"u\":\"l/s\",\"v\":100.59}]\n";
        assert_eq!(written(&pack), expected);
    }

    #[test]
    fn every_value_has_its_field() {
        let at = |value, nanos| Reading {
            name: "a",
            unit: "",
            time: Timestamp::from_nanos(NOON.nanos() + nanos),
            value,
        };
        let pack = [
            at(Value::Boolean(true), 0),
            at(Value::Text("say \"\\\u{7}ü\""), 500_000_000),
            at(Value::Data(&[0xFB, 0xFF, 0x00, 0x01]), 1),
            at(Value::Sum(-0.0), 0),
        ];
        let expected = "[{\"bn\":\"a\",\"t\":1647770400,\"vb\":true},\
                        {\"t\":1647770400.5,\"vs\":\"say \\\"\\\\\\u0007ü\\\"\"},\
                        {\"t\":1647770400.000000001,\"vd\":\"-_8AAQ\"},{\"t\":1647770400,\"s\":-0}]\n";
        assert_eq!(written(&pack), expected);
    }

    #[test]
    fn what_json_cannot_say_is_left_out() {
        let nan = Reading::number("a:x", NOON, f64::NAN);
        assert_eq!(written(&[nan]), "");
        assert_eq!(
            written(&[nan, Reading::number("a:y", NOON, 1.0)]),
            "[{\"bn\":\"a:\",\"bt\":1647770400,\"n\":\"y\",\"v\":1}]\n"
        );
        assert_eq!(written(&[]), "");
    }

    proptest! {
        #[test]
        fn numbers_survive(bits in prop::collection::vec(any::<u64>(), 1..8)) {
            let numbers: Vec<f64> = bits.iter().map(|bits| f64::from_bits(*bits)).collect();
            let pack: Vec<_> = numbers.iter().map(|v| Reading::number("s", NOON, *v)).collect();
            let finite: Vec<u64> = numbers.iter().filter(|v| v.is_finite()).map(|v| v.to_bits()).collect();
            let text = written(&pack);
            prop_assume!(!finite.is_empty());
            let json: Json = serde_json::from_str(&text).unwrap();
            let back: Vec<u64> = json.as_array().unwrap().iter().map(|r| r["v"].as_f64().unwrap().to_bits()).collect();
            prop_assert_eq!(back, finite);
        }

        #[test]
        fn texts_survive(text in any::<String>()) {
            let reading = Reading { name: "s", unit: "", time: NOON, value: Value::Text(&text) };
            let json: Json = serde_json::from_str(&written(&[reading])).unwrap();
            prop_assert_eq!(json[0]["vs"].as_str(), Some(text.as_str()));
        }
    }
}
