//! What a peer may not say, one by one and in both roles: a typed error that names it, the channel closed and the peer
//! told, nothing copied, nothing kept, and one more violation on the endpoint's count and on the program's.

mod page;

use core::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

use page::control_page;
use vchan::conformance::{now, pair, pattern};
use vchan::in_process::{Error, Host, Meeting, Memory, block_on};
use vchan::interface::*;
use vchan::keys::KeyError;
use vchan::platform::SharedMemory;
use vchan::{
    ConnectError, ConnectOptions, Corrupt, Endpoint, LateError, OfferOptions, ReadError, Role,
    WriteError, violations,
};

const ROLES: [Role; 2] = [Role::Server, Role::Client];

/// One at a time: [`violations`] is one number for the whole program. Nothing may be held at the end.
fn alone(body: impl AsyncFnOnce(&Host)) {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let host = Host::new();
    block_on(body(&host));
    host.assert_clean();
}

fn options(left: u16, right: u16) -> OfferOptions {
    Layout::new(left, right).unwrap().into()
}

/// Polls now, and once more at a heartbeat: an event may never have come.
async fn soon<F: Future>(host: &Host, future: F) -> Option<F::Output> {
    let mut future = core::pin::pin!(future);
    if let Some(output) = now(future.as_mut()).await {
        return Some(output);
    }
    host.heartbeat();
    now(future.as_mut()).await
}

/// Where the peer's half of the header is, seen from `role`: the index of what it fills, of what it empties, its life.
fn of_peer(role: Role) -> (Field, Field, Field) {
    match role {
        Role::Server => (Field::LeftProd, Field::RightCons, Field::CliLive),
        Role::Client => (Field::RightProd, Field::LeftCons, Field::SrvLive),
    }
}

/// A connected pair, ours first.
async fn ends(meeting: &Meeting, role: Role) -> (Endpoint<Meeting>, Endpoint<Meeting>) {
    let (server, client) = pair(meeting, meeting, options(12, 12)).await;
    match role {
        Role::Server => (server, client),
        Role::Client => (client, server),
    }
}

/// Has `ours` meet what now stands in the page, by a read and by a write, and checks all that is promised.
async fn is_refused(mut ours: Endpoint<Meeting>, page: &Memory, blame: Corrupt, before: u64) {
    let (stats, role) = (ours.stats(), ours.role());
    let mut out = [0xee; 64];
    // Whichever half looks at the field first; the other one then knows.
    let read = ours.try_read(&mut out);
    let written = ours.try_write(&pattern(0, 1 << 13));
    assert_eq!(written, Err(WriteError::PeerCorrupt(blame)));
    if blame.field != of_peer(role).1 {
        assert_eq!(read, Err(ReadError::PeerCorrupt(blame)));
    }
    let read = ours.reader().read(&mut out).await;
    assert_eq!(read, Err(ReadError::PeerCorrupt(blame)));
    assert_eq!(out, [0xee; 64], "something was copied");
    let counters = stats.counters();
    assert_eq!((counters.bytes_read, counters.bytes_written), (0, 0));
    assert_eq!((counters.violations, violations() - before), (1, 1));
    let own_live = match role {
        Role::Server => SRV_LIVE,
        Role::Client => CLI_LIVE,
    };
    assert_eq!(page.load_u8(own_live, Ordering::Acquire), LIVE_CLOSED);
    assert!(!ours.is_connected());
    let message = blame.to_string();
    assert!(
        message.contains(&blame.field.to_string()) && message.contains("the peer"),
        "{message}"
    );
}

/// R1: as the field of either index, in either role.
#[test]
fn r1_an_index_out_of_range() {
    for role in ROLES {
        let (filled, emptied, _) = of_peer(role);
        for (field, claims) in [
            (filled, [4097, 1 << 31, u32::MAX]),
            (emptied, [1, 1 << 31, u32::MAX]),
        ] {
            for claimed in claims {
                alone(async |host| {
                    let (before, meeting) = (violations(), host.meeting("edge"));
                    let (ours, _theirs) = ends(&meeting, role).await;
                    let page = control_page(host);
                    page.store_u32(field.offset(), claimed, Ordering::Release);
                    is_refused(ours, &page, Corrupt { field, claimed }, before).await;
                });
            }
        }
    }
}

