//! Peers made by hand: what they may do to one host, and what it declares to do then. The names begin with the row of the fault
//! catalogue that they belong to.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::vec;
use std::vec::Vec;

use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{IpAddress, IpCidr, IpEndpoint};

use super::is_soak;
use super::lan::Random;
use crate::net::config::IpConfig;
use crate::net::crafted::{
    self, ACK, DhcpOption, OUR_IPV4, PEER_IPV4, PEER_MAC, SYN, Segment, Sent, acknowledge, answer,
    dhcp, dhcp_request, sensible_options, tcp_sent,
};
use crate::net::device::NetDevice;
use crate::net::fake::{Packet, connected};
use crate::net::host::{Alone, FULL, PLAIN};
use crate::net::ring::Violation;
use crate::net::stack::Stack;
use crate::net::tcp::{TcpError, TcpListener, TcpOptions, TcpStream};

const STATIC: &str = "10.0.0.1/24";

/// Sends `data` on the first connection to `port`.
fn serve(alone: &Alone, port: u16, data: Vec<u8>) {
    let mut listener =
        TcpListener::bind(&alone.host.stack, port, 1, TcpOptions::default()).unwrap();
    alone.executor.spawner().spawn(async move {
        let stream = listener.accept().await.unwrap();
        let mut rest = data.as_slice();
        while !rest.is_empty() {
            let sent = stream.send(rest).await.unwrap();
            rest = &rest[sent..];
        }
        stream.acknowledged().await.unwrap();
    });
}

/// Opens a connection with `options` and takes in what comes, acknowledging it all; the segments.
fn fetch(alone: &mut Alone, port: u16, options: &[u8], len: usize) -> Vec<Packet> {
    // The neighbour is known before it speaks.
    alone.give(&crafted::arp(
        1,
        crafted::PEER_MAC,
        crafted::PEER_IPV4,
        crafted::OUR_IPV4,
    ));
    let mut waiting = alone.give(&crafted::syn(port, options));
    let (mut received, mut segments) = (0, Vec::new());
    while received < len {
        let packet = waiting.remove(0);
        let sent = tcp_sent(&packet.bytes).unwrap();
        received += sent.payload.len();
        let answer = Segment {
            ports: [sent.ports[1], sent.ports[0]],
            seq: 1001,
            ack: 0,
            flags: ACK,
            window: 65_535,
            options: &[],
            payload: &[],
        };
        let opening = u32::from(sent.flags & crafted::SYN != 0);
        let ack = sent.seq + opening + sent.payload.len() as u32;
        waiting.extend(alone.give(&Segment { ack, ..answer }.frame()));
        segments.push(packet);
    }
    segments
}

#[test]
fn n4_the_least_segments_that_a_peer_can_ask_for_carry_its_data() {
    // Of all sizes near nothing, with all that could take room in a segment: selective acknowledgements and timestamps.
    let sack_and_time = [4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0];
    for (features, size) in [FULL, PLAIN]
        .into_iter()
        .flat_map(|f| (0..64).map(move |s| (f, s)))
    {
        let mut alone = Alone::new(STATIC, features);
        let data = vec![7; 5000];
        serve(&alone, 7, data.clone());
        let options = [&[2, 4, 0, size][..], &sack_and_time].concat();
        let segments = fetch(&mut alone, 7, &options, data.len());
        for packet in segments {
            let len = tcp_sent(&packet.bytes).unwrap().payload.len();
            // What smoltcp takes nothing for, and the least that it sends.
            let limit = if size == 0 {
                536
            } else {
                usize::from(size).max(48)
            };
            let cut = packet.segmentation.map_or(len, |cut| usize::from(cut.size));
            assert!(
                cut <= limit,
                "{cut} bytes in a segment where {size} were asked for"
            );
        }
    }
}

const HOUR: Duration = Duration::from_secs(3600);
const PEER: IpEndpoint = IpEndpoint {
    addr: IpAddress::v4(10, 0, 0, 9),
    port: 1883,
};

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

/// What a task has come to.
type Verdict<T> = Rc<RefCell<Option<T>>>;

