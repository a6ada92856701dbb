//! A subscription against brokers of every kind; their side is `mqtt-proto`.

use alloc::format;
use alloc::vec;
use std::collections::BTreeMap;

use mqtt_proto::v5::{self, ConnectReasonCode, SubscribeReasonCode};
use mqtt_proto::{Pid, QosPid, TopicName};
use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn subscription(ordered: bool) -> Subscription {
    Subscription::new(Account {
        client_id: "way-in".into(),
        credentials: None,
        keep_alive: 30,
        filter: "t/#".into(),
        session_expiry: 60,
        ordered,
    })
}

fn encoded(packet: impl Into<v5::Packet>) -> Vec<u8> {
    packet.into().encode().unwrap().as_ref().into()
}

/// All that it has to say.
fn said(subscription: &mut Subscription, now: Duration) -> Vec<v5::Packet> {
    let mut bytes = Vec::new();
    loop {
        let before = bytes.len();
        subscription.fill(now, &mut bytes);
        if bytes.len() == before {
            break;
        }
    }
    let mut packets = Vec::new();
    while let Ok(Some(packet)) = v5::Packet::decode(&bytes) {
        bytes.drain(..packet.encode_len().unwrap());
        packets.push(packet);
    }
    assert!(bytes.is_empty(), "half a packet: {bytes:02x?}");
    packets
}

fn greet(subscription: &mut Subscription, kept: bool) -> Result<v5::Connect, Failure> {
    subscription.open(SECOND);
    let packets = said(subscription, SECOND);
    let [v5::Packet::Connect(connect)] = packets.as_slice() else {
        panic!("{packets:?}");
    };
    let connack = v5::Connack::new(kept, ConnectReasonCode::Success);
    subscription.receive(SECOND, &encoded(connack))?;
    Ok(connect.clone())
}

fn suback(code: SubscribeReasonCode) -> Vec<u8> {
    encoded(v5::Suback::new(
        Pid::try_from(SUBSCRIBE_ID).unwrap(),
        vec![code],
    ))
}

/// A message of a publisher's: which one, and how many readings it and those before hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sent {
    sequence: u64,
    seq: u64,
    readings: u64,
}

fn publish(id: u16, again: bool, sent: Sent) -> Vec<u8> {
    let topic = TopicName::try_from("t/x").unwrap();
    let payload = sent.readings.to_string().into_bytes();
    let mut publish = v5::Publish::new(
        QosPid::Level1(Pid::try_from(id).unwrap()),
        topic,
        payload.into(),
    );
    publish.dup = again;
    for (name, value) in [
        ("id", format!("00000000000000aa-{}", sent.sequence)),
        ("seq", sent.seq.to_string()),
    ] {
        let (name, value) = (name.into(), value.into());
        publish
            .properties
            .user_properties
            .push(v5::UserProperty { name, value });
    }
    encoded(publish)
}

/// A broker with a session, and a gateway behind it.
#[derive(Default)]
struct Broker {
    queued: VecDeque<Sent>,
    /// Sent and not acknowledged, by packet identifier, in the order in which they were sent.
    owed: VecDeque<(u16, Sent)>,
    next_id: u16,
    sent: Vec<Sent>,
    is_up: bool,
}

impl Broker {
    fn publish(&mut self, readings: u64) {
        let before = self.sent.last();
        let sent = Sent {
            sequence: self.sent.len() as u64 + 1,
            seq: before.map_or(0, |before| before.seq + before.readings),
            readings,
        };
        self.sent.push(sent);
        self.queued.push_back(sent);
    }

    fn connect(&mut self, subscription: &mut Subscription, keeps: bool) {
        subscription.close();
        if !keeps {
            self.queued.clear();
            self.owed.clear();
        }
        let connect = greet(subscription, keeps && self.next_id > 0).unwrap();
        assert!(!connect.clean_start);
        assert_eq!(connect.properties.receive_max, Some(RECEIVE_MAXIMUM as u16));
        let packets = said(subscription, SECOND);
        assert!(
            matches!(packets.as_slice(), [v5::Packet::Subscribe(_)]),
            "{packets:?}"
        );
        for (id, sent) in &self.owed {
            subscription
                .receive(SECOND, &publish(*id, true, *sent))
                .unwrap();
        }
        subscription
            .receive(SECOND, &suback(SubscribeReasonCode::GrantedQoS1))
            .unwrap();
        self.next_id = self.next_id.max(1);
        self.is_up = true;
    }

    fn deliver(&mut self, subscription: &mut Subscription) {
        while self.is_up && self.owed.len() < RECEIVE_MAXIMUM {
            let Some(sent) = self.queued.pop_front() else {
                return;
            };
            let id = self.next_id;
            self.next_id = self.next_id % 200 + 1;
            assert!(self.owed.iter().all(|(owed, _)| *owed != id));
            self.owed.push_back((id, sent));
            subscription
                .receive(SECOND, &publish(id, false, sent))
                .unwrap();
        }
    }

