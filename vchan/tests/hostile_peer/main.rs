//! A peer that may do anything: here every load from shared memory returns whatever it likes. Whatever that is, our
//! side does not panic, stays within its rings, does a bounded amount of work, and decides each thing on one load.

mod attack;
mod fuzz;
mod lend;
mod platform;

use std::rc::Rc;
use std::sync::atomic::Ordering;

use attack::{Op, attack};
use platform::{Hostile, Meeting, Memory, honest_offer};
use proptest::prelude::*;
use vchan::conformance::pair;
use vchan::in_process::{Host, block_on};
use vchan::interface::*;
use vchan::platform::{Access, EventChannel, Rendezvous, SharedMemory};
use vchan::ring::{Consumer, Geometry, Producer};
use vchan::{ConnectError, ConnectOptions, Endpoint, OfferOptions, ReadError, WriteError};

// R2 of FAULTS.md.
#[test]
fn a_client_loads_each_field_of_an_offer_once() {
    for (left, right) in [(10, 11), (12, 11), (11, 20), (20, 20)] {
        let peer = Hostile::new(honest_offer(left, right));
        let meeting = Meeting(Rc::clone(&peer));
        let connected = block_on(Endpoint::connect(&meeting, ConnectOptions::default()));
        let layout = connected.unwrap_or_else(|error| panic!("{error}")).layout();
        let mut fields = vec![LEFT_CONS, LEFT_PROD, RIGHT_CONS, RIGHT_PROD];
        fields.extend([LEFT_ORDER, RIGHT_ORDER, CLI_LIVE, SRV_LIVE]);
        let grants = layout.left_pages() + layout.right_pages();
        fields.extend((0..grants).map(|slot| GRANTS + 4 * slot));
        assert_eq!(
            peer.take_loads(),
            fields.into_iter().map(|field| (field, 1)).collect()
        );
    }
}

#[test]
fn a_client_maps_for_writing_only_what_it_fills() {
    let peer = Hostile::new(honest_offer(13, 14));
    let meeting = Meeting(Rc::clone(&peer));
    assert!(block_on(Endpoint::connect(&meeting, ConnectOptions::default())).is_ok());
    assert_eq!(
        peer.mapped.take(),
        [(2, Access::ReadWrite), (4, Access::ReadOnly)]
    );
}

// R5 of FAULTS.md.
#[test]
fn an_offer_with_more_grants_than_fit_is_refused_unread() {
    for orders in [(10, 20), (20, 10), (21, 12), (12, 0xffff)] {
        let peer = Hostile::new(honest_offer(orders.0, orders.1));
        let refused = block_on(Endpoint::connect(
            &Meeting(Rc::clone(&peer)),
            ConnectOptions::default(),
        ));
        assert!(matches!(refused, Err(ConnectError::PeerLayout(_))));
        assert!(peer.take_loads().keys().all(|&offset| offset < GRANTS));
    }
}

