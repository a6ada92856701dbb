//! The half that empties a ring: [`Reader`].

use alloc::sync::Arc;

use embedded_io::{ErrorKind, ErrorType, ReadReady};
use thiserror::Error;

use crate::interface::{NOTIFY_READ, NOTIFY_WRITE};
use crate::late::{LateError, Stale, before};
use crate::lend::Peek;
use crate::link::{Corrupt, Half, Link, Peer, State, about_the_channel};
use crate::platform::{EventChannel, Rendezvous};
use crate::policy::{Policy, Spin};
use crate::ring::{BadIndex, Consumer};

/// Why nothing more can be read. A peer that closed in good order is no error: a read then returns 0 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    /// The peer broke the protocol.
    #[error(transparent)]
    PeerCorrupt(#[from] Corrupt),
    /// The peer is gone without having closed the channel. All that it had published was read before.
    #[error("the peer died without closing the channel; wait for a new one and connect anew")]
    PeerDied,
}

/// Why a message cannot be received as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RecvError {
    /// The ring can never hold it at once.
    #[error(
        "a message of {len} bytes does not fit into a ring of {size}; read it as a stream, or make the ring larger"
    )]
    TooLarge {
        /// The message's length in bytes.
        len: usize,
        /// The ring's size in bytes.
        size: u32,
    },
    /// The stream has ended within the message. What there is of it can still be read as a stream.
    #[error("the stream ended within a message: {left} of its {len} bytes have come")]
    PeerCutShort {
        /// The message's length in bytes.
        len: usize,
        /// How many bytes there are.
        left: u32,
    },
    /// Nothing more can be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl embedded_io::Error for ReadError {
    fn kind(&self) -> ErrorKind {
        match self {
            ReadError::PeerCorrupt(_) => ErrorKind::InvalidData,
            ReadError::PeerDied => ErrorKind::ConnectionReset,
        }
    }
}

/// What one look at the ring says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    /// There are as many bytes as were wanted.
    Ready,
    /// Not yet.
    Empty,
    /// No, and no more will come.
    End,
}

/// The reading half: bytes that the peer wrote, in order.
pub struct Reader<R: Rendezvous> {
    link: Arc<Link<R>>,
    half: Half,
    consumer: Consumer,
    policy: Policy,
    spin: Spin,
}

impl<R: Rendezvous> Reader<R> {
    pub(crate) fn new(link: Arc<Link<R>>, half: Half, consumer: Consumer) -> Self {
        Reader {
            link,
            half,
            consumer,
            policy: Policy::default(),
            spin: Spin::default(),
        }
    }

