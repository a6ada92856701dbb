//! The bodies of the fuzz targets. Each reads its input as a list of steps, so that every input means something and a change of
//! one byte changes one step. `cargo fuzz` drives them in `unikernel/fuzz`, proptest in the tests below.

extern crate std;

use core::sync::atomic::Ordering;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::LazyLock;
use std::vec;
use std::vec::Vec;

use smoltcp::time::Duration;
use smoltcp::wire::{IpAddress, IpEndpoint, Ipv4Address, Ipv6Address};

use super::config::is_host;
use super::crafted::{self, OUR_IPV4, PEER_IPV4, PEER_IPV6};
use super::fake::{Packet, connected};
use super::host::{Alone, FULL, PLAIN};
use super::netif::{NETIF_RSP_NULL, REQ_PROD, RING, SLOTS, XEN_NETIF_GSO_TYPE_TCPV4};
use super::resolve::resolve;
use super::tcp::{TcpListener, TcpOptions, TcpStream};
use super::tx::Segmentation;
use super::udp::UdpSocket;
use crate::memory::{Shared, adversary};

/// Where a server echoes bytes.
const ECHO: u16 = 7;
/// Where a server echoes datagrams.
const DATAGRAMS: u16 = 9;

/// Bytes as choices: zeros after the last one.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    fn u32(&mut self) -> u32 {
        u32::from(self.u16()) << 16 | u32::from(self.u16())
    }

    fn index(&mut self, end: usize) -> usize {
        match end {
            0..=256 => usize::from(self.byte()) % end.max(1),
            _ => usize::from(self.u16()) % end,
        }
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The rings against a back end whose memory holds anything at every load: no panic, no page in two places, nothing beyond what
/// is received into. A violation ends the use of a ring; here it goes on, as the harder case.
pub fn rings(data: &[u8]) {
    const PAGES: usize = 32;
    let mut input = Input(data);
    let start = input.u32();
    let (backend, mut tx, mut rx) = connected(PAGES, start);
    let [tx_ring, rx_ring] = [backend.tx.start(), backend.rx.start()];
    // One half of the input chooses the calls, the other what they find in memory.
    let (calls, writes) = input.0.split_at(input.0.len() / 2);
    let mut calls = Input(calls);
    let writes = writes.to_vec();
    let mut at = 0;
    let writer = move |view: &Shared, offset: usize, len: usize| {
        let mut input = Input(writes.get(at..).unwrap_or_default());
        let before = input.0.len();
        if view.start() == tx_ring {
            disturb(&mut input, view, offset, len, 12);
        } else if view.start() == rx_ring {
            disturb(&mut input, view, offset, len, 8);
        }
        at += before - input.0.len();
    };
    adversary::during(writer, || {
        let mut out = vec![0; 70_000];
        // Who takes no page and sees no request can answer none.
        let _ = rx.publish();
        while !calls.is_empty() {
            match calls.byte() % 8 {
                0 | 1 => {
                    let len = calls.index(40_000);
                    let flags = calls.u16();
                    let segmentation = (flags & 0x100 != 0).then_some(Segmentation {
                        size: flags,
                        gso_type: XEN_NETIF_GSO_TYPE_TCPV4,
                    });
                    tx.send(&out[..len], flags, segmentation);
                }
                2 => drop(tx.publish()),
                3 => drop(tx.reclaim()),
                4 => drop(tx.arm()),
                5 => {
                    let room = calls.index(70_000);
                    if let Ok(Some(received)) = rx.receive(&mut out[..room]) {
                        assert!(0 < received.len && received.len <= room);
                    }
                }
                6 => drop(rx.publish()),
                _ => drop(rx.arm()),
            }
            tx.check();
            rx.check();
        }
    });
}

/// Writes what is about to be loaded: mostly what is nearly right, for what is not even that is refused at the first look.
fn disturb(input: &mut Input<'_>, view: &Shared, offset: usize, len: usize, slot_size: usize) {
    let choice = input.byte();
    // Rarely anything at all.
    let wild = choice >= 0xf8;
    if choice & 7 == 0 {
        return;
    }
    if offset < RING {
        let index = |place| view.load_u32(place, Ordering::Relaxed);
        let value = if wild {
            input.u32()
        } else {
            // Some further responses, to requests that were made.
            let next = index(offset).wrapping_add(u32::from(choice & 7));
            match index(REQ_PROD).wrapping_sub(next) {
                0..=SLOTS => next,
                _ => index(REQ_PROD),
            }
        };
        view.write(offset, &value.to_le_bytes());
        return;
    }
    let mut slot: Vec<u8> = (0..len).map(|_| input.byte()).collect();
    let number = ((offset - RING) / slot_size) as u16;
    match slot.as_mut_slice() {
        _ if wild => {}
        // To a frame that was sent: id, status.
        [id, id_high, status @ ..] if slot_size == 12 => {
            (*id, *id_high) = (*id % 32, 0);
            let plausible = [0, NETIF_RSP_NULL, 0, -1][usize::from(choice >> 3 & 3)];
            status.copy_from_slice(&plausible.to_le_bytes());
        }
        // A frame that came: id, offset, flags, status.
        [
            id,
            id_high,
            _,
            offset_high,
            flags,
            flags_high,
            _,
            status_high,
        ] => {
            [*id, *id_high] = number.to_le_bytes();
            (*offset_high, *flags_high) = (*offset_high & 15, 0);
            // Most parts are the last, and few frames have extra information.
            *flags &= [0x03, 0x07, 0x03, 0x0f][usize::from(choice >> 3 & 3)];
            *status_high &= if choice & 0x20 == 0 { 0x07 } else { 0x8f };
        }
        _ => {}
    }
    view.write(offset, &slot);
}

/// Frames into a host that serves, asks and connects: no panic, no rest that never comes, nothing sent that no back end would
/// take, and a neighbour is answered afterwards.
pub fn frames(data: &[u8]) {
    static CORPUS: LazyLock<Vec<(&str, Vec<u8>)>> = LazyLock::new(crafted::corpus);
    const STEPS: usize = 100;
    let mut input = Input(data);
    let setup = input.byte();
    let config = match setup & 1 {
        0 => "dhcp",
        _ => "10.0.0.1/24,gw=10.0.0.9,dns=10.0.0.9",
    };
    let features = if setup & 2 == 0 { FULL } else { PLAIN };
    let mut alone = Alone::new(config, features);
    serve(&alone);
    alone.settle();
    let mut sent = VecDeque::new();
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        let frame = match input.byte() % 8 {
            0 | 1 => {
                let mut frame = CORPUS[input.index(CORPUS.len())].1.clone();
                change(&mut input, &mut frame, 0);
                frame
            }
            2..=4 => {
                let Some(question) = pick(&mut input, &sent) else {
                    continue;
                };
                let Some(mut frame) =
                    lease(&mut input, question).or_else(|| crafted::answer(question))
                else {
                    continue;
                };
                change(&mut input, &mut frame, ETHERNET);
                frame
            }
            5 => {
                let Some(mut frame) = pick(&mut input, &sent).map(<[u8]>::to_vec) else {
                    continue;
                };
                reflect(&mut frame);
                change(&mut input, &mut frame, ETHERNET);
                frame
            }
            6 => {
                let time = Duration::from_millis(1 << (input.byte() % 22));
                remember(&mut sent, alone.pass(time));
                continue;
            }
            _ => {
                act(&alone, input.byte());
                alone.settle();
                remember(&mut sent, core::mem::take(&mut alone.sent));
                continue;
            }
        };
        if frame.is_empty() {
            continue;
        }
        let answers = match input.byte() & 1 {
            0 => alone.give(&frame),
            _ => alone.give_blank(&frame),
        };
        remember(&mut sent, answers);
    }
    for address in alone.host.stack.addresses() {
        if let IpAddress::Ipv4(address) = address.address() {
            assert!(is_host(address), "{address}");
        }
    }
    if config != "dhcp" {
        let stranger = [2, 0, 0, 0, 0, 77];
        let answers = alone.give(&crafted::arp(1, stranger, [10, 0, 0, 77], OUR_IPV4));
        let answered = |packet: &Packet| packet.bytes.starts_with(&stranger);
        assert!(answers.iter().any(answered), "a neighbour is not answered");
    }
}

