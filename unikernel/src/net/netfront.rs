//! The front end's life in xenstore: looks at the device's nodes, takes the steps of [`handshake`](super::handshake), and brings
//! the interface up and down.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::future::{pending, poll_fn};
use core::pin::pin;
use core::task::Poll;

use super::device::{Features, NetDevice};
use super::handshake::{Act, Front, Seen, XenbusState};
use super::offload::ChecksumOffload;
use super::rx::Receiver;
use super::tx::Transmitter;
use crate::xenstore::{Client, Errno, Error, Request, Watch, parse_decimal};

/// The device: the first one of the domain.
const FRONTEND: &str = "device/vif/0";
/// `ETH_DATA_LEN`.
const MTU_DEFAULT: u16 = 1500;
/// What every host on the internet can take (RFC 791), and the least that smoltcp works with.
const MTU_MIN: u16 = 576;
/// How often one device may begin anew after its back end has broken the protocol.
const RESETS: u32 = 1;

/// Rings and pages that were granted to a back end, and the port to it.
pub struct Offer<P> {
    /// Frames out.
    pub transmitter: Transmitter,
    /// Frames in.
    pub receiver: Receiver,
    /// The reference of the ring of frames out.
    pub tx_ring_ref: u32,
    /// The reference of the ring of frames in.
    pub rx_ring_ref: u32,
    /// The number of the port.
    pub event_channel: u32,
    /// The port, and whatever has to live as long as the rings are used.
    pub wire: P,
}

/// What the front end needs of the world around it.
pub trait Machine {
    /// A port, and what lives as long as the rings.
    type Wire;

    /// Grants rings and pages to domain `backend`.
    fn offer(&self, backend: u16) -> Result<Offer<Self::Wire>, String>;
    /// The interface has come up.
    fn up(&self, device: NetDevice, mac: [u8; 6], wire: &Rc<Self::Wire>);
    /// The interface is gone.
    fn down(&self);
    /// Waits until the back end has broken the protocol; says how.
    fn fault(&self) -> impl Future<Output = String>;
    /// Waits for a while before something that failed is tried again.
    fn pause(&self) -> impl Future<Output = ()>;
}

/// The back end of the device that is there.
struct Backend {
    path: String,
    domain: u16,
    watch: Watch,
}

/// The front end of one device.
pub struct Netfront<M: Machine> {
    store: Client,
    machine: M,
    front: Front,
    backend: Option<Backend>,
    offer: Option<Offered<M::Wire>>,
    resets: u32,
    /// The back end has broken the protocol since the rings were made.
    fault: bool,
}

/// What was published.
struct Offered<P> {
    /// Taken when the interface comes up.
    rings: Option<(Transmitter, Receiver)>,
    wire: Rc<P>,
}

/// Why the front end had to look again.
enum News {
    Nodes(Result<String, Error>),
    Fault(String),
}

impl<M: Machine> Netfront<M> {
    /// A front end that has not looked yet.
    pub fn new(store: Client, machine: M) -> Self {
        Self {
            store,
            machine,
            front: Front::default(),
            backend: None,
            offer: None,
            resets: 0,
            fault: false,
        }
    }

