//! Both ends of the exchange, over a channel between two threads of a host.

extern crate std;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::thread;
use std::time::Instant;

use vchan_linux::local::{Folder, Meeting};
use vchan_linux::{ConnectOptions, Endpoint, OfferOptions, Policy, block_on};

use super::ending::{closed, drained};
use super::exchange::{Exchange, ExchangeError};
use super::linux::watched;
use super::parameters::{Task, VchanBench};
use crate::content::Content;
use crate::histogram::Histogram;
use crate::parameters::tests::read;

type End = Endpoint<Meeting>;

fn task(line: &str) -> Task {
    // A command line is there for the life of the domain.
    let line: &'static str = String::leak(line.into());
    read::<VchanBench, _>(line, Task::new).unwrap()
}

/// Both ends of a channel, each on a thread of its own.
fn over_a_channel<A: Send, B: Send>(
    options: OfferOptions,
    server: impl AsyncFnOnce(End) -> A + Send,
    client: impl AsyncFnOnce(End) -> B + Send,
) -> (A, B) {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::at(place.path().join("meet")).unwrap();
    let meeting = || Meeting::new(&folder, "bench").unwrap();
    thread::scope(|scope| {
        let client = scope.spawn(|| {
            block_on(async {
                let end = Endpoint::connect(&meeting(), ConnectOptions::default()).await;
                client(end.unwrap()).await
            })
        });
        let server = block_on(async {
            let end = Endpoint::offer(&meeting(), options).await.unwrap();
            end.connected().await.unwrap();
            server(end).await
        });
        (server, client.join().unwrap())
    })
}

#[derive(Debug)]
struct Outcome {
    round_trips: Result<Option<Histogram>, ExchangeError>,
    sent: u64,
    received: u64,
}

/// Does what `task` says; each look at the clock takes 7 ns.
async fn exchange(task: &Task, mut end: End) -> Outcome {
    end.set_policy(Policy::Batched);
    let stats = end.stats();
    let (mut reader, mut writer) = end.split();
    let content = Content::default();
    let mut exchange = Exchange::new(task, &content, &mut reader, &mut writer).unwrap();
    let looks = Cell::new(0);
    let clock = || {
        looks.set(looks.get() + 1);
        Duration::from_nanos(7 * looks.get())
    };
    let round_trips = exchange.run(task.load.count, clock).await;
    if round_trips.is_ok() {
        drained(&mut writer, async || core::future::pending().await)
            .await
            .unwrap();
    }
    let counters = stats.counters();
    Outcome {
        round_trips,
        sent: counters.bytes_written,
        received: counters.bytes_read,
    }
}

/// A server and a client that are told the same, but for what the server alone is.
fn pair(load: &str, ring: &str) -> (Outcome, Outcome) {
    let server = task(&format!("{load} ring={ring}"));
    let client = task(&format!("{load} role=client"));
    over_a_channel(
        server.layout.into(),
        async |end| exchange(&server, end).await,
        async |end| exchange(&client, end).await,
    )
}

#[test]
fn every_api_carries_every_load_and_talks_to_every_other() {
    let apis = ["packet", "stream", "zerocopy"];
    for server_api in apis {
        for client_api in apis {
            for (size, count, ring) in [
                (1, 3000, "1K"),
                (64, 2000, "1K"),
                (1000, 300, "1K"),
                (1024, 300, "64K"),
                (4095, 100, "4K"),
                (200_001, 5, "256K"),
            ] {
                for mode in ["sink", "echo"] {
                    let load = format!("mode={mode} size={size} count={count} check=on");
                    let server = task(&format!("{load} api={server_api} ring={ring}"));
                    let client = task(&format!("{load} api={client_api} role=client"));
                    let (server, client) = over_a_channel(
                        server.layout.into(),
                        async |end| exchange(&server, end).await,
                        async |end| exchange(&client, end).await,
                    );
                    let about = format!("{load}, {server_api} and {client_api}");
                    let bytes = size * count;
                    let back = if mode == "echo" { bytes } else { 0 };
                    assert_eq!(
                        (client.sent, server.received),
                        (bytes, bytes),
                        "{about}: {client:?} {server:?}"
                    );
                    assert_eq!((server.sent, client.received), (back, back), "{about}");
                    assert!(server.round_trips.unwrap().is_none(), "{about}");
                    let round_trips = client.round_trips.unwrap();
                    assert_eq!(round_trips.is_some(), mode == "echo", "{about}");
                    // Each message is measured by itself.
                    let longest = round_trips.map_or(7, |histogram| histogram.max());
                    assert_eq!(longest, 7, "{about}");
                }
            }
        }
    }
}

