//! The command `grantflow compare`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::gather::Gatherer;
use super::load::{self, HostLoad};
use super::on_xen::left_behind::{self, Alone};
use super::on_xen::{self, Kit, Site, Trouble, machine};
use super::plan::{self, QUICK_ROUNDS, ROUNDS, Step};
use super::report::view::HOST_CPU;
use super::results::{Event, Results, Scope};
use super::told::Told;
use super::{catalogue, goals, guest, in_lab, native, report};
use crate::failure::Failure;
use crate::images;
use crate::lab::linux_guest::Guest;
use crate::lab::scratch::Scratch;
use crate::lab::{LabError, fixtures, signals};
use crate::output;
use crate::progress::Progress;
use crate::xl::SystemTools;
use crate::xl::tools::find;

/// How long one call of `xl` may take; building a Linux guest takes seconds under emulation.
const CALL_PATIENCE: Duration = Duration::from_secs(120);

/// Where it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Target {
    /// In the lab: Xen and dom0 under QEMU, booted for this run
    Lab,
    /// Here: this is a Xen dom0
    Xen,
}

/// What `grantflow compare` is told.
#[derive(clap::Args, Debug)]
// Beside that of the report's, whose struct has the same name.
#[group(id = "comparison")]
pub struct Args {
    /// Where to run [default: xen in a dom0, elsewhere lab]
    #[arg(long, value_enum)]
    pub target: Option<Target>,
    /// Only what the goals need, in three rounds: under ten minutes
    #[arg(long)]
    pub quick: bool,
    /// Only these contestants, measures or goals; --list says what there is
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub only: Vec<String>,
    /// How often each figure is taken [default: 5, with --quick 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub rounds: Option<u32>,
    /// What becomes of the results
    #[command(flatten)]
    pub report: report::command::Args,
    /// Folder of the images [default: images beside this program, or where `grantflow images` puts them]
    #[arg(long, value_name = "DIR")]
    pub images: Option<PathBuf>,
    /// In a dom0, the folder of the Linux guest: vmlinuz, initramfs, sensor-initramfs [default: linux-guest beside this program,
    /// or made of what is installed and of the programs beside this one or in bin there, as in the archive of `make dist`]
    #[arg(long, value_name = "DIR")]
    pub linux_guest: Option<PathBuf>,
    /// Say who is compared, by what, and what is to be reached, and measure nothing
    #[arg(long)]
    pub list: bool,
    /// Tell each figure as a line of JSON on standard output, and write no report: for the lab's dom0
    #[arg(long, hide = true)]
    pub events: bool,
}

impl Args {
    fn scope(&self) -> Scope {
        let rounds = if self.quick { QUICK_ROUNDS } else { ROUNDS };
        Scope {
            quick: self.quick,
            only: self.only.clone(),
            rounds: self.rounds.unwrap_or(rounds),
        }
    }

    fn target(&self) -> Target {
        self.target.unwrap_or(match in_dom0() {
            true => Target::Xen,
            false => Target::Lab,
        })
    }
}

/// Whether this is a Xen dom0.
fn in_dom0() -> bool {
    let says = std::fs::read_to_string("/proc/xen/capabilities").unwrap_or_default();
    says.contains("control_d")
}

/// Compares; `json` asks for the document of results on standard output.
pub fn run(args: &Args, json: bool) -> Result<(), Failure> {
    if args.list {
        return list(json);
    }
    if let Some(done) = args.report.without_measuring(json) {
        return done;
    }
    let scope = args.scope();
    let steps = plan::steps(&scope).map_err(Failure::input)?;
    if steps.is_empty() && !native::is_wanted(&scope) {
        let said = "--only: nothing is measured of those together; `grantflow compare --list` says what there is";
        return Err(Failure::input(said));
    }
    let images = images::folder(args.images.as_deref());
    if args.events {
        return on_xen(args, &scope, &steps, images, &mut |event| {
            // A reader that has gone is noted, and stops the run.
            let line = serde_json::to_string(&event).unwrap_or_default();
            let _ = output::line(line);
        });
    }
    let images = images.canonicalize().map_err(|error| {
        Failure::input(format!(
            "cannot read the images in {}: {error}; `grantflow images` builds them",
            images.display()
        ))
    })?;
    let before = args.report.before()?;
    let room = args.report.room()?;
    let results = gathered(args, scope, &steps, images)?;
    args.report.finish(&results, before.as_ref(), json, room)?;
    outcome(&results)
}