    fn hear(&mut self, subscription: &mut Subscription) {
        for packet in said(subscription, SECOND) {
            let v5::Packet::Puback(puback) = packet else {
                panic!("{packet:?}");
            };
            let at = self
                .owed
                .iter()
                .position(|(id, _)| *id == puback.pid.value());
            self.owed
                .remove(at.expect("an acknowledgement of what was not sent"));
        }
    }
}

fn take(subscription: &mut Subscription) -> Option<u64> {
    let message = subscription.take()?;
    let readings = core::str::from_utf8(&message.payload)
        .unwrap()
        .parse()
        .unwrap();
    subscription.held(&message, readings);
    Some(readings)
}

#[derive(Debug, Clone)]
enum Event {
    Publish(u64),
    /// The gateway sends again what it had no answer for.
    Again(usize),
    Deliver,
    Take,
    Hear,
    Connect(bool),
    Break,
}

fn event(keeps: bool) -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (1u64..9).prop_map(Event::Publish),
        1 => (1usize..4).prop_map(Event::Again),
        6 => Just(Event::Deliver),
        6 => Just(Event::Take),
        4 => Just(Event::Hear),
        1 => any::<bool>().prop_map(move |kept| Event::Connect(kept || keeps)),
        1 => Just(Event::Break),
    ]
}

proptest! {
    #[test]
    fn every_reading_comes_once_and_in_order_or_is_counted_as_lost(
        keeps: bool, events in any::<bool>().prop_flat_map(|keeps| prop::collection::vec(event(keeps), 1..150)),
    ) {
        let (mut subscription, mut broker) = (subscription(true), Broker::default());
        let (mut taken, mut forgot) = (0, false);
        broker.connect(&mut subscription, true);
        for event in events {
            match event {
                Event::Publish(readings) => broker.publish(readings),
                // Right behind what was published last, as after a reconnect of the gateway.
                Event::Again(back) => {
                    let again: Vec<Sent> = broker.sent.iter().rev().take(back).rev().copied().collect();
                    broker.queued.extend(again);
                }
                Event::Deliver => broker.deliver(&mut subscription),
                Event::Take => taken += take(&mut subscription).unwrap_or(0),
                Event::Hear if broker.is_up => broker.hear(&mut subscription),
                Event::Hear => {}
                Event::Connect(kept) => {
                    forgot |= !(kept || keeps);
                    broker.connect(&mut subscription, kept || keeps);
                }
                Event::Break => {
                    subscription.close();
                    broker.is_up = false;
                }
            }
            prop_assert!(subscription.waiting.len() <= RECEIVE_MAXIMUM);
        }
        // A last message, so that a gap before it is seen.
        broker.connect(&mut subscription, true);
        broker.publish(1);
        for _ in 0..1000 {
            broker.deliver(&mut subscription);
            while let Some(readings) = take(&mut subscription) {
                taken += readings;
            }
            broker.hear(&mut subscription);
        }
        prop_assert!(broker.queued.is_empty() && broker.owed.is_empty());
        let lost = subscription.counters().lost;
        let sent: u64 = broker.sent.iter().map(|sent| sent.readings).sum();
        prop_assert_eq!(sent, taken + lost);
        prop_assert!(forgot || lost == 0, "lost {}", lost);
    }

    #[test]
    fn garbage_never_panics(first in prop::sample::select(vec![0x20u8, 0x30, 0x32, 0x33, 0x3A, 0x90, 0xD0, 0xE0]),
        body in prop::collection::vec(any::<u8>(), 0..40), greeted: bool) {
        let mut subscription = subscription(false);
        if greeted {
            greet(&mut subscription, false).unwrap();
        } else {
            subscription.open(SECOND);
        }
        let mut bytes = vec![first, body.len() as u8];
        bytes.extend(body);
        let _ = subscription.receive(SECOND, &bytes);
        let _ = subscription.take();
    }
}

fn up(ordered: bool) -> Subscription {
    let mut subscription = subscription(ordered);
    greet(&mut subscription, false).unwrap();
    let packets = said(&mut subscription, SECOND);
    let [v5::Packet::Subscribe(subscribe)] = packets.as_slice() else {
        panic!("{packets:?}");
    };
    let filters: BTreeMap<String, u8> = subscribe
        .topics
        .iter()
        .map(|(filter, options)| (filter.to_string(), options.max_qos as u8))
        .collect();
    assert_eq!(filters, BTreeMap::from([("t/#".to_string(), 1)]));
    subscription
        .receive(SECOND, &suback(SubscribeReasonCode::GrantedQoS1))
        .unwrap();
    subscription
}

fn sent(sequence: u64) -> Sent {
    Sent {
        sequence,
        seq: sequence - 1,
        readings: 1,
    }
}

