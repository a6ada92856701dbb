//! What goes wrong around a channel: deaths, forged offers, refused calls. Each test ends with nothing left behind.

mod page;

use core::sync::atomic::Ordering;

use page::control_page;
use vchan::conformance::{now, pair, pattern};
use vchan::in_process::{Error, Held, Host, Release, block_on};
use vchan::interface::*;
use vchan::platform::{EventChannel, Rendezvous, SharedMemory};
use vchan::{
    AcceptError, ConnectError, ConnectOptions, Corrupt, Endpoint, OfferError, OfferOptions,
    ReadError, WriteError,
};

fn check(body: impl AsyncFnOnce(&Host)) {
    let host = Host::new();
    block_on(body(&host));
    host.assert_clean();
}

fn options(left: u16, right: u16) -> OfferOptions {
    Layout::new(left, right).unwrap().into()
}

/// Polls `future` until it is done, one heartbeat at a time.
async fn beating<F: Future>(host: &Host, future: F) -> F::Output {
    let mut future = core::pin::pin!(future);
    for _ in 0..10 {
        if let Some(output) = now(future.as_mut()).await {
            return output;
        }
        host.heartbeat();
    }
    panic!("ten heartbeats have not ended the wait");
}

// R12 of FAULTS.md.
#[test]
fn a_silent_death_is_told_from_a_close() {
    check(async |host| {
        let meeting = host.meeting("edge");
        let (server, mut client) = pair(&meeting, &meeting, OfferOptions::default()).await;
        assert_eq!(client.try_write(b"last"), Ok(4));
        host.sever(client.writer().events().port());
        assert!(!server.is_connected());
        let (mut reader, mut writer) = server.split();
        let mut out = [0; 8];
        assert_eq!(reader.read(&mut out).await, Ok(4));
        assert_eq!(
            beating(host, reader.read(&mut out)).await,
            Err(ReadError::PeerDied)
        );
        assert_eq!(reader.try_read(&mut out), Err(ReadError::PeerDied));
        assert_eq!(writer.write(b"x").await, Err(WriteError::PeerDied));
        assert_eq!(writer.drained().await, Ok(()), "nothing was written");
    });
}

// R12 of FAULTS.md.
#[test]
fn a_writer_notices_a_silent_death() {
    check(async |host| {
        let meeting = host.meeting("edge");
        let (server, mut client) = pair(&meeting, &meeting, OfferOptions::default()).await;
        host.sever(client.writer().events().port());
        let (_reader, mut writer) = server.split();
        assert_eq!(writer.write(&pattern(0, 2048)).await, Ok(2048));
        assert_eq!(
            beating(host, writer.write(b"x")).await,
            Err(WriteError::PeerDied)
        );
        assert_eq!(writer.drained().await, Err(WriteError::PeerDied));
        assert_eq!(writer.unread(), 2048);
    });
}

// R12 of FAULTS.md.
#[test]
fn a_client_notices_the_silent_death_of_its_server() {
    check(async |host| {
        let meeting = host.meeting("edge");
        let (mut server, mut client) = pair(&meeting, &meeting, OfferOptions::default()).await;
        assert_eq!(server.try_write(b"last"), Ok(4));
        host.sever(server.reader().events().port());
        let mut out = [0; 8];
        assert_eq!(client.reader().read(&mut out).await, Ok(4));
        let read = beating(host, client.reader().read(&mut out)).await;
        assert_eq!(read, Err(ReadError::PeerDied));
    });
}

#[test]
fn a_close_whose_event_got_lost_is_a_close() {
    check(async |host| {
        let meeting = host.meeting("edge");
        let (mut server, mut client) = pair(&meeting, &meeting, OfferOptions::default()).await;
        host.sever(client.writer().events().port());
        drop(client);
        let read = beating(host, server.reader().read(&mut [0; 4])).await;
        assert_eq!(read, Ok(0), "the live byte has the last word");
    });
}

// R17 of FAULTS.md.
#[test]
fn heartbeats_alone_end_nothing() {
    check(async |host| {
        let meeting = host.meeting("edge");
        let server = Endpoint::offer(&meeting, OfferOptions::default())
            .await
            .unwrap();
        let mut wait = core::pin::pin!(server.connected());
        for _ in 0..5 {
            assert!(now(wait.as_mut()).await.is_none());
            host.heartbeat();
        }
        let mut client = Endpoint::connect(&meeting, ConnectOptions::default())
            .await
            .unwrap();
        assert_eq!(wait.await, Ok(()));
        let mut out = [0; 4];
        let mut read = core::pin::pin!(client.reader().read(&mut out));
        for _ in 0..5 {
            assert!(now(read.as_mut()).await.is_none());
            host.heartbeat();
        }
    });
}

