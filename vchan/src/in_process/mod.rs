//! A platform of atomics inside one process: two ends, tasks or threads, over one heap.
//!
//! It behaves as Xen does where the protocol can tell: events are counted and merged, a port whose peer is gone
//! raises no event, a page that is mapped stays alive after its grant was taken back, and a ring mapped for reading
//! cannot be written. It counts what is held, so a test can end with [`Host::assert_clean`]. It has no clock: a
//! heartbeat comes when [`Host::heartbeat`] is called.

use core::future::{Future, poll_fn};
use core::pin::pin;
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::{Context, Poll, Waker};
use std::collections::HashMap;
use std::string::{String, ToString};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::vec::Vec;

use thiserror::Error;

use crate::platform::{Access, EventChannel, Keys, Rendezvous, Wake};

pub use memory::Memory;
use memory::Page;

mod memory;

/// What the platform refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// The port is not one that waits for a peer.
    #[error("port {0} does not exist or is bound already")]
    Port(u32),
    /// The grant reference names no granted page.
    #[error("grant {0} does not exist")]
    Grant(u32),
    /// The page may only be read.
    #[error("grant {0} is for reading only")]
    ReadOnly(u32),
    /// Refused because [`Host::fail_call`] asked for it.
    #[error("this call was told to fail")]
    Told,
}

#[derive(Default)]
struct Bell {
    count: AtomicU64,
    beats: AtomicU64,
    waiting: Mutex<Vec<Waker>>,
}