/// Connects to the neighbour and sends without end; how much was acknowledged, and how it ended.
fn send_on(alone: &Alone) -> (Rc<Cell<usize>>, Verdict<TcpError>) {
    let stack = Rc::clone(&alone.host.stack);
    let (count, verdict) = (Rc::new(Cell::new(0)), Verdict::default());
    let (counting, ending) = (Rc::clone(&count), Rc::clone(&verdict));
    alone.executor.spawner().spawn(async move {
        let end = async {
            let stream = TcpStream::connect(&stack, PEER, &TcpOptions::default()).await?;
            loop {
                let sent = stream.send(&[1; 5000]).await?;
                stream.acknowledged().await?;
                counting.set(counting.get() + sent);
            }
        };
        let result: Result<core::convert::Infallible, TcpError> = end.await;
        *ending.borrow_mut() = result.err();
    });
    (count, verdict)
}

/// Connects to the neighbour and waits for bytes; how that ended.
fn wait_on(alone: &Alone) -> Verdict<Result<usize, TcpError>> {
    let stack = Rc::clone(&alone.host.stack);
    let verdict = Verdict::default();
    let ending = Rc::clone(&verdict);
    alone.executor.spawner().spawn(async move {
        let stream = TcpStream::connect(&stack, PEER, &TcpOptions::default()).await;
        let stream = stream.unwrap();
        *ending.borrow_mut() = Some(stream.receive(&mut [0; 10]).await);
    });
    verdict
}

/// The acknowledgement of what stands before a segment, with the window shut.
fn shut(sent: &Sent) -> Vec<u8> {
    let segment = Segment {
        ports: [sent.ports[1], sent.ports[0]],
        seq: sent.ack,
        ack: sent.seq,
        flags: ACK,
        window: 0,
        options: &[],
        payload: &[],
    };
    segment.frame()
}

#[test]
fn n8_a_peer_whose_window_stays_shut_is_given_up() {
    // The window is shut before a byte is taken, or after one segment was.
    for first in [false, true] {
        let mut alone = Alone::new(STATIC, FULL);
        let (_, verdict) = send_on(&alone);
        let mut open = first;
        alone.pass_with(Duration::from_secs(600), |packet| {
            let Some(sent) = tcp_sent(&packet.bytes) else {
                return answer(&packet.bytes);
            };
            if sent.flags & SYN != 0 {
                return acknowledge(&sent, if first { 65_535 } else { 0 });
            }
            if open && !sent.payload.is_empty() {
                open = false;
                return acknowledge(&sent, 0);
            }
            // Each question is answered, so that it is not the silence that ends it.
            (!sent.payload.is_empty()).then(|| shut(&sent))
        });
        assert_eq!(*verdict.borrow(), Some(TcpError::Reset), "{first}");
    }
}

#[test]
fn n8_a_peer_that_is_silent_while_we_send_is_given_up() {
    let mut alone = Alone::new(STATIC, FULL);
    let (count, verdict) = send_on(&alone);
    alone.pass_with(Duration::from_secs(1), |packet| answer(&packet.bytes));
    assert!(count.get() > 5000 && verdict.borrow().is_none());
    // A translator on the way has forgotten the connection: nothing comes back, for good.
    let arp_alone = |packet: &Packet| answer(&packet.bytes).filter(|frame| frame[12..14] == [8, 6]);
    alone.pass_with(Duration::from_secs(60), arp_alone);
    assert_eq!(*verdict.borrow(), None, "a minute is not too long");
    alone.pass_with(Duration::from_secs(60), arp_alone);
    assert_eq!(*verdict.borrow(), Some(TcpError::Reset));
}

#[test]
fn n8_a_peer_that_is_silent_while_we_wait_is_given_up() {
    let mut alone = Alone::new(STATIC, FULL);
    let verdict = wait_on(&alone);
    // As long as it answers the signs of life that it is asked for, the connection stands.
    alone.pass_with(HOUR, |packet| answer(&packet.bytes));
    assert_eq!(*verdict.borrow(), None);
    alone.pass(Duration::from_secs(125));
    assert_eq!(*verdict.borrow(), Some(Err(TcpError::Reset)));
}

#[test]
fn n8_a_peer_that_has_forgotten_the_connection_ends_it() {
    let mut alone = Alone::new(STATIC, FULL);
    let verdict = wait_on(&alone);
    alone.pass_with(Duration::from_secs(1), |packet| answer(&packet.bytes));
    assert_eq!(*verdict.borrow(), None);
    // Started anew, it knows of no such connection.
    alone.pass_with(Duration::from_secs(60), |packet| {
        let sent = tcp_sent(&packet.bytes)?;
        let reset = Segment {
            ports: [sent.ports[1], sent.ports[0]],
            seq: sent.ack,
            ack: 0,
            flags: crafted::RST,
            window: 0,
            options: &[],
            payload: &[],
        };
        Some(reset.frame())
    });
    assert_eq!(*verdict.borrow(), Some(Err(TcpError::Reset)));
}

