//! Held against `mqtt-proto`, which knows nothing of us.

use alloc::string::{String, ToString as _};
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use mqtt_proto::v5;
use mqtt_proto::{Pid, QoS, QosPid};
use proptest::prelude::*;

use super::*;

fn decoded(bytes: &[u8]) -> v5::Packet {
    v5::Packet::decode(bytes)
        .expect("a packet")
        .expect("a whole packet")
}

fn encoded(packet: impl Into<v5::Packet>) -> Vec<u8> {
    packet.into().encode().unwrap().as_ref().into()
}

/// What one decoder makes of bytes that come in pieces of this size.
fn outcomes(bytes: &[u8], piece: usize) -> (Vec<String>, Option<Malformed>) {
    let mut decoder = Decoder::new(4096);
    let mut packets = Vec::new();
    for piece in bytes.chunks(piece.max(1)) {
        decoder.absorb(piece);
        loop {
            match decoder.next_packet() {
                Ok(Some(packet)) => packets.push(alloc::format!("{packet:?}")),
                Ok(None) => break,
                Err(error) => return (packets, Some(error)),
            }
        }
    }
    (packets, None)
}

fn puback_reason() -> impl Strategy<Value = v5::PubackReasonCode> {
    use v5::PubackReasonCode as Code;
    prop::sample::select(alloc::vec![
        Code::Success,
        Code::NoMatchingSubscribers,
        Code::UnspecifiedError,
        Code::NotAuthorized,
        Code::TopicNameInvalid,
        Code::QuotaExceeded,
        Code::PayloadFormatInvalid,
    ])
}

fn connack() -> impl Strategy<Value = v5::Connack> {
    let numbers = (
        prop::option::of(1..=u16::MAX),
        prop::option::of(any::<bool>()),
        prop::option::of(1..=u32::MAX),
        prop::option::of(any::<u16>()),
    );
    let others = (
        prop::option::of("[a-zä]{0,200}"),
        prop::option::of(any::<u32>()),
        prop::option::of("[a-z]{0,20}"),
        prop::option::of(any::<bool>()),
    );
    (any::<bool>(), any::<bool>(), numbers, others).prop_map(
        |(present, refused, numbers, others)| {
            let code = if refused {
                v5::ConnectReasonCode::BadUserNameOrPassword
            } else {
                v5::ConnectReasonCode::Success
            };
            let mut connack = v5::Connack::new(present && !refused, code);
            let properties = &mut connack.properties;
            properties.receive_max = numbers.0;
            properties.max_qos = numbers
                .1
                .map(|one| if one { QoS::Level1 } else { QoS::Level0 });
            properties.max_packet_size = numbers.2;
            properties.server_keep_alive = numbers.3;
            properties.reason_string = others.0.map(Arc::from);
            properties.session_expiry_interval = others.1;
            properties.assigned_client_id = others.2.map(Arc::from);
            properties.retain_available = others.3;
            connack
        },
    )
}

