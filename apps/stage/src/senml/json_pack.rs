//! Packs that come as JSON (RFC 8428, section 5), written anew in CBOR: what a field means is then decided in one place, by
//! [`Pack`](super::Pack).

use alloc::string::String;
use alloc::vec::Vec;

use super::PackError;
use super::cbor::{Writer, major};
use super::label;
use super::number::DECIMAL_FRACTION;
use crate::decimal;

/// How deep values that nobody asked for may be nested.
const MAX_DEPTH: u32 = 16;

const ARRAY: u8 = 0x9F;
const MAP: u8 = 0xBF;
const BREAK: u8 = 0xFF;

/// Why a text is no pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// It is no array of objects in JSON; so many bytes of it were.
    #[error("no JSON array of objects, from byte {0} on")]
    Syntax(usize),
    /// A field of it.
    #[error(transparent)]
    Field(#[from] PackError),
}

/// Appends the pack that `json` holds to `pack`, in CBOR.
pub fn pack_of_json(json: &str, pack: &mut Vec<u8>) -> Result<(), JsonError> {
    let mut scanner = Scanner {
        text: json,
        at: 0,
        string: String::new(),
    };
    pack.push(ARRAY);
    scanner.each(b'[', b']', |scanner| {
        pack.push(MAP);
        scanner.each(b'{', b'}', |scanner| scanner.field(pack))?;
        pack.push(BREAK);
        Ok(())
    })?;
    pack.push(BREAK);
    scanner.space();
    if scanner.at < json.len() {
        return Err(scanner.syntax());
    }
    Ok(())
}

struct Scanner<'j> {
    text: &'j str,
    at: usize,
    /// The string that was read last.
    string: String,
}

impl<'j> Scanner<'j> {
    fn syntax(&self) -> JsonError {
        JsonError::Syntax(self.at)
    }

    fn rest(&self) -> &'j str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// Passes over a byte, if it is the next one after spaces.
    fn eat(&mut self, byte: u8) -> bool {
        self.space();
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.eat(byte) {
            Ok(())
        } else {
            Err(self.syntax())
        }
    }

    /// Everything between two brackets, with commas between.
    fn each(
        &mut self,
        open: u8,
        close: u8,
        mut element: impl FnMut(&mut Self) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        self.expect(open)?;
        if self.eat(close) {
            return Ok(());
        }
        loop {
            element(self)?;
            if self.eat(close) {
                return Ok(());
            }
            self.expect(b',')?;
        }
    }

    /// One field of a record.
    fn field(&mut self, pack: &mut Vec<u8>) -> Result<(), JsonError> {
        self.read_string()?;
        let label = label_of(&self.string);
        if label.is_none() && self.string.ends_with('_') {
            return Err(PackError::MustUnderstand.into());
        }
        self.expect(b':')?;
        let Some(label) = label else {
            return self.skip(0);
        };
        let mut writer = Writer(pack);
        writer.integer(label.into());
        self.space();
        match (label, self.peek()) {
            (label::DATA_VALUE, Some(b'"')) => {
                self.read_string()?;
                let data = base64url(&self.string).ok_or(PackError::Cbor)?;
                writer.bytes(&data);
            }
            (_, Some(b'"')) => {
                self.read_string()?;
                writer.text(&self.string);
            }
            (_, Some(b't' | b'f')) => writer.boolean(self.boolean()?),
            (_, Some(b'-' | b'0'..=b'9')) => number(&mut writer, self.number()?)?,
            // No field of SenML has such a value.
            _ => return Err(self.syntax()),
        }
        Ok(())
    }

    fn boolean(&mut self) -> Result<bool, JsonError> {
        let truth = self.rest().starts_with("true");
        self.word(if truth { "true" } else { "false" })?;
        Ok(truth)
    }

    fn word(&mut self, word: &str) -> Result<(), JsonError> {
        if !self.rest().starts_with(word) {
            return Err(self.syntax());
        }
        self.at += word.len();
        Ok(())
    }

    /// Passes over a value that nobody asked for.
    fn skip(&mut self, depth: u32) -> Result<(), JsonError> {
        self.space();
        match self.peek() {
            Some(b'{' | b'[') if depth == MAX_DEPTH => Err(self.syntax()),
            Some(b'[') => self.each(b'[', b']', |scanner| scanner.skip(depth + 1)),
            Some(b'{') => self.each(b'{', b'}', |scanner| {
                scanner.read_string()?;
                scanner.expect(b':')?;
                scanner.skip(depth + 1)
            }),
            Some(b'"') => self.read_string(),
            Some(b'n') => self.word("null"),
            Some(b't' | b'f') => self.boolean().map(drop),
            _ => self.number().map(drop),
        }
    }

