use super::*;
use crate::time::Timestamp;
use proptest::prelude::*;
use std::string::String;
use std::vec;
use std::vec::Vec;

/// 2022-03-20T10:00:00Z.
const NOON: i64 = 1_647_770_400 * NANOS_PER_SECOND;

/// A reading that owns what it holds.
#[derive(Debug, Clone, PartialEq)]
struct Owned {
    name: String,
    unit: String,
    nanos: i64,
    value: OwnedValue,
}

#[derive(Debug, Clone, PartialEq)]
enum OwnedValue {
    /// As bits, so that a NaN equals itself.
    Number(u64),
    Sum(u64),
    Boolean(bool),
    Text(String),
    Data(Vec<u8>),
}

impl Owned {
    fn new(reading: &Reading<'_>) -> Self {
        Self {
            name: reading.name.into(),
            unit: reading.unit.into(),
            nanos: reading.time.nanos(),
            value: match reading.value {
                Value::Number(number) => OwnedValue::Number(number.to_bits()),
                Value::Sum(number) => OwnedValue::Sum(number.to_bits()),
                Value::Boolean(truth) => OwnedValue::Boolean(truth),
                Value::Text(text) => OwnedValue::Text(text.into()),
                Value::Data(data) => OwnedValue::Data(data.into()),
            },
        }
    }

    fn reading(&self) -> Reading<'_> {
        Reading {
            name: &self.name,
            unit: &self.unit,
            time: Timestamp::from_nanos(self.nanos),
            value: match &self.value {
                OwnedValue::Number(bits) => Value::Number(f64::from_bits(*bits)),
                OwnedValue::Sum(bits) => Value::Sum(f64::from_bits(*bits)),
                OwnedValue::Boolean(truth) => Value::Boolean(*truth),
                OwnedValue::Text(text) => Value::Text(text),
                OwnedValue::Data(data) => Value::Data(data),
            },
        }
    }
}

/// Everything that a pack holds, and its `seq`.
fn decode(pack: &Pack<'_>, now: i64) -> Result<(Vec<Owned>, Option<u64>), PackError> {
    let mut readings = pack.readings(Timestamp::from_nanos(now))?;
    let mut all = Vec::new();
    while let Some(reading) = readings.next_reading()? {
        all.push(Owned::new(&reading));
    }
    Ok((all, readings.seq()))
}

/// The names, nanoseconds and numbers of a pack written out by hand.
fn numbers(bytes: &[u8]) -> Result<Vec<(String, i64, f64)>, PackError> {
    let (all, _) = decode(&Pack::new(bytes), NOON)?;
    Ok(all
        .into_iter()
        .map(|reading| match reading.value {
            OwnedValue::Number(bits) => (reading.name, reading.nanos, f64::from_bits(bits)),
            other => panic!("{other:?}"),
        })
        .collect())
}

/// Feeds a decoder in pieces of the given lengths, in turn.
fn decode_stream(
    bytes: &[u8],
    pieces: &[usize],
) -> Result<(Vec<Owned>, Vec<u64>, bool), StreamError> {
    let mut decoder = StreamDecoder::new();
    let (mut all, mut seqs) = (Vec::new(), Vec::new());
    let mut pieces = pieces.iter().cycle();
    let mut rest = bytes;
    loop {
        match decoder.next_item()? {
            Item::End => return Ok((all, seqs, true)),
            Item::Pack(pack) => {
                if let Ok((readings, seq)) = decode(&pack, NOON) {
                    all.extend(readings);
                    seqs.extend(seq);
                }
            }
            Item::Incomplete if rest.is_empty() => return Ok((all, seqs, false)),
            Item::Incomplete => {
                let wanted = *pieces.next().unwrap();
                let count = wanted.min(rest.len());
                decoder.space(wanted)?[..count].copy_from_slice(&rest[..count]);
                decoder.filled(count);
                rest = &rest[count..];
            }
        }
    }
}

fn encode(readings: &[Owned], limit: usize) -> (Vec<u8>, Vec<Sealed>) {
    let mut queue = PackQueue::new(limit);
    for reading in readings {
        queue.push(&reading.reading()).unwrap();
    }
    let (mut bytes, mut sealed) = (Vec::new(), Vec::new());
    queue.take(&mut bytes, &mut sealed);
    (bytes, sealed)
}

fn any_value() -> impl Strategy<Value = OwnedValue> {
    prop_oneof![
        4 => any::<u64>().prop_map(OwnedValue::Number),
        4 => any::<f32>().prop_map(|number| OwnedValue::Number(f64::from(number).to_bits())),
        1 => any::<f64>().prop_map(|number| OwnedValue::Sum(number.to_bits())),
        1 => any::<bool>().prop_map(OwnedValue::Boolean),
        1 => any::<String>().prop_map(OwnedValue::Text),
        1 => any::<Vec<u8>>().prop_map(OwnedValue::Data),
    ]
}

