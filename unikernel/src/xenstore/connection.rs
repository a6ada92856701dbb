//! One connection to xenstored, without I/O: requests and arriving bytes go in, bytes to send and replies come out.
//!
//! Order on the wire is the order of submission, and xenstored answers a connection's requests in that order too;
//! replies are matched by `req_id` all the same. A watch event says no more than "look again", so each watch keeps
//! one flag and the last path instead of a queue: whatever the store sends, memory stays bounded.
//!
//! Nothing here wakes or drops a [`Waker`]: either may run an executor's code, and with it a program's, which may
//! call back in. Wakers are handed out instead ([`Connection::take_woken`], return values).

use alloc::{string::String, vec::Vec};
use core::{
    mem,
    task::{Poll, Waker},
};

use super::{
    error::{Broken, Errno, Error},
    wire::{self, Decoder, Header, Message, MessageType},
};

/// The requests that may be unanswered at once: xenstored's default quota for a guest.
pub const OUTSTANDING_MAX: usize = 20;
/// The requests that may wait for their turn; further ones are refused with [`Error::Busy`].
pub const WAITING_MAX: usize = 256;

/// What the connection has counted since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests submitted, those withdrawn unsent included.
    pub requests: u32,
    /// The longest chain of answered requests, each made after the answer to the one before had come.
    pub round_trips: u32,
    /// Replies to no request of ours, dropped.
    pub unknown_replies: u32,
    /// Events for no watch of ours, dropped; the last ones of an ended watch are normal.
    pub stray_events: u32,
}

/// A reply's payload.
pub type Reply = Result<Vec<u8>, Error>;

#[derive(Debug)]
enum Progress {
    /// In line; the bytes to send.
    Waiting(Vec<u8>),
    /// Partly sent: the bytes and how many of them went.
    Sending(Vec<u8>, usize),
    /// Sent, not answered.
    Sent,
    /// Answered, not yet fetched.
    Done(Reply),
}

#[derive(Debug)]
struct Slot {
    req_id: u32,
    message_type: MessageType,
    /// The watch that an `XS_WATCH` sets; 0 for all others.
    token: u32,
    progress: Progress,
    /// Its place in the longest chain of requests that ends with it, counted from 1.
    depth: u32,
    /// Nobody will fetch the reply.
    abandoned: bool,
    waker: Option<Waker>,
}

impl Slot {
    fn is_outstanding(&self) -> bool {
        matches!(self.progress, Progress::Sending(..) | Progress::Sent)
    }

    fn is_waiting(&self) -> bool {
        matches!(self.progress, Progress::Waiting(_))
    }

    /// Whether nothing is lost when it is never sent: it changes nothing that outlives the connection.
    fn is_revocable(&self) -> bool {
        matches!(
            self.message_type,
            MessageType::Directory
                | MessageType::Read
                | MessageType::GetPerms
                | MessageType::Watch
                | MessageType::TransactionStart
        )
    }
}

#[derive(Debug)]
struct WatchSlot {
    token: u32,
    /// `path NUL token NUL`: what both `XS_WATCH` and `XS_UNWATCH` carry.
    payload: Vec<u8>,
    /// Something changed since the watch was last asked.
    fired: bool,
    /// Where, last.
    path: String,
    waker: Option<Waker>,
}

/// The state of a connection.
#[derive(Debug, Default)]
pub struct Connection {
    decoder: Decoder,
    /// In the order of submission.
    slots: Vec<Slot>,
    watches: Vec<WatchSlot>,
    last_req_id: u32,
    last_token: u32,
    broken: Option<Broken>,
    woken: Vec<Waker>,
    /// Submissions since the driver last looked.
    news: bool,
    driver: Option<Waker>,
    counters: Counters,
}

impl Connection {
    /// A connection on which nothing was said yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a request in line and returns its `req_id`. The reply is kept until it is fetched with
    /// [`Self::poll_reply`] or given up with [`Self::abandon`].
    pub fn submit(
        &mut self,
        message_type: MessageType,
        tx_id: u32,
        parts: &[&[u8]],
    ) -> Result<u32, Error> {
        if self.slots.iter().filter(|slot| slot.is_waiting()).count() >= WAITING_MAX {
            return Err(Error::Busy);
        }
        self.enqueue(message_type, tx_id, 0, parts, false)
    }

