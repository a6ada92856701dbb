//! The platform on Xen: grants, event channels and xenstore, from dom0 or any Linux guest.

use core::fmt;
use std::io;
use std::sync::OnceLock;

use thiserror::Error;
use vchan::interface::{CLI_LIVE, SRV_LIVE};
use vchan::platform::{Access, EventChannel, Keys, Rendezvous};

pub use devices::Evtchn;
use devices::Goodbye;
pub use hypervisor::Hypervisor;
pub use info::{DomainInfo, PhysInfo};

use crate::port::Port;
use crate::xenstore::{self, Connection, PathError, Tx, check_path};

mod abi;
mod devices;
mod hypervisor;
mod info;

/// Shared pages of either role, with the references of a server's.
pub type Memory = crate::Memory<Vec<u32>>;

/// What kept a channel from being made.
#[derive(Debug, Error)]
pub enum Error {
    /// A device could not be opened.
    #[error(
        "{device}: {error}; is this a Xen domain, with the module loaded (modprobe xen-gntalloc xen-gntdev xen-evtchn) and the device open to this user?"
    )]
    Device {
        /// Which.
        device: &'static str,
        /// Why not.
        #[source]
        error: io::Error,
    },
    /// A device refused.
    #[error("{what}, domain {domain} at the other end: {error}")]
    Kernel {
        /// What was wanted.
        what: &'static str,
        /// The peer.
        domain: u16,
        /// The kernel's answer.
        #[source]
        error: io::Error,
    },
    /// Pages could not be mapped.
    #[error("mapping pages shared with domain {domain}: {error}")]
    Map {
        /// The peer.
        domain: u16,
        /// The kernel's answer.
        #[source]
        error: io::Error,
    },
    /// Xenstore said no.
    #[error(transparent)]
    Store(#[from] xenstore::Error),
}

/// Where a server and a client meet: a path in xenstore, and the domain at the other end.
#[derive(Clone, PartialEq, Eq)]
pub struct Meeting {
    peer: u16,
    path: String,
}

impl fmt::Debug for Meeting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "xen:{}:{}", self.peer, self.path)
    }
}

impl Meeting {
    /// Meets domain `peer` at `path`. By convention that is `/local/domain/SERVER/data/vchan/CLIENT/NAME`; a server may leave out
    /// `/local/domain/SERVER/`. libxenvchan cuts paths after 49 bytes without a word.
    pub fn new(peer: u16, path: &str) -> Result<Self, PathError> {
        check_path(path)?;
        Ok(Self {
            peer,
            path: path.to_owned(),
        })
    }

    fn ring_ref(&self) -> String {
        format!("{}/ring-ref", self.path)
    }

    fn event_channel(&self) -> String {
        format!("{}/event-channel", self.path)
    }

    /// Both keys; `None` while one is missing, or not yet readable for us.
    fn read_keys(&self, store: &mut Connection) -> Result<Option<Keys<Vec<u8>>>, Error> {
        let mut read = |path: String| match store.read(Tx::NONE, &path) {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.is("ENOENT") || error.is("EACCES") => Ok(None),
            Err(error) => Err(error),
        };
        let ring_ref = read(self.ring_ref())?;
        let event_channel = read(self.event_channel())?;
        let keys = ring_ref.zip(event_channel);
        Ok(keys.map(|(ring_ref, event_channel)| Keys {
            ring_ref,
            event_channel,
        }))
    }
}

/// The domain that this process runs in.
fn own_domain(store: &mut Connection) -> Result<u16, xenstore::Error> {
    let value = store.read(Tx::NONE, "domid")?;
    let text = str::from_utf8(&value).map_err(|_| xenstore::Error::Reply)?;
    text.parse().map_err(|_| xenstore::Error::Reply)
}

/// Whether xenstore knows this domain; yes, if it does not tell. A guest without privileges it does not tell.
fn domain_is_introduced(domain: u16) -> bool {
    let ask = || Connection::open()?.is_domain_introduced(domain);
    ask().unwrap_or(true)
}

/// The key of a server's offer, which goes with the server's domain.
struct Offer {
    ring_ref: String,
    /// Whether the server leaves it there while its client is here. Qubes' servers do not, whose names are numbers: for those it
    /// is what the first look finds.
    stays: OnceLock<bool>,
}

