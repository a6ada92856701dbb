//! What checks and tests are made of.

use alloc::vec;
use alloc::vec::Vec;
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::Poll;

use crate::platform::Rendezvous;
use crate::{ConnectOptions, Endpoint, OfferOptions, Reader, Writer};

/// Runs two futures until both are done.
pub async fn both<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut done_a, mut done_b) = (None, None);
    poll_fn(move |context| {
        if done_a.is_none()
            && let Poll::Ready(output) = a.as_mut().poll(context)
        {
            done_a = Some(output);
        }
        if done_b.is_none()
            && let Poll::Ready(output) = b.as_mut().poll(context)
        {
            done_b = Some(output);
        }
        match (done_a.take(), done_b.take()) {
            (Some(a), Some(b)) => Poll::Ready((a, b)),
            (a, b) => {
                (done_a, done_b) = (a, b);
                Poll::Pending
            }
        }
    })
    .await
}

/// Polls once.
pub async fn now<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Waits for one turn of whoever runs this task: what is seen only between tasks, such as an event, is seen then.
pub async fn let_others_run() {
    let mut waited = false;
    poll_fn(|context| {
        if core::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Bytes in which a shift, a swap or a repetition shows.
pub fn pattern(from: usize, len: usize) -> Vec<u8> {
    (from..from + len)
        .map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8)
        .collect()
}

/// A connected pair.
pub async fn pair<R: Rendezvous>(
    server: &R,
    client: &R,
    options: OfferOptions,
) -> (Endpoint<R>, Endpoint<R>) {
    let offered = Endpoint::offer(server, options).await.unwrap();
    let (accepted, joined) = both(
        offered.connected(),
        Endpoint::connect(client, ConnectOptions::default()),
    )
    .await;
    accepted.unwrap();
    (offered, joined.unwrap_or_else(|error| panic!("{error}")))
}

pub async fn write_all<R: Rendezvous>(writer: &mut Writer<R>, mut data: &[u8]) {
    while !data.is_empty() {
        let written = writer.write(data).await.unwrap();
        assert!(written > 0);
        data = &data[written..];
    }
}

pub async fn read_exactly<R: Rendezvous>(reader: &mut Reader<R>, len: usize) -> Vec<u8> {
    let mut data = vec![0; len];
    let mut got = 0;
    while got < len {
        let read = reader.read(&mut data[got..]).await.unwrap();
        assert!(read > 0, "the stream ended after {got} of {len} bytes");
        got += read;
    }
    data
}
