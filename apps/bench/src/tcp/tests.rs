//! Both ends of the exchange, over the loopback of a host.

use alloc::format;
use alloc::string::{String, ToString};
use core::time::Duration;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::mpsc::channel;
use std::thread;

use super::linux::{connection, over};
use super::parameters::{Task, TcpBench};
use crate::content::Content;
use crate::parameters::tests::read;

/// Long enough for anything here.
const PATIENCE: Duration = Duration::from_secs(60);

fn task(line: &str) -> Task {
    let line: &'static str = String::leak(line.into());
    read::<TcpBench, _>(line, Task::new).unwrap()
}

/// A server that is told this, and what `client` does to its port; what each said.
fn beside<T: Send>(
    line: &str,
    timeout: Duration,
    client: impl FnOnce(u16) -> T + Send,
) -> (Result<String, String>, T) {
    let server = task(&format!("{line} role=server addr=127.0.0.1:0"));
    let (tell, port) = channel();
    thread::scope(|scope| {
        let server = scope.spawn(move || {
            let tell = |port| tell.send(port).unwrap();
            let stream = connection(&server, PATIENCE, tell).unwrap();
            over(&server, &stream, timeout)
        });
        let client = client(port.recv().unwrap());
        (server.join().unwrap(), client)
    })
}

fn pair(line: &str) -> (Result<String, String>, Result<String, String>) {
    beside(line, PATIENCE, |port| {
        let client = task(&format!("{line} role=client addr=127.0.0.1:{port}"));
        let stream = connection(&client, PATIENCE, |_| ()).unwrap();
        over(&client, &stream, PATIENCE)
    })
}

#[test]
fn every_load_arrives_whole_and_the_warm_up_is_not_counted() {
    for (size, count) in [(1, 2000), (64, 1000), (1448, 300), (200_001, 7)] {
        for mode in ["sink", "echo"] {
            for more in ["", "warm-up=5 nodelay=off"] {
                let line = format!("mode={mode} size={size} count={count} check=on {more}");
                let (server, client) = pair(&line);
                let (server, client) = (server.unwrap(), client.unwrap());
                let bytes = size * count;
                let back = if mode == "echo" { bytes } else { 0 };
                let told = |line: &str, sent, received| {
                    line.contains(&format!(
                        "\"bytes_sent\":{sent},\"bytes_received\":{received},\"checked\":true"
                    ))
                };
                assert!(told(&client, bytes, back), "{line}: {client}");
                assert!(told(&server, back, bytes), "{line}: {server}");
                let counted = format!("{{\"bench\":\"tcp\",\"size\":{size},\"count\":{count},");
                assert!(client.starts_with(&counted), "{line}: {client}");
                let round_trips = !client.contains("\"rtt_ns\":null");
                assert_eq!(round_trips, mode == "echo", "{line}: {client}");
            }
        }
    }
}

#[test]
fn an_end_that_goes_is_told_of_with_what_has_come() {
    for mode in ["sink", "echo"] {
        let line = format!("mode={mode} size=100 count=7 warm-up=1");
        let (outcome, ()) = beside(&line, PATIENCE, |port| {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            stream.write_all(&[1; 250]).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            while stream.read(&mut [0; 100]).is_ok_and(|came| came > 0) {}
        });
        let error = outcome.unwrap_err();
        assert!(error.contains("closed the connection"), "{error}");
        assert!(error.contains("250 received"), "{error}");
    }
}

#[test]
fn an_end_that_is_silent_is_not_waited_for() {
    let moment = Duration::from_millis(20);
    let (outcome, _stream) = beside("size=100 count=7", moment, |port| {
        TcpStream::connect(("127.0.0.1", port)).unwrap()
    });
    assert!(outcome.unwrap_err().contains("silent"), "sink");
    let nobody = task("role=server addr=127.0.0.1:0");
    let error = connection(&nobody, moment, |_| ()).unwrap_err();
    assert!(error.to_string().contains("nobody"), "{error}");
    let alone = task("role=client addr=127.0.0.1:1");
    assert!(connection(&alone, moment, |_| ()).is_err());
}

#[test]
fn a_byte_that_is_not_the_streams_is_found_if_anyone_looks() {
    let content = Content::default();
    let send_wrong = |port| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let mut bytes = content.run(0, 6000).to_vec();
        bytes[4321] ^= 1;
        stream.write_all(&bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        while stream.read(&mut [0; 100]).is_ok_and(|came| came > 0) {}
    };
    for (check, warm_up) in [("on", 0), ("on", 1), ("off", 1)] {
        let line = format!(
            "size=3000 count={} warm-up={warm_up} check={check}",
            2 - warm_up
        );
        let (outcome, ()) = beside(&line, PATIENCE, send_wrong);
        match (check, outcome) {
            ("off", outcome) => assert!(outcome.is_ok(), "{outcome:?}"),
            (_, outcome) => {
                let error = outcome.unwrap_err();
                assert!(error.starts_with("byte 4321 of the stream"), "{error}");
            }
        }
    }
}
