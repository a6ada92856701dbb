//! A snapshot as the text that Prometheus reads. Pure.
//!
//! Two formats that differ little: OpenMetrics 1.0, and the text format 0.0.4 that came before it, which `promtool check metrics`
//! and older scrapers read. They name counters differently in `TYPE` and `HELP`, so that neither can be read as the other.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use stage::counters::Counters;
use stage::function::DropCause;

use super::families::{
    DROPPED, Family, GENERATION, Kind, OF_EDGE, OF_END, OF_STAGE, OWN, STATE, UP, Value, Who,
};
use crate::compose::snapshot::{EdgeSnapshot, Phase, Snapshot, StageSnapshot};

/// How the text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// OpenMetrics 1.0
    #[value(name = "openmetrics")]
    OpenMetrics,
    /// The text format 0.0.4, for older readers and for `promtool check metrics`
    Prometheus,
}

impl Format {
    /// The format that a client asks for by its header `Accept`.
    pub fn accepted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    /// The header `Content-Type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// All metrics of the pipeline of this name; of one that is down, that it is.
pub fn text(name: &str, snapshot: Option<&Snapshot>, format: Format) -> String {
    let mut text = Text {
        out: String::new(),
        format,
    };
    let pipeline = [("pipeline", name)];
    text.family(UP);
    text.sample(UP, &pipeline, Value::Whole(snapshot.is_some().into()));
    if let Some(snapshot) = snapshot {
        text.family(GENERATION);
        text.sample(
            GENERATION,
            &pipeline,
            Value::Whole(snapshot.generation.into()),
        );
        stages(&mut text, name, &snapshot.stages);
        edges(&mut text, name, &snapshot.edges);
    }
    if format == Format::OpenMetrics {
        text.out.push_str("# EOF\n");
    }
    text.out
}

fn stages(text: &mut Text, name: &str, stages: &[StageSnapshot]) {
    for (family, of) in OF_STAGE {
        text.family(family);
        for stage in stages {
            if let Some(value) = of(stage) {
                text.sample(
                    family,
                    &[("pipeline", name), ("stage", &stage.stage)],
                    value,
                );
            }
        }
    }
    text.family(STATE);
    for stage in stages {
        for phase in Phase::ALL {
            let labels = [
                ("pipeline", name),
                ("stage", &stage.stage),
                (STATE.name, phase.word()),
            ];
            text.sample(STATE, &labels, Value::Whole((phase == stage.phase).into()));
        }
    }
    let counted = || {
        stages
            .iter()
            .filter_map(|stage| Some((stage, stage.counters.as_ref()?)))
    };
    text.family(DROPPED);
    for (stage, counters) in counted() {
        for cause in DropCause::ALL {
            let labels = [
                ("pipeline", name),
                ("stage", &stage.stage),
                ("cause", cause.key()),
            ];
            text.sample(
                DROPPED,
                &labels,
                Value::Whole(counters.stage.dropped(cause)),
            );
        }
    }
    text.family(OWN);
    for (stage, counters) in counted() {
        for (own, value) in own(counters) {
            let labels = [("pipeline", name), ("stage", &stage.stage), ("name", own)];
            text.sample(OWN, &labels, Value::Whole(value));
        }
    }
}

/// What a function counts beside. One name twice would make the whole text unreadable.
fn own(counters: &Counters) -> BTreeMap<&str, u64> {
    let pairs = counters
        .own
        .split(' ')
        .filter_map(|pair| pair.split_once('='));
    pairs
        .filter_map(|(name, value)| Some((name, value.parse().ok()?)))
        .collect()
}

fn edges(text: &mut Text, name: &str, edges: &[EdgeSnapshot]) {
    for (family, of) in OF_EDGE {
        text.family(family);
        for edge in edges {
            if let Some(value) = of(edge) {
                text.sample(family, &[("pipeline", name), ("edge", &edge.name)], value);
            }
        }
    }
    for (family, who, of) in OF_END {
        text.family(family);
        for edge in edges {
            let ends = [
                (Who::Writer, &edge.from, &edge.writer),
                (Who::Reader, &edge.to, &edge.reader),
            ];
            for (end, stage, counters) in ends {
                if let (Some(stage), Some(counters)) = (stage, counters)
                    && (who == end || who == Who::Both)
                    && let Some(value) = of(counters)
                {
                    let labels = [("pipeline", name), ("stage", stage), ("edge", &edge.name)];
                    text.sample(family, &labels, value);
                }
            }
        }
    }
}

struct Text {
    out: String,
    format: Format,
}

impl Text {
    /// What stands above a family's samples. A family without samples is one that may get some.
    fn family(&mut self, family: Family) {
        let name = self.sample_name(family);
        let (name, kind) = match (self.format, family.kind) {
            (Format::OpenMetrics, Kind::StateSet) => (family.name, "stateset"),
            (Format::OpenMetrics, Kind::Counter) => (family.name, "counter"),
            (_, Kind::Counter) => (name.as_str(), "counter"),
            (_, Kind::Gauge | Kind::StateSet) => (name.as_str(), "gauge"),
        };
        let _ = writeln!(self.out, "# TYPE {name} {kind}");
        if self.format == Format::OpenMetrics && !family.unit.is_empty() {
            let _ = writeln!(self.out, "# UNIT {name} {}", family.unit);
        }
        let _ = writeln!(self.out, "# HELP {name} {}", family.help);
    }

