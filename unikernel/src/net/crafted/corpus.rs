//! Frames that nobody honest sends.

use std::vec;
use std::vec::Vec;

use super::*;

/// Frames that nobody honest sends, by what is odd about them. Seeds of the fuzz target, and a test of their own.
pub fn corpus() -> Vec<(&'static str, Vec<u8>)> {
    let mut all = vec![
        (
            "arp: gratuitous, of our address",
            arp(1, PEER_MAC, OUR_IPV4, OUR_IPV4),
        ),
        ("arp: asks for us", arp(1, PEER_MAC, PEER_IPV4, OUR_IPV4)),
        ("arp: from everyone", arp(1, [0xff; 6], PEER_IPV4, OUR_IPV4)),
        ("arp: from nobody", arp(1, [0; 6], [0; 4], OUR_IPV4)),
        (
            "arp: answers what was not asked",
            arp(2, PEER_MAC, [224, 0, 0, 1], OUR_IPV4),
        ),
        ("ethernet: no payload", ethernet(ETHERTYPE_IPV4, &[])),
        ("ethernet: unknown", ethernet(0x8100, &[0; 46])),
        ("ipv6: no payload", ipv6(59, PEER_IPV6, OUR_IPV6, &[])),
    ];
    let mut odd = |name, mut frame: Vec<u8>, changes: &[(usize, u8)], right: bool| {
        for (place, value) in changes {
            frame[*place] = *value;
        }
        if right {
            seal(&mut frame);
        }
        all.push((name, frame));
    };
    let echo = ipv4(ICMP, PEER_IPV4, OUR_IPV4, &[8, 0, 0, 0, 0, 1, 0, 1, 7, 7]);
    odd("icmp: echo", echo.clone(), &[], true);
    odd(
        "ipv4: a header of no length",
        echo.clone(),
        &[(14, 0x40)],
        false,
    );
    odd(
        "ipv4: a header of 16 bytes",
        echo.clone(),
        &[(14, 0x44)],
        true,
    );
    odd(
        "ipv4: a header longer than the packet",
        echo.clone(),
        &[(14, 0x4f)],
        false,
    );
    odd(
        "ipv4: shorter than its header",
        echo.clone(),
        &[(17, 10)],
        true,
    );
    odd(
        "ipv4: longer than the frame",
        echo.clone(),
        &[(16, 0xff)],
        true,
    );
    odd("ipv4: a first fragment", echo.clone(), &[(20, 0x20)], true);
    odd(
        "ipv4: a fragment at the end of 64 KiB",
        echo.clone(),
        &[(20, 0x1f), (21, 0xff)],
        true,
    );
    odd(
        "ipv4: from everyone",
        echo.clone(),
        &[(26, 255), (27, 255), (28, 255), (29, 255)],
        true,
    );
    odd("ipv4: from ourselves", echo.clone(), &[(29, 1)], true);
    odd("ipv4: from nobody", echo.clone(), &[(26, 0), (29, 0)], true);
    odd(
        "ipv4: to everyone",
        echo.clone(),
        &[(30, 255), (31, 255), (32, 255), (33, 255)],
        true,
    );
    odd("ipv4: no time to live", echo.clone(), &[(22, 0)], true);
    odd(
        "ipv4: a protocol nobody knows",
        echo.clone(),
        &[(23, 253)],
        true,
    );
    let mut packet = vec![3, 3, 0, 0, 0, 0, 0, 0];
    packet.extend_from_slice(&echo[14..30]);
    let short = ipv4(ICMP, PEER_IPV4, OUR_IPV4, &packet);
    odd("icmp: unreachable, about half a header", short, &[], true);
    packet.extend_from_slice(&echo[30..]);
    let about = ipv4(ICMP, PEER_IPV4, OUR_IPV4, &packet);
    odd(
        "icmp: unreachable, about a header of no length",
        about,
        &[(42, 0x40)],
        true,
    );

    for (name, options) in [
        ("tcp: opens", &[][..]),
        ("tcp: opens, segments of no length", &[2, 4, 0, 0]),
        (
            "tcp: opens, segments of one byte, with SACK",
            &[2, 4, 0, 1, 4, 2],
        ),
        (
            "tcp: opens, segments of 12 bytes, with SACK and a window shift of 255",
            &[2, 4, 0, 12, 4, 2, 3, 3, 255],
        ),
        ("tcp: opens, segments of 64 KiB", &[2, 4, 255, 255]),
        ("tcp: an option of no length", &[2, 0, 5, 180]),
        ("tcp: an option of one byte", &[8, 1, 0, 0]),
        ("tcp: an option beyond the header", &[8, 200, 0, 0]),
        (
            "tcp: ranges of an odd length",
            &[5, 9, 0, 0, 0, 0, 0, 0, 0, 0],
        ),
        (
            "tcp: ranges the wrong way round",
            &[5, 10, 255, 255, 255, 255, 0, 0, 0, 0],
        ),
        ("tcp: a timestamp cut short", &[1, 1, 8, 3, 0]),
    ] {
        odd(name, syn(7, options), &[], true);
    }
    odd(
        "tcp: a header of 16 bytes",
        syn(7, &[]),
        &[(46, 0x40)],
        true,
    );
    odd(
        "tcp: a header longer than the segment",
        syn(7, &[]),
        &[(46, 0xf0)],
        true,
    );
    odd("tcp: opens and ends", syn(7, &[]), &[(47, SYN | FIN)], true);
    odd(
        "tcp: opens and breaks off",
        syn(7, &[]),
        &[(47, SYN | RST)],
        true,
    );
    odd("tcp: every flag", syn(7, &[]), &[(47, 0xff)], true);
    odd("tcp: no flag", syn(7, &[]), &[(47, 0)], true);
    odd("tcp: from port 0", syn(7, &[]), &[(34, 0), (35, 0)], true);
    odd("tcp: from nobody", syn(7, &[]), &[(26, 0), (29, 0)], true);
    odd(
        "tcp: from ourselves",
        syn(7, &[]),
        &[(29, 1), (34, 0), (35, 7)],
        true,
    );

    odd("udp: a port that answers", udp([1, 9], b"x"), &[], true);
    odd(
        "udp: from the port that answers",
        udp([9, 9], b"x"),
        &[(29, 1)],
        true,
    );
    odd("udp: a port that nobody has", udp([1, 10], b"x"), &[], true);
    odd(
        "udp: of no length",
        udp([1, 9], b"x"),
        &[(38, 0), (39, 0)],
        true,
    );
    odd(
        "udp: shorter than its header",
        udp([1, 9], b"x"),
        &[(39, 7)],
        true,
    );
    odd(
        "udp: longer than the packet",
        udp([1, 9], b"x"),
        &[(38, 9)],
        true,
    );
    odd(
        "dns: an answer that nobody asked for",
        udp([53, 5353], &[0; 12]),
        &[],
        true,
    );
    for (name, kind, yours, options) in [
        ("dhcp: offers nothing", 2, [0; 4], vec![]),
        (
            "dhcp: grants everyone's address",
            5,
            [255; 4],
            sensible_options(),
        ),
        (
            "dhcp: a lease of no time",
            5,
            OUR_IPV4,
            vec![(51, vec![0; 4])],
        ),
        (
            "dhcp: a lease for ever",
            5,
            OUR_IPV4,
            vec![(51, vec![255; 4]), (58, vec![255; 4]), (59, vec![255; 4])],
        ),
        (
            "dhcp: times in the wrong order",
            5,
            OUR_IPV4,
            vec![
                (51, vec![0, 0, 0, 9]),
                (58, vec![0, 0, 9, 0]),
                (59, vec![0; 4]),
            ],
        ),
        (
            "dhcp: a mask with holes",
            5,
            OUR_IPV4,
            vec![(1, vec![255, 0, 255, 0])],
        ),
        (
            "dhcp: a router elsewhere",
            5,
            OUR_IPV4,
            vec![(3, vec![192, 0, 2, 1])],
        ),
        (
            "dhcp: options of no length",
            5,
            OUR_IPV4,
            vec![(1, vec![]), (3, vec![]), (6, vec![]), (51, vec![])],
        ),
        (
            "dhcp: more resolvers than anyone keeps",
            5,
            OUR_IPV4,
            vec![(6, vec![7; 200])],
        ),
        ("dhcp: refuses", 6, [0; 4], vec![]),
    ] {
        odd(
            name,
            dhcp([0; 4], kind, PEER_IPV4, yours, &options),
            &[],
            true,
        );
    }

    odd(
        "ra: a life of no time",
        router_advertisement(0, &[]),
        &[],
        true,
    );
    odd(
        "ra: a prefix for ever",
        router_advertisement(9000, &prefix_option(7, u32::MAX, u32::MAX)),
        &[],
        true,
    );
    odd(
        "ra: a prefix of no time",
        router_advertisement(0, &prefix_option(7, 0, 0)),
        &[],
        true,
    );
    odd(
        "ra: preferred longer than valid",
        router_advertisement(1, &prefix_option(7, 1, 9)),
        &[],
        true,
    );
    odd(
        "ra: an option of no length",
        router_advertisement(9, &[3, 0, 0, 0, 0, 0, 0, 0]),
        &[],
        true,
    );
    odd(
        "ra: an option beyond the message",
        router_advertisement(9, &[3, 255, 0, 0, 0, 0, 0, 0]),
        &[],
        true,
    );
    odd(
        "ra: a prefix option of one unit",
        router_advertisement(9, &[3, 1, 0, 0, 0, 0, 0, 0]),
        &[],
        true,
    );
    odd(
        "ra: a hardware address of three units",
        router_advertisement(9, &[[1, 3], [9; 2]].concat().repeat(6)),
        &[],
        true,
    );
    let neighbour = |kind, target: [u8; 16], options: &[u8]| {
        let message = [&[kind, 0, 0, 0, 0x60, 0, 0, 0][..], &target, options].concat();
        ipv6(ICMPV6, PEER_IPV6, OUR_IPV6, &message)
    };
    odd(
        "ns: asks for us",
        neighbour(135, OUR_IPV6, &[1, 1, 2, 0, 0, 0, 0, 9]),
        &[],
        true,
    );
    odd(
        "ns: asks for a group",
        neighbour(135, ALL_NODES, &[]),
        &[],
        true,
    );
    odd(
        "ns: an option of no length",
        neighbour(135, OUR_IPV6, &[1, 0]),
        &[],
        true,
    );
    odd(
        "na: everyone's hardware address",
        neighbour(136, PEER_IPV6, &[2, 1, 255, 255, 255, 255, 255, 255]),
        &[],
        true,
    );
    odd(
        "na: we are at the neighbour's",
        neighbour(136, OUR_IPV6, &[2, 1, 2, 0, 0, 0, 0, 9]),
        &[],
        true,
    );
    odd("redirect", neighbour(137, PEER_IPV6, &[0; 24]), &[], true);
    odd(
        "icmpv6: echo",
        ipv6(ICMPV6, PEER_IPV6, OUR_IPV6, &[128, 0, 0, 0, 0, 1, 0, 1, 7]),
        &[],
        true,
    );
    odd(
        "icmpv6: too big, about nothing",
        ipv6(ICMPV6, PEER_IPV6, OUR_IPV6, &[2, 0, 0, 0, 0, 0, 0, 0]),
        &[],
        true,
    );
    odd(
        "icmpv6: from a group",
        ipv6(ICMPV6, ALL_NODES, OUR_IPV6, &[128, 0, 0, 0, 0, 1, 0, 1]),
        &[],
        true,
    );
    let chain = |first: u8, headers: &[u8]| ipv6(first, PEER_IPV6, OUR_IPV6, headers);
    let echo6 = [128, 0, 0, 0, 0, 1, 0, 1];
    let options = [60, 0, 1, 4, 0, 0, 0, 0].repeat(12);
    odd(
        "ipv6: twelve headers of options",
        chain(
            60,
            &[&options, &[58, 0, 1, 4, 0, 0, 0, 0][..], &echo6].concat(),
        ),
        &[],
        true,
    );
    odd(
        "ipv6: hop by hop, an option to complain about",
        chain(0, &[&[58, 0, 0xc2, 4, 0, 0, 0, 0][..], &echo6].concat()),
        &[],
        true,
    );
    odd(
        "ipv6: hop by hop, an option beyond",
        chain(0, &[&[58, 0, 5, 200, 0, 0, 0, 0][..], &echo6].concat()),
        &[],
        true,
    );
    odd(
        "ipv6: hop by hop, longer than the packet",
        chain(0, &[58, 255, 1, 4, 0, 0, 0, 0]),
        &[],
        true,
    );
    odd(
        "ipv6: a fragment",
        chain(44, &[&[58, 0, 0, 1, 0, 0, 0, 7][..], &echo6].concat()),
        &[],
        true,
    );
    odd(
        "ipv6: a routing header without a way",
        chain(43, &[&[58, 0, 0, 255, 0, 0, 0, 0][..], &echo6].concat()),
        &[],
        true,
    );
    odd(
        "ipv6: longer than the frame",
        chain(59, &[0; 8]),
        &[(18, 0xff)],
        false,
    );
    all
}
