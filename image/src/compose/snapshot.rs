//! How a pipeline is at one moment: what every command that watches one begins with.
//!
//! A [`Source`] knows how stages are where they run: [`OnXen`] asks `xl` and xenstore. [`snapshot`] puts the ends of edges
//! together. What a stage tells of itself is a suspect's word: whatever is kept of it here is printable ASCII of bounded length.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use stage::counters::{Counters, EdgeCounters, OWN_NODE, STAGE_NODE};
use stage::params::{DEFAULT_RING, Direction};

use super::domains::{ComposeError, of_record};
use super::record::{Record, StageRecord};
use super::sums::ring;
use crate::xl::{Domain, Tools, XenStore, Xl};

/// The longest text that is kept of a state.
const STATE_MAX: usize = 80;

/// A pipeline at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    /// Its name.
    pub name: String,
    /// How often it was changed.
    pub generation: u32,
    /// When this was, on a clock that only goes forward.
    pub at: Duration,
    /// Its stages, in the order of the record.
    pub stages: Vec<StageSnapshot>,
    /// Its edges, likewise.
    pub edges: Vec<EdgeSnapshot>,
}

/// A stage at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct StageSnapshot {
    /// Its name.
    pub stage: String,
    /// Its domain's, or its process's.
    pub domain: String,
    /// The domain's number; none if it is gone.
    pub domid: Option<u16>,
    /// The process's; none if it is gone.
    pub pid: Option<i32>,
    /// What is another after a restart: counters have begun anew then.
    pub incarnation: String,
    /// What it does.
    pub phase: Phase,
    /// The same in its own words, or in Xen's once it has ended: `waiting EDGE`, `stale EDGE`, `crash`.
    pub state: String,
    /// MiB.
    pub memory_mib: u64,
    /// Seconds of CPU time.
    pub cpu_seconds: f64,
    /// How often it was started again.
    pub restarts: u32,
    /// What it has counted, as far as it has told.
    pub counters: Option<Counters>,
}

/// What a stage does: the first word of its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Created, and has not said a word, or none that is known.
    Starting,
    /// It waits for something outside.
    Waiting,
    /// Every edge is connected.
    Running,
    /// An edge has lost its writer, or hears nothing of it.
    Stale,
    /// It ended in order.
    Done,
    /// It ended in order, and said that it failed.
    Failed,
    /// It ended otherwise, or is being taken apart.
    Crashed,
    /// There is nothing of it any more.
    Gone,
}

impl Phase {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Starting,
        Self::Waiting,
        Self::Running,
        Self::Stale,
        Self::Done,
        Self::Failed,
        Self::Crashed,
        Self::Gone,
    ];

    /// Its word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Stale => "stale",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Crashed => "crashed",
            Self::Gone => "gone",
        }
    }

    /// What a stage that has not ended says of itself.
    pub fn of_word(state: &str) -> Self {
        let word = state.split(' ').next().unwrap_or_default();
        let known = Self::ALL.into_iter().find(|phase| phase.word() == word);
        known
            // Only Xen can say these.
            .filter(|phase| !matches!(phase, Self::Crashed | Self::Gone))
            .unwrap_or(Self::Starting)
    }

    /// Whether somebody should look at it.
    pub const fn is_fault(self) -> bool {
        matches!(
            self,
            Self::Stale | Self::Failed | Self::Crashed | Self::Gone
        )
    }

    /// Whether it is there to work.
    pub const fn is_up(self) -> bool {
        matches!(
            self,
            Self::Starting | Self::Waiting | Self::Running | Self::Stale
        )
    }
}

/// An edge at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct EdgeSnapshot {
    /// Its name.
    pub name: String,
    /// The stage that writes; none for dom0.
    pub from: Option<String>,
    /// The stage that reads; none for dom0.
    pub to: Option<String>,
    /// Bytes that may be on their way.
    pub ring: u32,
    /// What the writer has counted.
    pub writer: Option<EdgeCounters>,
    /// What the reader has counted.
    pub reader: Option<EdgeCounters>,
}

