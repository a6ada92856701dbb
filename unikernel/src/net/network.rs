//! The network of this domain: grants, event channel and clock around the [`stack`](super::stack), and the tasks that drive it.

use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::RefCell;
use core::fmt;
use core::future::pending;
use core::pin::pin;
use core::time::Duration;

use smoltcp::time::Instant;
use smoltcp::wire::{IpAddress, IpCidr, IpEndpoint};
use stage::runner::{Net, first, yield_now};

use super::buffers::Buffers;
use super::config::IpConfig;
use super::connect::{ConnectError, connect};
use super::device::{DeviceCounters, NetDevice};
use super::netfront::{Machine, Netfront, Offer};
use super::resolve::{self, ResolveError};
use super::rx::{PAGES_MIN, Receiver};
use super::stack::Stack;
use super::tcp::{TcpError, TcpListener, TcpOptions, TcpStream};
use super::tx::Transmitter;
use super::udp::{UdpError, UdpSocket};
use crate::events::{Port, PortError};
use crate::executor::Spawner;
use crate::grants::{GrantError, Granted};
use crate::xenstore::Client;
use crate::{entropy, time};

/// Pages to send from: three of the longest frames at once, and room for small ones beside them.
const TX_PAGES: usize = 64;
/// Pages to receive into: what comes while we do something else.
const RX_PAGES: usize = 128;

const _: () = assert!(RX_PAGES >= PAGES_MIN && RX_PAGES <= 256 && TX_PAGES <= 256);

/// How long to wait before rings that could not be made are tried again.
const PAUSE: Duration = Duration::from_secs(5);

/// A handle on the network; clones share it.
#[derive(Clone)]
pub struct Network {
    stack: Rc<Stack>,
    wire: Slot,
    counters: Rc<RefCell<EventCounters>>,
}

/// The port to the back end while there is one.
type Slot = Rc<RefCell<Option<Rc<Wire>>>>;

/// Events between us and the back end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventCounters {
    /// Sent.
    pub sent: u64,
    /// Received.
    pub received: u64,
}

/// What lives as long as the rings are used. Dropped in this order: the port first, so that nobody looks at rings that end.
struct Wire {
    port: Port,
    _pages: [Granted; 4],
}

struct Around {
    stack: Rc<Stack>,
    wire: Slot,
}

fn instant() -> Instant {
    Instant::from_micros(i64::try_from(time::now().as_micros()).unwrap_or(i64::MAX))
}

impl Net for Network {
    type Stream = TcpStream;
    type Error = ConnectError;

    async fn configured(&self, host: &str) {
        // A name is asked for over IPv4.
        let ipv6 = host.parse::<core::net::Ipv6Addr>().is_ok();
        self.configured(ipv6).await;
    }

    async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, ConnectError> {
        self.connect_to(host, port, &TcpOptions::default()).await
    }

    fn random(&self) -> u64 {
        u64::from_ne_bytes(entropy::bytes())
    }
}

impl Network {
    /// Starts the network of the domain's first device, which may come, go and come again.
    pub fn start(store: &Client, spawner: &Spawner, config: IpConfig) -> Self {
        let network = Self {
            stack: Stack::new(config, u16::from_ne_bytes(entropy::bytes())),
            wire: Slot::default(),
            counters: Rc::default(),
        };
        let around = Around {
            stack: Rc::clone(&network.stack),
            wire: Rc::clone(&network.wire),
        };
        let netfront = Netfront::new(store.clone(), around);
        spawner.spawn(async move {
            let error = netfront.run().await;
            log::error!("network: xenstore: {error}");
        });
        let driven = network.clone();
        spawner.spawn(async move { driven.drive().await });
        network
    }

    /// Polls the stack whenever something happens.
    async fn drive(&self) -> ! {
        loop {
            let wire = self.wire.borrow().clone();
            let seen = wire.as_ref().map_or(0, |wire| wire.port.event_count());
            let outcome = self.stack.poll(instant());
            if let (true, Some(wire)) = (outcome.notify, &wire) {
                self.counters.borrow_mut().sent += 1;
                wire.port.notify();
            }
            if outcome.again {
                yield_now().await;
                continue;
            }
            let event = pin!(async {
                match &wire {
                    Some(wire) => wire.port.wait(seen).await,
                    None => pending().await,
                }
            });
            let timer = pin!(async {
                match outcome.next {
                    Some(next) => time::sleep_until(duration(next)).await,
                    None => pending().await,
                }
            });
            let due = pin!(first(event, timer));
            first(pin!(self.stack.kicked()), due).await;
            if let Some(wire) = &wire {
                self.counters.borrow_mut().received += wire.port.event_count() - seen;
            }
        }
    }

