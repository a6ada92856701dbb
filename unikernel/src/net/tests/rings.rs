//! Rings: what goes in comes out, who is to be told is told, and each kind of violation is told as what it is (row N2 of the fault
//! catalogue; `fuzz` has the back end that writes anything at all).

use core::sync::atomic::Ordering;
use std::collections::VecDeque;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use crate::memory::Shared;
use crate::net::fake::{Packet, connected};
use crate::net::netif::*;
use crate::net::ring::{FrontRing, Violation};
use crate::net::tx::{FRAME_MAX, Segmentation};

const PAGES: usize = 64;
/// Close to the wrap of the indexes.
const LATE: u32 = u32::MAX - 100;

fn bytes(len: usize, seed: u8) -> Vec<u8> {
    (0..len)
        .map(|at| (at as u8).wrapping_mul(7) ^ seed)
        .collect()
}

#[test]
fn an_event_is_asked_for_exactly_when_the_index_passes_the_wish() {
    // Per wish: whether publishing `count` requests at once from 0 passes it.
    for start in [0, u32::MAX - 2] {
        for wish in 0..8_u32 {
            for count in 1..6_u32 {
                let page = Shared::leaked(1);
                let mut ring = FrontRing::<8>::starting_at(page, start);
                page.store_u32(REQ_EVENT, start.wrapping_add(wish), Ordering::Relaxed);
                (0..count).for_each(|_| ring.push([0; 8]));
                assert_eq!(
                    ring.publish(),
                    (1..=count).contains(&wish),
                    "{wish} {count}"
                );
                assert!(!ring.publish(), "nothing new");
            }
        }
    }
}

#[test]
fn frames_of_every_length_come_out_as_they_went_in() {
    let (mut backend, mut tx, _) = connected(PAGES, LATE);
    for len in [1, 60, 1514, 4095, 4096, 4097, 8192, 65_000, FRAME_MAX] {
        let frame = bytes(len, 3);
        let segmentation = (len > 4096).then_some(Segmentation {
            size: 1448,
            gso_type: XEN_NETIF_GSO_TYPE_TCPV4,
        });
        assert!(tx.send(&frame, NETTXF_CSUM_BLANK, segmentation));
        assert!(backend.take().is_none(), "not before it is published");
        let _ = tx.publish();
        let packet = backend.take().unwrap();
        assert_eq!(packet.bytes, frame);
        assert_eq!(packet.segmentation, segmentation);
        assert_ne!(packet.flags & NETTXF_CSUM_BLANK, 0);
        backend.answer(&packet);
        backend.publish_tx();
        tx.reclaim().unwrap();
    }
    assert!(!tx.send(&[], 0, None));
    assert!(!tx.send(&vec![0; FRAME_MAX + 1], 0, None));
}

#[test]
fn pages_come_back_and_no_frame_is_sent_without_room() {
    let (mut backend, mut tx, _) = connected(PAGES, LATE);
    let frame = bytes(3 * 4096, 1);
    let mut sent = 0;
    for _ in 0..200 {
        while tx.send(&frame, 0, None) {
            sent += 1;
        }
        assert!(!tx.has_room(frame.len()));
        let _ = tx.publish();
        let packets: Vec<Packet> = core::iter::from_fn(|| backend.take()).collect();
        assert_eq!(packets.len(), PAGES / 3);
        // In another order than they came.
        packets
            .iter()
            .rev()
            .for_each(|packet| backend.answer(packet));
        backend.publish_tx();
        tx.reclaim().unwrap();
    }
    assert_eq!(sent, 200 * (PAGES / 3) as u64);
    assert_eq!(tx.counters().frames, sent);
}

#[test]
fn received_frames_are_put_together_and_their_pages_wait_again() {
    let (mut backend, _, mut rx) = connected(PAGES, LATE);
    let mut out = vec![0; 70_000];
    assert!(rx.publish(), "the back end sleeps from the start");
    for round in 0..300_usize {
        let frame = bytes(1 + round * 211, round as u8);
        assert!(backend.deliver(&frame, 4096, 0, NETRXF_CSUM_BLANK, round % 3 == 0));
        backend.publish_rx();
        let received = rx.receive(&mut out).unwrap().unwrap();
        assert_eq!(&out[..received.len], frame);
        assert!(received.vouched);
        assert_eq!(rx.receive(&mut out), Ok(None));
        let _ = rx.publish();
        assert_eq!(backend.rx_room(), PAGES as u32);
    }
}

