//! The gateway between a vchan edge and brokers of every kind, in memory and in a time of its own.

mod common;

use std::time::Duration;

use common::{Bench, Feeder, Link, Manner, pack};
use futures_util::future::{join, join3};
use mqtt_proto::v5::{self, ConnectReasonCode};
use stage::state::{Awaited, State};
use stage::{DropCause, Outputs, Plan, Reading, Stage as _, Timestamp, Value, note};

use gateway::Gateway;

const SECOND: Duration = Duration::from_secs(1);

/// Lets the gateway in and acknowledges all it sends, as far as `messages`; then hangs up without a word. Returns whether
/// the gateway said goodbye.
async fn serve(bench: &Bench, kept: bool, messages: usize) -> bool {
    let mut link = Link::accept(&bench.network).await;
    link.greet(kept, ConnectReasonCode::Success).await;
    let mut left = messages;
    while let Some(packet) = link.packet().await {
        match packet {
            v5::Packet::Publish(publish) => {
                let pid = bench.store.add(&publish);
                if let Some(pid) = pid {
                    if left == 0 {
                        return false;
                    }
                    left -= 1;
                    link.send(v5::Puback::new_success(pid)).await;
                }
            }
            v5::Packet::Pingreq => link.send(v5::Packet::Pingresp).await,
            v5::Packet::Disconnect(_) => return true,
            packet => panic!("{packet:?}"),
        }
    }
    false
}

/// A writer with a single reading.
async fn feed_one(bench: &Bench) {
    let mut feeder = Feeder::open(&bench.network, "a").await;
    feeder.feed(&pack("s", [7.0])).await;
    feeder.end().await;
}

#[test]
fn a_broker_that_restarts_again_and_again_gets_every_reading() {
    for kept in [false, true] {
        let bench = Bench::new();
        let feeder = async {
            let mut feeder = Feeder::open(&bench.network, "a").await;
            for number in 0..200 {
                feeder
                    .feed(&pack(
                        "s:x",
                        [f64::from(2 * number), f64::from(2 * number + 1)],
                    ))
                    .await;
                bench
                    .network
                    .sleep_until(bench.network.now() + SECOND / 10)
                    .await;
            }
            feeder.end().await;
        };
        let broker = async {
            for round in 0..8 {
                assert!(!serve(&bench, kept && round > 0, round * 3).await);
                bench
                    .network
                    .sleep_until(bench.network.now() + SECOND)
                    .await;
            }
            assert!(serve(&bench, kept, usize::MAX).await);
        };
        let run = join3(bench.gateway(""), feeder, broker);
        let (counters, (), ()) = bench.network.block_on(run).unwrap();
        let expected: Vec<f64> = (0..400).map(f64::from).collect();
        assert_eq!(bench.store.values(), expected);
        assert_eq!(
            (counters.stage.readings_in, counters.stage.used),
            (400, 400)
        );
        assert_eq!(Bench::own(&counters, "acknowledged"), 200);
        assert_eq!(Bench::own(&counters, "connections"), 9);
        assert!(Bench::own(&counters, "resent") >= 8);
        let twice = bench.store.messages.borrow();
        assert!(twice.values().any(|(_, count)| *count > 1));
        assert!(
            twice
                .values()
                .all(|(arrived, _)| arrived.topic == "grantflow/s")
        );
        assert!(
            bench
                .host
                .states
                .borrow()
                .contains(&State::Waiting(Awaited::Broker))
        );
        assert_eq!(bench.host.state(), Some(State::Done));
        assert_eq!(bench.store.presence.borrow().last().unwrap(), "done");
    }
}

#[test]
fn a_refused_password_is_tried_ever_more_rarely_while_the_queue_keeps_what_fits() {
    let bench = Bench::new();
    let feeder = async {
        let mut feeder = Feeder::open(&bench.network, "a").await;
        for number in 0..100 {
            feeder.feed(&pack("s", [f64::from(number)])).await;
        }
        bench.network.sleep_until(SECOND * 3600).await;
        feeder.end().await;
    };
    let broker = async {
        while bench.network.now() < SECOND * 3600 {
            let mut link = Link::accept(&bench.network).await;
            let code = ConnectReasonCode::BadUserNameOrPassword;
            link.greet(false, code).await;
            assert_eq!(link.packet().await, None);
        }
        assert!(serve(&bench, false, usize::MAX).await);
    };
    let run = join3(bench.gateway("queue=4K"), feeder, broker);
    let (counters, (), ()) = bench.network.block_on(run).unwrap();
    // Half a minute apart at most, a quarter of one at least.
    assert!(
        (120..250).contains(&bench.attempts.get()),
        "{}",
        bench.attempts.get()
    );
    assert_eq!(counters.stage.readings_in, 100);
    assert!(counters.stage.balanced());
    let values = bench.store.values();
    assert_eq!(counters.stage.used as usize, values.len());
    assert!((20..60).contains(&values.len()), "{}", values.len());
    // The newest were kept.
    let first = 100 - values.len() as u32;
    assert_eq!(values, (first..100).map(f64::from).collect::<Vec<_>>());
    assert_eq!(Bench::own(&counters, "queue"), u64::from(first));
}

