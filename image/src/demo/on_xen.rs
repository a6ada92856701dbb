//! The demo in a dom0: domains are created, told of each other, read from, and destroyed.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use stage::counters::Counters;
use stage::function::DropCause;

use super::args::Plan;
use super::error::DemoError;
use super::figures;
use super::guests::Guests;
use super::reader::{ForeignReader, Heard};
use super::report::{BootReport, EdgeReport, Report, StageReport};
use super::results::{Arrived, Results};
use super::stages::{EdgePlan, End, RESULT_EDGE, StagePlan};
use super::verify;
use crate::lab::signals;
use crate::progress::Progress;
use crate::xl::{Boot, DomId, Domain, DomainGuard, SystemTools, XenStore, Xl};

/// How long one call of `xl` or of a xenstore program may take; building a domain takes seconds under emulation.
const CALL_PATIENCE: Duration = Duration::from_secs(120);

/// Silence after which the foreign reader is made to look at its ring, and the domains are looked after.
const SILENCE: Duration = Duration::from_secs(2);

/// How long the foreign reader may take to end after the end of the stream.
const READER_END: Duration = Duration::from_secs(10);

/// How long the stages may take to end after the end of the stream.
const STAGES_END: Duration = Duration::from_secs(60);

/// The generation of the peers the demo names: it names them once (design "Rendezvous").
const GENERATION: u32 = 1;

/// Runs the pipeline in this dom0 and verifies what arrives.
pub fn run(plan: &Plan, progress: &Progress) -> Result<Report, DemoError> {
    let stop = signals::watch().map_err(|error| DemoError::Signals(error.to_string()))?;
    let tools = SystemTools::new(Arc::clone(&stop), CALL_PATIENCE);
    let mut guard = DomainGuard::new(tools.for_cleanup());
    let names: Vec<String> = plan.pipeline.stages.iter().map(StagePlan::domain).collect();
    guard.claim(names.iter().map(String::as_str))?;
    let folder = tempfile::Builder::new()
        .prefix("grantflow-demo-")
        .tempdir()
        .map_err(DemoError::Files)?;
    let guests = Guests::new(&tools, names);
    let demo = Demo {
        plan,
        progress,
        tools: &tools,
        stop: &stop,
        guests: &guests,
        folder: folder.path(),
    };
    let report = demo.run()?;
    guard.destroy_all()?;
    Ok(report)
}

/// A run: what it was told, and what it works with.
struct Demo<'a> {
    plan: &'a Plan,
    progress: &'a Progress,
    tools: &'a SystemTools,
    guests: &'a Guests<'a, SystemTools>,
    stop: &'a AtomicBool,
    folder: &'a Path,
}

/// A domain that was created for a stage.
struct Created {
    domain: Domain,
    boot: Boot,
    call: String,
    took: Duration,
}

/// Removes the foreign reader's keys, which it leaves behind when it is killed.
struct Keys<'t>(&'t SystemTools, DomId);

impl Drop for Keys<'_> {
    fn drop(&mut self) {
        // The keys of a domain that is gone harm nobody: no message is worth hiding the one that matters.
        let _ = XenStore::new(&self.0.for_cleanup()).remove(&ForeignReader::keys(self.1));
    }
}