#[test]
fn a_message_longer_than_both_rings_comes_back_while_it_goes() {
    let (server, client) = pair("api=stream mode=echo size=300001 count=3 check=on", "1K");
    assert_eq!((server.received, client.received), (900_003, 900_003));
    assert!(client.round_trips.unwrap().is_some() && server.round_trips.is_ok());
}

#[test]
fn a_server_fills_a_ring_of_its_own_in_place() {
    let server = task("api=zerocopy mode=echo size=3000 count=50 ring=4K check=on");
    let client = task("api=packet mode=echo size=3000 count=50 role=client check=on");
    let mut options = OfferOptions::from(server.layout);
    options.right_ring = vchan_linux::platform::Access::ReadOnly;
    let (server, client) = over_a_channel(
        options,
        async |end| exchange(&server, end).await,
        async |end| exchange(&client, end).await,
    );
    assert!(server.round_trips.is_ok(), "{server:?}");
    assert!(client.round_trips.is_ok(), "{client:?}");
    assert_eq!(client.received, 150_000);
}

#[test]
fn a_peer_that_closes_too_early_is_told_of_with_what_has_come() {
    for api in ["packet", "stream", "zerocopy"] {
        for mode in ["sink", "echo"] {
            let server = task(&format!("api={api} mode={mode} size=100 count=7"));
            let (outcome, ()) = over_a_channel(
                server.layout.into(),
                async |end| exchange(&server, end).await,
                async |mut end| {
                    end.writer().send(&[1; 500]).await.unwrap();
                },
            );
            let error = outcome.round_trips.unwrap_err().to_string();
            let wanted = "the peer closed the channel after 500 of 700 bytes";
            // Of what is to go back to a peer that is gone, nothing does.
            let nobody = mode == "echo" && error.contains("peer has closed");
            assert!(error == wanted || nobody, "{api} {mode}: {error}");
        }
    }
}

#[test]
fn a_reader_that_goes_is_told_of_with_what_was_written() {
    for api in ["packet", "stream", "zerocopy"] {
        let client = task(&format!("api={api} role=client size=512 count=100"));
        let small = task("ring=1K");
        let ((), outcome) = over_a_channel(
            small.layout.into(),
            async |_| (),
            async |end| exchange(&client, end).await,
        );
        let error = outcome.round_trips.unwrap_err();
        let ExchangeError::Send { sent, .. } = error else {
            panic!("{api}: {error}");
        };
        assert_eq!(sent, outcome.sent, "{api}");
    }
}

#[test]
fn a_byte_that_is_not_the_streams_is_found_in_either_direction() {
    for api in ["packet", "stream", "zerocopy"] {
        for (mode, ring, right_ring) in [
            ("sink", "64K", false),
            ("echo", "64K", false),
            ("echo", "64K", true),
        ] {
            let load = format!("api={api} mode={mode} size=3000 count=2 check=on");
            let server = task(&format!("{load} ring={ring}"));
            let mut options = OfferOptions::from(server.layout);
            if right_ring {
                options.right_ring = vchan_linux::platform::Access::ReadOnly;
            }
            let (outcome, ()) = over_a_channel(
                options,
                async |end| exchange(&server, end).await,
                async |mut end| {
                    let content = Content::default();
                    let mut bytes: Vec<u8> = content.run(0, 6000).into();
                    bytes[4321] ^= 1;
                    end.writer().send(&bytes).await.unwrap();
                    // Until the server has seen enough.
                    while end.reader().read(&mut bytes).await.unwrap() > 0 {}
                },
            );
            let error = outcome.round_trips.unwrap_err().to_string();
            assert!(
                error.starts_with("byte 4321 of the stream"),
                "{api} {mode}: {error}"
            );
        }
        let client = task(&format!(
            "api={api} mode=echo size=3000 count=2 check=on role=client"
        ));
        let ((), outcome) = over_a_channel(
            task("").layout.into(),
            async |mut end| {
                end.writer().send(&[0; 3000]).await.unwrap();
                let mut bytes = [0; 3000];
                while end.reader().read(&mut bytes).await.unwrap() > 0 {}
            },
            async |end| exchange(&client, end).await,
        );
        let error = outcome.round_trips.unwrap_err().to_string();
        assert_eq!(error, "byte 0 of the stream is 0x00 and not 0x7f", "{api}");
    }
}

