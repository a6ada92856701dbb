//! Both ends over the loopback of a host, and with something on the way that loses.

use alloc::format;
use alloc::string::String;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::packet::{Header, Kind};
use super::parameters::{Task, UdpBench};
use super::{over, socket};
use crate::content::RUN_MAX;
use crate::parameters::tests::read;

fn task(line: &str) -> Task {
    let line: &'static str = String::leak(line.into());
    read::<UdpBench, _>(line, Task::new).unwrap()
}

type Said = Result<String, String>;

/// Both ends; `lose` says of the n-th datagram, to the server or from it, whether it gets lost.
fn pair(load: &str, lose: impl Fn(bool, u64, Header) -> bool + Send) -> (Said, Said) {
    let server = task(&format!("{load} role=server addr=127.0.0.1:0"));
    let (near, far) = (
        socket(&server).unwrap(),
        UdpSocket::bind("127.0.0.1:0").unwrap(),
    );
    let server_place = near.local_addr().unwrap();
    let port = far.local_addr().unwrap().port();
    let client = task(&format!("{load} role=client addr=127.0.0.1:{port}"));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let server = scope.spawn(|| over(&server, &near));
        let client = scope.spawn(|| {
            let socket = socket(&client).unwrap();
            over(&client, &socket)
        });
        let done = &done;
        scope.spawn(move || {
            let mut buffer = [0; RUN_MAX];
            let mut client_place = None;
            let mut number = 0;
            far.set_read_timeout(Some(Duration::from_millis(10)))
                .unwrap();
            // Relaxed: nothing but the word itself.
            while !done.load(Ordering::Relaxed) {
                let Ok((came, from)) = far.recv_from(&mut buffer) else {
                    continue;
                };
                let header = Header::parse(&buffer[..came]).unwrap();
                let to = match from == server_place {
                    true => client_place.unwrap(),
                    false => {
                        client_place = Some(from);
                        server_place
                    }
                };
                if !lose(from != server_place, number, header) {
                    let _ = far.send_to(&buffer[..came], to);
                }
                number += 1;
            }
        });
        let said = (server.join().unwrap(), client.join().unwrap());
        done.store(true, Ordering::Relaxed);
        said
    })
}

fn nothing(_: bool, _: u64, _: Header) -> bool {
    false
}

fn told(said: &Said, what: &str) {
    assert!(
        said.as_ref().is_ok_and(|line| line.contains(what)),
        "{what} in {said:?}"
    );
}

#[test]
fn every_load_arrives_and_the_warm_up_is_not_counted() {
    for (mode, size, count) in [
        ("sink", 16, 3000),
        ("sink", 1472, 500),
        ("sink", 60_000, 50),
        ("echo", 64, 300),
    ] {
        for warm_up in [0, 33] {
            let load = format!("mode={mode} size={size} count={count} warm-up={warm_up} check=on");
            let (server, client) = pair(&load, nothing);
            let bytes = size * count;
            let back = if mode == "echo" { bytes } else { 0 };
            for said in [&server, &client] {
                told(said, &format!("\"arrived\":{count},\"lost\":0,"));
            }
            told(
                &client,
                &format!("\"bytes_sent\":{bytes},\"bytes_received\":{back},"),
            );
            told(
                &server,
                &format!("\"bytes_sent\":{back},\"bytes_received\":{bytes},"),
            );
            told(
                &client,
                if mode == "echo" {
                    "\"rtt_ns\":{"
                } else {
                    "\"rtt_ns\":null"
                },
            );
        }
    }
}

#[test]
fn what_is_lost_on_the_way_is_counted_and_the_rest_goes_on() {
    let message = |header: Header| matches!(header.kind, Kind::Message | Kind::Asking);
    // One message, and of another window the one that asks.
    let lose = |there: bool, _: u64, header: Header| {
        there && message(header) && [13, 103].contains(&header.number)
    };
    let (server, client) = pair("size=100 count=200 window=8 warm-up=8 check=on", lose);
    for said in [&server, &client] {
        told(said, "\"arrived\":198,\"lost\":2,");
    }
    // A message and the answer to another: round trips are repeated.
    let lose = |there: bool, _: u64, header: Header| {
        header.attempt == 0 && message(header) && header.number == if there { 3 } else { 5 }
    };
    let (server, client) = pair("mode=echo size=100 count=9 check=on", lose);
    told(&client, "\"arrived\":9,\"lost\":2,");
    told(&client, "\"bytes_sent\":1100,\"bytes_received\":900,");
    told(&server, "\"arrived\":9,\"lost\":0,");
    // Answers get lost too, that to the farewell among them.
    let lose = |there: bool, number: u64, header: Header| {
        !there && (number.is_multiple_of(3) || header.number == 40) && header.attempt == 0
    };
    let (server, client) = pair("size=100 count=40 window=4", lose);
    for said in [&server, &client] {
        told(said, "\"arrived\":40,\"lost\":0,");
    }
}

#[test]
fn an_end_that_is_gone_is_not_waited_for() {
    let gone = |there: bool, _: u64, header: Header| there && header.number >= 50;
    for mode in ["sink", "echo"] {
        let load = format!("mode={mode} size=100 count=100 timeout=1");
        let (server, client) = pair(&load, gone);
        assert!(server.unwrap_err().contains("silent"), "{mode}");
        let error = client.unwrap_err();
        let wanted = ["does not answer", "has not come back"];
        assert!(
            wanted.iter().any(|wanted| error.contains(wanted)),
            "{error}"
        );
    }
    let alone = task("role=client addr=127.0.0.1:1 timeout=1");
    let error = over(&alone, &socket(&alone).unwrap()).unwrap_err();
    assert!(error.contains("does not answer"), "{error}");
}

#[test]
fn ends_that_were_told_different_things_say_so() {
    for (server_load, told) in [
        ("size=90 count=10", "same size="),
        ("size=100 count=9", "same count="),
    ] {
        let server = task(&format!("{server_load} role=server addr=127.0.0.1:0"));
        let near = socket(&server).unwrap();
        let port = near.local_addr().unwrap().port();
        let client = task(&format!(
            "role=client addr=127.0.0.1:{port} size=100 count=10"
        ));
        thread::scope(|scope| {
            scope.spawn(|| over(&client, &socket(&client).unwrap()));
            let error = over(&server, &near).unwrap_err();
            assert!(error.contains(told), "{error}");
        });
    }
}

#[test]
fn what_comes_back_too_late_is_not_taken_for_what_was_sent_again() {
    let far = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = far.local_addr().unwrap().port();
    let client = task(&format!(
        "mode=echo size=64 count=1 role=client addr=127.0.0.1:{port}"
    ));
    thread::scope(|scope| {
        let client = scope.spawn(|| over(&client, &socket(&client).unwrap()));
        let mut buffer = [0; 64];
        let mut late = None;
        loop {
            let (came, from) = far.recv_from(&mut buffer).unwrap();
            let header = Header::parse(&buffer[..came]).unwrap();
            let answer = match (header.kind, header.attempt) {
                (Kind::Question | Kind::Farewell, _) => header.answer(0).to_vec(),
                // The first one is held up until the second is there, which is lost.
                (_, 0) => {
                    late = Some(buffer[..came].to_vec());
                    continue;
                }
                (_, 1) => late.take().unwrap(),
                (_, _) => buffer[..came].to_vec(),
            };
            far.send_to(&answer, from).unwrap();
            if header.kind == Kind::Farewell {
                break;
            }
        }
        told(&client.join().unwrap(), "\"arrived\":1,\"lost\":2,");
    });
}
