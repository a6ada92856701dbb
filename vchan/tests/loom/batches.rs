//! Batches, whole messages and lent memory.

use embedded_io_async::{Read, Write};
use loom::future::block_on;
use loom::thread;
use vchan::Policy;

use crate::model;
use crate::platform::Meeting;

/// A batched writer that waits has shown what it wrote.
#[test]
fn batched_bytes_wake_a_sleeping_reader() {
    model(|| {
        let (mut server, mut client) = Meeting::new().pair();
        client.set_policy(Policy::Batched);
        server.set_policy(Policy::Batched);
        let writing = thread::spawn(move || {
            assert_eq!(client.try_write(&[11]), Ok(1));
            assert_eq!(client.try_write(&[22]), Ok(1));
            assert_eq!(block_on(client.drained()), Ok(()));
            client
        });
        let mut got = Vec::new();
        while got.len() < 2 {
            let mut out = [0; 1];
            assert_eq!(block_on(server.reader().read(&mut out)), Ok(1));
            got.extend_from_slice(&out);
        }
        assert_eq!(got, [11, 22]);
        drop(writing.join().unwrap());
    });
}

/// A batched reader that waits has given back what it read, also when that is less than a quarter.
#[test]
fn batched_space_wakes_a_sleeping_writer() {
    model(|| {
        let (mut server, mut client) = Meeting::new().pair();
        client.set_policy(Policy::Batched);
        server.set_policy(Policy::Batched);
        let mut fill = [0; 1024];
        fill[0] = 11;
        assert_eq!(client.try_write(&fill), Ok(1024));
        let writing = thread::spawn(move || {
            // Waits for room that the reader still holds back, then shows it by waiting again.
            assert_eq!(block_on(client.writer().send(&[22; 100])), Ok(()));
            assert_eq!(block_on(client.drained()), Ok(()));
            client
        });
        let mut out = [0; 1024];
        assert_eq!(server.try_read(&mut out[..100]), Ok(Some(100)));
        assert_eq!(out[0], 11);
        assert_eq!(block_on(server.reader().recv(&mut out)), Ok(1024));
        assert_eq!(out[924], 22);
        drop(writing.join().unwrap());
    });
}

// R10 of FAULTS.md.
#[test]
fn batched_data_comes_before_the_close() {
    model(|| {
        let (mut server, mut client) = Meeting::new().pair();
        client.set_policy(Policy::Batched);
        let writing = thread::spawn(move || {
            assert_eq!(client.try_write(&[11, 22]), Ok(2));
            drop(client);
        });
        let mut out = [0; 8];
        assert_eq!(block_on(server.reader().read(&mut out)), Ok(2));
        assert_eq!(out[..2], [11, 22]);
        assert_eq!(block_on(server.reader().read(&mut out)), Ok(0));
        writing.join().unwrap();
    });
}

// R24 of FAULTS.md.
/// The largest message there is, which needs every byte of the ring, behind a small one.
#[test]
fn whole_messages_wake_both_sides() {
    model(|| {
        let (server, client) = Meeting::new().pair();
        let (mut reader, _server_writer) = server.split();
        let (_client_reader, mut writer) = client.split();
        assert_eq!(writer.try_send(&[11]), Ok(true));
        let sending = thread::spawn(move || {
            assert_eq!(block_on(writer.send(&[22; 1024])), Ok(()));
            writer
        });
        let mut out = [0; 1024];
        assert_eq!(block_on(reader.recv(&mut out[..1])), Ok(1));
        assert_eq!(out[0], 11);
        assert_eq!(block_on(reader.recv(&mut out)), Ok(1024));
        assert_eq!((out[0], out[1023]), (22, 22));
        drop(sending.join().unwrap());
    });
}

/// Made in place and read in place, while the other side looks.
#[test]
fn lent_memory_is_ordered_by_the_indexes() {
    model(|| {
        let (mut server, mut client) = Meeting::new().pair();
        let making = thread::spawn(move || {
            let mut reserved = block_on(client.writer().reserve(3)).unwrap();
            reserved.slice().copy_from(0, &[11, 22, 33]);
            reserved.commit(2).unwrap();
            client
        });
        let lent = block_on(server.reader().peek(2)).unwrap();
        let mut out = [0; 2];
        lent.slice().copy_to(0, &mut out);
        lent.consume(2);
        assert_eq!(out, [11, 22]);
        drop(making.join().unwrap());
    });
}

/// Call and answer over endpoints that are not split, both batched.
#[test]
fn a_batched_call_is_answered() {
    model(|| {
        let (mut server, mut client) = Meeting::new().pair();
        client.set_policy(Policy::Batched);
        server.set_policy(Policy::Batched);
        let calling = thread::spawn(move || {
            let mut out = [0];
            assert_eq!(block_on(client.write(&[11])), Ok(1));
            assert_eq!(block_on(client.read(&mut out)), Ok(1));
            assert_eq!(out, [22]);
        });
        let mut out = [0];
        assert_eq!(block_on(server.read(&mut out)), Ok(1));
        assert_eq!(out, [11]);
        assert_eq!(block_on(server.write(&[22])), Ok(1));
        assert_eq!(block_on(server.read(&mut [0])), Ok(0));
        calling.join().unwrap();
    });
}

/// A look that finds nothing is followed by a sleep that nothing is lost in.
#[test]
fn looking_before_sleeping_loses_nothing() {
    model(|| {
        let mut meeting = Meeting::new();
        meeting.looks = 2;
        let (mut server, mut client) = meeting.pair();
        assert_eq!(client.try_write(&[0; 1024]), Ok(1024));
        let writing = thread::spawn(move || {
            assert_eq!(block_on(client.writer().write(&[11])), Ok(1));
            client
        });
        let mut out = [0; 1024];
        assert_eq!(block_on(server.reader().read(&mut out)), Ok(1024));
        assert_eq!(block_on(server.reader().read(&mut out)), Ok(1));
        assert_eq!(out[0], 11);
        drop(writing.join().unwrap());
    });
}