#[test]
fn nothing_is_acknowledged_before_it_is_taken() {
    let mut subscription = up(true);
    subscription
        .receive(SECOND, &publish(7, false, sent(1)))
        .unwrap();
    assert_eq!(said(&mut subscription, SECOND), []);
    assert_eq!(take(&mut subscription), Some(1));
    let packets = said(&mut subscription, SECOND);
    assert!(matches!(packets.as_slice(), [v5::Packet::Puback(puback)] if puback.pid.value() == 7));
}

#[test]
fn a_broker_that_does_not_keep_to_the_receive_maximum_is_read_no_further_and_still_pinged() {
    let mut subscription = up(true);
    for id in 1..=RECEIVE_MAXIMUM as u16 {
        assert!(!subscription.is_full());
        subscription
            .receive(SECOND, &publish(id, false, sent(id.into())))
            .unwrap();
    }
    assert!(subscription.is_full());
    let mut now = SECOND;
    for _ in 0..5 {
        assert_eq!(said(&mut subscription, now), []);
        now = subscription.deadline().unwrap();
        assert!(matches!(
            said(&mut subscription, now).as_slice(),
            [v5::Packet::Pingreq]
        ));
        assert_eq!(subscription.check(now), Ok(()));
    }
    assert_eq!(take(&mut subscription), Some(1));
    said(&mut subscription, now);
    assert_eq!(subscription.check(now), Ok(()));
}

#[test]
fn what_comes_late_is_dropped_where_order_counts_and_taken_where_not() {
    for ordered in [true, false] {
        let mut subscription = up(ordered);
        for (id, sequence) in [(1, 1), (2, 3), (3, 2), (4, 2)] {
            subscription
                .receive(SECOND, &publish(id, false, sent(sequence)))
                .unwrap();
        }
        let taken = core::iter::from_fn(|| take(&mut subscription)).count();
        let counters = subscription.counters();
        let told = (taken, counters.late, counters.again, counters.lost);
        assert_eq!(told, if ordered { (2, 1, 1, 1) } else { (3, 0, 1, 1) });
    }
}

#[test]
fn a_topic_that_is_not_ours_is_acknowledged_and_dropped() {
    let mut subscription = up(true);
    let other = TopicName::try_from("other").unwrap();
    let message = v5::Publish::new(
        QosPid::Level1(Pid::try_from(5).unwrap()),
        other,
        vec![1].into(),
    );
    subscription.receive(SECOND, &encoded(message)).unwrap();
    assert_eq!(subscription.take(), None);
    assert_eq!(subscription.counters().foreign, 1);
    assert!(matches!(
        said(&mut subscription, SECOND).as_slice(),
        [v5::Packet::Puback(_)]
    ));
}

#[test]
fn messages_at_qos_0_beyond_the_room_are_counted() {
    let mut subscription = up(true);
    let topic = TopicName::try_from("t").unwrap();
    for _ in 0..RECEIVE_MAXIMUM + 3 {
        let message = v5::Publish::new(QosPid::Level0, topic.clone(), vec![1].into());
        subscription.receive(SECOND, &encoded(message)).unwrap();
    }
    assert_eq!(subscription.counters().overrun, 3);
}

#[test]
fn a_subscription_that_is_not_granted_is_told() {
    for (code, expected) in [
        (
            SubscribeReasonCode::NotAuthorized,
            "does not grant the subscription: not authorized (0x87)",
        ),
        (
            SubscribeReasonCode::GrantedQoS0,
            "takes messages at QoS 0 alone, which is not at least once",
        ),
    ] {
        let mut subscription = subscription(true);
        greet(&mut subscription, false).unwrap();
        said(&mut subscription, SECOND);
        let failure = subscription.receive(SECOND, &suback(code)).unwrap_err();
        assert_eq!(failure.to_string(), expected);
    }
}

#[test]
fn a_silent_broker_is_pinged_and_then_given_up() {
    let mut subscription = up(true);
    let due = subscription.deadline().unwrap();
    assert!(matches!(
        said(&mut subscription, due).as_slice(),
        [v5::Packet::Pingreq]
    ));
    let end = subscription.deadline().unwrap();
    assert_eq!(subscription.check(end), Err(Failure::Silent(30 * SECOND)));
}

#[test]
fn the_end_forgets_the_session_and_the_word_to_stop_does_not() {
    for forget in [true, false] {
        let (mut subscription, mut bytes) = (up(true), Vec::new());
        subscription.farewell(forget, &mut bytes);
        let Ok(Some(v5::Packet::Disconnect(goodbye))) = v5::Packet::decode(&bytes) else {
            panic!("no DISCONNECT");
        };
        assert_eq!(
            goodbye.properties.session_expiry_interval,
            forget.then_some(0)
        );
    }
}
