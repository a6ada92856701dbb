//! Edges over the kernel's TCP: what vchan is compared with, and a way where there is no vchan.
//!
//! The reading side listens, as it is the server on vchan; the bytes are the same. What TCP cannot tell: a writer's kernel
//! takes bytes as read once the reader's kernel has them, so that a reader which dies with some in its buffer is told of them
//! by nobody but the next pack's `seq`; and of a host that vanished a writer learns only when the kernel gives up.

use core::pin::pin;
use core::time::Duration;
use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use embedded_io_async::{ErrorType, Read, Write};
use rustix::net::sockopt;
use stage::runner::{self, Events, Net as _, first};
use stage::{Direction, Edge, Plan};
use vchan_linux::{Readable, sleep_until};

use crate::net::{Network, Stream};
use crate::peer::Who;
use crate::place::{Failure, Place};

/// How long a writer waits before it looks again whether its reader listens.
const KNOCK_AGAIN: Duration = Duration::from_millis(20);

/// From when on and how often the kernel asks a silent peer whether it is there, and after how many that stay without an answer
/// it is taken for gone.
const KEEP_ALIVE: (Duration, u32) = (Duration::from_secs(1), 5);

/// `--tcp EDGE=ADDRESS:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The edge's name.
    pub edge: String,
    /// Where its reading side listens.
    pub socket: SocketAddr,
}

/// A place where each edge has an address, at which its reading side listens.
#[derive(Debug)]
pub struct OverTcp {
    meetings: Vec<Meeting>,
}

/// Where one edge meets.
#[derive(Debug)]
struct Meeting {
    address: Address,
    /// The reading side's, once it has been opened.
    door: RefCell<Option<Rc<Door>>>,
}

impl OverTcp {
    /// With an address for each edge of a stage, and none beside.
    pub fn new(addresses: &[Address], plan: &Plan<'_>) -> Result<Self, String> {
        let edges = || plan.inputs.iter().chain(&plan.outputs);
        let has = |address: &Address| edges().any(|edge| edge.name.as_str() == address.edge);
        if let Some(address) = addresses.iter().find(|address| !has(address)) {
            return Err(format!("--tcp: there is no edge \"{}\"", address.edge));
        }
        let place = Self {
            meetings: addresses
                .iter()
                .map(|address| Meeting {
                    address: address.clone(),
                    door: RefCell::default(),
                })
                .collect(),
        };
        edges().try_for_each(|edge| place.meeting(edge).map(drop))?;
        Ok(place)
    }

    fn meeting(&self, edge: &Edge) -> Result<&Meeting, String> {
        let mut meetings = self.meetings.iter();
        let found = meetings.find(|meeting| meeting.address.edge == edge.name.as_str());
        found.ok_or_else(|| format!("add --tcp {}=ADDRESS:PORT, its place", edge.name))
    }
}

impl Place for OverTcp {
    type Link = Line;

    /// Whom it meets is said by the address alone.
    async fn open(&self, edge: &Edge, _: &Who) -> Result<Line, Failure> {
        let Meeting { address, door } = self.meeting(edge).map_err(Failure::Final)?;
        let address = address.socket;
        match edge.direction {
            Direction::In => {
                // It stays open between two writers, so that the next one never finds it shut.
                let door = match &mut *door.borrow_mut() {
                    Some(door) => Rc::clone(door),
                    none => Rc::clone(none.insert(Rc::new(Door::open(address)?))),
                };
                let stream = door.arrival().await.map_err(Failure::passing)?;
                Ok(Line {
                    stream,
                    door: Some(door),
                })
            }
            Direction::Out => {
                let stream = connect(address).await?;
                Ok(Line { stream, door: None })
            }
        }
    }
}

/// Where a reader listens.
#[derive(Debug)]
struct Door {
    listener: Arc<Listener>,
    /// The one that came while another was there.
    next: RefCell<Option<Stream>>,
}

