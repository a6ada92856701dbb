//! Frames that nobody honest sends: no panic, whatever they say, and honest traffic goes on.

use std::cell::Cell;
use std::rc::Rc;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;
use smoltcp::time::{Duration, Instant};

use super::lan::{FULL, Faults, Lan, Random};
use crate::net::config::IpConfig;
use crate::net::device::NetDevice;
use crate::net::fake::{Packet, connected};
use crate::net::stack::Stack;
use crate::net::tcp::{TcpListener, TcpOptions, TcpStream};
use crate::net::udp::UdpSocket;
use smoltcp::wire::{IpAddress, IpEndpoint};

const HOUR: Duration = Duration::from_secs(3600);
const SERVER: IpEndpoint = IpEndpoint {
    addr: IpAddress::v4(10, 0, 0, 2),
    port: 7,
};

/// A wire with a server for bytes and one for datagrams on host 1, and a connection to the first.
fn busy(seed: u64) -> (Lan, Rc<Cell<u32>>) {
    let lan = Lan::new(FULL, Faults::default(), seed);
    let options = TcpOptions::default();
    let mut listener = TcpListener::bind(&lan.hosts[1].stack, 7, 2, options).unwrap();
    let spawner = lan.executor.spawner();
    lan.executor.spawner().spawn(async move {
        while let Ok(stream) = listener.accept().await {
            spawner.spawn(async move {
                let mut buffer = [0; 100];
                while let Ok(count @ 1..) = stream.receive(&mut buffer).await {
                    let _ = stream.send(&buffer[..count]).await;
                }
            });
        }
    });
    let datagrams = UdpSocket::bind(&lan.hosts[1].stack, 9).unwrap();
    lan.executor.spawner().spawn(async move {
        let mut buffer = [0; 2000];
        loop {
            let _ = datagrams.receive_from(&mut buffer).await;
        }
    });
    let (stack, answers) = (Rc::clone(&lan.hosts[0].stack), Rc::new(Cell::new(0)));
    let count = Rc::clone(&answers);
    lan.executor.spawner().spawn(async move {
        // A connection may be broken off by what is sent in its name; the next one works.
        while let Ok(stream) = TcpStream::connect(&stack, SERVER, &options).await {
            while let Ok(1..) = stream.send(b"ask").await {
                match stream.receive(&mut [0; 10]).await {
                    Ok(1..) => count.set(count.get() + 1),
                    _ => break,
                }
            }
        }
    });
    (lan, answers)
}

fn vouched(bytes: Vec<u8>) -> Packet {
    Packet {
        bytes,
        // Whoever sends it says that the checksum need not be looked at.
        flags: crate::net::netif::NETTXF_CSUM_BLANK,
        segmentation: None,
        ids: vec![],
    }
}

proptest! {
    #![proptest_config(super::cases(48))]

    #[test]
    fn frames_of_real_traffic_with_bytes_changed_do_no_harm(
        seed in any::<u64>(),
        changes in proptest::collection::vec((any::<u16>(), any::<u8>(), any::<u16>()), 1..300),
    ) {
        let (mut lan, answers) = busy(seed);
        lan.recorded = Some(Vec::new());
        lan.run_until(HOUR, || answers.get() >= 3);
        let real = lan.recorded.take().unwrap();
        for (number, (place, value, which)) in changes.into_iter().enumerate() {
            let mut bytes = real[usize::from(which) % real.len()].bytes.clone();
            let place = usize::from(place) % bytes.len();
            bytes[place] = value;
            let len = bytes.len();
            if number % 5 == 0 {
                bytes.truncate(len - place % len / 2);
            }
            lan.inject(1, &vouched(bytes));
        }
        // Whoever was fooled about an address or a connection finds out.
        let before = answers.get();
        lan.run_until(HOUR, || answers.get() > before);
    }

    #[test]
    fn bytes_that_are_no_frames_do_no_harm(
        seed in any::<u64>(),
        frames in proptest::collection::vec((0usize..600, 0usize..4), 1..100),
    ) {
        let (mut lan, answers) = busy(seed);
        let mut random = Random(seed);
        for (len, kind) in frames {
            let mut bytes: Vec<u8> = (0..len).map(|_| random.below(256) as u8).collect();
            let to = [2, 0, 0, 0, 0, 1];
            bytes.iter_mut().zip(to).for_each(|(place, value)| *place = value);
            let ethertype = [[0x08, 0x00], [0x86, 0xdd], [0x08, 0x06], [0xff, 0xff]][kind];
            if let Some(place) = bytes.get_mut(12..14) {
                place.copy_from_slice(&ethertype);
            }
            if let (Some(version), 0 | 1) = (bytes.get_mut(14), kind) {
                *version = [0x45, 0x60][kind];
            }
            if !bytes.is_empty() {
                lan.inject(1, &vouched(bytes));
            }
        }
        lan.run_until(HOUR, || answers.get() >= 3);
    }
}

