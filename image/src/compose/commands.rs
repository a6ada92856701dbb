//! The command lines of `up`, `down`, `status` and `restart`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::domains::{ComposeError, is_alive, of_record};
use super::down::{Ending, down};
use super::load::{FileArgs, HostArgs, Loaded};
use super::plan::Plan;
use super::process::look::OnProcesses;
use super::record::{self, Journal, Record, RecordError};
use super::snapshot::OnXen;
use super::status::{StageStatus, of_stages, status, table};
use super::up::{Scope, Wanted, up};
use super::{in_lab, process, supervise};
use crate::failure::Failure;
use crate::lab::signals;
use crate::output;
use crate::pipeline::read;
use crate::progress::Progress;
use crate::xl::{SystemTools, Xl};

/// How long one call of `xl` or of a xenstore program may take; building a domain takes seconds under emulation.
const CALL_PATIENCE: Duration = Duration::from_secs(120);

/// How long a supervisor may take to start a stage again.
const SUPERVISOR: Duration = Duration::from_secs(10);

/// How often who waits is told what for.
const NEWS: Duration = Duration::from_secs(10);

/// How long to wait for the end of a pipeline, unless told otherwise.
const WAIT: Duration = Duration::from_secs(300);

/// How often to look whether stages have ended.
const LOOK: Duration = Duration::from_millis(500);

/// Where a pipeline runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Target {
    /// Here: this is a Xen dom0
    Xen,
    /// In the lab: Xen and dom0 under QEMU, booted for this run and ended with it
    Lab,
    /// Here, as plain processes that end with this command: no Xen is needed
    Process,
}

/// What `grantflow up` is told.
#[derive(clap::Args, Debug)]
pub struct UpArgs {
    #[command(flatten)]
    file: FileArgs,
    #[command(flatten)]
    host: HostArgs,
    /// Where to run
    #[arg(long, value_enum, default_value_t = Target::Xen)]
    target: Target,
    /// Folder of the stages' programs, for processes [default: built now]
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Wait until every stage has ended, print what each has done, and fail if one did not end well; in the lab and for processes
    /// always
    #[arg(long)]
    wait: bool,
    /// How long to wait, in seconds [default: 300; for processes as long as it takes]
    #[arg(long, value_name = "S")]
    timeout: Option<u64>,
    /// Do not start a supervisor: what crashes stays as it is
    #[arg(long)]
    no_supervisor: bool,
}

/// Which pipeline that was brought up.
#[derive(clap::Args, Debug)]
pub struct WhichArgs {
    /// The pipeline's name, or its file [default: the one there is]
    #[arg(value_name = "NAME|FILE.toml")]
    pipeline: Option<String>,
}

/// What `grantflow down` is told.
#[derive(clap::Args, Debug)]
pub struct DownArgs {
    #[command(flatten)]
    which: WhichArgs,
    /// Do not wait: destroy the domains with what they hold
    #[arg(long)]
    now: bool,
    /// How long the stages may take to end by themselves, in seconds
    #[arg(long, value_name = "S", default_value_t = 60, conflicts_with = "now")]
    timeout: u64,
}

/// What `grantflow restart` is told.
#[derive(clap::Args, Debug)]
pub struct RestartArgs {
    #[command(flatten)]
    file: FileArgs,
    #[command(flatten)]
    host: HostArgs,
    /// The stages
    #[arg(required = true)]
    stages: Vec<String>,
}

/// The programs of this dom0, and whether the user has asked to stop.
pub(crate) struct Dom0 {
    /// As long as nobody has.
    pub tools: SystemTools,
    /// For undoing, whatever was asked.
    pub cleanup: SystemTools,
    /// Whether somebody has.
    pub stop: Arc<AtomicBool>,
}

impl Dom0 {
    pub(crate) fn here() -> Result<Self, Failure> {
        let stop = signals::watch()?;
        let tools = SystemTools::new(Arc::clone(&stop), CALL_PATIENCE);
        Ok(Self {
            cleanup: tools.for_cleanup(),
            tools,
            stop,
        })
    }
}

/// The record of a pipeline. A supervisor is soon done with what it does; another composer is not waited for.
fn take(name: &str) -> Result<Journal, RecordError> {
    let until = Instant::now() + SUPERVISOR;
    loop {
        match Journal::open(&record::home(), name) {
            Err(RecordError::Locked(_)) if Instant::now() < until => thread::sleep(LOOK),
            other => return other,
        }
    }
}

/// A name that is wrong is the user's mistake; the rest is work that failed.
pub(crate) fn by_blame(error: ComposeError) -> Failure {
    match error {
        ComposeError::Unknown { .. }
        | ComposeError::Taken(_)
        | ComposeError::Memory { .. }
        | ComposeError::TooMuch(_) => Failure::input(error),
        other => Failure::failed(other),
    }
}

