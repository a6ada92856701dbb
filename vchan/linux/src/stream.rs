//! A channel as `std::io` knows streams: blocking, with time limits, or non-blocking.

use core::time::Duration;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use vchan::platform::Rendezvous;
use vchan::{
    AcceptError, ConnectError, ConnectOptions, Endpoint, LateError, OfferError, OfferOptions,
    ReadError, Reader, WriteError, Writer,
};

use crate::port::PollEvents;
use crate::reactor::{block_on, first, sleep_until};

/// How one half waits.
#[derive(Clone, Copy, Debug, Default)]
enum Mode {
    /// As long as it takes.
    #[default]
    Blocking,
    /// So long, then [`ErrorKind::TimedOut`].
    Timeout(Duration),
    /// Not at all: [`ErrorKind::WouldBlock`].
    Nonblocking,
}

impl Mode {
    /// The future's output, or the error of a wait that was too long.
    fn wait<F: Future>(self, future: F) -> io::Result<F::Output> {
        match self {
            Mode::Blocking => Ok(block_on(future)),
            Mode::Timeout(limit) => {
                let future = async { Some(future.await) };
                let late = async {
                    after(limit).await;
                    None
                };
                block_on(first(future, late)).ok_or_else(|| ErrorKind::TimedOut.into())
            }
            Mode::Nonblocking => Err(ErrorKind::WouldBlock.into()),
        }
    }

    fn limit(limit: Option<Duration>) -> Self {
        limit.map_or(Mode::Blocking, Mode::Timeout)
    }
}

/// Ends when `limit` has passed; a limit beyond the end of time never does.
async fn after(limit: Duration) {
    match Instant::now().checked_add(limit) {
        Some(deadline) => sleep_until(deadline).await,
        None => core::future::pending().await,
    }
}

/// One end of a channel, both directions. Dropping it closes the channel.
///
/// ```
/// use std::io::{Read, Write};
/// use std::thread;
/// use vchan_linux::local::{Folder, Meeting};
/// use vchan_linux::{ConnectOptions, OfferOptions, Stream};
///
/// # let place = tempfile::tempdir().unwrap();
/// # let folder = Folder::at(place.path().join("vchan")).unwrap();
/// // `Folder::of_user()` is where the processes of one user meet.
/// let meeting = Meeting::new(&folder, "edge")?;
/// let reading = thread::spawn({
///     let meeting = Meeting::new(&folder, "edge")?;
///     move || {
///         let mut server = Stream::offer(&meeting, OfferOptions::default(), None)?;
///         let mut text = String::new();
///         server.read_to_string(&mut text)?;
///         std::io::Result::Ok(text)
///     }
/// });
/// let mut client = Stream::connect(&meeting, ConnectOptions::default(), None)?;
/// client.write_all(b"21.5 Cel")?;
/// client.drained()?;
/// drop(client);
/// assert_eq!(reading.join().unwrap()?, "21.5 Cel");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Stream<R: Rendezvous> {
    reader: ReadHalf<R>,
    writer: WriteHalf<R>,
}

impl<R: Rendezvous> Stream<R>
where
    R::Error: Send + Sync,
{
    /// Server: makes a channel, publishes it and waits for the client, for `limit` at most.
    pub fn offer(
        rendezvous: &R,
        options: OfferOptions,
        limit: Option<Duration>,
    ) -> io::Result<Self> {
        let offered = async {
            let endpoint = Endpoint::offer(rendezvous, options)
                .await
                .map_err(not_offered)?;
            endpoint.connected().await.map_err(not_accepted)?;
            Ok(Self::from(endpoint))
        };
        Mode::limit(limit).wait(offered)?
    }

    /// Client: waits for a server's offer, for `limit` at most, and joins.
    pub fn connect(
        rendezvous: &R,
        options: ConnectOptions,
        limit: Option<Duration>,
    ) -> io::Result<Self> {
        let joined = async {
            let endpoint = Endpoint::connect(rendezvous, options)
                .await
                .map_err(not_connected)?;
            Ok(Self::from(endpoint))
        };
        Mode::limit(limit).wait(joined)?
    }
}