const ETHERNET: usize = 14;

/// One of the frames that the host has sent.
fn pick<'a>(input: &mut Input<'_>, sent: &'a VecDeque<Vec<u8>>) -> Option<&'a [u8]> {
    let index = input.index(sent.len());
    sent.get(index).map(Vec::as_slice)
}

/// Keeps the last frames.
fn remember(sent: &mut VecDeque<Vec<u8>>, packets: Vec<Packet>) {
    sent.extend(packets.into_iter().map(|packet| packet.bytes));
    while sent.len() > 8 {
        sent.pop_front();
    }
}

/// An answer to a DHCP request, as silly as the input likes.
fn lease(input: &mut Input<'_>, request: &[u8]) -> Option<Vec<u8>> {
    let (transaction, _) = crafted::dhcp_request(request)?;
    let address = |input: &mut Input<'_>| match input.byte() % 8 {
        0 => [0, 0, 0, 0],
        1 => [255, 255, 255, 255],
        2 => [224, 0, 0, 1],
        3 => [127, 0, 0, 1],
        4 => [192, 0, 2, 1],
        _ => [10, 0, 0, input.byte()],
    };
    let kind = [2, 5, 5, 6][input.index(4)];
    let yours = address(input);
    let mut options = Vec::new();
    for code in [1, 3, 6, 51, 58, 59] {
        match input.byte() % 8 {
            0 => continue,
            1 => options.push((code, vec![input.byte(); usize::from(input.byte() % 20)])),
            2 => options.push((code, address(input).to_vec())),
            3 => options.push((code, input.u32().to_be_bytes().to_vec())),
            // What a sensible server might tell.
            _ if code == 1 => options.push((code, vec![255, 255, 255, 0])),
            _ => options.push((code, vec![0, 0, 0, input.byte()])),
        }
    }
    Some(crafted::dhcp(transaction, kind, PEER_IPV4, yours, &options))
}