#[test]
fn a_broken_index_breaks_the_channel_for_good() {
    // As the server: its client's left.prod and right.cons.
    for (offset, field) in [(LEFT_PROD, Field::LeftProd), (RIGHT_CONS, Field::RightCons)] {
        check(async |host| {
            let meeting = host.meeting("edge");
            let (server, _client) = pair(&meeting, &meeting, OfferOptions::default()).await;
            let page = control_page(host);
            let (mut reader, mut writer) = server.split();
            let stats = reader.stats();
            page.store_u32(offset, 0x8000_0000, Ordering::Release);
            let blame = Corrupt {
                field,
                claimed: 0x8000_0000,
            };
            let mut out = [0xee; 16];
            match field {
                Field::LeftProd => {
                    assert_eq!(
                        reader.try_read(&mut out),
                        Err(ReadError::PeerCorrupt(blame))
                    );
                }
                _ => {
                    let full = writer.try_write(&pattern(0, 4096));
                    assert_eq!(full, Err(WriteError::PeerCorrupt(blame)));
                }
            }
            assert_eq!(out, [0xee; 16], "nothing was copied");
            assert_eq!(
                stats.counters().bytes_read + stats.counters().bytes_written,
                0
            );
            assert_eq!(
                page.load_u8(SRV_LIVE, Ordering::Acquire),
                LIVE_CLOSED,
                "the peer was told"
            );
            // Repaired or not, the channel stays broken, and both halves know why.
            page.store_u32(offset, 0, Ordering::Release);
            assert_eq!(
                reader.read(&mut out).await,
                Err(ReadError::PeerCorrupt(blame))
            );
            assert_eq!(
                writer.write(b"x").await,
                Err(WriteError::PeerCorrupt(blame))
            );
            assert_eq!(writer.drained().await, Err(WriteError::PeerCorrupt(blame)));
            assert!(!reader.is_connected());
        });
    }
}

#[test]
fn a_waiting_server_refuses_a_live_byte_without_meaning() {
    check(async |host| {
        let meeting = host.meeting("edge");
        let server = Endpoint::offer(&meeting, OfferOptions::default())
            .await
            .unwrap();
        control_page(host).store_u8(CLI_LIVE, 77, Ordering::Release);
        let blame = Corrupt {
            field: Field::CliLive,
            claimed: 77,
        };
        assert_eq!(
            server.connected().await,
            Err(AcceptError::PeerCorrupt(blame))
        );
    });
}

// R3 of FAULTS.md.
/// A server's orders and grants are copied at connecting; what it makes of them afterwards is nothing to us.
#[test]
fn later_changes_of_the_offer_have_no_effect() {
    check(async |host| {
        let meeting = host.meeting("edge");
        let (mut server, mut client) = pair(&meeting, &meeting, options(12, 11)).await;
        let page = control_page(host);
        page.store_u16(LEFT_ORDER, 0xffff, Ordering::Release);
        page.store_u16(RIGHT_ORDER, 0, Ordering::Release);
        page.store_u32(GRANTS, 0, Ordering::Release);
        let data = pattern(3, 4096);
        assert_eq!(client.try_write(&data), Ok(4096));
        let mut out = vec![0; 4096];
        assert_eq!(server.try_read(&mut out), Ok(Some(4096)));
        assert_eq!(out, data);
    });
}

// R6 of FAULTS.md.
#[test]
fn the_control_page_is_no_ring() {
    let host = Host::new();
    let ring_ref = {
        let meeting = host.meeting("edge");
        let server = block_on(Endpoint::offer(&meeting, options(12, 11))).unwrap();
        let keys = block_on(meeting.keys()).unwrap();
        let ring_ref = vchan::keys::parse(&keys.ring_ref).unwrap();
        control_page(&host).store_u32(GRANTS, ring_ref, Ordering::Release);
        let error = block_on(Endpoint::connect(&meeting, ConnectOptions::default())).err();
        drop(server);
        assert!(matches!(error, Some(ConnectError::PeerGrants(grant)) if grant == ring_ref));
        ring_ref
    };
    assert!(ring_ref > 0);
    host.assert_clean();
}

// R29 of FAULTS.md.
#[test]
fn a_used_channel_is_adopted_where_it_stands() {
    check(async |host| {
        let meeting = host.meeting("edge");
        let (server, mut first) = pair(&meeting, &meeting, OfferOptions::default()).await;
        assert_eq!(first.try_write(b"old"), Ok(3));
        // The first client dies so that its server does not notice.
        host.sever(first.writer().events().port());
        let refused = Endpoint::connect(&meeting, ConnectOptions::default()).await;
        assert!(matches!(refused, Err(ConnectError::Used(1))));
        let mut second = Endpoint::connect(&meeting, ConnectOptions { accept_used: true })
            .await
            .unwrap();
        assert_eq!(second.writer().unread(), 3);
        assert_eq!(second.try_write(b"new"), Ok(3));
        let (mut reader, _writer) = server.split();
        let mut out = [0; 8];
        assert_eq!(reader.read(&mut out).await, Ok(6));
        assert_eq!(&out[..6], b"oldnew");
        drop((second, first));
    });
}

