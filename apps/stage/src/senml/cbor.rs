//! As much of CBOR (RFC 8949) as SenML packs are made of, read strictly and written in the shortest
//! form.
//!
//! Small on purpose: a codec for all of CBOR is a tenth of an image.

use alloc::vec::Vec;

use super::boundary::{Boundary, FramingError};
use super::pack::PackError;

/// Major types (RFC 8949, section 3.1).
pub(super) mod major {
    pub const UNSIGNED: u8 = 0;
    pub const NEGATIVE: u8 = 1;
    pub const BYTES: u8 = 2;
    pub const TEXT: u8 = 3;
    pub const ARRAY: u8 = 4;
    pub const MAP: u8 = 5;
    pub const TAG: u8 = 6;
}

const FALSE: u8 = 0xF4;
const TRUE: u8 = 0xF5;
const FLOAT16: u8 = 0xF9;
const FLOAT32: u8 = 0xFA;
const FLOAT64: u8 = 0xFB;
const BREAK: u8 = 0xFF;

/// The head of a CBOR item (RFC 8949, section 3).
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub(super) major: u8,
    /// `None` for an indefinite length, and for a break.
    pub(super) argument: Option<u64>,
    pub(super) length: usize,
}

impl Header {
    /// `Ok(None)` while some of its bytes are missing.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Self>, FramingError> {
        let Some((first, rest)) = bytes.split_first() else {
            return Ok(None);
        };
        let (major, info) = (first >> 5, first & 0x1F);
        let extra = match info {
            0..=23 => {
                let argument = Some(u64::from(info));
                return Ok(Some(Self {
                    major,
                    argument,
                    length: 1,
                }));
            }
            24..=27 => 1 << (info - 24),
            31 => {
                return Ok(Some(Self {
                    major,
                    argument: None,
                    length: 1,
                }));
            }
            _ => return Err(FramingError::Malformed),
        };
        let Some(bytes) = rest.get(..extra) else {
            return Ok(None);
        };
        let argument = bytes
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte));
        if first == &0xF8 && argument < 32 {
            return Err(FramingError::Malformed);
        }
        Ok(Some(Self {
            major,
            argument: Some(argument),
            length: 1 + extra,
        }))
    }

    pub(super) fn is_break(self) -> bool {
        self.major == 7 && self.argument.is_none()
    }
}

/// Reads items one after the other. After an error what follows has no meaning.
#[derive(Debug, Clone)]
pub(super) struct Reader<'b> {
    rest: &'b [u8],
}

impl<'b> Reader<'b> {
    pub(super) const fn new(bytes: &'b [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The first byte of the next item.
    fn first(&self) -> Result<u8, PackError> {
        self.rest.first().copied().ok_or(PackError::Cbor)
    }

    /// The major type of the next item.
    pub(super) fn major(&self) -> Result<u8, PackError> {
        Ok(self.first()? >> 5)
    }

    pub(super) fn is_float(&self) -> bool {
        matches!(self.rest.first(), Some(&(FLOAT16 | FLOAT32 | FLOAT64)))
    }

    pub(super) fn is_break(&self) -> Result<bool, PackError> {
        Ok(self.first()? == BREAK)
    }

    fn take(&mut self, length: usize) -> Result<&'b [u8], PackError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(PackError::Cbor)?;
        self.rest = rest;
        Ok(taken)
    }

    /// The argument of an item of this major type; `None` for an indefinite length.
    fn argument(&mut self, major: u8) -> Result<Option<u64>, PackError> {
        match Header::parse(self.rest) {
            Ok(Some(header)) if header.major == major => {
                self.take(header.length)?;
                Ok(header.argument)
            }
            _ => Err(PackError::Cbor),
        }
    }

    /// How many items follow, or `None` for as many as stand before a break.
    pub(super) fn array(&mut self) -> Result<Option<u64>, PackError> {
        self.argument(major::ARRAY)
    }

    /// How many pairs follow, or `None` for as many as stand before a break.
    pub(super) fn map(&mut self) -> Result<Option<u64>, PackError> {
        self.argument(major::MAP)
    }

    fn definite(&mut self, major: u8) -> Result<u64, PackError> {
        self.argument(major)?.ok_or(PackError::Cbor)
    }

    pub(super) fn tag(&mut self) -> Result<u64, PackError> {
        self.definite(major::TAG)
    }

