//! One peer after the other, whatever each of them does, and what came of it.

use alloc::format;
use alloc::string::{String, ToString};
use core::time::Duration;

use unikernel::grants::{quarantined_ever, release_quarantined};
use unikernel::memory::machine;
use unikernel::stage::{Direction, Edge, Peer, Plan};
use unikernel::time;
use unikernel::vchan::{
    ConnectOptions, Endpoint, LateError, Layout, Meeting, OfferOptions, violations,
};
use unikernel::xenstore::{Client, Errno, Error, Listening};

use crate::Report;
use crate::channel::domain;

/// How long a peer may say nothing before that is counted.
const SILENCE: Duration = Duration::from_millis(100);

/// How long a peer has for letting go of pages before it is said that it keeps them.
const LET_GO: Duration = Duration::from_secs(5);

/// Meets the peers that dom0 names for the first edge, each with a generation of its own, until the domain is destroyed; says
/// what came of each under `victim/GENERATION`. What is written on the way is one byte after each silence.
pub async fn meet_all(plan: &Plan<'_>, report: &Report) -> Result<(), String> {
    let edge = plan.inputs.iter().chain(&plan.outputs).next();
    let edge = edge.ok_or("an edge is missing")?;
    let Peer::Ask = edge.peer else {
        return Err("the edge's peer must be `?`".to_string());
    };
    let own = report.store().read("domid").await.map_err(text)?;
    let own = domain(&own).ok_or("the domain's own id is no number")?;
    let path = format!("grantflow/peer/{}", edge.name);
    let mut named = Listening::from(report.store().watch(&path));
    let mut last = String::new();
    loop {
        let value = match report.store().read(&path).await {
            Ok(value) => String::from_utf8_lossy(&value).into_owned(),
            Err(Error::Store(Errno::ENOENT | Errno::EACCES)) => last.clone(),
            Err(error) => return Err(text(error)),
        };
        if value == last {
            named.changed().await.map_err(text)?;
            continue;
        }
        last = value;
        let (peer, generation) = last.split_once(' ').ok_or("no generation")?;
        let peer = domain(peer.as_bytes()).ok_or("no domain")?;
        let before = violations();
        let outcome = meet(report.store(), edge, own, peer).await;
        let kept = release_quarantined();
        let left = let_go().await;
        let said = format!(
            "{outcome}; violations {}; kept {kept} pages, then {left}, {} times so far; free {}",
            violations() - before,
            quarantined_ever(),
            machine().free_frames(),
        );
        report.say(&format!("victim/{generation}"), said).await;
    }
}

/// Gives the peer some time to let go of pages that it still maps: a client in good order says goodbye first. How many it keeps.
async fn let_go() -> usize {
    for _ in 0..100 {
        if release_quarantined() == 0 {
            return 0;
        }
        time::sleep_until(time::now() + LET_GO / 100).await;
    }
    release_quarantined()
}

fn text(error: impl core::fmt::Display) -> String {
    error.to_string()
}

async fn meet(store: &Client, edge: &Edge, own: u16, peer: u16) -> String {
    let name = edge.name.as_str();
    let opened = match edge.direction {
        Direction::In => {
            let meeting = Meeting::as_server(store, own, peer, name);
            let layout = Layout::for_sizes(edge.ring as usize, edge.ring as usize);
            let offered = match layout {
                Ok(layout) => Endpoint::offer(&meeting, OfferOptions::from(layout)).await,
                Err(error) => return text(error),
            };
            match offered {
                Ok(endpoint) => endpoint.connected().await.map(|()| endpoint).map_err(text),
                Err(error) => Err(text(error)),
            }
        }
        Direction::Out => {
            let meeting = Meeting::as_client(store, own, peer, name);
            let joined = Endpoint::connect(&meeting, ConnectOptions::default()).await;
            joined.map_err(text)
        }
    };
    match opened {
        Ok(endpoint) => read_on(endpoint).await,
        Err(said) => said,
    }
}

/// Reads to the end, whatever that is.
async fn read_on(mut endpoint: Endpoint<Meeting>) -> String {
    let mut piece = [0; 4096];
    let (mut bytes, mut silences) = (0_u64, 0_u32);
    let said = loop {
        let deadline = time::sleep_until(time::now() + SILENCE);
        match endpoint.reader().read_before(&mut piece, deadline).await {
            Ok(0) => break "closed".to_string(),
            Ok(count) => bytes += count as u64,
            Err(LateError::PeerStale(_)) => silences += 1,
            Err(LateError::Failed(error)) => break text(error),
        }
        if silences > 0
            && let Err(error) = endpoint.try_write(&piece)
        {
            break text(error);
        }
    };
    let counters = endpoint.stats().counters();
    let stale = if silences > 0 {
        ", stale meanwhile"
    } else {
        ""
    };
    format!(
        "{said}; read {bytes}{stale}; endpoint's violations {}",
        counters.violations
    )
}
