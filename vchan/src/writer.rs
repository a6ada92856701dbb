//! The half that fills a ring: [`Writer`].

use alloc::boxed::Box;
use alloc::sync::Arc;

use embedded_io::{ErrorKind, ErrorType, WriteReady};
use thiserror::Error;

use crate::interface::{NOTIFY_READ, NOTIFY_WRITE};
use crate::lend::Reservation;
use crate::link::{Corrupt, Half, Link, Peer, State, about_the_channel};
use crate::platform::{EventChannel, Rendezvous};
use crate::policy::{Policy, Spin};
use crate::ring::{BadIndex, Producer};

/// Why nothing more can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WriteError {
    /// The peer broke the protocol.
    #[error(transparent)]
    PeerCorrupt(#[from] Corrupt),
    /// The peer is gone without having closed the channel; bytes that it had not read are lost.
    #[error("the peer died without closing the channel; wait for a new one and connect anew")]
    PeerDied,
    /// The peer has closed the channel; bytes that it had not read may be lost.
    #[error("the peer has closed the channel; connect anew to write")]
    PeerClosed,
    /// We have closed the channel ourselves.
    #[error("the channel was closed on this side; connect anew to write")]
    OursClosed,
}

/// Why a message cannot be sent as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SendError {
    /// The ring can never hold it at once.
    #[error(
        "a message of {len} bytes does not fit into a ring of {size}; write it as a stream, or make the ring larger"
    )]
    TooLarge {
        /// The message's length in bytes.
        len: usize,
        /// The ring's size in bytes.
        size: u32,
    },
    /// Nothing more can be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl embedded_io::Error for WriteError {
    fn kind(&self) -> ErrorKind {
        match self {
            WriteError::PeerCorrupt(_) => ErrorKind::InvalidData,
            WriteError::PeerDied => ErrorKind::ConnectionReset,
            WriteError::PeerClosed => ErrorKind::BrokenPipe,
            WriteError::OursClosed => ErrorKind::NotConnected,
        }
    }
}

/// The writing half.
pub struct Writer<R: Rendezvous> {
    link: Arc<Link<R>>,
    half: Half,
    producer: Producer,
    /// The ring's own memory, if it does not lie in the control page. Given back to the link at the end, which releases
    /// it in its turn.
    memory: Option<Box<R::Memory>>,
    policy: Policy,
    spin: Spin,
}

impl<R: Rendezvous> Writer<R> {
    pub(crate) fn new(
        link: Arc<Link<R>>,
        half: Half,
        producer: Producer,
        memory: Option<Box<R::Memory>>,
    ) -> Self {
        Writer {
            link,
            half,
            producer,
            memory,
            policy: Policy::default(),
            spin: Spin::default(),
        }
    }

