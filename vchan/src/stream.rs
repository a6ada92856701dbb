//! The two halves of an endpoint as byte streams: [`Reader`] and [`Writer`].
//!
//! Each half may live in a task or thread of its own. The channel closes when both are dropped, or when one of them
//! calls `close`; vchan has no half-close.

use alloc::sync::Arc;

use embedded_io::{ErrorKind, ErrorType, ReadReady, WriteReady};
use thiserror::Error;

use crate::interface::{Layout, NOTIFY_READ, NOTIFY_WRITE, Role};
use crate::link::{Corrupt, Half, Link, Peer, State};
use crate::platform::{EventChannel, Rendezvous};
use crate::ring::{BadIndex, Consumer, Producer};
use crate::stats::Stats;

/// Why nothing more can be read. A peer that closed in good order is no error: a read then returns 0 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    /// The peer broke the protocol.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
    /// The peer is gone without having closed the channel. All that it had published was read before.
    #[error("the peer died without closing the channel; wait for a new one and connect anew")]
    PeerDied,
}

/// Why nothing more can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WriteError {
    /// The peer broke the protocol.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
    /// The peer is gone without having closed the channel; bytes that it had not read are lost.
    #[error("the peer died without closing the channel; wait for a new one and connect anew")]
    PeerDied,
    /// One of the two sides has closed the channel; bytes that the peer had not read may be lost.
    #[error("the channel is closed; connect anew to write")]
    Closed,
}

impl embedded_io::Error for ReadError {
    fn kind(&self) -> ErrorKind {
        match self {
            ReadError::Corrupt(_) => ErrorKind::InvalidData,
            ReadError::PeerDied => ErrorKind::ConnectionReset,
        }
    }
}

impl embedded_io::Error for WriteError {
    fn kind(&self) -> ErrorKind {
        match self {
            WriteError::Corrupt(_) => ErrorKind::InvalidData,
            WriteError::PeerDied => ErrorKind::ConnectionReset,
            WriteError::Closed => ErrorKind::BrokenPipe,
        }
    }
}

/// The reading half: bytes that the peer wrote, in order.
pub struct Reader<R: Rendezvous> {
    link: Arc<Link<R>>,
    half: Half,
    consumer: Consumer,
}

impl<R: Rendezvous> Reader<R> {
    pub(crate) fn new(link: Arc<Link<R>>, half: Half, consumer: Consumer) -> Self {
        Reader {
            link,
            half,
            consumer,
        }
    }

    /// Reads what is there, without waiting: `None` when the ring is empty and more may come, `Some(0)` at the end of
    /// the stream (and for an empty `out`). Frees the space in one step and tells the peer if it asked.
    pub fn try_read(&mut self, out: &mut [u8]) -> Result<Option<usize>, ReadError> {
        if out.is_empty() {
            return Ok(Some(0));
        }
        let died = match self.link.state() {
            State::Corrupt(blame) => return Err(blame.into()),
            State::Closed => return Ok(Some(0)),
            State::PeerDied => true,
            State::Open => false,
        };
        let taken = self.take(out)?;
        if taken > 0 {
            return Ok(Some(taken));
        }
        if !died && self.link.peer()? != Peer::Closed {
            return Ok(None);
        }
        // The peer may have written and closed between our look at the ring and our look at its live byte. Now that
        // it is known to be gone, nothing can follow what this last look finds.
        match self.take(out)? {
            0 if died => Err(ReadError::PeerDied),
            taken => Ok(Some(taken)),
        }
    }

    fn take(&mut self, out: &mut [u8]) -> Result<usize, Corrupt> {
        let ring = self.link.ring_read_by(self.link.role());
        let taken = self
            .consumer
            .read(self.link.control(), ring, out)
            .map_err(|bad| self.link.corrupt(self.half.peer, bad.claimed))?;
        if taken > 0 {
            self.link.stats().read(taken);
            self.link.tell(NOTIFY_READ);
        }
        Ok(taken)
    }

    /// Reads at least one byte, waiting for it, or 0 bytes at the end of the stream. Dropping the future loses no data.
    pub async fn read(&mut self, out: &mut [u8]) -> Result<usize, ReadError> {
        loop {
            if let Some(read) = self.try_read(out)? {
                return Ok(read);
            }
            // The count is taken before we ask, and the ring is looked at again after: an event for bytes that come
            // later than this second look is one that the count has not seen.
            let seen = self.link.events().event_count();
            self.ask();
            if let Some(read) = self.try_read(out)? {
                return Ok(read);
            }
            self.link
                .wait(seen, (self.half.own, self.consumer.index()))
                .await?;
        }
    }

    /// Asks the peer for an event once it has written. For callers that wait by means of their own: take
    /// [`event_count`](Self::event_count), ask, try to read again, and only then sleep.
    pub fn ask(&mut self) {
        self.link.ask(NOTIFY_WRITE);
    }
}

impl<R: Rendezvous> ErrorType for Reader<R> {
    type Error = ReadError;
}

impl<R: Rendezvous> embedded_io_async::Read for Reader<R> {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, ReadError> {
        Reader::read(self, buf).await
    }
}

impl<R: Rendezvous> ReadReady for Reader<R> {
    /// Whether a read would return at once: with bytes, or with the end of the stream.
    fn read_ready(&mut self) -> Result<bool, ReadError> {
        let ended = match self.link.state() {
            State::Corrupt(blame) => return Err(blame.into()),
            State::Closed | State::PeerDied => true,
            State::Open => self.link.peer()? == Peer::Closed,
        };
        self.consumer
            .refresh(self.link.control())
            .map_err(|bad| self.link.corrupt(self.half.peer, bad.claimed))?;
        Ok(ended || self.consumer.ready() > 0)
    }
}

