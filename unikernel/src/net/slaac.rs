//! IPv6 addresses and a default route from routers' advertisements (RFC 4861, RFC 4862). Pure.
//!
//! smoltcp 0.14 has such a room (`proto-ipv6-slaac`), but with it `Interface::poll_at` cannot be slept by. It takes the lesser of
//! two `Option`s, of which `None` is the least: as long as either side has no deadline, the other's is not told, be it a socket's
//! timer or the next solicitation. And the last solicitation, when nobody answers, leaves a deadline in the past for ever: a host
//! on a link without routers would never rest. Here addresses are made of the interface's own; that nobody else has such a one is
//! not asked for.

use alloc::vec;
use alloc::vec::Vec;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, Icmpv6Message, Icmpv6Packet, Icmpv6Repr,
    IpProtocol, Ipv6Address, Ipv6Cidr, Ipv6Packet, Ipv6Repr, NdiscPrefixInformation, NdiscRepr,
};

/// `MAX_RTR_SOLICITATIONS` (RFC 4861, section 10).
const SOLICITATIONS: u8 = 3;
/// `RTR_SOLICITATION_INTERVAL`.
const INTERVAL: Duration = Duration::from_secs(4);
/// Addresses that are kept.
const ADDRESSES_MAX: usize = 2;
/// An advertisement does not take a longer life than this away (RFC 4862, 5.5.3 e), since anyone on the link can make one.
const UNDISPUTED: Duration = Duration::from_secs(2 * 60 * 60);

const ALL_NODES: Ipv6Address = Ipv6Address::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_ROUTERS: Ipv6Address = Ipv6Address::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// What routers have told.
#[derive(Debug)]
pub struct Slaac {
    mac: [u8; 6],
    solicitations: u8,
    next_solicitation: Instant,
    addresses: Vec<(Ipv6Cidr, Instant)>,
    router: Option<(Ipv6Address, Instant)>,
}