/// R3, R19: a live byte of 7, and every other that means nothing.
#[test]
fn r19_a_live_byte_without_meaning() {
    for role in ROLES {
        let (_, _, field) = of_peer(role);
        for live in 2..=u8::MAX {
            alone(async |host| {
                let (before, meeting) = (violations(), host.meeting("edge"));
                let (ours, _theirs) = ends(&meeting, role).await;
                let page = control_page(host);
                page.store_u8(field.offset(), live, Ordering::Release);
                let claimed = u32::from(live);
                let mut ours = ours;
                let read = ours.try_read(&mut [0; 1]);
                assert_eq!(
                    read,
                    Err(ReadError::PeerCorrupt(Corrupt { field, claimed }))
                );
                is_refused(ours, &page, Corrupt { field, claimed }, before).await;
            });
        }
    }
}

/// R3, R19: request bytes are hints, whatever stands in them.
#[test]
fn r19_request_bytes_that_never_change() {
    for stuck in [0, 4, 0xff] {
        for role in ROLES {
            alone(async |host| {
                let (before, meeting) = (violations(), host.meeting("edge"));
                let (mut ours, mut theirs) = ends(&meeting, role).await;
                let page = control_page(host);
                let mut got = Vec::new();
                for round in 0..100 {
                    for offset in [CLI_NOTIFY, SRV_NOTIFY] {
                        page.store_u8(offset, stuck, Ordering::Release);
                    }
                    assert_eq!(ours.try_write(&pattern(round * 41, 41)), Ok(41));
                    let mut out = [0; 41];
                    assert_eq!(
                        soon(host, theirs.reader().read(&mut out)).await,
                        Some(Ok(41))
                    );
                    got.extend_from_slice(&out);
                }
                assert_eq!(got, pattern(0, 4100));
                let sent = ours.stats().counters().events_sent;
                assert!(sent <= 2 * 100 + 1, "{sent} events for 100 messages");
                assert_eq!(violations(), before);
            });
        }
    }
}

/// R3: each byte of the header, with anything in it, while bytes are under way. Either it changes nothing, or it is an
/// error that blames a field of the peer's; what was copied out before is right.
#[test]
fn r3_any_byte_of_the_header() {
    for (offset, role) in (0..GRANTS).flat_map(|offset| ROLES.map(|role| (offset, role))) {
        for value in [0, 1, 2, 7, 0x10, 0x7f, 0x80, 0xff] {
            alone(async |host| {
                let (before, meeting) = (violations(), host.meeting("edge"));
                let (mut ours, mut theirs) = ends(&meeting, role).await;
                let page = control_page(host);
                assert_eq!(ours.try_write(&pattern(0, 300)), Ok(300));
                assert_eq!(theirs.try_write(&pattern(0, 300)), Ok(300));
                let mut out = [0; 100];
                assert_eq!(ours.try_read(&mut out), Ok(Some(100)));
                page.store_u8(offset, value, Ordering::Release);
                let mut broken = None;
                let mut at = 100;
                for _ in 0..4 {
                    match soon(host, ours.reader().read(&mut out)).await {
                        // The index may stand for more than was written, within the ring: what it is then is the peer's
                        // business, that it is within the ring is ours.
                        Some(Ok(count)) => {
                            let honest = 300_usize.saturating_sub(at).min(count);
                            assert_eq!(out[..honest], pattern(at, honest));
                            at += count;
                        }
                        Some(Err(ReadError::PeerCorrupt(blame))) => broken = Some(blame),
                        Some(Err(ReadError::PeerDied)) => panic!("it is there"),
                        None => {}
                    }
                }
                let expected = u64::from(broken.is_some());
                assert_eq!(
                    ours.stats().counters().violations,
                    expected,
                    "{offset} {value}"
                );
                assert!(violations() - before >= expected);
            });
        }
    }
}