    fn sample_name(&self, family: Family) -> String {
        let end = if family.kind == Kind::Counter {
            "_total"
        } else {
            ""
        };
        format!("{}{end}", family.name)
    }

    fn sample(&mut self, family: Family, labels: &[(&str, &str)], value: Value) {
        self.out += &self.sample_name(family);
        for (place, (name, label)) in labels.iter().enumerate() {
            let before = if place == 0 { '{' } else { ',' };
            let _ = write!(self.out, "{before}{name}=\"{}\"", escaped(label));
        }
        let _ = writeln!(self.out, "}} {value}");
    }
}

/// A label's value as both formats want it.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::testing::pipeline;

    fn lines(snapshot: &Snapshot, format: Format) -> Vec<String> {
        let text = text("water", Some(snapshot), format);
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_counter_is_named_as_each_format_wants_it() {
        let now = pipeline(10, 1_000);
        let sample = "grantflow_edge_received_bytes_total{pipeline=\"water\",stage=\"windows\",edge=\"readings\"} 9700";
        let open = lines(&now, Format::OpenMetrics);
        let at = open.iter().position(|line| line == sample).unwrap();
        let help = "Bytes read from the ring of an edge.";
        assert_eq!(
            open[at - 3..at],
            [
                "# TYPE grantflow_edge_received_bytes counter".to_owned(),
                "# UNIT grantflow_edge_received_bytes bytes".to_owned(),
                format!("# HELP grantflow_edge_received_bytes {help}"),
            ]
        );
        assert_eq!(open.last().unwrap(), "# EOF");
        let older = lines(&now, Format::Prometheus);
        let at = older.iter().position(|line| line == sample).unwrap();
        assert_eq!(
            older[at - 2..at],
            [
                "# TYPE grantflow_edge_received_bytes_total counter".to_owned(),
                format!("# HELP grantflow_edge_received_bytes_total {help}"),
            ]
        );
        assert!(
            !older
                .iter()
                .any(|line| line.starts_with("# EOF") || line.starts_with("# UNIT"))
        );
    }

    #[test]
    fn each_end_counts_what_is_its_own() {
        let text = text("water", Some(&pipeline(10, 1_000)), Format::OpenMetrics);
        for (sample, there) in [
            (
                "readings_sent_total{pipeline=\"water\",stage=\"flow\",edge=\"readings\"} 1000",
                true,
            ),
            (
                "readings_sent_total{pipeline=\"water\",stage=\"windows\"",
                false,
            ),
            (
                "readings_received_total{pipeline=\"water\",stage=\"flow\"",
                false,
            ),
            (
                "edge_reconnects_total{pipeline=\"water\",stage=\"windows\",edge=\"readings\"} 0",
                true,
            ),
            (
                "edge_blocked_seconds_total{pipeline=\"water\",stage=\"flow\",edge=\"readings\"} 5",
                true,
            ),
            (
                "edge_unread_bytes{pipeline=\"water\",edge=\"readings\"} 300",
                true,
            ),
            (
                "stage_state{pipeline=\"water\",stage=\"flow\",grantflow_stage_state=\"running\"} 1",
                true,
            ),
            (
                "stage_state{pipeline=\"water\",stage=\"flow\",grantflow_stage_state=\"gone\"} 0",
                true,
            ),
            (
                "readings_dropped_total{pipeline=\"water\",stage=\"flow\",cause=\"late\"} 0",
                true,
            ),
            (
                "stage_cpu_seconds_total{pipeline=\"water\",stage=\"flow\"} 2.5",
                true,
            ),
        ] {
            assert_eq!(
                text.contains(&format!("\ngrantflow_{sample}")),
                there,
                "{sample}\n{text}"
            );
        }
    }

    #[test]
    fn no_sample_stands_twice_whatever_a_stage_says_and_no_label_ends_early() {
        let mut now = pipeline(10, 1_000);
        now.stages[0].counters.as_mut().unwrap().own = "a\"b\\=1 a\"b\\=2 x=y c=3".into();
        now.stages[1].counters = None;
        now.stages[1].cpu_seconds = f64::INFINITY;
        for format in [Format::OpenMetrics, Format::Prometheus] {
            let lines = lines(&now, format);
            let samples: Vec<&str> = lines
                .iter()
                .filter(|line| !line.starts_with('#'))
                .map(|line| line.rsplit_once(' ').unwrap().0)
                .collect();
            let names: std::collections::BTreeSet<&&str> = samples.iter().collect();
            assert_eq!(names.len(), samples.len());
            let own = r#"grantflow_stage_own{pipeline="water",stage="flow",name="a\"b\\"} 2"#;
            assert!(lines.iter().any(|line| line == own), "{lines:#?}");
            assert!(
                lines
                    .iter()
                    .any(|line| line.ends_with("stage=\"windows\"} +Inf"))
            );
        }
        assert_eq!(escaped("a\nb"), "a\\nb");
    }

    #[test]
    fn of_a_pipeline_that_is_down_it_is_said() {
        let text = text("water", None, Format::OpenMetrics);
        assert!(
            text.ends_with("\ngrantflow_pipeline_up{pipeline=\"water\"} 0\n# EOF\n"),
            "{text}"
        );
    }

    #[test]
    fn who_asks_for_open_metrics_gets_it_and_others_the_older_format() {
        let prometheus =
            "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(Format::accepted(prometheus), Format::OpenMetrics);
        assert_eq!(Format::accepted("*/*"), Format::Prometheus);
    }
}
