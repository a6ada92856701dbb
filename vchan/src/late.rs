//! A reader's deadline: what tells a peer that says nothing from one that is gone.

use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::Poll;

use thiserror::Error;

/// Nothing has come from a peer that is still there. It may be paused, hang, have crashed and been kept to look at, or
/// have nothing to say: only who knows how often something should come can tell. The channel is open, and whoever reads
/// again gets what comes later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "nothing has come from the peer in time, though it is still there; read again, or give it up"
)]
pub struct Stale;

/// Why a read with a deadline brought nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LateError<E> {
    /// The deadline came first.
    #[error(transparent)]
    PeerStale(#[from] Stale),
    /// What a read without a deadline says.
    #[error(transparent)]
    Failed(E),
}

/// The output of `future`, unless `deadline` comes first. Of two that are ready at once the future counts.
pub(crate) async fn before<F: Future>(
    future: F,
    deadline: impl Future<Output = ()>,
) -> Option<F::Output> {
    let (mut future, mut deadline) = (pin!(future), pin!(deadline));
    poll_fn(move |context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => deadline.as_mut().poll(context).map(|()| None),
    })
    .await
}
