//! DHCP servers that are absent, refuse, are silly, or are not those that were asked (row N7 of the fault catalogue).

use std::vec;
use std::vec::Vec;

use smoltcp::time::Duration;
use smoltcp::wire::{IpAddress, IpCidr};

use super::peers::HOUR;
use crate::net::crafted::{
    self, DhcpOption, OUR_IPV4, PEER_IPV4, PEER_MAC, answer, dhcp, dhcp_request, sensible_options,
};
use crate::net::fake::Packet;
use crate::net::host::{Alone, FULL};

fn ipv4_addresses(alone: &Alone) -> Vec<IpCidr> {
    let mut addresses = alone.host.stack.addresses();
    addresses.retain(|cidr| matches!(cidr, IpCidr::Ipv4(_)));
    addresses
}

fn count_requests(sent: &[Packet]) -> usize {
    let request = |packet: &&Packet| dhcp_request(&packet.bytes).is_some();
    sent.iter().filter(request).count()
}

#[test]
fn n7_without_a_dhcp_server_the_host_asks_now_and_then_and_waits() {
    let mut alone = Alone::new("dhcp", FULL);
    let asked = count_requests(&alone.pass(HOUR));
    assert!((10..=400).contains(&asked), "{asked}");
    assert!(!alone.host.stack.is_configured(false));
    // And takes the first lease that it can get.
    alone.pass_with(HOUR, |packet| answer(&packet.bytes));
    assert_eq!(
        ipv4_addresses(&alone),
        [IpCidr::new(IpAddress::v4(10, 0, 0, 1), 24)]
    );
}

#[test]
fn n7_a_server_that_refuses_is_asked_again_but_not_without_pause() {
    let mut alone = Alone::new("dhcp", FULL);
    let mut asked = 0;
    alone.pass_with(HOUR, |packet| {
        let (transaction, kind) = dhcp_request(&packet.bytes)?;
        asked += 1;
        // Offers, and then does not stand by it.
        let kind = if kind == 1 { 2 } else { 6 };
        Some(dhcp(
            transaction,
            kind,
            PEER_IPV4,
            OUR_IPV4,
            &sensible_options(),
        ))
    });
    assert!((10..=1000).contains(&asked), "{asked}");
    assert!(!alone.host.stack.is_configured(false));
    alone.pass_with(HOUR, |packet| answer(&packet.bytes));
    assert!(alone.host.stack.is_configured(false));
}

/// Serves `yours` and `options` for an hour; the addresses that the host has then, and how often it asked.
fn lease(yours: [u8; 4], options: &[DhcpOption]) -> (Vec<IpCidr>, usize, Alone) {
    let mut alone = Alone::new("dhcp", FULL);
    let mut asked = 0;
    alone.pass_with(HOUR, |packet| {
        let (transaction, kind) = dhcp_request(&packet.bytes)?;
        asked += 1;
        let kind = if kind == 1 { 2 } else { 5 };
        Some(dhcp(transaction, kind, PEER_IPV4, yours, options))
    });
    (ipv4_addresses(&alone), asked, alone)
}

#[test]
fn n7_an_address_that_no_host_can_have_is_not_taken() {
    for yours in [
        [0, 0, 0, 0],
        [255, 255, 255, 255],
        [224, 0, 0, 1],
        [127, 0, 0, 1],
        // The network itself, and everyone in it.
        [10, 0, 0, 0],
        [10, 0, 0, 255],
    ] {
        let (addresses, asked, mut alone) = lease(yours, &sensible_options());
        assert_eq!(addresses, [], "{yours:?}");
        assert!((1..=1000).contains(&asked), "{yours:?}: {asked}");
        // A server that has come to its senses is believed soon.
        alone.pass_with(Duration::from_secs(60), |packet| answer(&packet.bytes));
        assert!(alone.host.stack.is_configured(false), "{yours:?}");
    }
}

