//! The platform between processes of one host, without Xen.
//!
//! ```text
//! server                                              client
//! memfds: control page, rings ─── SCM_RIGHTS ───────▶ mapped, after a look at their seals
//! a socket in a folder of mode 700 ◀── connect ────── the two ports are bound
//!              ◀── events, one packet each; the end of the socket is the peer's death ──▶
//! ```
//!
//! A memfd is sealed against shrinking, so that no peer can take a page away from under a mapping. Events go over the
//! socket and not over an eventfd: the flags of an eventfd are shared by all who hold it, and a peer that takes `O_NONBLOCK`
//! away could stop us for good. A socket's two ends are two files, and the kernel closes that of a dead process.

use core::fmt;
use core::time::Duration;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use rustix::io::Errno;
use thiserror::Error;
use vchan::interface::PAGE_SIZE;
use vchan::platform::{Access, Keys, Rendezvous};

pub use door::Door;
pub use folder::{Folder, FolderError, NameError};
pub use hello::BadHello;
pub use line::Line;
pub use pages::BadPages;

use crate::port::{Bell, Port, lock};
use crate::reactor::{Readable, sleep_until};
use folder::Place;
use hello::Hello;
use pages::Granted;

mod door;
mod folder;
mod hello;
mod line;
mod pages;

/// How long to wait before a server that hung up without a word is asked again.
const PAUSE: Duration = Duration::from_millis(50);

/// Shared pages of either role; `None` on the client's side.
pub type Memory = crate::Memory<Option<Arc<Granted>>>;

/// Why the platform could not do what was asked.
#[derive(Debug, Error)]
pub enum Error {
    /// A call of the kernel failed.
    #[error("{what}: {error}")]
    Kernel {
        /// What was wanted.
        what: &'static str,
        /// The kernel's answer.
        #[source]
        error: io::Error,
    },
    /// A server offers by this name already.
    #[error("another server offers {0} already; stop it, or take another name")]
    Offered(String),
    /// The server has a client already.
    #[error("the server of {0} has a client already; wait until that one has left")]
    Busy(String),
    /// Another user's process answers, or nothing that could be a server.
    #[error("what stands in the place of {0} is not a server of this user; remove it")]
    NotOurs(String),
    /// The server said what no server says.
    #[error("the server of {name} broke the protocol: {error}")]
    Hello {
        /// The name of the meeting.
        name: String,
        /// What is wrong.
        #[source]
        error: BadHello,
    },
    /// The server's pages are not to be trusted.
    #[error("the server's pages: {0}")]
    Pages(#[from] BadPages),
    /// The port is not the one that the server has just offered.
    #[error("port {0} is not the one that was offered")]
    Port(u32),
}

/// A wish for [`Error::Kernel`].
fn kernel<E: Into<io::Error>>(what: &'static str) -> impl Fn(E) -> Error {
    move |error| Error::Kernel {
        what,
        error: error.into(),
    }
}

/// Where one server and one client of this host meet.
pub struct Meeting {
    place: Place,
    /// As server: the offer that is being made.
    offer: Mutex<Offer>,
    /// As client: the port that the server has just offered, until it is bound.
    arrived: Mutex<Option<Line>>,
    /// As client: what may be mapped, as long as the port lives.
    granted: Mutex<Weak<[Granted]>>,
}

#[derive(Default)]
struct Offer {
    events: Weak<Bell<Line>>,
    granted: Vec<Weak<Granted>>,
    /// The last reference that was given; they count from 1 in each offer.
    last: u32,
}

impl fmt::Debug for Meeting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Meeting").field(&self.place).finish()
    }
}

impl Meeting {
    /// The meeting called `name` in this folder: 1 to 64 of `A-Z a-z 0-9 . _ -`, the first one no dot.
    pub fn new(folder: &Folder, name: &str) -> Result<Self, NameError> {
        Ok(Self {
            place: folder.place(name)?,
            offer: Mutex::default(),
            arrived: Mutex::default(),
            granted: Mutex::new(Weak::<[Granted; 0]>::new()),
        })
    }

