//! The XenStore client: calls that read like a file system's, over any [`Transport`].
//!
//! ```
//! # use unikernel::xenstore::{Client, Error};
//! async fn who_am_i(client: &Client) -> Result<(Vec<u8>, Vec<u8>), Error> {
//!     // Submitted together, answered in one round trip.
//!     let (domid, name) = (client.read("domid"), client.read("name"));
//!     Ok((domid.await?, name.await?))
//! }
//! ```
//!
//! **A request is submitted when it is made, not when it is first polled**: requests made one after the other and
//! awaited later share a round trip. To drop a [`Request`] gives up its answer, not its effect: a write is still made,
//! a removal still done, while a watch or a transaction that nobody holds any more is ended. (Requests that only
//! ask, and have not begun to be sent, are not sent at all.)
//!
//! Paths that do not start with `/` stand below `/local/domain/<own domid>`. A missing node is
//! `Error::Store(Errno::ENOENT)`; one that may not be read is `EACCES`.

use alloc::{string::String, vec::Vec};
use core::{
    future::{Future, poll_fn},
    ops::Deref,
    pin::Pin,
    task::{Context, Poll, ready},
};

use super::{
    connection::{Counters, Reply, parse_tx_id},
    driver::{Driver, Shared, Transport, with},
    error::{Broken, Errno, Error},
    wire::{self, MessageType, Permission},
};

/// How often [`Client::transaction`] tries before it reports [`Error::Conflict`].
pub const TRANSACTION_TRIES: u32 = 10;

/// A request that was submitted: a future of its answer.
#[must_use = "a request's failure is known only to who awaits it"]
pub struct Request<R> {
    shared: Shared,
    state: Result<u32, Error>,
    /// What `decode` needs beside the reply: the watch's token.
    token: u32,
    decode: Decode<R>,
}

type Decode<R> = fn(&Shared, u32, Vec<u8>) -> Result<R, Error>;

impl<R> Request<R> {
    fn new(shared: &Shared, state: Result<u32, Error>, decode: Decode<R>) -> Self {
        Self {
            shared: shared.clone(),
            state,
            token: 0,
            decode,
        }
    }
}

impl<R> Future for Request<R> {
    type Output = Result<R, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let reply = match self.state {
            Ok(req_id) => poll_reply(&self.shared, req_id, cx),
            Err(error) => Poll::Ready(Err(error)),
        };
        let Poll::Ready(reply) = reply else {
            return Poll::Pending;
        };
        self.state = Err(Error::Taken);
        Poll::Ready(reply.and_then(|payload| (self.decode)(&self.shared, self.token, payload)))
    }
}

impl<R> Drop for Request<R> {
    fn drop(&mut self) {
        if let Ok(req_id) = self.state {
            let _waker = with(&self.shared, |connection| connection.abandon(req_id));
        }
    }
}

fn poll_reply(shared: &Shared, req_id: u32, cx: &mut Context<'_>) -> Poll<Reply> {
    let (reply, _replaced) = with(shared, |connection| {
        connection.poll_reply(req_id, cx.waker())
    });
    reply
}

fn encode_permissions(permissions: &[Permission]) -> Vec<u8> {
    let mut payload = Vec::new();
    for permission in permissions {
        permission.push_to(&mut payload);
    }
    payload
}

fn bytes(_: &Shared, _: u32, payload: Vec<u8>) -> Result<Vec<u8>, Error> {
    Ok(payload)
}

fn nothing(_: &Shared, _: u32, _: Vec<u8>) -> Result<(), Error> {
    Ok(())
}

fn names(_: &Shared, _: u32, payload: Vec<u8>) -> Result<Vec<String>, Error> {
    wire::parse_directory(&payload).ok_or(Error::Reply)
}

fn permissions(_: &Shared, _: u32, payload: Vec<u8>) -> Result<Vec<Permission>, Error> {
    wire::parse_permissions(&payload).ok_or(Error::Reply)
}

/// The calls that a connection and a transaction have in common: a [`Client`] makes them outside of all transactions.
pub struct Calls {
    shared: Shared,
    /// 0 outside of transactions.
    tx_id: u32,
}

