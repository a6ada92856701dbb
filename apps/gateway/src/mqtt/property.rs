//! Properties (section 2.2.2), as they stand in what a broker sends.

use super::read::{Malformed, Reader};

/// Identifiers of those that we write or read.
pub(super) mod id {
    pub const PAYLOAD_FORMAT_INDICATOR: u8 = 0x01;
    pub const CONTENT_TYPE: u8 = 0x03;
    pub const SESSION_EXPIRY_INTERVAL: u8 = 0x11;
    pub const SERVER_KEEP_ALIVE: u8 = 0x13;
    pub const REASON_STRING: u8 = 0x1F;
    pub const RECEIVE_MAXIMUM: u8 = 0x21;
    pub const MAXIMUM_QOS: u8 = 0x24;
    pub const USER_PROPERTY: u8 = 0x26;
    pub const MAXIMUM_PACKET_SIZE: u8 = 0x27;
}

/// A set of identifiers, one bit each.
#[derive(Debug, Clone, Copy)]
pub(super) struct Set(u64);

impl Set {
    const fn of(identifiers: &[u8]) -> Self {
        let (mut bits, mut index) = (0, 0);
        while index < identifiers.len() {
            bits |= 1 << identifiers[index];
            index += 1;
        }
        Self(bits)
    }

    /// Those of a CONNACK (section 3.2.2.3).
    pub(super) const CONNACK: Self = Self::of(&[
        0x11, 0x12, 0x13, 0x15, 0x16, 0x1A, 0x1C, 0x1F, 0x21, 0x22, 0x24, 0x25, 0x26, 0x27, 0x28,
        0x29, 0x2A,
    ]);
    /// Those of a PUBACK (section 3.4.2.2) and a SUBACK (section 3.9.2.1).
    pub(super) const PUBACK: Self = Self::of(&[id::REASON_STRING, id::USER_PROPERTY]);
    /// Those of a PUBLISH that a broker sends to who asked for neither topic aliases nor subscription identifiers
    /// (section 3.3.2.3).
    pub(super) const PUBLISH: Self = Self::of(&[
        id::PAYLOAD_FORMAT_INDICATOR,
        0x02,
        id::CONTENT_TYPE,
        0x08,
        0x09,
        id::USER_PROPERTY,
    ]);
    /// Those of a DISCONNECT that a broker sends (section 3.14.2.2).
    pub(super) const DISCONNECT: Self = Self::of(&[0x1C, id::REASON_STRING, id::USER_PROPERTY]);

    const fn has(self, identifier: u8) -> bool {
        identifier < 64 && self.0 >> identifier & 1 == 1
    }
}

/// The value of one property; what we have no use for is checked and forgotten.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'b> {
    Number(u32),
    Text(&'b str),
    /// Name and value of a user property.
    Pair(&'b str, &'b str),
    Other,
}

/// Reads all properties, calling `each` with identifier and value.
pub(super) fn read<'b>(
    reader: &mut Reader<'b>,
    allowed: Set,
    mut each: impl FnMut(u8, Value<'b>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    let length = reader.variable()?;
    let mut properties = Reader::new(reader.take(length)?);
    let mut seen = 0u64;
    while !properties.is_empty() {
        let identifier = properties.byte()?;
        if !allowed.has(identifier) {
            return Err(Malformed::Property(identifier));
        }
        let bit = 1 << identifier;
        if seen & bit != 0 && identifier != id::USER_PROPERTY {
            return Err(Malformed::Property(identifier));
        }
        seen |= bit;
        each(identifier, value(&mut properties, identifier)?)?;
    }
    Ok(())
}

fn value<'b>(reader: &mut Reader<'b>, identifier: u8) -> Result<Value<'b>, Malformed> {
    Ok(match identifier {
        0x01 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2A => match reader.byte()? {
            flag @ 0..=1 => Value::Number(u32::from(flag)),
            _ => return Err(Malformed::Property(identifier)),
        },
        0x13 | 0x21 | 0x22 => Value::Number(u32::from(reader.two()?)),
        0x02 | 0x11 | 0x27 => Value::Number(reader.four()?),
        0x09 | 0x16 => {
            reader.binary()?;
            Value::Other
        }
        id::USER_PROPERTY => Value::Pair(reader.text()?, reader.text()?),
        _ => Value::Text(reader.text()?),
    })
}
