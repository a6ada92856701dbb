//! A session against brokers of every kind; their side is `mqtt-proto`.

mod broker;

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec;

use broker::{Broker, Offer, encoded, packets};
use mqtt_proto::v5::{self, ConnectReasonCode, PubackReasonCode};
use mqtt_proto::{Pid, QoS};
use proptest::prelude::*;

use super::*;
use crate::queue::Policy;

const SECOND: Duration = Duration::from_secs(1);

fn identity() -> Identity {
    Identity {
        client_id: "way-out".into(),
        credentials: Some(("user".into(), b"pass".into())),
        will_topic: "state/way-out".into(),
        keep_alive: 30,
        content_type: "application/senml+json",
        is_text: true,
        counts: false,
    }
}

fn session(limit: usize, policy: Policy) -> Session {
    let mut session = Session::new(identity(), Queue::new(limit, policy));
    session.set_boot(0xB007);
    session
}

#[derive(Debug, Clone)]
enum Event {
    Push(usize),
    Connect(Offer),
    Break,
    Answer(usize, PubackReasonCode),
    Garbage(Vec<u8>),
    Wait(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let codes = vec![
        PubackReasonCode::Success,
        PubackReasonCode::Success,
        PubackReasonCode::NoMatchingSubscribers,
        PubackReasonCode::NotAuthorized,
        PubackReasonCode::QuotaExceeded,
    ];
    let offer = (
        any::<bool>(),
        1u16..8,
        prop_oneof![Just(150u32), Just(100_000)],
    );
    let offer = offer.prop_map(|(keeps, receive_maximum, maximum_packet)| Offer {
        keeps,
        receive_maximum,
        maximum_packet,
    });
    prop_oneof![
        6 => (0usize..300).prop_map(Event::Push),
        2 => offer.prop_map(Event::Connect),
        1 => Just(Event::Break),
        6 => (0usize..8, prop::sample::select(codes)).prop_map(|(index, code)| Event::Answer(index, code)),
        1 => prop::collection::vec(any::<u8>(), 1..20).prop_map(Event::Garbage),
        1 => (0u64..3).prop_map(Event::Wait),
    ]
}

/// What is accepted is acknowledged, in the queue, or counted as dropped.
fn balanced(session: &Session) -> Result<(), TestCaseError> {
    let counters = session.counters();
    let known = counters.acknowledged + counters.dropped_in_all() + session.queued() as u64;
    prop_assert_eq!(counters.accepted, known);
    prop_assert!(counters.published <= counters.accepted);
    Ok(())
}

proptest! {
    #[test]
    fn whatever_the_broker_does_nothing_is_lost_in_silence(
        events in prop::collection::vec(event(), 1..80), limit in 200usize..4000, oldest: bool,
    ) {
        let policy = if oldest { Policy::DropOldest } else { Policy::DropNewest };
        let mut session = session(limit, policy);
        let (mut now, mut readings) = (Duration::ZERO, 0);
        let (mut broker, mut gone): (Option<Broker>, Option<Broker>) = (None, None);
        let mut acknowledged = BTreeSet::new();
        for event in events {
            match event {
                Event::Push(size) => {
                    readings += 1;
                    let before = session.queue.bytes();
                    session.push(Message::new("t", &vec![b'x'; size], 1));
                    // While connected, inputs are held back, and what was under way still comes in.
                    prop_assert!(session.is_up() || session.queue.bytes() <= limit.max(before));
                }
                Event::Connect(offer) => {
                    session.close();
                    let before = broker.take().or(gone.take());
                    broker = Some(Broker::accept(&mut session, now, before, &offer).unwrap());
                }
                Event::Break => {
                    session.close();
                    gone = broker.take().or(gone);
                }
                Event::Answer(index, code) => {
                    let Some(broker) = broker.as_mut().filter(|broker| index < broker.owed.len()) else { continue };
                    let (id, name) = broker.owed.remove(index);
                    session.receive(now, &encoded(v5::Puback::new(Pid::try_from(id).unwrap(), code))).unwrap();
                    if (code as u8) < 0x80 {
                        prop_assert!(acknowledged.insert(name.clone()) , "{} twice", name);
                    }
                }
                Event::Garbage(bytes) => {
                    // Bytes may happen to be an answer that is owed: then they are no garbage.
                    if bytes[0] != 0x40 && session.receive(now, &bytes).is_err() {
                        session.close();
                        gone = broker.take().or(gone);
                    } else {
                        session.decoder.reset();
                    }
                }
                Event::Wait(seconds) => now += SECOND * seconds as u32,
            }
            if let Some(broker) = &mut broker {
                broker.absorb(&mut session, now);
            }
            balanced(&session)?;
        }
        // A broker that behaves gets all that is left.
        session.close();
        let offer = Offer { keeps: true, receive_maximum: 3, maximum_packet: 100_000 };
        let mut broker = Broker::accept(&mut session, now, broker.or(gone), &offer).unwrap();
        now += SECOND * 2;
        while !session.is_drained() {
            broker.absorb(&mut session, now);
            prop_assert!(!broker.owed.is_empty(), "nothing is sent and nothing is owed");
            for (id, name) in core::mem::take(&mut broker.owed) {
                session.receive(now, &encoded(v5::Puback::new_success(Pid::try_from(id).unwrap()))).unwrap();
                prop_assert!(acknowledged.insert(name.clone()), "{} twice", name);
            }
            balanced(&session)?;
        }
        let counters = session.counters();
        prop_assert_eq!(counters.acknowledged, acknowledged.len() as u64);
        prop_assert_eq!(readings, counters.acknowledged + counters.readings_dropped);
    }

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), pieces in 1usize..20, up: bool) {
        let mut session = session(10_000, Policy::DropOldest);
        session.push(Message::new("t", b"x", 1));
        if up {
            let offer = Offer { keeps: false, receive_maximum: 1, maximum_packet: 1000 };
            Broker::accept(&mut session, SECOND, None, &offer).unwrap().absorb(&mut session, SECOND);
        } else {
            session.open(SECOND);
            session.fill(SECOND, &mut Vec::new(), 1);
        }
        for piece in bytes.chunks(pieces) {
            if session.receive(SECOND, piece).is_err() {
                break;
            }
        }
        balanced(&session)?;
    }
}

