//! TCP connections: `embedded-io-async` over smoltcp's sockets.

use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::Cell;
use core::fmt;
use core::future::poll_fn;
use core::task::{Context, Poll};

use embedded_io_async::{ErrorKind, ErrorType, Read, Write};
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::{self, CongestionControl, RecvError, State};
use smoltcp::time::Duration;
use smoltcp::wire::IpEndpoint;

use super::stack::{Inner, Stack};

/// How a connection is kept.
#[derive(Clone, Copy, Debug)]
pub struct TcpOptions {
    /// Bytes that may wait to be read: the window that the peer sees.
    pub receive_buffer: usize,
    /// Bytes that may wait to be sent or acknowledged.
    pub send_buffer: usize,
    /// How long the peer may be silent before it is asked for a sign of life.
    pub keep_alive: Option<Duration>,
    /// How long the peer may owe an acknowledgement before the connection is given up, be it silent or with its window shut.
    pub timeout: Option<Duration>,
    /// Collect small writes while earlier ones are not acknowledged (Nagle).
    pub nagle: bool,
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self {
            receive_buffer: 64 << 10,
            send_buffer: 64 << 10,
            keep_alive: Some(Duration::from_secs(30)),
            timeout: Some(Duration::from_secs(90)),
            nagle: false,
        }
    }
}

/// How long somebody who begins a connection to us may take to finish its handshake: who never meant it has one of the listener's
/// few sockets until then. A handshake with a segment or two lost on the way takes less.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// How long the acknowledgement of a few bytes waits for an answer to go with (RFC 9293, section 3.8.6.3).
const ACK_DELAY: Duration = Duration::from_millis(10);

/// More bytes than this at once are a bulk transfer: a full segment of Ethernet.
const BULK: usize = 1460;

/// Why a connection could not be made, or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpError {
    /// The address or port cannot be used.
    Address,
    /// Nobody listens there.
    Refused,
    /// The peer broke the connection off, or was silent for too long.
    Reset,
    /// We closed this direction ourselves.
    Closed,
}

impl fmt::Display for TcpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address => "the address cannot be used",
            Self::Refused => "refused, or no answer",
            Self::Reset => "broken off, or silent for too long",
            Self::Closed => "the connection is closed",
        })
    }
}

impl core::error::Error for TcpError {}

impl embedded_io_async::Error for TcpError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Address => ErrorKind::AddrNotAvailable,
            Self::Refused => ErrorKind::ConnectionRefused,
            Self::Reset => ErrorKind::ConnectionReset,
            Self::Closed => ErrorKind::NotConnected,
        }
    }
}

fn socket(options: &TcpOptions) -> tcp::Socket<'static> {
    let buffer = |size: usize| tcp::SocketBuffer::new(vec![0; size.max(1)]);
    let mut socket = tcp::Socket::new(buffer(options.receive_buffer), buffer(options.send_buffer));
    socket.set_keep_alive(options.keep_alive);
    socket.set_timeout(options.timeout);
    socket.set_nagle_enabled(options.nagle);
    socket.set_congestion_control(CongestionControl::Reno);
    socket
}

/// A connection. Both directions take `&self`, so that one task may read while another writes. Dropped, it sends what was
/// written and says goodbye.
pub struct TcpStream {
    stack: Rc<Stack>,
    handle: SocketHandle,
    /// Everything that came has been read: what comes next shows whether it is a bulk transfer.
    drained: Cell<bool>,
}

impl TcpStream {
    /// Connects, once there is an address to do so from.
    pub async fn connect(
        stack: &Rc<Stack>,
        remote: IpEndpoint,
        options: &TcpOptions,
    ) -> Result<Self, TcpError> {
        stack.configured_for(remote.addr).await;
        let socket = socket(options);
        let handle = stack.with(|inner| {
            let handle = inner.connect(socket, remote)?;
            inner.expect_acknowledgements(handle, options.timeout);
            Ok(handle)
        })?;
        let stream = Self {
            stack: Rc::clone(stack),
            handle,
            drained: Cell::new(true),
        };
        stream
            .poll_socket(|socket, cx| match socket.state() {
                State::SynSent | State::SynReceived => {
                    socket.register_send_waker(cx.waker());
                    Poll::Pending
                }
                State::Closed => Poll::Ready(Err(TcpError::Refused)),
                _ => Poll::Ready(Ok(())),
            })
            .await?;
        Ok(stream)
    }

