//! The console that nobody reads.

use alloc::format;
use alloc::string::{String, ToString};

use unikernel::console;
use unikernel::stage::Plan;

use crate::Report;

/// Logs `count=` lines at once, says how many were dropped, waits for room for one line more, and logs a last one.
pub async fn flood(plan: &Plan<'_>, report: &Report) -> Result<(), String> {
    let count: u64 = plan
        .params
        .require("count")
        .map_err(|error| error.to_string())?;
    for number in 1..=count {
        log::info!("line {number} of {count}");
    }
    report.publish("dropped", console::dropped_lines()).await;
    report.publish("state", "waiting").await;
    // Longer than a log line: there may be room for a shorter one.
    console::write_line(&format!("result {count} {:=<200}", "")).await;
    log::info!("after the result");
    report.publish("state", "written").await;
    Ok(())
}
