//! `vchan-bench` as an image: from the channel to the line that says how it went.

use alloc::string::{String, ToString};

use stage::params::Peer;
use unikernel::events;
use unikernel::host::named_peer;
use unikernel::rt::Boot;
use unikernel::vchan::Meeting;
use unikernel::xenstore::Client;

use super::parameters::{NAME, Task, VchanBench};
use super::{measure, open};
use crate::run::{self, Domain};

/// Measures, and ends the domain.
pub fn main(boot: Boot) -> ! {
    run::main::<VchanBench, _>(boot, Task::new, async |task, store, _| {
        met(&task, &store).await
    })
}

async fn met(task: &Task, store: &Client) -> Result<String, String> {
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
    let endpoint = open(task, &meeting, &path, peer).await?;
    measure(task, endpoint, &Domain).await
}
