//! Checksums: what is filled in on the way out is what is verified on the way in.

use std::vec;
use std::vec::Vec;

use proptest::prelude::*;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Address, Ipv4Packet, Ipv4Repr, Ipv6Address,
    Ipv6Packet, Ipv6Repr, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber, UdpPacket,
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

/// A frame with `data` as what `protocol` carries.
fn frame(ipv6: bool, protocol: IpProtocol, data: &[u8]) -> Vec<u8> {
    let header = if ipv6 { 40 } else { 20 };
    let mut bytes = vec![0; 14 + header + data.len()];
    let mut frame = EthernetFrame::new_unchecked(bytes.as_mut_slice());
    if ipv6 {
        frame.set_ethertype(EthernetProtocol::Ipv6);
        let repr = Ipv6Repr {
            src_addr: Ipv6Address::new(0xfec0, 0, 0, 0, 0, 0, 0, 1),
            dst_addr: Ipv6Address::new(0xfec0, 0, 0, 0, 0, 0, 0, 2),
            next_header: protocol,
            payload_len: data.len(),
            hop_limit: 64,
        };
        repr.emit(&mut Ipv6Packet::new_unchecked(frame.payload_mut()));
    } else {
        frame.set_ethertype(EthernetProtocol::Ipv4);
        let repr = Ipv4Repr {
            src_addr: Ipv4Address::new(10, 0, 0, 1),
            dst_addr: Ipv4Address::new(10, 0, 0, 2),
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

fn tcp(payload: &[u8]) -> Vec<u8> {
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

proptest! {
    #[test]
    fn whole_sums_verify_and_a_flipped_bit_does_not(
        payload in proptest::collection::vec(any::<u8>(), 0..200),
        ipv6 in any::<bool>(), is_tcp in any::<bool>(), place in any::<usize>(), bit in 0u8..8,
    ) {
        let (protocol, data) = match is_tcp {
            true => (IpProtocol::Tcp, tcp(&payload)),
            false => (IpProtocol::Udp, udp(&payload)),
        };
        let mut bytes = frame(ipv6, protocol, &data);
        prop_assert_eq!(finish(&mut bytes, NONE), NETTXF_DATA_VALIDATED);
        prop_assert!(verify(&bytes));
        let start = bytes.len() - data.len();
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
        let data = tcp(&payload);
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

#[test]
fn what_is_neither_tcp_nor_udp_is_left_alone() {
    let mut bytes = frame(false, IpProtocol::Icmp, &[8; 30]);
    let before = bytes.clone();
    assert_eq!(finish(&mut bytes, ALL), 0);
    assert_eq!(bytes, before);
    assert!(verify(&bytes));
}
