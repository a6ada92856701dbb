//! Packets from the broker, who is a suspect: every length is checked against what has come.

use alloc::vec::Vec;

use super::property::{self, Set, Value, id};
use super::{Reason, first};

/// A packet from the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet<'b> {
    /// The answer to CONNECT.
    Connack(Connack<'b>),
    /// The broker has taken a message, or refuses it.
    Puback {
        /// The packet identifier of the message.
        id: u16,
        /// What became of it.
        reason: Reason,
        /// What the broker says to a person; may be empty.
        text: &'b str,
    },
    /// The answer to SUBSCRIBE for one topic filter.
    Suback {
        /// The packet identifier of the SUBSCRIBE.
        id: u16,
        /// The QoS that is granted, or why there is none.
        reason: Reason,
        /// What the broker says to a person; may be empty.
        text: &'b str,
    },
    /// A message of a topic that was subscribed to.
    Publish(Incoming<'b>),
    /// The answer to PINGREQ.
    Pingresp,
    /// The broker ends the connection.
    Disconnect {
        /// Why.
        reason: Reason,
        /// What the broker says to a person; may be empty.
        text: &'b str,
    },
}

/// A message from the broker (section 3.3), at QoS 0 or 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Incoming<'b> {
    /// Where it was published.
    pub topic: &'b str,
    /// The packet identifier to acknowledge it under; `None` at QoS 0.
    pub id: Option<u16>,
    /// It may have been sent before under this identifier.
    pub again: bool,
    /// Its name for the rest of the world: the user property `id`, where there is one.
    pub name: Option<&'b str>,
    /// How many readings its publisher has sent before it: the user property `seq`, where there is one.
    pub seq: Option<u64>,
    /// What it says.
    pub payload: &'b [u8],
}

/// What a CONNACK says (section 3.2); limits that it leaves out are the ones of the standard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connack<'b> {
    /// The broker has kept the session.
    pub session_present: bool,
    /// Whether it lets us in.
    pub reason: Reason,
    /// How many messages may be unacknowledged.
    pub receive_maximum: u16,
    /// The highest QoS that it takes.
    pub maximum_qos: u8,
    /// The longest packet that it takes.
    pub maximum_packet: u32,
    /// The keep-alive that it asks for, in seconds; 0 for none.
    pub keep_alive: Option<u16>,
    /// What the broker says to a person; may be empty.
    pub text: &'b str,
}

/// Why bytes are no packet that a broker may send to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A type of packet, or flags, that have no place here.
    #[error("a packet that begins with 0x{0:02x}")]
    Type(u8),
    /// A length that is no length, or more than we said we take.
    #[error("a packet longer than we take, or without a length")]
    Length,
    /// Fields that do not fill the packet, or more than fill it.
    #[error("a packet whose fields do not fit its length")]
    Fields,
    /// A text that is not UTF-8, or holds U+0000.
    #[error("a text that is not UTF-8")]
    Text,
    /// A property that this packet may not have, twice the same, or of a value that it may not have.
    #[error("the property 0x{0:02x} where it has no place")]
    Property(u8),
    /// Flags or a reason code that this packet may not have.
    #[error("the code 0x{0:02x} where it has no place")]
    Code(u8),
}

impl Malformed {
    /// What a DISCONNECT says about it.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Type(_) | Self::Property(_) | Self::Code(_) => Reason::PROTOCOL_ERROR,
            Self::Length | Self::Fields | Self::Text => Reason::MALFORMED_PACKET,
        }
    }
}

/// Cuts the broker's stream into packets.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// Bytes of the buffer that were handed out.
    done: usize,
    limit: usize,
    /// Messages are taken.
    subscribes: bool,
}

impl Decoder {
    /// For packets whose remaining length is at most `limit`.
    pub const fn new(limit: usize) -> Self {
        Self {
            buffer: Vec::new(),
            done: 0,
            limit,
            subscribes: false,
        }
    }

    /// The same for one who subscribes.
    pub const fn subscriber(limit: usize) -> Self {
        let mut decoder = Self::new(limit);
        decoder.subscribes = true;
        decoder
    }

