//! What the stages counted, joined to the pipeline, and the balances that must hold.

use std::collections::BTreeMap;

use stage::counters::{Counters, EdgeCounters};
use stage::function::DropCause;
use stage::params::Direction;

use super::stages::{EdgePlan, End, Pipeline};

/// What dom0 received on the result edge.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Received {
    /// Bytes from the foreign reader.
    pub bytes: u64,
    /// Packs of at least one reading.
    pub packs: u64,
    /// Readings in them.
    pub readings: u64,
    /// Readings that `seq` says were sent before, and that did not come.
    pub lost: u64,
}

/// One edge with what both ends counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdgeFigures {
    /// The edge.
    pub plan: EdgePlan,
    /// What the writing stage counted.
    pub writer: EdgeCounters,
    /// What arrived, at the reading stage or in dom0.
    pub received: Received,
    /// Event-channel notifications of both ends; of the writer alone where dom0 reads.
    pub events_sent: u64,
}

impl EdgeFigures {
    /// Event-channel notifications for 1,000 messages; none without messages.
    pub fn events_per_1000_messages(&self) -> Option<f64> {
        // Both stay far below 2^53.
        (self.writer.packs > 0).then(|| self.events_sent as f64 * 1000.0 / self.writer.packs as f64)
    }
}

/// Joins the counters of the stages, in the order of the pipeline, with what dom0 received.
pub fn edges(pipeline: &Pipeline, counters: &[Counters], dom0: Received) -> Vec<EdgeFigures> {
    let end = |stage: usize, direction, name| {
        counters
            .get(stage)
            .and_then(|all| all.edge(direction, name))
            .cloned()
            .unwrap_or_default()
    };
    let join = |plan: &EdgePlan| {
        let writer = end(plan.from, Direction::Out, plan.name);
        let (received, reader_events) = match plan.to {
            End::Stage(reader) => {
                let seen = end(reader, Direction::In, plan.name);
                let received = Received {
                    bytes: seen.bytes,
                    packs: seen.packs,
                    readings: seen.readings,
                    lost: seen.lost,
                };
                (received, seen.events_sent)
            }
            End::Dom0 => (dom0, 0),
        };
        let events_sent = writer.events_sent.saturating_add(reader_events);
        EdgeFigures {
            plan: *plan,
            writer,
            received,
            events_sent,
        }
    };
    pipeline.edges.iter().map(join).collect()
}