    /// What a server sends to whoever connects; `None` while there is no server.
    async fn arrive(&self) -> Result<Option<(Hello, Vec<OwnedFd>, Arc<OwnedFd>)>, Error> {
        let name = || self.place.name().to_owned();
        loop {
            let Some(socket) = self.place.connect()? else {
                return Ok(None);
            };
            let socket = Arc::new(socket);
            Readable::new(Arc::<OwnedFd>::clone(&socket)).await;
            match hello::receive(&*socket) {
                Ok(Some((hello, _))) if hello.busy => return Err(Error::Busy(name())),
                Ok(Some((hello, files))) => return Ok(Some((hello, files, socket))),
                // It is gone, or going.
                Ok(None) => sleep_until(Instant::now() + PAUSE).await,
                Err(error) => {
                    return Err(Error::Hello {
                        name: name(),
                        error,
                    });
                }
            }
        }
    }
}

impl Rendezvous for Meeting {
    type Memory = Memory;
    type Events = Port<Line>;
    type Published = Door;
    type Value = String;
    type Error = Error;

    fn alloc_unbound(&self) -> Result<Port<Line>, Error> {
        let port = Port::new(Line::unbound()?);
        *lock(&self.offer) = Offer {
            events: Arc::downgrade(&port.0),
            ..Offer::default()
        };
        Ok(port)
    }

    fn share_control(&self, _: &Port<Line>) -> Result<Memory, Error> {
        self.share_ring(1, Access::ReadWrite)
    }

    fn share_ring(&self, pages: usize, peer: Access) -> Result<Memory, Error> {
        let mut offer = lock(&self.offer);
        let granted = Arc::new(Granted::new(offer.last + 1, pages)?);
        offer.last = granted.last();
        offer.granted.push(Arc::downgrade(&granted));
        let memory = granted.map(0, pages, Access::ReadWrite, Some(Arc::clone(&granted)))?;
        granted.seal(peer)?;
        Ok(memory.written_by_us_alone(peer == Access::ReadOnly))
    }

    fn grant_ref(&self, memory: &Memory, page: usize) -> u32 {
        let first = memory.grants.as_ref().map_or(0, |granted| granted.first());
        first + page as u32
    }

    async fn publish(&self, ring_ref: u32, port: u32) -> Result<Door, Error> {
        let offer = lock(&self.offer);
        let granted: Vec<_> = offer.granted.iter().filter_map(Weak::upgrade).collect();
        let events = offer.events.upgrade().ok_or(Error::Port(port))?;
        Door::open(self.place.clone(), ring_ref, events, granted)
    }

    async fn keys(&self) -> Result<Keys<String>, Error> {
        // The watch comes first, so that no change falls between the look and the watch.
        let watch = self.place.watch()?;
        let (hello, files, socket) = loop {
            match self.arrive().await? {
                Some(arrived) => break arrived,
                None => watch.changed().await?,
            }
        };
        let granted = hello.pages.iter().zip(files);
        let granted: Arc<[Granted]> = granted
            .map(|(&(first, pages), file)| Granted::received(file, first, pages))
            .collect::<Result<_, _>>()?;
        *lock(&self.granted) = Arc::downgrade(&granted);
        let line = Line::bound(hello.port, socket, granted, self.place.clone())?;
        *lock(&self.arrived) = Some(line);
        Ok(Keys {
            ring_ref: hello.ring_ref.to_string(),
            event_channel: hello.port.to_string(),
        })
    }

    fn bind_interdomain(&self, port: u32) -> Result<Port<Line>, Error> {
        let arrived = lock(&self.arrived).take_if(|line| line.offered() == Some(port));
        arrived.map(Port::new).ok_or(Error::Port(port))
    }

    fn map_control(&self, ring_ref: u32, _: &Port<Line>) -> Result<Memory, Error> {
        self.map_ring(&[ring_ref], Access::ReadWrite)
    }

    fn map_ring(&self, refs: &[u32], access: Access) -> Result<Memory, Error> {
        let granted = lock(&self.granted).upgrade().unwrap_or_default();
        let (&first, rest) = refs.split_first().ok_or(BadPages::Reference(0))?;
        let granted = granted.iter().find(|granted| granted.holds(first));
        let granted = granted.ok_or(BadPages::Reference(first))?;
        // One memfd, its pages in their order: that is how a server of this platform shares them.
        let mut next = first;
        for &grant_ref in rest {
            next = next.wrapping_add(1);
            if grant_ref != next || !granted.holds(grant_ref) {
                return Err(BadPages::Reference(grant_ref).into());
            }
        }
        let offset = (first - granted.first()) as usize * PAGE_SIZE;
        Ok(granted.map(offset as u64, refs.len(), access, None)?)
    }
}

impl From<Errno> for Error {
    fn from(error: Errno) -> Self {
        kernel("a system call")(error)
    }
}
