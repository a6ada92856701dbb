//! Messages, pieces, lent memory, batches.

use alloc::vec;
use core::pin::pin;

use super::kinds;
use super::tools::{both, let_others_run, now, pair, pattern, read_exactly, write_all};
use crate::platform::Rendezvous;
use crate::{Layout, OfferOptions, Policy, RecvError, SendError};

// R23 of FAULTS.md.
/// `send` and `recv` move all or nothing, at every length around the ring's size.
pub async fn messages_are_whole<R: Rendezvous>(server: &R, client: &R) {
    for layout in kinds(&[(10, 11), (11, 10), (12, 11), (13, 12)]) {
        messages_are_whole_in(server, client, layout).await;
    }
}

async fn messages_are_whole_in<R: Rendezvous>(server: &R, client: &R, layout: Layout) {
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
        let mut answering = pin!(answering);
        let mut asking = pin!(asking);
        let mut done = false;
        for _ in 0..10_000 {
            assert!(now(answering.as_mut()).await.is_none());
            done = now(asking.as_mut()).await.is_some();
            if done {
                break;
            }
            let_others_run().await;
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
