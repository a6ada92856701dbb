//! vchan's checks of a platform, with both ends in this domain, and what is left afterwards.

use alloc::format;
use alloc::string::{String, ToString};

use unikernel::grants::release_quarantined;
use unikernel::memory::heap_stats;
use unikernel::vchan::{Meeting, conformance};

use crate::Report;
use crate::channel::domain;

/// Where the ends meet.
const EDGE: &str = "suite";

/// Runs them twice, since lists that only grow have grown the first time, and stays, to be looked at.
pub async fn run(report: &Report) -> Result<(), String> {
    let text = |error: unikernel::xenstore::Error| error.to_string();
    let store = report.store();
    let own = store.read("domid").await.map_err(text)?;
    let own = domain(&own).ok_or("the domain's own id is no number")?;
    let server = Meeting::as_server(store, own, own, EDGE);
    let client = Meeting::as_client(store, own, own, EDGE);
    let mut used = [0; 2];
    let mut checks = 0;
    for used in &mut used {
        conformance::all(&server, &client, |name| {
            log::info!("{name}");
            checks += 1;
        })
        .await;
        // Behind whatever the store has still been told.
        store.read("domid").await.map_err(text)?;
        let kept = release_quarantined();
        if kept > 0 {
            return Err(format!("{kept} pages are still mapped"));
        }
        *used = heap_stats().used;
    }
    let [first, second] = used;
    if first != second {
        return Err(format!("{first} bytes of heap, then {second}"));
    }
    report
        .say("conformance", format!("{checks} checks passed"))
        .await;
    core::future::pending().await
}
