//! Bytes in order, waits, closes.

use alloc::vec;

use super::kinds;
use super::tools::{both, now, pair, pattern, read_exactly, write_all};
use crate::platform::Rendezvous;
use crate::{
    AcceptError, ConnectError, ConnectOptions, Endpoint, Layout, OfferOptions, Policy, Role,
    WriteError,
};

/// [`fills_exactly`] in some layouts of each kind.
pub async fn fills_exactly_in_each_kind_of_layout<R: Rendezvous>(server: &R, client: &R) {
    for layout in kinds(&[(10, 11), (11, 10), (11, 12), (12, 11), (12, 12), (16, 13)]) {
        fills_exactly(server, client, layout, 0).await;
    }
}

// R7 of FAULTS.md.
/// [`fills_exactly`] near the largest index.
pub async fn fills_exactly_where_indexes_wrap<R: Rendezvous>(server: &R, client: &R) {
    for layout in kinds(&[(10, 11), (11, 10), (11, 12), (12, 11), (12, 12), (16, 13)]) {
        for before_wrap in [1, 341, 1024, 1365] {
            let first_index = 0u32.wrapping_sub(before_wrap);
            fills_exactly(server, client, layout, first_index).await;
        }
    }
}

/// Both rings hold exactly what their orders say, and every byte comes out once and in order, across the wrap of the
/// position and, with `first_index` near it, of the index.
pub async fn fills_exactly<R: Rendezvous>(
    server: &R,
    client: &R,
    layout: Layout,
    first_index: u32,
) {
    let options = OfferOptions {
        layout,
        first_index,
        ..Default::default()
    };
    let (mut server, mut client) = pair(server, client, options).await;
    assert_eq!((server.role(), client.role()), (Role::Server, Role::Client));
    assert_eq!((server.layout(), client.layout()), (layout, layout));
    assert!(server.is_connected() && client.is_connected());
    let (left, right) = (layout.left_size() as usize, layout.right_size() as usize);
    fills_one_ring(&mut client, &mut server, left).await;
    fills_one_ring(&mut server, &mut client, right).await;
}

async fn fills_one_ring<R: Rendezvous>(from: &mut Endpoint<R>, to: &mut Endpoint<R>, size: usize) {
    // Not a multiple of anything, so that the fill wraps at an odd place.
    let skew = pattern(7, size / 3);
    write_all(from.writer(), &skew).await;
    assert_eq!(read_exactly(to.reader(), skew.len()).await, skew);

    let data = pattern(0, size + 1);
    assert_eq!(from.try_write(&data), Ok(size));
    assert_eq!(from.try_write(&data[size..]), Ok(0), "the ring is full");
    assert_eq!(from.writer().unread() as usize, size);
    let mut out = vec![0; size + 1];
    assert_eq!(to.try_read(&mut out), Ok(Some(size)));
    assert!(out[..size] == data[..size], "bytes came out changed");
    assert_eq!(to.try_read(&mut out), Ok(None), "the ring is empty");
}

/// More than the rings hold, both ways at once, each end writing all of its data before its ring is empty again.
pub async fn streams_both_ways<R: Rendezvous>(server: &R, client: &R) {
    for layout in kinds(&[(10, 11), (11, 10), (11, 12), (12, 11), (12, 12), (20, 20)]) {
        streams_both_ways_in(server, client, layout).await;
    }
}

async fn streams_both_ways_in<R: Rendezvous>(server: &R, client: &R, layout: Layout) {
    let (server, client) = pair(server, client, layout.into()).await;
    let (server_stats, client_stats) = (server.stats(), client.stats());
    let (mut server_reader, mut server_writer) = server.split();
    let (mut client_reader, mut client_writer) = client.split();
    let up = pattern(1, 3 * layout.left_size() as usize + 5);
    let down = pattern(2, 3 * layout.right_size() as usize + 11);
    let (_, (got_up, got_down)) = both(
        both(
            write_all(&mut client_writer, &up),
            write_all(&mut server_writer, &down),
        ),
        both(
            read_exactly(&mut server_reader, up.len()),
            read_exactly(&mut client_reader, down.len()),
        ),
    )
    .await;
    assert!(got_up == up && got_down == down);
    client_writer.drained().await.unwrap();
    let (server, client) = (server_stats.counters(), client_stats.counters());
    assert_eq!(
        (server.bytes_read, client.bytes_written),
        (up.len() as u64, up.len() as u64)
    );
    assert_eq!(
        (client.bytes_read, server.bytes_written),
        (down.len() as u64, down.len() as u64)
    );
    assert!(server.events_sent > 0 && client.events_sent > 0);
}

