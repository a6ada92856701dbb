//! How the processes of a pipeline are.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::nest::{self, ProcessOf, ProcessRecord};
use crate::compose::domains::ComposeError;
use crate::compose::record::{Record, RecordError, StageRecord};
use crate::compose::snapshot::{Nodes, Phase, Source, StageSnapshot, counters, printable};

/// No value of a key is longer.
const VALUE_MAX: u64 = 4096;

/// A pipeline of processes, as it is recorded.
#[derive(Debug)]
pub struct OnProcesses {
    /// Its folder.
    pub folder: PathBuf,
    /// What is recorded there.
    pub told: ProcessRecord,
}

impl OnProcesses {
    /// The pipeline of this name, if there is one.
    pub fn find(name: &str) -> Result<Option<Self>, RecordError> {
        let folder = nest::path(name);
        let told = nest::read(&folder)?;
        Ok(told.map(|told| Self { folder, told }))
    }

    /// What was to run.
    pub fn record(&self) -> &Record {
        &self.told.record
    }
}

impl Source for OnProcesses {
    fn stages(&self, record: &Record) -> Result<Vec<StageSnapshot>, ComposeError> {
        // Until its parent has asked how it ended, a process that has is no more than about to.
        let is_asked_for = self.told.composer.is_alive();
        let stages = record.stages.iter().enumerate();
        let all = stages.map(|(place, stage)| {
            let nodes = nodes(&self.folder.join(&stage.name).join("data/grantflow"));
            of_process(stage, self.told.processes.get(place), is_asked_for, &nodes)
        });
        Ok(all.collect())
    }
}

/// What a stage has told, by relative paths.
fn nodes(folder: &Path) -> Nodes {
    let mut nodes = Nodes::new();
    gather(folder, "", &mut nodes);
    nodes
}

fn gather(folder: &Path, prefix: &str, nodes: &mut Nodes) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let key = format!("{prefix}{name}");
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => gather(&entry.path(), &format!("{key}/"), nodes),
            // Not yet what it will be.
            Ok(kind) if kind.is_file() && !name.ends_with(".new") => {
                if let Ok(value) = value(&entry.path()) {
                    nodes.insert(key, value);
                }
            }
            _ => {}
        }
    }
}

fn value(path: &Path) -> io::Result<String> {
    use io::Read as _;
    let mut value = String::new();
    fs::File::open(path)?
        .take(VALUE_MAX)
        .read_to_string(&mut value)?;
    Ok(value)
}

fn of_process(
    stage: &StageRecord,
    process: Option<&ProcessOf>,
    is_asked_for: bool,
    nodes: &Nodes,
) -> StageSnapshot {
    let usage = process.and_then(|process| process.id.usage());
    let alive = usage.filter(|usage| is_asked_for || !usage.is_zombie);
    let ended = process.and_then(|process| process.ended.as_ref());
    let told = nodes.get("state").map(|state| printable(state));
    let (phase, state) = match (ended, alive, told) {
        (Some(ended), _, told) => match (&ended.fault, told) {
            (_, Some(told)) if told.starts_with("failed") => (Phase::Failed, told),
            (Some(fault), _) => (Phase::Crashed, fault.clone()),
            (None, _) => (Phase::Done, "done".to_owned()),
        },
        (None, Some(_), told) => {
            let told = told.unwrap_or_else(|| "starting".to_owned());
            (Phase::of_word(&told), told)
        }
        (None, None, _) => (Phase::Gone, "gone".to_owned()),
    };
    let cpu = ended.map(|ended| ended.cpu_seconds);
    StageSnapshot {
        stage: stage.name.clone(),
        domain: stage.domain.clone(),
        domid: None,
        pid: process.map(|process| process.id.pid),
        incarnation: process.map_or_else(String::new, |process| {
            format!("{} {}", process.id.pid, process.id.started)
        }),
        phase,
        state,
        memory_mib: alive.map_or(0, |usage| usage.resident.div_ceil(1 << 20)),
        cpu_seconds: cpu.or(alive.map(|usage| usage.cpu_seconds)).unwrap_or(0.0),
        restarts: stage.restarts,
        counters: counters(nodes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::process::nest::Ended;
    use crate::compose::process::proc::ProcessId;
    use crate::xl::Uuid;

    #[test]
    fn a_stage_is_what_it_says_while_it_runs_and_what_its_end_was_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("data/grantflow");
        fs::create_dir_all(keys.join("stats/in")).unwrap();
        fs::write(keys.join("state"), "waiting e\x1b").unwrap();
        fs::write(keys.join("stats/stage"), "in=7 used=5 late=2 out=3").unwrap();
        fs::write(keys.join("stats/in/e"), "readings=7").unwrap();
        fs::write(keys.join("stats/stage.new"), "in=").unwrap();
        let stage = StageRecord {
            name: "a".into(),
            domain: "p-a".into(),
            uuid: Uuid::random().unwrap(),
            digest: String::new(),
            edges: Vec::new(),
            restarts: 2,
        };
        let own = ProcessId::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        let look = |id, fault: Option<Option<&str>>| {
            let ended = fault.map(|fault| Ended {
                fault: fault.map(str::to_owned),
                cpu_seconds: 1.5,
            });
            of_process(&stage, Some(&ProcessOf { id, ended }), false, &nodes(&keys))
        };
        let running = look(own, None);
        assert_eq!(
            (running.phase, running.state.as_str()),
            (Phase::Waiting, "waiting e?")
        );
        assert_eq!((running.pid, running.restarts), (Some(own.pid), 2));
        let counters = running.counters.unwrap();
        assert_eq!((counters.stage.readings_in, counters.edges.len()), (7, 1));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let zombie = ProcessId::of(i32::try_from(child.id()).unwrap()).unwrap();
        while zombie.is_alive() {
            std::thread::yield_now();
        }
        let process = ProcessOf {
            id: zombie,
            ended: None,
        };
        let of =
            |is_asked_for| of_process(&stage, Some(&process), is_asked_for, &nodes(&keys)).phase;
        assert_eq!((of(true), of(false)), (Phase::Waiting, Phase::Gone));
        child.wait().unwrap();
        let gone = ProcessId { started: 0, ..own };
        assert_eq!(look(gone, None).phase, Phase::Gone);
        let done = look(gone, Some(None));
        assert_eq!((done.phase, done.cpu_seconds), (Phase::Done, 1.5));
        let crashed = look(gone, Some(Some("signal: 9 (SIGKILL)")));
        assert_eq!(
            (crashed.phase, crashed.state.as_str()),
            (Phase::Crashed, "signal: 9 (SIGKILL)")
        );
        fs::write(keys.join("state"), "failed it broke").unwrap();
        assert_eq!(
            look(gone, Some(Some("exit status: 1"))).state,
            "failed it broke"
        );
    }
}
