//! What a run of the demo has to say, for a person and as JSON.

use std::fmt;

use serde::{Deserialize, Serialize};
use stage::boot::Boot;

use super::figures::EdgeFigures;
use super::published::BrokerReport;
use super::stages::{End, Pipeline};
use super::verify::Verdict;
use crate::progress::{Bytes, Thousands};

/// How many wrong windows a person is shown; JSON has them all.
const FAULTS_SHOWN: usize = 10;

/// One stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageReport {
    /// Its name.
    pub name: String,
    /// The name of its domain.
    pub domain: String,
    /// The number of its domain.
    pub domid: u16,
    /// Its image.
    pub image: String,
    /// The size of the image, stripped.
    pub image_bytes: u64,
    /// The memory of its domain.
    pub memory_mib: u32,
    /// Its command line.
    pub extra: String,
    /// Its module.
    pub ramdisk: Option<String>,
    /// The call that made the domain.
    pub xl_create: String,
    /// How long that call took.
    pub xl_create_ms: f64,
    /// CPU time the domain used, in seconds.
    pub cpu_seconds: f64,
    /// The last state it told.
    pub state: String,
    /// Why the domain ended.
    pub ended: String,
    /// Readings in.
    pub readings_in: u64,
    /// Readings used.
    pub used: u64,
    /// Readings out.
    pub readings_out: u64,
    /// Readings dropped, by cause; causes without a reading are left out.
    pub dropped: Vec<(String, u64)>,
    /// The most heap in use, in bytes.
    pub heap_high_water: u64,
    /// How it came up, where it has told.
    pub boot: Option<BootReport>,
}

/// How a stage came up; times in microseconds of guest time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootReport {
    /// From its first instruction to its first line.
    pub first_line_us: u64,
    /// From its first instruction to `running`, the waiting for others left out.
    pub running_us: u64,
    /// How long it waited for others: dom0's word, or a peer.
    pub waiting_us: u64,
    /// Xenstore round trips, one after the other.
    pub xenstore_round_trips: u64,
    /// How long the first of them took.
    pub round_trip_us: u64,
}

impl From<Boot> for BootReport {
    fn from(boot: Boot) -> Self {
        Self {
            first_line_us: boot.first_line,
            running_us: boot.own(),
            waiting_us: boot.waiting,
            xenstore_round_trips: boot.round_trips,
            round_trip_us: boot.round_trip,
        }
    }
}

/// One edge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EdgeReport {
    /// Its name.
    pub name: String,
    /// The writing stage.
    pub from: String,
    /// The reading stage, or `dom0`.
    pub to: String,
    /// Bytes written.
    pub bytes: u64,
    /// Messages (packs) written.
    pub messages: u64,
    /// Readings written.
    pub sent: u64,
    /// Readings received.
    pub received: u64,
    /// Readings lost.
    pub lost: u64,
    /// Event-channel sends of both ends (of the writer alone where dom0 reads).
    pub event_sends: u64,
    /// The same for 1,000 messages.
    pub event_sends_per_1000_messages: Option<f64>,
    /// How long the writer waited for room.
    pub blocked_ms: f64,
}

impl EdgeReport {
    /// The figures of an edge, with the names of its ends.
    pub fn new(edge: &EdgeFigures, pipeline: &Pipeline) -> Self {
        let name = |end: End| match end {
            End::Stage(index) => pipeline.stages.get(index).map_or("?", |stage| stage.name),
            End::Dom0 => "dom0",
        };
        Self {
            name: edge.plan.name.to_owned(),
            from: name(End::Stage(edge.plan.from)).to_owned(),
            to: name(edge.plan.to).to_owned(),
            bytes: edge.writer.bytes,
            messages: edge.writer.packs,
            sent: edge.writer.readings,
            received: edge.received.readings,
            lost: edge.received.lost.saturating_add(edge.writer.lost),
            event_sends: edge.events_sent,
            event_sends_per_1000_messages: edge.events_per_1000_messages(),
            blocked_ms: edge.writer.blocked.as_secs_f64() * 1000.0,
        }
    }
}

