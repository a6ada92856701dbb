//! Peers made by hand: what they may do to one host, and what it declares to do then. The names begin with the row of the fault
//! catalogue that they belong to.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::vec;
use std::vec::Vec;

use smoltcp::wire::{IpAddress, IpEndpoint};

use crate::net::crafted::{self, ACK, Segment, tcp_sent};
use crate::net::fake::Packet;
use crate::net::host::{Alone, FULL, PLAIN};
use crate::net::tcp::{TcpListener, TcpOptions};

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
