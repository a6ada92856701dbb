extern crate std;

use alloc::{format, string::String, sync::Arc, task::Wake, vec::Vec};
use core::{
    sync::atomic::{AtomicU32, Ordering},
    task::{Poll, Waker},
};

use crate::xenstore::{
    connection::*,
    error::{Broken, Errno, Error},
    wire::{self, Decoder, Header, Message, MessageType},
};

#[derive(Default)]
struct Count(AtomicU32);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

pub(super) fn read(connection: &mut Connection, path: &str) -> u32 {
    connection
        .submit(MessageType::Read, 0, &[path.as_bytes(), b"\0"])
        .unwrap()
}

/// All that can be sent now.
pub(super) fn drain(connection: &mut Connection) -> Vec<Message> {
    let mut bytes = Vec::new();
    loop {
        let output = connection.output();
        if output.is_empty() {
            break;
        }
        let count = output.len();
        bytes.extend_from_slice(output);
        connection.sent(count);
    }
    let mut decoder = Decoder::new();
    let mut input = bytes.as_slice();
    core::iter::from_fn(|| decoder.next(&mut input).unwrap()).collect()
}

pub(super) fn types(messages: &[Message]) -> Vec<MessageType> {
    messages
        .iter()
        .map(|message| message.header.message_type)
        .collect()
}

pub(super) fn deliver(
    connection: &mut Connection,
    message_type: MessageType,
    req_id: u32,
    payload: &[u8],
) {
    let bytes = wire::encode(
        Header {
            message_type,
            req_id,
            tx_id: 0,
        },
        &[payload],
    )
    .unwrap();
    connection.receive(&bytes).unwrap();
}

pub(super) fn event(connection: &mut Connection, path: &str, token: u32) {
    deliver(
        connection,
        MessageType::WatchEvent,
        0,
        format!("{path}\0{token}\0").as_bytes(),
    );
}

pub(super) fn poll(connection: &mut Connection, req_id: u32) -> Poll<Reply> {
    connection.poll_reply(req_id, Waker::noop()).0
}

fn poll_watch(connection: &mut Connection, token: u32) -> Poll<Result<String, Error>> {
    connection.poll_watch(token, Waker::noop()).0
}

#[test]
fn twenty_requests_are_outstanding_and_the_rest_wait_in_order() {
    let mut connection = Connection::new();
    let ids: Vec<u32> = (0..25).map(|_| read(&mut connection, "a")).collect();
    let sent: Vec<u32> = drain(&mut connection)
        .iter()
        .map(|message| message.header.req_id)
        .collect();
    assert_eq!(sent, ids[..OUTSTANDING_MAX]);
    deliver(&mut connection, MessageType::Read, ids[7], b"");
    deliver(&mut connection, MessageType::Read, ids[3], b"");
    let sent: Vec<u32> = drain(&mut connection)
        .iter()
        .map(|message| message.header.req_id)
        .collect();
    assert_eq!(sent, ids[20..22]);
}

#[test]
fn the_line_is_bounded_for_callers_but_not_for_what_undoes() {
    let mut connection = Connection::new();
    let (_, token) = connection.submit_watch("a").unwrap();
    drain(&mut connection);
    for _ in 0..WAITING_MAX {
        read(&mut connection, "a");
    }
    assert_eq!(
        connection.submit(MessageType::Read, 0, &[b"a\0"]),
        Err(Error::Busy)
    );
    assert_eq!(connection.submit_watch("b"), Err(Error::Busy));
    assert_eq!(connection.unwatch(token).map(drop), None);
    assert_eq!(connection.counters().requests, 1 + WAITING_MAX as u32 + 1);
}

#[test]
fn replies_find_their_request_in_any_order() {
    let mut connection = Connection::new();
    let [a, b, c] = ["a", "b", "c"].map(|path| read(&mut connection, path));
    drain(&mut connection);
    deliver(&mut connection, MessageType::Read, c, b"C");
    deliver(&mut connection, MessageType::Error, a, b"ENOENT\0");
    assert_eq!(
        poll(&mut connection, a),
        Poll::Ready(Err(Error::Store(Errno::ENOENT)))
    );
    assert_eq!(poll(&mut connection, b), Poll::Pending);
    assert_eq!(poll(&mut connection, c), Poll::Ready(Ok(b"C".to_vec())));
    deliver(&mut connection, MessageType::Write, b, b"OK\0");
    assert_eq!(
        poll(&mut connection, b),
        Poll::Ready(Err(Error::Reply)),
        "a reply of another type"
    );
    assert_eq!(poll(&mut connection, b), Poll::Ready(Err(Error::Taken)));
}

