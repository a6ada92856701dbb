//! Two threads over the in-process platform, for Miri, which lets a load return what was there before and gives the threads any
//! order (`make miri`); without it a quick run of the same.

use std::thread;

use vchan::conformance::{pair, pattern};
use vchan::in_process::{Host, block_on};
use vchan::{Layout, OfferOptions, Policy};

/// Both directions at once, past the rings' ends several times, in pieces that never fit; every byte is looked at.
fn streams(layout: Layout, policy: Policy) {
    let host = Host::new();
    let meeting = host.meeting("edge");
    let (mut server, mut client) = block_on(pair(&meeting, &meeting, OfferOptions::from(layout)));
    server.set_policy(policy);
    client.set_policy(policy);
    let sent = pattern(
        3,
        2 * layout.left_size().max(layout.right_size()) as usize + 7,
    );
    thread::scope(|scope| {
        for end in [server, client] {
            let sent = &sent;
            let (mut reader, mut writer) = end.split();
            scope.spawn(move || {
                block_on(async {
                    for piece in sent.chunks(300) {
                        writer.send(piece).await.unwrap();
                    }
                    writer.drained().await.unwrap();
                });
            });
            scope.spawn(move || {
                let mut came = vec![0; sent.len()];
                block_on(async {
                    let mut got = 0;
                    while got < came.len() {
                        let most = came.len().min(got + 410);
                        let read = reader.read(&mut came[got..most]).await.unwrap();
                        assert!(read > 0, "the stream ended after {got} bytes");
                        got += read;
                    }
                });
                assert!(came == *sent, "bytes came changed");
            });
        }
    });
    drop(meeting);
    host.assert_clean();
}

#[test]
fn r26_bytes_stream_both_ways_between_threads() {
    streams(Layout::default(), Policy::Eager);
}

#[test]
fn r26_bytes_stream_both_ways_between_threads_in_batches() {
    streams(Layout::new(11, 10).unwrap(), Policy::Batched);
}

/// What is written before a close is read before the end, and nothing is held afterwards.
#[test]
fn r26_a_close_comes_after_the_bytes() {
    let host = Host::new();
    let meeting = host.meeting("edge");
    let (server, mut client) = block_on(pair(&meeting, &meeting, OfferOptions::default()));
    thread::scope(|scope| {
        scope.spawn(move || {
            assert_eq!(client.try_write(b"last"), Ok(4));
            assert_eq!(client.try_write(b" words"), Ok(6));
        });
        scope.spawn(move || {
            let (mut reader, _writer) = server.split();
            let (mut out, mut got) = ([0; 16], 0);
            loop {
                match block_on(reader.read(&mut out[got..])).unwrap() {
                    0 => break,
                    read => got += read,
                }
            }
            assert_eq!(out[..got], *b"last words");
        });
    });
    host.assert_clean();
}