#[test]
fn a_frame_is_not_touched_before_its_last_part_is_there() {
    let (mut backend, _, mut rx) = connected(PAGES, 0);
    let _ = rx.publish();
    let frame = bytes(9000, 9);
    assert!(backend.deliver(&frame, 4000, 17, 0, true));
    let whole = backend.rx_rsp_prod;
    let mut out = vec![0; 70_000];
    for shown in 0..whole {
        backend.rx_rsp_prod = shown;
        backend.publish_rx();
        assert_eq!(rx.receive(&mut out), Ok(None), "{shown}");
        assert_eq!(rx.arm(), Ok(false));
        let before = backend.events;
        backend.rx_rsp_prod = shown + 1;
        backend.publish_rx();
        assert_eq!(backend.events, before + 1, "each further part is told");
    }
    assert_eq!(rx.arm(), Ok(true));
    assert_eq!(rx.receive(&mut out).unwrap().unwrap().len, frame.len());
    assert_eq!(&out[..frame.len()], frame);
}

#[test]
fn frames_that_failed_or_do_not_fit_are_counted_and_passed_over() {
    let (mut backend, _, mut rx) = connected(PAGES, 0);
    let _ = rx.publish();
    let mut out = vec![0; 2000];
    assert!(backend.deliver(&bytes(2001, 0), 4096, 0, 0, false));
    assert!(backend.deliver(&bytes(9, 0), 4096, 0, 0, false));
    // The second of three parts failed.
    assert!(backend.deliver(&bytes(30, 0), 10, 0, 0, false));
    let status = RING + 3 * 8 + 6;
    backend
        .rx
        .store_u16(status, (-1_i16) as u16, Ordering::Relaxed);
    assert!(backend.deliver(&bytes(11, 5), 4096, 0, 0, false));
    backend.publish_rx();
    assert_eq!(rx.receive(&mut out).unwrap().unwrap().len, 9);
    assert_eq!(rx.receive(&mut out).unwrap().unwrap().len, 11);
    assert_eq!((rx.counters().misfits, rx.counters().failed), (1, 1));
    let _ = rx.publish();
    assert_eq!(backend.rx_room(), PAGES as u32);
}

#[test]
fn a_response_index_that_does_not_fit_is_a_violation() {
    let (mut backend, mut tx, mut rx) = connected(PAGES, LATE);
    let _ = rx.publish();
    let mut out = vec![0; 2000];
    for wrong in [
        LATE.wrapping_sub(1),
        LATE.wrapping_add(PAGES as u32 + 1),
        LATE ^ (1 << 31),
    ] {
        backend.rx_rsp_prod = wrong;
        backend.publish_rx();
        assert_eq!(rx.receive(&mut out), Err(Violation::ResponseIndex));
        assert_eq!(rx.arm(), Err(Violation::ResponseIndex));
    }
    // A request that was made but not published cannot have been answered.
    assert!(tx.send(&[1], 0, None));
    backend.answer_slot(0, 0);
    backend.publish_tx();
    assert_eq!(tx.reclaim(), Err(Violation::ResponseIndex));
}

#[test]
fn an_id_that_is_not_open_is_a_violation() {
    for (ids, verdict) in [
        (vec![0, 1], Ok(())),
        (vec![0, 0], Err(Violation::Id)),
        (vec![2], Err(Violation::Id)),
        (vec![PAGES as u16], Err(Violation::Id)),
        (vec![u16::MAX], Err(Violation::Id)),
    ] {
        let (mut backend, mut tx, _) = connected(PAGES, 0);
        assert!(tx.send(&[1], 0, None) && tx.send(&[2], 0, None));
        let _ = tx.publish();
        ids.iter().for_each(|id| backend.answer_slot(*id, 0));
        backend.publish_tx();
        assert_eq!(tx.reclaim(), verdict, "{ids:?}");
    }
}