    /// A number's text, as the grammar of RFC 8259 (section 6) has it.
    fn number(&mut self) -> Result<&'j str, JsonError> {
        let start = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        Ok(self.text.get(start..self.at).unwrap_or_default())
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start {
            return Err(self.syntax());
        }
        Ok(())
    }

    /// Reads a string, without its escapes.
    fn read_string(&mut self) -> Result<(), JsonError> {
        self.expect(b'"')?;
        self.string.clear();
        loop {
            let rest = self.rest();
            let plain = rest.find(|c: char| c == '"' || c == '\\' || c < ' ');
            let plain = plain.ok_or(self.syntax())?;
            self.string.push_str(rest.get(..plain).unwrap_or_default());
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    self.at += 1;
                    let c = self.escaped()?;
                    self.string.push(c);
                }
                _ => return Err(self.syntax()),
            }
        }
    }

    fn escaped(&mut self) -> Result<char, JsonError> {
        let byte = self.peek().ok_or(self.syntax())?;
        self.at += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let high = self.four_digits()?;
                if !(0xD800..0xDC00).contains(&high) {
                    return char::from_u32(high).ok_or(self.syntax());
                }
                self.word("\\u")?;
                let low = self.four_digits()?;
                if !(0xDC00..0xE000).contains(&low) {
                    return Err(self.syntax());
                }
                let code = 0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00);
                char::from_u32(code).ok_or(self.syntax())?
            }
            _ => return Err(self.syntax()),
        })
    }

    fn four_digits(&mut self) -> Result<u32, JsonError> {
        let digits = self.rest().as_bytes().get(..4).ok_or(self.syntax())?;
        let mut code = 0;
        for digit in digits {
            let digit = char::from(*digit).to_digit(16).ok_or(self.syntax())?;
            code = code << 4 | digit;
        }
        self.at += 4;
        Ok(code)
    }
}

/// The label of a field (RFC 8428, section 6, table 4).
fn label_of(key: &str) -> Option<i8> {
    Some(match key {
        "bver" => label::BASE_VERSION,
        "bn" => label::BASE_NAME,
        "bt" => label::BASE_TIME,
        "bu" => label::BASE_UNIT,
        "bv" => label::BASE_VALUE,
        "bs" => label::BASE_SUM,
        "n" => label::NAME,
        "u" => label::UNIT,
        "v" => label::VALUE,
        "vs" => label::STRING_VALUE,
        "vb" => label::BOOLEAN_VALUE,
        "s" => label::SUM,
        "t" => label::TIME,
        "ut" => label::UPDATE_TIME,
        "vd" => label::DATA_VALUE,
        _ => return None,
    })
}

/// Writes a number as the very decimal that it is, where its digits fit, so that a stamp stays exact.
fn number(writer: &mut Writer<'_>, text: &str) -> Result<(), JsonError> {
    let float = decimal::parse(text.as_bytes()).filter(|number| number.is_finite());
    let float = float.ok_or(PackError::Number)?;
    match exact(text) {
        Some((0, exponent)) if exponent != 0 || float.is_sign_negative() => writer.float(float),
        Some((mantissa, 0)) => writer.integer(mantissa),
        Some((mantissa, exponent)) => {
            writer.header(major::TAG, DECIMAL_FRACTION);
            writer.header(major::ARRAY, 2);
            writer.integer(exponent.into());
            writer.integer(mantissa);
        }
        None => writer.float(float),
    }
    Ok(())
}

