//! Frames made by hand, for the tests: each field as one likes it, and the answers that an honest neighbour would give.
//!
//! Bytes, not smoltcp's builders, which make no frame that smoltcp would not send itself.

extern crate std;

mod corpus;

use std::vec;
use std::vec::Vec;

pub use corpus::corpus;
use smoltcp::wire::{IpAddress, IpProtocol, Ipv4Address, Ipv6Address, checksum};

/// The hardware address of the host under test.
pub const OUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0];
/// Its IPv4 address, where it has a static one.
pub const OUR_IPV4: [u8; 4] = [10, 0, 0, 1];
/// Its link-local address, made of its hardware address.
pub const OUR_IPV6: [u8; 16] = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 0, 0, 0];
/// The hardware address of the neighbour, who is all other hosts.
pub const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];
/// Its IPv4 address.
pub const PEER_IPV4: [u8; 4] = [10, 0, 0, 9];
/// Its link-local address.
pub const PEER_IPV6: [u8; 16] = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 0, 0, 9];

const ALL_NODES: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// Values of an Ethernet header's last field.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// See [`ETHERTYPE_IPV4`].
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// See [`ETHERTYPE_IPV4`].
pub const ETHERTYPE_IPV6: u16 = 0x86dd;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// Flags of a TCP header.
pub const FIN: u8 = 1;
/// See [`FIN`].
pub const SYN: u8 = 2;
/// See [`FIN`].
pub const RST: u8 = 4;
/// See [`FIN`].
pub const ACK: u8 = 16;

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const IPV6: usize = 40;

/// A frame from the neighbour to the host under test.
pub fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&OUR_MAC[..], &PEER_MAC, &ethertype.to_be_bytes(), payload].concat()
}

/// A frame with an IPv4 packet. Checksums are right.
pub fn ipv4(protocol: u8, from: [u8; 4], to: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let [high, low] = ((IPV4 + payload.len()) as u16).to_be_bytes();
    let header = [0x45, 0, high, low, 0, 1, 0, 0, 64, protocol, 0, 0];
    let packet = [&header[..], &from, &to, payload].concat();
    sealed(ethernet(ETHERTYPE_IPV4, &packet))
}

/// A frame with an IPv6 packet. Checksums are right.
pub fn ipv6(next_header: u8, from: [u8; 16], to: [u8; 16], payload: &[u8]) -> Vec<u8> {
    let [high, low] = (payload.len() as u16).to_be_bytes();
    let header = [0x60, 0, 0, 0, high, low, next_header, 255];
    let packet = [&header[..], &from, &to, payload].concat();
    sealed(ethernet(ETHERTYPE_IPV6, &packet))
}

/// A TCP segment.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// From which port to which.
    pub ports: [u16; 2],
    /// The sequence number.
    pub seq: u32,
    /// The acknowledgement number.
    pub ack: u32,
    /// [`SYN`] and its like.
    pub flags: u8,
    /// The window, not scaled.
    pub window: u16,
    /// As they stand in the header; filled up with zeros.
    pub options: &'a [u8],
    /// The data.
    pub payload: &'a [u8],
}

impl Segment<'_> {
    /// Header and data, without a checksum.
    pub fn bytes(&self) -> Vec<u8> {
        let padded = self.options.len().next_multiple_of(4).min(40);
        let header = [((20 + padded) as u8 / 4) << 4, self.flags];
        let mut bytes = [
            &self.ports[0].to_be_bytes()[..],
            &self.ports[1].to_be_bytes(),
            &self.seq.to_be_bytes(),
            &self.ack.to_be_bytes(),
            &header,
            &self.window.to_be_bytes(),
            &[0; 4],
            self.options,
        ]
        .concat();
        bytes.resize(20 + padded, 0);
        bytes.extend_from_slice(self.payload);
        bytes
    }

    /// As a frame from the neighbour.
    pub fn frame(&self) -> Vec<u8> {
        ipv4(TCP, PEER_IPV4, OUR_IPV4, &self.bytes())
    }
}

/// The opening of a connection from port 4000 to `port`.
pub fn syn(port: u16, options: &[u8]) -> Vec<u8> {
    let segment = Segment {
        ports: [4000, port],
        seq: 1000,
        ack: 0,
        flags: SYN,
        window: 65_535,
        options,
        payload: &[],
    };
    segment.frame()
}

