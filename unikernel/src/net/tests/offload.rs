//! Checksums: what is filled in on the way out is what is verified on the way in.

use core::num::NonZeroUsize;
use std::collections::VecDeque;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;
use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::phy::{
    ChecksumCapabilities, Device, DeviceCapabilities, Medium, PacketMeta, RxToken,
    SegmentationCapabilities, TxToken,
};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, IpAddress, IpCidr, IpProtocol, Ipv4Address,
    Ipv4Packet, Ipv4Repr, Ipv6Address, Ipv6Packet, Ipv6Repr, TcpControl, TcpPacket, TcpRepr,
    TcpSeqNumber, UdpPacket,
};

use crate::net::netif::{NETTXF_CSUM_BLANK, NETTXF_DATA_VALIDATED};
use crate::net::offload::{ChecksumOffload, finish, verify};

const NONE: ChecksumOffload = ChecksumOffload {
    ipv4: false,
    ipv6: false,
};
const ALL: ChecksumOffload = ChecksumOffload {
    ipv4: true,
    ipv6: true,
};

/// From whom, to whom.
const IPV4: [Ipv4Address; 2] = [Ipv4Address::new(10, 0, 0, 1), Ipv4Address::new(10, 0, 0, 2)];
const IPV6: [Ipv6Address; 2] = [
    Ipv6Address::new(0xfec0, 0, 0, 0, 0, 0, 0, 1),
    Ipv6Address::new(0xfec0, 0, 0, 0, 0, 0, 0, 2),
];

/// A frame with `data` as what `protocol` carries.
fn frame(ipv6: bool, protocol: IpProtocol, data: &[u8]) -> Vec<u8> {
    let header = if ipv6 { 40 } else { 20 };
    let mut bytes = vec![0; 14 + header + data.len()];
    let mut frame = EthernetFrame::new_unchecked(bytes.as_mut_slice());
    if ipv6 {
        frame.set_ethertype(EthernetProtocol::Ipv6);
        let repr = Ipv6Repr {
            src_addr: IPV6[0],
            dst_addr: IPV6[1],
            next_header: protocol,
            payload_len: data.len(),
            hop_limit: 64,
        };
        repr.emit(&mut Ipv6Packet::new_unchecked(frame.payload_mut()));
    } else {
        frame.set_ethertype(EthernetProtocol::Ipv4);
        let repr = Ipv4Repr {
            src_addr: IPV4[0],
            dst_addr: IPV4[1],
            next_header: protocol,
            payload_len: data.len(),
            hop_limit: 64,
        };
        let mut packet = Ipv4Packet::new_unchecked(frame.payload_mut());
        repr.emit(&mut packet, &ChecksumCapabilities::default());
    }
    bytes[14 + header..].copy_from_slice(data);
    bytes
}

fn segment(payload: &[u8]) -> Vec<u8> {
    let repr = TcpRepr {
        src_port: 1,
        dst_port: 2,
        control: TcpControl::None,
        seq_number: TcpSeqNumber(7),
        ack_number: None,
        window_len: 9,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload,
    };
    let mut bytes = vec![0; repr.buffer_len()];
    let (from, to) = (
        Ipv4Address::UNSPECIFIED.into(),
        Ipv4Address::UNSPECIFIED.into(),
    );
    repr.emit(
        &mut TcpPacket::new_unchecked(bytes.as_mut_slice()),
        &from,
        &to,
        &ChecksumCapabilities::ignored(),
    );
    bytes
}

fn udp(payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 8 + payload.len()];
    let mut packet = UdpPacket::new_unchecked(bytes.as_mut_slice());
    packet.set_src_port(53);
    packet.set_dst_port(5353);
    packet.set_len(8 + payload.len() as u16);
    bytes[8..].copy_from_slice(payload);
    bytes
}

/// The sum of all 16-bit words, carries added back (RFC 1071).
fn sum(bytes: &[u8]) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)));
    let mut total: u32 = words.sum();
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}