    /// Serves the device until xenstore fails.
    pub async fn run(mut self) -> Error {
        match self.serve().await {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    async fn serve(&mut self) -> Result<core::convert::Infallible, Error> {
        let mut nodes = self.store.watch(FRONTEND).await?;
        loop {
            let seen = self.look().await?;
            let again = self.resets <= RESETS;
            let (next, act) = self.front.step(seen, self.fault, again);
            let settled = next == self.front && act == Act::Wait;
            self.front = next;
            self.act(act).await?;
            if settled {
                self.wait(&mut nodes).await?;
            }
        }
    }

    /// Waits until a node has changed, or the back end has broken the protocol.
    async fn wait(&mut self, nodes: &mut Watch) -> Result<(), Error> {
        let mut own = pin!(nodes.changed());
        let backend = self.backend.as_mut();
        let mut other = pin!(async {
            match backend {
                Some(backend) => backend.watch.changed().await,
                None => pending().await,
            }
        });
        let machine = &self.machine;
        let in_use = self.front == Front::Connected && !self.fault;
        let mut fault = pin!(async {
            match in_use {
                true => machine.fault().await,
                false => pending().await,
            }
        });
        let news = poll_fn(|cx| match own.as_mut().poll(cx) {
            Poll::Pending => match other.as_mut().poll(cx) {
                Poll::Pending => fault.as_mut().poll(cx).map(News::Fault),
                changed => changed.map(News::Nodes),
            },
            changed => changed.map(News::Nodes),
        });
        match news.await {
            News::Nodes(changed) => changed.map(drop),
            News::Fault(how) => {
                self.resets += 1;
                self.fault = true;
                log::error!("network: the back end broke the protocol: {how}");
                if self.resets > RESETS {
                    log::error!("network: closed until the device is attached anew");
                }
                Ok(())
            }
        }
    }

    /// What xenstore says about the device.
    async fn look(&mut self) -> Result<Seen, Error> {
        const NOTHING: Seen = Seen {
            backend: None,
            online: false,
        };
        let path = self.front_node("backend");
        let domain = self.front_node("backend-id");
        let (path, domain) = (path.await, domain.await);
        let (Some(path), Some(domain)) = (present(path)?, present(domain)?) else {
            return Ok(NOTHING);
        };
        let (Ok(path), Some(domain)) = (String::from_utf8(path), domain_id(&domain)) else {
            return Ok(NOTHING);
        };
        let known = self
            .backend
            .as_ref()
            .is_some_and(|known| known.path == path && known.domain == domain);
        if !known {
            let watch = self.store.watch(&format!("{path}/state")).await?;
            self.backend = Some(Backend {
                path: path.clone(),
                domain,
                watch,
            });
        }
        let state = self.store.read(&format!("{path}/state"));
        let online = self.store.read(&format!("{path}/online"));
        let (state, online) = (present(state.await)?, present(online.await)?);
        Ok(Seen {
            backend: state.map(|state| XenbusState::parse(&state)),
            online: online.is_none_or(|online| online != b"0"),
        })
    }

    fn front_node(&self, key: &str) -> Request<Vec<u8>> {
        self.store.read(&format!("{FRONTEND}/{key}"))
    }

    async fn act(&mut self, act: Act) -> Result<(), Error> {
        match act {
            Act::Wait => Ok(()),
            Act::Offer => self.publish().await,
            Act::Up => self.up().await,
            Act::Announce(state) => self.announce(state).await,
            Act::Down(state) => {
                self.down();
                self.announce(state).await
            }
            Act::Forget => {
                self.down();
                self.backend = None;
                self.resets = 0;
                Ok(())
            }
        }
    }

    fn down(&mut self) {
        self.fault = false;
        let Some(offer) = self.offer.take() else {
            return;
        };
        if offer.rings.is_none() {
            self.machine.down();
            log::warn!("network: the interface is down");
        }
    }

    /// Sets our state, but only where the device still is: a node that is left behind would be in the way of the next one.
    async fn announce(&self, state: XenbusState) -> Result<(), Error> {
        let announced = self
            .store
            .transaction(async |transaction| {
                transaction.read(&format!("{FRONTEND}/backend")).await?;
                transaction
                    .write(&format!("{FRONTEND}/state"), state.digit())
                    .await
            })
            .await;
        present(announced).map(drop)
    }

    /// Makes rings and publishes them.
    async fn publish(&mut self) -> Result<(), Error> {
        let Some(backend) = &self.backend else {
            return Ok(());
        };
        let offer = match self.machine.offer(backend.domain) {
            Ok(offer) => offer,
            Err(message) => {
                log::error!("network: {message}; trying again");
                self.front = Front::Initialising;
                self.machine.pause().await;
                return Ok(());
            }
        };
        let numbers = [
            ("tx-ring-ref", offer.tx_ring_ref),
            ("rx-ring-ref", offer.rx_ring_ref),
            ("event-channel", offer.event_channel),
            ("request-rx-copy", 1),
            ("feature-rx-notify", 1),
            ("feature-sg", 1),
            ("feature-gso-tcpv4", 1),
            ("feature-gso-tcpv6", 1),
            ("feature-ipv6-csum-offload", 1),
            ("state", XenbusState::Connected as u32),
        ];
        let published = self
            .store
            .transaction(async |transaction| {
                transaction.read(&format!("{FRONTEND}/backend")).await?;
                // All of them in one round trip.
                let requests = numbers.map(|(key, value)| {
                    transaction.write(&format!("{FRONTEND}/{key}"), format!("{value}"))
                });
                for request in requests {
                    request.await?;
                }
                Ok(())
            })
            .await;
        if present(published)?.is_some() {
            self.offer = Some(Offered {
                rings: Some((offer.transmitter, offer.receiver)),
                wire: Rc::new(offer.wire),
            });
        }
        Ok(())
    }

    /// The back end has mapped the rings: reads what it can do, and hands them to the stack.
    async fn up(&mut self) -> Result<(), Error> {
        let (Some(backend), Some(offer)) = (&self.backend, &mut self.offer) else {
            return Ok(());
        };
        let keys = [
            "feature-sg",
            "feature-no-csum-offload",
            "feature-ipv6-csum-offload",
            "feature-gso-tcpv4",
        ];
        let requests = keys.map(|key| self.store.read(&format!("{}/{key}", backend.path)));
        let mac = self.store.read(&format!("{FRONTEND}/mac"));
        let mtu = self.store.read(&format!("{FRONTEND}/mtu"));
        let mut set = [false; 4];
        for (set, request) in set.iter_mut().zip(requests) {
            *set = present(request.await)?.is_some_and(|value| value == b"1");
        }
        let [sg, no_checksum, ipv6_checksum, gso] = set;
        let features = Features {
            sg,
            checksum: ChecksumOffload {
                ipv4: !no_checksum,
                ipv6: ipv6_checksum,
            },
            gso_tcpv4: sg && gso,
        };
        let Some(mac) = present(mac.await)?.and_then(|text| parse_mac(&text)) else {
            log::error!("network: the device has no usable hardware address");
            return Ok(());
        };
        let mtu = present(mtu.await)?
            .and_then(|text| u16::try_from(parse_decimal(&text).ok()?).ok())
            .filter(|mtu| *mtu >= MTU_MIN)
            .unwrap_or(MTU_DEFAULT);
        if let Some((transmitter, receiver)) = offer.rings.take() {
            let device = NetDevice::new(transmitter, receiver, features, mtu);
            self.machine.up(device, mac, &offer.wire);
            log::info!("network: the interface is up");
        }
        Ok(())
    }
}

/// `None` for a node that is not there, or not for us.
fn present<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(Error::Store(Errno::ENOENT | Errno::EACCES)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn domain_id(value: &[u8]) -> Option<u16> {
    u16::try_from(parse_decimal(value).ok()?).ok()
}

/// Six pairs of hexadecimal digits with colons between, of one host.
fn parse_mac(text: &[u8]) -> Option<[u8; 6]> {
    let text = core::str::from_utf8(text).ok()?;
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        let part = parts.next()?;
        if part.len() != 2 || !part.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    // The lowest bit of the first byte says that it is a group.
    (parts.next().is_none() && mac[0] & 1 == 0 && mac != [0; 6]).then_some(mac)
}

#[cfg(test)]
mod tests {
    use super::parse_mac;

    #[test]
    fn a_hardware_address_is_one_host() {
        let good = [0x00, 0x16, 0x3e, 0xab, 0xCD, 0x01];
        assert_eq!(parse_mac(b"00:16:3e:ab:CD:01"), Some(good));
        for bad in [
            &b""[..],
            b"00:16:3e:ab:cd",
            b"00:16:3e:ab:cd:01:02",
            b"0:16:3e:ab:cd:01",
            b"+0:16:3e:ab:cd:01",
            b"01:16:3e:ab:cd:01",
            b"ff:ff:ff:ff:ff:ff",
            b"00:00:00:00:00:00",
            b"00-16-3e-ab-cd-01",
            b"\xff",
        ] {
            assert_eq!(parse_mac(bad), None, "{bad:?}");
        }
    }
}
