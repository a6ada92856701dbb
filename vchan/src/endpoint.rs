//! Making a channel: [`Endpoint::offer`] for the server, [`Endpoint::connect`] for the client.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use embedded_io::{ErrorType, ReadReady, WriteReady};
use thiserror::Error;

use crate::interface::{
    CLI_LIVE, CLI_NOTIFY, GRANTS, LEFT_CONS, LEFT_ORDER, LEFT_PROD, LIVE_CLOSED, LIVE_OPEN,
    LIVE_WAITING, Layout, LayoutError, NOTIFY_WRITE, RIGHT_CONS, RIGHT_ORDER, RIGHT_PROD, Role,
    SRV_LIVE, SRV_NOTIFY,
};
use crate::keys::{self, KeyError};
use crate::link::{Corrupt, Half, Link, Peer, State};
use crate::platform::{Access, EventChannel, Rendezvous, SharedMemory};
use crate::policy::Policy;
use crate::reader::{ReadError, Reader};
use crate::ring::{BadIndex, Consumer, Producer};
use crate::stats::{Stats, count_violation};
use crate::writer::{WriteError, Writer};

/// What a server offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OfferOptions {
    /// The two rings; [`Layout::for_sizes`] finds one. The default has a left ring (client to server) of 1 KiB and a
    /// right ring of 2 KiB, both in the control page.
    pub layout: Layout,
    /// Index at which both rings begin. Peers may assume 0 (MirageOS does); anything else is for tests that want to
    /// see indexes wrap.
    pub first_index: u32,
    /// How the right ring, which we fill, is granted, if it has pages of its own. [`Access::ReadOnly`] keeps the client
    /// from changing what we have written, and lets [`Reservation::plain`](crate::Reservation::plain) lend plain bytes. libxenvchan's client maps the
    /// ring for reading anyway; a client that maps it for writing, as MirageOS's does, then cannot connect.
    pub right_ring: Access,
}

impl From<Layout> for OfferOptions {
    fn from(layout: Layout) -> Self {
        OfferOptions {
            layout,
            ..OfferOptions::default()
        }
    }
}

/// What a client accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectOptions {
    /// Also accept a channel that an earlier client has used, with whatever that client left in the rings.
    /// libxenvchan's servers allow it (`server_persist`); a stream of messages then starts in the middle of one.
    pub accept_used: bool,
}

