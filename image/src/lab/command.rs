//! `grantflow lab ...` on the command line.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use serde_json::json;

use super::back::Stream;
use super::job::{self, Job};
use super::parts::{self, Parts};
use super::scenarios::{self, Reader, Scenario};
use super::{error::LabError, fixtures, qemu, run, shell};
use crate::broker::{Broker, BrokerError};
use crate::dist;
use crate::failure::Failure;
use crate::output;
use crate::progress::{Bytes, Progress};
use crate::workspace::Workspace;

/// What to do with the lab.
#[derive(Debug, Subcommand)]
pub enum LabCommand {
    /// Fetch Xen, a kernel and dom0's programs from Debian's packages into the cache, once
    Fetch,
    /// Boot Xen and dom0, run JOBDIR/run.sh in dom0, and bring back its output, files and status
    ///
    /// dom0 finds JOBDIR as /job and runs /job/run.sh there with bash. What it leaves in /out comes back to DIR/out,
    /// the guests' consoles to DIR/xen/console/guest-NAME.log, dom0's own console to DIR/serial.log. The exit code is
    /// 0 only if run.sh ended with 0.
    Run {
        /// The job: a folder with a run.sh
        jobdir: PathBuf,
        /// Where its files go; without it they are thrown away
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// Memory of the emulated machine
        #[arg(long, value_name = "MB", default_value_t = 1024)]
        memory: u32,
        /// Memory of dom0 out of that
        #[arg(long, value_name = "MB", default_value_t = 512)]
        dom0_memory: u32,
        /// How long boot and job may take
        #[arg(long, value_name = "S", default_value = "600", value_parser = job::seconds)]
        timeout: Duration,
    },
    /// Boot Xen and dom0 and give this terminal a shell in dom0
    ///
    /// The images stand in /job/images, a configuration for each in /job/examples. The lab ends with the shell.
    Shell {
        /// Memory of the emulated machine
        #[arg(long, value_name = "MB", default_value_t = 1024)]
        memory: u32,
        /// Memory of dom0 out of that
        #[arg(long, value_name = "MB", default_value_t = 512)]
        dom0_memory: u32,
    },
    /// Boot the lab once and run the scenarios of image/tests/lab in dom0, one after the other
    ///
    /// Each ends with a verdict: passed, failed, or skipped because it cannot be tried on this machine.
    Test {
        /// The scenarios to run; all of them if none is named
        names: Vec<String>,
        /// Where logs and consoles go; without it they are thrown away
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// Memory of the emulated machine
        #[arg(long, value_name = "MB", default_value_t = 1024)]
        memory: u32,
        /// Run the long form of those that have one
        #[arg(long)]
        soak: bool,
        /// Only say which scenarios there are
        #[arg(long)]
        list: bool,
    },
    /// Remove the cache
    Clean,
}

/// Does it.
pub fn execute(command: &LabCommand, json: bool) -> Result<(), Failure> {
    let progress = Progress::new();
    match command {
        LabCommand::Fetch => fetch(&progress, json),
        LabCommand::Run {
            jobdir,
            out,
            memory,
            dom0_memory,
            timeout,
        } => {
            let mut job = Job::from_folder(jobdir).map_err(Failure::input)?;
            job.memory = *memory;
            job.dom0_memory = *dom0_memory;
            job.timeout = *timeout;
            run_job(&job, out.clone(), &progress, json)
        }
        LabCommand::Shell {
            memory,
            dom0_memory,
        } => {
            let workspace = Workspace::here()?;
            shell::shell(&workspace, *memory, *dom0_memory, &progress).map_err(by_blame)
        }
        LabCommand::Test {
            names,
            out,
            memory,
            soak,
            list,
        } => {
            let workspace = Workspace::here()?;
            let folder = fixtures::scenario_folder(&workspace);
            let chosen = scenarios::find(&folder, names, *soak || *list).map_err(by_blame)?;
            if *list {
                return Ok(list_scenarios(&chosen, json)?);
            }
            let mut job = Job::new(include_str!("scenarios.sh"));
            job.memory = *memory;
            if *soak {
                job.bytes("soak", 0o644, b"");
            }
            test(&workspace, &chosen, job, out.clone(), &progress, json)
        }
        LabCommand::Clean => {
            let freed = parts::clean()?;
            if json {
                output::line(json!({ "freed": freed }))?;
            } else {
                output::line(format_args!(
                    "removed {} from {}",
                    Bytes(freed),
                    parts::cache_folder().display()
                ))?;
            }
            Ok(())
        }
    }
}