fn udp_bytes(ports: [u16; 2], payload: &[u8]) -> Vec<u8> {
    let len = (8 + payload.len()) as u16;
    let [from, to] = ports.map(u16::to_be_bytes);
    [&from[..], &to, &len.to_be_bytes(), &[0; 2], payload].concat()
}

/// A datagram from the neighbour.
pub fn udp(ports: [u16; 2], payload: &[u8]) -> Vec<u8> {
    ipv4(UDP, PEER_IPV4, OUR_IPV4, &udp_bytes(ports, payload))
}

/// An ARP packet about IPv4 over Ethernet: 1 asks, 2 answers.
pub fn arp(operation: u16, mac: [u8; 6], from: [u8; 4], to: [u8; 4]) -> Vec<u8> {
    let head = [0, 1, 8, 0, 6, 4];
    let packet = [
        &head[..],
        &operation.to_be_bytes(),
        &mac,
        &from,
        &OUR_MAC,
        &to,
    ]
    .concat();
    ethernet(ETHERTYPE_ARP, &packet)
}

/// A router's advertisement with a life of `life` seconds as a router, and `options`.
pub fn router_advertisement(life: u16, options: &[u8]) -> Vec<u8> {
    let [high, low] = life.to_be_bytes();
    let head = [134, 0, 0, 0, 64, 0, high, low, 0, 0, 0, 0, 0, 0, 0, 0];
    ipv6(ICMPV6, PEER_IPV6, ALL_NODES, &[&head[..], options].concat())
}

/// The option of an advertisement that tells a prefix: 2001:db8:0:`network`::/64.
pub fn prefix_option(network: u16, valid: u32, preferred: u32) -> Vec<u8> {
    let [high, low] = network.to_be_bytes();
    let prefix = [0x20, 1, 0x0d, 0xb8, 0, 0, high, low, 0, 0, 0, 0, 0, 0, 0, 0];
    [
        &[3, 4, 64, 0xc0][..],
        &valid.to_be_bytes(),
        &preferred.to_be_bytes(),
        &[0; 4],
        &prefix,
    ]
    .concat()
}

/// What a DHCP server says beside the address.
pub type DhcpOption = (u8, Vec<u8>);

/// A DHCP message: offers (2), grants (5), refuses (6).
pub fn dhcp(
    transaction: [u8; 4],
    kind: u8,
    server: [u8; 4],
    yours: [u8; 4],
    options: &[DhcpOption],
) -> Vec<u8> {
    let mut bytes = vec![0; 240];
    bytes[..3].copy_from_slice(&[2, 1, 6]);
    bytes[4..8].copy_from_slice(&transaction);
    bytes[16..20].copy_from_slice(&yours);
    bytes[28..34].copy_from_slice(&OUR_MAC);
    bytes[236..].copy_from_slice(&[0x63, 0x82, 0x53, 0x63]);
    bytes.extend([53, 1, kind, 54, 4]);
    bytes.extend(server);
    for (code, value) in options {
        bytes.extend([*code, value.len() as u8]);
        bytes.extend(value);
    }
    bytes.push(255);
    ipv4(UDP, server, [255; 4], &udp_bytes([67, 68], &bytes))
}

/// What a sensible server tells: mask, router, resolver, lease of an hour.
pub fn sensible_options() -> Vec<DhcpOption> {
    vec![
        (1, vec![255, 255, 255, 0]),
        (3, PEER_IPV4.to_vec()),
        (6, PEER_IPV4.to_vec()),
        (51, 3600_u32.to_be_bytes().to_vec()),
    ]
}

/// The transaction and the kind of a DHCP request that was sent: asks for offers (1), or for one offer (3).
pub fn dhcp_request(sent: &[u8]) -> Option<([u8; 4], u8)> {
    let message = udp_to(sent, 67)?;
    let transaction = message.get(4..8)?.try_into().ok()?;
    let options = message.get(240..)?;
    let mut at = 0;
    loop {
        match (*options.get(at)?, options.get(at + 1)) {
            (53, _) => return Some((transaction, *options.get(at + 2)?)),
            (0, _) => at += 1,
            (_, Some(len)) => at += 2 + usize::from(*len),
            _ => return None,
        }
    }
}