// R10 of FAULTS.md.
/// Close comes after the data: the reader gets everything, then the end; the writer gets an error.
pub async fn closes_in_order<R: Rendezvous>(server: &R, client: &R) {
    for closer in [Role::Server, Role::Client] {
        let (a, b) = pair(server, client, OfferOptions::default()).await;
        let (mut closing, mut staying) = match closer {
            Role::Server => (a, b),
            Role::Client => (b, a),
        };
        assert_eq!(closing.try_write(b"last words"), Ok(10));
        closing.close();
        assert!(!closing.is_connected() && !staying.is_connected());
        assert_eq!(closing.try_write(b"more"), Err(WriteError::OursClosed));
        assert_eq!(closing.try_read(&mut [0; 4]), Ok(Some(0)));
        drop(closing);
        assert_eq!(staying.try_write(b"hello?"), Err(WriteError::PeerClosed));
        let (mut reader, mut writer) = staying.split();
        assert_eq!(read_exactly(&mut reader, 10).await, b"last words");
        assert_eq!(reader.read(&mut [0; 4]).await, Ok(0));
        assert_eq!(
            reader.read(&mut [0; 4]).await,
            Ok(0),
            "the end stays the end"
        );
        assert_eq!(writer.write(b"hello?").await, Err(WriteError::PeerClosed));
    }
}

/// A ring that is full when the peer closes is no reason to wait.
pub async fn a_full_ring_tells_of_the_close<R: Rendezvous>(server: &R, client: &R) {
    for policy in [Policy::Eager, Policy::Batched] {
        let (server_end, mut client_end) = pair(server, client, OfferOptions::default()).await;
        client_end.set_policy(policy);
        let size = client_end.layout().left_size() as usize;
        let message = pattern(0, size);
        assert_eq!(client_end.try_write(&message), Ok(size));
        drop(server_end);
        let (_reader, mut writer) = client_end.split();
        let closed = WriteError::PeerClosed;
        assert_eq!(writer.try_write(&message), Err(closed));
        assert_eq!(writer.write(&message).await, Err(closed));
        assert_eq!(writer.try_send(&message), Err(closed.into()));
        assert_eq!(writer.send(&message).await, Err(closed.into()));
        assert_eq!(writer.reserve(1).await.err(), Some(closed.into()));
        assert_eq!(writer.unread() as usize, size);
    }
    // Nor is what was held back: the call that would have shown it says that it did not happen.
    let (server_end, mut client_end) = pair(server, client, OfferOptions::default()).await;
    client_end.set_policy(Policy::Batched);
    assert_eq!(client_end.try_write(b"held"), Ok(4));
    drop(server_end);
    let message = [7; 1024];
    assert_eq!(
        client_end.try_write(&message[..500]),
        Err(WriteError::PeerClosed)
    );
    assert_eq!(client_end.writer().unread(), 4);
    assert_eq!(client_end.writer().publish(), Err(WriteError::PeerClosed));
}

/// A reader that sleeps is woken by the peer's close, and by its own other half's.
pub async fn close_wakes_sleepers<R: Rendezvous>(server: &R, client: &R) {
    let (server_end, client_end) = pair(server, client, OfferOptions::default()).await;
    let (mut reader, _writer) = server_end.split();
    let (read, ()) = both(reader.read(&mut [0; 4]), async move { drop(client_end) }).await;
    assert_eq!(read, Ok(0));
    drop((reader, _writer));

    let (server_end, _client_end) = pair(server, client, OfferOptions::default()).await;
    let (mut reader, mut writer) = server_end.split();
    let (read, ()) = both(reader.read(&mut [0; 4]), async { writer.close() }).await;
    assert_eq!(read, Ok(0));
}

/// `drained` waits for the reader, and says so when there is none any more.
pub async fn drains<R: Rendezvous>(server: &R, client: &R) {
    let (mut server_end, mut client_end) = pair(server, client, OfferOptions::default()).await;
    assert_eq!(client_end.drained().await, Ok(()), "nothing was written");
    assert_eq!(client_end.try_write(b"bytes"), Ok(5));
    assert!(now(client_end.drained()).await.is_none());
    let (drained, read) = both(client_end.drained(), async {
        let first = read_exactly(server_end.reader(), 2).await;
        let rest = read_exactly(server_end.reader(), 3).await;
        [first, rest].concat()
    })
    .await;
    assert_eq!((drained, read.as_slice()), (Ok(()), &b"bytes"[..]));

    assert_eq!(client_end.try_write(b"unread"), Ok(6));
    drop(server_end);
    assert_eq!(client_end.drained().await, Err(WriteError::PeerClosed));
    assert_eq!(client_end.writer().unread(), 6);
}

