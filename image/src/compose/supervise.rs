//! `grantflow supervise`: keeps a pipeline running.
//!
//! It looks at the domains of a pipeline's record, and starts again what has ended against its will, as it was when it was brought
//! up. It holds nothing in between: `up`, `restart` and `down` work beside it, and it ends when the pipeline does. Whoever starts
//! one again, after it was killed, has it go on with what runs.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::commands::{Dom0, by_blame, known_name};
use super::domains::{ComposeError, find, is_alive};
use super::policy::{Health, MOST, Policy, Verdict};
use super::record::{self, Journal, Lock, Record, RecordError};
use super::up::{Scope, Wanted, up};
use crate::failure::Failure;
use crate::lab::signals;
use crate::output;
use crate::progress::Progress;
use crate::xl::{Domain, Told, Tools, Xl};

/// How often to look.
const LOOK: Duration = Duration::from_millis(500);

/// What `grantflow supervise` is told.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The pipeline's name, or its file [default: the one there is]
    #[arg(value_name = "NAME|FILE.toml")]
    pipeline: Option<String>,
    /// Do not go to the background: for systemd, and to see what it does
    #[arg(long)]
    foreground: bool,
}

/// Does it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let name = known_name(args.pipeline.as_deref()).map_err(by_blame)?;
    let home = record::home();
    if !args.foreground {
        return start(&home, &name);
    }
    // The right to supervise ends with this process.
    let Some(_right) = Lock::take(&home.join(&name).join("supervisor"))? else {
        return Err(Failure::failed(format!("{name} is supervised already")));
    };
    let dom0 = Dom0::here()?;
    let begin = Instant::now();
    let mut policy = Policy::default();
    loop {
        match look(
            &home,
            &name,
            &mut policy,
            begin.elapsed(),
            (&dom0.tools, &dom0.cleanup),
        ) {
            Ok(Some(lines)) => lines.iter().for_each(output::tell),
            Ok(None) => return Ok(()),
            // What fails now may work at the next look.
            Err(error) => output::tell(format_args!("{name}: {error}")),
        }
        if signals::came(&dom0.stop) {
            return Ok(());
        }
        thread::sleep(LOOK);
    }
}

/// Starts one in the background, which writes into the pipeline's folder what it does.
pub fn start(home: &Path, name: &str) -> Result<(), Failure> {
    let log = home.join(name).join("supervisor.log");
    let log = File::options().create(true).append(true).open(log)?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["supervise", "--foreground", name])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // Ctrl-C on the terminal is not for it, nor is the terminal's end.
        .process_group(0);
    command.spawn()?;
    Ok(())
}

/// Looks once, and does what is due; what it did, a line each, or nothing once the pipeline is down.
fn look<T: Tools>(
    home: &Path,
    name: &str,
    policy: &mut Policy,
    now: Duration,
    (tools, cleanup): (&T, &T),
) -> Result<Option<Vec<String>>, ComposeError> {
    let Some(record) = record::look(home, name)? else {
        return Ok(None);
    };
    let domains = Xl::new(tools).list()?;
    let mut lines = Vec::new();
    let mut due = Vec::new();
    for (stage, health) in healths(&record, &domains, tools) {
        let planned = record
            .plan
            .stages
            .iter()
            .find(|planned| planned.stage == stage);
        let restart = planned.map(|planned| planned.restart).unwrap_or_default();
        match policy.judge(stage, restart, health, now) {
            Verdict::Leave => {}
            Verdict::Restart(attempt) => {
                lines.push(format!("{name}: {stage} {}; starting it again, attempt {attempt}", said(health)));
                due.push(stage.to_owned());
            }
            Verdict::GiveUp => lines.push(format!("{name}: {stage} has failed {MOST} times in a row and is given up; `grantflow restart` tries again")),
        }
    }
    if due.is_empty() {
        return Ok(Some(lines));
    }
    let mut journal = match Journal::open(home, name) {
        Ok(journal) => journal,
        // Whoever is at work may be about to do the same, or to end it all.
        Err(RecordError::Locked(_)) => return Ok(Some(Vec::new())),
        Err(error) => return Err(error.into()),
    };
    if journal.record != record {
        // Changed meanwhile. What is down has no stages, and its folder is ours alone.
        if journal.record == Record::default() {
            journal.remove()?;
            return Ok(None);
        }
        return Ok(Some(Vec::new()));
    }
    let wanted = Wanted {
        plan: &record.plan,
        file: &record.file,
        scope: Scope::Only(&due),
    };
    if let Err(error) = up(wanted, &mut journal, tools, cleanup, &Progress::silent()) {
        lines.push(format!("{name}: {error}"));
    }
    Ok(Some(lines))
}