#[test]
fn every_refused_call_of_a_server_unwinds() {
    // Port, two rings, control page, publication.
    for call in 0..5 {
        let host = Host::new();
        host.fail_call(call);
        let offered = block_on(Endpoint::offer(&host.meeting("edge"), options(13, 12)));
        assert!(matches!(
            (call, offered.err()),
            (0, Some(OfferError::Port(Error::Told)))
                | (1..=3, Some(OfferError::Share(Error::Told)))
                | (4, Some(OfferError::Publish(Error::Told)))
        ));
        host.assert_clean();
    }
}

// R6 of FAULTS.md.
#[test]
fn every_refused_call_of_a_client_unwinds() {
    // Keys, port, control page, two rings.
    for call in 0..5 {
        check(async |host| {
            let meeting = host.meeting("edge");
            let server = Endpoint::offer(&meeting, options(13, 12)).await.unwrap();
            let before = host.held();
            host.fail_call(call);
            let joined = Endpoint::connect(&meeting, ConnectOptions::default()).await;
            assert!(matches!(
                (call, joined.err()),
                (0, Some(ConnectError::Keys(Error::Told)))
                    | (1, Some(ConnectError::Bind(Error::Told)))
                    | (2, Some(ConnectError::MapControl(Error::Told)))
                    | (3..=4, Some(ConnectError::MapRing(Error::Told)))
            ));
            assert_eq!(host.held(), before, "the client has kept something");
            // The server has noticed nothing: the next client is welcome.
            let client = Endpoint::connect(&meeting, ConnectOptions::default()).await;
            assert!(client.unwrap().is_connected());
            drop(server);
        });
    }
}

// R21 of FAULTS.md.
#[test]
fn a_released_page_that_is_still_mapped_stays_readable() {
    check(async |host| {
        let meeting = host.meeting("edge");
        let (mut server, mut client) = pair(&meeting, &meeting, options(12, 12)).await;
        assert_eq!(server.try_write(b"after the end"), Ok(13));
        drop(server);
        let held = Held {
            mappings: 3,
            ports: 1,
            ..Held::default()
        };
        assert_eq!(host.held(), held);
        let mut out = [0; 16];
        assert_eq!(client.reader().read(&mut out).await, Ok(13));
        assert_eq!(client.reader().read(&mut out).await, Ok(0));
    });
}

#[test]
fn pages_go_before_the_port_and_the_keys_go_last() {
    use Release::{Grants, Keys, Mappings, Port};
    check(async |host| {
        let meeting = host.meeting("edge");
        let (server, client) = pair(&meeting, &meeting, options(14, 13)).await;
        drop(server);
        let of_server = [Grants(4), Grants(2), Grants(1), Port, Keys];
        assert_eq!(host.releases(), of_server);
        drop(client);
        assert_eq!(
            host.releases()[5..],
            [Mappings(2), Mappings(4), Mappings(1), Port]
        );
    });
}

// R25, R26 of FAULTS.md.
#[test]
fn threads_of_their_own_lose_nothing() {
    for (left, right) in [(10, 11), (12, 12)] {
        let host = Host::new();
        let meeting = host.meeting("edge");
        let (server, client) = block_on(pair(&meeting, &meeting, options(left, right)));
        let data = pattern(0, 300_000);
        std::thread::scope(|scope| {
            for (end, name) in [(server, "server"), (client, "client")] {
                let (mut reader, mut writer) = end.split();
                let data = &data;
                scope.spawn(move || {
                    let mut left = &data[..];
                    while !left.is_empty() {
                        let step = left.len().min(1 + left.len() % 701);
                        let written = block_on(writer.write(&left[..step])).unwrap();
                        left = &left[written..];
                    }
                    block_on(writer.drained()).unwrap_or_else(|error| panic!("{name}: {error}"));
                });
                scope.spawn(move || {
                    let mut got = vec![0; data.len()];
                    let mut at = 0;
                    while at < got.len() {
                        let end = got.len().min(at + 1 + at % 997);
                        at += block_on(reader.read(&mut got[at..end])).unwrap();
                    }
                    assert!(got == *data, "{name} read something else");
                });
            }
        });
        host.assert_clean();
    }
}