// R1, R4 of FAULTS.md.
/// All that the peer's index can say, against all that it may say, counted out rather than computed. Some of what we
/// have filled or taken the peer has not been shown: it can have read none of the one, and refilled none of the other.
#[test]
fn exactly_the_possible_indexes_are_accepted() {
    const SIZE: u32 = 4;
    let geometry = Geometry {
        cons: LEFT_CONS,
        prod: LEFT_PROD,
        base: 0,
        size: SIZE,
    };
    let starts = [0, 1, 3, 0x7fff_fffd, 0x8000_0000, u32::MAX - 5, u32::MAX];
    for start in starts {
        for held in 0..=SIZE {
            let interesting = (0..24u32).map(|near| start.wrapping_add(near).wrapping_sub(12));
            for claimed in interesting.chain(starts) {
                let peer = Hostile::new(move |_| claimed);
                let memory = Memory {
                    peer: Rc::clone(&peer),
                    number: 0,
                    bulk: 0..=SIZE as usize,
                    bytes: None,
                };
                let end = start.wrapping_add(held);
                for back in 0..=held {
                    let mut consumer = Consumer::adopt(geometry, end, start).unwrap();
                    consumer.advance(back as usize);
                    let possible = (held..=SIZE).any(|ready| start.wrapping_add(ready) == claimed);
                    assert_eq!(
                        consumer.refresh(&memory).is_ok(),
                        possible,
                        "{start} {held} {back} {claimed}"
                    );
                    assert!(consumer.held() + consumer.ready() <= SIZE);
                    assert_eq!((consumer.held(), consumer.index()), (back, start));
                }
                for pending in 0..=SIZE - held {
                    let mut producer = Producer::adopt(geometry, end, start).unwrap();
                    producer.advance(pending as usize);
                    let possible = (0..=held).any(|read| start.wrapping_add(read) == claimed);
                    assert_eq!(
                        producer.refresh(&memory).is_ok(),
                        possible,
                        "{start} {held} {pending} {claimed}"
                    );
                    assert!(producer.unread() <= SIZE && producer.space() <= SIZE);
                    assert_eq!((producer.pending(), producer.index()), (pending, end));
                }
                let refreshes = held + 1 + SIZE - held + 1;
                assert_eq!(
                    peer.take_loads().values().sum::<usize>(),
                    refreshes as usize
                );
            }
        }
    }
}

fn op() -> impl Strategy<Value = Op> {
    let len = prop_oneof![0..4usize, 1020..1030usize, 4090..4100usize];
    prop_oneof![
        len.clone().prop_map(Op::TryRead),
        len.clone().prop_map(Op::TryWrite),
        len.clone().prop_map(Op::Read),
        len.clone().prop_map(Op::Write),
        len.clone().prop_map(Op::TrySend),
        len.clone().prop_map(Op::TryRecv),
        len.clone().prop_map(Op::Send),
        len.clone().prop_map(Op::Recv),
        (len.clone(), len.clone()).prop_map(|(len, kept)| Op::Reserve(len, kept)),
        (len.clone(), len).prop_map(|(least, kept)| Op::Peek(least, kept)),
        Just(Op::Publish),
        any::<bool>().prop_map(Op::Batch),
        Just(Op::Drained),
        Just(Op::Look),
    ]
}

/// Values at which something could tip over, and any other.
fn claim() -> impl Strategy<Value = u32> {
    prop_oneof![
        4 => 0..3u32,
        2 => proptest::sample::select(vec![1023, 1024, 1025, 2047, 2048, 4095, 4096, 0x8000_0000, u32::MAX]),
        1 => any::<u32>(),
        1 => 0..5000u32,
    ]
}

/// A peer dies, and what it has left cannot be: nothing more is read, also of what it had left in good order.
#[test]
fn what_a_dead_peer_has_left_broken_is_not_read() {
    let host = Host::new();
    let meeting = host.meeting("edge");
    {
        let (mut server, mut client) = block_on(pair(&meeting, &meeting, OfferOptions::default()));
        assert_eq!(client.try_write(b"in order"), Ok(8));
        assert_eq!(server.try_read(&mut [0; 4]), Ok(Some(4)));
        host.sever(client.writer().events().port());
        assert_eq!(server.reader().look_for_peer(), Ok(()));
        let ring_ref = block_on(meeting.keys()).unwrap().ring_ref;
        let ring_ref = vchan::keys::parse(&ring_ref).unwrap();
        let page = meeting.map_ring(&[ring_ref], Access::ReadWrite).unwrap();
        page.store_u32(LEFT_PROD, 5000, Ordering::Relaxed);
        for _ in 0..2 {
            let read = server.try_read(&mut [0; 8]);
            assert!(matches!(read, Err(ReadError::PeerCorrupt(_))), "{read:?}");
        }
        let read = server.try_read(&mut [0; 2]);
        assert!(matches!(read, Err(ReadError::PeerCorrupt(_))), "{read:?}");
    }
    host.assert_clean();
}