#[test]
fn extra_information_that_was_not_sent_is_not_answered() {
    let (mut backend, mut tx, _) = connected(PAGES, 0);
    assert!(tx.send(&[1], 0, None));
    let _ = tx.publish();
    backend.answer_slot(0, NETIF_RSP_NULL);
    backend.publish_tx();
    assert_eq!(tx.reclaim(), Err(Violation::Extra));
}

#[test]
fn parts_beyond_their_page_and_endless_chains_are_violations() {
    let respond = |responses: &[netif_rx_response]| {
        let (mut backend, _, mut rx) = connected(PAGES, 0);
        let _ = rx.publish();
        responses
            .iter()
            .for_each(|response| backend.respond(*response));
        backend.publish_rx();
        rx.receive(&mut vec![0; 70_000]).map(|_| ())
    };
    let one = |offset, status| netif_rx_response {
        id: 0,
        offset,
        flags: 0,
        status,
    };
    assert_eq!(respond(&[one(0, 4096)]), Ok(()));
    assert_eq!(respond(&[one(1, 4096)]), Err(Violation::Bounds));
    assert_eq!(respond(&[one(u16::MAX, i16::MAX)]), Err(Violation::Bounds));
    // Responses come in the order of their requests.
    assert_eq!(
        respond(&[netif_rx_response {
            id: 1,
            ..one(0, 60)
        }]),
        Err(Violation::Id)
    );
    let endless = |flags| {
        let part = |id| netif_rx_response {
            id,
            offset: 1,
            flags,
            status: 1,
        };
        respond(&(0..PAGES as u16).map(part).collect::<Vec<_>>())
    };
    assert_eq!(endless(NETRXF_MORE_DATA), Err(Violation::ChainTooLong));
    // As extra information, the low byte of `offset` 1 << 8 says that more follows.
    let extras = |id| netif_rx_response {
        id,
        offset: 1,
        flags: NETRXF_EXTRA_INFO,
        status: 1,
    };
    let mut responses = vec![extras(0)];
    responses.extend((1..PAGES as u16).map(|_| netif_rx_response {
        id: u16::from_le_bytes([XEN_NETIF_EXTRA_TYPE_GSO, XEN_NETIF_EXTRA_FLAG_MORE]),
        ..one(0, 0)
    }));
    assert_eq!(respond(&responses), Err(Violation::ChainTooLong));
}

proptest! {
    #![proptest_config(super::cases(64))]

    /// Frames in any number, length and order of answers go through unharmed, and the sleeping side is always told.
    #[test]
    fn an_honest_back_end_loses_nothing(
        frames in proptest::collection::vec((1usize..70_000, any::<bool>()), 1..40),
        start in any::<u32>(),
    ) {
        let (mut backend, mut tx, mut rx) = connected(PAGES, start);
        let mut out = vec![0; 70_000];
        let _ = rx.publish();
        // Taken and not yet answered.
        let mut taken = VecDeque::new();
        for (len, extra) in frames {
            backend.sleep();
            let frame = bytes(len.min(FRAME_MAX), len as u8);
            while !tx.send(&frame, 0, None) {
                let before = backend.events;
                prop_assert_eq!(tx.arm(), Ok(false));
                while backend.events == before {
                    let packet = taken.pop_front().unwrap();
                    backend.answer(&packet);
                    backend.publish_tx();
                }
                prop_assert_eq!(tx.reclaim(), Ok(()));
            }
            prop_assert!(tx.publish(), "a back end that sleeps is told");
            let packet = backend.take().unwrap();
            prop_assert_eq!(&packet.bytes, &frame);
            taken.push_back(packet);
            prop_assert!(backend.take().is_none());
            prop_assert_eq!(rx.arm(), Ok(false));
            let before = backend.events;
            prop_assert!(backend.deliver(&frame, 4096, 0, 0, extra));
            backend.publish_rx();
            prop_assert_eq!(backend.events, before + 1);
            let received = rx.receive(&mut out).unwrap().unwrap();
            prop_assert_eq!(&out[..received.len], &frame[..]);
            let _ = rx.publish();
        }
    }
}
