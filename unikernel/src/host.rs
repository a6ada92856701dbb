//! What a stage's runner needs of the machine: edges over vchan, state and counters in xenstore, time, console.

mod peer;

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::fmt;
use core::pin::{Pin, pin};
use core::time::Duration;

use embedded_io_async::{ErrorKind, ErrorType, Read, Write};
use stage::counters::Counters;
use stage::runner::{Events, Host, OpenError, Reader, Writer, first};
use stage::state::State;
use stage::{Edge, EdgeName, Timestamp};

use self::peer::PeerSource;
pub use self::peer::named_peer;
use crate::lifecycle::Orders;
use crate::time::Waiting;
use crate::vchan::{
    self, ConnectOptions, Endpoint, Layout, Meeting, OfferOptions, Policy, ReadError, WriteError,
};
use crate::xenstore::Client;
use crate::{console, hypercall, memory, time};

/// The first pause after a failed attempt to make a channel, doubled with each further one.
const RETRY_FIRST: Duration = Duration::from_millis(50);
/// The longest pause.
const RETRY_LONGEST: Duration = Duration::from_secs(5);
/// How often a writer that is not blocked asks whether its reader is there.
const LOOK_FOR_PEER: Duration = Duration::from_secs(1);
/// How long a peer may stay away before a line says so.
const PATIENCE: Duration = Duration::from_secs(5);

/// Told, once, how long the stage had waited when it first ran, and for what.
type Report = Box<dyn FnOnce(&Waiting)>;

/// The machine, as the runner sees it.
pub struct XenHost {
    store: Client,
    orders: Orders,
    own: u16,
    started: Duration,
    waiting: Rc<Waiting>,
    /// Called once, when the stage first runs.
    on_running: Cell<Option<Report>>,
    /// Where each edge's peer is learned, until the edge is opened for the first time: asked for early, so that the answers are
    /// on their way while the function is made.
    peers: RefCell<Vec<(EdgeName, PeerSource)>>,
    /// What was last published, by path: only what changed is written again.
    published: RefCell<Vec<(String, String)>>,
}

