//! Peers that die in the middle of something, are silent, or come back as somebody else.

mod mortal;
mod restarts;

use core::pin::pin;
use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::task::Poll;

use mortal::{Life, Mortal};
use vchan::conformance::{both, now, pair, pattern};
use vchan::in_process::{Host, block_on};
use vchan::platform::EventChannel;
use vchan::{
    ConnectOptions, Endpoint, LateError, Layout, OfferOptions, Policy, ReadError, RecvError,
    SendError, Stale,
};

fn check(body: impl AsyncFnOnce(&Host)) {
    let host = Host::new();
    block_on(body(&host));
    host.assert_clean();
}

/// Gives others so many turns. It wakes nobody, so that it works as a deadline in hand-made loops alone.
async fn turns(count: u32) {
    let mut left = count;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Polls until it is done, with a heartbeat whenever it is not.
async fn beating<F: Future>(host: &Host, future: F) -> F::Output {
    let mut future = pin!(future);
    for _ in 0..10_000 {
        if let Some(output) = now(future.as_mut()).await {
            return output;
        }
        host.heartbeat();
    }
    panic!("no number of heartbeats ends the wait");
}

const MESSAGE: usize = 300;

/// A writer that dies after `life` stores and events, in the middle of a message if it comes to that: how many whole
/// messages its reader gets, each checked, and whether the writer got to its end.
fn messages_of_a_writer_that_dies_after(life: usize, policy: Policy) -> (usize, bool) {
    let host = Host::new();
    let alive = Life::of(usize::MAX);
    let dying = Life::of(usize::MAX);
    let outcome = block_on(async {
        let (ours, theirs) = (
            Mortal::new(&host.meeting("edge"), &alive),
            Mortal::new(&host.meeting("edge"), &dying),
        );
        let options = OfferOptions {
            first_index: u32::MAX - 100,
            ..Layout::new(10, 11).unwrap().into()
        };
        let (server, client) = pair(&ours, &theirs, options).await;
        let (mut reader, _writer) = server.split();
        let (_, mut writer) = client.split();
        writer.set_policy(policy);
        dying.end_after(life);
        for message in 0..3 {
            match writer.try_send(&pattern(message * MESSAGE, MESSAGE)) {
                Ok(true) => {}
                other => panic!("{other:?}"),
            }
        }
        writer.publish().unwrap();
        let finished = !dying.is_over();
        dying.end_after(0);
        host.sever(writer.events().port());
        let mut whole = 0;
        let mut out = [0; MESSAGE];
        loop {
            match beating(&host, reader.recv(&mut out)).await {
                Ok(0) => panic!("a death is no close"),
                Ok(_) => assert_eq!(out[..], pattern(whole * MESSAGE, MESSAGE)),
                Err(RecvError::Read(ReadError::PeerDied)) => return (whole, finished),
                Err(error) => panic!("{error}"),
            }
            whole += 1;
        }
    });
    host.assert_clean();
    outcome
}

/// R8: dead at any store of all that it takes to send three messages: what is not published is not seen, and what is, whole.
#[test]
fn r8_dead_between_the_copy_and_the_index() {
    for policy in [Policy::Eager, Policy::Batched] {
        let mut seen = BTreeSet::new();
        for life in 0.. {
            let (whole, finished) = messages_of_a_writer_that_dies_after(life, policy);
            // All but its last byte is in the ring, and the index is not.
            if life < MESSAGE + 1 {
                assert_eq!(whole, 0, "{life} stores");
            }
            seen.insert(whole);
            if finished {
                assert_eq!(whole, 3);
                break;
            }
        }
        assert!(seen.contains(&0) && seen.contains(&3), "{seen:?}");
    }
}

/// R9: a stream that ends at any byte of a message says how much of it there is; nothing of it is taken for a message.
#[test]
fn r9_dead_in_the_middle_of_a_frame() {
    for cut in 0..=MESSAGE {
        for dies in [true, false] {
            check(async |host| {
                let meeting = host.meeting("edge");
                let (server, mut client) = pair(&meeting, &meeting, OfferOptions::default()).await;
                let (mut reader, _writer) = server.split();
                assert_eq!(
                    client.try_write(&pattern(0, MESSAGE + cut)),
                    Ok(MESSAGE + cut)
                );
                if dies {
                    host.sever(client.writer().events().port());
                } else {
                    client.close();
                }
                let mut out = [0; MESSAGE];
                assert_eq!(beating(host, reader.recv(&mut out)).await, Ok(MESSAGE));
                let rest = beating(host, reader.recv(&mut out)).await;
                match cut {
                    0 if dies => assert_eq!(rest, Err(RecvError::Read(ReadError::PeerDied))),
                    0 => assert_eq!(rest, Ok(0)),
                    MESSAGE => assert_eq!(rest, Ok(MESSAGE)),
                    _ => {
                        let (len, left) = (MESSAGE, cut as u32);
                        assert_eq!(rest, Err(RecvError::PeerCutShort { len, left }));
                        assert_eq!(reader.try_read(&mut out), Ok(Some(cut)));
                        assert_eq!(out[..cut], pattern(MESSAGE, cut));
                    }
                }
                drop(client);
            });
        }
    }
}

/// R13: a peer that is there and says nothing is stale at the deadline, as often as one asks, and is read on when it speaks;
/// one that has died by then is dead.
#[test]
fn r13_a_silent_peer_is_stale_and_is_read_on() {
    check(async |host| {
        let meeting = host.meeting("edge");
        let (server, mut client) = pair(&meeting, &meeting, OfferOptions::default()).await;
        let (mut reader, _writer) = server.split();
        let mut out = [0; 8];
        for round in 0..3 {
            for _ in 0..2 {
                let late = reader.read_before(&mut out, turns(5)).await;
                assert_eq!(late, Err(LateError::PeerStale(Stale)));
            }
            assert!(reader.is_connected(), "stale is not closed");
            assert_eq!(client.try_write(&[round; 3]), Ok(3));
            assert_eq!(reader.read_before(&mut out, turns(5)).await, Ok(3));
            assert_eq!(out[..3], [round; 3]);
        }
        assert_eq!(client.try_write(b"last"), Ok(4));
        host.sever(client.writer().events().port());
        // No heartbeat has come: the deadline itself asks.
        assert_eq!(reader.read_before(&mut out, turns(5)).await, Ok(4));
        let dead = reader.read_before(&mut out, turns(5)).await;
        assert_eq!(dead, Err(LateError::Failed(ReadError::PeerDied)));
    });
}

/// R24: the rest of a message that never comes; what there is of it stays.
#[test]
fn r24_a_message_whose_rest_never_comes() {
    check(async |host| {
        let meeting = host.meeting("edge");
        let (server, mut client) = pair(&meeting, &meeting, OfferOptions::default()).await;
        let (mut reader, _writer) = server.split();
        assert_eq!(client.try_write(&pattern(0, 299)), Ok(299));
        let mut out = [0; 300];
        assert_eq!(
            reader.recv_before(&mut out, turns(5)).await,
            Err(LateError::PeerStale(Stale))
        );
        assert_eq!(client.try_write(&pattern(299, 1)), Ok(1));
        assert_eq!(reader.recv_before(&mut out, turns(5)).await, Ok(300));
        assert_eq!(out[..], pattern(0, 300));
        // One that can never come is an error at once, and so is one longer than any ring.
        let never = reader.recv_before(&mut vec![0; 1025], turns(5)).await;
        assert!(matches!(
            never,
            Err(LateError::Failed(RecvError::TooLarge {
                len: 1025,
                size: 1024
            }))
        ));
        assert!(matches!(
            reader.try_peek(usize::MAX),
            Err(RecvError::TooLarge { .. })
        ));
        client.close();
    });
}

/// R23: nothing, exactly the ring, and a byte more.
#[test]
fn r23_lengths_at_the_edges() {
    for order in [10, 12, 14] {
        check(async |host| {
            let meeting = host.meeting("edge");
            let layout = Layout::new(order, 11).unwrap();
            let (server, client) = pair(&meeting, &meeting, layout.into()).await;
            let (mut reader, _) = server.split();
            let (_, mut writer) = client.split();
            let size = layout.left_size() as usize;
            let sent = writer.stats().counters().events_sent;
            assert_eq!(writer.try_send(b""), Ok(true));
            assert_eq!(writer.try_write(b""), Ok(0));
            assert_eq!(
                writer.stats().counters().events_sent,
                sent,
                "nothing is no news"
            );
            assert_eq!(reader.try_recv(&mut []), Ok(Some(0)));
            let data = pattern(0, size + 1);
            let too_large = SendError::TooLarge {
                len: size + 1,
                size: layout.left_size(),
            };
            assert_eq!(writer.try_send(&data), Err(too_large));
            assert_eq!(writer.send(&data).await, Err(too_large));
            assert_eq!(writer.try_send(&data[..size]), Ok(true));
            let mut out = vec![0; size];
            assert_eq!(reader.try_recv(&mut out), Ok(Some(size)));
            assert_eq!(out, data[..size]);
            // As a stream it goes, ring after ring.
            let (mut at, mut got) = (0, Vec::new());
            while got.len() < data.len() {
                at += writer.try_write(&data[at..]).unwrap();
                let count = reader.try_read(&mut out).unwrap().unwrap();
                got.extend_from_slice(&out[..count]);
            }
            assert_eq!(got, data);
        });
    }
}

/// R16: of the events one in `n` comes; the heartbeat finds what the others were about.
#[test]
fn r16_events_that_never_come() {
    for arrives in [2, 3, 7, u32::MAX] {
        let host = Host::new();
        let lives = [Life::deaf(arrives), Life::deaf(arrives)];
        block_on(async {
            let [ours, theirs] = lives
                .each_ref()
                .map(|life| Mortal::new(&host.meeting("edge"), life));
            let offered = Endpoint::offer(&ours, OfferOptions::default())
                .await
                .unwrap();
            let mut client = Endpoint::connect(&theirs, ConnectOptions::default())
                .await
                .unwrap();
            beating(&host, offered.connected()).await.unwrap();
            let (mut reader, mut writer) = offered.split();
            let data = pattern(0, 20_000);
            let there = async {
                let mut at = 0;
                while at < data.len() {
                    at += client.writer().write(&data[at..]).await.unwrap();
                }
                let mut answer = [0; 4];
                assert_eq!(client.reader().recv(&mut answer).await, Ok(4));
                client.close();
            };
            let here = async {
                let mut got = Vec::new();
                let mut out = [0; 700];
                while got.len() < data.len() {
                    let count = reader.read(&mut out).await.unwrap();
                    got.extend_from_slice(&out[..count]);
                }
                assert_eq!(got, data);
                writer.write(b"done").await.unwrap();
                assert_eq!(reader.read(&mut out).await, Ok(0));
            };
            beating(&host, both(here, there)).await;
        });
        host.assert_clean();
    }
}

/// R17: events about nothing, between any two steps.
#[test]
fn r17_events_about_nothing() {
    check(async |host| {
        let meeting = host.meeting("edge");
        let (server, mut client) = pair(&meeting, &meeting, OfferOptions::default()).await;
        let (mut reader, _writer) = server.split();
        let mut out = [0; 8];
        {
            let mut read = pin!(reader.read(&mut out));
            for _ in 0..1000 {
                client.writer().events().notify();
                assert_eq!(now(read.as_mut()).await, None);
            }
        }
        let counters = reader.stats().counters();
        assert!(counters.events_received >= 1000, "{counters:?}");
        assert_eq!((counters.bytes_read, counters.violations), (0, 0));
        assert_eq!(client.try_write(b"x"), Ok(1));
        assert_eq!(reader.read(&mut out).await, Ok(1));
        client.close();
    });
}
