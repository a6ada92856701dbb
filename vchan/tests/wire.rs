//! The control page as a foreign peer sees it: each step of a conversation, with offsets and values as numbers from
//! Xen's `public/io/libxenvchan.h` rather than by this crate's names.

use std::sync::atomic::Ordering::SeqCst;

use vchan::in_process::{Host, Meeting, Memory, block_on};
use vchan::platform::{Access, EventChannel, Rendezvous, SharedMemory};
use vchan::{ConnectOptions, Endpoint, Layout, OfferOptions};

/// left.cons, left.prod, right.cons, right.prod.
fn indexes(page: &Memory) -> [u32; 4] {
    [0, 4, 8, 12].map(|offset| page.load_u32(offset, SeqCst))
}

/// cli_live, srv_live, cli_notify, srv_notify.
fn flags(page: &Memory) -> [u8; 4] {
    [20, 21, 22, 23].map(|offset| page.load_u8(offset, SeqCst))
}

fn number(key: &[u8]) -> u32 {
    std::str::from_utf8(key).unwrap().parse().unwrap()
}

fn bytes(memory: &Memory, offset: usize, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    memory.read(offset, &mut out);
    out
}

/// A client written by hand: what it maps and the port it binds.
fn join(meeting: &Meeting) -> (Memory, impl EventChannel) {
    let keys = block_on(meeting.keys()).unwrap();
    let port = meeting
        .bind_interdomain(number(&keys.event_channel))
        .unwrap();
    let page = meeting
        .map_ring(&[number(&keys.ring_ref)], Access::ReadWrite)
        .unwrap();
    (page, port)
}

#[test]
fn a_server_speaks_to_a_foreign_client() {
    let host = Host::new();
    let meeting = host.meeting("edge");
    {
        let mut server = block_on(Endpoint::offer(&meeting, OfferOptions::default())).unwrap();
        let (page, port) = join(&meeting);
        assert_eq!(indexes(&page), [0; 4]);
        assert_eq!(
            [16, 18].map(|offset| page.load_u16(offset, SeqCst)),
            [10, 11]
        );
        assert_eq!(
            flags(&page),
            [2, 1, 1, 0],
            "waiting, open, wants to hear of the first write"
        );

        // A client from before Xen 4.14 says open and sends no event; its first write does, as the server asked.
        page.store_u8(20, 1, SeqCst);
        assert_eq!(block_on(server.connected()), Ok(()));
        page.write(1024, b"hello");
        page.store_u32(4, 5, SeqCst);
        assert_eq!(page.fetch_and_u8(22, !1, SeqCst) & 1, 1);
        port.notify();
        let mut out = [0; 8];
        assert_eq!(block_on(server.reader().read(&mut out)), Ok(5));
        assert_eq!(&out[..5], b"hello");
        assert_eq!(indexes(&page), [5, 5, 0, 0]);
        assert_eq!(
            server.stats().counters().events_sent,
            0,
            "the client did not ask"
        );

        // It asks for both kinds of event, and gets one for each.
        page.fetch_or_u8(23, 3, SeqCst);
        let heard = port.event_count();
        assert_eq!(server.try_write(b"welcome"), Ok(7));
        assert_eq!((port.event_count(), flags(&page)[3]), (heard + 1, 2));
        assert_eq!(indexes(&page), [5, 5, 0, 7]);
        assert_eq!(bytes(&page, 2048, 7), b"welcome");
        page.write(1029, b"!");
        page.store_u32(4, 6, SeqCst);
        assert_eq!(server.try_read(&mut out), Ok(Some(1)));
        assert_eq!((port.event_count(), flags(&page)[3]), (heard + 2, 0));

        // The server asks before it sleeps: for data, then for space.
        server.reader().ask();
        assert_eq!(flags(&page)[2], 1);
        server.writer().ask();
        assert_eq!(flags(&page)[2], 3);

        drop(server);
        assert_eq!(flags(&page)[..2], [1, 0]);
        assert_eq!(port.event_count(), heard + 3, "the close is told");
        assert!(!port.peer_bound());
        assert_eq!(host.held().published, 0, "the keys are gone");
    }
    host.assert_clean();
}

#[test]
fn a_client_speaks_to_a_foreign_server() {
    let host = Host::new();
    let meeting = host.meeting("edge");
    {
        // Orders 13 and 11: two grants, and the right ring in the control page.
        let port = meeting.alloc_unbound().unwrap();
        let page = meeting.share_control(&port).unwrap();
        let left = meeting.share_ring(2, Access::ReadWrite).unwrap();
        page.store_u16(16, 13, SeqCst);
        page.store_u16(18, 11, SeqCst);
        page.store_u8(20, 2, SeqCst);
        page.store_u8(21, 1, SeqCst);
        page.store_u8(22, 1, SeqCst);
        page.store_u32(24, meeting.grant_ref(&left, 0), SeqCst);
        page.store_u32(28, meeting.grant_ref(&left, 1), SeqCst);
        let _keys = block_on(meeting.publish(meeting.grant_ref(&page, 0), port.port())).unwrap();

        let heard = port.event_count();
        let mut client = block_on(Endpoint::connect(&meeting, ConnectOptions::default())).unwrap();
        assert_eq!(Ok(client.layout()), Layout::new(13, 11));
        assert_eq!(flags(&page), [1, 1, 1, 1]);
        assert_eq!(port.event_count(), heard + 1, "coming is told");

        let data: Vec<u8> = (0..8192u32).map(|at| at as u8 ^ (at >> 8) as u8).collect();
        assert_eq!(client.try_write(&data), Ok(8192));
        assert_eq!((port.event_count(), flags(&page)[2]), (heard + 2, 0));
        assert_eq!(indexes(&page), [0, 8192, 0, 0]);
        assert_eq!(bytes(&left, 0, 8192), data);
        assert_eq!(client.try_write(b"x"), Ok(0));
        client.writer().ask();
        assert_eq!(flags(&page)[3], 3);
        page.store_u32(0, 1, SeqCst);
        assert_eq!(client.try_write(b"xy"), Ok(1));
        assert_eq!(bytes(&left, 0, 2), [b'x', data[1]]);

        page.write(2048, b"answer");
        page.store_u32(12, 6, SeqCst);
        page.fetch_or_u8(22, 2, SeqCst);
        let mut out = [0; 6];
        assert_eq!(client.try_read(&mut out), Ok(Some(6)));
        assert_eq!(&out, b"answer");
        assert_eq!((port.event_count(), flags(&page)[2]), (heard + 3, 0));

        client.close();
        assert_eq!(flags(&page)[..2], [0, 1]);
        assert_eq!(port.event_count(), heard + 4, "the close is told");
    }
    host.assert_clean();
}