#[test]
fn a_broker_that_is_not_there_is_no_reason_to_hang_at_the_word_to_stop() {
    for manner in [Manner::Refuse, Manner::Swallow] {
        let bench = Bench::new();
        bench.manner.set(manner);
        let feeder = async {
            let mut feeder = Feeder::open(&bench.network, "a").await;
            for number in 0..10 {
                feeder.feed(&pack("s", [f64::from(number)])).await;
            }
            bench.network.sleep_until(SECOND * 60).await;
            assert_eq!(bench.host.state(), Some(State::Waiting(Awaited::Broker)));
            bench.host.stop();
        };
        let (counters, ()) = bench
            .network
            .block_on(join(bench.gateway(""), feeder))
            .unwrap();
        assert_eq!(bench.network.now(), SECOND * 65);
        assert_eq!((counters.stage.readings_in, counters.stage.used), (10, 0));
        assert_eq!(counters.stage.dropped(DropCause::Undelivered), 10);
        assert_eq!(Bench::own(&counters, "end"), 10);
    }
}

#[test]
fn a_half_open_connection_is_noticed_and_made_anew() {
    let bench = Bench::new();
    let feeder = feed_one(&bench);
    let broker = async {
        // Neither reads nor answers, and does not go away.
        let _silent = Link::accept(&bench.network).await;
        let mut deaf = Link::accept(&bench.network).await;
        deaf.greet(false, ConnectReasonCode::Success).await;
        assert!(serve(&bench, true, usize::MAX).await);
    };
    let run = join3(bench.gateway("keep-alive=10s"), feeder, broker);
    let (counters, (), ()) = bench.network.block_on(run).unwrap();
    assert_eq!(bench.store.values(), [7.0]);
    assert_eq!(counters.stage.used, 1);
    assert!(
        bench.network.now() < SECOND * 25,
        "{:?}",
        bench.network.now()
    );
}

#[test]
fn garbage_is_counted_and_the_connection_made_anew() {
    let bench = Bench::new();
    let feeder = feed_one(&bench);
    let broker = async {
        for garbage in [
            &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
            &[0x20, 0xFF, 0xFF, 0xFF, 0xFF],
        ] {
            let mut link = Link::accept(&bench.network).await;
            link.send_bytes(garbage).await;
            while link.packet().await.is_some() {}
        }
        let mut link = Link::accept(&bench.network).await;
        link.greet(false, ConnectReasonCode::Success).await;
        link.send_bytes(&[0x30, 3, 0, 1, b't']).await;
        let mut last = None;
        while let Some(packet) = link.packet().await {
            last = Some(packet);
        }
        let Some(v5::Packet::Disconnect(goodbye)) = last else {
            panic!("{last:?}");
        };
        assert_eq!(goodbye.reason_code, v5::DisconnectReasonCode::ProtocolError);
        assert!(serve(&bench, true, usize::MAX).await);
    };
    let run = join3(bench.gateway(""), feeder, broker);
    let (counters, (), ()) = bench.network.block_on(run).unwrap();
    assert_eq!(Bench::own(&counters, "garbage"), 3);
    assert_eq!((counters.stage.used, bench.store.values()), (1, vec![7.0]));
}

#[test]
fn a_slow_broker_holds_back_the_edge_and_nothing_is_dropped() {
    let bench = Bench::new();
    let feeder = async {
        let mut feeder = Feeder::open(&bench.network, "a").await;
        for number in 0..2000 {
            feeder.feed(&pack("s", [f64::from(number)])).await;
        }
        let fed = bench.network.now();
        feeder.end().await;
        fed
    };
    let broker = async {
        let mut link = Link::accept(&bench.network).await;
        link.greet(false, ConnectReasonCode::Success).await;
        while let Some(packet) = link.packet().await {
            if let v5::Packet::Publish(publish) = packet
                && let Some(pid) = bench.store.add(&publish)
            {
                bench
                    .network
                    .sleep_until(bench.network.now() + SECOND / 100)
                    .await;
                link.send(v5::Puback::new_success(pid)).await;
            }
        }
    };
    let run = join3(bench.gateway("queue=16K"), feeder, broker);
    let (counters, fed, ()) = bench.network.block_on(run).unwrap();
    assert_eq!(bench.store.values().len(), 2000);
    assert_eq!(
        (counters.stage.used, Bench::own(&counters, "resent")),
        (2000, 0)
    );
    assert!(fed > SECOND * 15, "fed by {fed:?}: nobody was held back");
}