    /// Waits until there is an IPv4 address, or an IPv6 address that reaches beyond the link.
    pub async fn configured(&self, ipv6: bool) {
        self.stack.configured(ipv6).await;
    }

    /// Whether there is such an address, and an interface to use it on.
    pub fn is_configured(&self, ipv6: bool) -> bool {
        self.stack.is_configured(ipv6)
    }

    /// The addresses of the interface.
    pub fn addresses(&self) -> Vec<IpCidr> {
        self.stack.addresses()
    }

    /// What the interface counted since it came up; `None` while there is none.
    pub fn counters(&self) -> Option<DeviceCounters> {
        self.stack.counters()
    }

    /// Events since the start.
    pub fn events(&self) -> EventCounters {
        *self.counters.borrow()
    }

    /// The addresses of `name`.
    pub async fn resolve(&self, name: &str, ipv6: bool) -> Result<Vec<IpAddress>, ResolveError> {
        resolve::resolve(&self.stack, name, ipv6).await
    }

    /// Connects, once there is an address to do so from.
    pub async fn connect(
        &self,
        remote: IpEndpoint,
        options: &TcpOptions,
    ) -> Result<TcpStream, TcpError> {
        TcpStream::connect(&self.stack, remote, options).await
    }

    /// Connects to a host by its name or its address, as [`connect`](Self::connect) does.
    pub async fn connect_to(
        &self,
        host: &str,
        port: u16,
        options: &TcpOptions,
    ) -> Result<TcpStream, ConnectError> {
        connect(&self.stack, host, port, options).await
    }

    /// Listens on `port` of every address; `backlog` connections may wait to be accepted.
    pub fn listen(
        &self,
        port: u16,
        backlog: usize,
        options: TcpOptions,
    ) -> Result<TcpListener, TcpError> {
        TcpListener::bind(&self.stack, port, backlog, options)
    }

    /// A port for datagrams; 0 for any that is free.
    pub fn datagrams(&self, port: u16) -> Result<UdpSocket, UdpError> {
        UdpSocket::bind(&self.stack, port)
    }
}

fn duration(instant: Instant) -> Duration {
    Duration::from_micros(u64::try_from(instant.total_micros()).unwrap_or(0))
}

/// Why rings could not be made.
enum OfferError {
    Grant(GrantError),
    Port(PortError),
}

impl fmt::Display for OfferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grant(error) => error.fmt(f),
            Self::Port(error) => error.fmt(f),
        }
    }
}

impl From<GrantError> for OfferError {
    fn from(error: GrantError) -> Self {
        Self::Grant(error)
    }
}

impl From<PortError> for OfferError {
    fn from(error: PortError) -> Self {
        Self::Port(error)
    }
}

fn offer(backend: u16) -> Result<Offer<Wire>, OfferError> {
    let pages = |count| Granted::new(backend, count);
    let (tx_ring, rx_ring) = (pages(1)?, pages(1)?);
    let (tx, rx) = (pages(TX_PAGES)?, pages(RX_PAGES)?);
    let buffers = |granted: &Granted, count| {
        let references = (0..count).map(|page| granted.reference(page)).collect();
        Buffers::new(*granted.shared(), references)
    };
    let port = Port::alloc_unbound(backend)?;
    Ok(Offer {
        transmitter: Transmitter::new(*tx_ring.shared(), buffers(&tx, TX_PAGES)),
        receiver: Receiver::new(*rx_ring.shared(), buffers(&rx, RX_PAGES)),
        tx_ring_ref: tx_ring.reference(0),
        rx_ring_ref: rx_ring.reference(0),
        event_channel: port.number(),
        wire: Wire {
            port,
            _pages: [tx_ring, rx_ring, tx, rx],
        },
    })
}

impl Machine for Around {
    type Wire = Wire;

    fn offer(&self, backend: u16) -> Result<Offer<Wire>, String> {
        offer(backend).map_err(|error| error.to_string())
    }

    fn up(&self, device: NetDevice, mac: [u8; 6], wire: &Rc<Wire>) {
        *self.wire.borrow_mut() = Some(Rc::clone(wire));
        self.stack
            .up(device, mac, u64::from_ne_bytes(entropy::bytes()), instant());
    }

    fn down(&self) {
        // The rings go with the device, before the pages that they are in.
        self.stack.down();
        *self.wire.borrow_mut() = None;
    }

    async fn fault(&self) -> String {
        self.stack.fault().await.to_string()
    }

    async fn pause(&self) {
        time::sleep_until(time::now() + PAUSE).await;
    }
}
