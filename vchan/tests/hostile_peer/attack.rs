//! One call, and how often it may load each field.

use std::future::Future;
use std::pin::pin;

use vchan::in_process::block_on;
use vchan::interface::*;
use vchan::{Endpoint, Policy, ReadError, RecvError, SendError, WriteError};

use crate::platform::{Hostile, Meeting};
use vchan::conformance::now;

/// Polls so many times, or until it is done.
fn polled<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    block_on(async {
        for _ in 0..polls {
            if let Some(output) = now(future.as_mut()).await {
                return Some(output);
            }
        }
        None
    })
}

#[derive(Clone, Copy, Debug)]
pub enum Op {
    TryRead(usize),
    TryWrite(usize),
    Read(usize),
    Write(usize),
    Drained,
    Look,
    TrySend(usize),
    TryRecv(usize),
    Send(usize),
    Recv(usize),
    Reserve(usize, usize),
    Peek(usize, usize),
    Publish,
    Batch(bool),
}

/// Whether an error blames the peer.
trait Blames {
    fn blames(&self) -> bool;
}

impl Blames for ReadError {
    fn blames(&self) -> bool {
        matches!(self, ReadError::PeerCorrupt(_))
    }
}

impl Blames for WriteError {
    fn blames(&self) -> bool {
        matches!(self, WriteError::PeerCorrupt(_))
    }
}

impl Blames for SendError {
    fn blames(&self) -> bool {
        matches!(self, SendError::Write(error) if error.blames())
    }
}

impl Blames for RecvError {
    fn blames(&self) -> bool {
        matches!(self, RecvError::Read(error) if error.blames())
    }
}

/// What came of one operation: how many bytes it moved, if any.
fn outcome<E: Blames>(result: Option<Result<usize, E>>, broken: &mut bool) -> usize {
    match result {
        Some(Ok(moved)) => moved,
        Some(Err(error)) => {
            *broken |= error.blames();
            0
        }
        None => 0,
    }
}

/// Runs one operation, polled so often if it waits, and checks how often each field was loaded: once per decision.
pub fn attack(
    end: &mut Endpoint<Meeting>,
    op: Op,
    polls: usize,
    peer: &Hostile,
    broken: &mut bool,
) {
    let mut buffer = vec![0; 1 << 15];
    peer.take_loads();
    // One look at the ring: its index, the live byte where there is not enough, and the index again where that says
    // that no more will come. A waiting call that is polled once looks before and after it asked, and when it moves.
    let mut looks = 1;
    // Showing what is held back, on the way or at the end.
    let mut tells = 2;
    let (moved, most) = match op {
        Op::TryRead(len) => (
            outcome(end.try_read(&mut buffer[..len]).transpose(), broken),
            len,
        ),
        Op::TryWrite(len) => (outcome(Some(end.try_write(&buffer[..len])), broken), len),
        Op::Read(len) => {
            looks = 3;
            let read = polled(end.reader().read(&mut buffer[..len]), polls);
            (outcome(read, broken), len)
        }
        Op::Write(len) => {
            looks = 3;
            let written = polled(end.writer().write(&buffer[..len]), polls);
            (outcome(written, broken), len)
        }
        Op::TrySend(len) => {
            let sent = end.writer().try_send(&buffer[..len]);
            (
                outcome(Some(sent.map(|sent| usize::from(sent) * len)), broken),
                len,
            )
        }
        Op::TryRecv(len) => {
            let received = end.reader().try_recv(&mut buffer[..len]);
            (outcome(received.transpose(), broken), len)
        }
        Op::Send(len) => {
            looks = 3;
            let sent = polled(end.writer().send(&buffer[..len]), polls);
            (outcome(sent.map(|sent| sent.map(|()| len)), broken), len)
        }
        Op::Recv(len) => {
            looks = 3;
            let received = polled(end.reader().recv(&mut buffer[..len]), polls);
            (outcome(received, broken), len)
        }
        Op::Reserve(len, kept) => {
            looks = 2;
            let made = match end.writer().try_reserve(len) {
                Ok(Some(mut reserved)) => {
                    reserved.slice().copy_from(0, &buffer[..len]);
                    reserved
                        .commit(kept)
                        .map(|()| kept.min(len))
                        .map_err(SendError::from)
                }
                Ok(None) => Ok(0),
                Err(error) => Err(error),
            };
            (outcome(Some(made), broken), len)
        }
        Op::Peek(least, kept) => {
            let seen = match end.reader().try_peek(least) {
                Ok(Some(lent)) => {
                    let slice = lent.slice();
                    let len = slice.len();
                    slice.copy_to(0, &mut buffer[..len]);
                    for at in 0..len.min(4) {
                        slice.load_u8(at);
                    }
                    lent.consume(kept);
                    Ok(len.min(kept))
                }
                Ok(None) => Ok(0),
                Err(error) => Err(error),
            };
            (
                outcome(Some(seen), broken),
                end.layout().left_size().max(end.layout().right_size()) as usize,
            )
        }
        Op::Publish => {
            end.reader().free();
            (outcome(Some(end.writer().publish().map(|()| 0)), broken), 0)
        }
        Op::Batch(batched) => {
            end.set_policy(if batched {
                Policy::Batched
            } else {
                Policy::Eager
            });
            (0, 0)
        }
        Op::Drained => {
            looks = 2;
            let drained = polled(end.drained(), polls).map(|drained| drained.map(|()| 0));
            (outcome(drained, broken), 0)
        }
        Op::Look => {
            looks = 2;
            *broken |= end.reader().look_for_peer().is_err();
            (0, 0)
        }
    };
    assert!(moved <= most, "{op:?} moved {moved}");
    // What is long moves a quarter of the ring at a time, of which there are four, besides what was held back.
    if !matches!(op, Op::TrySend(_) | Op::Send(_)) && most > 1 {
        tells = 6;
    }
    for (field, count) in peer.take_loads() {
        let allowed = match field {
            LEFT_PROD | LEFT_CONS | RIGHT_PROD | RIGHT_CONS => {
                2 * looks + peer.wake_cost.get() as usize
            }
            CLI_LIVE | SRV_LIVE => looks + tells,
            // The look at the peer's request and the atomic that takes it; our own request once.
            CLI_NOTIFY | SRV_NOTIFY => 2 * tells,
            _ => 0,
        };
        let allowed = allowed * polls;
        assert!(
            count <= allowed,
            "{op:?}: field {field} loaded {count} times, {allowed} allowed"
        );
    }
}