/// How each stage of a record is.
fn healths<'r, T: Tools>(
    record: &'r Record,
    domains: &'r [Domain],
    tools: &'r T,
) -> impl Iterator<Item = (&'r str, Health)> {
    record.stages.iter().map(move |stage| {
        let health = match find(domains, &stage.uuid) {
            Some(domain) if is_alive(domain) => Health::Runs,
            Some(domain) if domain.ended.is_some_and(|reason| reason.is_orderly()) => {
                let state = Told::new(tools, domain.id).state().unwrap_or_default();
                if state.starts_with("failed") {
                    Health::Failed
                } else {
                    Health::Ended
                }
            }
            _ => Health::Failed,
        };
        (stage.name.as_str(), health)
    })
}

fn said(health: Health) -> &'static str {
    match health {
        Health::Runs => "runs",
        Health::Ended => "has ended",
        Health::Failed => "has crashed or is gone",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::domains::peer_key;
    use crate::compose::plan::{Plan, Planned, Wire};
    use crate::pipeline::Restart;
    use crate::xl::BootInput;
    use crate::xl::fake::FakeHost;

    fn plan() -> Plan {
        let stage = |name: &str, restart| Planned {
            stage: name.into(),
            domain: format!("p-{name}"),
            image: "/images/x.elf".into(),
            memory_mib: 1,
            bridge: None,
            input: BootInput::default(),
            restart,
        };
        Plan {
            name: "p".into(),
            stages: vec![
                stage("a", Restart::OnFailure),
                stage("b", Restart::OnFailure),
                stage("c", Restart::Never),
            ],
            wires: vec![Wire {
                name: "ab".into(),
                from: Some(0),
                to: Some(1),
                feedback: false,
            }],
        }
    }

    struct Bench {
        host: FakeHost,
        home: tempfile::TempDir,
        policy: Policy,
        second: u64,
    }

    impl Bench {
        fn new() -> Self {
            let (host, home) = (FakeHost::default(), tempfile::tempdir().unwrap());
            let plan = plan();
            let wanted = Wanted {
                plan: &plan,
                file: Path::new("p"),
                scope: Scope::Changed,
            };
            let mut journal = Journal::open(home.path(), "p").unwrap();
            up(wanted, &mut journal, &&host, &&host, &Progress::silent()).unwrap();
            Self {
                host,
                home,
                policy: Policy::default(),
                second: 0,
            }
        }

        /// Looks once a second for so many; what was told.
        fn look(&mut self, seconds: u64) -> Vec<String> {
            let mut told = Vec::new();
            for _ in 0..seconds {
                self.second += 1;
                let now = Duration::from_secs(self.second);
                let tools = &self.host;
                let lines = look(
                    self.home.path(),
                    "p",
                    &mut self.policy,
                    now,
                    (&tools, &tools),
                )
                .unwrap();
                told.extend(lines.unwrap_or_else(|| vec!["down".to_owned()]));
            }
            told
        }
    }

    #[test]
    fn s6_one_stage_that_dies_comes_back_alone_and_its_peer_is_told() {
        let mut bench = Bench::new();
        assert_eq!(bench.look(3), Vec::<String>::new());
        let before = bench.host.domains();
        bench.host.end("p-a", 3);
        let told = bench.look(5);
        assert_eq!(
            told,
            ["p: a has crashed or is gone; starting it again, attempt 1"]
        );
        let a = bench.host.domain("p-a");
        assert_eq!(a.ended, None);
        assert_eq!(bench.host.domain("p-b"), before[1]);
        assert_eq!(
            bench.host.value("p-b", &peer_key("ab")),
            Some(format!("{} 2", a.id))
        );
        assert_eq!(bench.host.domains().len(), 3);
    }

    #[test]
    fn who_may_end_and_who_is_not_to_be_restarted_is_left() {
        let mut bench = Bench::new();
        bench.host.end("p-b", 0);
        bench.host.end("p-c", 3);
        let before = bench.host.domains();
        assert_eq!(bench.look(100), Vec::<String>::new());
        assert_eq!(bench.host.domains(), before);
    }

    #[test]
    fn a_destroyed_domain_comes_back_too() {
        let mut bench = Bench::new();
        let id = bench.host.domain("p-b").id.to_string();
        (&bench.host).run("xl", &["destroy", &id]).unwrap();
        bench.look(5);
        assert_eq!(bench.host.domain("p-b").ended, None);
    }

    #[test]
    fn it_stands_back_while_another_is_at_work_and_ends_with_the_pipeline() {
        let mut bench = Bench::new();
        bench.host.end("p-a", 3);
        let journal = Journal::open(bench.home.path(), "p").unwrap();
        assert_eq!(bench.look(5), Vec::<String>::new());
        assert_eq!(bench.host.domain("p-a").ended, Some(3));
        journal.remove().unwrap();
        assert_eq!(bench.look(1), ["down"]);
        assert_eq!(record::names(bench.home.path()), Vec::<String>::new());
    }
}