/// Runs it where it shall run, and gathers what it tells.
fn gathered(
    args: &Args,
    scope: Scope,
    steps: &[Step],
    images: PathBuf,
) -> Result<Results, Failure> {
    let progress = Progress::new();
    let emulator = match args.target() {
        Target::Lab => in_lab::emulator(),
        Target::Xen => None,
    };
    let title = match &emulator {
        Some(emulator) => format!("Unikernels and Linux guests on one Xen, emulated by {emulator}"),
        None => "Unikernels and Linux guests on one Xen".to_owned(),
    };
    let tool = concat!("grantflow ", env!("CARGO_PKG_VERSION"));
    let started = jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string();
    let mut gatherer = Gatherer::new(scope.clone(), &title, tool, &started);
    let load = HostLoad::begin();
    let mut machine = None;
    let mut told = Told::new(steps, scope.rounds);
    let mut listener = |event: Event| {
        for line in told.lines(&event, progress.elapsed()) {
            progress.say(line);
        }
        match event {
            Event::Machine(seen) => {
                machine = Some(seen.clone());
                gatherer.take(Event::Machine(seen));
            }
            other => gatherer.take(other),
        }
    };
    if !steps.is_empty() {
        let (count, rounds) = (steps.len(), scope.rounds);
        progress.say(format_args!(
            "{count} steps in {rounds} round{} are to be taken",
            if rounds == 1 { "" } else { "s" }
        ));
    }
    let ended = match args.target() {
        _ if steps.is_empty() => Ok(()),
        Target::Lab => in_lab::run(&scope, &images, steps.len(), &progress, &mut listener),
        Target::Xen => on_xen(args, &scope, steps, images, &mut listener),
    };
    if ended.is_ok() && native::is_wanted(&scope) {
        native::run(&progress, &mut listener);
    }
    let mut machine = machine.unwrap_or_default();
    machine.emulator = emulator;
    if let Some(cpu) = load::host_cpu() {
        machine.more.insert(HOST_CPU.to_owned(), cpu);
    }
    if args.target() == Target::Lab {
        // In a dom0, the kernel sees no more than dom0's own share.
        machine.load = load.end();
        if let Some(warning) = machine.load.as_ref().and_then(load::warning) {
            progress.say(format_args!("warning: {warning}"));
            gatherer.take(Event::Warning(warning));
        }
    }
    gatherer.take(Event::Machine(machine));
    let cut_short = match ended {
        Ok(()) => None,
        // Nothing came of it at all: there is no report to write.
        Err(failure) if gatherer.is_empty() => return Err(failure),
        Err(failure) => Some(failure.to_string()),
    };
    Ok(gatherer.finish(progress.elapsed().as_secs_f64(), cut_short))
}

/// Runs it in this dom0.
fn on_xen(
    args: &Args,
    scope: &Scope,
    steps: &[Step],
    images: PathBuf,
    listener: &mut dyn FnMut(Event),
) -> Result<(), Failure> {
    let stop = signals::watch()?;
    let tools = SystemTools::new(Arc::clone(&stop), CALL_PATIENCE);
    let cleanup = tools.for_cleanup();
    let seen = machine::look(&tools).map_err(Failure::failed)?;
    let _alone = Alone::new(Path::new(left_behind::RUN)).map_err(Failure::failed)?;
    let folder = Scratch::of_kind("grantflow-compare-dom0-").map_err(Failure::failed)?;
    let linux = linux_guest(args.linux_guest.as_deref(), folder.path(), listener);
    let linux = linux.unwrap_or_else(|error| {
        listener(Event::Warning(format!(
            "no Linux guest can be made here: {}",
            Failure::failed(error)
        )));
        folder.path().to_owned()
    });
    let kit = Kit {
        images,
        linux,
        scratch: folder.path().to_owned(),
        cpus: seen.cpus,
        xentrace: find("xentrace"),
    };
    listener(Event::Machine(seen));
    let mut site = Site::new((&tools, &cleanup), &stop, kit, listener)?;
    match on_xen::run(steps, scope.quick, &mut site) {
        Ok(()) => Ok(()),
        Err(Trouble::Stopped) => Err(Failure::failed("stopped by a signal")),
        Err(failed) => Err(Failure::failed(failed)),
    }
}

