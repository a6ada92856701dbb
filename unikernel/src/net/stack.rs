//! smoltcp's interface and sockets, and who waits for them. Pure: time and events come from outside.

mod addresses;
mod debts;

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::future::poll_fn;
use core::mem;
use core::task::{Poll, Waker};

use smoltcp::iface::{
    Config, Interface, PollIngressSingleResult, PollResult, SocketHandle, SocketSet,
};
use smoltcp::phy::{Device, DeviceCapabilities};
use smoltcp::socket::{dhcpv4, dns, tcp};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr, IpVersion};

use super::config::IpConfig;
use super::device::{DeviceCounters, Frame, NetDevice, Slot};
use super::ring::Violation;
use super::slaac::{Slaac, link_local};
use debts::Debts;

/// Frames taken in, and rounds of frames sent, before others get their turn.
const BATCH: usize = 64;
/// How soon to try again what could not be done although it is due.
const RETRY: Duration = Duration::from_millis(1);
/// How often sockets get to look at the time while there is no interface to send on.
const DOWN_INTERVAL: Duration = Duration::from_secs(1);
/// How long a connection that its owner has dropped may take to say goodbye.
const FAREWELL: Duration = Duration::from_secs(120);

/// What smoltcp sends and receives on: an interface, or nothing for the time being.
enum Link {
    Up(Box<NetDevice>),
    /// What the last one could do.
    Down(DeviceCapabilities),
}

impl Device for Link {
    type RxToken<'a> = Frame<'a>;
    type TxToken<'a> = Slot<'a>;

    fn receive(&mut self, now: Instant) -> Option<(Frame<'_>, Slot<'_>)> {
        match self {
            Self::Up(device) => device.receive(now),
            Self::Down(_) => None,
        }
    }

    fn transmit(&mut self, now: Instant) -> Option<Slot<'_>> {
        match self {
            Self::Up(device) => device.transmit(now),
            Self::Down(_) => None,
        }
    }

    fn capabilities(&self) -> DeviceCapabilities {
        match self {
            Self::Up(device) => device.capabilities(),
            Self::Down(last) => last.clone(),
        }
    }
}

/// The network as far as it needs no machine. All sockets share it.
pub struct Stack {
    inner: RefCell<Inner>,
}

pub(super) struct Inner {
    link: Link,
    /// Made anew with each device, since smoltcp asks a device only once what it can do. `None` before the first one.
    pub(super) interface: Option<Interface>,
    pub(super) sockets: SocketSet<'static>,
    pub(super) dns: SocketHandle,
    dhcp: Option<SocketHandle>,
    config: IpConfig,
    /// What routers tell; `None` before the first device.
    slaac: Option<Slaac>,
    next_port: u16,
    /// Connections that nobody holds any more, and that have not ended.
    farewells: Vec<SocketHandle>,
    debts: Debts,
    /// Something is to be done before the next event.
    kicked: bool,
    task: Option<Waker>,
    /// Who waits for addresses to change.
    waiting: Vec<Waker>,
    /// Who is told of a violation.
    watcher: Option<Waker>,
}

/// What a poll leaves to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The back end wants an event.
    pub notify: bool,
    /// More is to be done at once, after others had their turn.
    pub again: bool,
    /// When to poll next, unless something happens before.
    pub next: Option<Instant>,
}

impl Stack {
    /// A network without an interface so far. `random` chooses the first port.
    pub fn new(config: IpConfig, random: u16) -> Rc<Self> {
        let mut sockets = SocketSet::new(Vec::new());
        let dns = sockets.add(dns::Socket::new(&[], Vec::new()));
        let dhcp = match config {
            IpConfig::Dhcp { .. } => Some(sockets.add(dhcpv4::Socket::new())),
            IpConfig::Static { .. } => None,
        };
        let inner = Inner {
            link: Link::Down(DeviceCapabilities::default()),
            interface: None,
            sockets,
            dns,
            dhcp,
            config,
            slaac: None,
            next_port: random,
            farewells: Vec::new(),
            debts: Debts::default(),
            kicked: false,
            task: None,
            waiting: Vec::new(),
            watcher: None,
        };
        Rc::new(Self {
            inner: RefCell::new(inner),
        })
    }

    /// Runs `action` on the sockets; the stack is polled afterwards.
    pub(super) fn with<R>(&self, action: impl FnOnce(&mut Inner) -> R) -> R {
        let result = action(&mut self.inner.borrow_mut());
        self.kick();
        result
    }

