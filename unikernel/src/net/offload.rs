//! What netfront lets be done elsewhere: checksums and segmentation, both ways. Pure.
//!
//! smoltcp is told that the device cares for the checksums of TCP and UDP, and leaves the field zero. Who has a frame sent with
//! a blank checksum owes the sum of the pseudo header in that field; where the back end does not take such frames, the whole sum
//! is made here.

use smoltcp::phy::{Checksum, ChecksumCapabilities};
use smoltcp::wire::{
    EthernetFrame, EthernetProtocol, IpAddress, IpProtocol, Ipv4Packet, Ipv6Packet, TcpOption,
    TcpPacket, UdpPacket, checksum,
};

use super::netif::{NETTXF_CSUM_BLANK, NETTXF_DATA_VALIDATED};

/// Which blank checksums the back end takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChecksumOffload {
    /// Over IPv4.
    pub ipv4: bool,
    /// Over IPv6.
    pub ipv6: bool,
}

/// What smoltcp is told: TCP and UDP are the device's affair.
pub fn capabilities() -> ChecksumCapabilities {
    let mut capabilities = ChecksumCapabilities::default();
    capabilities.tcp = Checksum::None;
    capabilities.udp = Checksum::None;
    capabilities
}

/// Where the transport's part of a frame is, and between whom.
struct Transport {
    from: IpAddress,
    to: IpAddress,
    protocol: IpProtocol,
    start: usize,
    end: usize,
}

/// The transport's part of a TCP or UDP frame; `None` for any other, for fragments, and for what is too short.
fn transport(frame: &[u8]) -> Option<Transport> {
    let ethernet = EthernetFrame::new_checked(frame).ok()?;
    let header = EthernetFrame::<&[u8]>::header_len();
    let found = match ethernet.ethertype() {
        EthernetProtocol::Ipv4 => {
            let packet = Ipv4Packet::new_checked(ethernet.payload()).ok()?;
            if packet.more_frags() || packet.frag_offset() != 0 {
                return None;
            }
            Transport {
                from: packet.src_addr().into(),
                to: packet.dst_addr().into(),
                protocol: packet.next_header(),
                start: header + usize::from(packet.header_len()),
                end: header + usize::from(packet.total_len()),
            }
        }
        EthernetProtocol::Ipv6 => {
            let packet = Ipv6Packet::new_checked(ethernet.payload()).ok()?;
            Transport {
                from: packet.src_addr().into(),
                to: packet.dst_addr().into(),
                protocol: packet.next_header(),
                start: header + packet.header_len(),
                end: header + packet.total_len(),
            }
        }
        _ => return None,
    };
    let fits = found.start <= found.end && found.end <= frame.len();
    (fits && matches!(found.protocol, IpProtocol::Tcp | IpProtocol::Udp)).then_some(found)
}

/// Finishes a frame to send: fills in its checksum, whole or as far as the back end goes on from. Its `NETTXF_*` flags.
pub fn finish(frame: &mut [u8], offload: ChecksumOffload) -> u16 {
    let Some(Transport {
        from,
        to,
        protocol,
        start,
        end,
    }) = transport(frame)
    else {
        return 0;
    };
    let blank = match from {
        IpAddress::Ipv4(_) => offload.ipv4,
        IpAddress::Ipv6(_) => offload.ipv6,
    };
    let Some(data) = frame.get_mut(start..end) else {
        return 0;
    };
    let sum = checksum::pseudo_header(&from, &to, protocol, data.len() as u32);
    match protocol {
        IpProtocol::Tcp => {
            let Ok(mut packet) = TcpPacket::new_checked(data) else {
                return 0;
            };
            if blank {
                packet.set_checksum(sum);
            } else {
                packet.fill_checksum(&from, &to);
            }
        }
        _ => {
            let Ok(mut packet) = UdpPacket::new_checked(data) else {
                return 0;
            };
            if blank {
                packet.set_checksum(sum);
            } else {
                packet.fill_checksum(&from, &to);
            }
        }
    }
    if blank {
        NETTXF_CSUM_BLANK | NETTXF_DATA_VALIDATED
    } else {
        NETTXF_DATA_VALIDATED
    }
}

/// Whether the checksum of a frame that came is right, as far as it has one that smoltcp was told not to look at.
pub fn verify(frame: &[u8]) -> bool {
    let Some(Transport {
        from,
        to,
        protocol,
        start,
        end,
    }) = transport(frame)
    else {
        return true;
    };
    let Some(data) = frame.get(start..end) else {
        return false;
    };
    match protocol {
        IpProtocol::Tcp => {
            TcpPacket::new_checked(data).is_ok_and(|packet| packet.verify_checksum(&from, &to))
        }
        _ => UdpPacket::new_checked(data).is_ok_and(|packet| {
            // Zero says that there is none, which IPv6 does not allow (RFC 8200, section 8.1).
            let none = packet.checksum() == 0 && matches!(from, IpAddress::Ipv6(_));
            !none && packet.verify_checksum(&from, &to)
        }),
    }
}

/// The least segment that a peer may ask for: less leaves no room for data beside options (Linux's `TCP_MIN_SND_MSS`).
const MSS_MIN: u16 = 48;

/// Whether a frame opens a connection with a maximum segment size so small that smoltcp 0.14, which takes the options of its own
/// segments off it, would come to segments of no length and panic.
pub fn has_poisonous_mss(frame: &[u8]) -> bool {
    let Some(Transport {
        protocol: IpProtocol::Tcp,
        start,
        end,
        ..
    }) = transport(frame)
    else {
        return false;
    };
    let packet = frame.get(start..end).map(TcpPacket::new_checked);
    let Some(Ok(packet)) = packet else {
        return false;
    };
    packet.syn() && max_segment_size(packet.options()).is_some_and(|size| size < MSS_MIN)
}

fn max_segment_size(mut options: &[u8]) -> Option<u16> {
    while let Ok((rest, option)) = TcpOption::parse(options) {
        match option {
            TcpOption::MaxSegmentSize(size) => return Some(size),
            TcpOption::EndOfList => return None,
            _ => options = rest,
        }
    }
    None
}

/// Whether a frame may be a router's advertisement: a cheap look, not a check.
pub fn may_be_advertisement(frame: &[u8]) -> bool {
    const TYPE: usize = 14 + 40;
    let ipv6 = frame.get(12..14) == Some(&[0x86, 0xdd]);
    ipv6 && frame.get(20) == Some(&58) && frame.get(TYPE) == Some(&134)
}