impl EdgeSnapshot {
    /// Bytes in the ring: what was written and not read yet. Each end tells once a second, so it is no more than about right;
    /// and it is not known once an end has met another peer, which has counted from nought.
    pub fn unread(&self) -> Option<u64> {
        let (writer, reader) = (self.writer.as_ref()?, self.reader.as_ref()?);
        let met_once = writer.reconnects == 0 && reader.reconnects == 0;
        met_once.then(|| {
            let under_way = writer.bytes.saturating_sub(reader.bytes);
            under_way.min(self.ring.into())
        })
    }

    /// Readings that were sent and never arrived.
    pub fn lost(&self) -> u64 {
        let of = |end: &Option<EdgeCounters>| end.as_ref().map_or(0, |end| end.lost);
        of(&self.writer).saturating_add(of(&self.reader))
    }
}

/// What a stage has left below `data/grantflow/`, by relative paths: `state`, `stats/stage`.
pub type Nodes = BTreeMap<String, String>;

/// Where a pipeline runs, as far as looking at it goes.
pub trait Source {
    /// How each stage of the record is now, in its order.
    fn stages(&self, record: &Record) -> Result<Vec<StageSnapshot>, ComposeError>;
}

/// The pipeline of this record, at a moment that the caller names.
pub fn snapshot(
    name: &str,
    record: &Record,
    source: &dyn Source,
    at: Duration,
) -> Result<Snapshot, ComposeError> {
    let stages = source.stages(record)?;
    let edges = edges(record, &stages);
    Ok(Snapshot {
        name: name.to_owned(),
        generation: record.generation,
        at,
        stages,
        edges,
    })
}

/// What these nodes say was counted; nothing where they do not say it in full, or not readably.
pub fn counters(nodes: &Nodes) -> Option<Counters> {
    let mut counters = Counters::default();
    nodes.get(STAGE_NODE)?;
    for (path, text) in nodes {
        let is_ours = path.starts_with("stats/in/")
            || path.starts_with("stats/out/")
            || path == STAGE_NODE
            || path == OWN_NODE;
        if is_ours {
            counters.absorb(path, text).ok()?;
        }
    }
    Some(counters)
}

/// A suspect's word, such that no terminal acts on it.
pub fn printable(text: &str) -> String {
    let shown = |c: char| {
        if c.is_ascii_graphic() || c == ' ' {
            c
        } else {
            '?'
        }
    };
    text.chars().take(STATE_MAX).map(shown).collect()
}

fn edges(record: &Record, stages: &[StageSnapshot]) -> Vec<EdgeSnapshot> {
    let planned = |place: Option<usize>| place.and_then(|place| record.plan.stages.get(place));
    let wires = record.plan.wires.iter().map(|wire| {
        let (from, to) = (planned(wire.from), planned(wire.to));
        let ends = [(from, Direction::Out), (to, Direction::In)];
        let [writer, reader] = ends.map(|(end, direction)| {
            let name = &end?.stage;
            let stage = stages.iter().find(|stage| stage.stage == *name)?;
            let counters = stage.counters.as_ref()?;
            counters.edge(direction, &wire.name).cloned()
        });
        let told = ends
            .iter()
            .find_map(|(end, direction)| Some(((*end)?, direction)));
        let bytes = told.and_then(|(end, direction)| {
            let key = format!("{}{}", direction.prefix(), wire.name);
            let parameters = &end.input.parameters;
            let (_, value) = parameters.iter().find(|(known, _)| *known == key)?;
            Some(ring(value))
        });
        let name = |end: Option<&super::plan::Planned>| end.map(|stage| stage.stage.clone());
        EdgeSnapshot {
            name: wire.name.clone(),
            from: name(from),
            to: name(to),
            ring: bytes.unwrap_or(DEFAULT_RING),
            writer,
            reader,
        }
    });
    wires.collect()
}