fn not_offered<E: core::error::Error + Send + Sync>(error: OfferError<E>) -> io::Error {
    io::Error::other(error)
}

fn not_accepted(error: AcceptError) -> io::Error {
    let kind = match error {
        AcceptError::PeerCorrupt(_) => ErrorKind::InvalidData,
        AcceptError::OursClosed => ErrorKind::BrokenPipe,
    };
    io::Error::new(kind, error)
}

fn not_connected<E: core::error::Error + Send + Sync>(error: ConnectError<E>) -> io::Error {
    let kind = match error {
        ConnectError::Bind(_) | ConnectError::MapControl(_) | ConnectError::PeerClosed(_) => {
            ErrorKind::ConnectionRefused
        }
        ConnectError::Used(_) => ErrorKind::AddrInUse,
        ConnectError::PeerLayout(_) | ConnectError::PeerGrants(_) | ConnectError::PeerIndex(_) => {
            ErrorKind::InvalidData
        }
        _ => ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

impl<R: Rendezvous> From<Endpoint<R>> for Stream<R> {
    fn from(endpoint: Endpoint<R>) -> Self {
        let (reader, writer) = endpoint.split();
        Self {
            reader: ReadHalf {
                inner: reader,
                mode: Mode::default(),
            },
            writer: WriteHalf {
                inner: writer,
                mode: Mode::default(),
            },
        }
    }
}

impl<R: Rendezvous> Stream<R> {
    /// The two halves, each for a thread of its own.
    pub fn split(self) -> (ReadHalf<R>, WriteHalf<R>) {
        (self.reader, self.writer)
    }

    /// Both directions return [`ErrorKind::WouldBlock`] instead of waiting, or wait as long as it takes again.
    pub fn set_nonblocking(&mut self, nonblocking: bool) {
        self.reader.set_nonblocking(nonblocking);
        self.writer.set_nonblocking(nonblocking);
    }

    /// See [`ReadHalf::set_timeout`]. The error of a read that has come to its limit holds a [`Stale`](crate::Stale): the peer is
    /// still there, paused perhaps, and may be read again. One that is gone is [`ErrorKind::ConnectionReset`].
    pub fn set_read_timeout(&mut self, limit: Option<Duration>) {
        self.reader.set_timeout(limit);
    }

    /// See [`WriteHalf::set_timeout`].
    pub fn set_write_timeout(&mut self, limit: Option<Duration>) {
        self.writer.set_timeout(limit);
    }

    /// See [`WriteHalf::drained`].
    pub fn drained(&mut self) -> io::Result<()> {
        self.writer.drained()
    }

    /// Closes the channel and tells the peer, which can still read what was written.
    pub fn close(&mut self) {
        self.reader.inner.free();
        self.writer.inner.close();
    }

    /// The reading half, borrowed.
    pub fn reader(&mut self) -> &mut ReadHalf<R> {
        &mut self.reader
    }

    /// The writing half, borrowed.
    pub fn writer(&mut self) -> &mut WriteHalf<R> {
        &mut self.writer
    }
}

/// The reading half as a stream.
pub struct ReadHalf<R: Rendezvous> {
    inner: Reader<R>,
    mode: Mode,
}

/// The writing half as a stream.
pub struct WriteHalf<R: Rendezvous> {
    inner: Writer<R>,
    mode: Mode,
}

/// What both halves do alike.
macro_rules! half {
    ($half:ident, $inner:ident, $what:literal) => {
        impl<R: Rendezvous> $half<R> {
            #[doc = concat!("Each ", $what, " takes so long at most and then fails with [`ErrorKind::TimedOut`], losing nothing; `None`")]
            /// waits as long as it takes.
            pub fn set_timeout(&mut self, limit: Option<Duration>) {
                self.mode = Mode::limit(limit);
            }

            #[doc = concat!("Each ", $what, " that would wait fails with [`ErrorKind::WouldBlock`], after it has asked the peer for an event.")]
            pub fn set_nonblocking(&mut self, nonblocking: bool) {
                self.mode = if nonblocking { Mode::Nonblocking } else { Mode::Blocking };
            }

            /// The half as `vchan` knows it, for its other calls, the async ones among them.
            pub fn inner(&mut self) -> &mut $inner<R> {
                &mut self.inner
            }
        }

        impl<R: Rendezvous> AsFd for $half<R>
        where
            R::Events: AsFd,
        {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.inner.events().as_fd()
            }
        }
    };
}

half!(ReadHalf, Reader, "read");
half!(WriteHalf, Writer, "write");

impl<R: Rendezvous> WriteHalf<R> {
    /// Waits until the peer has read everything that was written, under the same time limit as a write.
    pub fn drained(&mut self) -> io::Result<()> {
        self.mode.wait(self.inner.drained())?.map_err(write_error)
    }
}

impl<R: Rendezvous> Read for ReadHalf<R>
where
    R::Events: PollEvents,
{
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if let Some(read) = self.inner.try_read(out).map_err(read_error)? {
            return Ok(read);
        }
        match self.mode {
            Mode::Blocking => return block_on(self.inner.read(out)).map_err(read_error),
            Mode::Timeout(limit) => {
                let read = self.inner.read_before(out, after(limit));
                return block_on(read).map_err(late_error);
            }
            Mode::Nonblocking => {}
        }
        // What has come is taken before the last look, so that whatever comes after it makes the file readable.
        if self.inner.events().acknowledge() {
            self.inner
                .look_for_peer()
                .map_err(ReadError::from)
                .map_err(read_error)?;
        }
        self.inner.ask();
        let read = self.inner.try_read(out).map_err(read_error)?;
        read.ok_or_else(|| ErrorKind::WouldBlock.into())
    }
}

