//! A broker that holds what a session sends against the standard.

use alloc::collections::BTreeMap;

use mqtt_proto::QosPid;
use mqtt_proto::v5::{self, ConnectReasonCode};

use super::*;

/// A packet size that no message of the tests has.
const LARGE: usize = 10_000;

/// The bytes of a packet.
pub fn encoded(packet: impl Into<v5::Packet>) -> Vec<u8> {
    packet.into().encode().unwrap().as_ref().into()
}

/// Takes packets off the front of what the session wrote.
pub fn packets(bytes: &mut Vec<u8>) -> Vec<v5::Packet> {
    let mut packets = Vec::new();
    while let Ok(Some(packet)) = v5::Packet::decode(bytes) {
        bytes.drain(..packet.encode_len().unwrap());
        packets.push(packet);
    }
    assert!(bytes.is_empty(), "half a packet: {bytes:02x?}");
    packets
}

/// What one connection shows its broker.
#[derive(Default)]
pub struct Broker {
    /// Unanswered messages of this connection: identifier and name, in the order in which they came.
    pub owed: Vec<(u16, String)>,
    pub receive_maximum: usize,
    pub maximum_packet: usize,
    /// How the names of messages of the session before stand, by identifier.
    session: BTreeMap<u16, String>,
    session_kept: bool,
    /// It, or one before, took small packets only.
    was_narrow: bool,
    pub goodbye: Option<v5::Disconnect>,
}

impl Broker {
    /// Takes in all that the session has to say.
    pub fn absorb(&mut self, session: &mut Session, now: Duration) -> usize {
        let (mut bytes, mut pings) = (Vec::new(), 0);
        loop {
            let before = bytes.len();
            session.fill(now, &mut bytes, usize::MAX);
            if bytes.len() == before {
                break;
            }
        }
        let all = bytes.clone();
        let mut rest = all.as_slice();
        for packet in packets(&mut bytes) {
            let length = packet.encode_len().unwrap();
            let (this, after) = rest.split_at(length);
            rest = after;
            match packet {
                v5::Packet::Publish(publish) => self.message(&publish, this.len()),
                v5::Packet::Pingreq => pings += 1,
                v5::Packet::Disconnect(goodbye) => self.goodbye = Some(goodbye),
                packet => panic!("{packet:?}"),
            }
        }
        pings
    }

    fn message(&mut self, publish: &v5::Publish, length: usize) {
        let QosPid::Level1(pid) = publish.qos_pid else {
            assert!(publish.retain, "only the presence goes at QoS 0");
            return;
        };
        assert!(length <= self.maximum_packet);
        let name = (*publish.properties.user_properties[0].value).to_string();
        let id = pid.value();
        assert!(
            self.owed.iter().all(|(owed, _)| *owed != id),
            "identifier {id} is in use"
        );
        if publish.dup {
            assert!(self.session_kept);
            assert_eq!(
                self.session.remove(&id).as_ref(),
                Some(&name),
                "another message"
            );
        } else if !self.was_narrow {
            // What was too large for a broker does not come again.
            assert!(self.session.is_empty(), "new before what is in flight");
        }
        self.owed.push((id, name));
        assert!(
            self.owed.len() <= self.receive_maximum,
            "more than the receive maximum"
        );
    }

    /// Lets the session in on a new connection.
    pub fn accept(
        session: &mut Session,
        now: Duration,
        before: Option<Self>,
        offer: &Offer,
    ) -> Result<Self, Failure> {
        session.open(now);
        let mut bytes = Vec::new();
        session.fill(now, &mut bytes, usize::MAX);
        let all = packets(&mut bytes);
        let [v5::Packet::Connect(connect)] = all.as_slice() else {
            panic!("{all:?}");
        };
        assert_eq!(connect.clean_start, before.is_none());
        let session_kept = offer.keeps && before.is_some();
        let mut connack = v5::Connack::new(session_kept, ConnectReasonCode::Success);
        connack.properties.receive_max = Some(offer.receive_maximum);
        connack.properties.max_packet_size = Some(offer.maximum_packet);
        session.receive(now, &encoded(connack))?;
        let was_narrow = before.as_ref().is_some_and(|before| before.was_narrow);
        let mut kept = BTreeMap::new();
        if let Some(before) = before.filter(|_| session_kept) {
            kept = before.session;
            kept.extend(before.owed);
        }
        Ok(Self {
            receive_maximum: usize::from(offer.receive_maximum),
            maximum_packet: offer.maximum_packet as usize,
            session: kept,
            session_kept,
            was_narrow: was_narrow || (offer.maximum_packet as usize) < LARGE,
            ..Self::default()
        })
    }
}

/// What a broker offers to one who connects.
#[derive(Debug, Clone)]
pub struct Offer {
    pub keeps: bool,
    pub receive_maximum: u16,
    pub maximum_packet: u32,
}