impl XenHost {
    /// The machine of domain `own`, and the edges that will be opened on it.
    pub fn new<'a>(
        store: Client,
        orders: Orders,
        own: u16,
        edges: impl Iterator<Item = &'a Edge>,
        on_running: impl FnOnce(&Waiting) + 'static,
    ) -> Self {
        let peers = edges.map(|edge| (edge.name, PeerSource::new(&store, edge)));
        Self {
            peers: RefCell::new(peers.collect()),
            store,
            orders,
            own,
            started: time::now(),
            waiting: Rc::default(),
            on_running: Cell::new(Some(Box::new(on_running))),
            published: RefCell::default(),
        }
    }

    /// The orders of the toolstack.
    pub fn orders(&self) -> &Orders {
        &self.orders
    }

    async fn open(&self, edge: &Edge, make: Make) -> Result<Channel, OpenError> {
        let mut peer = self.peer_source(edge);
        let mut pause = RETRY_FIRST;
        loop {
            let domain = peer.domain(&self.waiting).await?;
            let made = {
                let making = pin!(make(self, edge, domain));
                let complaint = pin!(complain(edge.name, domain));
                let changed = pin!(peer.changed());
                let renamed = pin!(first(changed, complaint));
                first(making, renamed).await
            };
            match made {
                Some(Ok(mut endpoint)) => {
                    // The runner reads what there is and says when a group of packs is complete.
                    endpoint.set_policy(Policy::Batched);
                    let (reader, writer) = endpoint.split();
                    return Ok(Channel {
                        reader,
                        writer,
                        peer,
                        looked: time::now(),
                    });
                }
                Some(Err(Failure::Final(message))) => return Err(OpenError(message)),
                Some(Err(Failure::Passing(message))) => {
                    log::warn!(
                        "edge {}: {message}; trying again in {} ms",
                        edge.name,
                        pause.as_millis() as u64
                    );
                    time::sleep_until(time::now() + pause).await;
                    pause = (pause * 2).min(RETRY_LONGEST);
                }
                None => pause = RETRY_FIRST,
            }
        }
    }

    fn peer_source(&self, edge: &Edge) -> PeerSource {
        let mut peers = self.peers.borrow_mut();
        match peers.iter().position(|(name, _)| *name == edge.name) {
            Some(index) => peers.swap_remove(index).1,
            None => PeerSource::new(&self.store, edge),
        }
    }

    /// Offers the channel of `edge` to domain `peer`, and waits for it as long as it takes.
    fn accept<'a>(&'a self, edge: &'a Edge, peer: u16) -> Making<'a> {
        Box::pin(async move {
            let name = edge.name.as_str();
            let meeting =
                Meeting::as_server(&self.store, self.own, peer, name).counting(&self.waiting);
            let layout = Layout::for_sizes(edge.ring as usize, 0)
                .map_err(|error| Failure::Final(format!("edge {name}: {error}")))?;
            let endpoint = Endpoint::offer(&meeting, OfferOptions::from(layout))
                .await
                .map_err(|error| Failure::passing(&error))?;
            let _wait = self.waiting.begin();
            endpoint
                .connected()
                .await
                .map_err(|error| Failure::passing(&error))?;
            Ok(endpoint)
        })
    }

    /// Connects the channel of `edge` to domain `peer`, waiting for its offer as long as it takes.
    fn connect<'a>(&'a self, edge: &'a Edge, peer: u16) -> Making<'a> {
        Box::pin(async move {
            let name = edge.name.as_str();
            let meeting =
                Meeting::as_client(&self.store, self.own, peer, name).counting(&self.waiting);
            Endpoint::connect(&meeting, ConnectOptions::default())
                .await
                .map_err(|error| Failure::passing(&error))
        })
    }

    /// Writes what changed of the counters.
    fn write_changed(&self, path: &str, value: &str) {
        let mut published = self.published.borrow_mut();
        match published.iter_mut().find(|(known, _)| known == path) {
            Some((_, last)) if last == value => return,
            Some((_, last)) => *last = value.to_string(),
            None => published.push((path.to_string(), value.to_string())),
        }
        // Nobody waits for the answer: the next publication says it again if it still matters.
        drop(self.store.write(&format!("data/grantflow/{path}"), value));
    }
}

/// Makes the channel of an edge with a domain. A pointer, so that an image holds the code of the directions alone that its
/// function takes.
type Make = for<'a> fn(&'a XenHost, &'a Edge, u16) -> Making<'a>;

type Making<'a> = Pin<Box<dyn Future<Output = Result<Endpoint<Meeting>, Failure>> + 'a>>;

/// Says after a while that the peer is still not there. Never ready.
async fn complain(edge: EdgeName, peer: u16) {
    time::sleep_until(time::now() + PATIENCE).await;
    let absent = if domain_exists(peer) {
        "has not come yet"
    } else {
        "does not exist"
    };
    log::warn!("edge {edge}: waiting: domain {peer} {absent}");
    core::future::pending().await
}

/// Why a channel was not made.
enum Failure {
    /// It may work another time.
    Passing(String),
    /// It never will.
    Final(String),
}

impl Failure {
    #[cold]
    fn passing(error: &dyn fmt::Display) -> Self {
        Self::Passing(error.to_string())
    }
}

/// Whether Xen knows domain `id`: asking about a port that cannot exist is refused with `ESRCH` only where the domain is missing.
fn domain_exists(id: u16) -> bool {
    hypercall::evtchn_status(id, u32::MAX) != Err(hypercall::XenErrno::ESRCH)
}

/// An open edge. The runner uses one of its two directions.
pub struct Channel {
    reader: vchan::Reader<Meeting>,
    writer: vchan::Writer<Meeting>,
    peer: PeerSource,
    /// When it was last asked whether the peer is there.
    looked: Duration,
}

/// What ended an edge.
#[derive(Debug)]
pub enum ChannelError {
    /// Reading failed.
    Read(ReadError),
    /// Writing failed.
    Write(WriteError),
    /// Dom0 named another peer.
    PeerChanged,
}

