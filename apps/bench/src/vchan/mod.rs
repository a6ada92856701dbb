//! `vchan-bench`: both roles, from the channel to the line that says how it went.

mod ending;
mod exchange;
pub mod parameters;
#[cfg(test)]
mod tests;

use alloc::format;
use alloc::string::{String, ToString};

use stage::params::Peer;
use unikernel::host::named_peer;
use unikernel::rt::Boot;
use unikernel::vchan::platform::Access;
use unikernel::vchan::{ConnectOptions, Endpoint, Meeting, OfferOptions, Policy};
use unikernel::xenstore::Client;
use unikernel::{events, time};

use self::ending::{PATIENCE, closed, drained};
use self::exchange::Exchange;
use self::parameters::{Api, NAME, Task, WIRE};
use crate::content::Content;
use crate::parameters::Role;
use crate::report::{Channel, Report};
use crate::run::{self, Meter};

pub use self::parameters::VchanBench;

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
    let patience = async || time::sleep_until(time::now() + PATIENCE).await;
    endpoint.set_policy(Policy::Batched);
    let (mut reader, mut writer) = endpoint.split();
    let content = Content::default();
    let mut exchange = Exchange::new(task, &content, &mut reader, &mut writer)?;
    if load.role == Role::Server {
        // The time before the first message is the client's.
        exchange.begun().await.map_err(|error| error.to_string())?;
    }
    let meter = Meter::start(events());
    let round_trips = exchange
        .run(time::now)
        .await
        .map_err(|error| error.to_string())?;
    drained(&mut writer, patience).await?;
    let spent = meter.stop(events());
    if load.role == Role::Server {
        closed(&mut reader, load.check, patience).await?;
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
