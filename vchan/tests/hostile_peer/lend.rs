//! Memory lent as plain bytes, where the peer may only read it.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use vchan::in_process::{Error, Host, block_on};
use vchan::interface::*;
use vchan::platform::{Access, Rendezvous, SharedMemory};
use vchan::{ConnectError, ConnectOptions, Endpoint, OfferOptions};

use crate::platform::{Hostile, Meeting};
use vchan::conformance::{pair, pattern};

fn read_only(left: u16, right: u16) -> OfferOptions {
    OfferOptions {
        layout: Layout::new(left, right).unwrap(),
        right_ring: Access::ReadOnly,
        ..OfferOptions::default()
    }
}

#[test]
fn only_the_ring_that_we_fill_is_granted_for_reading() {
    let peer = Hostile::new(|_| 0);
    let meeting = Meeting(Rc::clone(&peer));
    let _server = block_on(Endpoint::offer(&meeting, read_only(13, 14))).ok();
    assert_eq!(
        peer.shared.take(),
        [(2, Access::ReadWrite), (4, Access::ReadOnly)]
    );
}

/// Plain bytes are those of the reservation: at its place in the ring, in two pieces where it passes the ring's end.
#[test]
fn a_reservation_is_plain_where_nobody_else_writes() {
    let consumed = Rc::new(Cell::new(0));
    let claim = Rc::clone(&consumed);
    let peer = Hostile::new(move |offset| match offset {
        RIGHT_CONS => claim.get(),
        CLI_LIVE => u32::from(LIVE_WAITING),
        _ => 0,
    });
    let meeting = Meeting(peer);
    let mut server = block_on(Endpoint::offer(&meeting, read_only(10, 12)))
        .ok()
        .unwrap();
    let writer = server.writer();
    let mut first = writer.try_reserve(4000).unwrap().unwrap();
    let [head, tail] = first.plain().unwrap();
    assert_eq!((head.len(), tail.len()), (4000, 0));
    head.copy_from_slice(&pattern(0, 4000));
    first.commit(4000).unwrap();
    consumed.set(4000);
    let mut second = writer.try_reserve(200).unwrap().unwrap();
    let [head, tail] = second.plain().unwrap();
    assert_eq!((head.len(), tail.len()), (96, 104));
    head.fill(1);
    tail.fill(2);
    second.commit(200).unwrap();
    // The whole ring once more, from where it stands now.
    consumed.set(4200);
    let mut all = writer.try_reserve(4096).unwrap().unwrap();
    let [head, tail] = all.plain().unwrap();
    assert_eq!((head.len(), tail.len()), (3992, 104));
    assert!(tail.iter().all(|&byte| byte == 2));
    assert!(head[..3896] == pattern(104, 3896)[..]);
    assert!(head[3896..].iter().all(|&byte| byte == 1));
}

#[test]
fn a_reservation_is_not_plain_where_the_peer_writes_or_the_ring_lies_in_the_control_page() {
    let offers = [
        read_only(12, 11),
        OfferOptions::from(Layout::new(10, 12).unwrap()),
    ];
    for options in offers {
        let meeting = Meeting(Hostile::new(|offset| u32::from(offset == CLI_LIVE)));
        let mut server = block_on(Endpoint::offer(&meeting, options)).ok().unwrap();
        let mut reserved = server.writer().try_reserve(10).unwrap().unwrap();
        assert!(reserved.plain().is_none());
    }
}

/// A client that maps the ring as libxenvchan's does is served as before; one that would write it is refused by the
/// platform.
#[test]
fn a_ring_for_reading_serves_a_client_that_reads() {
    let host = Host::new();
    let meeting = host.meeting("edge");
    {
        let options = read_only(12, 13);
        let (mut server, mut client) = block_on(pair(&meeting, &meeting, options));
        let data = pattern(1, 8192);
        assert_eq!(server.try_write(&data), Ok(8192));
        let mut out = vec![0; 8192];
        assert_eq!(client.try_read(&mut out), Ok(Some(8192)));
        assert!(out == data);
        assert_eq!(client.try_write(b"back"), Ok(4));
        assert_eq!(server.try_read(&mut out), Ok(Some(4)));
    }
    host.assert_clean();
    let ring = meeting.share_ring(1, Access::ReadOnly).unwrap();
    let grant = meeting.grant_ref(&ring, 0);
    let mapped = meeting.map_ring(&[grant], Access::ReadWrite).err();
    assert_eq!(mapped, Some(Error::ReadOnly(grant)));
    assert!(meeting.map_ring(&[grant], Access::ReadOnly).is_ok());
    drop(ring);
    host.assert_clean();
}

/// Grants say what may be done with a page; a left ring for reading would make every client's connecting fail.
#[test]
fn a_left_ring_for_reading_is_refused_by_a_client() {
    let host = Host::new();
    let meeting = host.meeting("edge");
    {
        let server = block_on(Endpoint::offer(&meeting, read_only(12, 12))).unwrap();
        let ring = meeting.share_ring(1, Access::ReadOnly).unwrap();
        let keys = block_on(meeting.keys()).unwrap();
        let page = vchan::keys::parse(&keys.ring_ref).unwrap();
        let page = meeting.map_ring(&[page], Access::ReadWrite).unwrap();
        let grant = meeting.grant_ref(&ring, 0);
        page.store_u32(GRANTS, grant, Ordering::Release);
        let refused = block_on(Endpoint::connect(&meeting, ConnectOptions::default())).err();
        assert!(matches!(
            refused,
            Some(ConnectError::MapRing(Error::ReadOnly(found))) if found == grant
        ));
        drop(server);
    }
    host.assert_clean();
}