    /// When the space of what was read is given back to the peer; from the next call on.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
        self.consumer.look_away();
    }

    /// Reads what is there, without waiting: `None` when the ring is empty and more may come, `Some(0)` at the end of
    /// the stream (and for an empty `out`).
    pub fn try_read(&mut self, out: &mut [u8]) -> Result<Option<usize>, ReadError> {
        if out.is_empty() {
            return Ok(Some(0));
        }
        Ok(match self.look(1, out.len())? {
            Look::Ready => Some(self.take(out)),
            Look::Empty => None,
            Look::End => Some(0),
        })
    }

    /// [`try_read`](Self::try_read) into several pieces as if they were one.
    pub fn try_read_vectored(
        &mut self,
        pieces: &mut [&mut [u8]],
    ) -> Result<Option<usize>, ReadError> {
        let len = length(pieces);
        if len == 0 {
            return Ok(Some(0));
        }
        Ok(match self.look(1, len)? {
            Look::Ready => {
                let ring = self.link.incoming();
                let taken = pieces
                    .iter_mut()
                    .map(|piece| self.consumer.take(ring, piece))
                    .sum();
                self.taken(taken);
                Some(taken)
            }
            Look::Empty => None,
            Look::End => Some(0),
        })
    }

    /// Reads at least one byte, waiting for it, or 0 bytes at the end of the stream. Dropping the future loses no data.
    pub async fn read(&mut self, out: &mut [u8]) -> Result<usize, ReadError> {
        let mut asked = None;
        loop {
            if let Some(read) = self.try_read(out)? {
                return Ok(read);
            }
            match asked.take() {
                Some(seen) => self.wait(seen).await?,
                None => asked = self.before_sleep(1)?,
            }
        }
    }

    /// [`read`](Self::read) that gives up at `deadline`, a future of the platform's clock. [`Stale`](crate::Stale) is a
    /// peer that is still there: one whose port is gone by then is [`ReadError::PeerDied`]. Neither loses data.
    pub async fn read_before(
        &mut self,
        out: &mut [u8],
        deadline: impl Future<Output = ()>,
    ) -> Result<usize, LateError<ReadError>> {
        let read = match before(self.read(out), deadline).await {
            Some(read) => read.map(Some),
            None => self.at_last(|reader| reader.try_read(out)),
        };
        read.map_err(LateError::Failed)?.ok_or(Stale.into())
    }

    /// [`recv`](Self::recv) that gives up at `deadline`, as [`read_before`](Self::read_before) does: also where the rest
    /// of a message never comes.
    pub async fn recv_before(
        &mut self,
        out: &mut [u8],
        deadline: impl Future<Output = ()>,
    ) -> Result<usize, LateError<RecvError>> {
        let received = match before(self.recv(out), deadline).await {
            Some(received) => received.map(Some),
            None => self.at_last(|reader| reader.try_recv(out)),
        };
        received.map_err(LateError::Failed)?.ok_or(Stale.into())
    }

    /// One last try, after what a heartbeat does: with deadlines that are shorter there is none.
    fn at_last<T, E: From<ReadError>>(
        &mut self,
        attempt: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        let own = (self.half.own, self.consumer.index());
        self.link.heartbeat(own).map_err(ReadError::from)?;
        attempt(self)
    }

    /// [`read`](Self::read) into several pieces as if they were one.
    pub async fn read_vectored(&mut self, pieces: &mut [&mut [u8]]) -> Result<usize, ReadError> {
        let mut asked = None;
        loop {
            if let Some(read) = self.try_read_vectored(pieces)? {
                return Ok(read);
            }
            match asked.take() {
                Some(seen) => self.wait(seen).await?,
                None => asked = self.before_sleep(1)?,
            }
        }
    }

    /// Fills all of `out` or reads nothing, without waiting: `None` when the ring does not hold as much and more may
    /// come, `Some(0)` at the end of the stream (and for an empty `out`).
    #[inline]
    pub fn try_recv(&mut self, out: &mut [u8]) -> Result<Option<usize>, RecvError> {
        // Of many short messages most come so: all of it is known to be there, and it is not time to free it.
        let ring = self.link.incoming();
        if self.link.is_open() && self.consumer.take_ahead(ring, out) {
            self.link.stats().read(out.len());
            return Ok(Some(out.len()));
        }
        self.try_recv_any(out)
    }

    #[inline(never)]
    fn try_recv_any(&mut self, out: &mut [u8]) -> Result<Option<usize>, RecvError> {
        if out.is_empty() {
            return Ok(Some(0));
        }
        self.fits(out.len())?;
        match self.look(out.len(), out.len())? {
            Look::Ready => {
                let taken = self.take(out);
                let due = self.policy.due(self.consumer.size());
                self.consumer.look_ahead(due);
                Ok(Some(taken))
            }
            Look::Empty => Ok(None),
            Look::End => match self.consumer.ready() {
                left if left > 0 && self.link.state() != State::Closed => {
                    let len = out.len();
                    Err(RecvError::PeerCutShort { len, left })
                }
                _ => Ok(Some(0)),
            },
        }
    }

    /// Fills all of `out` at once, waiting until the ring holds as much, or reads 0 bytes at the end of the stream.
    /// Dropping the future loses no data. [`Writer::send`](crate::Writer::send) says when two sides can wait for each
    /// other for ever.
    pub async fn recv(&mut self, out: &mut [u8]) -> Result<usize, RecvError> {
        let mut asked = None;
        loop {
            if let Some(received) = self.try_recv(out)? {
                return Ok(received);
            }
            match asked.take() {
                Some(seen) => self.wait(seen).await.map_err(ReadError::from)?,
                None => asked = self.before_sleep(out.len())?,
            }
        }
    }

    /// Lends what is known to stand in the ring, to read it in place: at least `least` bytes, or what there is at the end of the
    /// stream, perhaps nothing. `None` when there are not as many and more may come.
    pub fn try_peek(&mut self, least: usize) -> Result<Option<Peek<'_, R>>, RecvError> {
        self.fits(least)?;
        if self.look(least, least)? == Look::Empty {
            return Ok(None);
        }
        Ok(Some(self.lend()))
    }

    /// [`try_peek`](Self::try_peek) that waits until there are as many bytes. Dropping the future or what is lent
    /// consumes nothing.
    pub async fn peek(&mut self, least: usize) -> Result<Peek<'_, R>, RecvError> {
        self.fits(least)?;
        let mut asked = None;
        while self.look(least, least)? == Look::Empty {
            match asked.take() {
                Some(seen) => self.wait(seen).await.map_err(ReadError::from)?,
                None => asked = self.before_sleep(least)?,
            }
        }
        Ok(self.lend())
    }

    fn lend(&mut self) -> Peek<'_, R> {
        let span = self.consumer.next(usize::MAX);
        Peek::new(self, span)
    }

    /// The first `len` bytes of what was lent are read.
    pub(crate) fn consume(&mut self, len: usize) {
        let len = self.consumer.advance(len);
        self.taken(len);
    }

    /// Gives back to the peer the space of everything that was read, and tells it if it asked. Does nothing when there
    /// is none, which with [`Policy::Eager`] is always.
    #[inline(never)]
    pub fn free(&mut self) {
        if self.consumer.free(self.link.control()) {
            self.link.tell(NOTIFY_READ);
        }
    }

    #[inline]
    fn fits(&self, len: usize) -> Result<(), RecvError> {
        let size = self.consumer.size();
        if len > size as usize {
            return Err(RecvError::TooLarge { len, size });
        }
        Ok(())
    }

    /// Whether there are `least` bytes; looks for `most`. If there are not, nothing is held back from the peer.
    #[inline]
    fn look(&mut self, least: usize, most: usize) -> Result<Look, ReadError> {
        // What is known to be there needs no look.
        if self.consumer.ready() as usize >= most && self.link.is_open() {
            return Ok(Look::Ready);
        }
        self.look_again(least, most)
    }

    #[inline(never)]
    fn look_again(&mut self, least: usize, most: usize) -> Result<Look, ReadError> {
        let died = match self.link.state() {
            State::Corrupt(blame) => return Err(blame.into()),
            State::Closed => return Ok(Look::End),
            State::PeerDied => true,
            State::Open => false,
        };
        if (self.consumer.ready() as usize) < most {
            self.refresh()?;
        }
        if self.consumer.ready() as usize >= least {
            return Ok(Look::Ready);
        }
        self.free();
        if !died && self.link.peer()? != Peer::Closed {
            return Ok(Look::Empty);
        }
        // The peer may have written and closed between our look at the ring and our look at its live byte. Now that
        // it is known to be gone, nothing can follow what this last look finds.
        self.refresh()?;
        match self.consumer.ready() {
            ready if ready as usize >= least => Ok(Look::Ready),
            0 if died => Err(ReadError::PeerDied),
            _ => Ok(Look::End),
        }
    }

    fn refresh(&mut self) -> Result<(), Corrupt> {
        self.consumer
            .refresh(self.link.control())
            .map_err(|bad: BadIndex| self.link.corrupt(self.half.peer, bad.claimed))
    }

    /// Takes what is ready, as much as fits into `out`.
    #[inline]
    fn take(&mut self, out: &mut [u8]) -> usize {
        if out.len() > self.consumer.size() as usize / 4 {
            return self.take_long(out);
        }
        let taken = self.consumer.take(self.link.incoming(), out);
        self.taken(taken);
        taken
    }

    /// Frees what it takes a quarter of the ring at a time, so that the peer copies in while we copy out.
    #[inline(never)]
    fn take_long(&mut self, out: &mut [u8]) -> usize {
        // At least a byte: no ring is that small, which the compiler cannot know.
        let step = (self.consumer.size() as usize / 4).max(1);
        let mut taken = 0;
        for part in out.chunks_mut(step) {
            let some = self.consumer.take(self.link.incoming(), part);
            self.taken(some);
            taken += some;
        }
        taken
    }

    /// The last `taken` bytes are out of the ring. Frees them if it is time.
    #[inline]
    fn taken(&mut self, taken: usize) {
        self.link.stats().read(taken);
        let consumer = &self.consumer;
        // Who knows of nothing more to read may not come back soon.
        if self.policy.is_due(consumer.held(), consumer.size()) || consumer.ready() == 0 {
            self.free();
        }
    }

    /// There were less than `least` bytes. Looks a while, and if that does not help asks the peer for an event: the count
    /// from which on to sleep, once one more look has found as little.
    #[cold]
    fn before_sleep(&mut self, least: usize) -> Result<Option<u64>, ReadError> {
        if self.look_a_while(least)? {
            return Ok(None);
        }
        // The count is taken before we ask, and the ring is looked at again after: an event for bytes that come later
        // than this second look is one that the count has not seen.
        let seen = self.link.events().event_count();
        self.ask();
        Ok(Some(seen))
    }

    fn wait(&self, seen: u64) -> impl Future<Output = Result<(), Corrupt>> {
        self.link.wait(seen, (self.half.own, self.consumer.index()))
    }

    fn look_a_while(&mut self, least: usize) -> Result<bool, ReadError> {
        let looks = self.spin.looks(self.link.wake_cost());
        for _ in 0..looks {
            self.link.relax();
            self.refresh()?;
            if self.consumer.ready() as usize >= least {
                self.spin.paid();
                return Ok(true);
            }
        }
        if looks > 0 {
            self.spin.failed();
        }
        Ok(false)
    }

    /// Frees, and asks the peer for an event once it has written. For callers that wait by means of their own: take
    /// [`event_count`](Self::event_count), ask, try to read again, and only then sleep.
    pub fn ask(&mut self) {
        self.free();
        self.link.ask(NOTIFY_WRITE);
    }

    /// Frees, closes the channel for both halves and tells the peer, which can still read what was published. Pages and
    /// port are released when both halves are dropped. What the other half holds back in batches is lost to the peer:
    /// close by that half, or let it [publish](crate::Writer::publish) before.
    pub fn close(&mut self) {
        if self.link.state() == State::Open {
            self.free();
        }
        self.link.close();
    }

    /// The memory that holds the ring.
    pub(crate) fn memory(&self) -> &R::Memory {
        self.link.incoming()
    }
}

impl<R: Rendezvous> Drop for Reader<R> {
    fn drop(&mut self) {
        if self.link.state() == State::Open {
            self.free();
        }
    }
}

fn length(pieces: &[&mut [u8]]) -> usize {
    pieces.iter().map(|piece| piece.len()).sum()
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
    /// Whether a read would return at once: with bytes, with the end of the stream, or with an error.
    fn read_ready(&mut self) -> Result<bool, ReadError> {
        match self.look(1, 1) {
            Ok(look) => Ok(look != Look::Empty),
            Err(ReadError::PeerDied) => Ok(true),
            Err(error) => Err(error),
        }
    }
}

about_the_channel!(Reader);
