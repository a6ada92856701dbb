//! Peers and back ends that do less than they owe: what one host declares to do then. The names begin with the row of the fault
//! catalogue that they belong to.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::vec;
use std::vec::Vec;

use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{IpAddress, IpEndpoint};

use crate::net::crafted::{
    self, ACK, OUR_IPV4, PEER_IPV4, PEER_MAC, SYN, Segment, Sent, acknowledge, answer, tcp_sent,
};
use crate::net::fake::Packet;
use crate::net::host::{Alone, FULL, PLAIN};
use crate::net::ring::Violation;
use crate::net::tcp::{TcpError, TcpListener, TcpOptions, TcpStream};

/// The parameter `ip=` of the host under test.
pub const STATIC: &str = "10.0.0.1/24";

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

pub const HOUR: Duration = Duration::from_secs(3600);
const PEER: IpEndpoint = IpEndpoint {
    addr: IpAddress::v4(10, 0, 0, 9),
    port: 1883,
};

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

/// How many sockets there are.
pub fn sockets(alone: &Alone) -> usize {
    alone.host.stack.look(|inner| inner.sockets.iter().count())
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

/// A window in units of several bytes is rounded, and its end goes back by less than a unit as bytes come (RFC 7323, section 2.4):
/// what a peer has sent because it was offered before is taken in all the same, to the last byte.
#[test]
fn n3_what_was_once_offered_of_a_window_is_taken_in() {
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
    let mut segments = 0;
    while next != offered {
        segments += 1;
        assert!(segments < 3000, "{next} of {offered}");
        let room = payload
            .len()
            .min(offered.max(next + 1) as usize - next as usize);
        let mut answers = alone.give(&segment(next, &payload[..room]).frame());
        answers.extend(alone.pass(Duration::from_secs(1)));
        answers.retain(|packet| tcp_sent(&packet.bytes).is_some());
        let last = &answers.last().unwrap().bytes;
        next = tcp_sent(last).unwrap().ack;
        let window = u32::from(u16::from_be_bytes([last[48], last[49]])) << shift;
        offered = offered.max(next + window);
    }
    assert!(next > 1_000_000, "{next}");
    assert!(kept.borrow().is_some());
}