/// Stages that are domains.
#[derive(Debug)]
pub struct OnXen<'t, T>(pub &'t T);

impl<T: Tools> OnXen<'_, T> {
    /// How each stage is that has a domain in this list, and the others.
    pub fn among(
        &self,
        record: &Record,
        domains: &[Domain],
    ) -> Result<Vec<StageSnapshot>, ComposeError> {
        let stages = of_record(&record.stages, domains);
        let there = stages.clone().filter_map(|(_, domain)| domain);
        let paths: Vec<String> = there
            .map(|domain| format!("/local/domain/{}/data/grantflow", domain.id))
            .collect();
        let mut trees = XenStore::new(self.0).trees(&paths)?.into_iter();
        let all = stages.map(|(stage, domain)| {
            let nodes = domain.and_then(|_| trees.next()).unwrap_or_default();
            of_domain(stage, domain, &nodes)
        });
        Ok(all.collect())
    }
}

impl<T: Tools> Source for OnXen<'_, T> {
    fn stages(&self, record: &Record) -> Result<Vec<StageSnapshot>, ComposeError> {
        self.among(record, &Xl::new(self.0).list()?)
    }
}

fn of_domain(stage: &StageRecord, domain: Option<&Domain>, nodes: &Nodes) -> StageSnapshot {
    let (phase, state) = state(domain, nodes.get("state").map(|state| printable(state)));
    StageSnapshot {
        stage: stage.name.clone(),
        domain: stage.domain.clone(),
        domid: domain.map(|domain| domain.id.0),
        pid: None,
        incarnation: stage.uuid.to_string(),
        phase,
        state,
        memory_mib: domain.map_or(0, Domain::memory_mib),
        cpu_seconds: domain.map_or(0.0, |domain| domain.cpu_time.as_secs_f64()),
        restarts: stage.restarts,
        counters: counters(nodes),
    }
}