    /// Takes in bytes, and hands on every packet that is whole now. After an error the stream has no meaning.
    pub fn each_packet<E: From<Malformed>>(
        &mut self,
        bytes: &[u8],
        mut take: impl FnMut(Packet<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.absorb(bytes);
        while let Some(packet) = self.next_packet()? {
            take(packet)?;
        }
        Ok(())
    }

    /// Takes in bytes. Ask [`next_packet`](Self::next_packet) for all packets before adding more: what is held is then at most
    /// one packet and these bytes.
    pub fn absorb(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.done);
        self.done = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole packet. After an error the stream has no meaning.
    pub fn next_packet(&mut self) -> Result<Option<Packet<'_>>, Malformed> {
        let bytes = self.buffer.get(self.done..).unwrap_or_default();
        let Some((first, rest)) = bytes.split_first() else {
            return Ok(None);
        };
        let is_ours = match *first {
            first::CONNACK | first::PINGRESP | first::DISCONNECT => true,
            first::PUBACK => !self.subscribes,
            // Flags: retained or not, at QoS 0 or 1, sent before or not; QoS 2 was not asked for.
            first::SUBACK | 0x30..=0x33 | 0x3A..=0x3B => self.subscribes,
            _ => false,
        };
        if !is_ours {
            return Err(Malformed::Type(*first));
        }
        let Some((length, width)) = remaining_length(rest)? else {
            return Ok(None);
        };
        if length > self.limit {
            return Err(Malformed::Length);
        }
        let Some(body) = rest.get(width..width + length) else {
            return Ok(None);
        };
        self.done += 1 + width + length;
        packet(*first, Reader::new(body)).map(Some)
    }

    /// Forgets all bytes, for a new connection.
    pub fn reset(&mut self) {
        self.buffer.clear();
        self.done = 0;
    }
}

/// A remaining length and how many bytes it takes (section 1.5.5); `None` while some of them are missing.
fn remaining_length(bytes: &[u8]) -> Result<Option<(usize, usize)>, Malformed> {
    let mut length = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            // The fewest bytes are to be used.
            let is_padded = index > 0 && *byte == 0;
            return if is_padded {
                Err(Malformed::Length)
            } else {
                Ok(Some((length, index + 1)))
            };
        }
    }
    if bytes.len() < 4 {
        Ok(None)
    } else {
        Err(Malformed::Length)
    }
}

fn packet(first: u8, mut reader: Reader<'_>) -> Result<Packet<'_>, Malformed> {
    let packet = match first {
        first::CONNACK => Packet::Connack(connack(&mut reader)?),
        first::PUBACK => {
            let id = reader.two()?;
            if id == 0 {
                return Err(Malformed::Fields);
            }
            let (reason, text) = outcome(&mut reader, Set::PUBACK)?;
            if !reason.is_of_puback() {
                return Err(Malformed::Code(reason.0));
            }
            Packet::Puback { id, reason, text }
        }
        first::SUBACK => suback(&mut reader)?,
        0x30..=0x3F => Packet::Publish(publish(first, &mut reader)?),
        first::DISCONNECT => {
            let (reason, text) = outcome(&mut reader, Set::DISCONNECT)?;
            Packet::Disconnect { reason, text }
        }
        _ => Packet::Pingresp,
    };
    if reader.is_empty() {
        Ok(packet)
    } else {
        Err(Malformed::Fields)
    }
}

/// A reason code and properties, of which the end of the packet may leave out either.
fn outcome<'b>(reader: &mut Reader<'b>, allowed: Set) -> Result<(Reason, &'b str), Malformed> {
    let mut text = "";
    if reader.is_empty() {
        return Ok((Reason::SUCCESS, text));
    }
    let reason = Reason(reader.byte()?);
    if !reader.is_empty() {
        property::read(reader, allowed, |identifier, value| {
            if let (id::REASON_STRING, Value::Text(said)) = (identifier, value) {
                text = said;
            }
            Ok(())
        })?;
    }
    Ok((reason, text))
}

fn suback<'b>(reader: &mut Reader<'b>) -> Result<Packet<'b>, Malformed> {
    let id = reader.two()?;
    let mut text = "";
    property::read(reader, Set::PUBACK, |_, value| {
        if let Value::Text(said) = value {
            text = said;
        }
        Ok(())
    })?;
    let reason = Reason(reader.byte()?);
    if !reason.is_of_suback() {
        return Err(Malformed::Code(reason.0));
    }
    Ok(Packet::Suback { id, reason, text })
}

