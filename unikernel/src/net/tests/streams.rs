//! Whole stacks over whole back ends: streams are byte-exact whatever the wire does.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::vec;
use std::vec::Vec;

use smoltcp::time::Duration;
use smoltcp::wire::{IpAddress, IpEndpoint, Ipv6Address};

use super::is_soak;
use super::lan::{FULL, Faults, Lan, PLAIN, Random, address};
use crate::executor::Spawner;
use crate::net::device::Features;
use crate::net::fake::Packet;
use crate::net::tcp::{TcpError, TcpListener, TcpOptions, TcpStream};
use crate::net::udp::UdpSocket;

const HOUR: Duration = Duration::from_secs(3600);

fn ipv4(host: u8, port: u16) -> IpEndpoint {
    let [a, b, c, d] = address(host);
    IpEndpoint::new(IpAddress::v4(a, b, c, d), port)
}

fn bytes(len: usize, seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    (0..len).map(|_| random.below(256) as u8).collect()
}

/// How bytes come back.
#[derive(Clone, Copy, PartialEq)]
enum Back {
    /// While others are still on their way there.
    AtOnce,
    /// When the last one has arrived.
    Afterwards,
}

/// Sends `len` bytes there and the same back; how many frames that took.
fn echo(features: Features, faults: Faults, seed: u64, len: usize, to: IpEndpoint) -> u64 {
    there_and_back(features, faults, seed, len, to, Back::AtOnce)
}

fn there_and_back(
    features: Features,
    faults: Faults,
    seed: u64,
    len: usize,
    to: IpEndpoint,
    back: Back,
) -> u64 {
    let mut lan = Lan::new(features, Faults::default(), seed);
    let accepted = Rc::new(Cell::new(false));
    // A lost acknowledgement is asked for many times over before a connection is given up.
    let options = TcpOptions {
        timeout: None,
        keep_alive: None,
        ..TcpOptions::default()
    };
    let mut listener = TcpListener::bind(&lan.hosts[1].stack, to.port, 1, options).unwrap();
    let connected = Rc::clone(&accepted);
    lan.executor.spawner().spawn(async move {
        let stream = listener.accept().await.unwrap();
        connected.set(true);
        let (mut buffer, mut kept) = (vec![0; 5000], Vec::new());
        loop {
            let count = stream.receive(&mut buffer).await.unwrap();
            kept.extend_from_slice(&buffer[..count]);
            if count > 0 && back == Back::Afterwards {
                continue;
            }
            let mut rest = kept.as_slice();
            while !rest.is_empty() {
                let sent = stream.send(rest).await.unwrap();
                rest = &rest[sent..];
            }
            kept.clear();
            if count == 0 {
                break;
            }
        }
        // A goodbye without an owner has less time than this wire may take.
        stream.shutdown();
        stream.acknowledged().await.unwrap();
    });
    let stack = Rc::clone(&lan.hosts[0].stack);
    let data = Rc::new(bytes(len, seed));
    let received = Rc::new(RefCell::new(Vec::new()));
    let done = Rc::new(Cell::new(false));
    let (sending, collected, finished) = (Rc::clone(&data), Rc::clone(&received), Rc::clone(&done));
    let spawner = lan.executor.spawner();
    lan.executor.spawner().spawn(async move {
        let stream = TcpStream::connect(&stack, to, &options).await.unwrap();
        let stream = Rc::new(stream);
        let writer = Rc::clone(&stream);
        spawner.spawn(async move {
            let mut rest = sending.as_slice();
            while !rest.is_empty() {
                let sent = writer.send(rest).await.unwrap();
                rest = &rest[sent..];
            }
            writer.acknowledged().await.unwrap();
            writer.shutdown();
        });
        let mut buffer = vec![0; 7000];
        loop {
            let count = stream.receive(&mut buffer).await.unwrap();
            if count == 0 {
                break;
            }
            collected.borrow_mut().extend_from_slice(&buffer[..count]);
        }
        finished.set(true);
    });
    // Who listens gives a handshake up whose segments are lost time after time, which is another matter.
    lan.run_until(HOUR, || accepted.get());
    lan.faults = faults;
    lan.run_until(HOUR * 24, || done.get());
    assert!(
        *received.borrow() == *data,
        "the stream is not what was sent"
    );
    lan.carried
}

#[test]
fn a_stream_over_a_good_wire_is_byte_exact() {
    let plain = echo(PLAIN, Faults::default(), 1, 1_000_000, ipv4(1, 7));
    let full = echo(FULL, Faults::default(), 1, 1_000_000, ipv4(1, 7));
    // Long segments are what takes fewer frames.
    assert!(full * 4 < plain, "{full} frames against {plain}");
}