/// The address in the network `prefix` (of 64 bits) that is made of `mac` (RFC 4291, appendix A).
fn address_in(prefix: Ipv6Address, [a, b, c, d, e, f]: [u8; 6]) -> Ipv6Cidr {
    let mut octets = prefix.octets();
    octets[8..].copy_from_slice(&[a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    Ipv6Cidr::new(octets.into(), 64)
}

/// The address that an interface has on its own link.
pub fn link_local(mac: [u8; 6]) -> Ipv6Cidr {
    address_in(Ipv6Address::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), mac)
}

impl Slaac {
    /// Nothing is known, and a router is to be asked at once.
    pub fn new(mac: [u8; 6], now: Instant) -> Self {
        Self {
            mac,
            solicitations: SOLICITATIONS,
            next_solicitation: now,
            addresses: Vec::new(),
            router: None,
        }
    }

    /// The addresses beside the link-local one.
    pub fn addresses(&self) -> impl Iterator<Item = Ipv6Cidr> {
        self.addresses.iter().map(|(address, _)| *address)
    }

    /// The way to other networks.
    pub fn router(&self) -> Option<Ipv6Address> {
        self.router.map(|(router, _)| router)
    }

    /// When something is to be done next.
    pub fn poll_at(&self) -> Option<Instant> {
        let asking = (self.solicitations > 0).then_some(self.next_solicitation);
        let ends = self.addresses.iter().map(|(_, end)| *end);
        let router = self.router.map(|(_, end)| end);
        asking.into_iter().chain(ends).chain(router).min()
    }

    /// Forgets what has expired; whether anything had.
    pub fn expire(&mut self, now: Instant) -> bool {
        let before = (self.addresses.len(), self.router);
        self.addresses.retain(|(_, end)| *end > now);
        self.router = self.router.filter(|(_, end)| *end > now);
        before != (self.addresses.len(), self.router)
    }

    /// Whether a router is to be asked now.
    pub fn is_solicitation_due(&self, now: Instant) -> bool {
        self.solicitations > 0 && self.next_solicitation <= now
    }

    /// The frame that asks.
    pub fn solicitation(&mut self, now: Instant) -> Vec<u8> {
        self.solicitations = self.solicitations.saturating_sub(1);
        self.next_solicitation = now + INTERVAL;
        let message = Icmpv6Repr::Ndisc(NdiscRepr::RouterSolicit {
            lladdr: Some(EthernetAddress(self.mac).into()),
        });
        frame(
            self.mac,
            link_local(self.mac).address(),
            ALL_ROUTERS,
            &message,
        )
    }

    /// Takes over what a frame tells, if it is an advertisement; whether anything has changed.
    pub fn receive(&mut self, frame: &[u8], now: Instant) -> bool {
        let Some((router, lifetime, prefix)) = advertisement(frame) else {
            return false;
        };
        self.solicitations = 0;
        let before = (self.addresses.len(), self.router());
        if lifetime > Duration::ZERO {
            self.router = Some((router, now + lifetime));
        } else if self.router() == Some(router) {
            self.router = None;
        }
        if let Some(prefix) = prefix {
            self.take_prefix(&prefix, now);
        }
        before != (self.addresses.len(), self.router())
    }

    fn take_prefix(&mut self, prefix: &NdiscPrefixInformation, now: Instant) {
        // 64 bits are left for what is made of the hardware address.
        if !prefix.is_valid_prefix_info() || prefix.prefix_len != 64 || prefix.prefix.is_multicast()
        {
            return;
        }
        let address = address_in(prefix.prefix, self.mac);
        let end = now + prefix.valid_lifetime;
        let full = self.addresses.len() >= ADDRESSES_MAX;
        let known = self.addresses.iter_mut().find(|(it, _)| *it == address);
        match known {
            Some((_, old)) if prefix.valid_lifetime > UNDISPUTED || end > *old => *old = end,
            Some((_, old)) => *old = (*old).min(now + UNDISPUTED),
            None if prefix.valid_lifetime == Duration::ZERO => {}
            None if full => {}
            None => self.addresses.push((address, end)),
        }
    }
}

/// The router, its life as such, and the prefix that it advertises.
fn advertisement(frame: &[u8]) -> Option<(Ipv6Address, Duration, Option<NdiscPrefixInformation>)> {
    let frame = EthernetFrame::new_checked(frame).ok()?;
    if frame.ethertype() != EthernetProtocol::Ipv6 {
        return None;
    }
    let packet = Ipv6Packet::new_checked(frame.payload()).ok()?;
    let (from, to) = (packet.src_addr(), packet.dst_addr());
    // A hop limit of 255 says that it comes from this link.
    let plausible = packet.next_header() == IpProtocol::Icmpv6
        && packet.hop_limit() == 255
        && from.is_unicast_link_local()
        && (to == ALL_NODES || to.is_unicast_link_local());
    if !plausible {
        return None;
    }
    let message = Icmpv6Packet::new_checked(packet.payload()).ok()?;
    if message.msg_type() != Icmpv6Message::RouterAdvert {
        return None;
    }
    let repr = Icmpv6Repr::parse(&from, &to, &message, &ChecksumCapabilities::default()).ok()?;
    match repr {
        Icmpv6Repr::Ndisc(NdiscRepr::RouterAdvert {
            router_lifetime,
            prefix_info,
            ..
        }) => Some((from, router_lifetime, prefix_info)),
        _ => None,
    }
}

/// A frame with an ICMPv6 message to a group of this link.
fn frame(mac: [u8; 6], from: Ipv6Address, to: Ipv6Address, message: &Icmpv6Repr<'_>) -> Vec<u8> {
    let header = Ipv6Repr {
        src_addr: from,
        dst_addr: to,
        next_header: IpProtocol::Icmpv6,
        payload_len: message.buffer_len(),
        hop_limit: 255,
    };
    let len = EthernetFrame::<&[u8]>::buffer_len(header.buffer_len() + header.payload_len);
    let mut bytes = vec![0; len];
    let mut frame = EthernetFrame::new_unchecked(bytes.as_mut_slice());
    frame.set_src_addr(EthernetAddress(mac));
    let [.., a, b, c, d] = to.octets();
    frame.set_dst_addr(EthernetAddress([0x33, 0x33, a, b, c, d]));
    frame.set_ethertype(EthernetProtocol::Ipv6);
    let mut packet = Ipv6Packet::new_unchecked(frame.payload_mut());
    header.emit(&mut packet);
    let mut icmp = Icmpv6Packet::new_unchecked(packet.payload_mut());
    message.emit(&from, &to, &mut icmp, &ChecksumCapabilities::default());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use smoltcp::wire::{NdiscPrefixInfoFlags, NdiscRouterFlags};

    const MAC: [u8; 6] = [0x00, 0x16, 0x3e, 0x01, 0x02, 0x03];
    const ROUTER: Ipv6Address = Ipv6Address::new(0xfe80, 0, 0, 0, 0, 0, 0, 9);
    const PREFIX: Ipv6Address = Ipv6Address::new(0x2001, 0xdb8, 0, 7, 0, 0, 0, 0);
    const EUI64: Ipv6Address =
        Ipv6Address::new(0x2001, 0xdb8, 0, 7, 0x0216, 0x3eff, 0xfe01, 0x0203);

    fn advertise(router_life: u64, prefix_life: u64, prefix: Ipv6Address, len: u8) -> Vec<u8> {
        let message = Icmpv6Repr::Ndisc(NdiscRepr::RouterAdvert {
            hop_limit: 64,
            flags: NdiscRouterFlags::empty(),
            router_lifetime: Duration::from_secs(router_life),
            reachable_time: Duration::ZERO,
            retrans_time: Duration::ZERO,
            lladdr: None,
            mtu: None,
            prefix_info: Some(NdiscPrefixInformation {
                prefix_len: len,
                flags: NdiscPrefixInfoFlags::ADDRCONF | NdiscPrefixInfoFlags::ON_LINK,
                valid_lifetime: Duration::from_secs(prefix_life),
                preferred_lifetime: Duration::from_secs(prefix_life),
                prefix,
            }),
        });
        frame([2, 0, 0, 0, 0, 9], ROUTER, ALL_NODES, &message)
    }

    fn at(seconds: i64) -> Instant {
        Instant::from_secs(seconds)
    }

    fn addresses(slaac: &Slaac) -> Vec<Ipv6Address> {
        slaac.addresses().map(|cidr| cidr.address()).collect()
    }

    #[test]
    fn a_router_is_asked_three_times_and_then_no_more() {
        let mut slaac = Slaac::new(MAC, at(1));
        for second in [1, 5, 9] {
            assert_eq!(slaac.poll_at(), Some(at(second)));
            assert!(!slaac.is_solicitation_due(at(second) - Duration::from_millis(1)));
            assert!(slaac.is_solicitation_due(at(second)));
            assert!(advertisement(&slaac.solicitation(at(second))).is_none());
        }
        assert_eq!(slaac.poll_at(), None);
    }

    #[test]
    fn an_advertisement_gives_an_address_and_a_route_until_they_expire() {
        let mut slaac = Slaac::new(MAC, at(0));
        assert!(slaac.receive(&advertise(100, 200, PREFIX, 64), at(10)));
        assert_eq!(
            (addresses(&slaac), slaac.router()),
            (vec![EUI64], Some(ROUTER))
        );
        assert!(!slaac.is_solicitation_due(at(10)));
        assert_eq!(slaac.poll_at(), Some(at(110)));
        assert!(!slaac.expire(at(109)));
        assert!(slaac.expire(at(110)));
        assert_eq!((addresses(&slaac), slaac.router()), (vec![EUI64], None));
        assert!(slaac.expire(at(210)));
        assert_eq!((addresses(&slaac), slaac.poll_at()), (vec![], None));
    }

    #[test]
    fn one_short_advertisement_does_not_take_an_address_away() {
        let mut slaac = Slaac::new(MAC, at(0));
        slaac.receive(&advertise(100, 20_000, PREFIX, 64), at(0));
        slaac.receive(&advertise(0, 0, PREFIX, 64), at(1));
        assert_eq!(slaac.router(), None);
        assert!(!slaac.expire(at(7200)));
        assert!(slaac.expire(at(7201)));
    }

    #[test]
    fn what_is_no_network_for_hosts_gives_no_address() {
        let local = Ipv6Address::new(0xfe80, 0, 0, 0, 0, 0, 0, 0);
        for (prefix, len, life) in [
            (PREFIX, 48, 9),
            (PREFIX, 64, 0),
            (local, 64, 9),
            (ALL_NODES, 64, 9),
        ] {
            let mut slaac = Slaac::new(MAC, at(0));
            slaac.receive(&advertise(100, life, prefix, len), at(0));
            assert!(addresses(&slaac).is_empty());
        }
    }

    #[test]
    fn no_number_of_prefixes_takes_more_than_its_place() {
        let mut slaac = Slaac::new(MAC, at(0));
        for network in 1..50 {
            let prefix = Ipv6Address::new(0x2001, 0xdb8, 0, network, 0, 0, 0, 0);
            slaac.receive(&advertise(100, 100, prefix, 64), at(0));
        }
        assert_eq!(addresses(&slaac).len(), ADDRESSES_MAX);
    }

    proptest! {
        #[test]
        fn a_broken_advertisement_changes_nothing_and_harms_nobody(
            place in 0usize..300, bit in 0u8..8, cut in 0usize..300,
        ) {
            let good = advertise(100, 100, PREFIX, 64);
            let mut bad = good.clone();
            let place = place % bad.len();
            bad[place] ^= 1 << bit;
            let mut slaac = Slaac::new(MAC, at(0));
            // What the hardware addresses say is not ours to judge.
            if place >= 12 {
                // Priority and flow label are under no checksum.
                let uncovered = (14..18).contains(&place);
                prop_assert!(uncovered || !slaac.receive(&bad, at(0)), "byte {}", place);
            }
            let cut = cut % good.len();
            prop_assert!(!Slaac::new(MAC, at(0)).receive(&good[..cut], at(0)));
        }
    }
}