fn publish<'b>(first: u8, reader: &mut Reader<'b>) -> Result<Incoming<'b>, Malformed> {
    let topic = reader.text()?;
    // An empty one stands for an alias, which we did not allow.
    if topic.is_empty() || topic.contains(['+', '#']) {
        return Err(Malformed::Text);
    }
    let id = match first & 0x06 {
        0 => None,
        _ => Some(reader.two()?),
    };
    if id == Some(0) {
        return Err(Malformed::Fields);
    }
    let (mut name, mut seq) = (None, None);
    property::read(reader, Set::PUBLISH, |_, value| {
        match value {
            Value::Pair("id", value) => name = name.or(Some(value)),
            Value::Pair("seq", value) => seq = seq.or(value.parse().ok()),
            _ => {}
        }
        Ok(())
    })?;
    Ok(Incoming {
        topic,
        id,
        again: first & 0x08 != 0,
        name,
        seq,
        payload: reader.take_rest(),
    })
}

fn connack<'b>(reader: &mut Reader<'b>) -> Result<Connack<'b>, Malformed> {
    let flags = reader.byte()?;
    let mut connack = Connack {
        session_present: flags == 1,
        reason: Reason(reader.byte()?),
        receive_maximum: u16::MAX,
        maximum_qos: 2,
        maximum_packet: u32::MAX,
        keep_alive: None,
        text: "",
    };
    if flags > 1 || flags == 1 && connack.reason != Reason::SUCCESS {
        return Err(Malformed::Code(flags));
    }
    if connack.reason != Reason::SUCCESS && !connack.reason.is_failure() {
        return Err(Malformed::Code(connack.reason.0));
    }
    property::read(reader, Set::CONNACK, |identifier, value| {
        match (identifier, value) {
            (id::RECEIVE_MAXIMUM | id::MAXIMUM_PACKET_SIZE, Value::Number(0)) => {
                return Err(Malformed::Property(identifier));
            }
            // Two bytes, so the cast keeps all.
            (id::RECEIVE_MAXIMUM, Value::Number(number)) => connack.receive_maximum = number as u16,
            (id::SERVER_KEEP_ALIVE, Value::Number(number)) => {
                connack.keep_alive = Some(number as u16)
            }
            (id::MAXIMUM_PACKET_SIZE, Value::Number(number)) => connack.maximum_packet = number,
            (id::MAXIMUM_QOS, Value::Number(number)) => connack.maximum_qos = number as u8,
            (id::REASON_STRING, Value::Text(text)) => connack.text = text,
            _ => {}
        }
        Ok(())
    })?;
    Ok(connack)
}

/// Reads fields one after the other (section 1.5).
pub(super) struct Reader<'b> {
    rest: &'b [u8],
}

impl<'b> Reader<'b> {
    pub(super) const fn new(bytes: &'b [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'b [u8], Malformed> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(Malformed::Fields)?;
        self.rest = rest;
        Ok(taken)
    }

    fn take_rest(&mut self) -> &'b [u8] {
        core::mem::take(&mut self.rest)
    }

    fn number(&mut self, width: usize) -> Result<u32, Malformed> {
        let bytes = self.take(width)?.iter();
        Ok(bytes.fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        self.number(1).map(|number| number as u8)
    }

    pub(super) fn two(&mut self) -> Result<u16, Malformed> {
        self.number(2).map(|number| number as u16)
    }

    pub(super) fn four(&mut self) -> Result<u32, Malformed> {
        self.number(4)
    }

    pub(super) fn variable(&mut self) -> Result<usize, Malformed> {
        let (number, width) = remaining_length(self.rest)?.ok_or(Malformed::Fields)?;
        self.take(width)?;
        Ok(number)
    }

    pub(super) fn binary(&mut self) -> Result<&'b [u8], Malformed> {
        let length = self.two()?;
        self.take(usize::from(length))
    }

    pub(super) fn text(&mut self) -> Result<&'b str, Malformed> {
        let text = core::str::from_utf8(self.binary()?).map_err(|_| Malformed::Text)?;
        if text.contains('\0') {
            return Err(Malformed::Text);
        }
        Ok(text)
    }
}