    pub(super) fn unsigned(&mut self) -> Result<u64, PackError> {
        self.definite(major::UNSIGNED)
    }

    pub(super) fn integer(&mut self) -> Result<i64, PackError> {
        let negative = self.major()? == major::NEGATIVE;
        let magnitude = self.definite(u8::from(negative))?;
        let number = i64::try_from(magnitude).map_err(|_| PackError::Cbor)?;
        Ok(if negative { -1 - number } else { number })
    }

    fn string(&mut self, major: u8) -> Result<&'b [u8], PackError> {
        let length = self.definite(major)?;
        self.take(usize::try_from(length).map_err(|_| PackError::Cbor)?)
    }

    pub(super) fn bytes(&mut self) -> Result<&'b [u8], PackError> {
        self.string(major::BYTES)
    }

    pub(super) fn text(&mut self) -> Result<&'b str, PackError> {
        core::str::from_utf8(self.string(major::TEXT)?).map_err(|_| PackError::Cbor)
    }

    pub(super) fn boolean(&mut self) -> Result<bool, PackError> {
        match self.take(1)? {
            [FALSE] => Ok(false),
            [TRUE] => Ok(true),
            _ => Err(PackError::Cbor),
        }
    }

    pub(super) fn float(&mut self) -> Result<f64, PackError> {
        let first = self.first()?;
        let bits = self.definite(7)?;
        match first {
            FLOAT16 => Ok(half(bits)),
            FLOAT32 => Ok(f64::from(f32::from_bits(bits as u32))),
            FLOAT64 => Ok(f64::from_bits(bits)),
            _ => Err(PackError::Cbor),
        }
    }

    /// Passes over one item of any kind.
    pub(super) fn skip(&mut self) -> Result<(), PackError> {
        match Boundary::new().walk(self.rest) {
            Ok(Some(length)) => self.take(length).map(drop),
            _ => Err(PackError::Cbor),
        }
    }

    /// Passes over the break that ends a map.
    pub(super) fn close(&mut self) -> Result<(), PackError> {
        self.take(1).map(drop)
    }
}

/// Widens a half-precision float (RFC 8949, appendix D).
fn half(bits: u64) -> f64 {
    let (exponent, fraction) = (bits >> 10 & 0x1F, bits & 0x3FF);
    let magnitude = match exponent {
        0 => fraction as f64 / f64::from(1 << 24),
        31 => f64::from_bits(0x7FF << 52 | fraction << 42),
        _ => f64::from_bits((exponent + 1023 - 15) << 52 | fraction << 42),
    };
    if bits & 0x8000 == 0 {
        magnitude
    } else {
        -magnitude
    }
}

/// Writes items one after the other.
pub(super) struct Writer<'v>(pub(super) &'v mut Vec<u8>);