impl Bell {
    fn ring(&self, counter: &AtomicU64) {
        // The counter moves under the lock under which a waiter compares it, so that no waiter registers in between.
        let waiting = {
            let mut waiting = lock(&self.waiting);
            counter.fetch_add(1, Ordering::AcqRel);
            core::mem::take(&mut *waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    fn poll(&self, seen: u64, beat: u64, context: &mut Context<'_>) -> Poll<Wake> {
        let mut waiting = lock(&self.waiting);
        if self.count.load(Ordering::Acquire) != seen {
            return Poll::Ready(Wake::Event);
        }
        if self.beats.load(Ordering::Acquire) != beat {
            return Poll::Ready(Wake::Heartbeat);
        }
        if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            waiting.push(context.waker().clone());
        }
        Poll::Pending
    }
}

#[derive(Default)]
struct Tables {
    made: u32,
    grants: HashMap<u32, (Arc<Page>, Access)>,
    mapped: usize,
    /// Ports by number: the bell, and the peer's port once bound.
    ports: HashMap<u32, (Arc<Bell>, Option<u32>)>,
    keys: HashMap<String, Keys<Vec<u8>>>,
    key_waiters: Vec<Waker>,
    calls_until_failure: Option<u32>,
    releases: Vec<Release>,
}

impl Tables {
    fn new_number(&mut self) -> u32 {
        self.made += 1;
        self.made
    }

    fn may_fail(&mut self) -> Result<(), Error> {
        match &mut self.calls_until_failure {
            Some(0) => {
                self.calls_until_failure = None;
                Err(Error::Told)
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn close_port(&mut self, port: u32) {
        if let Some((_, Some(peer))) = self.ports.remove(&port)
            && let Some((_, bound)) = self.ports.get_mut(&peer)
        {
            *bound = None;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What the locks guard is never left half changed, so a panic elsewhere does not spoil it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How much of each kind is held right now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Pages that are granted.
    pub grants: usize,
    /// Pages that are mapped.
    pub mappings: usize,
    /// Open ports.
    pub ports: usize,
    /// Meeting points whose keys stand in the store.
    pub published: usize,
}

/// One thing given back, in [`Host::releases`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// So many pages are granted no longer.
    Grants(usize),
    /// So many pages are mapped no longer.
    Mappings(usize),
    /// A port was closed.
    Port,
    /// Keys were removed.
    Keys,
}

/// The stand-in for the hypervisor and its store. Clones are the same host.
#[derive(Clone, Default)]
pub struct Host(Arc<Mutex<Tables>>);

impl Host {
    /// A host on which nothing is held.
    pub fn new() -> Self {
        Self::default()
    }

    /// The meeting point called `name`; both ends use the same one.
    pub fn meeting(&self, name: &str) -> Meeting {
        Meeting {
            host: self.clone(),
            name: name.to_string(),
        }
    }

    /// Lets one heartbeat pass for everyone who waits.
    pub fn heartbeat(&self) {
        let bells: Vec<_> = self
            .tables()
            .ports
            .values()
            .map(|(bell, _)| Arc::clone(bell))
            .collect();
        for bell in bells {
            bell.ring(&bell.beats);
        }
    }

    /// Closes `port` as the death of its owner would: no event, no goodbye.
    pub fn sever(&self, port: u32) {
        self.tables().close_port(port);
    }

    /// Lets one call fail: the next one for 0, the one after it for 1, and so on.
    pub fn fail_call(&self, number: u32) {
        self.tables().calls_until_failure = Some(number);
    }

    /// What is held right now.
    pub fn held(&self) -> Held {
        let tables = self.tables();
        Held {
            grants: tables.grants.len(),
            mappings: tables.mapped,
            ports: tables.ports.len(),
            published: tables.keys.len(),
        }
    }

    /// Panics, saying what, if anything is still held.
    pub fn assert_clean(&self) {
        assert_eq!(self.held(), Held::default(), "left behind");
    }

    /// Everything given back so far, in order.
    pub fn releases(&self) -> Vec<Release> {
        self.tables().releases.clone()
    }

    /// Puts raw bytes where a server's keys would stand, for tests of clients.
    pub fn forge_keys(&self, name: &str, ring_ref: &[u8], event_channel: &[u8]) {
        let keys = Keys {
            ring_ref: ring_ref.to_vec(),
            event_channel: event_channel.to_vec(),
        };
        let waiters = {
            let mut tables = self.tables();
            tables.keys.insert(name.to_string(), keys);
            core::mem::take(&mut tables.key_waiters)
        };
        waiters.into_iter().for_each(Waker::wake);
    }

    /// Removes the keys of the meeting point called `name`.
    pub fn remove_keys(&self, name: &str) {
        self.tables().keys.remove(name);
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        lock(&self.0)
    }
}

/// One port.
pub struct Port {
    host: Host,
    number: u32,
    bell: Arc<Bell>,
}

impl EventChannel for Port {
    fn port(&self) -> u32 {
        self.number
    }

    fn notify(&self) {
        let bell = {
            let tables = self.host.tables();
            let peer = tables.ports.get(&self.number).and_then(|(_, peer)| *peer);
            peer.and_then(|peer| tables.ports.get(&peer))
                .map(|(bell, _)| Arc::clone(bell))
        };
        if let Some(bell) = bell {
            bell.ring(&bell.count);
        }
    }

    fn event_count(&self) -> u64 {
        self.bell.count.load(Ordering::Acquire)
    }

    fn wait(&self, seen: u64) -> impl Future<Output = Wake> {
        let beat = self.bell.beats.load(Ordering::Acquire);
        poll_fn(move |context| self.bell.poll(seen, beat, context))
    }

    fn wake(&self) {
        self.bell.ring(&self.bell.count);
    }

    fn peer_bound(&self) -> bool {
        let tables = self.host.tables();
        matches!(tables.ports.get(&self.number), Some((_, Some(_))))
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        let mut tables = self.host.tables();
        tables.close_port(self.number);
        tables.releases.push(Release::Port);
    }
}

/// Keys in the store; they go when this is dropped.
pub struct Published {
    host: Host,
    name: String,
}

impl Drop for Published {
    fn drop(&mut self) {
        self.host.remove_keys(&self.name);
        self.host.tables().releases.push(Release::Keys);
    }
}

/// A place where one server and one client find each other.
#[derive(Clone)]
pub struct Meeting {
    host: Host,
    name: String,
}

impl Meeting {
    fn open_port(&self, peer: Option<u32>) -> Result<Port, Error> {
        let mut tables = self.host.tables();
        tables.may_fail()?;
        let number = tables.new_number();
        if let Some(peer) = peer {
            match tables.ports.get_mut(&peer) {
                Some((_, bound @ None)) => *bound = Some(number),
                _ => return Err(Error::Port(peer)),
            }
        }
        let bell = Arc::<Bell>::default();
        tables.ports.insert(number, (Arc::clone(&bell), peer));
        drop(tables);
        let port = Port {
            host: self.host.clone(),
            number,
            bell,
        };
        if peer.is_some() {
            // Xen marks a port pending when it is bound.
            port.wake();
        }
        Ok(port)
    }

    fn share(&self, pages: usize, peer: Access) -> Result<Memory, Error> {
        let mut tables = self.host.tables();
        tables.may_fail()?;
        let pages: Vec<_> = (0..pages).map(|_| Page::zeroed()).collect();
        let grants = pages
            .iter()
            .map(|page| {
                let grant = tables.new_number();
                tables.grants.insert(grant, (Arc::clone(page), peer));
                grant
            })
            .collect();
        Ok(Memory {
            host: self.host.clone(),
            pages,
            grants,
            access: Access::ReadWrite,
        })
    }
}

impl Rendezvous for Meeting {
    type Memory = Memory;
    type Events = Port;
    type Published = Published;
    type Value = Vec<u8>;
    type Error = Error;

    fn alloc_unbound(&self) -> Result<Port, Error> {
        self.open_port(None)
    }

    fn share_control(&self, _events: &Port) -> Result<Memory, Error> {
        self.share(1, Access::ReadWrite)
    }

    fn share_ring(&self, pages: usize, peer: Access) -> Result<Memory, Error> {
        self.share(pages, peer)
    }

    fn grant_ref(&self, memory: &Memory, page: usize) -> u32 {
        memory.grants[page]
    }

    async fn publish(&self, ring_ref: u32, port: u32) -> Result<Published, Error> {
        self.host.tables().may_fail()?;
        let (ring_ref, port) = (ring_ref.to_string(), port.to_string());
        self.host
            .forge_keys(&self.name, ring_ref.as_bytes(), port.as_bytes());
        Ok(Published {
            host: self.host.clone(),
            name: self.name.clone(),
        })
    }

    async fn keys(&self) -> Result<Keys<Vec<u8>>, Error> {
        self.host.tables().may_fail()?;
        poll_fn(|context| {
            let mut tables = self.host.tables();
            match tables.keys.get(&self.name).cloned() {
                Some(keys) => Poll::Ready(Ok(keys)),
                None => {
                    tables.key_waiters.push(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    fn bind_interdomain(&self, port: u32) -> Result<Port, Error> {
        self.open_port(Some(port))
    }

    fn map_control(&self, ring_ref: u32, _events: &Port) -> Result<Memory, Error> {
        self.map_ring(&[ring_ref], Access::ReadWrite)
    }

    fn map_ring(&self, refs: &[u32], access: Access) -> Result<Memory, Error> {
        let mut tables = self.host.tables();
        tables.may_fail()?;
        let pages = refs
            .iter()
            .map(|&grant| match tables.grants.get(&grant) {
                None => Err(Error::Grant(grant)),
                Some((_, Access::ReadOnly)) if access == Access::ReadWrite => {
                    Err(Error::ReadOnly(grant))
                }
                Some((page, _)) => Ok(Arc::clone(page)),
            })
            .collect::<Result<Vec<_>, _>>()?;
        tables.mapped += pages.len();
        Ok(Memory {
            host: self.host.clone(),
            pages,
            grants: Vec::new(),
            access,
        })
    }
}

struct Unpark(Thread);

impl std::task::Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future on this thread, which sleeps while there is nothing to do.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        thread::park();
    }
}