#[test]
fn n8_a_peer_that_never_answers_an_opening_is_told_of() {
    let mut alone = Alone::new(STATIC, FULL);
    let (_, verdict) = send_on(&alone);
    alone.pass(Duration::from_secs(300));
    assert_eq!(*verdict.borrow(), Some(TcpError::Refused));
}

#[test]
fn n8_a_peer_that_never_says_goodbye_is_left_without_one() {
    // Its owner has dropped the connection. The peer acknowledges all, asks for signs of life, and never ends its direction; or
    // shuts its window before the last bytes.
    for shuts in [false, true] {
        let mut alone = Alone::new(STATIC, FULL);
        let before = sockets(&alone);
        let stack = Rc::clone(&alone.host.stack);
        alone.executor.spawner().spawn(async move {
            let options = TcpOptions {
                timeout: None,
                ..TcpOptions::default()
            };
            let stream = TcpStream::connect(&stack, PEER, &options).await.unwrap();
            stream.send(&[1; 5000]).await.unwrap();
        });
        let mut last = None;
        for _ in 0..60 {
            alone.pass_with(Duration::from_secs(5), |packet| {
                let Some(sent) = tcp_sent(&packet.bytes) else {
                    return answer(&packet.bytes);
                };
                last = Some(sent.clone());
                match shuts && sent.flags & SYN == 0 {
                    true => (!sent.payload.is_empty()).then(|| shut(&sent)),
                    false => acknowledge(&sent, 65_535),
                }
            });
            if let Some(sent) = &last {
                // A keep-alive: the byte before the next one.
                let count = sent.payload.len() as u32 + u32::from(sent.flags & crafted::FIN != 0);
                let probe = Segment {
                    ports: [sent.ports[1], sent.ports[0]],
                    seq: sent.ack.wrapping_sub(1),
                    ack: if shuts {
                        sent.seq
                    } else {
                        sent.seq.wrapping_add(count)
                    },
                    flags: ACK,
                    window: if shuts { 0 } else { 65_535 },
                    options: &[],
                    payload: &[],
                };
                alone.give(&probe.frame());
            }
        }
        assert_eq!(sockets(&alone), before, "{shuts}");
    }
}

fn sockets(alone: &Alone) -> usize {
    alone.host.stack.look(|inner| inner.sockets.iter().count())
}