fn any_reading() -> impl Strategy<Value = Owned> {
    let nanos = prop_oneof![
        (ABSOLUTE_FROM..9_000_000_000i64).prop_map(|seconds| seconds * NANOS_PER_SECOND),
        (0..100_000i64).prop_map(|millis| NOON + millis * 1_000_000),
        ABSOLUTE_FROM_NANOS..=i64::MAX,
    ];
    (
        "[a-c0-9][a-c/:._-]{0,3}",
        prop::sample::select(vec!["", "l/s", "Cel"]),
        nanos,
        any_value(),
    )
        .prop_map(|(name, unit, nanos, value)| Owned {
            name,
            unit: unit.into(),
            nanos,
            value,
        })
}

proptest! {
    #[test]
    fn readings_survive(
        readings in prop::collection::vec(any_reading(), 0..60),
        limit in 0usize..600,
        pieces in prop::collection::vec(1usize..200, 1..5),
    ) {
        let (mut bytes, sealed) = encode(&readings, limit);
        prop_assert_eq!(sealed.last().map_or(0, |pack| pack.end), bytes.len());
        bytes.push(END_OF_STREAM);
        let (back, seqs, ended) = decode_stream(&bytes, &pieces).unwrap();
        prop_assert_eq!(&back, &readings);
        prop_assert!(ended);
        let mut before = 0;
        let expected: Vec<u64> = sealed.iter().map(|pack| {
            before += pack.readings;
            before - pack.readings
        }).collect();
        prop_assert_eq!(seqs, expected);
    }

    #[test]
    fn packs_keep_to_their_limit(
        readings in prop::collection::vec(any_reading(), 1..60),
        limit in 100usize..600,
    ) {
        let (_, sealed) = encode(&readings, limit);
        let mut start = 0;
        for pack in sealed {
            prop_assert!(pack.end - start <= limit || pack.readings == 1);
            start = pack.end;
        }
    }

    #[test]
    fn hostile_bytes_are_answered(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        pieces in prop::collection::vec(1usize..40, 1..4),
    ) {
        let _ = decode_stream(&bytes, &pieces);
        let _ = decode(&Pack::new(&bytes), NOON);
    }

    #[test]
    fn damaged_packs_are_answered_the_same_however_cut(
        readings in prop::collection::vec(any_reading(), 1..20),
        at in any::<prop::sample::Index>(),
        damage in 1u8..,
        piece in 1usize..50,
    ) {
        let (mut bytes, _) = encode(&readings, 200);
        let at = at.index(bytes.len());
        bytes[at] ^= damage;
        prop_assert_eq!(decode_stream(&bytes, &[piece]), decode_stream(&bytes, &[1 << 20]));
    }
}

/// The example in CBOR of RFC 8428, section 6.
#[test]
fn the_example_of_the_rfc_is_read() {
    let hex = "87a721781b75726e3a6465763a6f773a3130653230373361303130383030363a22fb41d303a15b00106223614120050067766f6c7461676501615602fb405e066666666666a3006763757272656e74062402fb3ff3333333333333a3006763757272656e74062302fb3ff4cccccccccccda3006763757272656e74062202fb3ff6666666666666a3006763757272656e74062102f93e00a3006763757272656e74062002fb3ff999999999999aa3006763757272656e74060002fb3ffb333333333333";
    let bytes: Vec<u8> = (0..hex.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap())
        .collect();
    let (all, seq) = decode(&Pack::new(&bytes), NOON).unwrap();
    assert_eq!(seq, None);
    let base = 1_276_020_076_001_000_000;
    let expected = [
        ("voltage", "V", 0, 120.1),
        ("current", "A", -5, 1.2),
        ("current", "A", -4, 1.3),
        ("current", "A", -3, 1.4),
        ("current", "A", -2, 1.5),
        ("current", "A", -1, 1.6),
        ("current", "A", 0, 1.7),
    ]
    .map(
        |(name, unit, seconds, value): (&str, &str, i64, f64)| Owned {
            name: std::format!("urn:dev:ow:10e2073a0108006:{name}"),
            unit: unit.into(),
            nanos: base + seconds * NANOS_PER_SECOND,
            value: OwnedValue::Number(value.to_bits()),
        },
    );
    assert_eq!(all, expected);
}

#[test]
fn base_values_and_relative_times_are_resolved() {
    // [{bn: "a", bt: -1, bv: 10, v: 1}, {n: "b", t: 4([-1, 5]), v: 4([-1, 15])}]
    let bytes = [
        0x82, 0xA4, 0x21, 0x61, b'a', 0x22, 0x20, 0x24, 0x0A, 0x02, 0x01, 0xA3, 0x00, 0x61, b'b',
        0x06, 0xC4, 0x82, 0x20, 0x05, 0x02, 0xC4, 0x82, 0x20, 0x0F,
    ];
    let expected = [
        ("a".into(), NOON - NANOS_PER_SECOND, 11.0),
        ("ab".into(), NOON - NANOS_PER_SECOND / 2, 11.5),
    ];
    assert_eq!(numbers(&bytes), Ok(expected.into()));
}