fn up(session: &mut Session, receive_maximum: u16) -> Broker {
    let offer = Offer {
        keeps: true,
        receive_maximum,
        maximum_packet: 100_000,
    };
    Broker::accept(session, SECOND, None, &offer).unwrap()
}

#[test]
fn a_full_queue_drops_by_its_policy_and_never_what_is_in_flight() {
    for (policy, left) in [
        (Policy::DropOldest, ["1", "5", "6"]),
        (Policy::DropNewest, ["1", "2", "3"]),
    ] {
        let mut session = session(3 * 100, policy);
        let mut broker = up(&mut session, 1);
        let push = |session: &mut Session, text| {
            session.push(Message::new("t", &[text; 35], 2));
        };
        push(&mut session, b'a');
        broker.absorb(&mut session, SECOND);
        session.close();
        (b'b'..=b'f').for_each(|text| push(&mut session, text));
        assert_eq!(session.counters().dropped(Cause::Queue), 3);
        assert_eq!(session.counters().readings_dropped, 6);
        let offer = Offer {
            keeps: true,
            receive_maximum: 9,
            maximum_packet: 100_000,
        };
        let mut broker = Broker::accept(&mut session, SECOND, Some(broker), &offer).unwrap();
        broker.absorb(&mut session, SECOND);
        let sequences: Vec<&str> = broker
            .owed
            .iter()
            .map(|(_, name)| name.rsplit_once('-').unwrap().1)
            .collect();
        assert_eq!(sequences, left, "{policy:?}");
        assert_eq!(session.counters().resent, 1);
    }
}

#[test]
fn a_connected_session_holds_back_its_inputs_at_half_of_the_queue() {
    let mut session = session(1000, Policy::DropOldest);
    let _broker = up(&mut session, 1);
    while !session.holds_back() {
        session.push(Message::new("t", &[0; 35], 1));
    }
    assert_eq!(session.queued(), 5);
    // What was under way is kept even beyond the limit.
    (0..20).for_each(|_| session.push(Message::new("t", &[0; 35], 1)));
    assert_eq!(session.counters().dropped_in_all(), 0);
    session.close();
    assert!(!session.holds_back());
}