/// The writing half.
pub struct Writer<R: Rendezvous> {
    link: Arc<Link<R>>,
    half: Half,
    producer: Producer,
}

impl<R: Rendezvous> Writer<R> {
    pub(crate) fn new(link: Arc<Link<R>>, half: Half, producer: Producer) -> Self {
        Writer {
            link,
            half,
            producer,
        }
    }

    /// Writes as much of `data` as there is space for, without waiting; 0 when the ring is full. Publishes in one step
    /// and tells the peer if it asked. A server may write before its client has come.
    pub fn try_write(&mut self, data: &[u8]) -> Result<usize, WriteError> {
        self.open()?;
        if data.is_empty() {
            return Ok(0);
        }
        let ring = self.link.ring_read_by(other(self.link.role()));
        let written = self
            .producer
            .write(self.link.control(), ring, data)
            .map_err(|bad| self.blame(bad))?;
        if written > 0 {
            self.link.stats().wrote(written);
            self.link.tell(NOTIFY_WRITE);
        }
        Ok(written)
    }

    fn open(&self) -> Result<(), WriteError> {
        match self.link.state() {
            State::Corrupt(blame) => Err(blame.into()),
            State::Closed => Err(WriteError::Closed),
            State::PeerDied => Err(WriteError::PeerDied),
            State::Open if self.link.peer()? == Peer::Closed => Err(WriteError::Closed),
            State::Open => Ok(()),
        }
    }

    fn blame(&self, bad: BadIndex) -> WriteError {
        WriteError::Corrupt(self.link.corrupt(self.half.peer, bad.claimed))
    }

    /// Writes at least one byte of `data`, waiting for space; all that it returns for is published. Dropping the
    /// future leaves nothing half written.
    pub async fn write(&mut self, data: &[u8]) -> Result<usize, WriteError> {
        loop {
            let written = self.try_write(data)?;
            if written > 0 || data.is_empty() {
                return Ok(written);
            }
            // As in `Reader::read`: count, ask, look again, sleep.
            let seen = self.link.events().event_count();
            self.ask();
            let written = self.try_write(data)?;
            if written > 0 {
                return Ok(written);
            }
            self.wait(seen).await?;
        }
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
        if let Err(WriteError::Corrupt(_)) = open {
            return open.map(|()| false);
        }
        self.producer
            .refresh(self.link.control())
            .map_err(|bad| self.blame(bad))?;
        if self.producer.in_flight() == 0 {
            return Ok(true);
        }
        open.map(|()| false)
    }

    /// Bytes that were written and, when we last looked, not yet read by the peer.
    pub fn unread(&self) -> u32 {
        self.producer.in_flight()
    }

    fn wait(&self, seen: u64) -> impl Future<Output = Result<(), Corrupt>> {
        self.link.wait(seen, (self.half.own, self.producer.index()))
    }

    /// Asks the peer for an event once it has read. For callers that wait by means of their own: take
    /// [`event_count`](Self::event_count), ask, try to write again, and only then sleep.
    pub fn ask(&mut self) {
        self.link.ask(NOTIFY_READ);
    }
}

impl<R: Rendezvous> ErrorType for Writer<R> {
    type Error = WriteError;
}

impl<R: Rendezvous> embedded_io_async::Write for Writer<R> {
    async fn write(&mut self, buf: &[u8]) -> Result<usize, WriteError> {
        Writer::write(self, buf).await
    }

    /// Returns at once: a write returns when its bytes are published. To wait until they are read, see
    /// [`drained`](Writer::drained).
    async fn flush(&mut self) -> Result<(), WriteError> {
        Ok(())
    }
}

impl<R: Rendezvous> WriteReady for Writer<R> {
    /// Whether a write would return at once.
    fn write_ready(&mut self) -> Result<bool, WriteError> {
        self.open()?;
        self.producer
            .refresh(self.link.control())
            .map_err(|bad| self.blame(bad))?;
        Ok(self.producer.space() > 0)
    }
}

fn other(role: Role) -> Role {
    match role {
        Role::Server => Role::Client,
        Role::Client => Role::Server,
    }
}

/// What both halves answer alike.
macro_rules! about_the_channel {
    ($half:ident) => {
        impl<R: Rendezvous> $half<R> {
            /// Which end of the channel this is.
            pub fn role(&self) -> Role {
                self.link.role()
            }

            /// The orders of the two rings.
            pub fn layout(&self) -> Layout {
                self.link.layout()
            }

            /// Whether the peer is there: it has connected, has not closed, and its port is bound. Asks the platform,
            /// which on Xen costs a hypercall.
            pub fn is_connected(&self) -> bool {
                self.link.is_connected()
            }

            /// Finds out, as a wait does at every heartbeat, whether the peer died without closing; reads and writes
            /// say so from then on. For callers that wait by means of their own; costs what
            /// [`is_connected`](Self::is_connected) costs.
            pub fn look_for_peer(&self) -> Result<(), Corrupt> {
                self.link.look_for_peer()
            }

            /// Closes the channel for both halves and tells the peer, which can still read what was written. Pages and
            /// port are released when both halves are dropped.
            pub fn close(&self) {
                self.link.close();
            }

            /// The platform's event channel, for callers that wait by means of their own.
            pub fn events(&self) -> &R::Events {
                self.link.events()
            }

            /// Events seen so far on the port that both halves share.
            pub fn event_count(&self) -> u64 {
                self.link.events().event_count()
            }

            /// The endpoint's counters; the handle outlives the channel.
            pub fn stats(&self) -> Arc<Stats> {
                Arc::clone(self.link.stats())
            }
        }
    };
}

about_the_channel!(Reader);
about_the_channel!(Writer);