/// Echoes on `port`, with `backlog` openings at a time.
fn echo(alone: &Alone, port: u16, backlog: usize) {
    let options = TcpOptions {
        receive_buffer: 4096,
        send_buffer: 4096,
        ..TcpOptions::default()
    };
    let mut listener = TcpListener::bind(&alone.host.stack, port, backlog, options).unwrap();
    let spawner = alone.executor.spawner();
    alone.executor.spawner().spawn(async move {
        loop {
            let stream = listener.accept().await.unwrap();
            spawner.spawn(async move {
                let mut buffer = [0; 1000];
                while let Ok(count @ 1..) = stream.receive(&mut buffer).await {
                    if stream.send(&buffer[..count]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
}

/// An honest client's end of a connection to the host.
struct Client {
    port: u16,
    seq: u32,
    ack: u32,
}

impl Client {
    fn segment<'a>(&self, flags: u8, payload: &'a [u8]) -> Segment<'a> {
        Segment {
            ports: [self.port, 7],
            seq: self.seq,
            ack: self.ack,
            flags,
            window: 65_535,
            options: &[],
            payload,
        }
    }

    /// Opens a connection, asking again each second; `None` after `seconds`.
    fn connect(alone: &mut Alone, port: u16, seconds: u32) -> Option<Self> {
        let mut client = Self {
            port,
            seq: 70_000,
            ack: 0,
        };
        for _ in 0..seconds {
            let mut sent = client.exchange(alone, SYN, b"");
            sent.retain(|segment| segment.flags == SYN | ACK && segment.ack == 70_001);
            if let Some(answer) = sent.first() {
                (client.seq, client.ack) = (answer.ack, answer.seq.wrapping_add(1));
                client.exchange(alone, ACK, b"");
                return Some(client);
            }
        }
        None
    }

    /// Sends a segment, and within a second what goes to this client.
    fn exchange(&self, alone: &mut Alone, flags: u8, payload: &[u8]) -> Vec<Sent> {
        // The neighbour says where it is, as one does that is asked: spoofed ones push it out of the cache.
        let mut sent = alone.give(&crafted::arp(1, PEER_MAC, PEER_IPV4, OUR_IPV4));
        sent.extend(alone.give(&self.segment(flags, payload).frame()));
        sent.extend(alone.pass(Duration::from_secs(1)));
        let segments = sent.iter().filter_map(|packet| tcp_sent(&packet.bytes));
        segments
            .filter(|sent| sent.ports == [7, self.port])
            .collect()
    }

    /// Sends bytes and gets them back.
    fn ask(&mut self, alone: &mut Alone, payload: &[u8]) -> bool {
        let sent = self.exchange(alone, ACK, payload);
        let Some(answer) = sent.iter().find(|sent| sent.payload == payload) else {
            return false;
        };
        self.seq = self.seq.wrapping_add(payload.len() as u32);
        self.ack = answer.seq.wrapping_add(payload.len() as u32);
        let acknowledgement = self.segment(ACK, b"").frame();
        alone.give(&acknowledgement);
        true
    }
}

/// The frames of a flood: openings, and what else a scanner sends, from the neighbour or in others' names, to one port or to all.
fn flood(random: &mut Random, number: usize) -> Vec<u8> {
    let flags = [
        SYN,
        SYN,
        SYN,
        crafted::RST,
        ACK,
        crafted::FIN,
        SYN | crafted::FIN,
        0,
    ];
    let segment = Segment {
        ports: [
            1024 + random.below(60_000) as u16,
            if number % 2 == 0 { 7 } else { number as u16 },
        ],
        seq: random.below(1 << 32) as u32,
        ack: random.below(1 << 32) as u32,
        flags: flags[random.below(8) as usize],
        window: random.below(65_536) as u16,
        options: &[2, 4, 5, 180, 4, 2],
        payload: &[],
    };
    let from = match random.below(2) {
        0 => PEER_IPV4,
        _ => [10, 0, 0, 10 + random.below(200) as u8],
    };
    crafted::ipv4(6, from, OUR_IPV4, &segment.bytes())
}

#[test]
fn n5_a_flood_of_openings_takes_no_memory_and_honest_connections_go_on() {
    let frames = if is_soak() { 1_000_000 } else { 20_000 };
    for listens in [false, true] {
        let mut alone = Alone::new(STATIC, FULL);
        let mut client = None;
        if listens {
            echo(&alone, 7, 4);
            client = Client::connect(&mut alone, 5000, 1);
            assert!(client.as_mut().unwrap().ask(&mut alone, b"before"));
        }
        let before = sockets(&alone);
        let mut random = Random(u64::from(listens));
        let mut answers = 0;
        for number in 0..frames {
            answers += alone.give(&flood(&mut random, number)).len();
            if number % 2000 == 0 {
                if let Some(client) = &mut client {
                    assert!(client.ask(&mut alone, b"in the middle"), "{number}");
                }
            }
        }
        assert!(answers <= 2 * frames, "{answers} answers");
        // Openings that came to something take no more than the backlog.
        assert_eq!(sockets(&alone), before);
        if listens {
            // Half-open ones make room again.
            let client = Client::connect(&mut alone, 5001, 300);
            assert!(client.unwrap().ask(&mut alone, b"after"));
        }
    }
}

#[test]
fn n5_one_poll_takes_in_no_more_than_a_batch_and_then_others_have_their_turn() {
    let stack = Stack::new(IpConfig::parse(STATIC).unwrap(), 50_000);
    let (mut backend, tx, rx) = connected(128, 0);
    let device = NetDevice::new(tx, rx, FULL, 1500);
    stack.up(device, crafted::OUR_MAC, 3, Instant::ZERO);
    let _ = stack.poll(Instant::ZERO);
    let mut random = Random(1);
    let mut total = 0;
    for number in 0..100 {
        // As many as find a page, each time.
        while backend.deliver(&flood(&mut random, number), 4096, 0, 0, false) {
            total += 1;
        }
        backend.publish_rx();
        let before = stack.counters().unwrap().rx_frames;
        let outcome = stack.poll(Instant::from_millis(number as i64));
        let taken = stack.counters().unwrap().rx_frames - before;
        assert!((1..=64).contains(&taken), "{taken}");
        assert!(outcome.again, "there is more");
        backend.take_all();
    }
    assert!(total > 3000, "{total}");
}

#[test]
fn n2_a_violation_is_told_and_ends_all_traffic_on_the_device() {
    let mut alone = Alone::new(STATIC, FULL);
    alone.pass(Duration::from_secs(60));
    let question = crafted::arp(1, PEER_MAC, PEER_IPV4, OUR_IPV4);
    assert_eq!(alone.give(&question).len(), 1);
    let stack = Rc::clone(&alone.host.stack);
    let verdict = Verdict::default();
    let told = Rc::clone(&verdict);
    alone.executor.spawner().spawn(async move {
        *told.borrow_mut() = Some(stack.fault().await);
    });
    alone.settle();
    assert_eq!(*verdict.borrow(), None);
    // More responses than there are requests.
    alone.host.backend.rx_rsp_prod = alone.host.backend.rx_rsp_prod.wrapping_add(1000);
    alone.host.backend.publish_rx();
    alone.settle();
    assert_eq!(*verdict.borrow(), Some(Violation::ResponseIndex));
    // What would be right now comes too late.
    alone.host.backend.rx_rsp_prod = alone.host.backend.rx_rsp_prod.wrapping_sub(1000);
    assert_eq!(alone.give(&question).len(), 0);
    assert_eq!(alone.pass(HOUR).len(), 0);
}

#[test]
fn n2_a_back_end_that_never_answers_costs_no_time_and_connections_end() {
    let mut alone = Alone::new(STATIC, FULL);
    let (_, verdict) = send_on(&alone);
    // Sees the frames, hands back no page, and wants no event.
    let mut polls = 0;
    let end = Instant::from_secs(600);
    let mut now = Instant::ZERO;
    while now < end {
        alone.executor.run_ready();
        polls += u32::from(alone.host.poll(now).0);
        now = alone
            .host
            .next
            .unwrap_or(end)
            .max(now + Duration::from_micros(1));
    }
    alone.executor.run_ready();
    assert!(polls < 2000, "{polls}");
    assert_eq!(*verdict.borrow(), Some(TcpError::Refused));
}

/// A window in units of several bytes would have to be rounded, and its end to go back.
#[test]
fn n3_what_was_offered_of_a_window_is_not_taken_back() {
    let mut alone = Alone::new(STATIC, FULL);
    let options = TcpOptions {
        receive_buffer: 1 << 20,
        ..TcpOptions::default()
    };
    // Accepts, and reads nothing.
    let mut listener = TcpListener::bind(&alone.host.stack, 7, 1, options).unwrap();
    let kept = Rc::new(RefCell::new(None));
    let place = Rc::clone(&kept);
    alone.executor.spawner().spawn(async move {
        *place.borrow_mut() = listener.accept().await.ok();
    });
    alone.give(&crafted::arp(1, PEER_MAC, PEER_IPV4, OUR_IPV4));
    let opened = alone.give(&crafted::syn(7, &[2, 4, 5, 180, 3, 3, 7, 0]));
    let server = tcp_sent(&opened[0].bytes).unwrap();
    let scale = opened[0].bytes[54..]
        .windows(3)
        .find(|it| it[..2] == [3, 3]);
    let shift = scale.map_or(0, |option| option[2]);
    let (mut next, mut offered, payload) = (1001, 0, [1; 1001]);
    let segment = |seq, payload| Segment {
        ports: [4000, 7],
        seq,
        ack: server.seq.wrapping_add(1),
        flags: ACK,
        window: 1000,
        options: &[],
        payload,
    };
    alone.give(&segment(next, &[]).frame());
    while next != offered {
        let room = payload
            .len()
            .min(offered.max(next + 1) as usize - next as usize);
        let mut answers = alone.give(&segment(next, &payload[..room]).frame());
        answers.extend(alone.pass(Duration::from_secs(1)));
        answers.retain(|packet| tcp_sent(&packet.bytes).is_some());
        let last = &answers.last().unwrap().bytes;
        next = tcp_sent(last).unwrap().ack;
        let window = u32::from(u16::from_be_bytes([last[48], last[49]])) << shift;
        assert!(
            next + window >= offered,
            "{offered}, then {next} + {window}"
        );
        offered = next + window;
    }
    assert!(next > 60_000, "{next}");
    assert!(kept.borrow().is_some());
}