/// The folder that was named, or the one beside this program, or this one, once a guest is made in it.
fn linux_guest(
    named: Option<&Path>,
    made: &Path,
    listener: &mut dyn FnMut(Event),
) -> Result<PathBuf, LabError> {
    if let Some(named) = named {
        return Ok(named.to_owned());
    }
    let own = std::env::current_exe().map_err(LabError::file("/proc/self/exe"))?;
    let own = own.parent().unwrap_or(Path::new("/"));
    let beside = own.join("linux-guest");
    if beside.is_dir() {
        return Ok(beside);
    }
    let at_hand = Guest::at_hand()?;
    let programs = fixtures::compared_in(&[own.to_owned(), own.join("bin")]);
    let setup = format!(
        "{}, an initramfs of busybox and the programs alone, no disk; mitigations=off, console hvc0, quiet",
        at_hand.kernel().display()
    );
    let guest = guest::make(&at_hand, &programs, &setup)?;
    guest.write(made)?;
    for left_out in guest.left_out {
        listener(Event::Warning(left_out));
    }
    Ok(made.to_owned())
}

/// A comparison that was cut short, or in which something failed, is no success; a goal that was missed is one.
fn outcome(results: &Results) -> Result<(), Failure> {
    if let Some(reason) = &results.cut_short {
        return Err(Failure::failed(format!("cut short: {reason}")));
    }
    match results.failures.len() {
        0 => Ok(()),
        count => Err(Failure::failed(format!(
            "{count} figures could not be taken; the report says why"
        ))),
    }
}

/// Says what can be asked for.
fn list(json: bool) -> Result<(), Failure> {
    let contestants = catalogue::Contestant::ALL
        .into_iter()
        .map(|one| (one.id(), one.name()));
    let measures = catalogue::Measure::ALL
        .into_iter()
        .map(|one| (one.id(), one.name()));
    let goals = goals::GOALS
        .iter()
        .map(|goal| (goal.id, format!("{} >= {}", goal.words, goal.goal)));
    if json {
        let named = |(id, name): (&str, &str)| serde_json::json!({"id": id, "name": name});
        let document = serde_json::json!({
            "contestants": contestants.map(named).collect::<Vec<_>>(),
            "measures": measures.map(named).collect::<Vec<_>>(),
            "goals": goals.map(|(id, name)| named((id, &name))).collect::<Vec<_>>(),
        });
        return Ok(output::line(serde_json::to_string_pretty(&document)?)?);
    }
    let row = |id: &str, name: &str| format!("  {id:<28} {name}\n");
    let mut text = String::from("contestants\n");
    text.extend(contestants.map(|(id, name)| row(id, name)));
    text.push_str("measures\n");
    text.extend(measures.map(|(id, name)| row(id, name)));
    text.push_str("goals\n");
    text.extend(goals.map(|(id, name)| row(id, &name)));
    Ok(output::write(text)?)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::small_disk::on_a_small_disk;
    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        compare: Args,
    }

    #[test]
    fn a_full_disk_ends_a_comparison_before_anything_is_begun() {
        let name = "a_full_disk_ends_a_comparison_before_anything_is_begun";
        on_a_small_disk(module_path!(), name, "64k", |disk| {
            let images = tempfile::tempdir().unwrap();
            let out = disk.join("out");
            for target in ["lab", "xen"] {
                let words = ["compare", "--quick", "--target", target];
                let words = words.iter().map(|&word| Path::new(word));
                let folders = [
                    Path::new("--images"),
                    images.path(),
                    Path::new("--out"),
                    &out,
                ];
                let cli =
                    Cli::try_parse_from(words.chain(folders)).unwrap_or_else(|e| panic!("{e}"));
                let failure = run(&cli.compare, false).unwrap_err();
                assert_ne!(failure.exit_code(), 0);
                let said = failure.to_string();
                let told = [
                    path(&out),
                    "make room there",
                    "--out",
                    "No space left on device",
                ];
                assert!(told.iter().all(|word| said.contains(word)), "{said}");
            }
            let left = std::fs::read_dir(&out).unwrap().count();
            assert_eq!(left, 0, "what was tried is gone");
        });
    }

    fn path(path: &Path) -> &str {
        path.to_str().unwrap()
    }
}
