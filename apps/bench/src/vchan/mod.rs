//! `vchan-bench`: both roles, from the channel to the line that says how it went.
//!
//! What is measured is the same everywhere; an image meets its peer by `unikernel::vchan`, a program on Linux by
//! `vchan_linux::xen`.

mod ending;
mod exchange;
#[cfg(xen_guest)]
mod image;
#[cfg(not(xen_guest))]
mod linux;
pub mod parameters;
#[cfg(test)]
mod tests;

#[cfg(xen_guest)]
pub use self::image::main;
#[cfg(not(xen_guest))]
pub use self::linux::main;
pub use self::parameters::VchanBench;

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;

use ::vchan::platform::{Access, Rendezvous};
use ::vchan::{ConnectOptions, Endpoint, OfferOptions, Policy};

use self::ending::{PATIENCE, closed};
use self::exchange::Exchange;
use self::parameters::{Api, Task, WIRE};
use crate::content::Content;
use crate::machine::{Machine, Meter};
use crate::parameters::Role;
use crate::report::{Channel, Report, Way};

/// Makes the channel, waiting for the other end as long as it takes; `path` and `peer` are for those who read about it.
async fn open<R>(task: &Task, meeting: &R, path: &str, peer: u16) -> Result<Endpoint<R>, String>
where
    R: Rendezvous<Error: fmt::Display>,
{
    let endpoint = match task.load.role {
        Role::Server => {
            let mut options = OfferOptions::from(task.layout);
            if task.api == Api::ZeroCopy {
                // What is sent back is then made in the ring by a single copy.
                options.right_ring = Access::ReadOnly;
            }
            let endpoint = Endpoint::offer(meeting, options).await;
            let endpoint = endpoint.map_err(|error| format!("{path}: {error}"))?;
            log::info!("offering {path} to domain {peer}");
            endpoint.connected().await.map_err(|e| e.to_string())?;
            endpoint
        }
        Role::Client => {
            log::info!("waiting for {path} of domain {peer}");
            let endpoint = Endpoint::connect(meeting, ConnectOptions::default()).await;
            endpoint.map_err(|error| format!("{path}: {error}"))?
        }
    };
    task.fits(endpoint.layout())?;
    log::info!("connected");
    Ok(endpoint)
}

/// The warm-up, and then what is measured.
async fn measure<R: Rendezvous>(
    task: &Task,
    mut endpoint: Endpoint<R>,
    machine: &impl Machine,
) -> Result<String, String> {
    let (load, layout, stats) = (task.load, endpoint.layout(), endpoint.stats());
    let events = || {
        let counters = stats.counters();
        Some((counters.events_sent, counters.events_received))
    };
    let bytes = || {
        let counters = stats.counters();
        (counters.bytes_written, counters.bytes_read)
    };
    let patience = async || machine.sleep(PATIENCE).await;
    let now = || machine.now();
    endpoint.set_policy(Policy::Batched);
    let (mut reader, mut writer) = endpoint.split();
    let content = Content::default();
    let mut exchange = Exchange::new(task, &content, &mut reader, &mut writer)?;
    if load.warm_up > 0 {
        let warmed = exchange.run(load.warm_up, now).await;
        warmed.map_err(|error| error.to_string())?;
        exchange.drained(patience).await?;
    }
    if load.role == Role::Server {
        // The time before the first message is the client's.
        exchange.begun().await.map_err(|error| error.to_string())?;
    }
    let before = bytes();
    let start = Meter::look(machine, events());
    let round_trips = exchange
        .run(load.count, now)
        .await
        .map_err(|error| error.to_string())?;
    exchange.drained(patience).await?;
    let spent = start.until(Meter::look(machine, events()));
    let after = bytes();
    if load.role == Role::Server {
        closed(&mut reader, load.check, patience).await?;
    }
    writer.close();
    let report = Report {
        load,
        spent,
        round_trips: round_trips.as_ref(),
        way: Way::Vchan(Channel {
            api: task.api.word(),
            wire: WIRE,
            left_ring: layout.left_size(),
            right_ring: layout.right_size(),
        }),
        bytes: (after.0 - before.0, after.1 - before.1),
    };
    Ok(report.to_string())
}
