//! `grantflow up --target process`: runs the stages of a pipeline as processes, until all have ended.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::child::{Running, Show, StartError};
use super::edges;
use super::look::OnProcesses;
use super::nest::{Nest, NestError, ProcessOf, ProcessRecord};
use super::proc::ProcessId;
use super::programs::Programs;
use crate::compose::domains::ComposeError;
use crate::compose::load::{LoadError, load, size};
use crate::compose::plan::{Plan, plan};
use crate::compose::policy::{Health, MOST, Policy, Verdict};
use crate::compose::record::{EdgeRecord, Record, RecordError, StageRecord};
use crate::compose::snapshot::{EdgeSnapshot, Phase, Snapshot, snapshot};
use crate::compose::status::{StageStatus, status, table};
use crate::failure::Failure;
use crate::lab::signals;
use crate::output;
use crate::progress::Progress;
use crate::xl::Uuid;

/// How often to look at the processes.
const LOOK: Duration = Duration::from_millis(20);

/// How long a stage may take to its first word.
const FIRST_WORD: Duration = Duration::from_secs(20);

/// How long the stages may take to end once they were asked to; half of it goes to the sources alone.
const DRAIN: Duration = Duration::from_secs(30);

/// What is wanted.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// The pipeline's file.
    pub file: &'a Path,
    /// Whose part of it runs; without it the stages of all hosts run here, and meet without a broker.
    pub host: Option<&'a str>,
    /// A folder of built programs, or they are built now.
    pub programs: Option<&'a Path>,
    /// How long the pipeline may run.
    pub timeout: Option<Duration>,
    /// One JSON document instead of text.
    pub json: bool,
}

/// Why the pipeline does not run.
#[derive(Debug, thiserror::Error)]
enum UpError {
    #[error(transparent)]
    Nest(#[from] NestError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Compose(#[from] ComposeError),
    #[error(transparent)]
    System(#[from] std::io::Error),
    #[error("{stage} ended at once ({said}); nothing is left running")]
    EndedAtOnce { stage: String, said: String },
    #[error("{stage} has told no state in {} s; nothing is left running", FIRST_WORD.as_secs())]
    Silent { stage: String },
    #[error("stopped before all stages were started; nothing is left running")]
    Stopped,
}

/// Does it.
pub fn up(wanted: &Wanted<'_>, progress: &Progress) -> Result<(), Failure> {
    let stop = signals::watch()?;
    let programs = Programs::of(wanted.file, wanted.host, wanted.programs, progress)?;
    let mut loaded = load(wanted.file, programs.catalogue.clone(), wanted.host)
        .map_err(|error: LoadError| Failure::input(error))?;
    if wanted.host.is_some() {
        loaded = loaded.on(wanted.host).map_err(Failure::input)?;
    }
    let plan = plan(&loaded, &programs.folder, &size);
    let show = shower(&plan, wanted.json);
    let nest = Nest::make(&plan).map_err(|error| match error {
        NestError::Name { .. } | NestError::Long(_) => Failure::input(error),
        other => other.into(),
    })?;
    let mut pipeline = Pipeline::start(&plan, wanted.file, &programs.folder, nest, &show, &stop)?;
    progress.say(format_args!(
        "{}: {} stages run; Ctrl-C ends them",
        plan.name,
        plan.stages.len()
    ));
    let begin = Instant::now();
    let in_time = pipeline.run(wanted.timeout, &stop, progress)?;
    let took = begin.elapsed();
    let (stages, snapshot) = pipeline.totals()?;
    // Every line of the consoles comes before the totals.
    drop(pipeline);
    tell(&stages, &snapshot, took, wanted.json)?;
    let bad = stages.iter().filter(|stage| stage.state != "done");
    let bad: Vec<&str> = bad.map(|stage| stage.stage.as_str()).collect();
    match (in_time, bad.is_empty()) {
        (true, true) => Ok(()),
        (true, false) => Err(Failure::failed(format!("not done: {}", bad.join(", ")))),
        (false, _) => Err(Failure::failed(format!(
            "still running after {} s, and so ended",
            wanted.timeout.unwrap_or_default().as_secs()
        ))),
    }
}

/// Shows the lines of consoles, each behind the name of its stage.
fn shower(plan: &Plan, json: bool) -> Show {
    let names = plan.stages.iter().map(|stage| stage.stage.len());
    let width = names.max().unwrap_or(0);
    Arc::new(move |stage, line| {
        let line = format_args!("{stage:<width$} | {line}");
        if json {
            output::tell(line);
        } else {
            // That nobody reads is noted where it matters.
            let _ = output::line(line);
        }
    })
}

fn tell(
    stages: &[StageStatus],
    snapshot: &Snapshot,
    took: Duration,
    json: bool,
) -> Result<(), Failure> {
    let edge = |edge: &EdgeSnapshot| {
        let count =
            |of: fn(&stage::counters::EdgeCounters) -> u64, end: &Option<_>| end.as_ref().map(of);
        json!({
            "name": edge.name, "from": edge.from, "to": edge.to,
            "sent": count(|end| end.readings, &edge.writer),
            "received": count(|end| end.readings, &edge.reader),
            "lost": edge.lost(),
        })
    };
    if json {
        let restarts: u32 = snapshot.stages.iter().map(|stage| stage.restarts).sum();
        let edges: Vec<_> = snapshot.edges.iter().map(edge).collect();
        output::line(json!({
            "name": snapshot.name, "seconds": took.as_secs_f64(), "restarts": restarts,
            "stages": stages, "edges": edges,
        }))?;
    } else {
        output::write(table(stages))?;
        output::write(edges::table(snapshot, took))?;
    }
    Ok(())
}

/// A pipeline that runs. Its processes end when it is dropped, and then its folder goes.
struct Pipeline<'a> {
    plan: &'a Plan,
    programs: &'a Path,
    show: &'a Show,
    told: ProcessRecord,
    running: Vec<Running>,
    nest: Nest,
}

impl<'a> Pipeline<'a> {
    /// Starts every stage, or leaves none.
    fn start(
        plan: &'a Plan,
        file: &Path,
        programs: &'a Path,
        nest: Nest,
        show: &'a Show,
        stop: &AtomicBool,
    ) -> Result<Self, UpError> {
        let own = i32::try_from(std::process::id()).unwrap_or_default();
        let mut pipeline = Self {
            plan,
            programs,
            show,
            told: ProcessRecord {
                composer: ProcessId::of(own).unwrap_or(ProcessId {
                    pid: own,
                    started: 0,
                }),
                record: record(plan, file)?,
                processes: Vec::new(),
            },
            running: Vec::new(),
            nest,
        };
        for stage in &plan.stages {
            let running = Running::start(stage, programs, &pipeline.nest, show)?;
            pipeline.running.push(running);
        }
        pipeline.save()?;
        pipeline.await_words(stop)?;
        Ok(pipeline)
    }