#[test]
fn twenty_thousand_knocks_open_nothing_and_are_survived() {
    let (mut lan, answers) = busy(1);
    lan.recorded = Some(Vec::new());
    lan.run_until(HOUR, || answers.get() >= 1);
    let real = lan.recorded.take().unwrap();
    let is_syn = |packet: &&Packet| packet.bytes.get(47).is_some_and(|flags| flags & 0x3f == 2);
    let knock = real.iter().find(is_syn).unwrap().clone();
    let mut random = Random(5);
    for _ in 0..20_000 {
        let mut bytes = knock.bytes.clone();
        let [high, low] = (random.below(65_536) as u16).to_be_bytes();
        (bytes[34], bytes[35]) = (high, low);
        lan.inject(1, &vouched(bytes));
    }
    let sockets = lan.hosts[1]
        .stack
        .look(|inner| inner.sockets.iter().count());
    assert!(sockets < 16, "{sockets}");
    let before = answers.get();
    lan.run_until(HOUR, || answers.get() > before);
}

#[test]
fn leases_that_nobody_can_have_are_not_taken() {
    // A stack that asks for a lease, and a server that answers with whatever it likes.
    let stack = Stack::new(IpConfig::Dhcp { dns: None }, 50_000);
    let (mut backend, tx, rx) = connected(64, 0);
    stack.up(
        NetDevice::new(tx, rx, FULL, 1500),
        [2, 0, 0, 0, 0, 1],
        3,
        Instant::ZERO,
    );
    let mut now = Instant::ZERO;
    let mut asked = 0;
    let mut random = Random(11);
    for _ in 0..400 {
        let outcome = stack.poll(now);
        for packet in backend.take_all() {
            let Some(answer) = silly_answer(&packet.bytes, &mut random) else {
                continue;
            };
            asked += 1;
            backend.pass_on(&vouched(answer));
        }
        now = outcome
            .next
            .unwrap_or(now)
            .max(now + Duration::from_millis(1));
    }
    assert!(asked > 10, "{asked}");
    for address in stack.addresses() {
        if let IpAddress::Ipv4(address) = address.address() {
            assert!(
                !address.is_multicast() && !address.is_unspecified(),
                "{address}"
            );
        }
    }
}

/// An answer to a DHCP request, with the right transaction and silly contents.
fn silly_answer(request: &[u8], random: &mut Random) -> Option<Vec<u8>> {
    // UDP to port 67.
    let is_request = request.get(36..38) == Some(&[0, 67]) && request.get(23) == Some(&17);
    let fixed = request.get(42..42 + 240).filter(|_| is_request)?;
    let mut bootp = fixed.to_vec();
    bootp[0] = 2;
    let address = |random: &mut Random| match random.below(5) {
        0 => [0, 0, 0, 0],
        1 => [255, 255, 255, 255],
        2 => [224, 0, 0, 1],
        _ => [10, 0, 0, random.below(256) as u8],
    };
    bootp[16..20].copy_from_slice(&address(random));
    let kind = [2, 5, 6, 5][random.below(4) as usize];
    bootp.extend([53, 1, kind, 54, 4, 10, 0, 0, 1]);
    for option in [1, 3, 6, 51, 58, 59] {
        match random.below(3) {
            0 => continue,
            1 => bootp.extend([&[option, 4][..], &address(random)].concat()),
            _ => bootp.extend([option, 4, 0, 0, 0, random.below(200) as u8]),
        }
    }
    bootp.push(255);
    let udp_len = (8 + bootp.len()) as u16;
    let total = (20 + udp_len).to_be_bytes();
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 8, 0];
    let mut header = vec![
        0x45, 0, total[0], total[1], 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1,
    ];
    header.extend([255; 4]);
    let mut sum: u32 = header
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    header[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    frame.extend(header);
    frame.extend([0, 67, 0, 68]);
    frame.extend(udp_len.to_be_bytes());
    frame.extend([0, 0]);
    frame.extend(bootp);
    Some(frame)
}