/// R3: an index of ours that the peer has changed: found at the next heartbeat, or at a deadline that comes before it.
#[test]
fn r3_an_index_of_ours() {
    for (role, beats) in ROLES
        .into_iter()
        .flat_map(|role| [true, false].map(|beats| (role, beats)))
    {
        alone(async |host| {
            let (before, meeting) = (violations(), host.meeting("edge"));
            let (mut ours, _theirs) = ends(&meeting, role).await;
            let field = match role {
                Role::Server => Field::LeftCons,
                Role::Client => Field::RightCons,
            };
            control_page(host).store_u32(field.offset(), 5, Ordering::Release);
            let blame = ReadError::PeerCorrupt(Corrupt { field, claimed: 5 });
            let mut out = [0; 8];
            if beats {
                assert_eq!(
                    soon(host, ours.reader().read(&mut out)).await,
                    Some(Err(blame))
                );
            } else {
                let read = ours
                    .reader()
                    .read_before(&mut out, core::future::ready(()))
                    .await;
                assert_eq!(read, Err(LateError::Failed(blame)));
            }
            assert_eq!(
                (ours.stats().counters().violations, violations() - before),
                (1, 1)
            );
        });
    }
}

/// R4: an index that has been further, be it back to what was read already, which would then come twice.
#[test]
fn r4_an_index_that_goes_back() {
    for (role, claimed) in ROLES
        .into_iter()
        .flat_map(|role| [39, 99].map(|at| (role, at)))
    {
        alone(async |host| {
            let (before, meeting) = (violations(), host.meeting("edge"));
            let (mut ours, mut theirs) = ends(&meeting, role).await;
            let page = control_page(host);
            assert_eq!(theirs.try_write(&pattern(0, 100)), Ok(100));
            let mut out = [0; 100];
            assert_eq!(ours.try_read(&mut out[..40]), Ok(Some(40)));
            let field = of_peer(role).0;
            page.store_u32(field.offset(), claimed, Ordering::Release);
            // What has been seen is ours; a look for more finds the lie.
            let blame = Corrupt { field, claimed };
            assert_eq!(ours.try_read(&mut out), Err(ReadError::PeerCorrupt(blame)));
            assert_eq!(ours.stats().counters().bytes_read, 40);
            assert_eq!(
                (ours.stats().counters().violations, violations() - before),
                (1, 1)
            );
        });
    }
}

/// Offers, lets `forge` change the control page, and connects: refused, counted if it is a violation, nothing kept.
fn refuses(
    forge: impl Fn(&Memory),
    violation: bool,
    is_right: impl Fn(&ConnectError<Error>) -> bool,
) {
    alone(async |host| {
        let (before, meeting) = (violations(), host.meeting("edge"));
        let server = Endpoint::offer(&meeting, options(13, 12)).await.unwrap();
        let held = host.held();
        forge(&control_page(host));
        let joined = Endpoint::connect(&meeting, ConnectOptions::default()).await;
        let error = joined.err().unwrap();
        assert!(is_right(&error), "{error:?}");
        assert_eq!(error.is_violation(), violation);
        assert_eq!(violations() - before, u64::from(violation));
        assert_eq!(host.held(), held, "the client has kept something");
        drop(server);
    });
}

/// R5: every pair of one order at or beyond an end of the range, and those that overlap in the page.
#[test]
fn r5_ring_orders_that_have_no_place() {
    let edges = [0, 1, 9, 10, 11, 12, 19, 20, 21, 32, 0x8000, u16::MAX];
    let mut refused = 0;
    for (left, right) in edges
        .iter()
        .flat_map(|&left| edges.map(|right| (left, right)))
    {
        if Layout::new(left, right).is_ok() {
            continue;
        }
        refused += 1;
        let forge = |page: &Memory| {
            page.store_u16(LEFT_ORDER, left, Ordering::Release);
            page.store_u16(RIGHT_ORDER, right, Ordering::Release);
        };
        refuses(forge, true, |error| match error {
            ConnectError::PeerLayout(LayoutError::GrantsOverlap { .. }) => {
                [(10, 20), (20, 10)].contains(&(left, right))
            }
            ConnectError::PeerLayout(LayoutError::SamePlace(order)) => {
                left == *order && right == *order
            }
            ConnectError::PeerLayout(LayoutError::Order(order)) => !(10..=20).contains(order),
            _ => false,
        });
    }
    assert_eq!(refused, 12 * 12 - (5 * 5 - 4));
}

