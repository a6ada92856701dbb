//! The demo in the lab: the same program, run in the dom0 of a Xen that is booted for it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::args::Plan;
use crate::failure::Failure;
use crate::lab::{self, Job};
use crate::progress::Progress;

/// What the lab's machine gets, boot and shutdown included, beyond what the pipeline may take.
const BOOT_AND_END: Duration = Duration::from_secs(180);

/// Runs the demo in the lab and passes its output on as it comes.
pub fn run(plan: &Plan, json: bool, progress: &Progress) -> Result<(), Failure> {
    let job = job(plan, json)?;
    let results = tempfile::Builder::new()
        .prefix("grantflow-demo-")
        .tempdir()?;
    let outcome =
        lab::run(&job, results.path(), progress, &mut lab::pass_on).map_err(Failure::failed)?;
    progress.say(format_args!(
        "the lab's machine ran for {:.0} s",
        outcome.total.as_secs_f64()
    ));
    match outcome.status {
        0 => Ok(()),
        2 => Err(Failure::input(
            "the demo in the lab refused its input; see above",
        )),
        status => Err(Failure::failed(format!(
            "the demo in the lab failed with status {status}; see above"
        ))),
    }
}

/// This program, the images and the recordings, and the command line that runs them in dom0.
fn job(plan: &Plan, json: bool) -> Result<Job, Failure> {
    let mut job = Job::new(&script(&plan.recordings.window, plan.timeout, json));
    job.timeout = plan.timeout + BOOT_AND_END;
    job.program("grantflow", &std::env::current_exe()?)
        .map_err(Failure::failed)?;
    job.file("water-flow.csv", &plan.recordings.flow)
        .map_err(Failure::failed)?;
    job.file("weather.csv", &plan.recordings.weather)
        .map_err(Failure::failed)?;
    let images: BTreeMap<&str, PathBuf> = plan
        .pipeline
        .stages
        .iter()
        .map(|stage| (stage.image, stage.kernel(&plan.images)))
        .collect();
    for (name, image) in images {
        job.file(&format!("images/{name}.elf"), &image)
            .map_err(Failure::failed)?;
    }
    Ok(job)
}

/// The window was read as a length of time before, so it has no character that a shell would act on.
fn script(window: &str, timeout: Duration, json: bool) -> String {
    let json = if json { " --json" } else { "" };
    let seconds = timeout.as_secs();
    format!(
        "#!/bin/bash
exec ./grantflow demo --target xen --images images --flow water-flow.csv --weather weather.csv \\
  --window {window} --timeout {seconds}{json}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_hands_everything_on() {
        let script = script("24h", Duration::from_secs(300), true);
        for part in ["--target xen", "--window 24h", "--timeout 300", "--json\n"] {
            assert!(script.contains(part), "{script}");
        }
    }
}