/// A stage that crashed may still say that it runs.
fn state(domain: Option<&Domain>, told: Option<String>) -> (Phase, String) {
    let Some(domain) = domain else {
        return (Phase::Gone, "gone".to_owned());
    };
    match domain.ended {
        _ if domain.dying => (Phase::Crashed, "dying".to_owned()),
        Some(reason) if !reason.is_orderly() => (Phase::Crashed, reason.to_string()),
        Some(_) => match told.filter(|state| state.starts_with("failed")) {
            Some(failed) => (Phase::Failed, failed),
            None => (Phase::Done, "done".to_owned()),
        },
        None => {
            let told = told.unwrap_or_else(|| "starting".to_owned());
            (Phase::of_word(&told), told)
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::compose::plan::{Plan, Planned, Wire};
    use crate::pipeline::Restart;
    use crate::xl::fake::FakeHost;
    use crate::xl::{BootInput, Uuid};

    /// A record of stages a and b with an edge between and one to dom0, on a host that has a's domain.
    pub(crate) fn bench() -> (FakeHost, Record) {
        let host = FakeHost::default();
        host.foreign("p-a");
        let uuid = Uuid::try_from(host.domain("p-a").uuid).unwrap();
        let stage = |name: &str, uuid: Uuid| StageRecord {
            name: name.into(),
            domain: format!("p-{name}"),
            uuid,
            digest: String::new(),
            edges: Vec::new(),
            restarts: 0,
        };
        let planned = |name: &str, parameters: &[(&str, &str)]| Planned {
            stage: name.into(),
            domain: format!("p-{name}"),
            image: "/x.elf".into(),
            memory_mib: 1,
            bridge: None,
            input: BootInput {
                parameters: parameters
                    .iter()
                    .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                    .collect(),
                ..BootInput::default()
            },
            restart: Restart::Never,
        };
        let wire = |name: &str, from, to| Wire {
            name: name.into(),
            from,
            to,
            feedback: false,
        };
        let record = Record {
            generation: 3,
            stages: vec![stage("a", uuid), stage("b", Uuid::random().unwrap())],
            plan: Plan {
                name: "p".into(),
                stages: vec![
                    planned("a", &[("out.ab", "?,ring=65536"), ("out.log", "0")]),
                    planned("b", &[("in.ab", "?,ring=65536")]),
                ],
                wires: vec![wire("ab", Some(0), Some(1)), wire("log", Some(0), None)],
            },
            ..Record::default()
        };
        (host, record)
    }

    fn look(host: &FakeHost, record: &Record) -> Snapshot {
        snapshot("p", record, &OnXen(&host), Duration::ZERO).unwrap()
    }

    #[test]
    fn a_stage_is_what_xen_says_once_it_has_ended_and_what_it_says_before() {
        let (host, record) = bench();
        let states = || {
            let all = look(&host, &record).stages;
            all.into_iter()
                .map(|stage| (stage.phase, stage.state))
                .collect::<Vec<_>>()
        };
        let starting = (Phase::Starting, "starting".to_owned());
        assert_eq!(states(), [starting, (Phase::Gone, "gone".to_owned())]);
        host.set("p-a", "data/grantflow/state", "waiting e\x1b[2J\n\u{202e}");
        let (phase, state) = states().remove(0);
        assert_eq!(phase, Phase::Waiting);
        assert!(state.starts_with("waiting e") && state.bytes().all(|b| (32..127).contains(&b)));
        host.set("p-a", "data/grantflow/state", "gone");
        assert_eq!(states()[0].0, Phase::Starting, "that is not its to say");
        host.end("p-a", 0);
        assert_eq!(states()[0].0, Phase::Done);
        host.set("p-a", "data/grantflow/state", "failed x");
        assert_eq!(states()[0], (Phase::Failed, "failed x".to_owned()));
        host.end("p-a", 3);
        assert_eq!(states()[0], (Phase::Crashed, "crash".to_owned()));
    }

    #[test]
    fn an_edge_has_what_both_its_ends_have_counted() {
        let (host, record) = bench();
        let set = |key: &str, value: &str| host.set("p-a", &format!("data/grantflow/{key}"), value);
        set("stats/stage", "in=7 used=5 late=2 out=3");
        set("stats/out/ab", "bytes=900 readings=9 lost=2");
        set("stats/out/log", "bytes=5");
        set("stats/elsewhere", "not counters");
        let now = look(&host, &record);
        assert_eq!((now.generation, now.stages.len()), (3, 2));
        let counted = now.stages[0].counters.as_ref().unwrap();
        assert_eq!((counted.stage.used, counted.stage.dropped_in_all()), (5, 2));
        let [ab, log] = now.edges.as_slice() else {
            panic!("{:?}", now.edges)
        };
        assert_eq!((ab.ring, ab.lost(), ab.unread()), (65_536, 2, None));
        assert_eq!(ab.writer.as_ref().unwrap().readings, 9);
        assert_eq!(
            (log.ring, log.to.as_deref(), log.reader.as_ref()),
            (DEFAULT_RING, None, None)
        );
        set("stats/out/ab", "bytes=many");
        assert_eq!(look(&host, &record).stages[0].counters, None);
    }

    #[test]
    fn what_is_unread_is_known_until_an_end_meets_another_peer() {
        let end = |bytes, reconnects| {
            Some(EdgeCounters {
                bytes,
                reconnects,
                ..EdgeCounters::default()
            })
        };
        let mut edge = EdgeSnapshot {
            name: "e".into(),
            from: None,
            to: None,
            ring: 1024,
            writer: end(5_000, 0),
            reader: end(4_700, 0),
        };
        assert_eq!(edge.unread(), Some(300));
        edge.reader = end(0, 0);
        assert_eq!(edge.unread(), Some(1024), "no more than there is room for");
        edge.reader = end(6_000, 0);
        assert_eq!(edge.unread(), Some(0), "it told later than the writer");
        edge.writer = end(1, 1);
        assert_eq!(edge.unread(), None);
    }
}