/// Changes some bytes from `first` on, perhaps the length, and mostly makes the checksums right again.
fn change(input: &mut Input<'_>, frame: &mut Vec<u8>, first: usize) {
    let choice = input.byte();
    for _ in 0..choice & 7 {
        let place = first + input.index(frame.len().saturating_sub(first));
        let value = input.byte();
        if let Some(byte) = frame.get_mut(place) {
            *byte = value;
        }
    }
    match choice >> 3 & 7 {
        0 => frame.truncate(input.index(frame.len() + 1)),
        1 => {
            let len = frame.len() + input.index(1000);
            frame.resize(len, 1);
        }
        _ => {}
    }
    if choice >> 6 != 0 {
        crafted::seal(frame);
    }
}

/// Sends a frame back to where it came from.
fn reflect(frame: &mut [u8]) {
    let mut swap = |one: usize, other: usize, len: usize| {
        if frame.len() >= other + len {
            (0..len).for_each(|at| frame.swap(one + at, other + at));
        }
    };
    // Hardware addresses; of an IPv4 packet addresses and ports.
    swap(0, 6, 6);
    swap(26, 30, 4);
    swap(34, 36, 2);
}

/// Servers that echo.
fn serve(alone: &Alone) {
    let options = TcpOptions {
        receive_buffer: 4096,
        send_buffer: 4096,
        ..TcpOptions::default()
    };
    let spawner = alone.executor.spawner();
    let Ok(mut listener) = TcpListener::bind(&alone.host.stack, ECHO, 2, options) else {
        unreachable!("the first to listen there");
    };
    alone.executor.spawner().spawn(async move {
        while let Ok(stream) = listener.accept().await {
            spawner.spawn(async move {
                let mut buffer = [0; 3000];
                while let Ok(count @ 1..) = stream.receive(&mut buffer).await {
                    if stream.send(&buffer[..count]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    let Ok(socket) = UdpSocket::bind(&alone.host.stack, DATAGRAMS) else {
        unreachable!("the first to have the port");
    };
    alone.executor.spawner().spawn(async move {
        let mut buffer = [0; 2000];
        loop {
            if let Ok((len, from)) = socket.receive_from(&mut buffer).await {
                let _ = socket.send_to(&buffer[..len], from).await;
            }
        }
    });
}

/// Something that a program may want.
fn act(alone: &Alone, choice: u8) {
    let stack = Rc::clone(&alone.host.stack);
    let remote: IpAddress = match choice & 1 {
        0 => Ipv4Address::from(PEER_IPV4).into(),
        _ => Ipv6Address::from(PEER_IPV6).into(),
    };
    alone.executor.spawner().spawn(async move {
        if choice & 2 == 0 {
            let _ = resolve(&stack, "broker.example", choice & 4 != 0).await;
            return;
        }
        let options = TcpOptions {
            keep_alive: (choice & 8 != 0).then_some(Duration::from_secs(5)),
            nagle: choice & 16 != 0,
            ..TcpOptions::default()
        };
        let remote = IpEndpoint::new(remote, 1883);
        let Ok(stream) = TcpStream::connect(&stack, remote, &options).await else {
            return;
        };
        // More than one segment, so that a back end has something to cut.
        let data = vec![choice; 20_000];
        while let Ok(1..) = stream.send(&data).await {
            if choice & 32 != 0 {
                stream.shutdown();
            }
            if stream.receive(&mut [0; 100]).await.is_err() {
                break;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::tests::cases;
    use proptest::prelude::*;

    /// Each frame of the corpus alone, twice with a right checksum and once with what it has, to hosts with either setup.
    #[test]
    fn n4_frames_that_nobody_honest_sends_are_survived_one_by_one() {
        let corpus = crafted::corpus();
        assert!(corpus.len() < 256, "one byte chooses");
        for number in 0..corpus.len() as u8 {
            for setup in 0..4 {
                frames(&[
                    setup, 0, number, 0xc0, 0, 0, number, 0, 0, 0, number, 0xc0, 1, 6, 14,
                ]);
            }
        }
    }

    proptest! {
        #![proptest_config(cases(256))]

        #[test]
        fn n2_rings_whose_every_load_may_return_anything(
            data in proptest::collection::vec(any::<u8>(), 0..1500),
        ) {
            rings(&data);
        }

        #[test]
        fn n4_frames_in_any_order_with_any_change(
            data in proptest::collection::vec(any::<u8>(), 0..800),
        ) {
            frames(&data);
        }
    }
}