    /// Like [`Self::submit`] for an `XS_WATCH`; the token is there for events even before the reply.
    /// Returns `req_id` and token.
    pub fn submit_watch(&mut self, path: &str) -> Result<(u32, u32), Error> {
        if self.slots.iter().filter(|slot| slot.is_waiting()).count() >= WAITING_MAX {
            return Err(Error::Busy);
        }
        let token = next_id(self.last_token, |id| {
            self.watches.iter().any(|watch| watch.token == id)
        });
        let mut payload = Vec::with_capacity(path.len() + 12);
        payload.extend_from_slice(path.as_bytes());
        payload.push(0);
        wire::push_decimal(token, &mut payload);
        payload.push(0);
        let req_id = self.enqueue(MessageType::Watch, 0, token, &[&payload], false)?;
        self.last_token = token;
        self.watches.push(WatchSlot {
            token,
            payload,
            fired: false,
            path: String::new(),
            waker: None,
        });
        Ok((req_id, token))
    }

    /// Like [`Self::submit`] for a request whose reply matters to nobody. Never refused for being one too many:
    /// each undoes something that was granted.
    pub fn submit_forgotten(&mut self, message_type: MessageType, tx_id: u32, parts: &[&[u8]]) {
        // Refused only where there is nothing left to undo: on a broken connection.
        let _ = self.enqueue(message_type, tx_id, 0, parts, true);
    }

    fn enqueue(
        &mut self,
        message_type: MessageType,
        tx_id: u32,
        token: u32,
        parts: &[&[u8]],
        abandoned: bool,
    ) -> Result<u32, Error> {
        if let Some(broken) = self.broken {
            return Err(broken.into());
        }
        let req_id = next_id(self.last_req_id, |id| {
            self.slots.iter().any(|slot| slot.req_id == id)
        });
        let bytes = wire::encode(
            Header {
                message_type,
                req_id,
                tx_id,
            },
            parts,
        )?;
        self.last_req_id = req_id;
        let counters = &mut self.counters;
        counters.requests = counters.requests.saturating_add(1);
        let depth = counters.round_trips.saturating_add(1);
        let progress = Progress::Waiting(bytes);
        self.slots.push(Slot {
            req_id,
            message_type,
            token,
            progress,
            depth,
            abandoned,
            waker: None,
        });
        self.ring_driver();
        Ok(req_id)
    }

    /// The reply to `req_id` once it is there, or `waker` kept until it is; with it, the waker that this one replaced.
    pub fn poll_reply(&mut self, req_id: u32, waker: &Waker) -> (Poll<Reply>, Option<Waker>) {
        let mut slots = self.slots.iter_mut().enumerate();
        let Some((index, slot)) = slots.find(|(_, slot)| slot.req_id == req_id && !slot.abandoned)
        else {
            return (Poll::Ready(Err(Error::Taken)), None);
        };
        let Progress::Done(reply) = &mut slot.progress else {
            return (Poll::Pending, keep(&mut slot.waker, waker));
        };
        let reply = mem::replace(reply, Err(Error::Taken));
        (Poll::Ready(reply), self.slots.remove(index).waker)
    }

    /// Gives up a reply. A request not yet begun that only asks is taken out of the line; every other one is sent and
    /// answered, and what it set up (a watch, a transaction) is ended as soon as that is possible.
    /// Returns the waker that waited.
    pub fn abandon(&mut self, req_id: u32) -> Option<Waker> {
        let index = self
            .slots
            .iter()
            .position(|slot| slot.req_id == req_id && !slot.abandoned)?;
        let slot = self.slots.get_mut(index)?;
        slot.abandoned = true;
        let waker = slot.waker.take();
        let revoked = slot.is_waiting() && slot.is_revocable();
        if revoked || matches!(slot.progress, Progress::Done(_)) {
            let slot = self.slots.remove(index);
            match slot.progress {
                Progress::Done(Ok(payload)) => self.undo(slot.message_type, slot.token, &payload),
                _ => self.forget_watch(slot.token),
            }
        }
        waker
    }