fn fetch(progress: &Progress, json: bool) -> Result<(), Failure> {
    qemu::ensure(progress)?;
    let parts = Parts::ensure(progress)?;
    let folder = parts::cache_folder();
    if json {
        output::line(format_args!(
            "{}",
            json!({ "cache": folder, "kernel": parts.kernel_release(), "packages": parts.packages() })
        ))?;
    } else {
        output::line(format_args!(
            "the lab is in {}: kernel {}",
            folder.display(),
            parts.kernel_release()
        ))?;
        for package in parts
            .packages()
            .iter()
            .filter(|name| name.starts_with("xen") || name.starts_with("linux"))
        {
            output::line(format_args!("  {package}"))?;
        }
    }
    Ok(())
}

fn run_job(
    job: &Job,
    out: Option<PathBuf>,
    progress: &Progress,
    json: bool,
) -> Result<(), Failure> {
    let scratch = tempfile::tempdir()?;
    let results = out.unwrap_or_else(|| scratch.path().join("results"));
    let mut pass_on = |stream, bytes: &[u8]| {
        // With --json, standard output is for the one document.
        run::pass_on(if json { Stream::Stderr } else { stream }, bytes);
    };
    let outcome = run::run(job, &results, progress, &mut pass_on).map_err(by_blame)?;
    if json {
        let (boot, total) = (outcome.boot.as_secs_f64(), outcome.total.as_secs_f64());
        output::line(format_args!(
            "{}",
            json!({ "status": outcome.status, "boot_seconds": boot, "total_seconds": total })
        ))?;
    }
    progress.say(format_args!("the job ended with status {}", outcome.status));
    match outcome.status {
        0 => Ok(()),
        status => Err(Failure::failed(format!(
            "the job failed with status {status}"
        ))),
    }
}

/// What the user gave is wrong, or the work failed.
fn by_blame(error: LabError) -> Failure {
    match error {
        LabError::Job(_) => Failure::input(error),
        other => Failure::failed(other),
    }
}

fn list_scenarios(scenarios: &[Scenario], json: bool) -> io::Result<()> {
    if json {
        let all: Vec<_> = scenarios
            .iter()
            .map(|s| json!({ "name": s.name, "about": s.about }))
            .collect();
        return output::line(json!({ "scenarios": all }));
    }
    for scenario in scenarios {
        output::line(format_args!("{:<20} {}", scenario.name, scenario.about))?;
    }
    Ok(())
}

fn test(
    workspace: &Workspace,
    chosen: &[Scenario],
    mut job: Job,
    out: Option<PathBuf>,
    progress: &Progress,
    json: bool,
) -> Result<(), Failure> {
    let scratch = tempfile::tempdir()?;
    let results = out.unwrap_or_else(|| scratch.path().join("results"));
    // Boot included; each scenario is held to its own limit in dom0.
    job.timeout = chosen
        .iter()
        .map(|scenario| scenario.limit + Duration::from_secs(15))
        .sum::<Duration>()
        + Duration::from_secs(120);
    fixtures::images(&mut job, workspace).map_err(by_blame)?;
    fixtures::data(&mut job, workspace)?;
    fixtures::own_programs(&mut job, workspace, progress)?;
    let programs = fixtures::c_programs(&mut job, workspace, scratch.path(), progress)?;
    fixtures::linux_guest(&mut job, programs, progress)?;
    fixtures::mosquitto(&mut job, progress)?;
    let broker = outside_broker(&mut job, progress)?;
    let archive = dist::archive(workspace).map_err(Failure::failed)?;
    job.bytes("dist.tar.gz", 0o644, &archive);
    job.folder("lab", &fixtures::scenario_folder(workspace))?;
    let lines: String = chosen
        .iter()
        .map(|s| format!("{} {}\n", s.name, s.limit.as_secs()))
        .collect();
    job.bytes("scenarios", 0o644, lines.as_bytes());

    let mut reader = Reader::default();
    let ran = run::run(&job, &results, progress, &mut |_, bytes| {
        let to = if json { Stream::Stderr } else { Stream::Stdout };
        run::pass_on(to, reader.take(bytes).as_bytes());
    });
    drop(broker);
    let summary = reader.summary(chosen.len());
    if json {
        output::line(format_args!(
            "{}",
            json!({ "scenarios": reader.ended, "summary": summary })
        ))?;
    }
    ran.map_err(by_blame)?;
    if !json {
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

/// A broker on this machine's loopback for as long as the scenarios run, and in dom0 the file `outside/broker` that says where
/// it is. Without one, which is said aloud, scenarios that want it skip themselves.
fn outside_broker(job: &mut Job, progress: &Progress) -> Result<Option<Broker>, Failure> {
    match Broker::start() {
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
