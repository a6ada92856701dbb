//! `vchan-bench`: both roles, from the channel to the line that says how it went.

mod exchange;
pub mod parameters;

use alloc::format;
use alloc::string::{String, ToString};
use core::pin::pin;
use core::time::Duration;

use stage::params::Peer;
use stage::runner::first;
use unikernel::host::named_peer;
use unikernel::rt::Boot;
use unikernel::vchan::platform::Access;
use unikernel::vchan::{ConnectOptions, Endpoint, Meeting, OfferOptions, Policy, Reader, Writer};
use unikernel::xenstore::Client;
use unikernel::{events, time};

use self::exchange::Exchange;
use self::parameters::{Api, NAME, Task, WIRE};
use crate::content::Content;
use crate::parameters::Role;
use crate::report::{Channel, Report};
use crate::run::{self, Meter};

pub use self::parameters::VchanBench;

/// How long a peer may leave what we wrote unread without taking any of it, and a client that has sent everything may keep the
/// channel open.
const PATIENCE: Duration = Duration::from_secs(10);

/// Measures, and ends the domain.
pub fn main(boot: Boot) -> ! {
    run::main::<VchanBench, _>(boot, Task::new, async |task, store, _| {
        let endpoint = open(&task, &store).await?;
        measure(&task, endpoint).await
    })
}

/// Makes the channel, waiting for the other end as long as it takes.
async fn open(task: &Task, store: &Client) -> Result<Endpoint<Meeting>, String> {
    let own = events::own_domain().map_err(|error| error.to_string())?;
    let peer = match task.peer {
        Peer::Domain(id) => id,
        Peer::Ask => {
            log::info!("waiting for dom0 to name the peer in grantflow/peer/{NAME}");
            let named = named_peer(store, NAME).await;
            named.map_err(|error| error.to_string())?
        }
    };
    let path = task.meeting_place(own, peer)?;
    let meeting = Meeting::at(store, own, peer, &*path);
    let endpoint = match task.load.role {
        Role::Server => {
            let mut options = OfferOptions::from(task.layout);
            if task.api == Api::ZeroCopy {
                // What is sent back is then made in the ring by a single copy.
                options.right_ring = Access::ReadOnly;
            }
            let endpoint = Endpoint::offer(&meeting, options).await;
            let endpoint = endpoint.map_err(|error| format!("{path}: {error}"))?;
            log::info!("offering {path} to domain {peer}");
            endpoint.connected().await.map_err(|e| e.to_string())?;
            endpoint
        }
        Role::Client => {
            log::info!("waiting for {path} of domain {peer}");
            let endpoint = Endpoint::connect(&meeting, ConnectOptions::default()).await;
            endpoint.map_err(|error| format!("{path}: {error}"))?
        }
    };
    task.fits(endpoint.layout())?;
    log::info!("connected");
    Ok(endpoint)
}

async fn measure(task: &Task, mut endpoint: Endpoint<Meeting>) -> Result<String, String> {
    let (load, layout, stats) = (task.load, endpoint.layout(), endpoint.stats());
    let events = || {
        let counters = stats.counters();
        (counters.events_sent, counters.events_received)
    };
    endpoint.set_policy(Policy::Batched);
    let (mut reader, mut writer) = endpoint.split();
    let content = Content::default();
    let mut exchange = Exchange::new(task, &content, &mut reader, &mut writer)?;
    if load.role == Role::Server {
        // The time before the first message is the client's.
        exchange.begun().await.map_err(|error| error.to_string())?;
    }
    let meter = Meter::start(events());
    let round_trips = exchange.run().await.map_err(|error| error.to_string())?;
    drained(&mut writer).await?;
    let spent = meter.stop(events());
    if load.role == Role::Server {
        closed(&mut reader, load.check).await?;
    }
    writer.close();
    let counters = stats.counters();
    let report = Report {
        size: load.size,
        count: load.count,
        spent,
        round_trips: round_trips.as_ref(),
        channel: Some(Channel {
            role: match load.role {
                Role::Server => "server",
                Role::Client => "client",
            },
            api: task.api.word(),
            wire: WIRE,
            left_ring: layout.left_size(),
            right_ring: layout.right_size(),
            bytes_sent: counters.bytes_written,
            bytes_received: counters.bytes_read,
            checked: load.check,
        }),
    };
    Ok(report.to_string())
}

/// Waits until the peer has read everything.
async fn drained(writer: &mut Writer<Meeting>) -> Result<(), String> {
    loop {
        let before = writer.unread();
        let patience = time::sleep_until(time::now() + PATIENCE);
        let outcome = first(pin!(writer.drained()), pin!(patience)).await;
        match outcome {
            Some(Ok(())) => return Ok(()),
            Some(Err(error)) => return Err(format!("{} bytes unread: {error}", writer.unread())),
            None if writer.unread() < before => {}
            None => {
                return Err(format!(
                    "the peer has left {} bytes unread for {} s; closing",
                    writer.unread(),
                    PATIENCE.as_secs()
                ));
            }
        }
    }
}

/// Waits until the client, which is first to know that all is done, has closed the channel.
async fn closed(reader: &mut Reader<Meeting>, check: bool) -> Result<(), String> {
    let patience = time::sleep_until(time::now() + PATIENCE);
    match first(pin!(reader.peek(1)), pin!(patience)).await {
        Some(Ok(more)) if check && !more.slice().is_empty() => {
            Err("more bytes came than were asked for".into())
        }
        Some(Ok(_)) => Ok(()),
        // Everything has come before.
        Some(Err(error)) => {
            log::warn!("after the last message: {error}");
            Ok(())
        }
        None => {
            log::warn!(
                "the client has not closed the channel {} s after its last message; closing",
                PATIENCE.as_secs()
            );
            Ok(())
        }
    }
}