pub(super) fn planned(args: &FileArgs, host: &HostArgs) -> Result<(Loaded, Plan), Failure> {
    let loaded = host.load(args)?;
    let plan = args.plan(&loaded);
    args.sums(&loaded, &plan).map_err(Failure::input)?;
    Ok((loaded, plan))
}

/// `grantflow up`.
pub fn run_up(args: &UpArgs, json: bool) -> Result<(), Failure> {
    let progress = Progress::new();
    if args.target == Target::Process {
        let wanted = process::up::Wanted {
            file: &args.file.file,
            host: args.host.host.as_deref(),
            programs: args.programs.as_deref(),
            timeout: args.timeout.map(Duration::from_secs),
            json,
        };
        return process::up::up(&wanted, &progress);
    }
    let timeout = args.timeout.map_or(WAIT, Duration::from_secs);
    let (loaded, plan) = planned(&args.file, &args.host)?;
    if args.target == Target::Lab {
        let host = args.host.host.as_deref();
        return in_lab::up(
            (&loaded, &plan),
            &args.file.file,
            host,
            timeout,
            json,
            &progress,
        );
    }
    if OnProcesses::find(&plan.name)?.is_some() {
        return Err(Failure::input(format!(
            "{0} is a pipeline of processes here: end it with `grantflow down {0}`, or give this one another name",
            plan.name
        )));
    }
    let dom0 = Dom0::here()?;
    let mut journal = take(&plan.name)?;
    let file = absolute(&args.file.file);
    let wanted = Wanted {
        plan: &plan,
        file: &file,
        scope: Scope::Changed,
    };
    let changed = up(wanted, &mut journal, &dom0.tools, &dom0.cleanup, &progress);
    let is_empty = journal.record == Record::default();
    let changed = match changed {
        Err(error) if is_empty => {
            // There was nothing before, and so there is nothing now.
            journal.remove()?;
            return Err(by_blame(error));
        }
        other => other.map_err(by_blame)?,
    };
    if !args.no_supervisor {
        supervise::start(&record::home(), &plan.name)?;
    }
    let record = journal.record.clone();
    // The supervisor may work from now on.
    drop(journal);
    let stages = if args.wait {
        wait(&plan.name, timeout, &dom0, &progress)?
    } else {
        let seen = OnXen(&dom0.tools).among(&record, &changed.domains);
        of_stages(seen.map_err(by_blame)?)
    };
    if json {
        output::line(json!({ "name": plan.name, "changed": changed, "stages": stages }))?;
    } else {
        let count = |list: &[String]| list.len();
        progress.say(format_args!(
            "{}: {} created, {} kept, {} removed",
            plan.name,
            count(&changed.created),
            count(&changed.kept),
            count(&changed.removed)
        ));
        output::write(table(&stages))?;
    }
    let bad: Vec<&str> = stages
        .iter()
        .filter(|stage| args.wait && stage.state != "done")
        .map(|stage| stage.stage.as_str())
        .collect();
    if bad.is_empty() {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "not done: {}; see `grantflow logs {}`",
        bad.join(", "),
        plan.name
    )))
}

/// The file's place, for later commands from elsewhere.
fn absolute(file: &Path) -> PathBuf {
    std::path::absolute(file).unwrap_or_else(|_| file.to_owned())
}

/// Waits until no stage runs any more; how they are then.
fn wait(
    name: &str,
    timeout: Duration,
    dom0: &Dom0,
    progress: &Progress,
) -> Result<Vec<StageStatus>, Failure> {
    let begin = Instant::now();
    let mut said = begin;
    loop {
        // A supervisor may have given stages other domains.
        let record = record::look(&record::home(), name)?.unwrap_or_default();
        let domains = Xl::new(&dom0.tools).list()?;
        let running: Vec<&str> = of_record(&record.stages, &domains)
            .filter(|(_, domain)| domain.is_some_and(is_alive))
            .map(|(stage, _)| stage.name.as_str())
            .collect();
        if running.is_empty() {
            return status(&record, &OnXen(&dom0.tools)).map_err(by_blame);
        }
        if signals::came(&dom0.stop) {
            return Err(Failure::failed("stopped waiting; the pipeline runs on"));
        }
        if begin.elapsed() >= timeout {
            let said = format!(
                "still running after {} s: {}; the pipeline runs on",
                timeout.as_secs(),
                running.join(", ")
            );
            return Err(Failure::failed(said));
        }
        if said.elapsed() >= NEWS {
            said = Instant::now();
            progress.say(format_args!(
                "{} of {} stages are running",
                running.len(),
                record.stages.len()
            ));
        }
        thread::sleep(LOOK);
    }
}

/// The name of a pipeline of domains that was brought up: the one that is given by name or by file, or the only one.
pub(crate) fn known_name(given: Option<&str>) -> Result<String, ComposeError> {
    choose(given, &record::names(&record::home()))
}