/// Mantissa and exponent to base ten, if they fit.
fn exact(text: &str) -> Option<(i64, i32)> {
    let (digits, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let exponent: i32 = exponent.parse().ok()?;
    let exponent = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let (negative, whole) = match whole.strip_prefix('-') {
        Some(whole) => (true, whole),
        None => (false, whole),
    };
    let mut mantissa = 0i64;
    for digit in whole.bytes().chain(fraction.bytes()) {
        mantissa = mantissa
            .checked_mul(10)?
            .checked_add((digit - b'0').into())?;
    }
    Some((if negative { -mantissa } else { mantissa }, exponent))
}

/// The bytes of a text in base 64 with the URL-safe alphabet and without padding (RFC 4648, section 5).
fn base64url(text: &str) -> Option<Vec<u8>> {
    let mut data = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for chunk in text.as_bytes().chunks(4) {
        let mut bits = 0u32;
        for at in 0..4 {
            bits = bits << 6 | chunk.get(at).map_or(Some(0), |byte| sextet(*byte))?;
        }
        let [_, bytes @ ..] = bits.to_be_bytes();
        // Two characters make a byte, three two, four three; one alone makes none.
        data.extend_from_slice(bytes.get(..chunk.len().checked_sub(1).filter(|n| *n > 0)?)?);
    }
    Some(data)
}

fn sextet(byte: u8) -> Option<u32> {
    Some(u32::from(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'-' => 62,
        b'_' => 63,
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;
    use crate::senml::{Pack, Reading, Value, json};
    use alloc::format;
    use alloc::string::ToString;
    use proptest::prelude::*;

    /// Each reading of a pack as a line, or why there is none.
    fn read(text: &str) -> Result<Vec<String>, String> {
        let mut bytes = Vec::new();
        pack_of_json(text, &mut bytes).map_err(|error| error.to_string())?;
        let mut lines = Vec::new();
        let pack = Pack::new(&bytes);
        let mut readings = pack
            .readings(Timestamp::default())
            .map_err(|error| error.to_string())?;
        while let Some(reading) = readings.next_reading().map_err(|error| error.to_string())? {
            let Reading {
                name,
                unit,
                time,
                value,
            } = reading;
            lines.push(format!("{name} {unit} {} {value:?}", time.nanos()));
        }
        Ok(lines)
    }

    #[test]
    fn a_pack_says_what_the_standard_says_it_does() {
        // RFC 8428, section 5.1.3, with a field that is not known and a stamp that no float holds.
        let text = r#" [ {"bn":"urn:dev:ow:10e2073a01080063:","bt":1.320067464123456789e+09,"bu":"%RH","v":20, "x":[{"y":[null,true,"\ud83d\ude00"]}]},
            {"u":"lon","v":24.30621}, {"t":60,"n":"\u0061b","v":-2.03E1 }, {"n":"t","vs":"a\"b\\\n"},
            {"n":"d","vd":"AQL_"}, {"n":"e","vd":"AQ"}, {"n":"f","vb":false}, {"n":"g","s":1e3} ] "#;
        let name = "urn:dev:ow:10e2073a01080063:";
        let at = "1320067464123456789";
        let expected = [
            format!("{name} %RH {at} Number(20.0)"),
            format!("{name} lon {at} Number(24.30621)"),
            format!("{name}ab %RH 1320067524123456789 Number(-20.3)"),
            format!("{name}t %RH {at} Text({:?})", "a\"b\\\n"),
            format!("{name}d %RH {at} Data([1, 2, 255])"),
            format!("{name}e %RH {at} Data([1])"),
            format!("{name}f %RH {at} Boolean(false)"),
            format!("{name}g %RH {at} Sum(1000.0)"),
        ];
        assert_eq!(read(text).unwrap(), expected);
        assert_eq!(read("[]").unwrap(), [""; 0]);
    }

    #[test]
    fn what_is_no_pack_is_refused() {
        let deep = format!("[{{\"x\":{}{}}}]", "[".repeat(40), "]".repeat(40));
        for text in [
            "",
            "[",
            "]",
            "{}",
            "[{]",
            "[{}",
            "[{}] x",
            "[1]",
            "[{\"v\"}]",
            "[{\"v\":}]",
            "[{\"v\":1,}]",
            "[{},]",
            "[{\"v\":01}]",
            "[{\"v\":1.}]",
            "[{\"v\":.5}]",
            "[{\"v\":1e}]",
            "[{\"v\":-}]",
            "[{\"v\":1e999}]",
            "[{\"v\":null}]",
            "[{\"v\":NaN}]",
            "[{\"n\":\"a\nb\",\"v\":1}]",
            "[{\"n\":\"\\x\",\"v\":1}]",
            "[{\"n\":\"\\ud800\",\"v\":1}]",
            "[{\"n\":\"\\udc00\",\"v\":1}]",
            "[{\"n\":\"a",
            "[{\"vd\":\"A\"}]",
            "[{\"vd\":\"A+\"}]",
            "[{\"x\":tru}]",
            "[{\"must_\":1,\"n\":\"a\",\"v\":1}]",
            "[{\"n\":\"a\",\"v\":1,\"v\":1}]",
            "[{\"n\":\"a\"}]",
            "[{\"n\":\"?\",\"v\":1}]",
            &deep,
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_does_harm(text in ".{0,60}", wrapped in "[\\[\\]{},:\"\\\\u0-9a-z.e+-]{0,60}") {
            let _ = read(&text);
            let _ = read(&format!("[{{{wrapped}"));
        }

        #[test]
        fn what_we_write_reads_back(
            values in prop::collection::vec((any::<f64>(), "[a-z]{1,5}:[a-z]{0,5}", any::<i64>(), "\\PC{0,9}"), 1..9),
        ) {
            let mut readings = Vec::new();
            for (value, name, nanos, text) in &values {
                let nanos = nanos.rem_euclid(1 << 60) + (1 << 60);
                let value = if value.is_finite() { Value::Number(*value) } else { Value::Text(text) };
                readings.push(Reading { name, unit: "u", time: Timestamp::from_nanos(nanos), value });
            }
            let mut line = String::new();
            json::line(&readings, &mut line);
            let expected: Vec<String> = readings.iter()
                .map(|r| format!("{} {} {} {:?}", r.name, r.unit, r.time.nanos(), r.value)).collect();
            prop_assert_eq!(read(&line).unwrap(), expected);
        }
    }
}