impl Demo<'_> {
    fn run(&self) -> Result<Report, DemoError> {
        let begin = Instant::now();
        let stages = &self.plan.pipeline.stages;
        let mut created = Vec::with_capacity(stages.len());
        let mut reading = None;
        for (index, stage) in stages.iter().enumerate() {
            let one = self.create(stage)?;
            if self.writes_results(index) {
                let keys = Keys(self.tools, one.domain.id);
                reading = Some((keys, ForeignReader::start(one.domain.id, RESULT_EDGE)?));
            }
            created.push(one);
        }
        let (_keys, mut reader) = reading.ok_or(DemoError::NoResultEdge)?;
        let last_create = begin.elapsed();
        self.introduce(&created)?;
        self.progress
            .say("the stages know each other; reading the windows from the foreign vchan");
        let mut results = Results::default();
        let first = self.receive(&mut reader, &mut results, begin)?;
        let nudges = self.end_reader(reader, &mut results)?;
        let ended = self.await_end()?;
        let total = begin.elapsed();
        let arrived = results.finish()?;
        let counters: Result<Vec<Counters>, _> = created
            .iter()
            .map(|one| self.guests.counters(one.domain.id))
            .collect();
        self.report(
            &created,
            &ended,
            &counters?,
            &arrived,
            Timing {
                begin,
                first,
                last_create,
                total,
                nudges,
            },
        )
    }

    fn writes_results(&self, stage: usize) -> bool {
        self.plan
            .pipeline
            .edges
            .iter()
            .any(|edge| edge.from == stage && edge.to == End::Dom0)
    }

    fn create(&self, stage: &StagePlan) -> Result<Created, DemoError> {
        let name = stage.domain();
        let boot = stage
            .input
            .prepare(&self.folder.join(format!("{name}.tar")))?;
        let text = stage
            .config(&self.plan.images, boot.extra.clone(), boot.ramdisk.clone())
            .render()?;
        let config = self.folder.join(format!("{name}.cfg"));
        fs::write(&config, text).map_err(DemoError::Files)?;
        let xl = Xl::new(self.tools);
        let started = Instant::now();
        xl.create(&config)?;
        let took = started.elapsed();
        let domain = xl
            .find(&name)?
            .ok_or_else(|| DemoError::Vanished(name.clone()))?;
        self.progress.say(format_args!(
            "xl create {name}.cfg: domain {} after {:.1} s",
            domain.id,
            took.as_secs_f64()
        ));
        let call = format!("xl create {name}.cfg");
        Ok(Created {
            domain,
            boot,
            call,
            took,
        })
    }

    /// Tells both ends of each edge between stages who the other is.
    fn introduce(&self, created: &[Created]) -> Result<(), DemoError> {
        let id = |stage: usize| created.get(stage).map_or(DomId(0), |one| one.domain.id);
        let store = XenStore::new(self.tools);
        for EdgePlan { name, from, to } in &self.plan.pipeline.edges {
            let End::Stage(to) = to else { continue };
            for (stage, peer) in [(id(*to), id(*from)), (id(*from), id(*to))] {
                let path = format!("/local/domain/{stage}/grantflow/peer/{name}");
                store.write(&path, &format!("{peer} {GENERATION}"))?;
            }
        }
        Ok(())
    }

    /// Takes in the results up to the end of their stream; returns when the first record was here.
    fn receive(
        &self,
        reader: &mut ForeignReader,
        results: &mut Results,
        begin: Instant,
    ) -> Result<Instant, DemoError> {
        let mut first = None;
        let mut heard = Instant::now();
        let mut said = Instant::now();
        while !results.ended() {
            if signals::came(self.stop) {
                return Err(DemoError::Stopped);
            }
            if begin.elapsed() > self.plan.timeout {
                return Err(self.stuck(results));
            }
            match reader.next(Duration::from_millis(200)) {
                Heard::Bytes(at, bytes) => {
                    results.absorb(&bytes)?;
                    if first.is_none() && results.readings() > 0 {
                        first = Some(at);
                        self.progress.say("the first record is here");
                    }
                    heard = Instant::now();
                }
                Heard::Silence if heard.elapsed() >= SILENCE => {
                    reader.nudge();
                    self.check_writer()?;
                    heard = Instant::now();
                }
                Heard::Silence => {}
                Heard::Closed => return Err(self.cut_short(results)),
            }
            if said.elapsed() >= SILENCE {
                let (have, all) = (results.windows(), self.plan.expected.len());
                self.progress
                    .say(format_args!("{have} of {all} windows are here"));
                said = Instant::now();
            }
        }
        first.ok_or(DemoError::NoRecord)
    }

    /// Looks after all domains; a writer of results that has ended will not send the end of its stream any more.
    fn check_writer(&self) -> Result<(), DemoError> {
        let domains = self.guests.check()?;
        let ended = |stage: usize| {
            domains
                .get(stage)
                .is_some_and(|domain| domain.ended.is_some())
        };
        match self
            .plan
            .pipeline
            .edges
            .iter()
            .find(|edge| edge.to == End::Dom0 && ended(edge.from))
        {
            Some(_) => Err(DemoError::EndedEarly(self.guests.last_words_of_all())),
            None => Ok(()),
        }
    }

    /// Waits for the foreign program's own end. After the end of the stream nothing is lost when it must be killed:
    /// it waits for an event of the close, which it may have taken for an earlier one.
    fn end_reader(
        &self,
        mut reader: ForeignReader,
        results: &mut Results,
    ) -> Result<u32, DemoError> {
        let deadline = Instant::now() + READER_END;
        while Instant::now() < deadline {
            match reader.next(Duration::from_millis(200)) {
                Heard::Closed => break,
                Heard::Bytes(_, bytes) => results.absorb(&bytes)?,
                Heard::Silence => {}
            }
        }
        let nudges = reader.nudges();
        if let Err(error) = reader.finish(Duration::from_secs(1)) {
            self.progress
                .say(format_args!("the foreign reader: {error}"));
        }
        Ok(nudges)
    }

    /// Waits until every stage has powered off, and returns their domains in the order of the stages.
    fn await_end(&self) -> Result<Vec<Domain>, DemoError> {
        let deadline = Instant::now() + STAGES_END;
        loop {
            let domains = self.guests.check()?;
            let running: Vec<&str> = domains
                .iter()
                .filter(|domain| domain.ended.is_none())
                .map(|domain| domain.name.as_str())
                .collect();
            if running.is_empty() {
                return Ok(domains);
            }
            if Instant::now() > deadline {
                let (seconds, said) = (STAGES_END.as_secs(), self.guests.last_words(&running));
                return Err(DemoError::StillRunning {
                    names: running.join(", "),
                    seconds,
                    said,
                });
            }
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    fn stuck(&self, results: &Results) -> DemoError {
        let (have, all) = (results.windows(), self.plan.expected.len());
        let seconds = self.plan.timeout.as_secs();
        DemoError::Timeout {
            seconds,
            have,
            all,
            said: self.guests.last_words_of_all(),
        }
    }

    fn cut_short(&self, results: &Results) -> DemoError {
        let (have, all) = (results.windows(), self.plan.expected.len());
        DemoError::CutShort {
            have,
            all,
            said: self.guests.last_words_of_all(),
        }
    }

    fn report(
        &self,
        created: &[Created],
        ended: &[Domain],
        counters: &[Counters],
        arrived: &Arrived,
        timing: Timing,
    ) -> Result<Report, DemoError> {
        let pipeline = &self.plan.pipeline;
        let edges = figures::edges(pipeline, counters, arrived.received);
        let mut stages = Vec::new();
        for (((plan, one), domain), counted) in
            pipeline.stages.iter().zip(created).zip(ended).zip(counters)
        {
            stages.push(self.stage_report(plan, one, domain, counted)?);
        }
        let first = timing.first.saturating_duration_since(timing.begin);
        let mut report = Report {
            windows: 0,
            verified: 0,
            passed: false,
            first_record_ms: milliseconds(first),
            first_record_after_create_ms: milliseconds(first.saturating_sub(timing.last_create)),
            total_ms: milliseconds(timing.total),
            reader_nudges: timing.nudges,
            stages,
            edges: edges
                .iter()
                .map(|edge| EdgeReport::new(edge, pipeline))
                .collect(),
            faults: Vec::new(),
            imbalances: Vec::new(),
        };
        let imbalances = figures::imbalances(pipeline, &self.plan.recorded, counters, &edges);
        report.judge(
            &verify::compare(&self.plan.expected, &arrived.windows),
            imbalances,
        );
        Ok(report)
    }

    fn stage_report(
        &self,
        plan: &StagePlan,
        one: &Created,
        ended: &Domain,
        counted: &Counters,
    ) -> Result<StageReport, DemoError> {
        let image = plan.kernel(&self.plan.images);
        let dropped = DropCause::ALL
            .iter()
            .map(|cause| (cause.key().to_owned(), counted.stage.dropped(*cause)));
        Ok(StageReport {
            name: plan.name.to_owned(),
            domain: plan.domain(),
            domid: one.domain.id.0,
            image: plan.image.to_owned(),
            image_bytes: fs::metadata(image).map_err(DemoError::Files)?.len(),
            memory_mib: plan.memory_mib,
            extra: one.boot.extra.clone(),
            ramdisk: one
                .boot
                .ramdisk
                .as_ref()
                .map(|path| path.display().to_string()),
            xl_create: one.call.clone(),
            xl_create_ms: milliseconds(one.took),
            cpu_seconds: ended.cpu_seconds,
            state: self.guests.state(one.domain.id).unwrap_or_default(),
            ended: ended
                .ended
                .map(|reason| reason.to_string())
                .unwrap_or_default(),
            readings_in: counted.stage.readings_in,
            used: counted.stage.used,
            readings_out: counted.stage.out,
            dropped: dropped.filter(|(_, count)| *count > 0).collect(),
            heap_high_water: counted.stage.heap_high_water,
            boot: self.guests.boot(one.domain.id).map(BootReport::from),
        })
    }
}

/// When what happened.
#[derive(Debug, Clone, Copy)]
struct Timing {
    begin: Instant,
    first: Instant,
    last_create: Duration,
    total: Duration,
    nudges: u32,
}

fn milliseconds(span: Duration) -> f64 {
    span.as_secs_f64() * 1000.0
}