    /// Ends what an abandoned request has set up.
    fn undo(&mut self, message_type: MessageType, token: u32, reply: &[u8]) {
        match message_type {
            MessageType::Watch => {
                let waker = self.unwatch(token);
                self.woken.extend(waker);
            }
            MessageType::TransactionStart => {
                if let Some(tx_id) = parse_tx_id(reply) {
                    self.submit_forgotten(MessageType::TransactionEnd, tx_id, &[b"F\0"]);
                }
            }
            _ => {}
        }
    }

    /// Ends a watch; events of it that still arrive are strays. Returns the waker that waited.
    pub fn unwatch(&mut self, token: u32) -> Option<Waker> {
        let watch = self.remove_watch(token)?;
        self.submit_forgotten(MessageType::Unwatch, 0, &[&watch.payload]);
        watch.waker
    }

    /// Removes a watch that xenstored does not have.
    fn forget_watch(&mut self, token: u32) {
        let waker = self.remove_watch(token).and_then(|watch| watch.waker);
        self.woken.extend(waker);
    }

    fn remove_watch(&mut self, token: u32) -> Option<WatchSlot> {
        let index = self.watches.iter().position(|watch| watch.token == token)?;
        Some(self.watches.swap_remove(index))
    }

    /// The last path at which the watch fired since it was last asked, or `waker` kept until it fires; with it, the
    /// waker that this one replaced.
    pub fn poll_watch(
        &mut self,
        token: u32,
        waker: &Waker,
    ) -> (Poll<Result<String, Error>>, Option<Waker>) {
        if let Some(broken) = self.broken {
            return (Poll::Ready(Err(broken.into())), None);
        }
        let Some(watch) = self.watches.iter_mut().find(|watch| watch.token == token) else {
            return (Poll::Ready(Err(Error::Taken)), None);
        };
        if mem::take(&mut watch.fired) {
            return (
                Poll::Ready(Ok(mem::take(&mut watch.path))),
                watch.waker.take(),
            );
        }
        (Poll::Pending, keep(&mut watch.waker, waker))
    }

    /// The bytes to send next: the rest of one message, or nothing while the line is empty, the quota is used up or
    /// the connection is broken.
    pub fn output(&mut self) -> &[u8] {
        let outstanding = self
            .slots
            .iter()
            .filter(|slot| slot.is_outstanding())
            .count();
        // At most one is in `Sending`, and it stands before all that wait.
        let next = self.slots.iter_mut().find(|slot| match slot.progress {
            Progress::Sending(..) => true,
            Progress::Waiting(_) => outstanding < OUTSTANDING_MAX,
            _ => false,
        });
        let Some(slot) = next else {
            return &[];
        };
        if let Progress::Waiting(bytes) = &mut slot.progress {
            slot.progress = Progress::Sending(mem::take(bytes), 0);
        }
        match &slot.progress {
            Progress::Sending(bytes, sent) => bytes.get(*sent..).unwrap_or(&[]),
            _ => &[],
        }
    }

    /// Says that the first `count` bytes of [`Self::output`] were sent.
    pub fn sent(&mut self, count: usize) {
        for slot in &mut self.slots {
            if let Progress::Sending(bytes, sent) = &mut slot.progress {
                *sent = sent.saturating_add(count);
                if *sent >= bytes.len() {
                    slot.progress = Progress::Sent;
                }
                return;
            }
        }
    }

    /// Takes bytes that arrived, in any pieces.
    pub fn receive(&mut self, mut bytes: &[u8]) -> Result<(), Broken> {
        loop {
            if let Some(broken) = self.broken {
                return Err(broken);
            }
            match self.decoder.next(&mut bytes) {
                Ok(None) => return Ok(()),
                Ok(Some(message)) if message.header.message_type == MessageType::WatchEvent => {
                    self.watch_event(&message.payload);
                }
                Ok(Some(message)) => self.reply(message),
                Err(violation) => self.fail(Broken::Protocol(violation)),
            }
        }
    }

