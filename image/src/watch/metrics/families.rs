//! Every family of metrics, and what of a stage or an edge it tells.

use stage::counters::EdgeCounters;

use crate::compose::snapshot::{EdgeSnapshot, StageSnapshot};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    /// One of some states is 1 and the others are 0; the label that names the state is named as the family.
    StateSet,
}

/// A family: what stands above its samples.
#[derive(Debug, Clone, Copy)]
pub(super) struct Family {
    /// Without `_total`; ends in the unit, if there is one.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) unit: &'static str,
    pub(super) help: &'static str,
}

const fn counter(name: &'static str, unit: &'static str, help: &'static str) -> Family {
    let kind = Kind::Counter;
    Family {
        name,
        kind,
        unit,
        help,
    }
}

const fn gauge(name: &'static str, unit: &'static str, help: &'static str) -> Family {
    let kind = Kind::Gauge;
    Family {
        name,
        kind,
        unit,
        help,
    }
}

/// A value as it is written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value {
    Whole(u64),
    Real(f64),
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole(value) => value.fmt(f),
            Self::Real(value) if value.is_infinite() => f.write_str("+Inf"),
            Self::Real(value) => value.fmt(f),
        }
    }
}

fn whole(value: impl Into<u64>) -> Option<Value> {
    Some(Value::Whole(value.into()))
}

pub(super) type OfStage = fn(&StageSnapshot) -> Option<Value>;

/// What there is one of a stage.
pub(super) const OF_STAGE: [(Family, OfStage); 7] = [
    (
        gauge(
            "grantflow_stage_up",
            "",
            "Whether the stage is there to work.",
        ),
        |stage| whole(stage.phase.is_up()),
    ),
    (
        gauge(
            "grantflow_stage_memory_bytes",
            "bytes",
            "Memory of the stage's domain.",
        ),
        |stage| whole(stage.memory_mib << 20),
    ),
    (
        gauge(
            "grantflow_stage_heap_high_water_bytes",
            "bytes",
            "The most heap that was ever in use.",
        ),
        |stage| whole(stage.counters.as_ref()?.stage.heap_high_water),
    ),
    (
        counter(
            "grantflow_stage_cpu_seconds",
            "seconds",
            "CPU time of the stage's domain.",
        ),
        |stage| Some(Value::Real(stage.cpu_seconds)),
    ),
    (
        counter(
            "grantflow_stage_restarts",
            "",
            "How often the stage was given another domain.",
        ),
        |stage| whole(stage.restarts),
    ),
    (
        counter(
            "grantflow_readings_taken",
            "",
            "Readings that the stage has taken in: used, or dropped for some cause.",
        ),
        |stage| whole(stage.counters.as_ref()?.stage.readings_in),
    ),
    (
        counter(
            "grantflow_readings_emitted",
            "",
            "Readings that the stage's function has emitted.",
        ),
        |stage| whole(stage.counters.as_ref()?.stage.out),
    ),
];

pub(super) const DROPPED: Family = counter(
    "grantflow_readings_dropped",
    "",
    "Readings taken in and not used, by cause.",
);
pub(super) const STATE: Family = Family {
    name: "grantflow_stage_state",
    kind: Kind::StateSet,
    unit: "",
    help: "What the stage does.",
};
pub(super) const OWN: Family = gauge(
    "grantflow_stage_own",
    "",
    "What the stage's function counts beside, by its own name for it.",
);

pub(super) type OfEnd = fn(&EdgeCounters) -> Option<Value>;

/// Which ends of an edge count something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    Writer,
    Reader,
    Both,
}

/// What each end of an edge counts.
pub(super) const OF_END: [(Family, Who, OfEnd); 11] = [
    (
        counter(
            "grantflow_readings_received",
            "",
            "Readings that came over an edge.",
        ),
        Who::Reader,
        |end| whole(end.readings),
    ),
    (
        counter(
            "grantflow_readings_sent",
            "",
            "Readings that were written to an edge.",
        ),
        Who::Writer,
        |end| whole(end.readings),
    ),
    (
        counter(
            "grantflow_readings_lost",
            "",
            "Readings that were sent and never arrived, as this end has found.",
        ),
        Who::Both,
        |end| whole(end.lost),
    ),
    (
        counter(
            "grantflow_edge_received_bytes",
            "bytes",
            "Bytes read from the ring of an edge.",
        ),
        Who::Reader,
        |end| whole(end.bytes),
    ),
    (
        counter(
            "grantflow_edge_sent_bytes",
            "bytes",
            "Bytes written to the ring of an edge.",
        ),
        Who::Writer,
        |end| whole(end.bytes),
    ),
    (
        counter(
            "grantflow_edge_packs",
            "",
            "Messages that went through this end of an edge.",
        ),
        Who::Both,
        |end| whole(end.packs),
    ),
    (
        counter(
            "grantflow_edge_broken_packs",
            "",
            "Messages that were unfinished when their writer went, or that were refused.",
        ),
        Who::Reader,
        |end| whole(end.half_packs.saturating_add(end.bad_packs)),
    ),
    (
        counter(
            "grantflow_edge_events_sent",
            "",
            "Events that this end of an edge has sent.",
        ),
        Who::Both,
        |end| whole(end.events_sent),
    ),
    (
        counter(
            "grantflow_edge_events_received",
            "",
            "Events that have woken this end of an edge.",
        ),
        Who::Both,
        |end| whole(end.events_received),
    ),
    (
        counter(
            "grantflow_edge_blocked_seconds",
            "seconds",
            "Time that the writer of an edge waited for room in its ring.",
        ),
        Who::Writer,
        |end| Some(Value::Real(end.blocked.as_secs_f64())),
    ),
    (
        counter(
            "grantflow_edge_reconnects",
            "",
            "Connections of this end of an edge after its first.",
        ),
        Who::Both,
        |end| whole(end.reconnects),
    ),
];

pub(super) type OfEdge = fn(&EdgeSnapshot) -> Option<Value>;

/// What there is one of an edge.
pub(super) const OF_EDGE: [(Family, OfEdge); 2] = [
    (
        gauge(
            "grantflow_edge_ring_bytes",
            "bytes",
            "Bytes that may be on their way on an edge.",
        ),
        |edge| whole(edge.ring),
    ),
    (
        gauge(
            "grantflow_edge_unread_bytes",
            "bytes",
            "Bytes on their way, about; not known once an end has met another peer.",
        ),
        |edge| whole(edge.unread()?),
    ),
];

pub(super) const UP: Family = gauge(
    "grantflow_pipeline_up",
    "",
    "Whether the pipeline has been brought up.",
);
pub(super) const GENERATION: Family = gauge(
    "grantflow_pipeline_generation",
    "",
    "How often the pipeline was changed.",
);
