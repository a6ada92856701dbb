//! What the two halves of an endpoint share: the mapped memory, the event channel, and how things stand.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use spin::Mutex;
use thiserror::Error;

use crate::interface::{
    CLI_LIVE, CLI_NOTIFY, Field, LEFT_CONS, LEFT_PROD, LIVE_CLOSED, LIVE_OPEN, LIVE_WAITING,
    Layout, NOTIFY_WRITE, RIGHT_CONS, RIGHT_PROD, RingLocation, Role, SRV_LIVE, SRV_NOTIFY,
};
use crate::notify;
use crate::platform::{EventChannel, Rendezvous, SharedMemory, Wake};
use crate::ring::Geometry;
use crate::stats::Stats;

/// The peer stored something that no honest peer stores. The channel is closed and stays so; connect anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "the peer broke the protocol: {field} cannot be {claimed}; this channel is closed, connect anew"
)]
pub struct Corrupt {
    /// The field of the control page.
    pub field: Field,
    /// What stood in it.
    pub claimed: u32,
}

/// The peer's side of the channel, from one load of its live byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// We are a server, and no client has come yet.
    Waiting,
    Open,
    Closed,
}

/// Our own side of the channel. Leaves `Open` once and for all; only `PeerDied` may yet become `Corrupt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Open,
    /// Closed by ourselves.
    Closed,
    /// The peer's port is gone and its live byte still says open.
    PeerDied,
    Corrupt(Corrupt),
}

impl State {
    const OPEN: u64 = 0;
    const CLOSED: u64 = 1;
    const PEER_DIED: u64 = 2;
    const CORRUPT: u64 = 3;

    /// Kind in the low byte, field above it, value in the upper half: one atomic holds all of it.
    fn encode(self) -> u64 {
        match self {
            State::Open => Self::OPEN,
            State::Closed => Self::CLOSED,
            State::PeerDied => Self::PEER_DIED,
            State::Corrupt(Corrupt { field, claimed }) => {
                Self::CORRUPT | (field.offset() as u64) << 8 | u64::from(claimed) << 32
            }
        }
    }

    fn decode(code: u64) -> Self {
        match code & 0xff {
            Self::OPEN => State::Open,
            Self::CLOSED => State::Closed,
            Self::PEER_DIED => State::PeerDied,
            _ => State::Corrupt(Corrupt {
                field: match (code >> 8 & 0xff) as usize {
                    LEFT_CONS => Field::LeftCons,
                    LEFT_PROD => Field::LeftProd,
                    RIGHT_CONS => Field::RightCons,
                    RIGHT_PROD => Field::RightProd,
                    CLI_LIVE => Field::CliLive,
                    _ => Field::SrvLive,
                },
                claimed: (code >> 32) as u32,
            }),
        }
    }
}

/// One channel as one side holds it. Dropped when both halves are; the order of the fields is the order in which
/// resources are released.
pub(crate) struct Link<R: Rendezvous> {
    /// The memory of the ring that we read, unless it lies in the control page.
    incoming: Option<Box<R::Memory>>,
    /// The memory of the ring that we fill, once its writer is gone.
    outgoing: Mutex<Option<Box<R::Memory>>>,
    control: R::Memory,
    events: R::Events,
    _published: Option<R::Published>,
    role: Role,
    layout: Layout,
    state: AtomicU64,
    /// The peer's live byte has said something other than "waiting".
    met: AtomicBool,
    stats: Arc<Stats>,
}

impl<R: Rendezvous> Link<R> {
    /// A server's side, published already.
    pub(crate) fn server(
        incoming: Option<Box<R::Memory>>,
        control: R::Memory,
        events: R::Events,
        published: R::Published,
        layout: Layout,
    ) -> Self {
        Link {
            incoming,
            outgoing: Mutex::new(None),
            control,
            events,
            _published: Some(published),
            role: Role::Server,
            layout,
            state: AtomicU64::new(State::OPEN),
            met: AtomicBool::new(false),
            stats: Arc::default(),
        }
    }

    /// A client's side. Says so to the server, as its last step.
    pub(crate) fn client(
        incoming: Option<Box<R::Memory>>,
        control: R::Memory,
        events: R::Events,
        layout: Layout,
    ) -> Self {
        let link: Self = Link {
            incoming,
            outgoing: Mutex::new(None),
            control,
            events,
            _published: None,
            role: Role::Client,
            layout,
            state: AtomicU64::new(State::OPEN),
            met: AtomicBool::new(true),
            stats: Arc::default(),
        };
        // Release: our port was bound before, for a server that sees us open and then asks whether we are.
        link.control()
            .store_u8(CLI_LIVE, LIVE_OPEN, Ordering::Release);
        // Asks in advance for an event for the server's first write, as libxenvchan's client does. Relaxed: it covers
        // no data of ours, and the event makes the server look.
        link.control()
            .store_u8(SRV_NOTIFY, NOTIFY_WRITE, Ordering::Relaxed);
        link.notify();
        link
    }

