//! Snapshots for tests.

use std::time::Duration;

use stage::counters::{Counters, EdgeCounters, NamedEdgeCounters, StageCounters};
use stage::params::{Direction, EdgeName};

use crate::compose::snapshot::{EdgeSnapshot, Phase, Snapshot, StageSnapshot};

/// A sensor `flow` and an aggregator `windows` with the edge `readings` between them, at a second at which so many readings have
/// gone over it; the last 300 bytes are in the ring.
pub fn pipeline(second: u64, readings: u64) -> Snapshot {
    let end = |unread: u64| EdgeCounters {
        bytes: (readings * 10).saturating_sub(unread),
        packs: readings / 10,
        readings,
        events_sent: readings / 10,
        events_received: readings / 10,
        blocked: Duration::from_millis(second * 500),
        ..EdgeCounters::default()
    };
    let name = EdgeName::new("readings").unwrap_or_else(|| panic!("a name"));
    let stage = |stage: &str, domid, direction, counters: &EdgeCounters| StageSnapshot {
        stage: stage.into(),
        domain: format!("water-{stage}"),
        domid: Some(domid),
        pid: None,
        incarnation: stage.into(),
        phase: Phase::Running,
        state: "running".into(),
        memory_mib: 1,
        cpu_seconds: second as f64 / 4.0,
        restarts: 0,
        counters: Some(Counters {
            stage: StageCounters {
                readings_in: readings,
                used: readings,
                out: readings,
                heap_high_water: 40_960,
                ..StageCounters::default()
            },
            edges: vec![NamedEdgeCounters {
                direction,
                name,
                counters: counters.clone(),
            }],
            own: String::new(),
        }),
    };
    let (writer, reader) = (end(0), end(300));
    Snapshot {
        name: "water".into(),
        generation: 1,
        at: Duration::from_secs(second),
        stages: vec![
            stage("flow", 3, Direction::Out, &writer),
            stage("windows", 4, Direction::In, &reader),
        ],
        edges: vec![EdgeSnapshot {
            name: "readings".into(),
            from: Some("flow".into()),
            to: Some("windows".into()),
            ring: 16_384,
            writer: Some(writer),
            reader: Some(reader),
        }],
    }
}