/// The name of a pipeline that was brought up, and its processes if that is what it is made of.
pub(crate) fn known(given: Option<&str>) -> Result<(String, Option<OnProcesses>), ComposeError> {
    let of_domains = record::names(&record::home());
    let mut names = [of_domains.clone(), process::nest::names()].concat();
    names.sort();
    names.dedup();
    let name = choose(given, &names)?;
    let processes = OnProcesses::find(&name)?;
    // `up` lets nobody have both; a runtime folder that was set otherwise meanwhile may.
    if processes.is_some() && of_domains.contains(&name) {
        output::tell(format_args!(
            "{name} are processes and domains: this is about the processes; once they are down, about the domains"
        ));
    }
    Ok((name, processes))
}

fn choose(given: Option<&str>, known: &[String]) -> Result<String, ComposeError> {
    let unknown = |name: &str, known: String| ComposeError::Unknown {
        name: name.to_owned(),
        known,
    };
    let name = match (given, known) {
        (Some(given), _) => name_of(given),
        (None, [only]) => only.clone(),
        (None, []) => {
            return Err(unknown(
                "running",
                "; `grantflow up FILE` starts one".to_owned(),
            ));
        }
        (None, many) => {
            return Err(unknown(
                "named",
                format!("; name one of: {}", many.join(", ")),
            ));
        }
    };
    match known {
        known if known.contains(&name) => Ok(name),
        [] => Err(unknown(
            &format!("`{name}`"),
            "; none is running".to_owned(),
        )),
        many => Err(unknown(
            &format!("`{name}`"),
            format!("; there are: {}", many.join(", ")),
        )),
    }
}

/// A file's pipeline, or the name itself. A file with mistakes still tells its name, so that what it has started can be ended.
fn name_of(given: &str) -> String {
    let path = Path::new(given);
    if path.extension().is_none_or(|end| end != "toml") {
        return given.to_owned();
    }
    let stem = path
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let text = std::fs::read_to_string(path).unwrap_or_default();
    read(&text, &stem).map_or(stem, |pipeline| pipeline.name.value)
}

/// `grantflow down`.
pub fn run_down(args: &DownArgs, json: bool) -> Result<(), Failure> {
    let progress = Progress::new();
    let (name, processes) = known(args.which.pipeline.as_deref()).map_err(by_blame)?;
    let patience = if args.now {
        Duration::ZERO
    } else {
        Duration::from_secs(args.timeout)
    };
    if let Some(processes) = processes {
        process::down::down(&name, &processes, patience)?;
        if json {
            output::line(json!({ "name": name }))?;
        } else {
            output::line(format_args!("{name} is down"))?;
        }
        return Ok(());
    }
    let dom0 = Dom0::here()?;
    let journal = take(&name)?;
    let ending = Ending {
        patience,
        look: LOOK,
    };
    let ended = down(journal, ending, &dom0.tools, &dom0.cleanup, &progress).map_err(by_blame)?;
    if json {
        output::line(json!({ "name": name, "ended": ended }))?;
        return Ok(());
    }
    let list = |what: &str, stages: &[String]| match stages {
        [] => String::new(),
        stages => format!("; {what}: {}", stages.join(", ")),
    };
    output::line(format_args!(
        "{name} is down{}{}{}",
        list("drained", &ended.drained),
        list("destroyed while running", &ended.destroyed),
        list("had been lost", &ended.lost)
    ))?;
    Ok(())
}

/// `grantflow status`.
pub fn run_status(args: &WhichArgs, json: bool) -> Result<(), Failure> {
    let (name, processes) = known(args.pipeline.as_deref()).map_err(by_blame)?;
    let (record, stages) = match processes {
        Some(processes) => {
            let record = processes.record().clone();
            let stages = status(&record, &processes);
            (record, stages)
        }
        None => {
            let dom0 = Dom0::here()?;
            let record = record::look(&record::home(), &name)?.unwrap_or_default();
            let stages = status(&record, &OnXen(&dom0.tools));
            (record, stages)
        }
    };
    let stages = stages.map_err(by_blame)?;
    if json {
        output::line(json!({ "name": name, "generation": record.generation, "stages": stages }))?;
    } else {
        output::write(table(&stages))?;
    }
    Ok(())
}

/// `grantflow restart`.
pub fn run_restart(args: &RestartArgs, json: bool) -> Result<(), Failure> {
    let progress = Progress::new();
    let dom0 = Dom0::here()?;
    let (_, plan) = planned(&args.file, &args.host)?;
    let mut journal = take(&plan.name)?;
    if journal.record.stages.is_empty() {
        journal.remove()?;
        return Err(Failure::input(format!(
            "{} is not running; `grantflow up` starts it",
            plan.name
        )));
    }
    let file = absolute(&args.file.file);
    let wanted = Wanted {
        plan: &plan,
        file: &file,
        scope: Scope::Only(&args.stages),
    };
    let changed =
        up(wanted, &mut journal, &dom0.tools, &dom0.cleanup, &progress).map_err(by_blame)?;
    if json {
        output::line(json!({ "name": plan.name, "changed": changed }))?;
    } else {
        output::line(format_args!("restarted: {}", changed.created.join(", ")))?;
    }
    Ok(())
}