impl Calls {
    /// Submits a request whose payload begins with a path.
    fn submit<R>(
        &self,
        message_type: MessageType,
        path: &str,
        rest: &[u8],
        decode: Decode<R>,
    ) -> Request<R> {
        let state = match wire::check_path(path) {
            Ok(()) => {
                let parts = [path.as_bytes(), b"\0", rest];
                with(&self.shared, |connection| {
                    connection.submit(message_type, self.tx_id, &parts)
                })
            }
            Err(error) => Err(error.into()),
        };
        Request::new(&self.shared, state, decode)
    }

    /// The value of a node, bytes as they stand.
    pub fn read(&self, path: &str) -> Request<Vec<u8>> {
        self.submit(MessageType::Read, path, &[], bytes)
    }

    /// Sets the value of a node; the node and its parents are made where missing. The path, a NUL and the value
    /// fit in 4,096 bytes; xenstored's quota (2,048 bytes a node) may allow less.
    pub fn write(&self, path: &str, value: impl AsRef<[u8]>) -> Request<()> {
        self.submit(MessageType::Write, path, value.as_ref(), nothing)
    }

    /// Makes an empty node; one that is there stays as it is.
    pub fn mkdir(&self, path: &str) -> Request<()> {
        self.submit(MessageType::Mkdir, path, &[], nothing)
    }

    /// Removes a node and all below it. `ENOENT` only where its parent is missing as well.
    pub fn rm(&self, path: &str) -> Request<()> {
        self.submit(MessageType::Rm, path, &[], nothing)
    }

    /// The names of a node's children. `E2BIG` where they take more than 4,096 bytes.
    pub fn directory(&self, path: &str) -> Request<Vec<String>> {
        self.submit(MessageType::Directory, path, &[], names)
    }

    /// A node's permissions, the owner's entry first.
    pub fn get_perms(&self, path: &str) -> Request<Vec<Permission>> {
        self.submit(MessageType::GetPerms, path, &[], permissions)
    }

    /// Sets a node's permissions, the owner's entry first.
    pub fn set_perms(&self, path: &str, entries: &[Permission]) -> Request<()> {
        let entries = encode_permissions(entries);
        self.submit(MessageType::SetPerms, path, &entries, nothing)
    }
}

/// A handle on the connection; clones share it.
pub struct Client(Calls);

impl Clone for Client {
    fn clone(&self) -> Self {
        Self::outside(&self.shared)
    }
}

impl Deref for Client {
    type Target = Calls;

    fn deref(&self) -> &Calls {
        &self.0
    }
}

impl Client {
    /// A client and the task that serves it. Requests made before the task runs wait for it.
    pub fn new<T: Transport>(transport: T) -> (Self, Driver<T>) {
        let shared = Shared::default();
        (Self::outside(&shared), Driver::new(transport, shared))
    }

    fn outside(shared: &Shared) -> Self {
        Self(Calls {
            shared: shared.clone(),
            tx_id: 0,
        })
    }

    /// Watches a node and all below it, whether it is there or not. The watch fires once straight away.
    pub fn watch(&self, path: &str) -> Request<Watch> {
        let submitted = wire::check_path(path)
            .map_err(Error::from)
            .and_then(|()| with(&self.shared, |connection| connection.submit_watch(path)));
        let (state, token) = match submitted {
            Ok((req_id, token)) => (Ok(req_id), token),
            Err(error) => (Err(error), 0),
        };
        let decode: Decode<Watch> = |shared, token, _| {
            Ok(Watch {
                shared: shared.clone(),
                token,
            })
        };
        let mut request = Request::new(&self.shared, state, decode);
        request.token = token;
        request
    }

    /// Begins a transaction: what is done within it is seen by nobody until it is committed, and then all at once.
    /// [`Self::transaction`] does the retries; use this to send the commit in the same batch as the last requests.
    pub fn begin(&self) -> Request<Transaction> {
        let state = with(&self.shared, |connection| {
            connection.submit(MessageType::TransactionStart, 0, &[b"\0"])
        });
        Request::new(&self.shared, state, |shared, _, payload| {
            let tx_id = parse_tx_id(&payload).ok_or(Error::Reply)?;
            Ok(Transaction(Calls {
                shared: shared.clone(),
                tx_id,
            }))
        })
    }