/// The datagram in a frame over IPv4 to `port`.
fn udp_to(sent: &[u8], port: u16) -> Option<&[u8]> {
    let ours = sent.get(12..14) == Some(&[8, 0])
        && sent.get(23) == Some(&UDP)
        && sent.get(36..38) == Some(&port.to_be_bytes());
    sent.get(42..).filter(|_| ours)
}

/// The answer to a DNS question that was sent: `records`, which are `count`.
pub fn dns(query: &[u8], count: u16, records: &[u8]) -> Option<Vec<u8>> {
    let question = udp_to(query, 53)?;
    let from = u16::from_be_bytes(query.get(34..36)?.try_into().ok()?);
    let mut message = question.to_vec();
    message.get_mut(2..4)?.copy_from_slice(&[0x81, 0x80]);
    message.get_mut(6..8)?.copy_from_slice(&count.to_be_bytes());
    message.extend_from_slice(records);
    Some(udp([53, from], &message))
}

/// An address record about the name in the question.
pub const A_RECORD: [u8; 16] = [0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 0, 0, 4, 10, 0, 0, 9];

/// A TCP segment that was sent over IPv4, taken apart.
#[derive(Clone, Debug)]
pub struct Sent {
    /// From which port to which.
    pub ports: [u16; 2],
    /// The sequence number.
    pub seq: u32,
    /// The acknowledgement number.
    pub ack: u32,
    /// [`SYN`] and its like.
    pub flags: u8,
    /// The data.
    pub payload: Vec<u8>,
}

/// Takes a TCP segment over IPv4 apart.
pub fn tcp_sent(sent: &[u8]) -> Option<Sent> {
    let is_tcp = sent.get(12..14) == Some(&[8, 0]) && sent.get(23) == Some(&TCP);
    let segment = sent.get(ETHERNET + IPV4..).filter(|_| is_tcp)?;
    let u16_at = |at: usize| {
        Some(u16::from_be_bytes(
            segment.get(at..at + 2)?.try_into().ok()?,
        ))
    };
    let u32_at = |at: usize| {
        Some(u32::from_be_bytes(
            segment.get(at..at + 4)?.try_into().ok()?,
        ))
    };
    let header = usize::from(segment.get(12)? >> 4) * 4;
    Some(Sent {
        ports: [u16_at(0)?, u16_at(2)?],
        seq: u32_at(4)?,
        ack: u32_at(8)?,
        flags: *segment.get(13)?,
        payload: segment.get(header..)?.to_vec(),
    })
}

/// The acknowledgement of all that a segment holds, with `window`; `None` for one that holds nothing.
pub fn acknowledge(sent: &Sent, window: u16) -> Option<Vec<u8>> {
    let opens = sent.flags & SYN != 0;
    let ends = sent.flags & FIN != 0;
    let count = sent.payload.len() as u32 + u32::from(opens) + u32::from(ends);
    if count == 0 || sent.flags & RST != 0 {
        return None;
    }
    let fresh = opens && sent.flags & ACK == 0;
    let answer = Segment {
        ports: [sent.ports[1], sent.ports[0]],
        seq: if fresh { 1000 } else { sent.ack },
        ack: sent.seq.wrapping_add(count),
        flags: if fresh { SYN | ACK } else { ACK },
        window,
        options: if fresh { &[2, 4, 5, 0xb4] } else { &[] },
        payload: &[],
    };
    Some(answer.frame())
}

