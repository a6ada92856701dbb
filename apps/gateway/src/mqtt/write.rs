//! Packets to the broker. Each is measured and then written by the same code, so that its length cannot be wrong.

use alloc::string::ToString as _;
use alloc::vec::Vec;

use super::property::id;
use super::{MAX_REMAINING, Reason, first};

/// Where a packet's fields go.
trait Sink {
    fn bytes(&mut self, bytes: &[u8]);
}

/// Only counts.
struct Length(usize);

impl Sink for Length {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
}

impl Sink for Vec<u8> {
    fn bytes(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

type Body<'a> = &'a dyn Fn(&mut dyn Sink);

fn length(body: Body<'_>) -> usize {
    let mut length = Length(0);
    body(&mut length);
    length.0
}

/// A number of up to 28 bits in 7-bit groups, the lowest first (section 1.5.5).
fn variable(sink: &mut dyn Sink, mut number: usize) {
    loop {
        let group = (number & 0x7F) as u8;
        number >>= 7;
        let more = if number > 0 { 0x80 } else { 0 };
        sink.bytes(&[group | more]);
        if number == 0 {
            return;
        }
    }
}

/// What is longer than a length can say is cut: callers see to it that nothing is.
fn binary(sink: &mut dyn Sink, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    sink.bytes(&length.to_be_bytes());
    sink.bytes(bytes.get(..usize::from(length)).unwrap_or_default());
}

/// Properties, after their length.
fn properties(sink: &mut dyn Sink, body: Body<'_>) {
    variable(sink, length(body));
    body(sink);
}

fn user_property(sink: &mut dyn Sink, name: &str, value: &str) {
    sink.bytes(&[id::USER_PROPERTY]);
    binary(sink, name.as_bytes());
    binary(sink, value.as_bytes());
}

fn packet(out: &mut Vec<u8>, first: u8, body: Body<'_>) {
    let length = length(body);
    out.reserve(5 + length);
    out.push(first);
    variable(out, length);
    body(out);
}

/// The first packet of a connection (section 3.1).
#[derive(Debug, Clone, Copy)]
pub struct Connect<'a> {
    /// Who we are.
    pub client_id: &'a str,
    /// Whether a session that the broker has kept is to be forgotten.
    pub clean_start: bool,
    /// The longest time without a packet of ours, in seconds; 0 for no limit.
    pub keep_alive: u16,
    /// How long the broker keeps the session of a connection that ended, in seconds.
    pub session_expiry: u32,
    /// The longest packet that we take.
    pub maximum_packet: u32,
    /// How many messages the broker may send before one is acknowledged.
    pub receive_maximum: u16,
    /// What the broker publishes if the connection is lost.
    pub will: Option<Will<'a>>,
    /// User name and password.
    pub credentials: Option<(&'a str, &'a [u8])>,
}

/// A last will: retained, at QoS 0.
#[derive(Debug, Clone, Copy)]
pub struct Will<'a> {
    /// Where.
    pub topic: &'a str,
    /// What.
    pub payload: &'a [u8],
}

impl Connect<'_> {
    /// Appends the packet.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut flags = if self.clean_start { 0x02 } else { 0 };
        if self.will.is_some() {
            flags |= 0x20 | 0x04;
        }
        if self.credentials.is_some() {
            flags |= 0x80 | 0x40;
        }
        packet(out, first::CONNECT, &|sink| {
            binary(sink, b"MQTT");
            sink.bytes(&[5, flags]);
            sink.bytes(&self.keep_alive.to_be_bytes());
            properties(sink, &|sink| {
                sink.bytes(&[id::SESSION_EXPIRY_INTERVAL]);
                sink.bytes(&self.session_expiry.to_be_bytes());
                sink.bytes(&[id::MAXIMUM_PACKET_SIZE]);
                sink.bytes(&self.maximum_packet.to_be_bytes());
                if self.receive_maximum < u16::MAX {
                    sink.bytes(&[id::RECEIVE_MAXIMUM]);
                    sink.bytes(&self.receive_maximum.to_be_bytes());
                }
            });
            binary(sink, self.client_id.as_bytes());
            if let Some(will) = self.will {
                properties(sink, &|_| {});
                binary(sink, will.topic.as_bytes());
                binary(sink, will.payload);
            }
            if let Some((user, password)) = self.credentials {
                binary(sink, user.as_bytes());
                binary(sink, password);
            }
        });
    }
}