    /// Does `body` in a transaction and commits it if it succeeds; a conflict (`EAGAIN`, in `body` or at the end) means
    /// to do it all again, [`TRANSACTION_TRIES`] times at most. Any other failure aborts it. `body` awaits each
    /// request whose failure should prevent the commit.
    pub async fn transaction<R>(
        &self,
        mut body: impl AsyncFnMut(&Transaction) -> Result<R, Error>,
    ) -> Result<R, Error> {
        for _ in 0..TRANSACTION_TRIES {
            let transaction = self.begin().await?;
            let outcome = match body(&transaction).await {
                Ok(result) => transaction.commit().await.map(|()| result),
                Err(error) => Err(error),
            };
            if outcome.as_ref().err() != Some(&Error::Store(Errno::EAGAIN)) {
                return outcome;
            }
        }
        Err(Error::Conflict)
    }

    /// The longest chain of answered requests, each made after the answer to the one before had come: what pipelining could
    /// not hide.
    pub fn round_trips(&self) -> u32 {
        self.counters().round_trips
    }

    /// All that the connection counts.
    pub fn counters(&self) -> Counters {
        self.shared.borrow().counters()
    }

    /// Why the connection is broken, if it is.
    pub fn broken(&self) -> Option<Broken> {
        self.shared.borrow().broken()
    }
}

/// An open transaction; aborted when dropped. Its [`Calls`] are made within it.
#[must_use = "a transaction changes nothing until it is committed"]
pub struct Transaction(Calls);

impl Deref for Transaction {
    type Target = Calls;

    fn deref(&self) -> &Calls {
        &self.0
    }
}

impl Transaction {
    /// Commits. `EAGAIN`: something that it read or wrote was changed by others meanwhile, and nothing of it was done.
    ///
    /// Submitted at once like any request: one that follows requests not yet awaited saves a round trip, but then
    /// commits what succeeded of them even if another failed. Check them, and remove what is half done.
    pub fn commit(mut self) -> Request<()> {
        let tx_id = core::mem::take(&mut self.0.tx_id);
        let state = with(&self.shared, |connection| {
            connection.submit(MessageType::TransactionEnd, tx_id, &[b"T\0"])
        });
        if state == Err(Error::Busy) {
            // The commit was not sent, so that dropping `self` has to abort.
            self.0.tx_id = tx_id;
        }
        Request::new(&self.shared, state, nothing)
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if self.tx_id != 0 {
            with(&self.shared, |connection| {
                connection.submit_forgotten(MessageType::TransactionEnd, self.tx_id, &[b"F\0"]);
            });
        }
    }
}

/// A watch on a node and all below it; ended when dropped.
#[must_use = "a dropped watch reports nothing"]
pub struct Watch {
    shared: Shared,
    token: u32,
}

impl Watch {
    /// Waits until something changed, or may have changed, since the last call; at once the first time. Returns the
    /// path of the last of these changes, relative if the watched path is. Changes merge into one while nobody waits,
    /// so read what you need anew each time rather than trust the path. May be dropped and called again at will.
    pub fn changed(&mut self) -> impl Future<Output = Result<String, Error>> {
        poll_fn(|cx| self.poll_changed(cx))
    }

    fn poll_changed(&mut self, cx: &mut Context<'_>) -> Poll<Result<String, Error>> {
        let (change, _replaced) = with(&self.shared, |connection| {
            connection.poll_watch(self.token, cx.waker())
        });
        change
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _waker = with(&self.shared, |connection| connection.unwatch(self.token));
    }
}

/// A watch from the moment it is asked for.
#[must_use = "a dropped watch reports nothing"]
pub enum Listening {
    /// Not yet confirmed.
    Asked(Request<Watch>),
    /// Set.
    Watching(Watch),
}

impl From<Request<Watch>> for Listening {
    fn from(request: Request<Watch>) -> Self {
        Self::Asked(request)
    }
}

impl Listening {
    /// As [`Watch::changed`]; fails where the watch was refused.
    pub fn changed(&mut self) -> impl Future<Output = Result<(), Error>> {
        poll_fn(|cx| self.poll_changed(cx))
    }

    /// [`changed`](Self::changed), for a future that is written out.
    pub(crate) fn poll_changed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let watch = match self {
            Self::Asked(request) => {
                let watch = ready!(Pin::new(request).poll(cx))?;
                *self = Self::Watching(watch);
                return self.poll_changed(cx);
            }
            Self::Watching(watch) => watch,
        };
        watch.poll_changed(cx).map_ok(drop)
    }
}