#[test]
fn readings_of_a_pack_go_to_the_topics_of_their_series() {
    let bench = Bench::new();
    let feeder = async {
        let mut feeder = Feeder::open(&bench.network, "a").await;
        let mut queue = stage::senml::PackQueue::new(4096);
        for (name, value) in [
            ("flow:mean", 1.0),
            ("wind:mean", 2.0),
            ("flow:max", 3.0),
            ("wind:max", f64::NAN),
        ] {
            let time = stage::Timestamp::from_seconds(1_700_000_000).unwrap();
            queue
                .push(&stage::Reading::number(name, time, value))
                .unwrap();
        }
        let (mut bytes, mut sealed) = (Vec::new(), Vec::new());
        queue.take(&mut bytes, &mut sealed);
        feeder.feed(&bytes).await;
        feeder.end().await;
    };
    let run = join3(
        bench.gateway("topic=house/{series}/now"),
        feeder,
        serve(&bench, false, 9),
    );
    let (counters, (), _) = bench.network.block_on(run).unwrap();
    let messages = bench.store.messages.borrow();
    let texts: Vec<(&str, &str, &str)> = messages
        .iter()
        .map(|(id, (arrived, _))| {
            let payload = std::str::from_utf8(&arrived.payload).unwrap();
            (id.as_str(), arrived.topic.as_str(), payload)
        })
        .collect();
    let flow = r#"[{"bn":"flow:","bt":1700000000,"n":"mean","v":1},{"n":"max","v":3}]"#;
    let wind = r#"[{"bn":"wind:mean","bt":1700000000,"v":2}]"#;
    assert_eq!(
        texts,
        [
            ("000000000000b007-1", "house/flow/now", flow),
            ("000000000000b007-2", "house/wind/now", wind)
        ]
    );
    assert_eq!(counters.stage.dropped(DropCause::NotFinite), 1);
    assert_eq!((counters.stage.used, counters.stage.out), (3, 3));
    assert!(counters.stage.balanced());
}

#[test]
fn cbor_packs_are_those_of_the_edges() {
    let bench = Bench::new();
    let feeder = async {
        let mut feeder = Feeder::open(&bench.network, "a").await;
        feeder.feed(&pack("s", [1.0, f64::NAN])).await;
        feeder.feed(&pack("s", (0..600).map(f64::from))).await;
        feeder.end().await;
    };
    let run = join3(
        bench.gateway("format=cbor"),
        feeder,
        serve(&bench, false, 9),
    );
    let (counters, (), _) = bench.network.block_on(run).unwrap();
    assert_eq!(counters.stage.used, 602);
    let messages = bench.store.messages.borrow();
    let mut packs = Vec::new();
    for (arrived, _) in messages.values() {
        let mut readings = stage::senml::Pack::new(&arrived.payload)
            .readings(stage::Timestamp::default())
            .unwrap();
        let mut count = 0;
        while readings.next_reading().unwrap().is_some() {
            count += 1;
        }
        packs.push((readings.seq(), count));
    }
    assert_eq!(
        packs,
        [
            (Some(0), 2),
            (Some(2), 256),
            (Some(258), 256),
            (Some(514), 88)
        ]
    );
}

#[test]
fn bad_parameters_are_named() {
    for (command, expected) in [
        ("broker=h:x in.a=1", "broker: "),
        ("in.a=1", "broker: missing"),
        ("broker=h in.a=1 topic=a/#", "topic: "),
        ("broker=h in.a=1 queue=1K", "queue: "),
        ("broker=h in.a=1 will=+", "will: "),
        ("broker=h in.a=1 keep-alive=1500ms", "keep-alive: "),
        ("broker=h in.a=1 keep-alive=20h", "keep-alive: "),
        ("broker=h in.a=1 drop=none", "drop: "),
        ("broker=h in.a=1 out.b=1", "out.EDGE: "),
        ("broker=h", "in.EDGE: "),
    ] {
        let plan = Plan::new::<Gateway>(command.as_bytes(), b"");
        let error = plan
            .and_then(|plan| plan.build::<Gateway>().map(drop))
            .unwrap_err();
        assert!(
            error.to_string().starts_with(expected),
            "{command}: {error}"
        );
    }
}