    fn reply(&mut self, message: Message) {
        let Header {
            message_type,
            req_id,
            ..
        } = message.header;
        // Only what was sent can be answered.
        let mut slots = self.slots.iter_mut().enumerate();
        let sent = slots
            .find(|(_, slot)| slot.req_id == req_id && matches!(slot.progress, Progress::Sent));
        let Some((index, slot)) = sent else {
            self.counters.unknown_replies = self.counters.unknown_replies.saturating_add(1);
            return;
        };
        self.counters.round_trips = self.counters.round_trips.max(slot.depth);
        let reply = if message_type == slot.message_type {
            Ok(message.payload)
        } else if message_type == MessageType::Error {
            Err(Error::Store(Errno::from_payload(&message.payload)))
        } else {
            Err(Error::Reply)
        };
        let refused_watch = if reply.is_err() { slot.token } else { 0 };
        if slot.abandoned {
            let slot = self.slots.remove(index);
            if let Ok(payload) = reply {
                self.undo(slot.message_type, slot.token, &payload);
            }
        } else {
            self.woken.extend(slot.waker.take());
            slot.progress = Progress::Done(reply);
        }
        self.forget_watch(refused_watch);
    }

    fn watch_event(&mut self, payload: &[u8]) {
        let mut strings = wire::strings(payload);
        let path = strings.next().unwrap_or(&[]);
        let token = strings
            .next()
            .and_then(|token| wire::parse_decimal(token).ok());
        let Some(watch) = self
            .watches
            .iter_mut()
            .find(|watch| Some(watch.token) == token)
        else {
            self.counters.stray_events = self.counters.stray_events.saturating_add(1);
            return;
        };
        watch.fired = true;
        watch.path.clear();
        // A path in no known alphabet still says "look again"; it only cannot say where.
        watch.path.push_str(str::from_utf8(path).unwrap_or(""));
        self.woken.extend(watch.waker.take());
    }

    /// Ends the connection: every request and watch, waiting or to come, fails with this reason. The first one counts.
    pub fn fail(&mut self, broken: Broken) {
        let broken = *self.broken.get_or_insert(broken);
        for slot in &mut self.slots {
            if !matches!(slot.progress, Progress::Done(_)) {
                slot.progress = Progress::Done(Err(broken.into()));
            }
            self.woken.extend(slot.waker.take());
        }
        for watch in &mut self.watches {
            self.woken.extend(watch.waker.take());
        }
        self.ring_driver();
    }

    /// Why the connection is broken, if it is.
    pub fn broken(&self) -> Option<Broken> {
        self.broken
    }

    /// The wakers whose reply or event has come since the last call. Wake them once the connection is not borrowed.
    #[must_use = "a waker dropped unwoken is a task that hangs"]
    pub fn take_woken(&mut self) -> Vec<Waker> {
        mem::take(&mut self.woken)
    }

    /// Whether something was submitted since the last call; if not, `waker` is kept until something is. With it, the
    /// waker that this one replaced.
    pub fn poll_news(&mut self, waker: &Waker) -> (bool, Option<Waker>) {
        if mem::take(&mut self.news) {
            return (true, None);
        }
        (false, keep(&mut self.driver, waker))
    }

    fn ring_driver(&mut self) {
        self.news = true;
        self.woken.extend(self.driver.take());
    }

    /// What was counted so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }
}

/// The transaction id in a reply to `XS_TRANSACTION_START`.
pub(super) fn parse_tx_id(reply: &[u8]) -> Option<u32> {
    let digits = reply.strip_suffix(b"\0").unwrap_or(reply);
    wire::parse_decimal(digits).ok().filter(|tx_id| *tx_id != 0)
}

/// The next id after `last` that is not 0 and not taken.
pub(super) fn next_id(last: u32, taken: impl Fn(u32) -> bool) -> u32 {
    let mut id = last;
    loop {
        id = id.wrapping_add(1);
        if id != 0 && !taken(id) {
            return id;
        }
    }
}

/// Keeps `waker` and returns the one kept before, if it was another.
fn keep(kept: &mut Option<Waker>, waker: &Waker) -> Option<Waker> {
    match kept {
        Some(old) if old.will_wake(waker) => None,
        _ => kept.replace(waker.clone()),
    }
}