#[test]
fn a_reader_that_stops_is_given_up_on_and_a_slow_one_is_not() {
    let ((), ()) = over_a_channel(
        task("").layout.into(),
        async |mut end| {
            // More than there ever is: until the client has closed.
            let left = end.reader().peek(1001).await.unwrap();
            assert_eq!(left.slice().len(), 1000);
        },
        async |mut end| {
            end.writer().send(&[1; 1000]).await.unwrap();
            let error = drained(end.writer(), async || ()).await.unwrap_err();
            assert_eq!(
                error,
                "the peer has left 1000 bytes unread for 10 s; closing"
            );
        },
    );

    let place = tempfile::tempdir().unwrap();
    let folder = Folder::at(place.path().join("meet")).unwrap();
    let meeting = || Meeting::new(&folder, "bench").unwrap();
    block_on(async {
        let server = Endpoint::offer(&meeting(), OfferOptions::default()).await;
        let server = RefCell::new(server.unwrap());
        let client = Endpoint::connect(&meeting(), ConnectOptions::default()).await;
        let mut client = client.unwrap();
        client.writer().send(&[1; 1000]).await.unwrap();
        // Whenever patience ends, some more was read.
        let looks = Cell::new(0);
        let patience = async || {
            looks.set(looks.get() + 1);
            let read = server.borrow_mut().try_read(&mut [0; 300]).unwrap();
            assert!(read > Some(0));
        };
        assert_eq!(drained(client.writer(), patience).await, Ok(()));
        assert_eq!(looks.get(), 4);
    });
}

#[test]
fn a_client_that_goes_on_is_told_of_if_anyone_looks() {
    for (check, more, wanted) in [
        (true, 1, Err("more bytes came than were asked for".into())),
        (false, 1, Ok(())),
        (true, 0, Ok(())),
    ] {
        let (outcome, ()) = over_a_channel(
            task("").layout.into(),
            async |mut end| {
                closed(end.reader(), check, async || core::future::pending().await).await
            },
            async |mut end| {
                end.writer().send(&[1; 1][..more]).await.unwrap();
            },
        );
        assert_eq!(outcome, wanted, "{check} {more}");
    }
    // One that keeps the channel open is not waited for.
    let (outcome, ()) = over_a_channel(
        task("").layout.into(),
        async |mut end| closed(end.reader(), true, async || ()).await,
        async |mut end| assert_eq!(end.reader().read(&mut [0]).await, Ok(0)),
    );
    assert_eq!(outcome, Ok(()));
}

/// Both ends, as the programs measure.
fn programs(load: &str, timeout: Duration) -> (Result<String, String>, Result<String, String>) {
    let server = task(&format!("{load} ring=4K"));
    let client = task(&format!("{load} role=client"));
    over_a_channel(
        server.layout.into(),
        async |end| watched(&server, end, timeout).await,
        async |end| watched(&client, end, timeout).await,
    )
}

#[test]
fn the_warm_up_is_not_counted() {
    for api in ["packet", "stream", "zerocopy"] {
        for mode in ["sink", "echo"] {
            for warm_up in [0, 9] {
                let load =
                    format!("api={api} mode={mode} size=700 count=50 warm-up={warm_up} check=on");
                let (server, client) = programs(&load, Duration::from_secs(60));
                let (server, client) = (server.unwrap(), client.unwrap());
                let back = if mode == "echo" { 35_000 } else { 0 };
                let told = |line: &str, sent, received| {
                    line.contains(&format!(
                        "\"bytes_sent\":{sent},\"bytes_received\":{received},\"checked\":true"
                    ))
                };
                assert!(told(&client, 35_000, back), "{load}: {client}");
                assert!(told(&server, back, 35_000), "{load}: {server}");
                assert!(client.contains("\"hypercalls\":null"), "{client}");
            }
        }
    }
}

#[test]
fn an_end_that_does_nothing_is_not_waited_for() {
    let server = task("mode=sink size=100 count=7");
    let (outcome, _end) = over_a_channel(
        server.layout.into(),
        async |end| watched(&server, end, Duration::from_millis(20)).await,
        async |mut end| {
            end.writer().send(&[1; 100]).await.unwrap();
            end
        },
    );
    let error = outcome.unwrap_err();
    assert!(error.starts_with("nothing has moved"), "{error}");
    assert!(error.ends_with("100 received"), "{error}");
}

#[test]
fn nothing_is_measured_before_the_warm_up_is_read() {
    let client = task("role=client size=100 count=7 warm-up=3");
    let (early, outcome) = over_a_channel(
        task("").layout.into(),
        async |mut end| {
            end.reader().peek(300).await.unwrap();
            // All of it has room in the ring.
            let soon = Instant::now() + Duration::from_millis(50);
            let early = vchan_linux::first(
                async {
                    end.reader().peek(301).await.unwrap();
                    true
                },
                async {
                    vchan_linux::sleep_until(soon).await;
                    false
                },
            );
            let early = early.await;
            end.reader().recv(&mut [0; 1000][..300]).await.unwrap();
            end.reader().recv(&mut [0; 700]).await.unwrap();
            early
        },
        async |end| watched(&client, end, Duration::from_secs(60)).await,
    );
    assert!(outcome.is_ok(), "{outcome:?}");
    assert!(!early, "the clock started with the ring half full");
}