#[test]
fn a_gateway_without_an_address_says_so() {
    let mut bench = Bench::new();
    bench.configured_at = SECOND * 7;
    let feeder = async {
        let mut feeder = Feeder::open(&bench.network, "a").await;
        bench.network.sleep_until(SECOND * 6).await;
        assert_eq!(bench.host.state(), Some(State::Waiting(Awaited::Dhcp)));
        feeder.feed(&pack("s", [7.0])).await;
        feeder.end().await;
    };
    let broker = serve(&bench, false, usize::MAX);
    let run = join3(bench.gateway(""), feeder, broker);
    let (counters, (), goodbye) = bench.network.block_on(run).unwrap();
    assert!(goodbye);
    assert_eq!((counters.stage.used, bench.attempts.get()), (1, 1));
    let reached =
        ["address-ms", "connected-ms", "delivered-ms"].map(|key| Bench::own(&counters, key));
    assert_eq!(reached, [7000; 3]);
}

#[test]
fn the_note_of_the_image_lists_what_it_takes() {
    let note = note::encode::<Gateway, { note::length::<Gateway>() }>();
    let description = note::parse(&note.0).unwrap();
    let names: Vec<&str> = description
        .parameters
        .iter()
        .map(|line| line.name.as_str())
        .collect();
    for name in [
        "ip",
        "broker",
        "topic",
        "format",
        "client-id",
        "keep-alive",
        "will",
        "queue",
        "drop",
    ] {
        assert!(names.contains(&name), "{name}");
    }
}

#[test]
fn an_attempt_to_connect_that_hangs_is_given_up() {
    let bench = Bench::new();
    bench.manner.set(Manner::Swallow);
    let feeder = async {
        let mut feeder = Feeder::open(&bench.network, "a").await;
        feeder.feed(&pack("s", [7.0])).await;
        bench.network.sleep_until(SECOND * 5).await;
        bench.manner.set(Manner::Carry);
        feeder.end().await;
    };
    let run = join3(bench.gateway(""), feeder, serve(&bench, false, usize::MAX));
    let (counters, (), _) = bench.network.block_on(run).unwrap();
    assert_eq!((counters.stage.used, bench.attempts.get()), (1, 2));
}

#[test]
fn what_was_held_back_when_the_stage_gave_up_is_counted_too() {
    let bench = Bench::new();
    let feeder = async {
        let mut feeder = Feeder::open(&bench.network, "a").await;
        // One pack makes several messages, and its later ones are held back.
        feeder.feed(&pack("s", (0..600).map(f64::from))).await;
        bench.network.sleep_until(SECOND * 20).await;
        bench.host.stop();
    };
    let broker = async {
        let mut link = Link::accept(&bench.network).await;
        link.greet(false, ConnectReasonCode::Success).await;
        while let Some(packet) = link.packet().await {
            if let v5::Packet::Pingreq = packet {
                link.send(v5::Packet::Pingresp).await;
            }
        }
    };
    let run = join3(bench.gateway("queue=16K"), feeder, broker);
    let (counters, (), ()) = bench.network.block_on(run).unwrap();
    assert_eq!(counters.stage.readings_in, 600);
    assert_eq!(counters.stage.dropped(DropCause::Undelivered), 600);
    assert!(counters.stage.balanced());
    assert_eq!(Bench::own(&counters, "queued"), 0);
}

#[test]
fn a_reading_that_fits_no_pack_is_undelivered() {
    let plan = Plan::new::<Gateway>(b"broker=h in.a=1 format=cbor", b"").unwrap();
    let mut gateway = plan.build::<Gateway>().unwrap();
    let mut out = Outputs::new([]);
    let text = "x".repeat(64 << 10);
    let reading = Reading {
        value: Value::Text(&text),
        ..Reading::number("s", Timestamp::from_seconds(1_700_000_000).unwrap(), 0.0)
    };
    let verdict = gateway.reading(0, &reading, &mut out);
    out.count(verdict);
    gateway.pack_ended(0, &mut out);
    assert_eq!(out.counters().dropped(DropCause::Undelivered), 1);
    assert!(out.counters().balanced());
    assert_eq!(gateway.session().queued(), 0);
}
