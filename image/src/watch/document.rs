//! What `grantflow top` shows, for programs: everything that its lines say and more.

use serde::Serialize;

use super::rates::{EdgeRates, Rates, StageRates};
use super::view::reconnects;
use crate::compose::snapshot::{Phase, Snapshot};

/// A pipeline, with rates.
#[derive(Debug, Serialize)]
pub struct Document<'s> {
    name: &'s str,
    generation: u32,
    seconds: f64,
    stages: Vec<StageDocument<'s>>,
    edges: Vec<EdgeDocument<'s>>,
}

#[derive(Debug, Serialize)]
struct StageDocument<'s> {
    stage: &'s str,
    domain: &'s str,
    domid: Option<u16>,
    phase: Phase,
    state: &'s str,
    memory_mib: u64,
    cpu_seconds: f64,
    restarts: u32,
    reconnects: Option<u64>,
    rates: StageRates,
}

#[derive(Debug, Serialize)]
struct EdgeDocument<'s> {
    edge: &'s str,
    from: &'s str,
    to: &'s str,
    ring: u32,
    unread: Option<u64>,
    lost: u64,
    rates: EdgeRates,
}

/// All of it.
pub fn document<'s>(snapshot: &'s Snapshot, rates: &Rates) -> Document<'s> {
    let stages = snapshot.stages.iter().enumerate();
    let edges = snapshot.edges.iter().enumerate();
    Document {
        name: &snapshot.name,
        generation: snapshot.generation,
        seconds: rates.seconds,
        stages: stages
            .map(|(place, stage)| StageDocument {
                stage: &stage.stage,
                domain: &stage.domain,
                domid: stage.domid,
                phase: stage.phase,
                state: &stage.state,
                memory_mib: stage.memory_mib,
                cpu_seconds: stage.cpu_seconds,
                restarts: stage.restarts,
                reconnects: reconnects(stage),
                rates: rates.stages.get(place).copied().unwrap_or_default(),
            })
            .collect(),
        edges: edges
            .map(|(place, edge)| EdgeDocument {
                edge: &edge.name,
                from: edge.from.as_deref().unwrap_or("dom0"),
                to: edge.to.as_deref().unwrap_or("dom0"),
                ring: edge.ring,
                unread: edge.unread(),
                lost: edge.lost(),
                rates: rates.edges.get(place).copied().unwrap_or_default(),
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::rates::rates;
    use crate::watch::testing::pipeline;

    #[test]
    fn a_program_gets_all_of_it() {
        let (before, after) = (pipeline(10, 1_000), pipeline(14, 5_000));
        let rates = rates(&before, &after).unwrap();
        let json = serde_json::to_value(document(&after, &rates)).unwrap();
        assert_eq!(json["stages"][0]["rates"]["received"], 1_000.0);
        assert_eq!(json["stages"][1]["phase"], "running");
        assert_eq!(
            (&json["edges"][0]["unread"], &json["edges"][0]["to"]),
            (&300.into(), &"windows".into())
        );
    }
}
