//! Frames that nobody honest sends: no panic, whatever they say, and honest traffic goes on.

use std::cell::Cell;
use std::rc::Rc;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;
use smoltcp::time::Duration;

use super::lan::{FULL, Faults, Lan, Random};
use crate::net::fake::Packet;
use crate::net::tcp::{TcpError, TcpListener, TcpOptions, TcpStream};
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
        loop {
            // A connection may be broken off by what is sent in its name, or be refused before it stands; the next one works.
            let stream = match TcpStream::connect(&stack, SERVER, &options).await {
                Ok(stream) => stream,
                Err(TcpError::Refused) => continue,
                Err(error) => panic!("{error}"),
            };
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