/// A whole run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Windows in the recordings.
    pub windows: usize,
    /// Windows that arrived, over the foreign vchan or from the broker, and are right.
    pub verified: usize,
    /// Whether all of it is right: windows and balances.
    pub passed: bool,
    /// From the start of the first `xl create` to the first record at the far end.
    pub first_record_ms: f64,
    /// From the end of the last `xl create` to the first record at the far end.
    pub first_record_after_create_ms: f64,
    /// From the start of the first `xl create` to the end of all stages.
    pub total_ms: f64,
    /// How often the foreign reader had to be made to look at its ring.
    pub reader_nudges: u32,
    /// What the broker delivered, where the results go to one.
    pub broker: Option<BrokerReport>,
    /// The stages in the order of their creation.
    pub stages: Vec<StageReport>,
    /// The edges.
    pub edges: Vec<EdgeReport>,
    /// Windows that are wrong, absent or unexpected.
    pub faults: Vec<String>,
    /// Balances that do not hold.
    pub imbalances: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for stage in &self.stages {
            write_creation(f, stage)?;
        }
        writeln!(f)?;
        writeln!(
            f,
            "stage        image size  memory   heap used       in     used      out  dropped"
        )?;
        for stage in &self.stages {
            write_stage(f, stage)?;
        }
        writeln!(f)?;
        writeln!(
            f,
            "stage        first line      running   xenstore round trips   one of them"
        )?;
        for stage in &self.stages {
            write_boot(f, stage)?;
        }
        writeln!(f)?;
        writeln!(
            f,
            "edge                     messages  readings     lost       bytes  sends/1,000 messages"
        )?;
        for edge in &self.edges {
            write_edge(f, edge)?;
        }
        writeln!(f)?;
        writeln!(
            f,
            "first record {} after the first xl create ({} after the last); all stages ended after {}",
            Seconds(self.first_record_ms),
            Seconds(self.first_record_after_create_ms),
            Seconds(self.total_ms)
        )?;
        if let Some(broker) = &self.broker {
            writeln!(f, "{broker}")?;
        }
        match self.imbalances.as_slice() {
            [] => writeln!(
                f,
                "balance: in = used + dropped in {} stages, sent = received + lost on {} edges",
                self.stages.len(),
                self.edges.len()
            )?,
            broken => broken
                .iter()
                .try_for_each(|line| writeln!(f, "balance broken: {line}"))?,
        }
        for fault in self.faults.iter().take(FAULTS_SHOWN) {
            writeln!(f, "wrong: {fault}")?;
        }
        if let more @ 1.. = self.faults.len().saturating_sub(FAULTS_SHOWN) {
            writeln!(f, "wrong: and {more} more; --json lists them all")?;
        }
        write!(f, "verified {} of {} windows", self.verified, self.windows)
    }
}

fn write_creation(f: &mut fmt::Formatter<'_>, stage: &StageReport) -> fmt::Result {
    let module = stage
        .ramdisk
        .as_deref()
        .map(|module| format!(", ramdisk {}", file_name(module)));
    writeln!(
        f,
        "{}  ({}): domain {}, {}.elf{}",
        stage.xl_create,
        Seconds(stage.xl_create_ms),
        stage.domid,
        stage.image,
        module.unwrap_or_default()
    )?;
    writeln!(f, "    {}", stage.extra)
}

fn write_stage(f: &mut fmt::Formatter<'_>, stage: &StageReport) -> fmt::Result {
    let dropped: u64 = stage.dropped.iter().map(|(_, count)| count).sum();
    let causes: Vec<String> = stage
        .dropped
        .iter()
        .map(|(cause, count)| format!("{cause} {count}"))
        .collect();
    let causes = if causes.is_empty() {
        String::new()
    } else {
        format!(" ({})", causes.join(", "))
    };
    writeln!(
        f,
        "{:<11} {:>11} {:>3} MiB {:>11} {:>8} {:>8} {:>8} {:>8}{causes}",
        stage.name,
        Bytes(stage.image_bytes),
        stage.memory_mib,
        Bytes(stage.heap_high_water),
        Thousands(stage.readings_in),
        Thousands(stage.used),
        Thousands(stage.readings_out),
        dropped
    )
}

fn write_boot(f: &mut fmt::Formatter<'_>, stage: &StageReport) -> fmt::Result {
    let Some(boot) = stage.boot else {
        return writeln!(f, "{:<11} told nothing of its boot", stage.name);
    };
    writeln!(
        f,
        "{:<11} {:>8} us {:>9} us {:>22} {:>10} us",
        stage.name,
        Thousands(boot.first_line_us),
        Thousands(boot.running_us),
        boot.xenstore_round_trips,
        Thousands(boot.round_trip_us)
    )
}