/// What the other end would say.
fn smoltcp_verifies(ipv6: bool, is_tcp: bool, data: &[u8]) -> bool {
    let [from, to]: [IpAddress; 2] = match ipv6 {
        true => IPV6.map(IpAddress::from),
        false => IPV4.map(IpAddress::from),
    };
    match is_tcp {
        true => TcpPacket::new_checked(data)
            .unwrap()
            .verify_checksum(&from, &to),
        false => UdpPacket::new_checked(data)
            .unwrap()
            .verify_checksum(&from, &to),
    }
}

proptest! {
    #[test]
    fn whole_sums_verify_and_a_flipped_bit_does_not(
        payload in proptest::collection::vec(any::<u8>(), 0..200),
        ipv6 in any::<bool>(), is_tcp in any::<bool>(), place in any::<usize>(), bit in 0u8..8,
    ) {
        let (protocol, data) = match is_tcp {
            true => (IpProtocol::Tcp, segment(&payload)),
            false => (IpProtocol::Udp, udp(&payload)),
        };
        let mut bytes = frame(ipv6, protocol, &data);
        prop_assert_eq!(finish(&mut bytes, NONE), NETTXF_DATA_VALIDATED);
        prop_assert!(verify(&bytes));
        let start = bytes.len() - data.len();
        prop_assert!(smoltcp_verifies(ipv6, is_tcp, &bytes[start..]));
        // In the data alone: a header that changes may say that there is no checksum.
        let first = start + if is_tcp { 20 } else { 8 };
        if first < bytes.len() {
            let place = first + place % (bytes.len() - first);
            bytes[place] ^= 1 << bit;
            prop_assert!(!verify(&bytes));
        }
    }

    #[test]
    fn a_blank_sum_is_that_of_the_pseudo_header(
        payload in proptest::collection::vec(any::<u8>(), 0..200), ipv6 in any::<bool>(),
    ) {
        let data = segment(&payload);
        let mut bytes = frame(ipv6, IpProtocol::Tcp, &data);
        let start = bytes.len() - data.len();
        let flags = finish(&mut bytes, ALL);
        prop_assert_eq!(flags, NETTXF_CSUM_BLANK | NETTXF_DATA_VALIDATED);
        let addresses = if ipv6 { 22..54 } else { 26..34 };
        let length = (data.len() as u16).to_be_bytes();
        let pseudo = [&bytes[addresses], &[0, 6], &length].concat();
        prop_assert_eq!(&bytes[start + 16..start + 18], sum(&pseudo).to_be_bytes());
        // What a network card then does: the sum over header and data, with what stands there, goes in its place.
        let whole = !sum(&bytes[start..]);
        bytes[start + 16..start + 18].copy_from_slice(&whole.to_be_bytes());
        prop_assert!(verify(&bytes));
    }

    #[test]
    fn any_bytes_are_looked_at_without_harm(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..120), ethertype in 0usize..3,
    ) {
        if let Some(place) = bytes.get_mut(12..14) {
            place.copy_from_slice(&[[0x08, 0x00], [0x86, 0xdd], [0x08, 0x06]][ethertype]);
        }
        let _ = verify(&bytes);
        let _ = finish(&mut bytes, ALL);
        let _ = finish(&mut bytes, NONE);
    }
}

#[test]
fn datagrams_without_a_checksum_are_accepted_over_ipv4_alone() {
    assert!(verify(&frame(false, IpProtocol::Udp, &udp(b"x"))));
    assert!(!verify(&frame(true, IpProtocol::Udp, &udp(b"x"))));
}

/// Zero would say that there is no checksum.
#[test]
fn the_sum_of_a_datagram_is_never_zero() {
    let mut turned = 0;
    for payload in 0..=u16::MAX {
        let mut bytes = frame(false, IpProtocol::Udp, &udp(&payload.to_be_bytes()));
        finish(&mut bytes, NONE);
        assert_ne!(bytes[40..42], [0, 0], "{payload}");
        assert!(smoltcp_verifies(false, false, &bytes[34..]), "{payload}");
        turned += u32::from(bytes[40..42] == [0xff, 0xff]);
    }
    assert_eq!(turned, 1, "one payload has the sum zero");
}