#[test]
fn a_stream_over_ipv6_is_byte_exact() {
    // Of the interface's own link: nobody advertises a prefix here.
    let remote = Ipv6Address::new(0xfe80, 0, 0, 0, 0x0000, 0x00ff, 0xfe00, 0x0001);
    echo(
        FULL,
        Faults::default(),
        1,
        300_000,
        IpEndpoint::new(remote.into(), 7),
    );
    echo(
        PLAIN,
        Faults::default(),
        2,
        100_000,
        IpEndpoint::new(remote.into(), 7),
    );
}

#[test]
fn a_long_segment_does_not_wait_for_its_acknowledgement() {
    let mut lan = Lan::new(FULL, Faults::default(), 1);
    let options = TcpOptions::default();
    let mut listener = TcpListener::bind(&lan.hosts[1].stack, 7, 1, options).unwrap();
    lan.executor.spawner().spawn(async move {
        let stream = listener.accept().await.unwrap();
        let mut buffer = vec![0; 4096];
        while stream.receive(&mut buffer).await.unwrap() > 0 {}
    });
    let (stack, done) = (Rc::clone(&lan.hosts[0].stack), Rc::new(Cell::new(false)));
    let finished = Rc::clone(&done);
    const WINDOWS: usize = 32;
    lan.executor.spawner().spawn(async move {
        let stream = TcpStream::connect(&stack, ipv4(1, 7), &options)
            .await
            .unwrap();
        for _ in 0..WINDOWS {
            // All that the peer may have at once, and then nothing before its word.
            let mut rest = &bytes(options.receive_buffer / 2, 1)[..];
            while !rest.is_empty() {
                let sent = stream.send(rest).await.unwrap();
                rest = &rest[sent..];
            }
            stream.acknowledged().await.unwrap();
        }
        finished.set(true);
    });
    lan.run_until(HOUR, || done.get());
    let took = lan.now - smoltcp::time::Instant::ZERO;
    assert!(
        took < Duration::from_millis(10) * WINDOWS as u32 / 2,
        "{took} for {WINDOWS} windows"
    );
}

/// Faults in percent, one after the other and all at once.
const WIRES: [Faults; 8] = {
    const NONE: Faults = Faults {
        loss: 0,
        repeat: 0,
        reorder: 0,
        corrupt: 0,
    };
    [
        Faults { loss: 5, ..NONE },
        Faults { loss: 10, ..NONE },
        Faults { loss: 20, ..NONE },
        Faults { loss: 30, ..NONE },
        Faults { repeat: 20, ..NONE },
        Faults {
            reorder: 20,
            ..NONE
        },
        Faults {
            corrupt: 10,
            ..NONE
        },
        Faults {
            loss: 5,
            repeat: 5,
            reorder: 10,
            corrupt: 5,
        },
    ]
};

/// Each wire with both kinds of back ends, and a number for each round.
fn on_all_wires(mut run: impl FnMut(Features, Faults, u64)) {
    let rounds = if is_soak() { 200 } else { 3 };
    for (number, faults) in WIRES.into_iter().enumerate() {
        for round in 0..rounds {
            let seed = round * 100 + number as u64;
            std::println!("{faults:?} {seed}");
            run(PLAIN, faults, seed);
            // A frame with a blank checksum never leaves a host, where nothing corrupts it.
            let within = Faults {
                corrupt: 0,
                ..faults
            };
            run(FULL, within, seed);
        }
    }
}

#[test]
fn n3_streams_are_byte_exact_over_loss_repetition_reordering_and_corruption() {
    on_all_wires(|features, faults, seed| {
        there_and_back(
            features,
            faults,
            seed,
            100_000,
            ipv4(1, 7),
            Back::Afterwards,
        );
    });
}

/// Bytes both ways at once, over a connection with a timeout: all of them arrive, or those before a place where both ends tell of a
/// broken connection. smoltcp 0.14 begins anew at what was not acknowledged when a timer runs out, and its further acknowledgements
/// come from there too, which another smoltcp takes for old segments and does not look into: two that time out together never hear
/// each other again. (Linux answers such a segment from where it has come to, which gets the connection going.)
#[test]
fn n3_streams_both_ways_at_once_are_byte_exact_to_their_end_or_to_the_error() {
    let (mut whole, mut broken) = (0, 0);
    on_all_wires(|features, faults, seed| {
        for ended in both_ways(features, faults, seed) {
            match ended {
                Ok(()) => whole += 1,
                Err(error) => {
                    assert_eq!(error, TcpError::Reset);
                    broken += 1;
                }
            }
        }
    });
    assert!(broken * 4 < whole, "{broken} broken, {whole} whole");
}