/// A peer writes and closes while we read, before any of our loads: we get everything, then the end. libxenvchan does not;
/// `last_words` in vchan-linux's tests against it shows where.
#[test]
fn a_close_at_any_load_loses_nothing() {
    for closes_at in 0..12 {
        let mut loads = 0;
        let peer = Hostile::new(move |offset| {
            loads += 1;
            match offset {
                LEFT_PROD if loads > closes_at => 10,
                CLI_LIVE => u32::from(if loads > closes_at {
                    LIVE_CLOSED
                } else {
                    LIVE_OPEN
                }),
                _ => 0,
            }
        });
        let end = block_on(Endpoint::offer(&Meeting(peer), OfferOptions::default()));
        let mut end = end.ok().unwrap();
        let mut total = 0;
        let mut out = [0; 100];
        // As a caller does, up to the first end.
        loop {
            match end.try_read(&mut out).unwrap() {
                Some(0) => break,
                Some(read) => total += read,
                None => {}
            }
        }
        assert_eq!(total, 10, "closed at load {closes_at}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    // R1, R2 of FAULTS.md.
    #[test]
    fn nothing_that_a_peer_says_harms_us(
        claims in proptest::collection::vec(claim(), 1..64),
        ops in proptest::collection::vec(op(), 1..40),
        as_server in any::<bool>(),
        orders in proptest::sample::select(vec![(10, 11), (11, 10), (12, 11), (13, 12)]),
    ) {
        let layout = Layout::new(orders.0, orders.1).unwrap();
        let mut honest = !as_server;
        let mut at = 0;
        let turned = Rc::new(std::cell::Cell::new(false));
        let turn = Rc::clone(&turned);
        let peer = Hostile::new(move |offset| {
            honest &= !turn.get();
            if honest {
                return honest_offer(orders.0, orders.1)(offset);
            }
            at += 1;
            claims[at % claims.len()]
        });
        let meeting = Meeting(Rc::clone(&peer));
        let made = if as_server {
            let options = OfferOptions { layout, first_index: u32::MAX - 1000, ..Default::default() };
            block_on(Endpoint::offer(&meeting, options)).ok()
        } else {
            block_on(Endpoint::connect(&meeting, ConnectOptions::default())).ok()
        };
        let mut end = made.unwrap();
        turned.set(true);
        let mut broken = false;
        for op in ops {
            let was_broken = broken;
            attack(&mut end, op, 1, &peer, &mut broken);
            prop_assert!(broken || !was_broken);
        }
        if broken {
            // From here on the peer's memory is not even looked at.
            let mut byte = [0];
            let corrupt = matches!(end.try_read(&mut byte), Err(ReadError::PeerCorrupt(_)));
            prop_assert!(corrupt && matches!(end.try_write(&byte), Err(WriteError::PeerCorrupt(_))));
            let look = end.reader().look_for_peer();
            prop_assert!(look.is_err() && !end.is_connected());
            prop_assert!(peer.take_loads().is_empty());
        }
    }

    // R2 of FAULTS.md.
    #[test]
    fn no_offer_harms_a_client(
        claims in proptest::collection::vec(claim(), 1..600),
        small in proptest::collection::vec(9..22u32, 2),
        accept_used in any::<bool>(),
    ) {
        let mut at = 0;
        let peer = Hostile::new(move |offset| match offset {
            LEFT_ORDER => small[0],
            RIGHT_ORDER => small[1],
            SRV_LIVE => 1,
            _ => {
                at += 1;
                claims[at % claims.len()].wrapping_add(if offset >= GRANTS { at as u32 } else { 0 })
            }
        });
        let joined = block_on(Endpoint::connect(&Meeting(Rc::clone(&peer)), ConnectOptions { accept_used }));
        prop_assert!(peer.take_loads().values().all(|&count| count == 1));
        drop(joined);
    }

    #[test]
    fn a_liar_is_told_and_gets_nothing(data in proptest::collection::vec(any::<u8>(), 0..400)) {
        fuzz::peer(&data);
    }

    #[test]
    fn no_offer_that_a_fuzzer_makes_harms_a_client(data in proptest::collection::vec(any::<u8>(), 0..600)) {
        fuzz::offer(&data);
    }
}
