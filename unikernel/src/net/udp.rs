//! UDP datagrams.

use alloc::rc::Rc;
use alloc::vec;
use core::fmt;
use core::future::poll_fn;
use core::task::Poll;

use smoltcp::iface::SocketHandle;
use smoltcp::socket::udp::{self, PacketMetadata, RecvError, SendError};
use smoltcp::wire::IpEndpoint;

use super::stack::Stack;

/// Datagrams that may wait in each direction.
const DATAGRAMS: usize = 16;
/// Their bytes.
const BYTES: usize = 16 << 10;

/// What kept a datagram from being sent, or a port from being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UdpError {
    /// The address or port cannot be used.
    Address,
    /// Longer than what can be sent, or what was given to receive into.
    TooLong,
}

impl fmt::Display for UdpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address => "the address cannot be used",
            Self::TooLong => "the datagram is too long",
        })
    }
}

impl core::error::Error for UdpError {}

/// A port for datagrams.
pub struct UdpSocket {
    stack: Rc<Stack>,
    handle: SocketHandle,
}

impl UdpSocket {
    /// On `port` of every address; 0 for any that is free.
    pub fn bind(stack: &Rc<Stack>, port: u16) -> Result<Self, UdpError> {
        let buffer =
            || udp::PacketBuffer::new(vec![PacketMetadata::EMPTY; DATAGRAMS], vec![0; BYTES]);
        let mut socket = udp::Socket::new(buffer(), buffer());
        let handle = stack.look(|inner| {
            let port = match port {
                0 => inner.ephemeral_port(),
                port => port,
            };
            socket.bind(port).map_err(|_| UdpError::Address)?;
            Ok(inner.sockets.add(socket))
        })?;
        Ok(Self {
            stack: Rc::clone(stack),
            handle,
        })
    }

    /// Sends a datagram, once there is room for it.
    pub async fn send_to(&self, data: &[u8], to: IpEndpoint) -> Result<(), UdpError> {
        let result = poll_fn(|cx| {
            self.stack.look(|inner| {
                let socket = inner.sockets.get_mut::<udp::Socket<'_>>(self.handle);
                match socket.send_slice(data, to) {
                    Ok(()) => Poll::Ready(Ok(())),
                    Err(SendError::Unaddressable) => Poll::Ready(Err(UdpError::Address)),
                    Err(SendError::BufferFull) if data.len() > BYTES => {
                        Poll::Ready(Err(UdpError::TooLong))
                    }
                    Err(SendError::BufferFull) => {
                        socket.register_send_waker(cx.waker());
                        Poll::Pending
                    }
                }
            })
        })
        .await;
        self.stack.kick();
        result
    }

    /// The next datagram; its length and sender.
    pub async fn receive_from(&self, out: &mut [u8]) -> Result<(usize, IpEndpoint), UdpError> {
        poll_fn(|cx| {
            self.stack.look(|inner| {
                let socket = inner.sockets.get_mut::<udp::Socket<'_>>(self.handle);
                match socket.recv_slice(out) {
                    Ok((len, from)) => Poll::Ready(Ok((len, from.endpoint))),
                    Err(RecvError::Truncated) => Poll::Ready(Err(UdpError::TooLong)),
                    Err(RecvError::Exhausted) => {
                        socket.register_recv_waker(cx.waker());
                        Poll::Pending
                    }
                }
            })
        })
        .await
    }
}

impl Drop for UdpSocket {
    fn drop(&mut self) {
        self.stack.look(|inner| inner.sockets.remove(self.handle));
    }
}
