//! Random requests, answers and events: nothing leaks and nothing is mismatched.

use super::connection::{deliver, drain, event, poll, read};
use alloc::{format, vec, vec::Vec};
use core::task::Poll;

use proptest::prelude::*;

use crate::xenstore::{
    connection::*,
    error::{Errno, Error},
    wire::{Decoder, Message, MessageType},
};

#[derive(Clone, Debug)]
enum Step {
    Read,
    Write,
    Watch,
    Begin,
    Abandon(usize),
    Unwatch(usize),
    Send(usize),
    Reply(usize, bool),
    Event(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::Read),
        Just(Step::Write),
        Just(Step::Watch),
        Just(Step::Begin),
        any::<usize>().prop_map(Step::Abandon),
        any::<usize>().prop_map(Step::Unwatch),
        (1usize..60).prop_map(Step::Send),
        any::<(usize, bool)>().prop_map(|(index, ok)| Step::Reply(index, ok)),
        (0u32..6).prop_map(Step::Event),
    ]
}

fn pick<T>(list: &mut Vec<T>, index: usize) -> Option<T> {
    if list.is_empty() {
        return None;
    }
    let index = index % list.len();
    Some(list.remove(index))
}

proptest! {
    /// Whatever is asked, given up and answered in whatever order: each reply goes to its own request, the quota holds,
    /// and once all is given up and answered, the store is left with no watch and no transaction of ours.
    #[test]
    fn nothing_leaks_and_nothing_is_mismatched(steps in proptest::collection::vec(step(), 0..120)) {
        let mut connection = Connection::new();
        let (mut requests, mut held_watches) = (Vec::<(u32, u32)>::new(), Vec::<(u32, u32)>::new());
        let mut decoder = Decoder::new();
        let mut unanswered: Vec<Message> = Vec::new();
        let (mut watches, mut transactions) = (Vec::<Vec<u8>>::new(), Vec::<u32>::new());
        let mut last_tx_id = 0;
        // After the given steps: give all up, then send and answer until nothing is left.
        let end = (0..1000).flat_map(|_| [Step::Abandon(0), Step::Unwatch(0)])
            .chain((0..1000).flat_map(|_| [Step::Send(10_000), Step::Reply(0, true)]));
        for step in steps.into_iter().chain(end) {
            match step {
                Step::Read => requests.push((read(&mut connection, "r"), 0)),
                Step::Write => requests.push((connection.submit(MessageType::Write, 0, &[b"w\0"]).unwrap(), 0)),
                Step::Watch => requests.push(connection.submit_watch("x").unwrap()),
                Step::Begin => {
                    requests.push((connection.submit(MessageType::TransactionStart, 0, &[b"\0"]).unwrap(), 0));
                }
                Step::Abandon(index) => {
                    if let Some((req_id, token)) = pick(&mut requests, index) {
                        if token != 0 && poll(&mut connection, req_id).is_ready() {
                            held_watches.push((req_id, token));
                        } else {
                            connection.abandon(req_id);
                        }
                    }
                }
                Step::Unwatch(index) => {
                    if let Some((_, token)) = pick(&mut held_watches, index) {
                        connection.unwatch(token);
                    }
                }
                Step::Send(count) => {
                    let mut count = count;
                    while count > 0 && !connection.output().is_empty() {
                        let output = connection.output();
                        let piece = output.len().min(count);
                        let mut input = &output[..piece];
                        let message = decoder.next(&mut input).unwrap();
                        unanswered.extend(message);
                        connection.sent(piece);
                        count -= piece;
                    }
                    prop_assert!(unanswered.len() <= OUTSTANDING_MAX);
                }
                Step::Reply(index, ok) => {
                    let Some(Message { header, payload }) = pick(&mut unanswered, index) else { continue };
                    let ok = ok || matches!(header.message_type, MessageType::Unwatch | MessageType::TransactionEnd);
                    let mut answer = header.req_id.to_le_bytes().to_vec();
                    match header.message_type {
                        MessageType::Watch if ok => watches.push(payload),
                        MessageType::Unwatch => {
                            let index = watches.iter().position(|watch| *watch == payload);
                            prop_assert!(index.is_some(), "unwatch of no watch");
                            watches.remove(index.unwrap());
                        }
                        MessageType::TransactionStart if ok => {
                            last_tx_id += 1;
                            transactions.push(last_tx_id);
                            answer = format!("{last_tx_id}\0").into_bytes();
                        }
                        MessageType::TransactionEnd => transactions.retain(|tx_id| *tx_id != header.tx_id),
                        _ => {}
                    }
                    if ok {
                        deliver(&mut connection, header.message_type, header.req_id, &answer);
                    } else {
                        deliver(&mut connection, MessageType::Error, header.req_id, b"EIO\0");
                    }
                    if header.message_type == MessageType::Read && requests.iter().any(|(id, _)| *id == header.req_id) {
                        requests.retain(|(id, _)| *id != header.req_id);
                        let expected = if ok { Ok(answer) } else { Err(Error::Store(Errno::EIO)) };
                        prop_assert_eq!(poll(&mut connection, header.req_id), Poll::Ready(expected));
                    }
                }
                Step::Event(token) => event(&mut connection, "x", token),
            }
        }
        prop_assert_eq!(connection.counters().unknown_replies, 0);
        prop_assert_eq!((watches, transactions, unanswered.len()), (vec![], vec![], 0));
        // Idle: a new request is the next to be sent.
        let last = read(&mut connection, "r");
        prop_assert_eq!(drain(&mut connection).first().map(|message| message.header.req_id), Some(last));
    }
}