    pub(crate) fn role(&self) -> Role {
        self.role
    }

    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    #[inline]
    pub(crate) fn stats(&self) -> &Arc<Stats> {
        &self.stats
    }

    pub(crate) fn events(&self) -> &R::Events {
        &self.events
    }

    #[inline]
    pub(crate) fn control(&self) -> &R::Memory {
        &self.control
    }

    /// The memory that holds the ring that we read.
    #[inline]
    pub(crate) fn incoming(&self) -> &R::Memory {
        self.incoming.as_deref().unwrap_or(&self.control)
    }

    /// Keeps the memory of the ring that we fill until the link goes.
    pub(crate) fn keep(&self, outgoing: Option<Box<R::Memory>>) {
        *self.outgoing.lock() = outgoing;
    }

    /// See [`EventChannel::wake_cost`].
    pub(crate) fn wake_cost(&self) -> u32 {
        self.events.wake_cost()
    }

    pub(crate) fn relax(&self) {
        self.events.relax();
    }

    #[inline]
    pub(crate) fn state(&self) -> State {
        // Relaxed: the state says nothing about other memory.
        State::decode(self.state.load(Ordering::Relaxed))
    }

    /// Whether the state is [`State::Open`].
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        // Relaxed, as above.
        self.state.load(Ordering::Relaxed) == State::OPEN
    }

    /// Leaves `from` for `state`, once. The other half of the endpoint is woken to see it.
    fn leave(&self, from: State, state: State) -> bool {
        let first = self
            .state
            .compare_exchange(
                from.encode(),
                state.encode(),
                Ordering::Relaxed,
                Ordering::Relaxed,
            )
            .is_ok();
        if first {
            self.events.wake();
        }
        first
    }

    /// Tells the peer that we are gone. Without effect after the first time, and after the channel broke.
    pub(crate) fn close(&self) {
        if self.leave(State::Open, State::Closed) {
            self.hang_up();
        }
    }

    /// Marks the channel broken, counts it, tells the peer that we are gone, and returns the blame for the caller to
    /// pass on.
    pub(crate) fn corrupt(&self, field: Field, claimed: u32) -> Corrupt {
        let blame = Corrupt { field, claimed };
        let state = State::Corrupt(blame);
        // What a dead peer has left can be broken as well, and is not read any further either.
        if self.leave(State::Open, state) || self.leave(State::PeerDied, state) {
            self.stats.violated();
            self.hang_up();
        }
        blame
    }

    fn hang_up(&self) {
        let own_live = match self.role {
            Role::Server => SRV_LIVE,
            Role::Client => CLI_LIVE,
        };
        // Release: everything that we published is visible before the peer sees that we are gone and takes its final
        // look at the ring. (The fence in `publish_u32` sees to it as well, today.)
        self.control()
            .store_u8(own_live, LIVE_CLOSED, Ordering::Release);
        self.notify();
    }

    fn notify(&self) {
        self.events.notify();
        self.stats.sent();
    }

    /// Our index in a ring has moved: sends an event if the peer asked for one.
    pub(crate) fn tell(&self, bit: u8) {
        let request = match self.role {
            Role::Server => SRV_NOTIFY,
            Role::Client => CLI_NOTIFY,
        };
        if notify::tell(self.control(), request, bit) {
            self.notify();
        }
    }

    /// Asks the peer for an event. The caller looks at the ring again before it sleeps.
    pub(crate) fn ask(&self, bit: u8) {
        let request = match self.role {
            Role::Server => CLI_NOTIFY,
            Role::Client => SRV_NOTIFY,
        };
        notify::ask(self.control(), request, bit);
    }

    /// The peer's live byte, loaded once.
    pub(crate) fn peer(&self) -> Result<Peer, Corrupt> {
        let field = match self.role {
            Role::Server => Field::CliLive,
            Role::Client => Field::SrvLive,
        };
        // Before the live byte, and Acquire: once the other half has met the peer, our load below comes after its load
        // and cannot see the "waiting" that went before.
        let met = self.met.load(Ordering::Acquire);
        // Acquire: what the peer published before it closed is visible to our final look at the ring.
        let live = self.control().load_u8(field.offset(), Ordering::Acquire);
        let peer = match live {
            LIVE_OPEN => Peer::Open,
            LIVE_CLOSED => Peer::Closed,
            LIVE_WAITING if !met => return Ok(Peer::Waiting),
            _ => return Err(self.corrupt(field, u32::from(live))),
        };
        if !met {
            // Release: after our load of the live byte, for the other half's load of it.
            self.met.store(true, Ordering::Release);
        }
        Ok(peer)
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.state() == State::Open && self.peer() == Ok(Peer::Open) && self.events.peer_bound()
    }

    /// Counts the events received, after a wait for one.
    pub(crate) fn note_events(&self) {
        self.stats.received(self.events.event_count());
    }

    /// Sleeps until an event later than the count `seen`. When only the heartbeat came, takes the chance to ask
    /// whether the peer still exists and whether `own`, which only we store, still stands as we left it.
    pub(crate) async fn wait(&self, seen: u64, own: (Field, u32)) -> Result<(), Corrupt> {
        let wake = self.events.wait(seen).await;
        self.note_events();
        match wake {
            Wake::Event => Ok(()),
            Wake::Heartbeat => self.heartbeat(own),
        }
    }

    /// What is done when nothing has come for a while: by [`wait`](Self::wait), or at a caller's deadline.
    #[cold]
    pub(crate) fn heartbeat(&self, (field, index): (Field, u32)) -> Result<(), Corrupt> {
        if self.state() == State::Open {
            // Relaxed: a comparison with our own last store; nothing else depends on it.
            let stands = self.control().load_u32(field.offset(), Ordering::Relaxed);
            if stands != index {
                return Err(self.corrupt(field, stands));
            }
            self.look_for_peer()?;
        }
        Ok(())
    }

    /// Finds out whether a peer that never said goodbye is gone.
    pub(crate) fn look_for_peer(&self) -> Result<(), Corrupt> {
        match self.state() {
            State::Open => {}
            State::Closed | State::PeerDied => return Ok(()),
            State::Corrupt(blame) => return Err(blame),
        }
        // A client binds its port before it says open, so only an unbound port seen *after* that is a lost one; and a
        // peer that closes says so before it lets go of its port, so the live byte has the last word.
        if self.peer()? == Peer::Open && !self.events.peer_bound() && self.peer()? == Peer::Open {
            self.leave(State::Open, State::PeerDied);
        }
        Ok(())
    }
}

