//! Telling the link who has an IPv4 address from now on (RFC 5227, section 2.3). Pure.
//!
//! An image that is started again has another hardware address. Neighbours that know the old one would go on sending there until
//! they doubt it, which takes Linux up to a minute.

use alloc::vec;
use alloc::vec::Vec;

use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, Ipv4Address,
};

/// An ARP request for `address` that nobody answers: it says that `mac` has it.
pub fn announcement(mac: EthernetAddress, address: Ipv4Address) -> Vec<u8> {
    let announcement = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Request,
        source_hardware_addr: mac,
        source_protocol_addr: address,
        target_hardware_addr: EthernetAddress([0; 6]),
        target_protocol_addr: address,
    };
    let header = EthernetFrame::<&[u8]>::header_len();
    let mut bytes = vec![0; header + announcement.buffer_len()];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes);
    frame.set_src_addr(mac);
    frame.set_dst_addr(EthernetAddress::BROADCAST);
    frame.set_ethertype(EthernetProtocol::Arp);
    announcement.emit(&mut ArpPacket::new_unchecked(frame.payload_mut()));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_told_and_nobody_is_asked() {
        let mac = [0x00, 0x16, 0x3e, 1, 2, 3];
        let bytes = announcement(EthernetAddress(mac), Ipv4Address::new(10, 9, 0, 77));
        let own = [&mac[..], &[10, 9, 0, 77]].concat();
        let expected = [
            &[0xff; 6][..],
            &mac,
            // ARP: Ethernet, IPv4, request.
            &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
            &own,
            &[0; 6],
            &[10, 9, 0, 77],
        ];
        assert_eq!(bytes, expected.concat());
    }
}
