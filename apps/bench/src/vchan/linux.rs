//! `vchan-bench` as a program on Linux, in dom0 or a guest: from the channel to the line that says how it went.

use alloc::format;
use alloc::string::{String, ToString};
use core::cell::Cell;
use core::pin::pin;
use core::time::Duration;
use std::process::ExitCode;

use ::vchan::Endpoint;
use ::vchan::platform::Rendezvous;
use stage::Plan;
use stage::params::{MAX_DOMAIN, Peer};
use stage::runner::first;
use vchan_linux::block_on;
use vchan_linux::xen::Meeting;
use vchan_linux::xenstore::{Connection, Tx};

use super::parameters::{NAME, Task, VchanBench};
use super::{measure, open};
use crate::machine::Machine as _;
use crate::parameters;
use crate::program::{self, Process};

const TEACHES: &str = "\
Measures vchan between two domains, over Xen's devices and xenstore: start one end with
role=server, the other with role=client, both with the same mode=, size=, count=, warm-up= and
api=. Either end may be the image vchan-bench, or a program over libxenvchan.

  sink: the client sends COUNT messages of SIZE bytes; its clock stops when all are read
  echo: each message is sent back before the next is sent

In domain 3 and domain 4, whose numbers xl list tells:

  vchan-bench role=server peer=4 mode=echo size=64 count=10000 warm-up=100 check=on
  vchan-bench role=client peer=3 mode=echo size=64 count=10000 warm-up=100 check=on

It needs /dev/xen/{evtchn,gntalloc,gntdev,xenbus}: modprobe xen-evtchn xen-gntalloc xen-gntdev
";

/// Measures: what `main` of the program is.
pub fn main() -> ExitCode {
    program::main::<VchanBench, _>(TEACHES, read, |(task, timeout)| {
        block_on(met(&task, timeout))
    })
}

fn read(plan: &Plan<'_>) -> Result<(Task, Duration), String> {
    Ok((Task::new(plan)?, parameters::timeout(plan)?))
}

async fn met(task: &Task, timeout: Duration) -> Result<String, String> {
    let mut store = Connection::open().map_err(|error| error.to_string())?;
    let own = store.read(Tx::NONE, "domid");
    let own = number(&own.map_err(|error| error.to_string())?)
        .ok_or("xenstore tells no number of this domain")?;
    let peer = match task.peer {
        Peer::Domain(id) => id,
        Peer::Ask => {
            log::info!("waiting for dom0 to name the peer in grantflow/peer/{NAME}");
            within(timeout, "dom0 has named no peer", named_peer(&mut store)).await?
        }
    };
    let path = task.meeting_place(own, peer)?;
    let meeting = Meeting::new(peer, &path).map_err(|error| format!("path={path}: {error}"))?;
    let opened = open(task, &meeting, &path, peer);
    let endpoint = within(timeout, "nobody has come to the other end", opened).await?;
    watched(task, endpoint, timeout).await
}

/// Measures as long as bytes move.
pub(super) async fn watched<R: Rendezvous>(
    task: &Task,
    endpoint: Endpoint<R>,
    timeout: Duration,
) -> Result<String, String> {
    let machine = Process::start();
    let stats = endpoint.stats();
    let moved = || {
        let counters = stats.counters();
        (counters.bytes_written, counters.bytes_read)
    };
    let last = Cell::new(None);
    let silence = async {
        while last.replace(Some(moved())) != Some(moved()) {
            machine.sleep(timeout).await;
        }
    };
    let outcome = first(pin!(measure(task, endpoint, &machine)), pin!(silence)).await;
    outcome.unwrap_or_else(|| {
        let (sent, received) = moved();
        Err(format!(
            "nothing has moved for {} s (timeout=), after {sent} bytes sent and {received} received",
            timeout.as_secs()
        ))
    })
}

async fn within<T>(
    timeout: Duration,
    otherwise: &str,
    work: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    let outcome = first(pin!(work), pin!(Process::start().sleep(timeout))).await;
    outcome.unwrap_or_else(|| {
        let seconds = timeout.as_secs();
        Err(format!("{otherwise} within {seconds} s (timeout=)"))
    })
}

/// The domain that dom0 has named, once it has.
async fn named_peer(store: &mut Connection) -> Result<u16, String> {
    let path = format!("grantflow/peer/{NAME}");
    store.watch(&path).map_err(|error| error.to_string())?;
    loop {
        store.changed().await.map_err(|error| error.to_string())?;
        match store.read(Tx::NONE, &path) {
            // `DOMID GENERATION`
            Ok(value) => {
                let first = value.split(|byte| *byte == b' ').next();
                if let Some(id) = first.and_then(number).filter(|id| *id <= MAX_DOMAIN) {
                    return Ok(id);
                }
            }
            Err(error) if error.is("ENOENT") || error.is("EACCES") => {}
            Err(error) => return Err(error.to_string()),
        }
    }
}

fn number(text: &[u8]) -> Option<u16> {
    str::from_utf8(text).ok()?.parse().ok()
}