#[test]
fn maps_of_indefinite_length_and_unknown_fields_are_read() {
    // [_ {_ n: "a", v: 1.5 (half), "x": [1, {}], 99: h'00', ut: 5}]
    let bytes = [
        0x9F, 0xBF, 0x00, 0x61, b'a', 0x02, 0xF9, 0x3E, 0x00, 0x61, b'x', 0x82, 0x01, 0xA0, 0x18,
        99, 0x41, 0x00, 0x07, 0x05, 0xFF, 0xFF,
    ];
    assert_eq!(numbers(&bytes), Ok(vec![("a".into(), NOON, 1.5)]));
}

#[test]
fn wrong_records_say_why() {
    let record = |fields: &[&[u8]]| {
        let mut bytes = vec![0x81, 0xA0 | u8::try_from(fields.len()).unwrap()];
        fields
            .iter()
            .for_each(|field| bytes.extend_from_slice(field));
        numbers(&bytes)
    };
    let (name, value): (&[u8], &[u8]) = (&[0x00, 0x61, b'a'], &[0x02, 0x01]);
    assert_eq!(record(&[name, value]), Ok(vec![("a".into(), NOON, 1.0)]));
    assert_eq!(record(&[name]), Err(PackError::Value));
    assert_eq!(record(&[name, value, &[0x04, 0xF5]]), Err(PackError::Value));
    assert_eq!(record(&[name, value, value]), Err(PackError::Twice));
    assert_eq!(record(&[value]), Err(PackError::Name));
    assert_eq!(record(&[&[0x00, 0x61, b'-'], value]), Err(PackError::Name));
    assert_eq!(
        record(&[&[0x00, 0x62, b'a', b' '], value]),
        Err(PackError::Name)
    );
    assert_eq!(record(&[&[0x00, 0x61, 0xFF], value]), Err(PackError::Cbor));
    assert_eq!(record(&[name, &[0x02, 0xF5]]), Err(PackError::Cbor));
    assert_eq!(
        record(&[name, &[0x02, 0xC2, 0x41, 0x01]]),
        Err(PackError::Number)
    );
    assert_eq!(
        record(&[name, value, &[0x06, 0xFB, 0x7F, 0xF0, 0, 0, 0, 0, 0, 0]]),
        Err(PackError::Time)
    );
    assert_eq!(
        record(&[name, value, &[0x20, 0x0B]]),
        Err(PackError::Version)
    );
    assert_eq!(
        record(&[name, value, &[0x62, b'x', b'_', 0x01]]),
        Err(PackError::MustUnderstand)
    );
    let mut unit = vec![0x01, 0x78, 65];
    unit.resize(3 + 65, b'u');
    assert_eq!(record(&[name, value, &unit]), Err(PackError::Unit));
}

#[test]
fn what_senml_cannot_carry_is_refused_and_leaves_no_trace() {
    let mut queue = PackQueue::new(100);
    let good = Reading::number("a", Timestamp::from_nanos(NOON), 1.0);
    queue.push(&good).unwrap();
    let long = String::from_iter(['x'; MAX_NAME + 1]);
    let text = String::from_iter(core::iter::repeat_n('x', MAX_PACK));
    let refused = [
        (Reading { name: "", ..good }, EncodeError::Name),
        (Reading { name: "_a", ..good }, EncodeError::Name),
        (
            Reading {
                name: "a b",
                ..good
            },
            EncodeError::Name,
        ),
        (
            Reading {
                name: &long,
                ..good
            },
            EncodeError::Name,
        ),
        (
            Reading {
                time: Timestamp::from_nanos(ABSOLUTE_FROM_NANOS - 1),
                ..good
            },
            EncodeError::Time,
        ),
        (
            Reading {
                value: Value::Text(&text),
                ..good
            },
            EncodeError::TooLong,
        ),
    ];
    for (reading, error) in refused {
        assert_eq!(queue.push(&reading), Err(error));
    }
    queue.push(&good).unwrap();
    let (mut bytes, mut sealed) = (Vec::new(), Vec::new());
    queue.take(&mut bytes, &mut sealed);
    let (back, seqs, _) = decode_stream(&bytes, &[7]).unwrap();
    assert_eq!(back, vec![Owned::new(&good); 2]);
    assert_eq!((queue.readings(), seqs.first()), (2, Some(&0)));
}

#[test]
fn a_pack_is_compact() {
    let hours: Vec<Owned> = (0..100)
        .map(|hour| {
            Reading::number(
                "water-flow",
                Timestamp::from_nanos(NOON + hour * 3_600 * NANOS_PER_SECOND),
                100.5,
            )
        })
        .map(|reading| Owned::new(&reading))
        .collect();
    let (bytes, sealed) = encode(&hours, 4096);
    assert_eq!(sealed.len(), 1);
    // Map, label and up to 5 bytes of time, label and 5 bytes of value.
    assert!(bytes.len() <= 100 * 13 + 40, "{}", bytes.len());
}

#[test]
fn units_of_the_registries_are_known() {
    for unit in ["l/s", "Cel", "%RH", "m/s", "hPa", "count", "deg", "km/h"] {
        assert!(unit::is_registered(unit), "{unit}");
    }
    for unit in ["", "celsius", "l/S", "bar"] {
        assert!(!unit::is_registered(unit), "{unit}");
    }
}