/// R6: no reference, one twice, the control page's own, one that is none.
#[test]
fn r6_a_list_of_grants_that_is_wrong() {
    let grant = |slot: usize, value: u32| {
        move |page: &Memory| page.store_u32(GRANTS + 4 * slot, value, Ordering::Release)
    };
    for slot in 0..3 {
        refuses(grant(slot, 0), true, |error| {
            matches!(error, ConnectError::PeerGrants(0))
        });
        refuses(grant(slot, 0xdead), false, |error| {
            matches!(error, ConnectError::MapRing(Error::Grant(0xdead)))
        });
    }
    let twice = |page: &Memory| {
        let first = page.load_u32(GRANTS, Ordering::Acquire);
        page.store_u32(GRANTS + 8, first, Ordering::Release);
    };
    refuses(twice, true, |error| {
        matches!(error, ConnectError::PeerGrants(_))
    });
    // The third one granted: port, two rings, control page are made in this order.
    let control = |page: &Memory| {
        let last = page.load_u32(GRANTS + 8, Ordering::Acquire);
        page.store_u32(GRANTS, last + 1, Ordering::Release);
    };
    refuses(control, true, |error| {
        matches!(error, ConnectError::PeerGrants(_))
    });
}

/// R1, R19: an offer whose indexes or live bytes are impossible from the start.
#[test]
fn r1_r19_an_offer_that_is_broken_from_the_start() {
    for offset in [LEFT_PROD, LEFT_CONS, RIGHT_PROD, RIGHT_CONS] {
        let forge = |page: &Memory| page.store_u32(offset, 0x4000_0000, Ordering::Release);
        refuses(forge, true, |error| {
            matches!(error, ConnectError::PeerIndex(_))
        });
    }
    for live in [0, 2, 7, 255] {
        let forge = |page: &Memory| page.store_u8(SRV_LIVE, live, Ordering::Release);
        refuses(
            forge,
            live != 0,
            |error| matches!(error, ConnectError::PeerClosed(found) if *found == live),
        );
    }
    for live in [0, 1, 7, 255] {
        let forge = |page: &Memory| page.store_u8(CLI_LIVE, live, Ordering::Release);
        refuses(
            forge,
            live > 2,
            |error| matches!(error, ConnectError::Used(found) if *found == live),
        );
    }
}

/// R27, R28: digits, and nothing else; one that is empty is not yet written.
#[test]
fn r28_malformed_keys() {
    let long = [b'1'; 4096];
    let cases: [(&[u8], KeyError); 12] = [
        (b"12abc", KeyError::NotDecimal),
        (b"-1", KeyError::NotDecimal),
        (b"+1", KeyError::NotDecimal),
        (b" 1", KeyError::NotDecimal),
        (b"1\0", KeyError::NotDecimal),
        (b"0x10", KeyError::NotDecimal),
        ("１".as_bytes(), KeyError::NotDecimal),
        (b"\xff", KeyError::NotDecimal),
        (b"0", KeyError::Zero),
        (b"4294967296", KeyError::TooLarge),
        (&long, KeyError::TooLarge),
        (b"", KeyError::Empty),
    ];
    for (value, wrong) in cases {
        for is_ring_ref in [true, false] {
            alone(async |host| {
                let (before, meeting) = (violations(), host.meeting("edge"));
                let (ring_ref, port) = if is_ring_ref {
                    (value, &b"1"[..])
                } else {
                    (&b"1"[..], value)
                };
                host.forge_keys("edge", ring_ref, port);
                let joined = Endpoint::connect(&meeting, ConnectOptions::default()).await;
                match joined.err() {
                    Some(ConnectError::PeerRingRef(found)) if is_ring_ref => {
                        assert_eq!(found, wrong)
                    }
                    Some(ConnectError::PeerEventChannel(found)) if !is_ring_ref => {
                        assert_eq!(found, wrong)
                    }
                    other => panic!("{other:?}"),
                }
                assert_eq!(violations() - before, u64::from(wrong != KeyError::Empty));
                host.remove_keys("edge");
            });
        }
    }
}