    /// Looks at the sockets, without anything being to do afterwards.
    pub(super) fn look<R>(&self, action: impl FnOnce(&mut Inner) -> R) -> R {
        action(&mut self.inner.borrow_mut())
    }

    /// Has the stack polled.
    pub fn kick(&self) {
        let task = {
            let mut inner = self.inner.borrow_mut();
            inner.kicked = true;
            inner.task.take()
        };
        task.into_iter().for_each(Waker::wake);
    }

    /// Whether a kick has come since the last poll.
    #[cfg(any(test, fuzzing))]
    pub fn is_kicked(&self) -> bool {
        self.inner.borrow().kicked
    }

    /// Waits for a kick.
    pub async fn kicked(&self) {
        poll_fn(|cx| {
            let mut inner = self.inner.borrow_mut();
            if mem::take(&mut inner.kicked) {
                return Poll::Ready(());
            }
            inner.task = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// An interface has come up. `seed` is random.
    pub fn up(&self, mut device: NetDevice, mac: [u8; 6], seed: u64, now: Instant) {
        {
            let mut inner = self.inner.borrow_mut();
            let mut config = Config::new(EthernetAddress(mac).into());
            config.random_seed = seed;
            let mut interface = Interface::new(config, &mut device, now);
            interface.update_ip_addrs(|addresses| {
                let _ = addresses.push(link_local(mac).into());
            });
            let previous = inner.interface.replace(interface);
            inner.link = Link::Up(Box::new(device));
            inner.slaac = Some(Slaac::new(mac, now));
            inner.configure(previous.as_ref());
        }
        self.kick();
        self.wake_waiting();
    }

    /// The interface is gone.
    pub fn down(&self) {
        {
            let mut inner = self.inner.borrow_mut();
            // Connections may live on, with the address that they have.
            inner.link = Link::Down(inner.link.capabilities());
        }
        self.kick();
        self.wake_waiting();
    }

    /// Takes in what came, sends what can be sent.
    pub fn poll(&self, now: Instant) -> Outcome {
        let (outcome, changed, fault) = {
            let mut inner = self.inner.borrow_mut();
            inner.kicked = false;
            let (outcome, changed) = inner.poll(now);
            let fault = match inner.violation() {
                Some(_) => inner.watcher.take(),
                None => None,
            };
            (outcome, changed, fault)
        };
        fault.into_iter().for_each(Waker::wake);
        if changed {
            self.wake_waiting();
        }
        outcome
    }

    fn wake_waiting(&self) {
        let waiting = mem::take(&mut self.inner.borrow_mut().waiting);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Waits until the back end has broken the protocol.
    pub async fn fault(&self) -> Violation {
        poll_fn(|cx| {
            let mut inner = self.inner.borrow_mut();
            match inner.violation() {
                Some(violation) => Poll::Ready(violation),
                None => {
                    inner.watcher = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Waits until there is an address to reach `remote` from.
    pub async fn configured_for(&self, remote: IpAddress) {
        self.wait_until(|inner| match remote {
            IpAddress::Ipv6(remote) if remote.is_unicast_link_local() => inner.interface.is_some(),
            remote => inner.is_configured(remote.version() == IpVersion::Ipv6),
        })
        .await;
    }

    /// Waits until there is an address to reach hosts of a family from.
    pub async fn configured(&self, ipv6: bool) {
        self.wait_until(|inner| inner.is_configured(ipv6)).await;
    }

    async fn wait_until(&self, condition: impl Fn(&Inner) -> bool) {
        poll_fn(|cx| {
            let mut inner = self.inner.borrow_mut();
            if condition(&inner) {
                return Poll::Ready(());
            }
            inner.waiting.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Whether there is an address to reach hosts of a family from.
    pub fn is_configured(&self, ipv6: bool) -> bool {
        self.inner.borrow().is_configured(ipv6)
    }

    /// The addresses of the interface.
    pub fn addresses(&self) -> Vec<IpCidr> {
        let inner = self.inner.borrow();
        let interface = inner.interface.as_ref();
        interface.map_or_else(Vec::new, |interface| interface.ip_addrs().to_vec())
    }

    /// What the interface counted since it came up; `None` while there is none.
    pub fn counters(&self) -> Option<DeviceCounters> {
        match &self.inner.borrow().link {
            Link::Up(device) => Some(device.counters()),
            Link::Down(_) => None,
        }
    }
}

impl Inner {
    fn violation(&self) -> Option<Violation> {
        match &self.link {
            Link::Up(device) => device.violation(),
            Link::Down(_) => None,
        }
    }

    fn is_configured(&self, ipv6: bool) -> bool {
        let Some(interface) = &self.interface else {
            return false;
        };
        interface
            .ip_addrs()
            .iter()
            .any(|cidr| match cidr.address() {
                IpAddress::Ipv4(_) => !ipv6,
                IpAddress::Ipv6(address) => ipv6 && !address.is_unicast_link_local(),
            })
    }

    fn poll(&mut self, now: Instant) -> (Outcome, bool) {
        let Some(interface) = &mut self.interface else {
            let idle = Outcome {
                notify: false,
                again: false,
                next: None,
            };
            return (idle, false);
        };
        let mut again = true;
        for _ in 0..BATCH {
            let one = interface.poll_ingress_single(now, &mut self.link, &mut self.sockets);
            if one == PollIngressSingleResult::None {
                again = false;
                break;
            }
        }
        // Before sending: a peer whose connection is broken off is told.
        self.debts.collect(&mut self.sockets, now);
        let mut rounds = 0;
        while interface.poll_egress(now, &mut self.link, &mut self.sockets) != PollResult::None {
            rounds += 1;
            if rounds == BATCH {
                again = true;
                break;
            }
        }
        let changed = self.look_at_routers(now) | self.look_at_lease();
        self.reap();
        let (notify, news) = match &mut self.link {
            Link::Up(device) => (device.publish(), !again && device.arm()),
            Link::Down(_) => (false, false),
        };
        let outcome = Outcome {
            notify,
            again: (again || news || changed) && self.violation().is_none(),
            next: self.next(now),
        };
        (outcome, changed)
    }

    /// When to poll next.
    fn next(&mut self, now: Instant) -> Option<Instant> {
        let interface = self.interface.as_mut()?;
        let sockets = interface.poll_at(now, &self.sockets);
        let routers = self.slaac.as_ref().and_then(Slaac::poll_at);
        let debts = self.debts.poll_at();
        let next = sockets.into_iter().chain(routers).chain(debts).min()?;
        // All that could be done was done: a deadline that has passed is not kept by asking again at once.
        let next = next.max(now + RETRY);
        Some(match &self.link {
            // What cannot be sent now can be once the back end has taken what was sent before, which is an event.
            Link::Up(device) if device.is_starved() => next.max(now + DOWN_INTERVAL),
            Link::Up(_) => next,
            Link::Down(_) => next.max(now + DOWN_INTERVAL),
        })
    }

    /// Removes connections that have said goodbye.
    fn reap(&mut self) {
        let sockets = &mut self.sockets;
        self.farewells.retain(|&handle| {
            let socket = sockets.get_mut::<tcp::Socket<'_>>(handle);
            // Nobody is left to be surprised by a late segment, so that TIME-WAIT protects nothing here.
            let ended = matches!(socket.state(), tcp::State::Closed | tcp::State::TimeWait);
            if ended {
                self.debts.close(handle);
                sockets.remove(handle);
            } else if socket.recv_queue() > 0 {
                // Nobody will read it, and whoever sent it is to know (RFC 1122, section 4.2.2.13). The reset leaves with the
                // next poll, which is due at once.
                socket.abort();
            }
            !ended
        });
    }

    /// Lets a connection end by itself.
    pub(super) fn bid_farewell(&mut self, handle: SocketHandle) {
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(handle);
        socket.set_timeout(Some(FAREWELL));
        socket.close();
        self.debts.bid_farewell(handle, FAREWELL);
        self.farewells.push(handle);
    }

    /// A connection is somebody's, whose peer may owe acknowledgements for no longer than `patience`.
    pub(super) fn expect_acknowledgements(
        &mut self,
        connection: SocketHandle,
        patience: Option<Duration>,
    ) {
        if let Some(patience) = patience {
            self.debts.open(connection, patience);
        }
    }

    /// So many bytes were written on a connection.
    pub(super) fn count_written(&mut self, connection: SocketHandle, count: usize) {
        self.debts.write(connection, count);
    }

    /// A port that no connection uses.
    pub(super) fn ephemeral_port(&mut self) -> u16 {
        // RFC 6335, section 6.
        const FIRST: u16 = 49_152;
        loop {
            self.next_port = self.next_port.wrapping_add(1).max(FIRST);
            let port = self.next_port;
            let used = self.sockets.iter().any(|(_, socket)| match socket {
                smoltcp::socket::Socket::Tcp(socket) => socket
                    .local_endpoint()
                    .is_some_and(|local| local.port == port),
                smoltcp::socket::Socket::Udp(socket) => socket.endpoint().port == port,
                _ => false,
            });
            if !used {
                return port;
            }
        }
    }
}
