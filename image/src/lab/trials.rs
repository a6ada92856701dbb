//! `grantflow lab test`: what the scenarios need, as a job; and as many labs side by side as there are hands of scenarios.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::back::Stream;
use super::error::{LabError, by_blame};
use super::fixtures;
use super::job::Job;
use super::pairs;
use super::run::{pass_on, run};
use super::scenarios::{Ended, Reader, Scenario, Summary, deal};
use crate::broker::{Broker, BrokerError};
use crate::dist;
use crate::failure::Failure;
use crate::output;
use crate::progress::Progress;
use crate::workspace::Workspace;

/// What a boot of the lab may take beside its scenarios.
const BOOT: Duration = Duration::from_secs(120);

/// What a scenario may take beside its own limit, to which dom0 holds it.
const BETWEEN: Duration = Duration::from_secs(15);

/// How `lab test` runs the scenarios.
#[derive(Debug)]
pub struct Options {
    /// Where logs and consoles go; without it they are thrown away.
    pub out: Option<PathBuf>,
    /// Memory of each emulated machine, in MiB.
    pub memory: u32,
    /// Time goes by instructions in them.
    pub counted: bool,
    /// The long form of those that have one.
    pub soak: bool,
    /// How many machines run side by side.
    pub labs: usize,
    /// One document on standard output, and all else beside it.
    pub json: bool,
}

/// Runs `chosen`, shared out among the labs; an error if one of them failed.
pub fn all(
    workspace: &Workspace,
    chosen: &[Scenario],
    options: &Options,
    progress: &Progress,
) -> Result<(), Failure> {
    let scratch = tempfile::tempdir()?;
    let results = options
        .out
        .clone()
        .unwrap_or_else(|| scratch.path().join("results"));
    let mut job = Job::new(include_str!("scenarios.sh"));
    job.memory = options.memory;
    job.counted = options.counted;
    if options.soak {
        job.bytes("soak", 0o644, b"");
    }
    furnish(&mut job, workspace, scratch.path(), progress)?;
    let broker = outside_broker(&mut job, progress)?;

    let (pairs, alone): (Vec<Scenario>, Vec<Scenario>) =
        chosen.iter().cloned().partition(|scenario| scenario.paired);
    let hands = match alone.as_slice() {
        [] => Vec::new(),
        alone => deal(alone, options.labs),
    };
    let folder = |lab: usize| match hands.len() {
        0 | 1 => results.clone(),
        _ => results.join(format!("lab{}", lab + 1)),
    };
    // Each lab from a thread of its own, with which its QEMU ends.
    let mut ran: Vec<Ran> = thread::scope(|scope| {
        let labs: Vec<_> = hands
            .iter()
            .enumerate()
            .map(|(lab, hand)| {
                let (job, results) = (with_scenarios(&job, hand), folder(lab));
                scope.spawn(move || one(&job, &results, progress, options.json))
            })
            .collect();
        labs.into_iter()
            .map(|lab| {
                lab.join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    });
    drop(broker);
    for scenario in &pairs {
        let job = with_scenarios(&job, std::slice::from_ref(scenario));
        let one = |job: &Job, results: &Path| one(job, results, progress, options.json);
        ran.push(pairs::run(&job, scenario, &results, progress, one)?);
    }

    let ended: Vec<Ended> = ran.iter().flat_map(|ran| ran.ended.clone()).collect();
    let summary = Summary::of(&ended, chosen.len());
    if options.json {
        output::line(json!({ "scenarios": ended, "summary": summary }))?;
    }
    for lab in ran {
        lab.end.map_err(by_blame)?;
    }
    if !options.json {
        output::line(summary)?;
    }
    match summary.failed {
        0 => Ok(()),
        failed => Err(Failure::failed(format!(
            "{failed} of {} scenarios failed",
            chosen.len()
        ))),
    }
}

/// What one lab did.
pub(super) struct Ran {
    pub(super) ended: Vec<Ended>,
    pub(super) end: Result<(), LabError>,
}

fn one(job: &Job, results: &Path, progress: &Progress, json: bool) -> Ran {
    let mut reader = Reader::default();
    let outcome = run(job, results, progress, &mut |_, bytes| {
        let to = if json { Stream::Stderr } else { Stream::Stdout };
        pass_on(to, reader.take(bytes).as_bytes());
    });
    Ran {
        ended: reader.ended,
        end: outcome.map(|_| ()),
    }
}

/// The job for these scenarios.
fn with_scenarios(job: &Job, hand: &[Scenario]) -> Job {
    let mut job = job.clone();
    let lines: String = hand
        .iter()
        .map(|s| format!("{} {}\n", s.name, s.limit.as_secs()))
        .collect();
    job.bytes("scenarios", 0o644, lines.as_bytes());
    job.timeout = BOOT + hand.iter().map(|s| s.limit + BETWEEN).sum::<Duration>();
    job
}

/// Everything that scenarios find in `/job`.
fn furnish(
    job: &mut Job,
    workspace: &Workspace,
    scratch: &Path,
    progress: &Progress,
) -> Result<(), Failure> {
    fixtures::images(job, workspace).map_err(by_blame)?;
    fixtures::data(job, workspace)?;
    let mut programs = fixtures::own_programs(job, workspace, progress)?;
    programs.extend(fixtures::c_programs(job, workspace, scratch, progress)?);
    fixtures::linux_guest(job, programs, progress)?;
    fixtures::mosquitto(job, progress)?;
    let compared = fixtures::compared(workspace, scratch, progress)?;
    let archive = dist::archive(workspace, &compared).map_err(Failure::failed)?;
    job.bytes("dist.tar.gz", 0o644, &archive);
    job.folder("lab", &fixtures::scenario_folder(workspace))?;
    job.folder("pipelines", &workspace.root.join("image/pipelines"))?;
    Ok(())
}

/// A broker on this machine's loopback for as long as the scenarios run, and in dom0 the file `outside/broker` that says where
/// it is. Without one, which is said aloud, scenarios that want it skip themselves.
fn outside_broker(job: &mut Job, progress: &Progress) -> Result<Option<Broker>, Failure> {
    started(Broker::start(), job, progress)
}

/// The same of one that was started.
pub(super) fn started(
    broker: Result<Broker, BrokerError>,
    job: &mut Job,
    progress: &Progress,
) -> Result<Option<Broker>, Failure> {
    match broker {
        Ok(broker) => {
            let address = super::outside(broker.address().port).to_string();
            job.bytes("outside/broker", 0o644, address.as_bytes());
            fixtures::subscriber(job)?;
            Ok(Some(broker))
        }
        Err(error @ BrokerError::Missing { .. }) => {
            progress.say(format_args!(
                "{error}: scenarios that want a broker outside will be skipped"
            ));
            Ok(None)
        }
        Err(error) => Err(Failure::failed(error)),
    }
}
