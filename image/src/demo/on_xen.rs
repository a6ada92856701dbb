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
use super::published::BrokerReport;
use super::report::{BootReport, EdgeReport, Report, StageReport};
use super::sink::{Came, Delivery, Sink};
use super::stages::{EdgePlan, End, StagePlan};
use super::verify;
use crate::lab::signals;
use crate::progress::Progress;
use crate::xl::{Boot, DomId, Domain, DomainGuard, SystemTools, XenStore, Xl};

/// How long one call of `xl` or of a xenstore program may take; building a domain takes seconds under emulation.
const CALL_PATIENCE: Duration = Duration::from_secs(120);

/// Silence after which the far end is nudged and the domains are looked after.
const SILENCE: Duration = Duration::from_secs(2);

/// The same where the results come from a broker, which says nothing when they end.
const BROKER_SILENCE: Duration = Duration::from_millis(500);

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

impl Demo<'_> {
    fn run(&self) -> Result<Report, DemoError> {
        let begin = Instant::now();
        let stages = &self.plan.pipeline.stages;
        let mut created = Vec::with_capacity(stages.len());
        let mut sink = self.plan.outlet.as_ref().map(Sink::broker).transpose()?;
        for (index, stage) in stages.iter().enumerate() {
            let one = self.create(stage)?;
            if self.writes_to_dom0(index) {
                sink = Some(Sink::vchan(self.tools, one.domain.id)?);
            }
            created.push(one);
        }
        let mut sink = sink.ok_or(DemoError::NoResultEdge)?;
        let last_create = begin.elapsed();
        self.introduce(&created)?;
        self.progress
            .say("the stages know each other; waiting for the windows");
        let first = self.receive(&mut sink, &created, begin)?;
        let delivery = sink.finish(self.progress)?;
        let ended = self.await_end()?;
        let total = begin.elapsed();
        let counters: Result<Vec<Counters>, _> = created
            .iter()
            .map(|one| self.guests.counters(one.domain.id))
            .collect();
        let timing = Timing {
            begin,
            first,
            last_create,
            total,
        };
        self.report(&created, &ended, &counters?, &delivery, timing)
    }

    fn writes_to_dom0(&self, stage: usize) -> bool {
        let mut edges = self.plan.pipeline.edges.iter();
        edges.any(|edge| edge.from == stage && edge.to == End::Dom0)
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

    /// Takes in the results up to their end; returns when the first record was here.
    fn receive(
        &self,
        sink: &mut Sink<'_>,
        created: &[Created],
        begin: Instant,
    ) -> Result<Instant, DemoError> {
        let mut first = None;
        let mut heard = Instant::now();
        let mut said = Instant::now();
        let silence = match sink {
            Sink::Vchan(_) => SILENCE,
            Sink::Broker(_) => BROKER_SILENCE,
        };
        while !sink.has_ended() {
            if signals::came(self.stop) {
                return Err(DemoError::Stopped);
            }
            if begin.elapsed() > self.plan.timeout {
                return Err(self.stuck(sink));
            }
            match sink.next(Duration::from_millis(200))? {
                Came::Records(at) => {
                    if first.is_none() {
                        first = Some(at);
                        self.progress.say("the first record is here");
                    }
                    heard = Instant::now();
                }
                Came::Nothing if heard.elapsed() >= silence => {
                    sink.nudge();
                    self.look_after(sink, created)?;
                    heard = Instant::now();
                }
                Came::Nothing => {}
                Came::Closed => return Err(self.cut_short(sink)),
            }
            if said.elapsed() >= SILENCE {
                let (have, all) = (sink.windows(), self.plan.expected.len());
                self.progress
                    .say(format_args!("{have} of {all} windows are here"));
                said = Instant::now();
            }
        }
        first.ok_or(DemoError::NoRecord)
    }

    /// Looks after all domains. A gateway that has ended has delivered all it could; a writer to dom0 that has will not send
    /// the end of its stream any more.
    fn look_after(&self, sink: &mut Sink<'_>, created: &[Created]) -> Result<(), DemoError> {
        let domains = self.guests.check()?;
        let ended = |(stage, domain): (usize, &Domain)| domain.ended.is_some().then_some(stage);
        for stage in domains.iter().enumerate().filter_map(ended) {
            if self.writes_to_dom0(stage) {
                return Err(DemoError::EndedEarly(self.guests.last_words_of_all()));
            }
            let gateway = created
                .get(stage)
                .filter(|_| self.plan.pipeline.gateway == Some(stage));
            if let Some(gateway) = gateway {
                let counters = self.guests.counters(gateway.domain.id)?;
                sink.expect(figures::own(&counters, "acknowledged"));
            }
        }
        Ok(())
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

    fn stuck(&self, sink: &Sink<'_>) -> DemoError {
        let (have, all) = (sink.windows(), self.plan.expected.len());
        let seconds = self.plan.timeout.as_secs();
        DemoError::Timeout {
            seconds,
            have,
            all,
            said: self.guests.last_words_of_all(),
        }
    }

    fn cut_short(&self, sink: &Sink<'_>) -> DemoError {
        let (have, all) = (sink.windows(), self.plan.expected.len());
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
        delivery: &Delivery,
        timing: Timing,
    ) -> Result<Report, DemoError> {
        let pipeline = &self.plan.pipeline;
        let edges = figures::edges(pipeline, counters, delivery.received);
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
            reader_nudges: delivery.nudges,
            broker: None,
            stages,
            edges: edges
                .iter()
                .map(|edge| EdgeReport::new(edge, pipeline))
                .collect(),
            faults: Vec::new(),
            imbalances: Vec::new(),
        };
        let mut imbalances = figures::imbalances(pipeline, &self.plan.recorded, counters, &edges);
        let gateway = pipeline.gateway.and_then(|stage| counters.get(stage));
        if let (Some(outlet), Some(gateway), Some(counts)) =
            (&self.plan.outlet, gateway, delivery.counts)
        {
            let broker = BrokerReport::new(outlet, gateway, counts);
            imbalances.extend(broker.imbalances());
            report.broker = Some(broker);
        }
        report.judge(
            &verify::compare(&self.plan.expected, &delivery.windows),
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
            cpu_seconds: ended.cpu_time.as_secs_f64(),
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
}

fn milliseconds(span: Duration) -> f64 {
    span.as_secs_f64() * 1000.0
}