/// What an honest neighbour, who is all other hosts, answers to a frame.
pub fn answer(sent: &[u8]) -> Option<Vec<u8>> {
    if let Some((transaction, kind)) = dhcp_request(sent) {
        let kind = if kind == 1 { 2 } else { 5 };
        let options = sensible_options();
        return Some(dhcp(transaction, kind, PEER_IPV4, OUR_IPV4, &options));
    }
    if let Some(answer) = dns(sent, 1, &A_RECORD) {
        return Some(answer);
    }
    if let Some(segment) = tcp_sent(sent) {
        return acknowledge(&segment, 65_535);
    }
    let asks_arp = sent.get(12..14) == Some(&[8, 6]) && sent.get(20..22) == Some(&[0, 1]);
    if asks_arp {
        let target: [u8; 4] = sent.get(38..42)?.try_into().ok()?;
        let from: [u8; 4] = sent.get(28..32)?.try_into().ok()?;
        return Some(arp(2, PEER_MAC, target, from));
    }
    let asks_neighbour = sent.get(12..14) == Some(&[0x86, 0xdd]) && sent.get(54) == Some(&135);
    if asks_neighbour {
        let target: [u8; 16] = sent.get(62..78)?.try_into().ok()?;
        let from: [u8; 16] = sent.get(22..38)?.try_into().ok()?;
        let message = [
            &[136, 0, 0, 0, 0x60, 0, 0, 0][..],
            &target,
            &[2, 1],
            &PEER_MAC,
        ]
        .concat();
        return Some(ipv6(ICMPV6, target, from, &message));
    }
    None
}

fn sealed(mut frame: Vec<u8>) -> Vec<u8> {
    seal(&mut frame);
    frame
}

/// Makes the checksums of a frame right, as far as it has places for them. Without, a change ends at the first check.
pub fn seal(frame: &mut [u8]) {
    let _ = try_seal(frame);
}

fn try_seal(frame: &mut [u8]) -> Option<()> {
    match frame.get(12..14)? {
        [0x08, 0x00] => {
            let header = usize::from(frame.get(ETHERNET)? & 15) * 4;
            let start = ETHERNET + header;
            put(frame.get_mut(ETHERNET..start)?, 10, 0)?;
            let total = usize::from(u16::from_be_bytes([*frame.get(16)?, *frame.get(17)?]));
            let from: [u8; 4] = frame.get(26..30)?.try_into().ok()?;
            let to: [u8; 4] = frame.get(30..34)?.try_into().ok()?;
            let protocol = *frame.get(23)?;
            let end = frame.len().min(ETHERNET + total);
            let addresses = (Ipv4Address::from(from).into(), Ipv4Address::from(to).into());
            // Of the header last: a datagram too short for its own sum is still to get through.
            let _ = frame
                .get_mut(start..end)
                .and_then(|data| seal_transport(data, protocol, addresses));
            put(frame.get_mut(ETHERNET..start)?, 10, 0)
        }
        [0x86, 0xdd] => {
            let mut protocol = *frame.get(20)?;
            let mut start = ETHERNET + IPV6;
            // Extension headers that are counted in units of eight bytes.
            while matches!(protocol, 0 | 43 | 60) {
                let len = (usize::from(*frame.get(start + 1)?) + 1) * 8;
                protocol = *frame.get(start)?;
                start += len;
            }
            let len = usize::from(u16::from_be_bytes([*frame.get(18)?, *frame.get(19)?]));
            let from: [u8; 16] = frame.get(22..38)?.try_into().ok()?;
            let to: [u8; 16] = frame.get(38..54)?.try_into().ok()?;
            let end = frame.len().min(ETHERNET + IPV6 + len);
            let addresses = (Ipv6Address::from(from).into(), Ipv6Address::from(to).into());
            seal_transport(frame.get_mut(start..end)?, protocol, addresses)
        }
        _ => None,
    }
}

fn seal_transport(data: &mut [u8], protocol: u8, (from, to): (IpAddress, IpAddress)) -> Option<()> {
    let place = match protocol {
        TCP => 16,
        UDP => 6,
        ICMP | ICMPV6 => 2,
        _ => return None,
    };
    let extra = match protocol {
        ICMP => 0,
        _ => {
            let protocol = IpProtocol::from(protocol);
            checksum::pseudo_header(&from, &to, protocol, data.len() as u32)
        }
    };
    put(data, place, extra)
}

/// Writes the sum over `data` and `extra` at `place`.
fn put(data: &mut [u8], place: usize, extra: u16) -> Option<()> {
    data.get_mut(place..place + 2)?.fill(0);
    let sum = !checksum::combine(&[extra, checksum::data(data)]);
    data.get_mut(place..place + 2)?
        .copy_from_slice(&sum.to_be_bytes());
    Some(())
}
