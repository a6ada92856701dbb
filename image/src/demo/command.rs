//! The command `grantflow demo`.

use super::args::{Args, Target};
use super::{in_lab, on_xen};
use crate::failure::Failure;
use crate::output;
use crate::progress::Progress;

/// Runs the demo; `json` asks for one JSON document on standard output.
pub fn run(args: &Args, json: bool) -> Result<(), Failure> {
    let progress = Progress::new();
    let plan = args.check().map_err(Failure::input)?;
    let report = match args.target {
        Target::Lab => in_lab::run(&plan, &progress)?,
        Target::Xen => on_xen::run(&plan, &progress)?,
    };
    if json {
        output::line(serde_json::to_string_pretty(&report)?)?;
    } else {
        output::line(&report)?;
    }
    if report.passed {
        return Ok(());
    }
    let balance = if report.imbalances.is_empty() {
        ""
    } else {
        "; the balance of readings is broken"
    };
    Err(Failure::failed(format!(
        "{} of {} windows are right{balance}",
        report.verified, report.windows
    )))
}
