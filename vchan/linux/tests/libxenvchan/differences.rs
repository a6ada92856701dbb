//! Lengths around every boundary, and where libxenvchan fails and we do not.

use std::io::{BufRead, ErrorKind, Read, Write};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::thread;

use vchan_linux::interface::{CLI_LIVE, LEFT_PROD, LIVE_OPEN};
use vchan_linux::local::{Meeting, Memory};
use vchan_linux::platform::{EventChannel, Rendezvous, SharedMemory};
use vchan_linux::{Corrupt, Layout, ReadError, Role, Stream, block_on, interface, keys};

use crate::{PATIENCE, Place, ROLES, data, orders, sum};

/// The C program's matrix: number and length of the messages over a ring of this size, and whether we send or take them as a
/// whole: two of four, of which it does one so.
fn messages(ring: usize) -> impl Iterator<Item = (usize, usize, bool)> {
    let half = ring / 2;
    let lengths = [
        0,
        1,
        half - 1,
        half,
        half + 1,
        ring - 1,
        ring,
        ring + 1,
        2 * ring,
    ];
    (0..4 * lengths.len()).filter_map(move |number| {
        let len = lengths[number / 4];
        let there = match number % 4 {
            1 | 2 => len <= ring,
            _ => len > 0,
        };
        there.then_some((number, len, number % 4 >= 2 && len <= ring))
    })
}

/// Of what libxenvchan makes all small ones, and each order once on either side.
fn layouts() -> impl Iterator<Item = Layout> {
    orders().into_iter().filter(|layout| {
        let (left, right) = (layout.left_order(), layout.right_order());
        left.max(right) <= 13 || left == right
    })
}

/// Streams and messages of every length around the size of either ring, each side once as a stream and once as a whole.
pub fn every_length(program: &Path) {
    assert_eq!(layouts().count(), 10 + 7);
    for ours in ROLES {
        for layout in layouts() {
            let place = Place::new();
            let (stream, peer) = place.open(program, ours, layout, "matrix");
            let (left, right) = (layout.left_size() as usize, layout.right_size() as usize);
            let (incoming, outgoing) = match ours {
                Role::Server => (left, right),
                Role::Client => (right, left),
            };
            let all = data(2 * left.max(right) + 36);
            let (mut reader, mut writer) = stream.split();
            let mut total = 0;
            for (number, len, whole) in messages(outgoing) {
                let message = &all[number..number + len];
                if whole {
                    block_on(writer.inner().send(message)).unwrap();
                } else {
                    writer.write_all(message).unwrap();
                }
                total += len;
            }
            for (number, len, whole) in messages(incoming) {
                let mut message = vec![0; len];
                if whole {
                    let received = block_on(reader.inner().recv(&mut message));
                    assert_eq!(received, Ok(len), "{ours:?} {layout:?}");
                } else {
                    reader.read_exact(&mut message).unwrap();
                }
                assert!(
                    message == all[number..number + len],
                    "{ours:?} {layout:?} {len}"
                );
                total += len;
            }
            assert_eq!(reader.read(&mut [0]).unwrap(), 0, "nothing follows");
            let (code, said) = peer.ended();
            assert_eq!(code, Some(0), "{ours:?} {layout:?}");
            assert!(
                said.starts_with(&format!("{total} ")),
                "{said}, not {total}"
            );
        }
    }
}

/// The C program stops before one instruction after the other of a read, while we write and close. What is between its look at
/// the ring and its look at whether we are there finds it with an empty ring and a closed peer. Ours looks at the ring once more:
/// see `a_close_at_any_load_loses_nothing` in vchan's tests.
pub fn last_words(program: &Path) {
    for ours in ROLES {
        let mut lost = 0;
        let mut came = 0;
        for step in 0.. {
            let place = Place::new();
            let layout = Layout::default();
            let work = format!("step {step}");
            let (mut stream, mut peer) = place.open(program, ours, layout, &work);
            let (mut input, mut output) = peer.talk();
            let mut dot = [0];
            output.read_exact(&mut dot).unwrap();
            if dot != *b"." {
                break;
            }
            stream.write_all(b"last words").unwrap();
            drop(stream);
            input.write_all(b"!").unwrap();
            let mut said = String::new();
            output.read_line(&mut said).unwrap();
            match said.trim_end() {
                said if said == sum(b"last words") => came += 1,
                said if said == sum(b"") => lost += 1,
                other => panic!("after {step} instructions: {other}"),
            }
            assert_eq!(peer.ended().0, Some(0));
        }
        assert!(
            came > 0 && lost > 0,
            "{ours:?}: {came} came, {lost} were lost"
        );
    }
}

/// Joins as a client that lies about how much it has written.
fn lie(place: &Place) -> (Memory, impl EventChannel + use<>) {
    let meeting = Meeting::new(&place.folder, "edge").unwrap();
    let offer = block_on(meeting.keys()).unwrap();
    let number = |key: &[u8]| keys::parse(key).unwrap();
    let events = meeting
        .bind_interdomain(number(offer.event_channel.as_ref()))
        .unwrap();
    let page = meeting
        .map_control(number(offer.ring_ref.as_ref()), &events)
        .unwrap();
    page.store_u32(LEFT_PROD, 5000, Ordering::Release);
    page.store_u8(CLI_LIVE, LIVE_OPEN, Ordering::Release);
    events.notify();
    (page, events)
}

/// 5000 bytes in a ring of 1024: libxenvchan takes them for none, as often as it looks, and the peer for one to wait for.
pub fn corrupt_index(program: &Path) {
    let place = Place::new();
    let peer = place.start(program, Role::Client, Layout::default(), "look");
    let liar = lie(&place);
    assert_eq!(peer.ended(), (Some(0), "1000 1".to_owned()));
    drop(liar);

    let place = Place::new();
    let meeting = Meeting::new(&place.folder, "edge").unwrap();
    thread::scope(|scope| {
        let liar = scope.spawn(|| lie(&place));
        let mut stream = Stream::offer(&meeting, Layout::default().into(), PATIENCE).unwrap();
        let read = stream.reader().inner().try_read(&mut [0; 100]);
        let corrupt = Corrupt {
            field: interface::Field::LeftProd,
            claimed: 5000,
        };
        assert_eq!(read, Err(ReadError::PeerCorrupt(corrupt)));
        let error = stream.write_all(b"no more").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        drop(liar.join().unwrap());
    });
}
