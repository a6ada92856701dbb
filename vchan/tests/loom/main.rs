//! The shipped protocol code under loom: every interleaving and every stale value that the memory model allows, up to
//! a bound of preemptions. There are no heartbeats here unless a model asks for one, so a lost wake-up is a deadlock,
//! which loom reports.

mod batches;
mod platform;

use loom::future::block_on;
use loom::thread;
use platform::Meeting;
use vchan::conformance::both;
use vchan::{ConnectOptions, Endpoint, OfferOptions};

/// Two preemptions find every bug that was put in on purpose; `LOOM_MAX_PREEMPTIONS` asks for more.
fn model(body: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(2));
    builder.check(body);
}

// R16 of FAULTS.md.
#[test]
fn bytes_wake_a_sleeping_reader() {
    model(|| {
        let (server, client) = Meeting::new().pair();
        let (mut reader, _server_writer) = server.split();
        let (_client_reader, mut writer) = client.split();
        let writing = thread::spawn(move || {
            assert_eq!(writer.try_write(&[11]), Ok(1));
            assert_eq!(writer.try_write(&[22]), Ok(1));
            writer
        });
        let mut got = Vec::new();
        while got.len() < 2 {
            let mut out = [0; 8];
            let read = block_on(reader.read(&mut out)).unwrap();
            assert!(read > 0);
            got.extend_from_slice(&out[..read]);
        }
        assert_eq!(got, [11, 22]);
        drop(writing.join().unwrap());
    });
}

// R16 of FAULTS.md.
#[test]
fn space_wakes_a_sleeping_writer() {
    model(|| {
        let (server, client) = Meeting::new().pair();
        let (mut reader, _server_writer) = server.split();
        let (_client_reader, mut writer) = client.split();
        // All of the ring but its last byte. Position 0 is written again after the wrap, so a copy out that came too
        // late, or space that was taken too early, shows in the byte there.
        let mut fill = [0; 1023];
        fill[0] = 11;
        assert_eq!(writer.try_write(&fill), Ok(1023));
        let writing = thread::spawn(move || {
            let mut data = &[0, 22][..];
            while !data.is_empty() {
                let written = block_on(writer.write(data)).unwrap();
                data = &data[written..];
            }
            writer
        });
        let mut got = Vec::new();
        while got.len() < 1025 {
            let mut out = [0; 1025];
            let read = block_on(reader.read(&mut out)).unwrap();
            got.extend_from_slice(&out[..read]);
        }
        assert_eq!((got[0], got[1024]), (11, 22));
        drop(writing.join().unwrap());
    });
}

// R10 of FAULTS.md.
#[test]
fn data_comes_before_the_close() {
    model(|| {
        let (mut server, mut client) = Meeting::new().pair();
        let writing = thread::spawn(move || {
            assert_eq!(client.try_write(&[11, 22]), Ok(2));
            drop(client);
        });
        let mut got = Vec::new();
        loop {
            let mut out = [0; 8];
            match block_on(server.reader().read(&mut out)).unwrap() {
                0 => break,
                read => got.extend_from_slice(&out[..read]),
            }
        }
        assert_eq!(got, [11, 22]);
        writing.join().unwrap();
    });
}

#[test]
fn a_close_during_a_heartbeat_is_no_death() {
    model(|| {
        let meeting = Meeting::new();
        *meeting.beats.borrow_mut() = true;
        let (mut server, client) = meeting.pair();
        let closing = thread::spawn(move || drop(client));
        assert_eq!(block_on(server.reader().read(&mut [0; 4])), Ok(0));
        closing.join().unwrap();
    });
}

#[test]
fn a_client_that_comes_during_a_heartbeat_is_not_dead() {
    model(|| {
        let meeting = Meeting::new();
        *meeting.beats.borrow_mut() = true;
        let mut server = block_on(Endpoint::offer(&meeting, OfferOptions::default())).unwrap();
        let connecting = thread::spawn(move || {
            let joined = block_on(Endpoint::connect(&meeting, ConnectOptions::default()));
            let mut client = joined.unwrap();
            assert_eq!(client.try_write(&[11]), Ok(1));
            client
        });
        assert_eq!(block_on(server.reader().read(&mut [0; 4])), Ok(1));
        drop(connecting.join().unwrap());
    });
}

#[test]
fn a_client_that_connects_wakes_its_server() {
    model(|| {
        let meeting = Meeting::new();
        let server = block_on(Endpoint::offer(&meeting, OfferOptions::default())).unwrap();
        let connecting = thread::spawn(move || {
            block_on(Endpoint::connect(&meeting, ConnectOptions::default())).unwrap()
        });
        block_on(server.connected()).unwrap();
        drop(connecting.join().unwrap());
    });
}

#[test]
fn what_a_server_writes_early_reaches_its_client() {
    model(|| {
        let meeting = Meeting::new();
        let mut server = block_on(Endpoint::offer(&meeting, OfferOptions::default())).unwrap();
        let connecting = thread::spawn(move || {
            let mut client =
                block_on(Endpoint::connect(&meeting, ConnectOptions::default())).unwrap();
            let mut out = [0];
            assert_eq!(block_on(client.reader().read(&mut out)), Ok(1));
            assert_eq!(out, [11]);
            client
        });
        assert_eq!(server.try_write(&[11]), Ok(1));
        drop(connecting.join().unwrap());
    });
}

/// A reader that reads everything and goes at once has read everything.
#[test]
fn drained_wakes_when_all_is_read() {
    model(|| {
        let (mut server, mut client) = Meeting::new().pair();
        assert_eq!(client.try_write(&[11]), Ok(1));
        let reading = thread::spawn(move || {
            assert_eq!(server.try_read(&mut [0]), Ok(Some(1)));
            drop(server);
        });
        assert_eq!(block_on(client.drained()), Ok(()));
        reading.join().unwrap();
    });
}

// R25 of FAULTS.md.
/// The server's halves sleep on one port, as two tasks of one thread, one for data and one for space; a single event
/// may carry the news for both.
#[test]
fn two_directions_share_one_event() {
    model(|| {
        let (server, mut client) = Meeting::new().pair();
        let (mut reader, mut writer) = server.split();
        assert_eq!(writer.try_write(&[0; 2048]), Ok(2048));
        let peer = thread::spawn(move || {
            assert_eq!(client.try_read(&mut [0; 2048]), Ok(Some(2048)));
            assert_eq!(client.try_write(&[11]), Ok(1));
            client
        });
        let mut out = [0; 4];
        let (read, written) = block_on(both(reader.read(&mut out), writer.write(&[22])));
        assert_eq!((read, written, out[0]), (Ok(1), Ok(1), 11));
        drop(peer.join().unwrap());
    });
}

#[test]
fn closing_one_half_wakes_the_other() {
    model(|| {
        let (server, client) = Meeting::new().pair();
        let (mut reader, mut writer) = server.split();
        let closing = thread::spawn(move || writer.close());
        assert_eq!(block_on(reader.read(&mut [0; 4])), Ok(0));
        closing.join().unwrap();
        drop(client);
    });
}
