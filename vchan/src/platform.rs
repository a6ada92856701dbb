//! What the protocol needs of the world: memory shared with a peer, one event channel, and a place to meet.
//!
//! A platform implements these three traits and nothing else. The crate brings one, `in_process` (behind the
//! feature of that name); Xen guests and Linux bring theirs.
//!
//! # Who owns what
//!
//! An endpoint owns the values it got from its [`Rendezvous`] and releases them by dropping them, in this order:
//! own live byte cleared and event sent (by the endpoint), then [`Rendezvous::Memory`] (rings, then control page),
//! then [`Rendezvous::Events`], then [`Rendezvous::Published`]. There is no other way out: a failed `offer` or
//! `connect`, a dropped future and a closed endpoint all end in these drops. A `drop` must not block; what a
//! platform cannot finish at once (a grant that the peer still maps, a xenstore reply) it keeps for itself and
//! finishes later.

use core::future::Future;
use core::sync::atomic::Ordering;

/// Memory shared with the peer: the control page, or the pages of one ring as one contiguous range.
///
/// The peer writes it at any time, so no Rust reference to it may ever exist: every access is one of the calls
/// below, and every call is one access. Offsets are in bytes and were checked by the caller against the size with
/// which the memory was made; they are naturally aligned. Multi-byte values are little endian, the order of every
/// machine that vchan runs on.
///
/// The methods take `&self` because the two halves of an endpoint use the control page at the same time.
pub trait SharedMemory {
    /// Loads one byte.
    fn load_u8(&self, offset: usize, order: Ordering) -> u8;
    /// Loads a 16-bit value.
    fn load_u16(&self, offset: usize, order: Ordering) -> u16;
    /// Loads a 32-bit value.
    fn load_u32(&self, offset: usize, order: Ordering) -> u32;
    /// Stores one byte.
    fn store_u8(&self, offset: usize, value: u8, order: Ordering);
    /// Stores a 16-bit value.
    fn store_u16(&self, offset: usize, value: u16, order: Ordering);
    /// Stores a 32-bit value.
    fn store_u32(&self, offset: usize, value: u32, order: Ordering);
    /// Atomically sets `bits` and returns the byte as it was.
    fn fetch_or_u8(&self, offset: usize, bits: u8, order: Ordering) -> u8;
    /// Atomically keeps only `bits` and returns the byte as it was.
    fn fetch_and_u8(&self, offset: usize, bits: u8, order: Ordering) -> u8;
    /// Copies `out.len()` bytes from `offset` on. No ordering of its own: the caller's loads and stores order it.
    fn read(&self, offset: usize, out: &mut [u8]);
    /// Copies `data` to `offset`. No ordering of its own: the caller's loads and stores order it.
    fn write(&self, offset: usize, data: &[u8]);

    /// A full fence: every access before it is seen before every access after it, stores before loads included
    /// (x86: `mfence` or any locked instruction). A method so that a model checker can take its place.
    #[inline]
    fn fence(&self) {
        core::sync::atomic::fence(Ordering::SeqCst);
    }

    /// Stores a 32-bit value and fences: every access before it is seen before it, and it is seen before every access
    /// after it. What a platform gives in its place must do the same to the accesses of this trait, `read` and `write`
    /// included; on x86 that is one `xchg`, cheaper than a store and `mfence`.
    #[inline]
    fn publish_u32(&self, offset: usize, value: u32) {
        // Release for what came before, the fence for what comes after.
        self.store_u32(offset, value, Ordering::Release);
        self.fence();
    }

    /// All of this memory as plain bytes, on a platform that knows that no other domain can write it: a ring that was
    /// shared with [`Access::ReadOnly`]. `None` otherwise, and where a platform knows nothing of the kind.
    ///
    /// Whoever implements this vouches that nobody else, in this domain neither, writes the memory while the borrow
    /// lasts. The exclusive borrow of this value keeps the other calls of the trait away.
    fn plain(&mut self) -> Option<&mut [u8]> {
        None
    }
}

/// Why a wait for events returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// An event arrived, or the platform cannot tell.
    Event,
    /// Nothing arrived for one heartbeat: time to ask whether the peer still exists.
    Heartbeat,
}

/// One event channel port bound (or to be bound) to the peer.
///
/// Both directions of the channel and its close share this port, and the two halves of an endpoint may wait on it at
/// the same time. So a wait does not consume events: it compares a count. The protocol's order is *take the count,
/// ask to be told, look again, wait for the count to move*; an event that comes anywhere after the first step ends
/// the wait of every half that took the count before it.
pub trait EventChannel {
    /// The number of our own port (what a server publishes).
    fn port(&self) -> u32;

    /// Sends one event to the peer (`EVTCHNOP_send`). What was stored before is visible to the peer before the event.
    /// A failure means that the peer is gone, which [`peer_bound`](Self::peer_bound) will tell.
    fn notify(&self);

    /// Events seen on this port so far. Several events may be merged into one.
    fn event_count(&self) -> u64;