#[test]
fn a_silent_broker_is_pinged_and_then_given_up() {
    let mut session = session(1000, Policy::DropOldest);
    let mut broker = up(&mut session, 5);
    assert_eq!(broker.absorb(&mut session, SECOND), 0);
    assert_eq!(session.deadline(SECOND), Some(SECOND * 16));
    assert_eq!(broker.absorb(&mut session, SECOND * 16), 1);
    assert_eq!(
        broker.absorb(&mut session, SECOND * 31),
        0,
        "one ping at a time"
    );
    session.receive(SECOND * 20, &[0xD0, 0]).unwrap();
    assert_eq!(session.check(SECOND * 100), Ok(()));
    assert_eq!(broker.absorb(&mut session, SECOND * 31), 1);
    assert_eq!(session.check(SECOND * 60), Ok(()));
    assert_eq!(session.deadline(SECOND * 31), Some(SECOND * 61));
    assert_eq!(
        session.check(SECOND * 61),
        Err(Failure::Silent(SECOND * 30))
    );
}

#[test]
fn the_shorter_keep_alive_wins() {
    for (asked, ping) in [(4, 3), (0, 16), (3000, 16)] {
        let mut session = session(1000, Policy::DropOldest);
        session.open(SECOND);
        session.fill(SECOND, &mut Vec::new(), 1);
        let mut connack = v5::Connack::new(false, ConnectReasonCode::Success);
        connack.properties.server_keep_alive = Some(asked);
        session.receive(SECOND, &encoded(connack)).unwrap();
        session.fill(SECOND, &mut Vec::new(), 1000);
        assert_eq!(session.deadline(SECOND), Some(SECOND * ping), "{asked}");
    }
}

#[test]
fn a_message_that_is_larger_than_the_queue_does_not_empty_it() {
    for policy in [Policy::DropOldest, Policy::DropNewest] {
        let mut session = session(1000, policy);
        session.push(Message::new("t", b"small", 1));
        session.push(Message::new("t", &[0; 1000], 1));
        assert_eq!(
            (session.queued(), session.counters().dropped(Cause::Queue)),
            (1, 1)
        );
    }
}

#[test]
fn a_broker_that_never_answers_a_connect_is_given_up() {
    let mut session = session(1000, Policy::DropOldest);
    session.open(SECOND);
    session.fill(SECOND, &mut Vec::new(), 1);
    assert_eq!(session.check(SECOND * 30), Ok(()));
    assert_eq!(
        session.check(SECOND * 31),
        Err(Failure::Silent(SECOND * 30))
    );
}

#[test]
fn a_refusal_is_one_clear_line() {
    let mut session = session(1000, Policy::DropOldest);
    session.open(SECOND);
    session.fill(SECOND, &mut Vec::new(), 1);
    let mut connack = v5::Connack::new(false, ConnectReasonCode::BadUserNameOrPassword);
    connack.properties.reason_string = Some(Arc::from("try\nagain"));
    let failure = session.receive(SECOND, &encoded(connack)).unwrap_err();
    assert_eq!(
        failure.to_string(),
        "refuses the connection: bad user name or password (0x86) (\"try?again\")"
    );
}

#[test]
fn a_broker_of_qos_0_is_refused() {
    let mut session = session(1000, Policy::DropOldest);
    session.open(SECOND);
    session.fill(SECOND, &mut Vec::new(), 1);
    let mut connack = v5::Connack::new(false, ConnectReasonCode::Success);
    connack.properties.max_qos = Some(QoS::Level0);
    assert_eq!(
        session.receive(SECOND, &encoded(connack)),
        Err(Failure::AtMostOnce)
    );
}

#[test]
fn what_is_too_large_for_the_broker_is_dropped_and_counted() {
    let mut session = session(10_000, Policy::DropOldest);
    session.push(Message::new("t", &[0; 500], 3));
    session.push(Message::new("t", b"small", 1));
    let offer = Offer {
        keeps: true,
        receive_maximum: 5,
        maximum_packet: 200,
    };
    let mut broker = Broker::accept(&mut session, SECOND, None, &offer).unwrap();
    broker.absorb(&mut session, SECOND);
    assert_eq!(broker.owed.len(), 1);
    assert_eq!(
        (
            session.counters().dropped(Cause::Large),
            session.counters().readings_dropped
        ),
        (1, 3)
    );
}

