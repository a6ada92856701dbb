//! What several test files use.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use vchan::platform::Rendezvous;
use vchan::{ConnectOptions, Endpoint, OfferOptions};

pub use both::both;

mod both;

/// Polls once.
pub async fn now<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
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