    /// Looks at the socket each time that it may have changed, until `look` is content.
    async fn poll_socket<R>(
        &self,
        mut look: impl FnMut(&mut tcp::Socket<'static>, &mut Context<'_>) -> Poll<R>,
    ) -> R {
        poll_fn(|cx| {
            self.stack
                .look(|inner| look(inner.sockets.get_mut(self.handle), cx))
        })
        .await
    }

    /// Has a bulk transfer acknowledged at once, which is what finds more to read than a segment. smoltcp delays the acknowledgement of
    /// one segment, which may be 64 KiB long where the network card cuts it, and all that the peer may send until then.
    fn pace_acknowledgements(&self, socket: &mut tcp::Socket<'_>) {
        match socket.recv_queue() {
            0 => {}
            1..=BULK if self.drained.get() => socket.set_ack_delay(Some(ACK_DELAY)),
            1..=BULK => {}
            _ => socket.set_ack_delay(None),
        }
        self.drained.set(false);
    }

    /// Reads what is there, waiting for at least a byte; 0 at the end of the stream.
    pub async fn receive(&self, out: &mut [u8]) -> Result<usize, TcpError> {
        if out.is_empty() {
            return Ok(0);
        }
        let result = self
            .poll_socket(|socket, cx| {
                self.pace_acknowledgements(socket);
                match socket.recv_slice(out) {
                    Ok(0) => {
                        self.drained.set(true);
                        socket.register_recv_waker(cx.waker());
                        Poll::Pending
                    }
                    Ok(count) => Poll::Ready(Ok(count)),
                    Err(RecvError::Finished) => Poll::Ready(Ok(0)),
                    Err(RecvError::InvalidState) => Poll::Ready(Err(TcpError::Reset)),
                }
            })
            .await;
        // The window has grown.
        self.stack.kick();
        result
    }

    /// Writes as much as there is room for, waiting for room for at least a byte.
    pub async fn send(&self, data: &[u8]) -> Result<usize, TcpError> {
        if data.is_empty() {
            return Ok(0);
        }
        let result = self
            .poll_socket(|socket, cx| match socket.send_slice(data) {
                Ok(0) => {
                    socket.register_send_waker(cx.waker());
                    Poll::Pending
                }
                Ok(count) => Poll::Ready(Ok(count)),
                Err(_) if socket.state() == State::Closed => Poll::Ready(Err(TcpError::Reset)),
                Err(_) => Poll::Ready(Err(TcpError::Closed)),
            })
            .await;
        self.stack.with(|inner| {
            inner.count_written(self.handle, result.unwrap_or(0));
        });
        result
    }

    /// Waits until the peer has acknowledged all that was written, and our end of the stream after [`Self::shutdown`].
    pub async fn acknowledged(&self) -> Result<(), TcpError> {
        self.poll_socket(|socket, cx| {
            let end_is_open = matches!(
                socket.state(),
                State::FinWait1 | State::Closing | State::LastAck
            );
            if socket.send_queue() == 0 && !end_is_open {
                return Poll::Ready(Ok(()));
            }
            if socket.state() == State::Closed {
                return Poll::Ready(Err(TcpError::Reset));
            }
            socket.register_send_waker(cx.waker());
            Poll::Pending
        })
        .await
    }

    /// Ends our direction, after what was written.
    pub fn shutdown(&self) {
        self.stack.with(|inner| {
            inner
                .sockets
                .get_mut::<tcp::Socket<'_>>(self.handle)
                .close()
        });
    }

    /// Breaks the connection off.
    pub fn abort(&self) {
        self.stack.with(|inner| {
            inner
                .sockets
                .get_mut::<tcp::Socket<'_>>(self.handle)
                .abort()
        });
    }

