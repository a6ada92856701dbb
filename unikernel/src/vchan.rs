//! The platform of the crate `vchan` on Xen: its three traits over grants, event channels and xenstore.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::pin::pin;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;

pub use ::vchan::*;

use ::vchan::platform::{Access, EventChannel, Keys, Rendezvous, SharedMemory, Wake};
use stage::runner::first;

use crate::events::{Port, PortError};
use crate::grants::{self, GrantError, Granted, Mapped};
use crate::hypercall;
use crate::memory::Shared;
use crate::time::{self, Waiting};
use crate::xenstore::{self, Client, Errno, Listening, Permission};

/// How often a sleeping endpoint asks Xen whether its peer still exists: a dead domain sends no event.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Where one edge's two ends meet: `/local/domain/SERVER/data/vchan/CLIENT/EDGE`.
pub struct Meeting {
    store: Client,
    own: u16,
    peer: u16,
    base: String,
    waiting: Rc<Waiting>,
}

/// What kept a channel from being made.
#[derive(Debug)]
pub enum Error {
    /// No port.
    Port(PortError),
    /// No pages, ours or the peer's.
    Grant(GrantError),
    /// Xenstore said no.
    Store(xenstore::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(error) => error.fmt(f),
            Self::Grant(error) => error.fmt(f),
            Self::Store(error) => write!(f, "xenstore: {error}"),
        }
    }
}

impl core::error::Error for Error {}

impl From<PortError> for Error {
    fn from(error: PortError) -> Self {
        Self::Port(error)
    }
}

impl From<GrantError> for Error {
    fn from(error: GrantError) -> Self {
        Self::Grant(error)
    }
}

impl From<xenstore::Error> for Error {
    fn from(error: xenstore::Error) -> Self {
        Self::Store(error)
    }
}

impl Meeting {
    /// The place where domain `own`, the server, offers `edge` to domain `client`.
    pub fn as_server(store: &Client, own: u16, client: u16, edge: &str) -> Self {
        let base = format!("data/vchan/{client}/{edge}");
        Self::at(store, own, client, base)
    }

    /// The place where domain `own`, a client, finds `edge` of domain `server`.
    pub fn as_client(store: &Client, own: u16, server: u16, edge: &str) -> Self {
        let base = format!("/local/domain/{server}/data/vchan/{own}/{edge}");
        Self::at(store, own, server, base)
    }

    /// The place below the xenstore path `base` where domain `own` meets domain `peer`, in either role. A path that begins
    /// without `/` is one in our own folder, where a server may write. libxenvchan reads no more than [`BASE_MAX`](keys::BASE_MAX) bytes of a
    /// path, from `/local/domain` on.
    pub fn at(store: &Client, own: u16, peer: u16, base: impl Into<String>) -> Self {
        Self {
            waiting: Rc::default(),
            store: store.clone(),
            own,
            peer,
            base: base.into(),
        }
    }

    /// Has the time spent waiting for the server's keys counted there.
    pub fn counting(self, waiting: &Rc<Waiting>) -> Self {
        Self {
            waiting: Rc::clone(waiting),
            ..self
        }
    }

    fn ring_ref(&self) -> String {
        format!("{}/ring-ref", self.base)
    }

    fn event_channel(&self) -> String {
        format!("{}/event-channel", self.base)
    }
}

/// Shared pages of either role.
pub struct Memory {
    /// The view of the pages, kept here so that an access does not ask whose they are.
    shared: Shared,
    pages: Pages,
}

enum Pages {
    /// Ours, granted to the peer.
    Granted(Granted),
    /// The peer's, mapped here.
    Mapped(#[expect(dead_code, reason = "held for as long as its view")] Mapped),
}

impl From<Granted> for Memory {
    fn from(pages: Granted) -> Self {
        Self {
            shared: *pages.shared(),
            pages: Pages::Granted(pages),
        }
    }
}

impl From<Mapped> for Memory {
    fn from(pages: Mapped) -> Self {
        Self {
            shared: *pages.shared(),
            pages: Pages::Mapped(pages),
        }
    }
}

impl SharedMemory for Memory {
    fn load_u8(&self, offset: usize, order: Ordering) -> u8 {
        self.shared.load_u8(offset, order)
    }