/// Sends bytes both ways at once; how it ended for each.
fn both_ways(features: Features, faults: Faults, seed: u64) -> Vec<Result<(), TcpError>> {
    let mut lan = Lan::new(features, Faults::default(), seed);
    let accepted = Rc::new(Cell::new(false));
    let ends = Rc::new(RefCell::new(Vec::new()));
    let data = [0, 1].map(|side| Rc::new(bytes(100_000, seed * 2 + side)));
    let options = TcpOptions::default();
    let mut listener = TcpListener::bind(&lan.hosts[1].stack, 7, 1, options).unwrap();
    let (spawner, theirs, told) = (lan.executor.spawner(), data.clone(), Rc::clone(&ends));
    let connected = Rc::clone(&accepted);
    lan.executor.spawner().spawn(async move {
        let stream = Rc::new(listener.accept().await.unwrap());
        connected.set(true);
        let [there, here] = theirs;
        exchange(&spawner, stream, there, here, told);
    });
    let stack = Rc::clone(&lan.hosts[0].stack);
    let (spawner, told) = (lan.executor.spawner(), Rc::clone(&ends));
    lan.executor.spawner().spawn(async move {
        let stream = TcpStream::connect(&stack, ipv4(1, 7), &options).await;
        let [here, there] = data;
        exchange(&spawner, Rc::new(stream.unwrap()), there, here, told);
    });
    lan.run_until(HOUR, || accepted.get());
    lan.faults = faults;
    lan.run_until(HOUR * 24, || ends.borrow().len() == 2);
    ends.take()
}

/// Sends `own` and receives `other`, at the same time.
fn exchange(
    spawner: &Spawner,
    stream: Rc<TcpStream>,
    other: Rc<Vec<u8>>,
    own: Rc<Vec<u8>>,
    ends: Rc<RefCell<Vec<Result<(), TcpError>>>>,
) {
    let writer = Rc::clone(&stream);
    spawner.spawn(async move {
        let mut rest = own.as_slice();
        while !rest.is_empty() {
            match writer.send(rest).await {
                Ok(sent) => rest = &rest[sent..],
                // The reader tells.
                Err(_) => return,
            }
        }
        writer.shutdown();
    });
    spawner.spawn(async move {
        let (mut buffer, mut received) = (vec![0; 7000], 0);
        let end = loop {
            match stream.receive(&mut buffer).await {
                Ok(0) => {
                    assert_eq!(received, other.len());
                    break Ok(());
                }
                Ok(count) => {
                    assert!(other[received..].starts_with(&buffer[..count]));
                    received += count;
                }
                Err(error) => break Err(error),
            }
        };
        ends.borrow_mut().push(end);
    });
}

#[test]
fn nobody_listens_is_told() {
    let mut lan = Lan::new(FULL, Faults::default(), 1);
    let stack = Rc::clone(&lan.hosts[0].stack);
    let verdict = Rc::new(Cell::new(None));
    let result = Rc::clone(&verdict);
    lan.executor.spawner().spawn(async move {
        let stream = TcpStream::connect(&stack, ipv4(1, 9), &TcpOptions::default()).await;
        result.set(stream.err());
    });
    lan.run_until(HOUR, || verdict.get().is_some());
    assert_eq!(verdict.get(), Some(TcpError::Refused));
}

#[test]
fn a_handshake_that_is_never_finished_gives_its_place_back() {
    let mut lan = Lan::new(FULL, Faults::default(), 1);
    let mut listener = TcpListener::bind(&lan.hosts[1].stack, 7, 1, TcpOptions::default()).unwrap();
    lan.executor.spawner().spawn(async move {
        loop {
            drop(listener.accept().await.unwrap());
        }
    });
    let stack = Rc::clone(&lan.hosts[0].stack);
    let connected = Rc::new(Cell::new(0));
    let count = Rc::clone(&connected);
    let connect = move || {
        let (stack, count) = (Rc::clone(&stack), Rc::clone(&count));
        async move {
            let options = TcpOptions::default();
            let stream = TcpStream::connect(&stack, ipv4(1, 7), &options).await;
            if stream.is_ok() {
                count.set(count.get() + 1);
            }
        }
    };
    lan.recorded = Some(Vec::new());
    lan.executor.spawner().spawn(connect());
    lan.run_until(HOUR, || connected.get() == 1);
    lan.pass(Duration::from_secs(1));
    // The flags of TCP, behind headers without options.
    let is_syn = |packet: &&Packet| packet.bytes.get(14 + 20 + 13) == Some(&0x02);
    let recorded = lan.recorded.take().unwrap();
    let syn = recorded.iter().find(is_syn).expect("a SYN was carried");

    // It comes again, and whoever sent it hears nothing of it.
    lan.faults.loss = 100;
    lan.inject(1, syn);
    lan.pass(Duration::from_secs(6));
    lan.faults.loss = 0;
    lan.executor.spawner().spawn(connect());
    lan.run_until(Duration::from_secs(5), || connected.get() == 2);
}