impl<R: Rendezvous> Write for WriteHalf<R>
where
    R::Events: PollEvents,
{
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let written = self.inner.try_write(data).map_err(write_error)?;
        if written > 0 || data.is_empty() {
            return Ok(written);
        }
        if !matches!(self.mode, Mode::Nonblocking) {
            return self.mode.wait(self.inner.write(data))?.map_err(write_error);
        }
        // As in `read`.
        if self.inner.events().acknowledge() {
            self.inner
                .look_for_peer()
                .map_err(WriteError::from)
                .map_err(write_error)?;
        }
        self.inner.ask();
        match self.inner.try_write(data).map_err(write_error)? {
            0 => Err(ErrorKind::WouldBlock.into()),
            written => Ok(written),
        }
    }

    /// Publishes what a batched writer holds back, without waiting. To wait until all is read, see
    /// [`drained`](Self::drained).
    fn flush(&mut self) -> io::Result<()> {
        self.inner.publish().map_err(write_error)
    }
}

fn read_error(error: ReadError) -> io::Error {
    let kind = match error {
        ReadError::PeerCorrupt(_) => ErrorKind::InvalidData,
        ReadError::PeerDied => ErrorKind::ConnectionReset,
    };
    io::Error::new(kind, error)
}

fn late_error(error: LateError<ReadError>) -> io::Error {
    match error {
        LateError::PeerStale(stale) => io::Error::new(ErrorKind::TimedOut, stale),
        LateError::Failed(error) => read_error(error),
    }
}

fn write_error(error: WriteError) -> io::Error {
    let kind = match error {
        WriteError::PeerCorrupt(_) => ErrorKind::InvalidData,
        WriteError::PeerDied => ErrorKind::ConnectionReset,
        WriteError::PeerClosed | WriteError::OursClosed => ErrorKind::BrokenPipe,
    };
    io::Error::new(kind, error)
}

impl<R: Rendezvous> Read for Stream<R>
where
    R::Events: PollEvents,
{
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.reader.read(out)
    }
}

impl<R: Rendezvous> Write for Stream<R>
where
    R::Events: PollEvents,
{
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.writer.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<R: Rendezvous> AsFd for Stream<R>
where
    R::Events: AsFd,
{
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}
