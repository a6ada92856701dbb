//! What every platform must do, as functions over any pair of rendezvous values that meet each other.
//!
//! Each function makes its channel, uses it and drops it; the caller checks afterwards that nothing is left.

use vchan::platform::Rendezvous;
use vchan::{
    AcceptError, ConnectError, ConnectOptions, Endpoint, Layout, OfferOptions, Policy, Reader,
    RecvError, Role, SendError, WriteError, Writer,
};

use crate::common::{both, now, pair, pattern};

async fn write_all<R: Rendezvous>(writer: &mut Writer<R>, mut data: &[u8]) {
    while !data.is_empty() {
        let written = writer.write(data).await.unwrap();
        assert!(written > 0);
        data = &data[written..];
    }
}

async fn read_exactly<R: Rendezvous>(reader: &mut Reader<R>, len: usize) -> Vec<u8> {
    let mut data = vec![0; len];
    let mut got = 0;
    while got < len {
        let read = reader.read(&mut data[got..]).await.unwrap();
        assert!(read > 0, "the stream ended after {got} of {len} bytes");
        got += read;
    }
    data
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
pub async fn streams_both_ways<R: Rendezvous>(server: &R, client: &R, layout: Layout) {
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

/// `send` and `recv` move all or nothing, at every length around the ring's size.
pub async fn messages_are_whole<R: Rendezvous>(server: &R, client: &R, layout: Layout) {
    let (mut server_end, mut client_end) = pair(server, client, layout.into()).await;
    let ring = layout.left_size();
    let size = ring as usize;
    let mut out = vec![0; size + 1];
    for len in [0, 1, size / 2, size - 1, size] {
        let message = pattern(len, len);
        let sent = client_end.stats().counters().events_sent;
        assert_eq!(client_end.writer().try_send(&message), Ok(true));
        if len == 0 {
            assert_eq!(server_end.reader().try_recv(&mut []), Ok(Some(0)));
            assert_eq!(client_end.stats().counters().events_sent, sent);
            continue;
        }
        let rest = pattern(0, size - len + 1);
        assert_eq!(client_end.writer().try_send(&rest), Ok(false), "{len}");
        assert_eq!(client_end.writer().unread() as usize, len);
        if len < size {
            let all = &mut out[..len + 1];
            assert_eq!(server_end.reader().try_recv(all), Ok(None), "{len}");
        }
        let got = &mut out[..len];
        assert_eq!(server_end.reader().try_recv(got), Ok(Some(len)));
        assert!(*got == message);
    }
    let len = size + 1;
    let too_large = SendError::TooLarge { len, size: ring };
    assert_eq!(client_end.writer().try_send(&out), Err(too_large));
    assert_eq!(client_end.writer().send(&out).await, Err(too_large));
    let reserved = client_end.writer().try_reserve(len).map(|_| ());
    assert_eq!(reserved, Err(too_large));
    let too_large = RecvError::TooLarge { len, size: ring };
    assert_eq!(server_end.reader().try_recv(&mut out), Err(too_large));
    assert_eq!(server_end.reader().recv(&mut out).await, Err(too_large));
    let peeked = server_end.reader().try_peek(len).map(|_| ());
    assert_eq!(peeked, Err(too_large));

    // A message waits until it fits, and its reader until it is there.
    assert_eq!(client_end.try_write(&[7; 3]), Ok(3));
    let (message, mut first, mut second) = (pattern(9, size), [0; 3], vec![0; size]);
    let (sent, received) = both(client_end.writer().send(&message), async {
        let first = server_end.reader().recv(&mut first).await;
        (first, server_end.reader().recv(&mut second).await)
    })
    .await;
    assert_eq!((sent, received), (Ok(()), (Ok(3), Ok(size))));
    assert!(second == message);

    // The end within a message, and the end.
    assert_eq!(client_end.try_write(&[1, 2]), Ok(2));
    drop(client_end);
    let cut = RecvError::PeerCutShort { len: 3, left: 2 };
    assert_eq!(server_end.reader().recv(&mut out[..3]).await, Err(cut));
    assert_eq!(server_end.reader().recv(&mut out[..2]).await, Ok(2));
    assert_eq!(server_end.reader().recv(&mut out[..3]).await, Ok(0));
}

/// Several pieces are one run of bytes, told of once.
pub async fn pieces_are_one<R: Rendezvous>(server: &R, client: &R) {
    let (mut server_end, mut client_end) = pair(server, client, OfferOptions::default()).await;
    let size = client_end.layout().left_size() as usize;
    // Past the ring's end, with empty pieces in between.
    for skew in [0, size - 5, size - 10] {
        write_all(client_end.writer(), &pattern(0, skew)).await;
        read_exactly(server_end.reader(), skew).await;
        server_end.reader().ask();
        let sent = client_end.stats().counters().events_sent;
        let pieces: [&[u8]; 5] = [b"", b"one", b"", b"two, three", b""];
        assert_eq!(client_end.writer().try_write_vectored(&pieces), Ok(13));
        assert_eq!(client_end.stats().counters().events_sent, sent + 1);
        let (mut a, mut b, mut c) = ([0; 2], [0; 0], [0; 20]);
        let read = server_end
            .reader()
            .try_read_vectored(&mut [&mut a, &mut b, &mut c]);
        assert_eq!(
            (read, &a, &c[..11]),
            (Ok(Some(13)), b"on", &b"etwo, three"[..])
        );
        let whole = client_end.writer().send_vectored(&[b"all ", b"or nothing"]);
        assert_eq!(whole.await, Ok(()));
        assert_eq!(
            read_exactly(server_end.reader(), 14).await,
            b"all or nothing"
        );
        read_exactly(server_end.reader(), 0).await;
        // Back to the ring's start.
        let fill = (size - (skew + 27) % size) % size;
        write_all(client_end.writer(), &pattern(0, fill)).await;
        read_exactly(server_end.reader(), fill).await;
    }
    let half = vec![5; size / 2 + 1];
    let too_large = SendError::TooLarge {
        len: size + 2,
        size: size as u32,
    };
    let sent = client_end.writer().try_send_vectored(&[&half, &half]);
    assert_eq!(sent, Err(too_large));
    assert_eq!(
        client_end.writer().try_write_vectored(&[&half, &half]),
        Ok(size)
    );
    let (mut a, mut b) = (vec![0; size - 1], vec![0; size]);
    let read = server_end
        .reader()
        .read_vectored(&mut [&mut a, &mut b])
        .await;
    assert_eq!(read, Ok(size));
    assert!(a.iter().chain(&b[..1]).all(|&byte| byte == 5));
}

/// Lent memory is the ring's, in one piece or two; what is not committed was never there.
pub async fn lends_the_ring<R: Rendezvous>(server: &R, client: &R) {
    let (mut server_end, mut client_end) = pair(server, client, OfferOptions::default()).await;
    let size = client_end.layout().left_size() as usize;
    for skew in [0, 1, 2, 3, size - 3, size - 9] {
        write_all(client_end.writer(), &pattern(0, skew)).await;
        read_exactly(server_end.reader(), skew).await;

        let mut given_up = client_end.writer().try_reserve(8).unwrap().unwrap();
        given_up.slice().copy_from(0, b"nothing!");
        assert_eq!(server_end.try_read(&mut [0; 8]), Ok(None));
        let mut reserved = client_end.writer().reserve(16).await.unwrap();
        let mut slice = reserved.slice();
        let first = 16.min(size - skew);
        assert_eq!((slice.len(), slice.pieces()), (16, (first, 16 - first)));
        slice.store_u32(0, 0x0403_0201);
        slice.store_u16(4, 0x0605);
        slice.store_u8(6, 7);
        slice.copy_from(7, b"89");
        reserved.commit(9).unwrap();

        assert!(server_end.reader().try_peek(10).unwrap().is_none());
        let lent = server_end.reader().peek(9).await.unwrap();
        let slice = lent.slice();
        assert_eq!((slice.len(), slice.is_empty()), (9, false));
        assert_eq!(slice.load_u32(0), 0x0403_0201);
        assert_eq!((slice.load_u16(4), slice.load_u8(6)), (0x0605, 7));
        assert_eq!(
            (slice.load_u32(1), slice.load_u16(3)),
            (0x0504_0302, 0x0504)
        );
        let mut out = [0; 4];
        slice.copy_to(5, &mut out);
        assert_eq!(out, [6, 7, b'8', b'9']);
        let again = server_end.reader().try_peek(1).unwrap().unwrap();
        assert_eq!(again.slice().len(), 9, "nothing was consumed");
        again.consume(7);
        assert_eq!(read_exactly(server_end.reader(), 2).await, b"89");
        let fill = size - (skew + 9) % size;
        write_all(client_end.writer(), &pattern(0, fill)).await;
        read_exactly(server_end.reader(), fill).await;
    }
    assert_eq!(client_end.try_write(&pattern(0, size - 7)), Ok(size - 7));
    assert!(client_end.writer().try_reserve(8).unwrap().is_none());
    // Less than it waits for is what the end leaves.
    let all = client_end.writer().try_reserve(7).unwrap().unwrap();
    all.commit(usize::MAX).unwrap();
    drop(client_end);
    let lent = server_end.reader().peek(size).await.unwrap();
    assert_eq!(lent.slice().len(), size);
    lent.consume(usize::MAX);
    assert!(
        server_end
            .reader()
            .peek(1)
            .await
            .unwrap()
            .slice()
            .is_empty()
    );
}

/// A batched half holds back less than a quarter of the ring, and nothing from a peer that waits.
pub async fn batches_up_to_a_quarter<R: Rendezvous>(server: &R, client: &R) {
    let (mut server_end, mut client_end) = pair(server, client, OfferOptions::default()).await;
    let size = client_end.layout().left_size() as usize;
    let quarter = size / 4;
    client_end.set_policy(Policy::Batched);
    server_end.set_policy(Policy::Batched);
    let mut out = vec![0; size];

    assert_eq!(
        client_end.try_write(&pattern(0, quarter - 1)),
        Ok(quarter - 1)
    );
    assert_eq!(client_end.writer().unread() as usize, quarter - 1);
    assert_eq!(server_end.try_read(&mut out), Ok(None), "held back");
    assert_eq!(client_end.try_write(&pattern(quarter - 1, 1)), Ok(1));
    assert_eq!(
        read_exactly(server_end.reader(), quarter).await,
        pattern(0, quarter)
    );
    assert_eq!(client_end.try_write(b"x"), Ok(1));
    assert_eq!(client_end.writer().publish(), Ok(()));
    assert_eq!(server_end.try_read(&mut out), Ok(Some(1)));

    // A full ring, of which the reader has taken less than a quarter: it holds that back until it waits for more than
    // there is, or has seen all.
    assert_eq!(client_end.try_write(&pattern(0, size + 1)), Ok(size));
    read_exactly(server_end.reader(), quarter - 1).await;
    assert_eq!(client_end.try_write(b"x"), Ok(0), "held back");
    server_end.reader().free();
    assert_eq!(client_end.try_write(&vec![9; size]), Ok(quarter - 1));
    read_exactly(server_end.reader(), 2).await;
    assert_eq!(server_end.reader().try_recv(&mut out[..size - 1]), Ok(None));
    assert_eq!(
        client_end.try_write(b"xy"),
        Ok(2),
        "too little to receive lets go"
    );
    read_exactly(server_end.reader(), 3).await;
    server_end.reader().ask();
    assert_eq!(client_end.try_write(b"abc"), Ok(3), "asking lets go");
    let tail = read_exactly(server_end.reader(), size).await;
    assert_eq!(tail[size - 5..], *b"xyabc");
    assert_eq!(client_end.drained().await, Ok(()));

    // Nor is anything held back from a peer that may have to make room for a reservation.
    assert_eq!(client_end.try_write(b"x"), Ok(1));
    assert!(client_end.writer().try_reserve(size).unwrap().is_none());
    assert_eq!(server_end.try_read(&mut out), Ok(Some(1)));

    // Closing and dropping hold nothing back.
    assert_eq!(client_end.try_write(&vec![9; size]), Ok(size));
    let (mut server_reader, server_writer) = server_end.split();
    read_exactly(&mut server_reader, quarter - 1).await;
    drop(server_reader);
    assert_eq!(client_end.try_write(&vec![9; size]), Ok(quarter - 1));
    drop((server_writer, client_end));

    let (mut server_end, mut client_end) = pair(server, client, OfferOptions::default()).await;
    client_end.set_policy(Policy::Batched);
    let (mut reader, mut writer) = client_end.split();
    assert_eq!(writer.try_write(b"last"), Ok(4));
    writer.close();
    assert_eq!(reader.try_read(&mut out), Ok(Some(0)));
    assert_eq!(read_exactly(server_end.reader(), 4).await, b"last");
    assert_eq!(server_end.reader().read(&mut out).await, Ok(0));
    drop((reader, writer, server_end));

    let (mut server_end, mut client_end) = pair(server, client, OfferOptions::default()).await;
    client_end.set_policy(Policy::Batched);
    assert_eq!(client_end.try_write(b"last"), Ok(4));
    drop(client_end);
    assert_eq!(read_exactly(server_end.reader(), 4).await, b"last");
    assert_eq!(server_end.reader().read(&mut out).await, Ok(0));
}

/// A call and its answer, both batched, over endpoints that are not split: whoever waits has let go of both.
pub async fn an_endpoint_that_waits_holds_nothing_back<R: Rendezvous>(server: &R, client: &R) {
    use embedded_io_async::{Read, Write};
    let (mut server_end, mut client_end) = pair(server, client, OfferOptions::default()).await;
    client_end.set_policy(Policy::Batched);
    server_end.set_policy(Policy::Batched);
    let asking = async {
        for _ in 0..3 {
            client_end.write_all(b"call").await.unwrap();
            let mut answer = [0; 6];
            client_end.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"answer");
        }
    };
    let answering = async {
        let mut call = [0; 4];
        while server_end.read_exact(&mut call).await.is_ok() {
            server_end.write_all(b"answer").await.unwrap();
        }
    };
    {
        let mut answering = std::pin::pin!(answering);
        let mut asking = std::pin::pin!(asking);
        let mut done = false;
        for _ in 0..50 {
            assert!(now(answering.as_mut()).await.is_none());
            done = done || now(asking.as_mut()).await.is_some();
            if done {
                break;
            }
        }
        assert!(done, "each waits for the other");
    }

    // Who waits for room has given back what it had read.
    let size = client_end.layout().left_size() as usize;
    assert_eq!(client_end.try_write(&pattern(0, size)), Ok(size));
    read_exactly(server_end.reader(), 100).await;
    assert_eq!(client_end.try_write(b"more"), Ok(0));
    let full = pattern(0, server_end.layout().right_size() as usize);
    assert_eq!(server_end.try_write(&full), Ok(full.len()));
    assert!(now(Write::write(&mut server_end, b"x")).await.is_none());
    assert_eq!(client_end.try_write(b"more"), Ok(4));
}