#[test]
fn n8_a_peer_that_vanishes_is_given_up() {
    let mut lan = Lan::new(FULL, Faults::default(), 1);
    let mut listener = TcpListener::bind(&lan.hosts[1].stack, 7, 1, TcpOptions::default()).unwrap();
    let accepted = Rc::new(RefCell::new(None));
    let place = Rc::clone(&accepted);
    lan.executor.spawner().spawn(async move {
        *place.borrow_mut() = Some(listener.accept().await.unwrap());
    });
    let stack = Rc::clone(&lan.hosts[0].stack);
    let verdict = Rc::new(Cell::new(None));
    let result = Rc::clone(&verdict);
    lan.executor.spawner().spawn(async move {
        let stream = TcpStream::connect(&stack, ipv4(1, 7), &TcpOptions::default())
            .await
            .unwrap();
        result.set(Some(stream.receive(&mut [0; 10]).await));
    });
    lan.run_until(HOUR, || accepted.borrow().is_some());
    assert_eq!(verdict.get(), None);
    lan.faults.loss = 100;
    lan.run_until(HOUR, || verdict.get().is_some());
    assert_eq!(verdict.get(), Some(Err(TcpError::Reset)));
}

#[test]
fn datagrams_arrive_whole() {
    let mut lan = Lan::new(FULL, Faults::default(), 1);
    let server = UdpSocket::bind(&lan.hosts[1].stack, 53).unwrap();
    lan.executor.spawner().spawn(async move {
        let mut buffer = [0; 1500];
        loop {
            let (len, from) = server.receive_from(&mut buffer).await.unwrap();
            server.send_to(&buffer[..len], from).await.unwrap();
        }
    });
    let client = UdpSocket::bind(&lan.hosts[0].stack, 0).unwrap();
    let done = Rc::new(Cell::new(false));
    let finished = Rc::clone(&done);
    lan.executor.spawner().spawn(async move {
        for len in [1, 2, 100, 1472] {
            let data = bytes(len, len as u64);
            let mut answer = [0; 1500];
            client.send_to(&data, ipv4(1, 53)).await.unwrap();
            let (count, from) = client.receive_from(&mut answer).await.unwrap();
            assert_eq!((&answer[..count], from), (data.as_slice(), ipv4(1, 53)));
        }
        finished.set(true);
    });
    lan.run_until(HOUR, || done.get());
}

#[test]
fn connections_that_have_ended_leave_nothing() {
    let mut lan = Lan::new(FULL, Faults::default(), 1);
    let mut listener = TcpListener::bind(&lan.hosts[1].stack, 7, 2, TcpOptions::default()).unwrap();
    lan.executor.spawner().spawn(async move {
        loop {
            drop(listener.accept().await.unwrap());
        }
    });
    let stack = Rc::clone(&lan.hosts[0].stack);
    let done = Rc::new(Cell::new(0));
    let count = Rc::clone(&done);
    lan.executor.spawner().spawn(async move {
        for _ in 0..50 {
            let stream = TcpStream::connect(&stack, ipv4(1, 7), &TcpOptions::default())
                .await
                .unwrap();
            assert_eq!(stream.receive(&mut [0; 1]).await, Ok(0));
            count.set(count.get() + 1);
        }
    });
    let stacks = lan.hosts.each_ref().map(|host| Rc::clone(&host.stack));
    let sockets = || {
        stacks
            .each_ref()
            .map(|stack| stack.look(|inner| inner.sockets.iter().count()))
    };
    // The resolver on both sides, and two sockets that listen.
    lan.run_until(HOUR, || done.get() == 50 && sockets() == [1, 3]);
}

