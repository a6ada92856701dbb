//! Floods of openings, and of what else a scanner sends (row N5 of the fault catalogue).

use std::vec::Vec;

use smoltcp::time::{Duration, Instant};

use super::is_soak;
use super::lan::Random;
use super::peers::{STATIC, sockets};
use crate::net::config::IpConfig;
use crate::net::crafted::{self, ACK, OUR_IPV4, PEER_IPV4, PEER_MAC, SYN, Segment, Sent, tcp_sent};
use crate::net::device::NetDevice;
use crate::net::fake::connected;
use crate::net::host::{Alone, FULL};
use crate::net::stack::Stack;
use crate::net::tcp::{TcpListener, TcpOptions};

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
            if number.is_multiple_of(2) {
                7
            } else {
                number as u16
            },
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
            if let (true, Some(client)) = (number.is_multiple_of(2000), &mut client) {
                assert!(client.ask(&mut alone, b"in the middle"), "{number}");
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