    /// A program that was started is not enough: each stage must have said what it does.
    fn await_words(&mut self, stop: &AtomicBool) -> Result<(), UpError> {
        let begin = Instant::now();
        loop {
            let phases = self.phases()?;
            let mut starting = None;
            for (stage, (phase, said)) in self.plan.stages.iter().zip(phases) {
                match phase {
                    Phase::Starting => starting = Some(stage.stage.clone()),
                    Phase::Crashed | Phase::Failed | Phase::Gone => {
                        return Err(UpError::EndedAtOnce {
                            stage: stage.stage.clone(),
                            said,
                        });
                    }
                    _ => {}
                }
            }
            let Some(stage) = starting else { return Ok(()) };
            if signals::came(stop) {
                return Err(UpError::Stopped);
            }
            if begin.elapsed() >= FIRST_WORD {
                return Err(UpError::Silent { stage });
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// What each stage does, with the ends of processes noted.
    fn phases(&mut self) -> Result<Vec<(Phase, String)>, UpError> {
        self.note_ends()?;
        let stages = self.snapshot()?.stages;
        Ok(stages
            .into_iter()
            .map(|stage| (stage.phase, stage.state))
            .collect())
    }

    fn snapshot(&self) -> Result<Snapshot, ComposeError> {
        let source = self.source();
        snapshot(&self.plan.name, source.record(), &source, Duration::ZERO)
    }

    fn source(&self) -> OnProcesses {
        OnProcesses {
            folder: self.nest.path().to_owned(),
            told: self.told.clone(),
        }
    }

    /// Writes down which processes have ended, and how.
    fn note_ends(&mut self) -> Result<(), UpError> {
        let mut news = false;
        for (running, told) in self.running.iter_mut().zip(&mut self.told.processes) {
            if told.ended.is_none()
                && let Some(ended) = running.ended()?
            {
                told.ended = Some(ended.clone());
                news = true;
            }
        }
        if news {
            self.nest.save(&self.told)?;
        }
        Ok(())
    }

    /// Writes down which processes there are.
    fn save(&mut self) -> Result<(), UpError> {
        let process = |running: &Running| ProcessOf {
            id: running.id(),
            ended: None,
        };
        self.told.processes = self.running.iter().map(process).collect();
        self.nest.save(&self.told)?;
        Ok(())
    }

    /// Runs until every stage has ended for good, the time is over, or somebody asks for the end. Whether it was in time.
    fn run(
        &mut self,
        timeout: Option<Duration>,
        stop: &AtomicBool,
        progress: &Progress,
    ) -> Result<bool, UpError> {
        let begin = Instant::now();
        let mut policy = Policy::default();
        loop {
            if !self.supervise(&mut policy, begin.elapsed(), progress)? {
                return Ok(true);
            }
            let is_late = timeout.is_some_and(|timeout| begin.elapsed() >= timeout);
            if is_late || signals::came(stop) {
                self.drain(progress)?;
                return Ok(!is_late);
            }
            thread::sleep(LOOK);
        }
    }

    /// Looks once, and starts again what is due. Whether anything runs, or will.
    fn supervise(
        &mut self,
        policy: &mut Policy,
        now: Duration,
        progress: &Progress,
    ) -> Result<bool, UpError> {
        self.note_ends()?;
        let mut goes_on = false;
        for place in 0..self.plan.stages.len() {
            let stage = &self.plan.stages[place];
            let health = self.health(place)?;
            match policy.judge(&stage.stage, stage.restart, health, now) {
                Verdict::Leave => {}
                Verdict::Restart(attempt) => {
                    let (name, fault) = (&stage.stage, self.fault(place));
                    progress.say(format_args!(
                        "{name} has ended ({fault}); starting it again, attempt {attempt}"
                    ));
                    self.restart(place, progress)?;
                }
                Verdict::GiveUp => progress.say(format_args!(
                    "{} has failed {MOST} times in a row and is given up",
                    stage.stage
                )),
            }
            goes_on |=
                health == Health::Runs || policy.will_restart(&stage.stage, stage.restart, health);
        }
        Ok(goes_on)
    }

    fn health(&self, place: usize) -> Result<Health, UpError> {
        let ended = self.told.processes.get(place).map(|told| &told.ended);
        Ok(match ended {
            Some(None) => Health::Runs,
            Some(Some(ended)) if ended.fault.is_none() => Health::Ended,
            _ => Health::Failed,
        })
    }

    fn fault(&self, place: usize) -> String {
        let told = self.told.processes.get(place);
        let fault = told.and_then(|told| told.ended.as_ref()?.fault.clone());
        fault.unwrap_or_else(|| "in order".to_owned())
    }

    /// A new process for a stage; no other stage restarts. That it cannot be started is tried again like any other failure.
    fn restart(&mut self, place: usize, progress: &Progress) -> Result<(), UpError> {
        let stage = &self.plan.stages[place];
        self.nest.forget(&stage.stage)?;
        match Running::start(stage, self.programs, &self.nest, self.show) {
            Ok(running) => {
                let id = running.id();
                self.running[place] = running;
                self.told.processes[place] = ProcessOf { id, ended: None };
                self.told.record.stages[place].restarts += 1;
                self.nest.save(&self.told)?;
            }
            Err(error) => progress.say(error),
        }
        Ok(())
    }

    /// Asks the sources to end, and the others after a while, and ends what is left.
    fn drain(&mut self, progress: &Progress) -> Result<(), UpError> {
        let begin = Instant::now();
        progress.say("asking the sources to end, and waiting until all is drained");
        let stages = &self.told.record.stages;
        let (sources, others): (Vec<usize>, Vec<usize>) =
            (0..self.running.len()).partition(|place| stages[*place].is_source());
        sources.iter().for_each(|place| self.running[*place].ask());
        let mut asked_all = false;
        loop {
            self.note_ends()?;
            let left = self.told.processes.iter().zip(&self.plan.stages);
            let left = left.filter(|(told, _)| told.ended.is_none());
            let left: Vec<&str> = left.map(|(_, stage)| stage.stage.as_str()).collect();
            if left.is_empty() {
                return Ok(());
            }
            if !asked_all && begin.elapsed() >= DRAIN / 2 {
                asked_all = true;
                progress.say(format_args!(
                    "still running: {}; asking the others too",
                    left.join(", ")
                ));
                others.iter().for_each(|place| self.running[*place].ask());
            }
            if begin.elapsed() >= DRAIN {
                progress.say(format_args!("ended by force: {}", left.join(", ")));
                self.running.iter().for_each(Running::kill);
            }
            thread::sleep(LOOK);
        }
    }

    fn totals(&mut self) -> Result<(Vec<StageStatus>, Snapshot), UpError> {
        self.note_ends()?;
        let source = self.source();
        Ok((status(source.record(), &source)?, self.snapshot()?))
    }
}

/// The record of a plan, as for domains.
fn record(plan: &Plan, file: &Path) -> Result<Record, UpError> {
    let mut stages = Vec::new();
    for (place, stage) in plan.stages.iter().enumerate() {
        stages.push(StageRecord {
            name: stage.stage.clone(),
            domain: stage.domain.clone(),
            uuid: Uuid::random()?,
            digest: String::new(),
            edges: EdgeRecord::of_stage(plan, place),
            restarts: 0,
        });
    }
    Ok(Record {
        file: std::path::absolute(file).unwrap_or_else(|_| file.to_owned()),
        generation: 1,
        plan: plan.clone(),
        stages,
        ..Record::default()
    })
}