proptest! {
    #[test]
    fn a_connect_reads_as_it_was_meant(
        client_id in "[a-z0-9-]{1,40}", clean_start: bool, keep_alive: u16, session_expiry: u32, maximum_packet in 1..=u32::MAX,
        receive_maximum in 1..=u16::MAX,
        will in prop::option::of(("[a-z/]{1,30}", prop::collection::vec(any::<u8>(), 0..40))),
        credentials in prop::option::of(("[a-zä]{0,30}", prop::collection::vec(any::<u8>(), 0..40))),
    ) {
        let mut bytes = Vec::new();
        Connect {
            client_id: &client_id,
            clean_start,
            keep_alive,
            session_expiry,
            maximum_packet,
            receive_maximum,
            will: will.as_ref().map(|(topic, payload)| Will { topic, payload }),
            credentials: credentials.as_ref().map(|(user, password)| (user.as_str(), password.as_slice())),
        }
        .write(&mut bytes);
        let v5::Packet::Connect(connect) = decoded(&bytes) else {
            return Err(TestCaseError::fail("no CONNECT"));
        };
        prop_assert_eq!(connect.clean_start, clean_start);
        prop_assert_eq!(connect.keep_alive, keep_alive);
        prop_assert_eq!(&*connect.client_id, client_id.as_str());
        prop_assert_eq!(connect.properties.session_expiry_interval, Some(session_expiry));
        prop_assert_eq!(connect.properties.max_packet_size, Some(maximum_packet));
        prop_assert_eq!(connect.properties.receive_max.unwrap_or(u16::MAX), receive_maximum);
        prop_assert_eq!(connect.last_will.is_some(), will.is_some());
        if let (Some(theirs), Some((topic, payload))) = (connect.last_will, will) {
            prop_assert_eq!(&*theirs.topic_name, topic.as_str());
            prop_assert_eq!(&theirs.payload[..], &payload[..]);
            prop_assert!(theirs.retain);
            prop_assert_eq!(theirs.qos, QoS::Level0);
        }
        let (user, password) = credentials.unzip();
        prop_assert_eq!(connect.username.as_deref(), user.as_deref());
        prop_assert_eq!(connect.password, password.map(Bytes::from));
    }

    #[test]
    fn a_message_reads_as_it_was_meant(
        topic in "[a-zäö/]{1,300}", payload in prop::collection::vec(any::<u8>(), 0..1_000),
        id in 1u16.., again: bool, retained: bool, named: bool, seq: Option<u64>,
    ) {
        let delivery = if retained { Delivery::AtMostOnceRetained } else { Delivery::AtLeastOnce { id, again } };
        let (content_type, name) = if named { ("application/senml+cbor", "9f-1") } else { ("", "") };
        let publish = Publish { topic: &topic, payload: &payload, delivery, content_type, is_text: false, id: name, seq };
        let mut bytes = Vec::new();
        publish.write(&mut bytes);
        prop_assert_eq!(bytes.len(), publish.length());
        let v5::Packet::Publish(theirs) = decoded(&bytes) else {
            return Err(TestCaseError::fail("no PUBLISH"));
        };
        prop_assert_eq!(&*theirs.topic_name, topic.as_str());
        prop_assert_eq!(&theirs.payload[..], &payload[..]);
        prop_assert_eq!(theirs.retain, retained);
        prop_assert_eq!(theirs.dup, again && !retained);
        let expected = if retained { QosPid::Level0 } else { QosPid::Level1(Pid::try_from(id).unwrap()) };
        prop_assert_eq!(theirs.qos_pid, expected);
        prop_assert_eq!(theirs.properties.content_type.as_deref(), named.then_some(content_type));
        let ids: Vec<_> = theirs.properties.user_properties.iter().map(|p| (&*p.name, &*p.value)).collect();
        let seq = seq.map(|seq| seq.to_string());
        let expected: Vec<_> = [("id", Some(name).filter(|name| !name.is_empty())), ("seq", seq.as_deref())].into_iter()
            .filter_map(|(name, value)| Some((name, value?))).collect();
        prop_assert_eq!(ids, expected);
    }

    #[test]
    fn a_connack_is_read_as_it_was_meant(theirs in connack()) {
        let bytes = encoded(theirs.clone());
        let mut decoder = Decoder::new(4096);
        decoder.absorb(&bytes);
        let properties = &theirs.properties;
        let expected = Connack {
            session_present: theirs.session_present,
            reason: Reason(theirs.reason_code as u8),
            receive_maximum: properties.receive_max.unwrap_or(u16::MAX),
            maximum_qos: properties.max_qos.map_or(2, |qos| qos as u8),
            maximum_packet: properties.max_packet_size.unwrap_or(u32::MAX),
            keep_alive: properties.server_keep_alive,
            text: properties.reason_string.as_deref().unwrap_or(""),
        };
        prop_assert_eq!(decoder.next_packet(), Ok(Some(Packet::Connack(expected))));
        prop_assert_eq!(decoder.next_packet(), Ok(None));
    }

    #[test]
    fn a_puback_is_read_as_it_was_meant(id in 1u16.., code in puback_reason(), said in prop::option::of("[a-z]{0,50}")) {
        let mut theirs = v5::Puback::new(Pid::try_from(id).unwrap(), code);
        theirs.properties.reason_string = said.clone().map(Arc::from);
        let bytes = encoded(theirs);
        let mut decoder = Decoder::new(4096);
        decoder.absorb(&bytes);
        let text = said.unwrap_or_default();
        let expected = Packet::Puback { id, reason: Reason(code as u8), text: &text };
        prop_assert_eq!(decoder.next_packet(), Ok(Some(expected)));
    }

    #[test]
    fn however_the_bytes_are_cut_the_same_packets_come(theirs in connack(), id in 1u16.., piece in 1usize..50) {
        let mut bytes = encoded(theirs);
        bytes.extend(encoded(v5::Puback::new(Pid::try_from(id).unwrap(), v5::PubackReasonCode::Success)));
        bytes.extend([0xD0, 0]);
        bytes.extend(encoded(v5::Disconnect::new(v5::DisconnectReasonCode::ServerShuttingDown)));
        let whole = outcomes(&bytes, bytes.len());
        prop_assert_eq!(whole.0.len(), 4);
        prop_assert_eq!(outcomes(&bytes, piece), whole);
    }

    /// Bytes that begin as packets do, so that the fields are reached.
    #[test]
    fn garbage_is_refused_or_waited_for_and_read_no_other_way_than_by_mqtt_proto(
        first in prop::sample::select(alloc::vec![0x20u8, 0x40, 0xD0, 0xE0, 0x30, 0x90, 0x41]),
        body in prop::collection::vec(prop_oneof![any::<u8>(), 0u8..3, Just(0x1F), Just(0x26), Just(0x21)], 0..40),
        length in prop::option::of(any::<u8>()), piece in 1usize..10,
    ) {
        let mut bytes = alloc::vec![first, length.unwrap_or(body.len() as u8)];
        bytes.extend(body);
        let (packets, error) = outcomes(&bytes, bytes.len());
        prop_assert_eq!(&outcomes(&bytes, piece), &(packets.clone(), error));
        // It refuses reason codes that are not in the standard; we do so where what happens next depends on the code.
        let is_known = match first {
            0x20 => bytes.get(3).is_none_or(|code| v5::ConnectReasonCode::from_u8(*code).is_some()),
            0xE0 => bytes[1] == 0 || bytes.get(2).is_none_or(|code| v5::DisconnectReasonCode::from_u8(*code).is_some()),
            _ => true,
        };
        if !packets.is_empty() && is_known {
            prop_assert!(matches!(v5::Packet::decode(&bytes), Ok(Some(_))), "{:02x?}", bytes);
        }
    }
}