#[derive(Debug)]
struct Listener(TcpListener);

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Door {
    fn open(address: SocketAddr) -> Result<Self, Failure> {
        let listener = TcpListener::bind(address)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
        let listener = listener
            .map_err(|error| Failure::Passing(format!("listening at {address}: {error}")))?;
        Ok(Self {
            listener: Arc::new(Listener(listener)),
            next: RefCell::new(None),
        })
    }

    /// The next writer.
    async fn arrival(&self) -> io::Result<Stream> {
        loop {
            if let Some(stream) = self.next.take() {
                return Ok(stream);
            }
            self.knock().await?;
        }
    }

    /// Waits until a writer has come.
    async fn knock(&self) -> io::Result<()> {
        loop {
            Readable::new(Arc::<Listener>::clone(&self.listener)).await;
            match self.listener.0.accept() {
                Ok((stream, _)) => {
                    tune(&stream)?;
                    self.next.replace(Some(Stream::new(stream)?));
                    return Ok(());
                }
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// What says nothing but that whoever came has gone, or has not come yet.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock
            | ErrorKind::Interrupted
            | ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::TimedOut
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown
            | ErrorKind::AddrNotAvailable
    )
}

/// Connects to a reader, waiting until it listens.
async fn connect(address: SocketAddr) -> Result<Stream, Failure> {
    let failed = |error| Failure::Passing(format!("connecting to {address}: {error}"));
    loop {
        match Network
            .connect(&address.ip().to_string(), address.port())
            .await
        {
            // On one host a port that nobody listens at can be connected with itself.
            Ok(stream) if stream.socket().local_addr().ok() != Some(address) => {
                tune(stream.socket()).map_err(failed)?;
                return Ok(stream);
            }
            Ok(_) => {}
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(failed(error)),
        }
        sleep_until(Instant::now() + KNOCK_AGAIN).await;
    }
}

fn tune(socket: impl AsFd) -> io::Result<()> {
    let (span, count) = KEEP_ALIVE;
    sockopt::set_socket_keepalive(&socket, true)?;
    sockopt::set_tcp_keepidle(&socket, span)?;
    sockopt::set_tcp_keepintvl(&socket, span)?;
    sockopt::set_tcp_keepcnt(&socket, count)?;
    Ok(())
}

/// An open edge over TCP.
#[derive(Debug)]
pub struct Line {
    stream: Stream,
    /// The reading side's.
    door: Option<Rc<Door>>,
}

impl ErrorType for Line {
    type Error = io::Error;
}

impl Read for Line {
    /// A writer that comes takes the place of one that is silent, which may be what is left of a host that is gone.
    async fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let Self { stream, door } = self;
        let Some(door) = door else {
            return stream.read(out).await;
        };
        let next = async {
            while door.knock().await.is_err() {
                sleep_until(Instant::now() + KNOCK_AGAIN).await;
            }
        };
        first(pin!(stream.read(out)), pin!(next))
            .await
            .unwrap_or(Ok(0))
    }
}

impl Write for Line {
    async fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.stream.write(data).await
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.stream.flush().await
    }
}

impl runner::Reader for Line {
    /// They are the kernel's.
    fn events(&self) -> Events {
        Events::default()
    }
}

impl runner::Writer for Line {
    fn events(&self) -> Events {
        Events::default()
    }

    fn unread(&self) -> usize {
        unacknowledged(self.stream.socket())
    }

    /// Nothing can be written after it: the reader, who has read the end, closes.
    async fn drained(&mut self) {
        // An error says that the reader is gone.
        let _ = self.stream.socket().shutdown(Shutdown::Write);
        runner::Writer::gone(self).await;
    }

    async fn gone(&mut self) {
        // A reader says nothing; what is said all the same has no meaning.
        while matches!(self.stream.read(&mut [0; 64]).await, Ok(1..)) {
            runner::yield_now().await;
        }
    }
}

/// Bytes that the reader's kernel has not acknowledged.
fn unacknowledged(socket: impl AsFd) -> usize {
    /// `SIOCOUTQ` of Linux, on every architecture with the generic numbers.
    const OUT_QUEUE: rustix::ioctl::Opcode = 0x5411;
    #[expect(unsafe_code, reason = "rustix names no ioctl for a socket's queue")]
    // SAFETY: this request stores one `int` where its argument points, and does nothing else.
    let count = unsafe {
        let request = rustix::ioctl::Getter::<OUT_QUEUE, core::ffi::c_int>::new();
        rustix::ioctl::ioctl(socket, request)
    };
    // It cannot fail on a TCP socket.
    count
        .ok()
        .and_then(|count| usize::try_from(count).ok())
        .unwrap_or(0)
}