/// Why a server could not offer a channel. Whatever had been made until then is released.
#[derive(Debug, Error)]
pub enum OfferError<E: core::error::Error + 'static> {
    /// No port could be allocated.
    #[error("no event channel port for the peer: {0}")]
    Port(#[source] E),
    /// The pages could not be allocated or granted.
    #[error("no pages to share with the peer: {0}; try smaller rings")]
    Share(#[source] E),
    /// The keys could not be written.
    #[error("the keys ring-ref and event-channel could not be published: {0}")]
    Publish(#[source] E),
}

/// Why a client could not connect. Whatever had been made until then is released, and the server has noticed nothing.
#[derive(Debug, Error)]
pub enum ConnectError<E: core::error::Error + 'static> {
    /// The keys could not be read.
    #[error("the keys ring-ref and event-channel could not be read: {0}")]
    Keys(#[source] E),
    /// `ring-ref` is not a grant reference.
    #[error("the key ring-ref {0}; remove it and restart the server")]
    PeerRingRef(#[source] KeyError),
    /// `event-channel` is not a port.
    #[error("the key event-channel {0}; remove it and restart the server")]
    PeerEventChannel(#[source] KeyError),
    /// The server's port could not be bound.
    #[error("the server's port could not be bound, the offer may be an old one: {0}; try again")]
    Bind(#[source] E),
    /// The control page could not be mapped.
    #[error("the server's control page could not be mapped: {0}; try again")]
    MapControl(#[source] E),
    /// A ring could not be mapped.
    #[error("the server's ring could not be mapped: {0}")]
    MapRing(#[source] E),
    /// The server's ring orders are illegal.
    #[error("the server's offer is illegal: {0}")]
    PeerLayout(#[from] LayoutError),
    /// The server's list of grants holds a 0 or the same reference twice.
    #[error(
        "the server's offer is illegal: its list of grants holds {0} more than once, or holds a zero"
    )]
    PeerGrants(u32),
    /// The server has closed the channel before we came.
    #[error("the server has closed this channel (srv_live is {0}); wait for a new offer")]
    PeerClosed(u8),
    /// Another client has used the channel before us.
    #[error(
        "this channel was used by an earlier client (cli_live is {0}); wait for a new offer, or accept used ones"
    )]
    Used(u8),
    /// The rings' indexes contradict each other.
    #[error("the server's offer is illegal: {0}")]
    PeerIndex(#[from] BadIndex),
}

impl<E: core::error::Error + 'static> ConnectError<E> {
    /// Whether it is an offer that no honest server makes. What is late, gone or refused by the platform is none, nor is
    /// a key that is empty: its server may be about to write it.
    pub fn is_violation(&self) -> bool {
        match self {
            Self::PeerRingRef(error) | Self::PeerEventChannel(error) => *error != KeyError::Empty,
            Self::PeerLayout(_) | Self::PeerGrants(_) | Self::PeerIndex(_) => true,
            Self::PeerClosed(live) => *live != LIVE_CLOSED,
            Self::Used(live) => *live > LIVE_WAITING,
            Self::Keys(_) | Self::Bind(_) | Self::MapControl(_) | Self::MapRing(_) => false,
        }
    }
}

/// Why a server stopped waiting for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AcceptError {
    /// The peer broke the protocol.
    #[error(transparent)]
    PeerCorrupt(#[from] Corrupt),
    /// We closed the channel ourselves.
    #[error("the channel was closed before a client came; offer a new one")]
    OursClosed,
}

/// One side of a channel, both directions. Dropping it closes the channel and releases what it holds.
pub struct Endpoint<R: Rendezvous> {
    reader: Reader<R>,
    writer: Writer<R>,
    link: Arc<Link<R>>,
}

impl<R: Rendezvous> Endpoint<R> {
    /// Server: makes a channel and publishes it. Returns without waiting for a client; see
    /// [`connected`](Self::connected). Dropping the future leaves nothing behind.
    pub async fn offer(
        rendezvous: &R,
        options: OfferOptions,
    ) -> Result<Self, OfferError<R::Error>> {
        let layout = options.layout;
        let events = rendezvous.alloc_unbound().map_err(OfferError::Port)?;
        let share = |pages, peer| match pages {
            0 => Ok(None),
            pages => rendezvous
                .share_ring(pages, peer)
                .map(|ring| Some(Box::new(ring)))
                .map_err(OfferError::Share),
        };
        let left = share(layout.left_pages(), Access::ReadWrite)?;
        let right = share(layout.right_pages(), options.right_ring)?;
        let control = rendezvous
            .share_control(&events)
            .map_err(OfferError::Share)?;
        write_header(&control, layout, options.first_index);
        write_grants(rendezvous, &control, [&left, &right], layout);
        let published = rendezvous
            .publish(rendezvous.grant_ref(&control, 0), events.port())
            .await
            .map_err(OfferError::Publish)?;
        let incoming = Half::incoming(Role::Server, layout);
        let outgoing = Half::outgoing(Role::Server, layout);
        Ok(Self::assemble(
            Link::server(left, control, events, published, layout),
            (
                incoming,
                Consumer::new(incoming.geometry, options.first_index),
            ),
            (
                outgoing,
                Producer::new(outgoing.geometry, options.first_index),
                right,
            ),
        ))
    }

    /// Client: waits until the server has published its keys, then joins. Dropping the future leaves nothing behind.
    pub async fn connect(
        rendezvous: &R,
        options: ConnectOptions,
    ) -> Result<Self, ConnectError<R::Error>> {
        let joined = Self::join(rendezvous, options).await;
        if joined.as_ref().is_err_and(ConnectError::is_violation) {
            count_violation();
        }
        joined
    }

    async fn join(rendezvous: &R, options: ConnectOptions) -> Result<Self, ConnectError<R::Error>> {
        let found = rendezvous.keys().await.map_err(ConnectError::Keys)?;
        let ring_ref = keys::parse(found.ring_ref.as_ref()).map_err(ConnectError::PeerRingRef)?;
        let port =
            keys::parse(found.event_channel.as_ref()).map_err(ConnectError::PeerEventChannel)?;
        let events = rendezvous
            .bind_interdomain(port)
            .map_err(ConnectError::Bind)?;
        let control = rendezvous
            .map_control(ring_ref, &events)
            .map_err(ConnectError::MapControl)?;
        let layout = read_header(&control, options)?;
        let refs = read_grants(&control, layout, ring_ref)?;
        let (left_refs, right_refs) = refs.split_at(layout.left_pages());
        // Ours to fill, theirs to fill: a right ring mapped for reading cannot be damaged by a fault on our side.
        let map = |refs: &[u32], access| match refs {
            [] => Ok(None),
            refs => rendezvous
                .map_ring(refs, access)
                .map(|ring| Some(Box::new(ring)))
                .map_err(ConnectError::MapRing),
        };
        let left = map(left_refs, Access::ReadWrite)?;
        let right = map(right_refs, Access::ReadOnly)?;
        // Acquire: a server may have written before we came, and the bytes that its index covers were stored before it.
        let index = |offset| control.load_u32(offset, Ordering::Acquire);
        let incoming = Half::incoming(Role::Client, layout);
        let consumer = Consumer::adopt(incoming.geometry, index(RIGHT_PROD), index(RIGHT_CONS))?;
        let outgoing = Half::outgoing(Role::Client, layout);
        let producer = Producer::adopt(outgoing.geometry, index(LEFT_PROD), index(LEFT_CONS))?;
        Ok(Self::assemble(
            Link::client(right, control, events, layout),
            (incoming, consumer),
            (outgoing, producer, left),
        ))
    }

    fn assemble(
        link: Link<R>,
        (incoming, consumer): (Half, Consumer),
        (outgoing, producer, memory): (Half, Producer, Option<Box<R::Memory>>),
    ) -> Self {
        let link = Arc::new(link);
        Endpoint {
            reader: Reader::new(Arc::clone(&link), incoming, consumer),
            writer: Writer::new(Arc::clone(&link), outgoing, producer, memory),
            link,
        }
    }

    /// Server: waits until a client has connected, even one that has closed again since; what it wrote is there to be
    /// read. A client returns at once. Dropping the future is safe, and so is dropping the endpoint instead.
    pub async fn connected(&self) -> Result<(), AcceptError> {
        loop {
            match self.link.state() {
                State::Corrupt(blame) => return Err(blame.into()),
                State::Closed => return Err(AcceptError::OursClosed),
                State::PeerDied => return Ok(()),
                State::Open => {}
            }
            // The count first: the client's event after it said open is one that the count has not seen. Clients
            // before Xen 4.14 send none; their first write does, since a new header asks for it.
            let seen = self.link.events().event_count();
            if self.link.peer()? != Peer::Waiting {
                return Ok(());
            }
            self.link.events().wait(seen).await;
            self.link.note_events();
        }
    }

    /// The two halves, each for a task or thread of its own.
    pub fn split(self) -> (Reader<R>, Writer<R>) {
        (self.reader, self.writer)
    }

    /// The reading half, borrowed.
    pub fn reader(&mut self) -> &mut Reader<R> {
        &mut self.reader
    }

    /// The writing half, borrowed.
    pub fn writer(&mut self) -> &mut Writer<R> {
        &mut self.writer
    }

    /// Which end of the channel this is.
    pub fn role(&self) -> Role {
        self.link.role()
    }

    /// The orders of the two rings.
    pub fn layout(&self) -> Layout {
        self.link.layout()
    }

    /// Whether the peer is there: it has connected, has not closed, and its port is bound. Asks the platform, which
    /// on Xen costs a hypercall.
    pub fn is_connected(&self) -> bool {
        self.link.is_connected()
    }

    /// Sets the policy of both halves.
    pub fn set_policy(&mut self, policy: Policy) {
        self.reader.set_policy(policy);
        self.writer.set_policy(policy);
    }

    /// Closes the channel and tells the peer, which can still read what was written. Pages and port are released when
    /// the endpoint is dropped.
    pub fn close(&mut self) {
        self.reader.free();
        self.writer.close();
    }

    /// The endpoint's counters; the handle outlives the channel.
    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(self.link.stats())
    }

    /// See [`Reader::try_read`].
    pub fn try_read(&mut self, out: &mut [u8]) -> Result<Option<usize>, ReadError> {
        self.reader.try_read(out)
    }

    /// See [`Writer::try_write`].
    pub fn try_write(&mut self, data: &[u8]) -> Result<usize, WriteError> {
        self.writer.try_write(data)
    }

    /// See [`Writer::drained`].
    pub async fn drained(&mut self) -> Result<(), WriteError> {
        self.reader.free();
        self.writer.drained().await
    }
}

/// Fills the header of a zeroed control page. Relaxed throughout: no peer can look before the keys are published,
/// which happens through the platform, and that orders everything before it.
fn write_header<M: SharedMemory>(control: &M, layout: Layout, first_index: u32) {
    for index in [LEFT_CONS, LEFT_PROD, RIGHT_CONS, RIGHT_PROD] {
        control.store_u32(index, first_index, Ordering::Relaxed);
    }
    control.store_u16(LEFT_ORDER, layout.left_order(), Ordering::Relaxed);
    control.store_u16(RIGHT_ORDER, layout.right_order(), Ordering::Relaxed);
    control.store_u8(CLI_LIVE, LIVE_WAITING, Ordering::Relaxed);
    control.store_u8(SRV_LIVE, LIVE_OPEN, Ordering::Relaxed);
    // Asks for an event for the client's first write, which is also how a client that sends none at connecting is
    // noticed.
    control.store_u8(CLI_NOTIFY, NOTIFY_WRITE, Ordering::Relaxed);
    control.store_u8(SRV_NOTIFY, 0, Ordering::Relaxed);
}

/// Lists the pages of both rings. Relaxed as the rest of the header.
fn write_grants<R: Rendezvous>(
    rendezvous: &R,
    control: &R::Memory,
    rings: [&Option<Box<R::Memory>>; 2],
    layout: Layout,
) {
    let counts = [layout.left_pages(), layout.right_pages()];
    let refs = rings.into_iter().zip(counts).flat_map(|(ring, count)| {
        ring.iter()
            .flat_map(move |ring| (0..count).map(|page| rendezvous.grant_ref(ring, page)))
    });
    for (slot, grant_ref) in refs.enumerate() {
        control.store_u32(GRANTS + 4 * slot, grant_ref, Ordering::Relaxed);
    }
}

/// The server's claims, each loaded once into our own memory and checked there. Relaxed throughout: a server stores
/// these before it publishes its keys, and reading the keys came before this.
fn read_header<M: SharedMemory, E: core::error::Error>(
    control: &M,
    options: ConnectOptions,
) -> Result<Layout, ConnectError<E>> {
    let srv_live = control.load_u8(SRV_LIVE, Ordering::Relaxed);
    if srv_live != LIVE_OPEN {
        return Err(ConnectError::PeerClosed(srv_live));
    }
    let cli_live = control.load_u8(CLI_LIVE, Ordering::Relaxed);
    if cli_live != LIVE_WAITING && !options.accept_used {
        return Err(ConnectError::Used(cli_live));
    }
    let left_order = control.load_u16(LEFT_ORDER, Ordering::Relaxed);
    let right_order = control.load_u16(RIGHT_ORDER, Ordering::Relaxed);
    Ok(Layout::new(left_order, right_order)?)
}

/// The server's list of grants, copied once. `layout` being legal bounds it by the page.
fn read_grants<M: SharedMemory, E: core::error::Error>(
    control: &M,
    layout: Layout,
    ring_ref: u32,
) -> Result<Vec<u32>, ConnectError<E>> {
    let count = layout.left_pages() + layout.right_pages();
    let refs: Vec<u32> = (0..count)
        .map(|slot| control.load_u32(GRANTS + 4 * slot, Ordering::Relaxed))
        .collect();
    // A page that stands for two places, be it in the rings or the control page, would let one of our own stores
    // change what we have checked.
    // At most 512 of them: looking at every pair is quick, and a sort is much code.
    let mut before = alloc::vec![0, ring_ref];
    for &grant_ref in &refs {
        if before.contains(&grant_ref) {
            return Err(ConnectError::PeerGrants(grant_ref));
        }
        before.push(grant_ref);
    }
    Ok(refs)
}

impl<R: Rendezvous> ErrorType for Endpoint<R> {
    type Error = EndpointError;
}

/// An error of either half, for code that holds both directions as one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EndpointError {
    /// From reading.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// From writing.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl embedded_io::Error for EndpointError {
    fn kind(&self) -> embedded_io::ErrorKind {
        match self {
            EndpointError::Read(error) => error.kind(),
            EndpointError::Write(error) => error.kind(),
        }
    }
}

impl<R: Rendezvous> embedded_io_async::Read for Endpoint<R> {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, EndpointError> {
        if let Some(read) = self.reader.try_read(buf)? {
            return Ok(read);
        }
        // Whoever waits holds nothing back. What keeps it from being published, the next write will say.
        let _ = self.writer.publish();
        Ok(self.reader.read(buf).await?)
    }
}

impl<R: Rendezvous> embedded_io_async::Write for Endpoint<R> {
    async fn write(&mut self, buf: &[u8]) -> Result<usize, EndpointError> {
        let written = self.writer.try_write(buf)?;
        if written > 0 || buf.is_empty() {
            return Ok(written);
        }
        self.reader.free();
        Ok(self.writer.write(buf).await?)
    }

    /// [`Writer::publish`], without waiting.
    async fn flush(&mut self) -> Result<(), EndpointError> {
        Ok(self.writer.publish()?)
    }
}

impl<R: Rendezvous> ReadReady for Endpoint<R> {
    fn read_ready(&mut self) -> Result<bool, EndpointError> {
        Ok(self.reader.read_ready()?)
    }
}

impl<R: Rendezvous> WriteReady for Endpoint<R> {
    fn write_ready(&mut self) -> Result<bool, EndpointError> {
        Ok(self.writer.write_ready()?)
    }
}