#[test]
fn a_message_goes_out_in_pieces_and_is_answered_only_when_whole() {
    let mut connection = Connection::new();
    let req_id = read(&mut connection, "abc");
    read(&mut connection, "d");
    let whole = wire::encode(
        Header {
            message_type: MessageType::Read,
            req_id,
            tx_id: 0,
        },
        &[b"abc\0"],
    )
    .unwrap();
    for sent in 0..whole.len() {
        assert_eq!(connection.output(), &whole[sent..]);
        deliver(&mut connection, MessageType::Read, req_id, b"too early");
        assert_eq!(poll(&mut connection, req_id), Poll::Pending);
        connection.sent(1);
    }
    assert_eq!(connection.counters().unknown_replies, whole.len() as u32);
    deliver(&mut connection, MessageType::Read, req_id, b"value");
    assert_eq!(
        poll(&mut connection, req_id),
        Poll::Ready(Ok(b"value".to_vec()))
    );
    assert_eq!(drain(&mut connection)[0].payload, b"d\0");
}

#[test]
fn replies_to_nobody_are_counted_and_dropped() {
    let mut connection = Connection::new();
    let req_id = read(&mut connection, "a");
    for stray in [0, req_id + 1, u32::MAX] {
        deliver(&mut connection, MessageType::Read, stray, b"?");
        deliver(&mut connection, MessageType::Other(99), stray, b"?");
    }
    assert_eq!(connection.counters().unknown_replies, 6);
    drain(&mut connection);
    deliver(&mut connection, MessageType::Read, req_id, b"1");
    deliver(&mut connection, MessageType::Read, req_id, b"2");
    assert_eq!(
        connection.counters().unknown_replies,
        7,
        "a second reply is one too many"
    );
    assert_eq!(
        poll(&mut connection, req_id),
        Poll::Ready(Ok(b"1".to_vec()))
    );
}

#[test]
fn ids_skip_zero_and_those_in_use() {
    assert_eq!(next_id(0, |_| false), 1);
    assert_eq!(next_id(u32::MAX, |_| false), 1);
    assert_eq!(next_id(u32::MAX - 1, |id| id == u32::MAX || id < 3), 3);
}

#[test]
fn an_abandoned_question_is_not_asked_and_an_abandoned_write_is_made() {
    let mut connection = Connection::new();
    let question = read(&mut connection, "a");
    let write = connection
        .submit(MessageType::Write, 0, &[b"b\0", b"1"])
        .unwrap();
    connection.abandon(question);
    connection.abandon(write);
    assert_eq!(types(&drain(&mut connection)), [MessageType::Write]);
    let next = read(&mut connection, "c");
    drain(&mut connection);
    deliver(&mut connection, MessageType::Write, write, b"OK\0");
    deliver(&mut connection, MessageType::Read, next, b"C");
    assert_eq!(poll(&mut connection, next), Poll::Ready(Ok(b"C".to_vec())));
    assert_eq!(
        connection.counters().unknown_replies,
        0,
        "the abandoned reply is known"
    );
    assert_eq!(poll(&mut connection, write), Poll::Ready(Err(Error::Taken)));
}

#[test]
fn an_abandoned_request_counts_against_the_quota_until_it_is_answered() {
    let mut connection = Connection::new();
    let ids: Vec<u32> = (0..20).map(|_| read(&mut connection, "a")).collect();
    drain(&mut connection);
    ids.iter().for_each(|id| drop(connection.abandon(*id)));
    read(&mut connection, "b");
    assert_eq!(drain(&mut connection), []);
    deliver(&mut connection, MessageType::Read, ids[0], b"");
    assert_eq!(drain(&mut connection).len(), 1);
}

/// A request half sent cannot be taken back: the rest of it must follow.
#[test]
fn an_abandoned_message_half_sent_is_finished() {
    let mut connection = Connection::new();
    let req_id = read(&mut connection, "a");
    let mut bytes = connection.output()[..5].to_vec();
    connection.sent(5);
    connection.abandon(req_id);
    read(&mut connection, "b");
    while !connection.output().is_empty() {
        bytes.extend_from_slice(connection.output());
        let count = connection.output().len();
        connection.sent(count);
    }
    let (mut decoder, mut input) = (Decoder::new(), bytes.as_slice());
    assert_eq!(decoder.next(&mut input).unwrap().unwrap().payload, b"a\0");
    assert_eq!(decoder.next(&mut input).unwrap().unwrap().payload, b"b\0");
}