    fn load_u16(&self, offset: usize, order: Ordering) -> u16 {
        self.shared.load_u16(offset, order)
    }

    fn load_u32(&self, offset: usize, order: Ordering) -> u32 {
        self.shared.load_u32(offset, order)
    }

    fn store_u8(&self, offset: usize, value: u8, order: Ordering) {
        self.shared.store_u8(offset, value, order);
    }

    fn store_u16(&self, offset: usize, value: u16, order: Ordering) {
        self.shared.store_u16(offset, value, order);
    }

    fn store_u32(&self, offset: usize, value: u32, order: Ordering) {
        self.shared.store_u32(offset, value, order);
    }

    fn fetch_or_u8(&self, offset: usize, bits: u8, order: Ordering) -> u8 {
        self.shared.fetch_or_u8(offset, bits, order)
    }

    fn fetch_and_u8(&self, offset: usize, bits: u8, order: Ordering) -> u8 {
        self.shared.fetch_and_u8(offset, bits, order)
    }

    #[inline]
    fn read(&self, offset: usize, out: &mut [u8]) {
        self.shared.read(offset, out);
    }

    #[inline]
    fn write(&self, offset: usize, data: &[u8]) {
        self.shared.write(offset, data);
    }

    fn publish_u32(&self, offset: usize, value: u32) {
        // Sequentially consistent: a store and a full fence in one, which is `xchg`.
        self.shared.swap_u32(offset, value, Ordering::SeqCst);
    }

    fn plain(&mut self) -> Option<&mut [u8]> {
        match &mut self.pages {
            Pages::Granted(pages) => pages.plain(),
            Pages::Mapped(_) => None,
        }
    }
}

/// How often a wait looks at the ring before it sleeps.
const LOOKS: u32 = 256;

/// At every so many looks the CPU is yielded, which takes half a microsecond or so where nobody else wants it, and a sleep with its
/// event some fifteen: so the other tasks of a domain wait for looks no longer than for a sleep.
const YIELD: u32 = 8;

/// Looks so far, whoever looked.
static LOOKED: AtomicU32 = AtomicU32::new(0);

impl EventChannel for Port {
    fn port(&self) -> u32 {
        self.number()
    }

    fn notify(&self) {
        Port::notify(self);
    }

    fn event_count(&self) -> u64 {
        Port::event_count(self)
    }

    async fn wait(&self, seen: u64) -> Wake {
        let event = pin!(Port::wait(self, seen));
        let heartbeat = pin!(time::sleep_until(time::now() + HEARTBEAT));
        match first(event, heartbeat).await {
            Some(()) => Wake::Event,
            None => {
                // What an earlier peer has kept may be free by now.
                grants::release_quarantined();
                Wake::Heartbeat
            }
        }
    }

    fn wake(&self) {
        Port::wake(self);
    }

    fn peer_bound(&self) -> bool {
        self.is_bound()
    }

    #[inline(never)]
    fn relax(&self) {
        // Relaxed: nothing else is ordered by the count.
        if LOOKED.fetch_add(1, Ordering::Relaxed).is_multiple_of(YIELD) {
            // The peer may be waiting for this very CPU.
            hypercall::sched_yield();
        } else {
            core::hint::spin_loop();
        }
    }

    fn wake_cost(&self) -> u32 {
        LOOKS
    }
}

/// The keys of an offer; removed when dropped.
pub struct Published {
    store: Client,
    base: String,
}

impl Drop for Published {
    fn drop(&mut self) {
        // Nobody waits for the answer: the removal is sent all the same.
        drop(self.store.rm(&self.base));
    }
}

impl Rendezvous for Meeting {
    type Memory = Memory;
    type Events = Port;
    type Published = Published;
    type Value = Vec<u8>;
    type Error = Error;