/// A counter that a stage keeps beside those of every stage; 0 if it has none of the name.
pub fn own(counters: &Counters, key: &str) -> u64 {
    let mut pairs = counters
        .own
        .split(' ')
        .filter_map(|pair| pair.split_once('='));
    let value = pairs.find_map(|(known, value)| (known == key).then_some(value));
    value.and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// Every balance that does not hold, as a line for a person; none when all is well.
///
/// * A stage: readings in = used + dropped; in = what its edges delivered; out = what stands on each output.
/// * A sensor: what it took in is what `recorded` says its recording holds, cell by cell; empty cells are none.
/// * An edge: sent = received + lost, and the bytes written are the bytes read.
pub fn imbalances(
    pipeline: &Pipeline,
    recorded: &BTreeMap<&'static str, u64>,
    counters: &[Counters],
    edges: &[EdgeFigures],
) -> Vec<String> {
    let mut found = Vec::new();
    for (index, (plan, counted)) in pipeline.stages.iter().zip(counters).enumerate() {
        let (name, stage) = (plan.name, &counted.stage);
        if !stage.balanced() {
            let (taken, used, dropped) = (stage.readings_in, stage.used, stage.dropped_in_all());
            found.push(format!(
                "{name}: {taken} readings in, but {used} used + {dropped} dropped"
            ));
        }
        let taken = stage.readings_in - stage.dropped(DropCause::Empty).min(stage.readings_in);
        if let Some(held) = recorded.get(name).filter(|held| **held != taken) {
            found.push(format!(
                "{name}: {taken} readings in, but its recording holds {held}"
            ));
        }
        let inputs = edges
            .iter()
            .filter(|edge| edge.plan.to == End::Stage(index));
        let delivered: Vec<u64> = inputs.map(|edge| edge.received.readings).collect();
        let total: u64 = delivered.iter().sum();
        if !delivered.is_empty() && stage.readings_in != total {
            found.push(format!(
                "{name}: {} readings in, but its edges delivered {total}",
                stage.readings_in
            ));
        }
        for edge in edges.iter().filter(|edge| edge.plan.from == index) {
            if stage.out != edge.writer.readings {
                let (out, written, edge) = (stage.out, edge.writer.readings, edge.plan.name);
                found.push(format!(
                    "{name}: {out} readings out, but {written} written on edge {edge}"
                ));
            }
        }
    }
    for edge in edges {
        let (name, sent, seen) = (edge.plan.name, &edge.writer, &edge.received);
        let lost = seen.lost.saturating_add(sent.lost);
        if sent.readings != seen.readings.saturating_add(lost) {
            let (sent, received) = (sent.readings, seen.readings);
            found.push(format!(
                "edge {name}: {sent} readings sent, but {received} received + {lost} lost"
            ));
        }
        if lost == 0 && sent.bytes != seen.bytes {
            found.push(format!(
                "edge {name}: {} bytes written, but {} read",
                sent.bytes, seen.bytes
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use stage::counters::NamedEdgeCounters;
    use stage::params::EdgeName;

    use super::*;
    use crate::demo::stages::{RESULT_EDGE, Recordings};

    const DOM0: Received = Received {
        bytes: 500,
        packs: 2,
        readings: 12,
        lost: 0,
    };

    fn edge(direction: Direction, name: &str, readings: u64, bytes: u64) -> NamedEdgeCounters {
        let counters = EdgeCounters {
            readings,
            bytes,
            packs: 2,
            events_sent: 3,
            ..EdgeCounters::default()
        };
        NamedEdgeCounters {
            direction,
            name: EdgeName::new(name).unwrap(),
            counters,
        }
    }

    fn counters(readings_in: u64, out: u64, edges: Vec<NamedEdgeCounters>) -> Counters {
        let mut counters = Counters {
            edges,
            ..Counters::default()
        };
        (
            counters.stage.readings_in,
            counters.stage.used,
            counters.stage.out,
        ) = (readings_in, readings_in, out);
        counters
    }

    /// A run in which everything adds up: 10 flow and 30 weather readings make 12 result records.
    fn run() -> (Pipeline, Vec<Counters>) {
        let recordings = Recordings {
            flow: "f".into(),
            weather: "w".into(),
            window: "24h".into(),
        };
        let pipeline = Pipeline::new(&recordings, None);
        let aggregator = vec![
            edge(Direction::In, "flow", 10, 100),
            edge(Direction::In, "weather", 30, 300),
            edge(Direction::Out, RESULT_EDGE, 12, 500),
        ];
        let all = vec![
            counters(40, 12, aggregator),
            counters(10, 10, vec![edge(Direction::Out, "flow", 10, 100)]),
            counters(30, 30, vec![edge(Direction::Out, "weather", 30, 300)]),
        ];
        (pipeline, all)
    }

    fn found(pipeline: &Pipeline, counters: &[Counters], dom0: Received) -> Vec<String> {
        imbalances(
            pipeline,
            &BTreeMap::from([("flow", 10), ("weather", 30)]),
            counters,
            &edges(pipeline, counters, dom0),
        )
    }

    #[test]
    fn a_run_that_adds_up_has_nothing_to_say() {
        let (pipeline, counters) = run();
        assert_eq!(found(&pipeline, &counters, DOM0), [""; 0]);
    }

    #[test]
    fn each_broken_balance_is_named() {
        let expect = |change: &dyn Fn(&mut Vec<Counters>, &mut Received), line: &str| {
            let ((pipeline, mut counters), mut dom0) = (run(), DOM0);
            change(&mut counters, &mut dom0);
            assert_eq!(found(&pipeline, &counters, dom0), [line]);
        };
        expect(
            &|c, _| c[0].stage.used -= 1,
            "aggregator: 40 readings in, but 39 used + 0 dropped",
        );
        expect(
            &|c, _| c[1].stage.out += 1,
            "flow: 11 readings out, but 10 written on edge flow",
        );
        expect(
            &|_, d| d.readings -= 1,
            "edge windows: 12 readings sent, but 11 received + 0 lost",
        );
        expect(
            &|_, d| d.bytes += 1,
            "edge windows: 500 bytes written, but 501 read",
        );
        expect(
            &|c, _| (c[0].stage.readings_in, c[0].stage.used) = (41, 41),
            "aggregator: 41 readings in, but its edges delivered 40",
        );
        expect(
            &|c, _| (c[2].stage.readings_in, c[2].stage.used) = (31, 31),
            "weather: 31 readings in, but its recording holds 30",
        );
    }

    #[test]
    fn empty_cells_of_a_recording_are_no_readings_but_malformed_rows_are_a_complaint() {
        let (pipeline, mut counters) = run();
        counters[1].stage.readings_in += 2;
        counters[1].stage.dropped[DropCause::Empty as usize] = 2;
        assert_eq!(found(&pipeline, &counters, DOM0), [""; 0]);
        counters[1].stage.dropped = Default::default();
        counters[1].stage.dropped[DropCause::Malformed as usize] = 2;
        let complaint = "flow: 12 readings in, but its recording holds 10";
        assert_eq!(found(&pipeline, &counters, DOM0), [complaint]);
    }

    #[test]
    fn a_loss_that_is_counted_is_balanced() {
        let (pipeline, counters) = run();
        let dom0 = Received {
            readings: 9,
            lost: 3,
            bytes: 400,
            ..DOM0
        };
        assert_eq!(found(&pipeline, &counters, dom0), [""; 0]);
    }

    #[test]
    fn sends_of_both_ends_are_set_against_messages() {
        let (pipeline, counters) = run();
        let figures = edges(&pipeline, &counters, DOM0);
        assert_eq!(figures[0].events_per_1000_messages(), Some(3000.0));
        assert_eq!(
            figures[2].events_per_1000_messages(),
            Some(1500.0),
            "dom0's are not ours to count"
        );
        let silent = edges(&pipeline, &[], DOM0);
        assert_eq!(silent[0].events_per_1000_messages(), None);
    }
}