impl<R: Rendezvous> Drop for Link<R> {
    fn drop(&mut self) {
        // A peer that died or broke the protocol gets its goodbye too: it may be a stopped domain that wakes up.
        if self.state() == State::PeerDied {
            self.hang_up();
        }
        self.close();
    }
}

/// One direction from one side's point of view.
#[derive(Clone, Copy)]
pub(crate) struct Half {
    pub(crate) geometry: Geometry,
    /// The index that the peer stores.
    pub(crate) peer: Field,
    /// The index that we store.
    pub(crate) own: Field,
}

impl Half {
    /// The ring that `role` empties.
    #[inline]
    pub(crate) fn incoming(role: Role, layout: Layout) -> Self {
        match role {
            Role::Server => Half {
                geometry: left(layout),
                peer: Field::LeftProd,
                own: Field::LeftCons,
            },
            Role::Client => Half {
                geometry: right(layout),
                peer: Field::RightProd,
                own: Field::RightCons,
            },
        }
    }

    /// The ring that `role` fills.
    pub(crate) fn outgoing(role: Role, layout: Layout) -> Self {
        match role {
            Role::Server => Half {
                geometry: right(layout),
                peer: Field::RightCons,
                own: Field::RightProd,
            },
            Role::Client => Half {
                geometry: left(layout),
                peer: Field::LeftCons,
                own: Field::LeftProd,
            },
        }
    }
}

fn left(layout: Layout) -> Geometry {
    Geometry {
        cons: LEFT_CONS,
        prod: LEFT_PROD,
        base: base(layout.left()),
        size: layout.left_size(),
    }
}

fn right(layout: Layout) -> Geometry {
    Geometry {
        cons: RIGHT_CONS,
        prod: RIGHT_PROD,
        base: base(layout.right()),
        size: layout.right_size(),
    }
}

fn base(location: RingLocation) -> usize {
    match location {
        RingLocation::InPage { offset } => offset,
        RingLocation::External { .. } => 0,
    }
}

/// What both halves answer alike.
macro_rules! about_the_channel {
    ($half:ident) => {
        impl<R: $crate::platform::Rendezvous> $half<R> {
            /// Which end of the channel this is.
            pub fn role(&self) -> $crate::Role {
                self.link.role()
            }

            /// The orders of the two rings.
            pub fn layout(&self) -> $crate::Layout {
                self.link.layout()
            }

            /// Whether the peer is there: it has connected, has not closed, and its port is bound. Asks the platform,
            /// which on Xen costs a hypercall.
            pub fn is_connected(&self) -> bool {
                self.link.is_connected()
            }

            /// Finds out, as a wait does at every heartbeat, whether the peer died without closing; reads and writes
            /// say so from then on. For callers that wait by means of their own; costs what
            /// [`is_connected`](Self::is_connected) costs.
            pub fn look_for_peer(&self) -> Result<(), Corrupt> {
                self.link.look_for_peer()
            }

            /// The platform's event channel, for callers that wait by means of their own.
            pub fn events(&self) -> &R::Events {
                self.link.events()
            }

            /// Events seen so far on the port that both halves share.
            pub fn event_count(&self) -> u64 {
                $crate::platform::EventChannel::event_count(self.link.events())
            }

            /// The endpoint's counters; the handle outlives the channel.
            pub fn stats(&self) -> alloc::sync::Arc<$crate::Stats> {
                alloc::sync::Arc::clone(self.link.stats())
            }
        }
    };
}

pub(crate) use about_the_channel;