impl Writer<'_> {
    pub(super) fn header(&mut self, major: u8, argument: u64) {
        let (info, width) = match argument {
            0..=23 => (argument as u8, 0),
            24..=0xFF => (24, 1),
            0x100..=0xFFFF => (25, 2),
            0x1_0000..=0xFFFF_FFFF => (26, 4),
            _ => (27, 8),
        };
        self.raw(major << 5 | info, argument, width);
    }

    /// A first byte, and the last `width` bytes of a number.
    fn raw(&mut self, first: u8, number: u64, width: usize) {
        self.0.push(first);
        let bytes = number.to_be_bytes();
        self.0
            .extend_from_slice(bytes.get(bytes.len() - width..).unwrap_or_default());
    }

    pub(super) fn integer(&mut self, number: i64) {
        if number < 0 {
            self.header(major::NEGATIVE, !number as u64);
        } else {
            self.header(major::UNSIGNED, number as u64);
        }
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.string(major::BYTES, bytes);
    }

    pub(super) fn text(&mut self, text: &str) {
        self.string(major::TEXT, text.as_bytes());
    }

    fn string(&mut self, major: u8, bytes: &[u8]) {
        self.header(major, bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn boolean(&mut self, truth: bool) {
        self.0.push(if truth { TRUE } else { FALSE });
    }

    /// The shorter of two widths that hold the number exactly. A NaN equals nothing and so stays wide.
    pub(super) fn float(&mut self, number: f64) {
        let short = number as f32;
        if f64::from(short) == number {
            self.raw(FLOAT32, u64::from(short.to_bits()), 4);
        } else {
            self.raw(FLOAT64, number.to_bits(), 8);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use minicbor::data::Type;
    use minicbor::{Decoder, Encoder};
    use proptest::prelude::*;

    fn bits(number: f64) -> u64 {
        if number.is_nan() { f64::NAN } else { number }.to_bits()
    }

    /// What `minicbor` makes of the same bytes: the value, and what is left.
    fn agrees<T: PartialEq + core::fmt::Debug>(
        bytes: &[u8],
        ours: impl FnOnce(&mut Reader<'_>) -> Result<T, PackError>,
        theirs: impl FnOnce(&mut Decoder<'_>) -> Result<T, minicbor::decode::Error>,
    ) -> Result<(), TestCaseError> {
        let (mut reader, mut decoder) = (Reader::new(bytes), Decoder::new(bytes));
        let (ours, theirs) = (ours(&mut reader).ok(), theirs(&mut decoder).ok());
        prop_assert_eq!(&ours, &theirs, "{:02x?}", bytes);
        if ours.is_some() {
            prop_assert_eq!(bytes.len() - reader.rest.len(), decoder.position());
        }
        Ok(())
    }

    fn minicbor_float(decoder: &mut Decoder<'_>) -> Result<f64, minicbor::decode::Error> {
        match decoder.datatype()? {
            Type::F16 => decoder.f16().map(f64::from),
            Type::F32 => decoder.f32().map(f64::from),
            _ => decoder.f64(),
        }
    }

    #[test]
    fn every_half_is_widened() {
        for number in 0..=u16::MAX {
            let [high, low] = number.to_be_bytes();
            let bytes = [FLOAT16, high, low];
            let expected = f64::from(Decoder::new(&bytes).f16().unwrap());
            assert_eq!(bits(Reader::new(&bytes).float().unwrap()), bits(expected));
        }
    }

    proptest! {
        #[test]
        fn items_are_read_as_minicbor_reads_them(
            first in any::<u8>(),
            rest in prop::collection::vec(prop_oneof![any::<u8>(), 0x60u8..0x64], 0..12),
        ) {
            let bytes: Vec<u8> = core::iter::once(first).chain(rest).collect();
            agrees(&bytes, |r| r.array(), |d| d.array())?;
            agrees(&bytes, |r| r.map(), |d| d.map())?;
            agrees(&bytes, |r| r.tag(), |d| d.tag().map(|tag| tag.as_u64()))?;
            agrees(&bytes, |r| r.unsigned(), |d| d.u64())?;
            agrees(&bytes, |r| r.integer(), |d| d.i64())?;
            agrees(&bytes, |r| r.bytes().map(<[u8]>::to_vec), |d| d.bytes().map(<[u8]>::to_vec))?;
            agrees(&bytes, |r| r.text().map(str::len), |d| d.str().map(str::len))?;
            agrees(&bytes, |r| r.boolean(), |d| d.bool())?;
            agrees(&bytes, |r| r.float().map(bits), |d| minicbor_float(d).map(bits))?;
        }

        #[test]
        fn items_are_written_as_minicbor_writes_them(
            number in any::<i64>(), shift in 0u32..64, argument in any::<u64>(), text in ".{0,30}",
            data in prop::collection::vec(any::<u8>(), 0..300), truth in any::<bool>(),
        ) {
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            let mut writer = Writer(&mut ours);
            writer.integer(number >> shift);
            writer.header(major::MAP, argument >> shift);
            writer.text(&text);
            writer.bytes(&data);
            writer.boolean(truth);
            let mut encoder = Encoder::new(&mut theirs);
            encoder.i64(number >> shift).unwrap().map(argument >> shift).unwrap();
            encoder.str(&text).unwrap().bytes(&data).unwrap().bool(truth).unwrap();
            prop_assert_eq!(ours, theirs);
        }

        #[test]
        fn floats_come_back(number in any::<u64>()) {
            let mut bytes = Vec::new();
            let number = f64::from_bits(number);
            Writer(&mut bytes).float(number);
            prop_assert_eq!(bits(Reader::new(&bytes).float().unwrap()), bits(number));
            prop_assert_eq!(minicbor_float(&mut Decoder::new(&bytes)).map(bits).unwrap(), bits(number));
        }
    }
}
