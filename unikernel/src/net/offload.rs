//! What netfront lets be done elsewhere: checksums and segmentation, both ways; and the last touch on what is sent. Pure.
//!
//! smoltcp is told that the device cares for the checksums of TCP and UDP, and leaves the field zero. Who has a frame sent with
//! a blank checksum owes the sum of the pseudo header in that field; where the back end does not take such frames, the whole sum
//! is made here.

use core::ops::Range;

use smoltcp::phy::{Checksum, ChecksumCapabilities};
use smoltcp::wire::{
    EthernetFrame, EthernetProtocol, IpAddress, IpProtocol, Ipv4Packet, Ipv6Packet, checksum,
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

/// Between whom a frame with TCP or UDP goes, and where in it the transport's part is.
struct Transport {
    from: IpAddress,
    to: IpAddress,
    protocol: IpProtocol,
    bytes: Range<usize>,
}

/// The one look at a frame: `None` if it has neither TCP nor UDP, is a fragment, or is too short for its headers.
fn transport(frame: &[u8]) -> Option<Transport> {
    let ethernet = EthernetFrame::new_checked(frame).ok()?;
    let header = EthernetFrame::<&[u8]>::header_len();
    let found = match ethernet.ethertype() {
        EthernetProtocol::Ipv4 => {
            let packet = Ipv4Packet::new_checked(ethernet.payload()).ok()?;
            if packet.more_frags() || packet.frag_offset() != 0 {
                return None;
            }
            let (start, end) = (packet.header_len(), packet.total_len());
            Transport {
                from: packet.src_addr().into(),
                to: packet.dst_addr().into(),
                protocol: packet.next_header(),
                bytes: header + usize::from(start)..header + usize::from(end),
            }
        }
        EthernetProtocol::Ipv6 => {
            let packet = Ipv6Packet::new_checked(ethernet.payload()).ok()?;
            Transport {
                from: packet.src_addr().into(),
                to: packet.dst_addr().into(),
                protocol: packet.next_header(),
                bytes: header + packet.header_len()..header + packet.total_len(),
            }
        }
        _ => return None,
    };
    matches!(found.protocol, IpProtocol::Tcp | IpProtocol::Udp).then_some(found)
}

impl Transport {
    /// Where the checksum stands in the transport's part.
    fn place(&self) -> Range<usize> {
        match self.protocol {
            IpProtocol::Tcp => 16..18,
            _ => 6..8,
        }
    }

    fn is_ipv6(&self) -> bool {
        matches!(self.from, IpAddress::Ipv6(_))
    }

    /// The bytes of `data`, which is the transport's part, that the checksum is about: a datagram has a length of its own.
    fn len(&self, data: &[u8]) -> Option<usize> {
        let len = match self.protocol {
            IpProtocol::Tcp => data.len(),
            _ => usize::from(u16::from_be_bytes([*data.get(4)?, *data.get(5)?])),
        };
        (self.place().end <= len && len <= data.len()).then_some(len)
    }

    /// The sum of the pseudo header of `len` bytes.
    fn pseudo_header(&self, len: usize) -> u16 {
        checksum::pseudo_header(&self.from, &self.to, self.protocol, len as u32)
    }
}

/// Makes the window that a segment tells one unit smaller.
///
/// A window of more than 65,535 bytes is told in units of several bytes (RFC 7323), rounded down, and smoltcp 0.14 takes in no more
/// than it has told last. The end of what it takes in then moves back and forth by up to a unit, which takes back what was offered
/// before (RFC 9293, section 3.8.6): bytes that were sent into that part are thrown away, the acknowledgements behind them too,
/// and two programs that wait for each other's acknowledgements do so for ever. With a unit kept back, what a peer was told ends
/// where each later end still lies beyond it, since the buffer itself only moves forward. In units of one byte it is a byte less.
fn keep_back_a_unit(segment: &mut [u8]) {
    const FLAGS: usize = 13;
    const SYN: u8 = 2;
    const WINDOW: Range<usize> = 14..16;
    // In a SYN the unit is a byte whatever comes later.
    if segment.get(FLAGS).is_some_and(|flags| flags & SYN == 0)
        && let Some(&[high, low]) = segment.get(WINDOW)
    {
        let window = u16::from_be_bytes([high, low]).saturating_sub(1);
        segment[WINDOW].copy_from_slice(&window.to_be_bytes());
    }
}

/// Finishes a frame to send: keeps a unit of its window back, and fills in its checksum, whole or as far as the back end goes on
/// from. Its `NETTXF_*` flags.
pub fn finish(frame: &mut [u8], offload: ChecksumOffload) -> u16 {
    let Some(transport) = transport(frame) else {
        return 0;
    };
    let Some(data) = frame.get_mut(transport.bytes.clone()) else {
        return 0;
    };
    let Some(data) = transport.len(data).and_then(|len| data.get_mut(..len)) else {
        return 0;
    };
    if transport.protocol == IpProtocol::Tcp {
        keep_back_a_unit(data);
    }
    let pseudo_header = transport.pseudo_header(data.len());
    let blank = match transport.is_ipv6() {
        false => offload.ipv4,
        true => offload.ipv6,
    };
    let sum = if blank {
        pseudo_header
    } else {
        data[transport.place()].fill(0);
        match !checksum::combine(&[pseudo_header, checksum::data(data)]) {
            // To a datagram zero would say that it has none (RFC 768); its complement is worth the same.
            0 if transport.protocol == IpProtocol::Udp => u16::MAX,
            sum => sum,
        }
    };
    data[transport.place()].copy_from_slice(&sum.to_be_bytes());
    if blank {
        NETTXF_CSUM_BLANK | NETTXF_DATA_VALIDATED
    } else {
        NETTXF_DATA_VALIDATED
    }
}

/// Whether the checksum of a frame that came is right, as far as it has one that smoltcp was told not to look at.
pub fn verify(frame: &[u8]) -> bool {
    let Some(transport) = transport(frame) else {
        return true;
    };
    let data = frame.get(transport.bytes.clone());
    let Some(data) = data.and_then(|data| data.get(..transport.len(data)?)) else {
        return false;
    };
    // Zero says that there is none, which IPv6 does not allow (RFC 8200, section 8.1).
    if transport.protocol == IpProtocol::Udp && data[transport.place()] == [0, 0] {
        return !transport.is_ipv6();
    }
    checksum::combine(&[transport.pseudo_header(data.len()), checksum::data(data)]) == u16::MAX
}

/// Whether a frame may be a router's advertisement: a cheap look, not a check.
pub fn may_be_advertisement(frame: &[u8]) -> bool {
    const TYPE: usize = 14 + 40;
    let ipv6 = frame.get(12..14) == Some(&[0x86, 0xdd]);
    ipv6 && frame.get(20) == Some(&58) && frame.get(TYPE) == Some(&134)
}

/// Whether a frame is a question to a DHCP server: a cheap look at one that smoltcp made, without options in its IPv4 header.
pub fn is_dhcp_question(frame: &[u8]) -> bool {
    let udp = frame.get(12..14) == Some(&[0x08, 0x00]) && frame.get(23) == Some(&17);
    udp && frame.get(34..38) == Some(&[0, 68, 0, 67])
}