#[test]
fn a_length_that_says_more_than_we_take_is_refused_before_it_has_come() {
    let mut decoder = Decoder::new(100);
    decoder.absorb(&[0x20, 101]);
    assert_eq!(decoder.next_packet(), Err(Malformed::Length));
    for bytes in [
        &[0x40, 0xFF, 0xFF, 0xFF, 0xFF][..],
        &[0x40, 0x82, 0x00, 0, 1],
    ] {
        let mut decoder = Decoder::new(usize::MAX);
        decoder.absorb(bytes);
        assert_eq!(decoder.next_packet(), Err(Malformed::Length), "{bytes:?}");
    }
}

#[test]
fn what_a_publisher_never_gets_is_refused() {
    for first in (0..=255u8).filter(|first| ![0x20, 0x40, 0xD0, 0xE0].contains(first)) {
        let mut decoder = Decoder::new(100);
        decoder.absorb(&[first]);
        assert_eq!(decoder.next_packet(), Err(Malformed::Type(first)));
    }
}

#[test]
fn a_disconnect_says_why_and_whether_the_session_is_to_be_forgotten() {
    for forget in [false, true] {
        let mut bytes = Vec::new();
        disconnect(&mut bytes, Reason::SUCCESS, forget);
        let v5::Packet::Disconnect(theirs) = decoded(&bytes) else {
            panic!("no DISCONNECT");
        };
        assert_eq!(
            theirs.reason_code,
            v5::DisconnectReasonCode::NormalDisconnect
        );
        assert_eq!(
            theirs.properties.session_expiry_interval,
            forget.then_some(0)
        );
    }
    let mut ping = Vec::new();
    pingreq(&mut ping);
    assert_eq!(decoded(&ping), v5::Packet::Pingreq);
}

#[test]
fn lengths_take_as_few_bytes_as_they_can() {
    for length in [0, 100, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152] {
        let mut bytes = Vec::new();
        // Topic, identifier and the length of no properties take six bytes.
        let payload = alloc::vec![7; usize::max(length, 6) - 6];
        let publish = Publish {
            topic: "t",
            payload: &payload,
            delivery: Delivery::AtLeastOnce {
                id: 1,
                again: false,
            },
            content_type: "",
            is_text: false,
            id: "",
            seq: None,
        };
        publish.write(&mut bytes);
        assert_eq!(bytes.len(), publish.length());
        let v5::Packet::Publish(theirs) = decoded(&bytes) else {
            panic!("no PUBLISH");
        };
        assert_eq!(&theirs.payload[..], payload.as_slice());
    }
}