#[test]
fn an_abandoned_transaction_is_aborted_whenever_its_id_comes() {
    for fetched_late in [false, true] {
        let mut connection = Connection::new();
        let req_id = connection
            .submit(MessageType::TransactionStart, 0, &[b"\0"])
            .unwrap();
        drain(&mut connection);
        if !fetched_late {
            connection.abandon(req_id);
        }
        deliver(
            &mut connection,
            MessageType::TransactionStart,
            req_id,
            b"77\0",
        );
        if fetched_late {
            connection.abandon(req_id);
        }
        let sent = drain(&mut connection);
        assert_eq!(types(&sent), [MessageType::TransactionEnd]);
        assert_eq!(
            (sent[0].header.tx_id, &sent[0].payload[..]),
            (77, &b"F\0"[..])
        );
    }
}

#[test]
fn an_abandoned_watch_is_ended_in_every_state() {
    // Not sent yet: never set.
    let mut connection = Connection::new();
    let (req_id, token) = connection.submit_watch("a").unwrap();
    connection.abandon(req_id);
    assert_eq!(drain(&mut connection), []);
    event(&mut connection, "a", token);
    assert_eq!(connection.counters().stray_events, 1);

    // Sent, answered before or after: unwatched with the same path and token.
    for answered_first in [false, true] {
        let (req_id, _) = connection.submit_watch("a").unwrap();
        let watch = drain(&mut connection).remove(0);
        if !answered_first {
            connection.abandon(req_id);
        }
        deliver(&mut connection, MessageType::Watch, req_id, b"OK\0");
        if answered_first {
            connection.abandon(req_id);
        }
        let sent = drain(&mut connection);
        assert_eq!(types(&sent), [MessageType::Unwatch]);
        assert_eq!(sent[0].payload, watch.payload);
    }

    // Refused: nothing to end.
    for answered_first in [false, true] {
        let (req_id, token) = connection.submit_watch("a").unwrap();
        drain(&mut connection);
        if !answered_first {
            connection.abandon(req_id);
        }
        deliver(&mut connection, MessageType::Error, req_id, b"EQUOTA\0");
        if answered_first {
            connection.abandon(req_id);
        }
        assert_eq!(drain(&mut connection), []);
        assert_eq!(
            poll_watch(&mut connection, token),
            Poll::Ready(Err(Error::Taken))
        );
    }
}

#[test]
fn events_merge_per_watch_and_strays_are_counted() {
    let mut connection = Connection::new();
    let (_, a) = connection.submit_watch("a").unwrap();
    let (_, b) = connection.submit_watch("b").unwrap();
    assert_ne!(a, b);
    assert_eq!(poll_watch(&mut connection, a), Poll::Pending);
    for path in ["a", "a/1", "a/2"] {
        event(&mut connection, path, a);
    }
    assert_eq!(poll_watch(&mut connection, b), Poll::Pending);
    assert_eq!(
        poll_watch(&mut connection, a),
        Poll::Ready(Ok("a/2".into()))
    );
    assert_eq!(poll_watch(&mut connection, a), Poll::Pending);
    event(&mut connection, "a/3", a);
    assert_eq!(
        poll_watch(&mut connection, a),
        Poll::Ready(Ok("a/3".into()))
    );

    connection.unwatch(a);
    event(&mut connection, "a", a);
    for malformed in [&b""[..], b"a", b"a\0", b"a\0x\0", b"\0\0\0\0"] {
        deliver(&mut connection, MessageType::WatchEvent, 0, malformed);
    }
    assert_eq!(connection.counters().stray_events, 6);
    deliver(
        &mut connection,
        MessageType::WatchEvent,
        0,
        format!("\0{b}").as_bytes(),
    );
    assert_eq!(
        poll_watch(&mut connection, b),
        Poll::Ready(Ok(String::new()))
    );
}