/// How a message is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// QoS 0, kept for later subscribers.
    AtMostOnceRetained,
    /// QoS 1.
    AtLeastOnce {
        /// The packet identifier.
        id: u16,
        /// It was sent on an earlier connection under the same identifier.
        again: bool,
    },
}

/// A message (section 3.3).
#[derive(Debug, Clone, Copy)]
pub struct Publish<'a> {
    /// Where.
    pub topic: &'a str,
    /// What.
    pub payload: &'a [u8],
    /// How.
    pub delivery: Delivery,
    /// The media type of the payload; empty for none.
    pub content_type: &'a str,
    /// The payload is UTF-8.
    pub is_text: bool,
    /// Its name for the rest of the world, as the user property `id`; empty for none.
    pub id: &'a str,
    /// How many readings were sent before it, as the user property `seq`.
    pub seq: Option<u64>,
}

impl Publish<'_> {
    fn body(&self, sink: &mut dyn Sink) {
        binary(sink, self.topic.as_bytes());
        if let Delivery::AtLeastOnce { id, .. } = self.delivery {
            sink.bytes(&id.to_be_bytes());
        }
        properties(sink, &|sink| {
            if self.is_text {
                sink.bytes(&[id::PAYLOAD_FORMAT_INDICATOR, 1]);
            }
            if !self.content_type.is_empty() {
                sink.bytes(&[id::CONTENT_TYPE]);
                binary(sink, self.content_type.as_bytes());
            }
            if !self.id.is_empty() {
                user_property(sink, "id", self.id);
            }
            if let Some(seq) = self.seq {
                user_property(sink, "seq", &seq.to_string());
            }
        });
        sink.bytes(self.payload);
    }

    /// How long the packet is, all in all.
    pub fn length(&self) -> usize {
        let body = length(&|sink| self.body(sink));
        let mut width = Length(0);
        variable(&mut width, body.min(MAX_REMAINING));
        1 + width.0 + body
    }

    /// Appends the packet.
    pub fn write(&self, out: &mut Vec<u8>) {
        let flags = match self.delivery {
            Delivery::AtMostOnceRetained => 0x01,
            Delivery::AtLeastOnce { again: false, .. } => 0x02,
            Delivery::AtLeastOnce { again: true, .. } => 0x0A,
        };
        packet(out, first::PUBLISH | flags, &|sink| self.body(sink));
    }
}

/// Appends a PUBACK that takes a message (section 3.4).
pub fn puback(out: &mut Vec<u8>, id: u16) {
    packet(out, first::PUBACK, &|sink| sink.bytes(&id.to_be_bytes()));
}

/// Appends a SUBSCRIBE at QoS 1 (section 3.8). Retained messages come if the subscription is a new one.
pub fn subscribe(out: &mut Vec<u8>, id: u16, filter: &str) {
    const QOS_1_RETAINED_IF_NEW: u8 = 0x11;
    packet(out, first::SUBSCRIBE, &|sink| {
        sink.bytes(&id.to_be_bytes());
        properties(sink, &|_| {});
        binary(sink, filter.as_bytes());
        sink.bytes(&[QOS_1_RETAINED_IF_NEW]);
    });
}

/// Appends a PINGREQ (section 3.12).
pub fn pingreq(out: &mut Vec<u8>) {
    packet(out, first::PINGREQ, &|_| {});
}

/// Appends a DISCONNECT (section 3.14); `forget` has the broker drop the session.
pub fn disconnect(out: &mut Vec<u8>, reason: Reason, forget: bool) {
    packet(out, first::DISCONNECT, &|sink| {
        sink.bytes(&[reason.0]);
        properties(sink, &|sink| {
            if forget {
                sink.bytes(&[id::SESSION_EXPIRY_INTERVAL, 0, 0, 0, 0]);
            }
        });
    });
}