impl Offer {
    fn new(meeting: &Meeting) -> Self {
        let (_, name) = meeting.path.rsplit_once('/').unwrap_or_default();
        let number = name.bytes().all(|byte| byte.is_ascii_digit());
        Self {
            ring_ref: meeting.ring_ref(),
            stays: if number { OnceLock::new() } else { true.into() },
        }
    }

    /// Whether it is there, as far as that means anything.
    fn stands(&self) -> bool {
        let ask = || Connection::open()?.read(Tx::NONE, &self.ring_ref);
        let there = match ask() {
            Err(error) => !(error.is("ENOENT") || error.is("EACCES")),
            Ok(_) => true,
        };
        let stays = *self.stays.get_or_init(|| there);
        there || !stays
    }
}

/// The keys of an offer; removed when dropped, for which xenstored is waited for: milliseconds.
pub struct Published(Meeting);

impl Drop for Published {
    fn drop(&mut self) {
        // A store that is gone has no keys.
        let _ = Connection::open().and_then(|mut store| remove(&mut store, &self.0.path));
    }
}

/// Removes an offer's node, and those above it that were made for it and are empty now: `CLIENT` and `vchan`.
fn remove(store: &mut Connection, path: &str) -> Result<(), xenstore::Error> {
    store.transaction(|store, tx| {
        match store.rm(tx, path) {
            Err(error) if !error.is("ENOENT") => return Err(error),
            _ => {}
        }
        let mut node = path;
        while let Some((parent, _)) = node.rsplit_once('/')
            && (parent.contains("/data/vchan") || parent.starts_with("data/vchan"))
            && store.directory(tx, parent)?.is_empty()
        {
            store.rm(tx, parent)?;
            node = parent;
        }
        Ok(())
    })
}

impl Rendezvous for Meeting {
    type Memory = Memory;
    type Events = Port<Evtchn>;
    type Published = Published;
    type Value = Vec<u8>;
    type Error = Error;

    fn alloc_unbound(&self) -> Result<Port<Evtchn>, Error> {
        Ok(Port::new(Evtchn::alloc_unbound(self.peer)?))
    }

    fn share_control(&self, events: &Port<Evtchn>) -> Result<Memory, Error> {
        let goodbye = Goodbye {
            byte: SRV_LIVE,
            port: events.port(),
        };
        devices::share(self.peer, 1, Access::ReadWrite, Some(goodbye))
    }

    fn share_ring(&self, pages: usize, peer: Access) -> Result<Memory, Error> {
        devices::share(self.peer, pages, peer, None)
    }

    fn grant_ref(&self, memory: &Memory, page: usize) -> u32 {
        memory.grants.get(page).copied().unwrap_or(0)
    }

    /// Blocks while xenstored answers: milliseconds.
    async fn publish(&self, ring_ref: u32, port: u32) -> Result<Published, Error> {
        let mut store = Connection::open()?;
        let own = own_domain(&mut store)?;
        let keys = [(self.ring_ref(), ring_ref), (self.event_channel(), port)];
        store.transaction(|store, tx| {
            for (path, value) in &keys {
                store.write(tx, path, value.to_string().as_bytes())?;
                store.set_perms(tx, path, own, self.peer)?;
            }
            Ok(())
        })?;
        Ok(Published(self.clone()))
    }

    /// Blocks while xenstored answers, milliseconds, but not while there is no server.
    async fn keys(&self) -> Result<Keys<Vec<u8>>, Error> {
        let mut store = Connection::open()?;
        // The watch comes before the reading, so that no change falls in between.
        store.watch(&self.path)?;
        loop {
            store.changed().await?;
            if let Some(keys) = self.read_keys(&mut store)? {
                return Ok(keys);
            }
        }
    }

    fn bind_interdomain(&self, port: u32) -> Result<Port<Evtchn>, Error> {
        let offer = Offer::new(self);
        Ok(Port::new(Evtchn::bind_interdomain(self.peer, port, offer)?))
    }

    fn map_control(&self, ring_ref: u32, events: &Port<Evtchn>) -> Result<Memory, Error> {
        let goodbye = Goodbye {
            byte: CLI_LIVE,
            port: events.port(),
        };
        devices::map(self.peer, &[ring_ref], Access::ReadWrite, Some(goodbye))
    }

    fn map_ring(&self, refs: &[u32], access: Access) -> Result<Memory, Error> {
        devices::map(self.peer, refs, access, None)
    }
}