impl fmt::Display for ChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => error.fmt(f),
            Self::Write(error) => error.fmt(f),
            Self::PeerChanged => f.write_str("dom0 named another peer"),
        }
    }
}

impl core::error::Error for ChannelError {}

impl embedded_io_async::Error for ChannelError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Read(error) => error.kind(),
            Self::Write(error) => error.kind(),
            Self::PeerChanged => ErrorKind::ConnectionReset,
        }
    }
}

impl ErrorType for Channel {
    type Error = ChannelError;
}

impl Read for Channel {
    async fn read(&mut self, out: &mut [u8]) -> Result<usize, ChannelError> {
        let Self { reader, peer, .. } = self;
        // The ring is asked first: bytes that had arrived come before the news.
        match first(pin!(reader.read(out)), pin!(peer.changed())).await {
            Some(count) => count.map_err(ChannelError::Read),
            None => Err(ChannelError::PeerChanged),
        }
    }
}

impl Write for Channel {
    async fn write(&mut self, data: &[u8]) -> Result<usize, ChannelError> {
        let Self { writer, peer, .. } = self;
        match first(pin!(writer.write(data)), pin!(peer.changed())).await {
            Some(count) => count.map_err(ChannelError::Write),
            None => Err(ChannelError::PeerChanged),
        }
    }

    async fn flush(&mut self) -> Result<(), ChannelError> {
        self.writer.publish().map_err(ChannelError::Write)
    }
}

impl Channel {
    fn event_counters(&self) -> Events {
        let counters = self.writer.stats().counters();
        Events {
            sent: counters.events_sent,
            received: counters.events_received,
        }
    }
}

impl Reader for Channel {
    fn events(&self) -> Events {
        self.event_counters()
    }
}

impl Writer for Channel {
    fn events(&self) -> Events {
        self.event_counters()
    }

    fn unread(&self) -> usize {
        self.writer.unread() as usize
    }

    async fn drained(&mut self) {
        // An error says that the reader is gone; `unread` tells what it left.
        let _ = self.writer.drained().await;
    }

    async fn gone(&mut self) {
        let Self {
            writer,
            peer,
            looked,
            ..
        } = self;
        let silently = async {
            loop {
                time::sleep_until(*looked + LOOK_FOR_PEER).await;
                *looked = time::now();
                // An error is a peer that broke the protocol: the next write says so.
                let _ = writer.look_for_peer();
                if !writer.is_connected() {
                    return;
                }
            }
        };
        first(pin!(silently), pin!(peer.changed())).await;
    }
}

impl Host for XenHost {
    type Reader = Channel;
    type Writer = Channel;

    fn now(&self) -> Duration {
        time::now().saturating_sub(self.started)
    }

    fn wall_clock(&self) -> Timestamp {
        Timestamp::from_nanos(i64::try_from(time::unix().as_nanos()).unwrap_or(i64::MAX))
    }

    fn sleep_until(&self, deadline: Duration) -> impl Future<Output = ()> {
        time::sleep_until(self.started + deadline)
    }

    fn open_input(&self, edge: &Edge) -> impl Future<Output = Result<Channel, OpenError>> {
        self.open(edge, Self::accept)
    }

    fn open_output(&self, edge: &Edge) -> impl Future<Output = Result<Channel, OpenError>> {
        self.open(edge, Self::connect)
    }

    fn set_state(&self, state: &State) {
        if *state == State::Running
            && let Some(report) = self.on_running.take()
        {
            report(&self.waiting);
        }
        let text = state.to_string();
        log::debug!("{text}");
        drop(self.store.write("data/grantflow/state", text));
    }

    fn publish(&self, counters: &Counters) {
        counters.for_each_node(|path, value| self.write_changed(path, value));
    }

    fn heap_high_water(&self) -> u64 {
        memory::heap_stats().high_water as u64
    }

    fn console_line(&self, line: &str) -> impl Future<Output = ()> {
        console::write_line(line)
    }

    fn stop_requested(&self) -> impl Future<Output = ()> {
        self.orders.stop()
    }
}