    /// Sleeps until [`event_count`](Self::event_count) differs from `seen`; returns at once if it already does.
    ///
    /// May return early. A platform whose count can move while a task runs lets other tasks have a turn here, so that
    /// a peer that sends events without end cannot keep the others from running. Returns [`Wake::Heartbeat`] when nothing came for one heartbeat (the platform's choice, 1 s
    /// is usual), because a peer that dies sends no event. Dropping the future is safe at any point.
    fn wait(&self, seen: u64) -> impl Future<Output = Wake>;

    /// Ends every wait on this port as an event would: one half of the endpoint has news for the other.
    fn wake(&self);

    /// Whether our port is still bound to a peer's port (`EVTCHNOP_status` says *interdomain*).
    ///
    /// When it answers no because the peer closed its port, everything that the peer stored before closing is
    /// visible to loads made after this call.
    fn peer_bound(&self) -> bool;

    /// Lets a moment pass between two looks at memory that the peer is about to write: a `pause`, or, where the peer
    /// may have to run on this very CPU, a yield to whoever schedules it (Xen: `SCHEDOP_yield`).
    #[inline]
    fn relax(&self) {
        core::hint::spin_loop();
    }

    /// How many calls of [`relax`](Self::relax) last about as long as to fall asleep and be woken: the longest that a
    /// wait looks before it sleeps (see [`Spin`](crate::Spin)). 0, the default, never looks; right for a domain with one CPU whose
    /// other tasks have work to do.
    fn wake_cost(&self) -> u32 {
        0
    }
}

/// What may be done with a ring's pages: how a client maps them, and how a server grants them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Reading only.
    ReadOnly,
    /// Reading and writing.
    #[default]
    ReadWrite,
}

/// The two values that a server publishes, as raw bytes: nothing about them has been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys<V> {
    /// The value of the key `ring-ref`.
    pub ring_ref: V,
    /// The value of the key `event-channel`.
    pub event_channel: V,
}

/// One meeting point with one peer: a peer domain and a base path, in xenstore's terms
/// (`/local/domain/SERVER/data/vchan/CLIENT/NAME`). Gives either role its memory and its event channel.
pub trait Rendezvous {
    /// Shared memory of either role.
    type Memory: SharedMemory;
    /// The event channel of either role.
    type Events: EventChannel;
    /// Keys that stand in the store; dropping it removes them.
    type Published;
    /// What a key's value arrives as. A platform may cut values after 32 bytes; no legal one is that long.
    type Value: AsRef<[u8]>;
    /// Why the platform could not do what was asked.
    type Error: core::error::Error + 'static;

    /// Server: allocates a port that only the peer's domain may bind (`EVTCHNOP_alloc_unbound`).
    fn alloc_unbound(&self) -> Result<Self::Events, Self::Error>;

    /// Server: allocates the control page, zeroed before it is granted read-write to the peer.
    ///
    /// A platform whose kernel can (Linux: `IOCTL_GNTALLOC_SET_UNMAP_NOTIFY`) arranges here that the byte at
    /// [`SRV_LIVE`](crate::interface::SRV_LIVE) is cleared and an event is sent on `events` should the process die.
    fn share_control(&self, events: &Self::Events) -> Result<Self::Memory, Self::Error>;

    /// Server: allocates a ring of `pages` pages, zeroed before they are granted to the peer, for reading only or for
    /// both. We can always write them.
    fn share_ring(&self, pages: usize, peer: Access) -> Result<Self::Memory, Self::Error>;

    /// Server: the grant reference of page `page`, counted from 0, of memory that one of the two calls above made.
    /// Never 0, which peers take for "none".
    fn grant_ref(&self, memory: &Self::Memory, page: usize) -> u32;

    /// Server: writes `ring-ref` and `event-channel` (ASCII decimal, readable by the peer) in one transaction, and
    /// tries again on a conflict. Dropping the future before it is done leaves no key behind.
    fn publish(
        &self,
        ring_ref: u32,
        port: u32,
    ) -> impl Future<Output = Result<Self::Published, Self::Error>>;

    /// Client: waits, without polling, until both keys exist, and returns their values.
    fn keys(&self) -> impl Future<Output = Result<Keys<Self::Value>, Self::Error>>;

    /// Client: binds a local port to the server's `port` (`EVTCHNOP_bind_interdomain`).
    fn bind_interdomain(&self, port: u32) -> Result<Self::Events, Self::Error>;

    /// Client: maps the control page read-write.
    ///
    /// A platform whose kernel can (Linux: `IOCTL_GNTDEV_SET_UNMAP_NOTIFY`) arranges here that the byte at
    /// [`CLI_LIVE`](crate::interface::CLI_LIVE) is cleared and an event is sent on `events` should the process die.
    fn map_control(
        &self,
        ring_ref: u32,
        events: &Self::Events,
    ) -> Result<Self::Memory, Self::Error>;

    /// Client: maps the pages named by `refs`, in this order and contiguously. `refs` holds 1 to 256 references,
    /// none of them 0, and comes from the peer otherwise unchecked. On an error nothing stays mapped.
    fn map_ring(&self, refs: &[u32], access: Access) -> Result<Self::Memory, Self::Error>;
}