    fn alloc_unbound(&self) -> Result<Port, Error> {
        Ok(Port::alloc_unbound(self.peer)?)
    }

    fn share_control(&self, _: &Port) -> Result<Memory, Error> {
        self.share_ring(1, Access::ReadWrite)
    }

    fn share_ring(&self, pages: usize, peer: Access) -> Result<Memory, Error> {
        let granted = match peer {
            Access::ReadOnly => Granted::read_only(self.peer, pages),
            Access::ReadWrite => Granted::new(self.peer, pages),
        };
        Ok(granted?.into())
    }

    fn grant_ref(&self, memory: &Memory, page: usize) -> u32 {
        match &memory.pages {
            Pages::Granted(pages) => pages.reference(page),
            Pages::Mapped(_) => 0,
        }
    }

    async fn publish(&self, ring_ref: u32, port: u32) -> Result<Published, Error> {
        let published = Published {
            store: self.store.clone(),
            base: self.base.clone(),
        };
        let permissions = [
            Permission::new(xenstore::Access::None, self.own),
            Permission::new(xenstore::Access::Read, self.peer),
        ];
        // One round trip and no transaction, which edges made side by side would break for one another: xenstored does them in
        // this order, and a client that can read `ring-ref` finds `event-channel` there.
        let asked = time::now();
        let paths = [self.event_channel(), self.ring_ref()];
        let requests = [
            self.store.write(&paths[0], format!("{port}")),
            self.store.set_perms(&paths[0], &permissions),
            self.store.write(&paths[1], format!("{ring_ref}")),
            self.store.set_perms(&paths[1], &permissions),
        ];
        for request in requests {
            request.await?;
        }
        self.waiting.answered(asked);
        Ok(published)
    }

    async fn keys(&self) -> Result<Keys<Vec<u8>>, Error> {
        // Submitted together; the watch comes first, so that no change falls between it and the reading.
        let mut watch = Listening::from(self.store.watch(&self.base));
        // Its first event, which tells only that it is there, is not used up before the first look: a change that came after
        // that may be merged with it.
        loop {
            if let Some(keys) = self.read_keys().await? {
                return Ok(keys);
            }
            let _wait = self.waiting.begin();
            watch.changed().await?;
        }
    }

    fn bind_interdomain(&self, port: u32) -> Result<Port, Error> {
        Ok(Port::bind_interdomain(self.peer, port)?)
    }

    fn map_control(&self, ring_ref: u32, _: &Port) -> Result<Memory, Error> {
        self.map_ring(&[ring_ref], Access::ReadWrite)
    }

    fn map_ring(&self, refs: &[u32], access: Access) -> Result<Memory, Error> {
        let writable = access == Access::ReadWrite;
        Ok(Mapped::new(self.peer, refs, writable)?.into())
    }
}

impl Meeting {
    /// The keys, asked for in one round trip; `None` while one is missing, or not yet readable for us.
    async fn read_keys(&self) -> Result<Option<Keys<Vec<u8>>>, xenstore::Error> {
        let missing = |answer: Result<Vec<u8>, xenstore::Error>| match answer {
            Ok(value) => Ok(Some(value)),
            Err(xenstore::Error::Store(Errno::ENOENT | Errno::EACCES)) => Ok(None),
            Err(error) => Err(error),
        };
        let asked = time::now();
        let ring_ref = self.store.read(&self.ring_ref());
        let event_channel = self.store.read(&self.event_channel());
        let ring_ref = missing(ring_ref.await)?;
        let event_channel = missing(event_channel.await)?;
        self.waiting.answered(asked);
        Ok(ring_ref
            .zip(event_channel)
            .map(|(ring_ref, event_channel)| Keys {
                ring_ref,
                event_channel,
            }))
    }
}

#[cfg(test)]
mod tests;
