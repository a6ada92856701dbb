//! `grantflow lab ...` on the command line.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use serde_json::json;

use super::back::Stream;
use super::error::by_blame;
use super::job::{self, Job};
use super::parts::{self, Parts};
use super::scenarios::{self, Scenario};
use super::{fixtures, qemu, run, shell, trials};
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
    /// Boot the lab and run the scenarios of image/tests/lab in dom0
    ///
    /// Each ends with a verdict: passed, failed, or skipped because it cannot be tried on this machine. Many are shared out
    /// among two labs, which run side by side; figures are measured in one.
    Test {
        /// The scenarios to run; all of them if none is named
        names: Vec<String>,
        /// Where logs and consoles go, of several labs to DIR/lab1 and so on; without it they are thrown away
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// Memory of each emulated machine
        #[arg(long, value_name = "MB", default_value_t = 1024)]
        memory: u32,
        /// Labs side by side, one or two host CPUs each; 2 if there are many scenarios, of which none measures
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=16))]
        labs: Option<u8>,
        /// Let time go by the instructions that a machine carries out, so that figures do not depend on what else keeps this one
        /// busy; they tell how much work something is, and nothing of waits
        #[arg(long)]
        counted: bool,
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
            labs,
            counted,
            soak,
            list,
        } => {
            let workspace = Workspace::here()?;
            let folder = fixtures::scenario_folder(&workspace);
            let chosen = scenarios::find(&folder, names, *soak || *list).map_err(by_blame)?;
            if *list {
                return Ok(list_scenarios(&chosen, json)?);
            }
            let options = trials::Options {
                out: out.clone(),
                memory: *memory,
                counted: *counted,
                soak: *soak,
                labs: labs.map_or_else(|| scenarios::labs(&chosen), usize::from),
                json,
            };
            trials::all(&workspace, &chosen, &options, &progress)
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