#[test]
fn what_is_neither_tcp_nor_udp_is_left_alone() {
    let mut bytes = frame(false, IpProtocol::Icmp, &[8; 30]);
    let before = bytes.clone();
    assert_eq!(finish(&mut bytes, ALL), 0);
    assert_eq!(bytes, before);
    assert!(verify(&bytes));
}

/// A wire that ends where it begins, to a device that says that it cuts long segments of either family.
#[derive(Default)]
struct Cutter {
    frames: VecDeque<Vec<u8>>,
    longest: usize,
    told: bool,
}

struct Passed(Vec<u8>);

struct Room<'a>(&'a mut Cutter);

impl RxToken for Passed {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Room<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.longest = self.0.longest.max(len);
        self.0.frames.push_back(frame);
        result
    }

    fn set_meta(&mut self, meta: PacketMeta) {
        self.0.told |= meta.segmentation_offload_size.is_some();
    }
}

impl Device for Cutter {
    type RxToken<'a> = Passed;
    type TxToken<'a> = Room<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Passed, Room<'_>)> {
        let frame = self.frames.pop_front()?;
        Some((Passed(frame), Room(self)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Room<'_>> {
        Some(Room(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities.checksum = crate::net::offload::capabilities();
        let mut segmentation = SegmentationCapabilities::default();
        (segmentation.tcpv4, segmentation.tcpv6) =
            (NonZeroUsize::new(65_535), NonZeroUsize::new(65_535));
        capabilities.segmentation = segmentation;
        capabilities
    }
}

/// Sends 10,000 bytes from `address` to itself through a [`Cutter`]; what arrives within a minute, and the device.
fn through_a_cutter(address: IpAddress) -> (usize, Cutter) {
    let mut cutter = Cutter::default();
    let config = Config::new(EthernetAddress([2, 0, 0, 0, 0, 1]).into());
    let mut interface = Interface::new(config, &mut cutter, Instant::ZERO);
    interface.update_ip_addrs(|addresses| addresses.push(IpCidr::new(address, 24)).unwrap());
    let mut sockets = SocketSet::new(Vec::new());
    let socket = || {
        let buffer = || tcp::SocketBuffer::new(vec![0; 16_000]);
        tcp::Socket::new(buffer(), buffer())
    };
    let (client, server) = (sockets.add(socket()), sockets.add(socket()));
    sockets
        .get_mut::<tcp::Socket<'_>>(server)
        .listen(7)
        .unwrap();
    let client_socket = sockets.get_mut::<tcp::Socket<'_>>(client);
    client_socket
        .connect(interface.context(), (address, 7), 50_000)
        .unwrap();
    let mut sent = 0;
    for millisecond in 0..60_000 {
        interface.poll(Instant::from_millis(millisecond), &mut cutter, &mut sockets);
        let socket = sockets.get_mut::<tcp::Socket<'_>>(client);
        if socket.may_send() && sent == 0 {
            sent = socket.send_slice(&[1; 10_000]).unwrap();
        }
    }
    let socket = sockets.get::<tcp::Socket<'_>>(server);
    (socket.recv_queue(), cutter)
}

/// Why nobody tells smoltcp of a back end with `feature-gso-tcpv6`: 0.14 makes a long segment, drops it for being longer than the
/// MTU, and would not tell the device what size to cut it to. No part of that can be made good from the device's side: a larger MTU
/// would bring the segment here, but the size that the peer asked for when the connection was opened stays in the socket. When this
/// fails, smoltcp has learned it, and `NetDevice::capabilities` may say so.
#[test]
fn long_segments_over_ipv6_never_reach_the_device() {
    let (arrived, cutter) = through_a_cutter(IpAddress::v4(10, 0, 0, 1));
    assert!(
        cutter.longest > 1514 && cutter.told,
        "IPv4 shows the difference"
    );
    assert_eq!(arrived, 10_000);
    let (arrived, cutter) = through_a_cutter(IpAddress::v6(0xfe80, 0, 0, 0, 0, 0, 0, 1));
    assert!(cutter.longest <= 1514 && !cutter.told);
    assert!(
        arrived < 10_000,
        "what is not sent again after a timeout, one short segment at a time, is lost"
    );
}
