//! A port between two processes: one end of a socket, on which each packet is an event.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use rustix::event::{PollFlags, epoll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::folder::Place;
use super::pages::Granted;
use super::{Error, kernel};
use crate::port::{News, Source, lock};
use crate::reactor::is_ready;

/// How many packets are taken at once: more only wake us again.
const AT_ONCE: usize = 64;

/// The port of either role. A server's has no socket until a client comes, and none again after that one has left.
pub struct Line {
    /// Readable with the socket, whichever that is, so that one file stands for the port all its life.
    epoll: OwnedFd,
    socket: Mutex<Option<Arc<OwnedFd>>>,
    number: u32,
    /// Client: the server.
    server: Option<Server>,
}

/// What a client keeps of its server.
struct Server {
    /// Its number for its own port.
    port: u32,
    /// The pages that may be mapped as long as the port lives.
    _granted: Arc<[Granted]>,
    /// Where it stood.
    place: Place,
}

/// Ports count from 1 in each process.
static LAST: AtomicU32 = AtomicU32::new(0);

impl Line {
    /// A server's.
    pub(super) fn unbound() -> Result<Self, Error> {
        Self::new(None)
    }

    /// A client's, bound to the server's port `offered` by this socket.
    pub(super) fn bound(
        offered: u32,
        socket: Arc<OwnedFd>,
        granted: Arc<[Granted]>,
        place: Place,
    ) -> Result<Self, Error> {
        let line = Self::new(Some(Server {
            port: offered,
            _granted: granted,
            place,
        }))?;
        line.bind(socket).map_err(kernel("no port"))?;
        Ok(line)
    }

    fn new(server: Option<Server>) -> Result<Self, Error> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC);
        // Relaxed: nothing but the number is asked for. After 2^32 ports they begin anew, without 0.
        let number = LAST.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        Ok(Self {
            epoll: epoll.map_err(kernel("no port"))?,
            socket: Mutex::default(),
            number: number.max(1),
            server,
        })
    }

    /// Client: the server's number for its own port.
    pub(super) fn offered(&self) -> Option<u32> {
        self.server.as_ref().map(|server| server.port)
    }

    /// Binds the port to the process at the other end; `false` if another one is there already.
    pub(super) fn bind(&self, socket: Arc<OwnedFd>) -> io::Result<bool> {
        let mut slot = lock(&self.socket);
        if slot.as_ref().is_some_and(|socket| !has_hung_up(socket)) {
            return Ok(false);
        }
        self.let_go(&mut slot);
        epoll::add(
            &self.epoll,
            &socket,
            epoll::EventData::new_u64(0),
            epoll::EventFlags::IN,
        )?;
        *slot = Some(socket);
        Ok(true)
    }

    /// Unbinds it again.
    pub(super) fn unbind(&self) {
        self.let_go(&mut lock(&self.socket));
    }

    fn let_go(&self, slot: &mut Option<Arc<OwnedFd>>) {
        if let Some(socket) = slot.take() {
            // It is there. And if not, it wakes nobody.
            let _ = epoll::delete(&self.epoll, &socket);
        }
    }
}

fn has_hung_up(socket: &OwnedFd) -> bool {
    is_ready(socket, PollFlags::RDHUP)
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl Source for Line {
    fn number(&self) -> u32 {
        self.number
    }

    fn notify(&self) {
        if let Some(socket) = &*lock(&self.socket) {
            // A full queue holds events enough, and a peer that is gone wants none.
            let _ = send(socket, &[1], SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        }
    }

    fn take(&self) -> News {
        let mut slot = lock(&self.socket);
        let Some(socket) = &*slot else {
            return News::Nothing;
        };
        let mut news = News::Nothing;
        for _ in 0..AT_ONCE {
            // What a packet holds is of no interest, and files that come with it are closed by the kernel.
            match recv(socket, &mut [0; 8], RecvFlags::DONTWAIT) {
                Ok((1.., _)) => news = News::Event,
                Err(Errno::AGAIN) => return news,
                Err(Errno::INTR) => {}
                // The end, an error, or a packet without a byte, which no honest peer sends.
                Ok((0, _)) | Err(_) => {
                    self.let_go(&mut slot);
                    return News::Gone;
                }
            }
        }
        news
    }

    fn peer_bound(&self) -> bool {
        lock(&self.socket)
            .as_ref()
            .is_some_and(|socket| !has_hung_up(socket))
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(server) = &self.server
            && !self.peer_bound()
        {
            // A server that was killed could not take its socket's file away.
            server.place.sweep();
        }
    }
}