#[test]
fn a_hundred_thousand_events_take_no_room() {
    let mut connection = Connection::new();
    let (_, token) = connection.submit_watch("a").unwrap();
    let counter = Arc::new(Count::default());
    let waker = Waker::from(counter.clone());
    assert_eq!(connection.poll_watch(token, &waker).0, Poll::Pending);
    for number in 0..100_000 {
        event(&mut connection, &format!("a/{number}"), token);
    }
    assert_eq!(connection.take_woken().len(), 1);
    assert_eq!(
        poll_watch(&mut connection, token),
        Poll::Ready(Ok("a/99999".into()))
    );
    assert_eq!(poll_watch(&mut connection, token), Poll::Pending);
}

#[test]
fn a_break_reaches_every_request_and_watch_once() {
    let mut connection = Connection::new();
    let counter = Arc::new(Count::default());
    let waker = Waker::from(counter.clone());
    let done = read(&mut connection, "a");
    drain(&mut connection);
    deliver(&mut connection, MessageType::Read, done, b"A");
    let sent = read(&mut connection, "b");
    drain(&mut connection);
    let waiting = read(&mut connection, "c");
    let (_, token) = connection.submit_watch("d").unwrap();
    assert_eq!(connection.poll_reply(sent, &waker).0, Poll::Pending);
    assert_eq!(connection.poll_reply(waiting, &waker).0, Poll::Pending);
    assert_eq!(connection.poll_watch(token, &waker).0, Poll::Pending);

    let mut bytes = wire::encode(
        Header {
            message_type: MessageType::Read,
            req_id: sent,
            tx_id: 0,
        },
        &[],
    )
    .unwrap();
    bytes[12..].copy_from_slice(&5000u32.to_le_bytes());
    let broken = Broken::Protocol(wire::ProtocolViolation { len: 5000 });
    assert_eq!(connection.receive(&bytes), Err(broken));
    connection.take_woken().into_iter().for_each(Waker::wake);
    assert_eq!(counter.0.load(Ordering::Relaxed), 3);

    assert_eq!(connection.receive(b""), Err(broken));
    assert_eq!(
        poll(&mut connection, done),
        Poll::Ready(Ok(b"A".to_vec())),
        "what was answered is not lost"
    );
    assert_eq!(
        poll(&mut connection, sent),
        Poll::Ready(Err(Error::Broken(broken)))
    );
    assert_eq!(
        poll(&mut connection, waiting),
        Poll::Ready(Err(Error::Broken(broken)))
    );
    assert_eq!(
        poll_watch(&mut connection, token),
        Poll::Ready(Err(Error::Broken(broken)))
    );
    assert_eq!(
        connection.submit(MessageType::Read, 0, &[b"a\0"]),
        Err(Error::Broken(broken))
    );
    assert_eq!(connection.submit_watch("a"), Err(Error::Broken(broken)));
    connection.fail(Broken::Stopped);
    assert_eq!(connection.broken(), Some(broken), "the first cause counts");
    assert_eq!(connection.output(), b"");
}

#[test]
fn round_trips_are_the_longest_chain_of_requests_made_after_answers() {
    let mut connection = Connection::new();
    let [a, b] = ["a", "b"].map(|path| read(&mut connection, path));
    assert_eq!(connection.counters().round_trips, 0, "nothing is answered");
    drain(&mut connection);
    deliver(&mut connection, MessageType::Read, a, b"");
    assert_eq!(connection.counters().round_trips, 1);
    // Made while `b` is under way, after the answer to `a`.
    read(&mut connection, "c");
    let c = drain(&mut connection)[0].header.req_id;
    deliver(&mut connection, MessageType::Read, c, b"");
    assert_eq!(connection.counters().round_trips, 2);
    deliver(&mut connection, MessageType::Read, b, b"");
    assert_eq!(
        connection.counters(),
        Counters {
            requests: 3,
            round_trips: 2,
            ..Counters::default()
        }
    );
}

#[test]
fn the_driver_hears_of_each_submission() {
    let mut connection = Connection::new();
    let counter = Arc::new(Count::default());
    let waker = Waker::from(counter.clone());
    assert!(!connection.poll_news(&waker).0);
    let req_id = read(&mut connection, "a");
    read(&mut connection, "b");
    assert_eq!(connection.take_woken().len(), 1);
    assert!(connection.poll_news(&waker).0);
    assert!(!connection.poll_news(&waker).0);
    drain(&mut connection);
    assert_eq!(connection.poll_reply(req_id, &waker).0, Poll::Pending);
    deliver(&mut connection, MessageType::Read, req_id, b"");
    assert_eq!(
        connection.take_woken().len(),
        1,
        "a reply is no news for the driver"
    );
}