    /// Who is at the other end; `None` once the connection has ended.
    pub fn remote(&self) -> Option<IpEndpoint> {
        self.stack.look(|inner| {
            inner
                .sockets
                .get::<tcp::Socket<'_>>(self.handle)
                .remote_endpoint()
        })
    }
}

impl Inner {
    fn connect(
        &mut self,
        mut socket: tcp::Socket<'static>,
        remote: IpEndpoint,
    ) -> Result<SocketHandle, TcpError> {
        let port = self.ephemeral_port();
        let interface = self.interface.as_mut().ok_or(TcpError::Address)?;
        socket
            .connect(interface.context(), remote, port)
            .map_err(|_| TcpError::Address)?;
        Ok(self.sockets.add(socket))
    }
}

impl Drop for TcpStream {
    fn drop(&mut self) {
        self.stack.with(|inner| inner.bid_farewell(self.handle));
    }
}

impl ErrorType for TcpStream {
    type Error = TcpError;
}

impl Read for TcpStream {
    async fn read(&mut self, out: &mut [u8]) -> Result<usize, TcpError> {
        self.receive(out).await
    }
}

impl Write for TcpStream {
    async fn write(&mut self, data: &[u8]) -> Result<usize, TcpError> {
        self.send(data).await
    }

    /// Waits until the peer has acknowledged all that was written; it leaves without a flush.
    async fn flush(&mut self) -> Result<(), TcpError> {
        self.acknowledged().await
    }
}

/// Waits for connections on a port, with a socket for each that may come at once.
pub struct TcpListener {
    stack: Rc<Stack>,
    port: u16,
    options: TcpOptions,
    listening: Vec<SocketHandle>,
}

impl TcpListener {
    /// Listens on `port` of every address; `backlog` connections may wait to be accepted.
    pub fn bind(
        stack: &Rc<Stack>,
        port: u16,
        backlog: usize,
        options: TcpOptions,
    ) -> Result<Self, TcpError> {
        let mut listener = Self {
            stack: Rc::clone(stack),
            port,
            options,
            listening: Vec::new(),
        };
        for _ in 0..backlog.max(1) {
            let handle = listener.listen()?;
            listener.listening.push(handle);
        }
        Ok(listener)
    }

    fn listen(&self) -> Result<SocketHandle, TcpError> {
        let mut socket = socket(&self.options);
        socket.set_timeout(Some(HANDSHAKE));
        socket.listen(self.port).map_err(|_| TcpError::Address)?;
        Ok(self.stack.look(|inner| inner.sockets.add(socket)))
    }

    /// The next connection.
    pub async fn accept(&mut self) -> Result<TcpStream, TcpError> {
        let index = poll_fn(|cx| self.poll_accept(cx)).await;
        let next = self.listen()?;
        let handle = core::mem::replace(&mut self.listening[index], next);
        self.stack.with(|inner| {
            let socket = inner.sockets.get_mut::<tcp::Socket<'_>>(handle);
            socket.set_timeout(self.options.timeout);
            inner.expect_acknowledgements(handle, self.options.timeout);
        });
        Ok(TcpStream {
            stack: Rc::clone(&self.stack),
            handle,
            drained: Cell::new(true),
        })
    }

    /// The index of a socket that is connected.
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<usize> {
        self.stack.look(|inner| {
            for (index, handle) in self.listening.iter().enumerate() {
                let socket = inner.sockets.get_mut::<tcp::Socket<'_>>(*handle);
                match socket.state() {
                    State::Listen | State::SynReceived => socket.register_send_waker(cx.waker()),
                    // Broken off before it was accepted: it listens again.
                    State::Closed => {
                        let _ = socket.listen(self.port);
                        socket.register_send_waker(cx.waker());
                    }
                    _ => return Poll::Ready(index),
                }
            }
            Poll::Pending
        })
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        self.stack.with(|inner| {
            for handle in self.listening.drain(..) {
                inner.bid_farewell(handle);
            }
        });
    }
}