fn write_edge(f: &mut fmt::Formatter<'_>, edge: &EdgeReport) -> fmt::Result {
    let sends = edge
        .event_sends_per_1000_messages
        .map_or_else(|| "-".to_owned(), |rate| format!("{rate:.0}"));
    writeln!(
        f,
        "{:<24} {:>8} {:>9} {:>8} {:>11} {:>21}",
        format!("{} -> {}", edge.from, edge.to),
        Thousands(edge.messages),
        Thousands(edge.sent),
        Thousands(edge.lost),
        Thousands(edge.bytes),
        sends
    )
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

impl Report {
    /// Takes over the verdict and the balances; the run has passed when neither has a complaint.
    pub fn judge(&mut self, verdict: &Verdict, imbalances: Vec<String>) {
        self.windows = verdict.expected;
        self.verified = verdict.verified;
        self.faults = verdict.faults.iter().map(ToString::to_string).collect();
        self.passed = verdict.passed() && imbalances.is_empty();
        self.imbalances = imbalances;
    }
}

/// Milliseconds as seconds.
struct Seconds(f64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} s", self.0 / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::verify::{Fault, WindowKey};

    fn report() -> Report {
        Report {
            windows: 0,
            verified: 0,
            passed: false,
            first_record_ms: 2_345.6,
            first_record_after_create_ms: 120.0,
            total_ms: 4_000.0,
            reader_nudges: 0,
            broker: None,
            stages: vec![StageReport {
                name: "weather".into(),
                domain: "demo-weather".into(),
                domid: 3,
                image: "sensor".into(),
                image_bytes: 70_000,
                memory_mib: 2,
                extra: "stage=weather out.weather=? rate=max".into(),
                ramdisk: Some("/d/weather.csv".into()),
                xl_create: "xl create demo-weather.cfg".into(),
                xl_create_ms: 812.3,
                cpu_seconds: 0.4,
                state: "done".into(),
                ended: "poweroff".into(),
                readings_in: 26_277,
                used: 26_276,
                readings_out: 26_276,
                dropped: vec![("empty".into(), 1)],
                heap_high_water: 41_000,
                boot: Some(BootReport {
                    first_line_us: 312,
                    running_us: 8_500,
                    waiting_us: 12_000,
                    xenstore_round_trips: 5,
                    round_trip_us: 1_300,
                }),
            }],
            edges: vec![EdgeReport {
                name: "weather".into(),
                from: "weather".into(),
                to: "aggregator".into(),
                bytes: 1_234_567,
                messages: 900,
                sent: 26_276,
                received: 26_276,
                lost: 0,
                event_sends: 18,
                event_sends_per_1000_messages: Some(20.0),
                blocked_ms: 3.0,
            }],
            faults: Vec::new(),
            imbalances: Vec::new(),
        }
    }

    fn judged(faults: usize, imbalances: &[&str]) -> Report {
        let fault = |n| {
            Fault::Absent(WindowKey {
                series: "wind".into(),
                start: n,
            })
        };
        let mut report = report();
        let faults: Vec<Fault> = (0..).take(faults).map(fault).collect();
        let verdict = Verdict {
            expected: 30,
            verified: 30 - faults.len(),
            faults,
        };
        report.judge(
            &verdict,
            imbalances.iter().map(|line| (*line).to_owned()).collect(),
        );
        report
    }

    #[test]
    fn the_last_line_counts_the_verified_windows() {
        let (good, bad) = (judged(0, &[]), judged(12, &[]));
        assert!(good.passed && !bad.passed);
        assert_eq!(
            good.to_string().lines().last(),
            Some("verified 30 of 30 windows")
        );
        assert_eq!(
            bad.to_string().lines().last(),
            Some("verified 18 of 30 windows")
        );
    }

    #[test]
    fn a_person_sees_ten_faults_and_how_many_more_there_are() {
        let text = judged(12, &[]).to_string();
        assert_eq!(text.matches("wrong: wind 1970-01-01T00:00:").count(), 10);
        assert!(text.contains("wrong: and 2 more"), "{text}");
    }

    #[test]
    fn a_broken_balance_fails_a_run_whose_windows_are_all_right() {
        let report = judged(0, &["edge flow: 10 readings sent, but 9 received + 0 lost"]);
        assert!(!report.passed);
        assert!(
            report
                .to_string()
                .contains("balance broken: edge flow: 10 readings sent")
        );
    }

    #[test]
    fn everything_asked_for_stands_in_the_text_and_fits_a_terminal() {
        let text = judged(0, &[]).to_string();
        for part in [
            "xl create demo-weather.cfg",
            "stage=weather out.weather=?",
            "68.4 KiB",
            "26,277",
            "(empty 1)",
            "1,234,567",
            "first record 2.35 s after the first xl create",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(text.lines().all(|line| line.len() <= 120), "{text}");
    }
}