#[test]
fn n7_silly_options_beside_a_good_address_do_no_harm() {
    let with = |code: u8, value: &[u8]| {
        let mut options = sensible_options();
        options.retain(|(known, _)| *known != code);
        options.push((code, value.to_vec()));
        options
    };
    let good = [IpCidr::new(IpAddress::v4(10, 0, 0, 1), 24)];
    for (what, options, taken) in [
        ("a router elsewhere", with(3, &[192, 0, 2, 1]), true),
        ("everyone as the router", with(3, &[255; 4]), true),
        ("a router of two bytes", with(3, &[10, 0]), true),
        ("everyone as the resolver", with(6, &[255; 4]), true),
        ("a lease for ever", with(51, &[255; 4]), true),
        ("a lease of no time", with(51, &[0; 4]), false),
        ("a lease of ten seconds", with(51, &[0, 0, 0, 10]), true),
        (
            "times in the wrong order",
            [with(58, &[0, 0, 0, 9]), vec![(59, vec![0; 4])]].concat(),
            true,
        ),
        ("to be renewed at once", with(58, &[0; 4]), true),
        ("a mask with holes", with(1, &[255, 0, 255, 0]), false),
        ("no mask", with(1, &[]), false),
    ] {
        let (addresses, asked, mut alone) = lease(OUR_IPV4, &options);
        let expected: &[IpCidr] = if taken { &good } else { &[] };
        assert_eq!(addresses, expected, "{what}");
        assert!((1..=1000).contains(&asked), "{what}: {asked}");
        // The neighbours are reached whatever the router is.
        let request = crafted::arp(1, PEER_MAC, PEER_IPV4, OUR_IPV4);
        let answered = |packet: &Packet| packet.bytes[12..14] == [8, 6];
        assert_eq!(alone.give(&request).iter().any(answered), taken, "{what}");
    }
}

#[test]
fn n7_answers_to_nobodys_question_change_nothing() {
    let mut alone = Alone::new("dhcp", FULL);
    let rogue = [10, 0, 0, 66];
    let mut transactions = Vec::new();
    alone.pass_with(Duration::from_secs(60), |packet| {
        transactions.extend(dhcp_request(&packet.bytes).map(|(transaction, _)| transaction));
        answer(&packet.bytes)
    });
    let good = ipv4_addresses(&alone);
    assert_eq!(good.len(), 1);
    let [a, b, c, d] = transactions[0];
    for transaction in [[a, b, c, !d], [0; 4], [255; 4]] {
        for kind in 0..=9 {
            let frame = dhcp(transaction, kind, rogue, [10, 9, 9, 9], &sensible_options());
            alone.give(&frame);
            assert_eq!(ipv4_addresses(&alone), good, "{kind}");
        }
    }
}

#[test]
fn n7_the_first_of_two_servers_is_asked_and_the_other_left_alone() {
    let mut alone = Alone::new("dhcp", FULL);
    let rogue = [10, 0, 0, 66];
    let offer =
        |transaction, server, yours| dhcp(transaction, 2, server, yours, &sensible_options());
    let sent = alone.pass(Duration::from_secs(20));
    let (transaction, _) = sent
        .iter()
        .rev()
        .find_map(|it| dhcp_request(&it.bytes))
        .unwrap();
    let sent = alone.give(&offer(transaction, PEER_IPV4, OUR_IPV4));
    let asked = sent.iter().any(|packet| {
        // The option that names the server it is for.
        packet
            .bytes
            .windows(6)
            .any(|option| option == [54, 4, 10, 0, 0, 9])
    });
    assert!(asked);
    assert!(
        alone
            .give(&offer(transaction, rogue, [10, 9, 9, 9]))
            .is_empty()
    );
    alone.give(&dhcp(
        transaction,
        5,
        PEER_IPV4,
        OUR_IPV4,
        &sensible_options(),
    ));
    assert_eq!(
        ipv4_addresses(&alone),
        [IpCidr::new(IpAddress::v4(10, 0, 0, 1), 24)]
    );
}

#[test]
fn an_address_is_announced_once_it_is_given_or_leased() {
    // ARP for our own address.
    let announced = |packet: &Packet| {
        let arp = packet.bytes.get(12..14) == Some(&[8, 6]);
        arp && packet.bytes[28..32] == OUR_IPV4 && packet.bytes[38..42] == OUR_IPV4
    };
    let [a, b, c, d] = OUR_IPV4;
    let mut alone = Alone::new(&std::format!("{a}.{b}.{c}.{d}/24"), FULL);
    let sent = alone.pass(HOUR);
    assert_eq!(sent.iter().filter(|packet| announced(packet)).count(), 1);

    let mut alone = Alone::new("dhcp", FULL);
    let mut count = 0;
    alone.pass_with(Duration::from_secs(60), |packet| {
        count += usize::from(announced(packet));
        answer(&packet.bytes)
    });
    assert_eq!(count, 1);
}