/// A server without a client is not connected, can be written to, and goes without a trace; so does its waiting.
pub async fn waits_for_a_client<R: Rendezvous>(server: &R, client: &R) {
    let mut offered = Endpoint::offer(server, OfferOptions::default())
        .await
        .unwrap();
    assert!(!offered.is_connected());
    assert!(now(offered.connected()).await.is_none());
    assert_eq!(offered.try_read(&mut [0; 4]), Ok(None));
    assert_eq!(offered.try_write(b"early"), Ok(5));
    let mut client_end = Endpoint::connect(client, ConnectOptions::default())
        .await
        .unwrap();
    assert_eq!(offered.connected().await, Ok(()));
    assert_eq!(read_exactly(client_end.reader(), 5).await, b"early");
    drop((offered, client_end));

    let mut offered = Endpoint::offer(server, OfferOptions::default())
        .await
        .unwrap();
    offered.close();
    assert_eq!(offered.connected().await, Err(AcceptError::OursClosed));
}

/// A client that comes, writes and goes before the server looks is still heard.
pub async fn hears_a_client_that_left<R: Rendezvous>(server: &R, client: &R) {
    let mut offered = Endpoint::offer(server, OfferOptions::default())
        .await
        .unwrap();
    let mut client_end = Endpoint::connect(client, ConnectOptions::default())
        .await
        .unwrap();
    assert_eq!(client_end.try_write(b"hi"), Ok(2));
    drop(client_end);
    assert_eq!(offered.connected().await, Ok(()));
    assert_eq!(read_exactly(offered.reader(), 2).await, b"hi");
    assert_eq!(offered.try_read(&mut [0; 2]), Ok(Some(0)));

    let again = Endpoint::connect(client, ConnectOptions::default()).await;
    assert!(matches!(again, Err(ConnectError::Used(0))));
}

// R27 of FAULTS.md.
/// A client that waits for a server, and gives up, leaves nothing.
pub async fn waits_for_a_server<R: Rendezvous>(server: &R, client: &R) {
    assert!(
        now(Endpoint::connect(client, ConnectOptions::default()))
            .await
            .is_none()
    );
    let (joined, offered) = both(
        Endpoint::connect(client, ConnectOptions::default()),
        Endpoint::offer(server, OfferOptions::default()),
    )
    .await;
    assert!(joined.unwrap().is_connected() && offered.unwrap().role() == Role::Server);
}

// R23 of FAULTS.md.
/// Nothing to do is nothing done: no event, no wait.
pub async fn empty_buffers_do_nothing<R: Rendezvous>(server: &R, client: &R) {
    let (mut server_end, mut client_end) = pair(server, client, OfferOptions::default()).await;
    let before = client_end.stats().counters().events_sent;
    assert_eq!(client_end.writer().write(&[]).await, Ok(0));
    assert_eq!(client_end.reader().read(&mut []).await, Ok(0));
    assert_eq!(client_end.stats().counters().events_sent, before);
    assert_eq!(server_end.try_read(&mut [0; 1]), Ok(None));
}

/// With nobody asking, data moves without events.
pub async fn sends_no_needless_events<R: Rendezvous>(server: &R, client: &R) {
    let (mut server_end, mut client_end) = pair(server, client, OfferOptions::default()).await;
    // Uses up the request that stands at the start.
    assert_eq!(client_end.try_write(b"x"), Ok(1));
    assert_eq!(server_end.try_read(&mut [0; 1]), Ok(Some(1)));
    let (server_stats, client_stats) = (server_end.stats(), client_end.stats());
    let sent = || server_stats.counters().events_sent + client_stats.counters().events_sent;
    let before = sent();
    for _ in 0..100 {
        assert_eq!(client_end.try_write(b"message"), Ok(7));
        assert_eq!(server_end.try_read(&mut [0; 7]), Ok(Some(7)));
    }
    assert_eq!(sent(), before);
    server_end.reader().ask();
    assert_eq!(server_end.try_read(&mut [0; 1]), Ok(None));
    assert_eq!(client_end.try_write(b"message"), Ok(7));
    assert_eq!(sent(), before + 1);
}