#[test]
fn who_sends_to_a_connection_that_was_dropped_is_told() {
    let mut lan = Lan::new(FULL, Faults::default(), 1);
    let mut listener = TcpListener::bind(&lan.hosts[1].stack, 7, 1, TcpOptions::default()).unwrap();
    let verdict = Rc::new(Cell::new(None));
    let result = Rc::clone(&verdict);
    lan.executor.spawner().spawn(async move {
        let stream = listener.accept().await.unwrap();
        let error = loop {
            if let Err(error) = stream.send(&[0; 1000]).await {
                break error;
            }
        };
        result.set(Some(error));
    });
    let stack = Rc::clone(&lan.hosts[0].stack);
    lan.executor.spawner().spawn(async move {
        let stream = TcpStream::connect(&stack, ipv4(1, 7), &TcpOptions::default())
            .await
            .unwrap();
        stream.receive(&mut [0; 10]).await.unwrap();
    });
    // Not only when the time for a goodbye is over.
    let stack = Rc::clone(&lan.hosts[0].stack);
    lan.run_until(Duration::from_secs(1), || {
        verdict.get().is_some() && stack.look(|inner| inner.sockets.iter().count()) == 1
    });
    assert_eq!(verdict.get(), Some(TcpError::Reset));
}

#[test]
fn a_reader_that_was_slow_gets_the_rest_at_once() {
    let mut lan = Lan::new(FULL, Faults::default(), 1);
    let mut listener = TcpListener::bind(&lan.hosts[1].stack, 7, 1, TcpOptions::default()).unwrap();
    let accepted = Rc::new(RefCell::new(None));
    let place = Rc::clone(&accepted);
    lan.executor.spawner().spawn(async move {
        *place.borrow_mut() = Some(listener.accept().await.unwrap());
    });
    let data = Rc::new(bytes(500_000, 3));
    let (stack, sending) = (Rc::clone(&lan.hosts[0].stack), Rc::clone(&data));
    let sent = Rc::new(Cell::new(0));
    let count = Rc::clone(&sent);
    lan.executor.spawner().spawn(async move {
        let stream = TcpStream::connect(&stack, ipv4(1, 7), &TcpOptions::default())
            .await
            .unwrap();
        while count.get() < sending.len() {
            count.set(count.get() + stream.send(&sending[count.get()..]).await.unwrap());
        }
    });
    // Until both buffers are full, but for the unit of the window that is kept back and the one that it is rounded to.
    let buffers = TcpOptions::default();
    let full = buffers.receive_buffer + buffers.send_buffer;
    lan.run_until(HOUR, || sent.get() + 4 >= full);
    let stream = accepted.take().unwrap();
    let received = Rc::new(RefCell::new(Vec::new()));
    let collected = Rc::clone(&received);
    lan.executor.spawner().spawn(async move {
        let mut buffer = vec![0; 30_000];
        while let Ok(count @ 1..) = stream.receive(&mut buffer).await {
            collected.borrow_mut().extend_from_slice(&buffer[..count]);
        }
    });
    // A sender that is not told of the window asks for it, but not that soon.
    lan.run_until(Duration::from_millis(100), || {
        received.borrow().len() == data.len()
    });
    assert!(*received.borrow() == *data);
}

#[test]
fn n1_a_connection_lives_through_a_device_that_goes_and_comes_back() {
    let mut lan = Lan::new(FULL, Faults::default(), 1);
    let mut listener = TcpListener::bind(&lan.hosts[1].stack, 7, 1, TcpOptions::default()).unwrap();
    lan.executor.spawner().spawn(async move {
        let stream = listener.accept().await.unwrap();
        let mut buffer = [0; 100];
        while let Ok(count @ 1..) = stream.receive(&mut buffer).await {
            stream.send(&buffer[..count]).await.unwrap();
        }
    });
    let stack = Rc::clone(&lan.hosts[0].stack);
    let answers = Rc::new(Cell::new(0));
    let count = Rc::clone(&answers);
    lan.executor.spawner().spawn(async move {
        let stream = TcpStream::connect(&stack, ipv4(1, 7), &TcpOptions::default())
            .await
            .unwrap();
        loop {
            stream.send(b"ask").await.unwrap();
            assert_eq!(stream.receive(&mut [0; 10]).await, Ok(3));
            count.set(count.get() + 1);
        }
    });
    for round in 0..6 {
        let before = answers.get();
        lan.run_until(HOUR, || answers.get() > before + 10);
        // The back end that comes back may be able to do less.
        let features = if round % 3 == 0 { PLAIN } else { FULL };
        lan.replug(round % 2, features, Duration::from_secs(2));
    }
    let before = answers.get();
    lan.run_until(HOUR, || answers.get() > before);
}
