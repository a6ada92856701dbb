//! A server's offer: a thread that hands the pages to whoever connects.
//!
//! A thread, because a client may join while the server's own is busy with something else: what is published can be taken
//! without the server's help, as on Xen.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::{Errno, write};
use rustix::net::{SocketFlags, accept_with};

use super::folder::{Place, is_ours};
use super::hello::{self, Hello};
use super::line::Line;
use super::pages::Granted;
use super::{Error, PAUSE, kernel};
use crate::port::{Bell, Source};

/// An offer that stands. Dropping it takes it away.
pub struct Door {
    place: Place,
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Door {
    pub(super) fn open(
        place: Place,
        ring_ref: u32,
        events: Arc<Bell<Line>>,
        granted: Vec<Arc<Granted>>,
    ) -> Result<Self, Error> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let stop = Arc::new(eventfd(0, flags).map_err(kernel("no way to end the offer"))?);
        let runs = granted
            .iter()
            .map(|granted| (granted.first(), granted.pages()));
        let keeper = Keeper {
            hello: Hello {
                busy: false,
                ring_ref,
                port: events.source.number(),
                pages: runs.collect(),
            },
            listener: place.listen()?,
            stop: Arc::clone(&stop),
            events,
            granted,
        };
        // From here on the drop of the door takes the socket's file away.
        let mut door = Self {
            place,
            stop,
            thread: None,
        };
        let builder = thread::Builder::new()
            .name("vchan-door".to_owned())
            .stack_size(64 << 10);
        let started = builder.spawn(move || keeper.run());
        door.thread = Some(started.map_err(kernel::<io::Error>("no thread for the offer"))?);
        Ok(door)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.place.remove();
        // One write into an empty counter: there is room.
        let _ = write(&*self.stop, &1u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            // It never waits for anything but the file just written; it has nothing to say that would matter now.
            let _ = thread.join();
        }
    }
}

/// What the thread has.
struct Keeper {
    hello: Hello,
    listener: OwnedFd,
    stop: Arc<OwnedFd>,
    events: Arc<Bell<Line>>,
    granted: Vec<Arc<Granted>>,
}

impl Keeper {
    fn run(&self) {
        loop {
            let mut files = [
                PollFd::new(&self.stop, PollFlags::IN),
                PollFd::new(&self.listener, PollFlags::IN),
            ];
            // An error is a signal, or no memory: look, and sleep again.
            let _ = poll(&mut files, None);
            if !files[0].revents().is_empty() {
                return;
            }
            match accept_with(&self.listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(socket) => self.admit(socket),
                Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => {}
                // No file descriptor left, most likely: the client waits in line until one is.
                Err(_) => {
                    let pause = Timespec::try_from(PAUSE).ok();
                    let _ = poll(&mut files[..1], pause.as_ref());
                }
            }
        }
    }

    fn admit(&self, socket: OwnedFd) {
        let socket = Arc::new(socket);
        if !is_ours(&*socket) {
            return;
        }
        // Bound first: a client that says open has its port bound, or the server would take it for dead.
        if !self
            .events
            .source
            .bind(Arc::clone(&socket))
            .unwrap_or(false)
        {
            let busy = Hello {
                busy: true,
                ..Hello::default()
            };
            // One that has left again is none to turn away.
            let _ = hello::send(&*socket, &busy, &[]);
            return;
        }
        let files: Vec<BorrowedFd<'_>> = self
            .granted
            .iter()
            .map(|granted| granted.file().as_fd())
            .collect();
        if hello::send(&*socket, &self.hello, &files).is_err() {
            self.events.source.unbind();
        }
    }
}