#[test]
fn a_used_up_quota_is_waited_for() {
    let mut session = session(10_000, Policy::DropOldest);
    session.push(Message::new("t", b"x", 1));
    let mut broker = up(&mut session, 5);
    broker.absorb(&mut session, SECOND);
    let (id, _) = broker.owed.remove(0);
    let puback = v5::Puback::new(Pid::try_from(id).unwrap(), PubackReasonCode::QuotaExceeded);
    session.receive(SECOND, &encoded(puback)).unwrap();
    broker.absorb(&mut session, SECOND);
    assert_eq!((broker.owed.len(), session.queued()), (0, 1));
    assert_eq!(session.deadline(SECOND), Some(SECOND * 2));
    broker.absorb(&mut session, SECOND * 2);
    assert_eq!(broker.owed.len(), 1);
}

#[test]
fn a_session_that_drops_nothing_sends_one_message_at_a_time_until_somebody_takes_it() {
    let mut session = session(200, Policy::Wait);
    (0..9).for_each(|_| session.push(Message::new("t", &[b'x'; 50], 1)));
    assert!(session.holds_back(), "without a broker too");
    let mut broker = up(&mut session, 5);
    let (mut now, mut sent) = (SECOND, Vec::new());
    let codes = [
        PubackReasonCode::NoMatchingSubscribers,
        PubackReasonCode::NoMatchingSubscribers,
        PubackReasonCode::Success,
        PubackReasonCode::QuotaExceeded,
    ];
    for code in codes {
        broker.absorb(&mut session, now);
        sent.push(broker.owed.len());
        // Those behind it are taken.
        for (index, (id, _)) in core::mem::take(&mut broker.owed).into_iter().enumerate() {
            let code = if index == 0 {
                code
            } else {
                PubackReasonCode::Success
            };
            let puback = v5::Puback::new(Pid::try_from(id).unwrap(), code);
            session.receive(now, &encoded(puback)).unwrap();
        }
        now += SECOND;
    }
    let counters = session.counters();
    assert_eq!((counters.nobody, counters.dropped_in_all()), (2, 0));
    // A quota is no reason to go on alone once the next has been taken.
    assert_eq!(sent, [1, 1, 1, 5]);
    assert_eq!(session.queued(), 9 - 1 - 4);
}

#[test]
fn what_a_session_that_drops_nothing_has_to_send_again_is_not_overtaken() {
    let mut session = session(10_000, Policy::Wait);
    (0..3).for_each(|_| session.push(Message::new("t", b"x", 1)));
    let mut broker = up(&mut session, 1);
    for code in [PubackReasonCode::Success, PubackReasonCode::QuotaExceeded] {
        broker.absorb(&mut session, SECOND);
        let (id, _) = broker.owed.remove(0);
        let puback = v5::Puback::new(Pid::try_from(id).unwrap(), code);
        session.receive(SECOND, &encoded(puback)).unwrap();
    }
    assert!(session.probing);
    broker.absorb(&mut session, SECOND * 2);
    assert!(broker.owed[0].1.ends_with("-2"), "{:?}", broker.owed);
}

#[test]
fn the_end_is_said_and_the_session_forgotten_when_nothing_is_left() {
    let mut session = session(10_000, Policy::DropOldest);
    let mut broker = up(&mut session, 5);
    broker.absorb(&mut session, SECOND);
    let mut bytes = Vec::new();
    session.farewell(&mut bytes);
    let all = packets(&mut bytes);
    let [
        v5::Packet::Publish(presence),
        v5::Packet::Disconnect(goodbye),
    ] = all.as_slice()
    else {
        panic!("{all:?}");
    };
    assert_eq!(&presence.payload[..], b"done");
    assert_eq!(goodbye.properties.session_expiry_interval, Some(0));
}

#[test]
fn what_is_left_at_the_end_is_counted() {
    let mut session = session(10_000, Policy::DropOldest);
    session.push(Message::new("t", b"x", 7));
    session.give_up();
    assert!(session.is_drained());
    assert_eq!(
        (
            session.counters().dropped(Cause::End),
            session.counters().readings_dropped
        ),
        (1, 7)
    );
}