    /// When what is written is published; from the next call on.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
        self.producer.look_away();
    }

    /// Writes as much of `data` as there is space for, without waiting; 0 when the ring is full. A server may write
    /// before its client has come.
    pub fn try_write(&mut self, data: &[u8]) -> Result<usize, WriteError> {
        let room = self.space(data.len(), 1)?.min(data.len());
        // What is long is shown a quarter of the ring at a time, so that the peer copies out while we copy in.
        let step = self.producer.size() as usize / 4;
        let mut written = 0;
        while written < room {
            let part = &data[written..room.min(written + step)];
            let ring = self.memory.as_deref().unwrap_or(self.link.control());
            self.producer.fill(ring, part);
            match self.accept(part.len()) {
                Err(error) if written == 0 => return Err(error),
                // Once more than nothing is written, the next call says it.
                Err(_) => break,
                Ok(()) => written += part.len(),
            }
        }
        Ok(written)
    }

    /// [`try_write`](Self::try_write) of several pieces as if they were one.
    pub fn try_write_vectored(&mut self, pieces: &[&[u8]]) -> Result<usize, WriteError> {
        self.put(pieces, 1)
    }

    /// Writes at least one byte of `data`, waiting for space. Dropping the future leaves nothing half written.
    pub async fn write(&mut self, data: &[u8]) -> Result<usize, WriteError> {
        let mut asked = None;
        loop {
            let written = self.try_write(data)?;
            if written > 0 || data.is_empty() {
                return Ok(written);
            }
            match asked.take() {
                Some(seen) => self.wait(seen).await?,
                None => asked = self.before_sleep(1)?,
            }
        }
    }

    /// [`write`](Self::write) of several pieces as if they were one.
    pub async fn write_vectored(&mut self, pieces: &[&[u8]]) -> Result<usize, WriteError> {
        let mut asked = None;
        loop {
            let written = self.try_write_vectored(pieces)?;
            if written > 0 || length(pieces) == 0 {
                return Ok(written);
            }
            match asked.take() {
                Some(seen) => self.wait(seen).await?,
                None => asked = self.before_sleep(1)?,
            }
        }
    }

    /// Writes all of `message` or nothing, without waiting. Whether it was written; if not, it did not fit just now. A
    /// message of no bytes is written by doing nothing.
    #[inline]
    pub fn try_send(&mut self, message: &[u8]) -> Result<bool, SendError> {
        // Of many short messages most go so: all of it is known to fit, and it is not time to publish.
        let ring = self.memory.as_deref().unwrap_or(self.link.control());
        if self.link.is_open() && self.producer.fill_ahead(ring, message) {
            self.link.stats().wrote(message.len());
            return Ok(true);
        }
        self.try_send_any(message)
    }

    #[inline(never)]
    fn try_send_any(&mut self, message: &[u8]) -> Result<bool, SendError> {
        let len = message.len();
        self.fits(len)?;
        if self.space(len, len)? < len {
            return Ok(false);
        }
        let ring = self.memory.as_deref().unwrap_or(self.link.control());
        self.producer.fill(ring, message);
        self.accept(len)?;
        self.producer
            .look_ahead(self.policy.due(self.producer.size()));
        Ok(true)
    }

    /// [`try_send`](Self::try_send) of several pieces as one message.
    pub fn try_send_vectored(&mut self, pieces: &[&[u8]]) -> Result<bool, SendError> {
        let len = length(pieces);
        self.fits(len)?;
        Ok(self.put(pieces, len)? == len)
    }

    /// Writes all of `message` at once, waiting until the ring has room for it. Dropping the future leaves nothing
    /// written.
    ///
    /// A peer that waits for more bytes than stand in the ring, while we wait for more room than it has, waits for
    /// ever, and so do we. That cannot be where the peer [`recv`](crate::Reader::recv)s messages as long as they were
    /// sent, or reads a stream; nor where the two lengths add up to no more than the ring holds.
    pub async fn send(&mut self, message: &[u8]) -> Result<(), SendError> {
        let mut asked = None;
        while !self.try_send(message)? {
            match asked.take() {
                Some(seen) => self.wait(seen).await.map_err(WriteError::from)?,
                None => asked = self.before_sleep(message.len())?,
            }
        }
        Ok(())
    }

    /// [`send`](Self::send) of several pieces as one message.
    pub async fn send_vectored(&mut self, pieces: &[&[u8]]) -> Result<(), SendError> {
        let mut asked = None;
        while !self.try_send_vectored(pieces)? {
            match asked.take() {
                Some(seen) => self.wait(seen).await.map_err(WriteError::from)?,
                None => asked = self.before_sleep(length(pieces))?,
            }
        }
        Ok(())
    }

    /// Lends `len` free bytes of the ring, to make a message in place; `None` when there are not as many just now.
    pub fn try_reserve(&mut self, len: usize) -> Result<Option<Reservation<'_, R>>, SendError> {
        self.fits(len)?;
        if self.space(len, len)? < len {
            return Ok(None);
        }
        let span = self.producer.free(len);
        Ok(Some(Reservation::new(self, span)))
    }

    /// Lends `len` free bytes of the ring, waiting until there are as many; see [`send`](Self::send) for what that can
    /// mean. Dropping the future or the reservation changes nothing.
    pub async fn reserve(&mut self, len: usize) -> Result<Reservation<'_, R>, SendError> {
        self.fits(len)?;
        let mut asked = None;
        while self.space(len, len)? < len {
            match asked.take() {
                Some(seen) => self.wait(seen).await.map_err(WriteError::from)?,
                None => asked = self.before_sleep(len)?,
            }
        }
        let span = self.producer.free(len);
        Ok(Reservation::new(self, span))
    }

    /// The first `len` bytes of a reservation are written.
    pub(crate) fn commit(&mut self, len: usize) -> Result<(), WriteError> {
        self.ours()?;
        let len = self.producer.advance(len);
        self.accept(len)
    }

    /// Shows the peer everything that was written, and tells it if it asked. Does nothing when nothing is pending,
    /// which with [`Policy::Eager`] is always.
    #[inline(never)]
    pub fn publish(&mut self) -> Result<(), WriteError> {
        if self.producer.pending() > 0 {
            self.open()?;
            self.show();
        }
        Ok(())
    }

    fn show(&mut self) {
        if self.producer.publish(self.link.control()) {
            self.link.tell(NOTIFY_WRITE);
        }
    }

    /// Copies `pieces` into the ring, as a whole, if there is room for `least` bytes of them.
    #[inline]
    fn put(&mut self, pieces: &[&[u8]], least: usize) -> Result<usize, WriteError> {
        if self.space(length(pieces), least)? < least {
            return Ok(0);
        }
        let ring = self.memory.as_deref().unwrap_or(self.link.control());
        let written = pieces
            .iter()
            .map(|piece| self.producer.fill(ring, piece))
            .sum();
        self.accept(written)?;
        Ok(written)
    }

    /// How much space there is for `len` bytes; says why there are not `least`, if the peer is the reason.
    #[inline]
    fn space(&mut self, len: usize, least: usize) -> Result<usize, WriteError> {
        let space = self.producer.space() as usize;
        // What is known to be free needs no look; a write of nothing tells whether there is a peer.
        if space >= len && len > 0 && self.link.is_open() {
            return Ok(space);
        }
        self.look_for_space(len, least)
    }

    #[inline(never)]
    fn look_for_space(&mut self, len: usize, least: usize) -> Result<usize, WriteError> {
        self.ours()?;
        if (self.producer.space() as usize) < len {
            // The peer can make room only of what it has seen.
            self.publish()?;
            self.refresh()?;
        }
        let space = self.producer.space() as usize;
        if space < least || len == 0 {
            self.open()?;
        }
        Ok(space)
    }

    /// The last `written` bytes are filled. Publishes them if it is time; if that fails, they were never written.
    #[inline]
    fn accept(&mut self, written: usize) -> Result<(), WriteError> {
        let producer = &self.producer;
        // A full ring is never kept from a peer that could empty it.
        if self.policy.is_due(producer.pending(), producer.size()) || producer.space() == 0 {
            self.publish()
                .inspect_err(|_| self.producer.retract(written))?;
        }
        self.link.stats().wrote(written);
        Ok(())
    }

    #[inline]
    fn fits(&self, len: usize) -> Result<(), SendError> {
        let size = self.producer.size();
        if len > size as usize {
            return Err(SendError::TooLarge { len, size });
        }
        Ok(())
    }

    /// Whether our own side allows to write.
    #[inline]
    fn ours(&self) -> Result<(), WriteError> {
        match self.link.state() {
            State::Corrupt(blame) => Err(blame.into()),
            State::Closed => Err(WriteError::OursClosed),
            State::PeerDied => Err(WriteError::PeerDied),
            State::Open => Ok(()),
        }
    }

    /// Whether both sides do.
    fn open(&self) -> Result<(), WriteError> {
        self.ours()?;
        if self.link.peer()? == Peer::Closed {
            return Err(WriteError::PeerClosed);
        }
        Ok(())
    }

    fn refresh(&mut self) -> Result<(), WriteError> {
        self.producer
            .refresh(self.link.control())
            .map_err(|bad: BadIndex| self.link.corrupt(self.half.peer, bad.claimed).into())
    }

    /// There was no room for `len` bytes. Looks a while, and if that does not help asks the peer for an event: the count
    /// from which on to sleep, once one more look has found no room either.
    #[cold]
    fn before_sleep(&mut self, len: usize) -> Result<Option<u64>, WriteError> {
        if self.look_a_while(len)? {
            return Ok(None);
        }
        // As in `Reader`: count, ask, look again, sleep.
        let seen = self.link.events().event_count();
        self.ask();
        Ok(Some(seen))
    }

    fn look_a_while(&mut self, len: usize) -> Result<bool, WriteError> {
        let looks = self.spin.looks(self.link.wake_cost());
        for _ in 0..looks {
            self.link.relax();
            self.refresh()?;
            if self.producer.space() as usize >= len {
                self.spin.paid();
                return Ok(true);
            }
        }
        if looks > 0 {
            self.spin.failed();
        }
        Ok(false)
    }

    /// Waits until the peer has read everything that was written.
    ///
    /// An error says that the peer will not: it is gone, and [`unread`](Self::unread) bytes with it. A caller that
    /// will not wait for a peer that has stopped reading puts its own time limit around this. libxenvchan's reader
    /// can lose what stands in the ring at a close, so a writer that means to close waits here first.
    pub async fn drained(&mut self) -> Result<(), WriteError> {
        loop {
            if self.look_drained()? {
                return Ok(());
            }
            let seen = self.link.events().event_count();
            self.ask();
            if self.look_drained()? {
                return Ok(());
            }
            self.wait(seen).await?;
        }
    }

    /// Whether the ring is empty; an error if it is not and never will be.
    fn look_drained(&mut self) -> Result<bool, WriteError> {
        // First whether the peer is there, then the ring: a peer that reads everything and closes has read everything.
        let open = self.open();
        if let Err(WriteError::PeerCorrupt(_)) = open {
            return open.map(|()| false);
        }
        self.refresh()?;
        if self.producer.unread() == 0 {
            return Ok(true);
        }
        open.map(|()| false)
    }

    /// Bytes that were written and, when we last looked, not yet read by the peer.
    pub fn unread(&self) -> u32 {
        self.producer.unread()
    }

    fn wait(&self, seen: u64) -> impl Future<Output = Result<(), Corrupt>> {
        self.link.wait(seen, (self.half.own, self.producer.index()))
    }

    /// Publishes, and asks the peer for an event once it has read. For callers that wait by means of their own: take
    /// [`event_count`](Self::event_count), ask, try to write again, and only then sleep.
    pub fn ask(&mut self) {
        // What keeps it from being published, the next attempt to write will say.
        let _ = self.publish();
        self.link.ask(NOTIFY_READ);
    }

    /// Publishes, closes the channel for both halves and tells the peer, which can still read what was written. Pages
    /// and port are released when both halves are dropped.
    pub fn close(&mut self) {
        // A peer that is gone already reads nothing; the caller does not want to know any more.
        let _ = self.publish();
        self.link.close();
    }

    /// The memory that holds the ring.
    pub(crate) fn memory(&self) -> &R::Memory {
        self.memory.as_deref().unwrap_or(self.link.control())
    }

    /// The same, if it holds nothing else.
    pub(crate) fn own_memory(&mut self) -> Option<&mut R::Memory> {
        self.memory.as_deref_mut()
    }
}

impl<R: Rendezvous> Drop for Writer<R> {
    fn drop(&mut self) {
        let _ = self.publish();
        self.link.keep(self.memory.take());
    }
}

fn length(pieces: &[&[u8]]) -> usize {
    // The same bytes may be named more than once, so that the sum is not bounded by memory.
    pieces
        .iter()
        .fold(0, |sum, piece| piece.len().saturating_add(sum))
}

impl<R: Rendezvous> ErrorType for Writer<R> {
    type Error = WriteError;
}

impl<R: Rendezvous> embedded_io_async::Write for Writer<R> {
    async fn write(&mut self, buf: &[u8]) -> Result<usize, WriteError> {
        Writer::write(self, buf).await
    }

    /// [`publish`](Writer::publish), without waiting. To wait until all is read, see [`drained`](Writer::drained).
    async fn flush(&mut self) -> Result<(), WriteError> {
        self.publish()
    }
}

impl<R: Rendezvous> WriteReady for Writer<R> {
    /// Whether a write would return at once.
    fn write_ready(&mut self) -> Result<bool, WriteError> {
        Ok(self.space(usize::MAX, 1)? > 0)
    }
}

about_the_channel!(Writer);
