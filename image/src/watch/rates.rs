//! Rates: what two snapshots differ by. Pure.
//!
//! A stage that was started again counts from nought; what it has counted since is what there is of the time between.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;
use stage::counters::EdgeCounters;
use stage::params::Direction;

use crate::compose::snapshot::{EdgeSnapshot, Phase, Snapshot, StageSnapshot};

/// How far apart the snapshots of a [`History`] are from which rates come: stages tell once a second, at their own times, so
/// that rates over one second would jump between nothing and twice as much.
const WINDOW: Duration = Duration::from_secs(5);

/// What a stage did in a second, on average. None: not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct StageRates {
    /// Readings that came in.
    pub received: Option<f64>,
    /// Readings that went out.
    pub sent: Option<f64>,
    /// Readings dropped, for any cause.
    pub dropped: Option<f64>,
    /// Events that woke it, over all its edges.
    pub wakes: Option<f64>,
    /// Share of a CPU.
    pub cpu: Option<f64>,
}

/// What went over an edge in a second, on average: as its reader has it, or its writer where dom0 reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct EdgeRates {
    /// Readings.
    pub readings: Option<f64>,
    /// Bytes.
    pub bytes: Option<f64>,
    /// Events that woke an end.
    pub wakes: Option<f64>,
    /// Readings that were found lost.
    pub lost: Option<f64>,
    /// Share of the time that its writer waited for room.
    pub blocked: Option<f64>,
}

/// The rates between two snapshots, in the order of the later one.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Rates {
    /// The time between.
    pub seconds: f64,
    /// Of each stage.
    pub stages: Vec<StageRates>,
    /// Of each edge.
    pub edges: Vec<EdgeRates>,
}

/// What is between two looks at one end, as counts in a second.
struct Between {
    seconds: f64,
    /// Whether the same incarnation has counted all the time.
    same: bool,
}

impl Between {
    /// Of a counter of `T`s, of which `before` may not be known.
    fn rate<T>(
        &self,
        before: Option<&T>,
        after: Option<&T>,
        of: impl Fn(&T) -> u64,
    ) -> Option<f64> {
        let now = of(after?);
        let then = match before.map(&of) {
            Some(then) if self.same && then <= now => then,
            // What has counted all the time and told nothing before has no rate yet.
            None if self.same => return None,
            _ => 0,
        };
        Some((now - then) as f64 / self.seconds)
    }
}

/// The rates between two snapshots; none of one that is not later than the other.
pub fn rates(before: &Snapshot, after: &Snapshot) -> Option<Rates> {
    let seconds = after.at.checked_sub(before.at)?.as_secs_f64();
    if seconds <= 0.0 {
        return None;
    }
    let stages = after.stages.iter();
    let stages = stages.map(|now| of_stage(seconds, find(before, Some(&now.stage)), now));
    let edges = after.edges.iter();
    let edges = edges.map(|now| of_edge(seconds, before, after, now));
    Some(Rates {
        seconds,
        stages: stages.collect(),
        edges: edges.collect(),
    })
}

fn find<'s>(snapshot: &'s Snapshot, name: Option<&String>) -> Option<&'s StageSnapshot> {
    let name = name?;
    snapshot.stages.iter().find(|stage| stage.stage == *name)
}

fn is_same(before: Option<&StageSnapshot>, after: Option<&StageSnapshot>) -> bool {
    matches!((before, after), (Some(before), Some(after)) if before.incarnation == after.incarnation)
}

fn of_stage(seconds: f64, before: Option<&StageSnapshot>, after: &StageSnapshot) -> StageRates {
    let same = is_same(before, Some(after));
    let between = Between { seconds, same };
    let then = before.and_then(|stage| stage.counters.as_ref());
    let now = after.counters.as_ref();
    let cpu = before.filter(|_| same).map_or(0.0, |then| then.cpu_seconds);
    StageRates {
        received: between.rate(then, now, |counters| counters.stage.readings_in),
        sent: between.rate(then, now, |counters| counters.stage.out),
        dropped: between.rate(then, now, |counters| counters.stage.dropped_in_all()),
        wakes: between.rate(then, now, |counters| {
            let events = counters
                .edges
                .iter()
                .map(|edge| edge.counters.events_received);
            events.fold(0, u64::saturating_add)
        }),
        // What is gone has no figures; what is a process has no number of a domain.
        cpu: (after.phase != Phase::Gone).then(|| (after.cpu_seconds - cpu).max(0.0) / seconds),
    }
}

/// The counters of one end of an edge, as rates.
fn end<'s>(
    (before, after): (&'s Snapshot, &'s Snapshot),
    (stage, direction): (Option<&String>, Direction),
    edge: &EdgeSnapshot,
    now: Option<&'s EdgeCounters>,
    seconds: f64,
) -> impl Fn(fn(&EdgeCounters) -> u64) -> Option<f64> + use<'s> {
    let then = find(before, stage);
    let same = is_same(then, find(after, stage));
    let then = then.and_then(|stage| stage.counters.as_ref());
    let then = then.and_then(|counters| counters.edge(direction, &edge.name));
    let between = Between { seconds, same };
    move |of| between.rate(then, now, of)
}

fn of_edge(seconds: f64, before: &Snapshot, after: &Snapshot, edge: &EdgeSnapshot) -> EdgeRates {
    let both = (before, after);
    let (from, to) = (
        (edge.from.as_ref(), Direction::Out),
        (edge.to.as_ref(), Direction::In),
    );
    let writer = end(both, from, edge, edge.writer.as_ref(), seconds);
    let reader = end(both, to, edge, edge.reader.as_ref(), seconds);
    let either = |of| reader(of).or_else(|| writer(of));
    let sum = |of| match (writer(of), reader(of)) {
        (None, None) => None,
        (writer, reader) => Some(writer.unwrap_or(0.0) + reader.unwrap_or(0.0)),
    };
    EdgeRates {
        readings: either(|end| end.readings),
        bytes: either(|end| end.bytes),
        wakes: sum(|end| end.events_received),
        lost: sum(|end| end.lost),
        // It is counted when the wait is over, so that a long one falls into one second.
        blocked: writer(|end| u64::try_from(end.blocked.as_micros()).unwrap_or(u64::MAX))
            .map(|micros| (micros / 1e6).min(1.0)),
    }
}

/// The latest snapshots of a pipeline.
#[derive(Debug, Default)]
pub struct History(VecDeque<Snapshot>);

impl History {
    /// Takes in the latest, and forgets what is too old.
    pub fn add(&mut self, snapshot: Snapshot) {
        let oldest = snapshot.at.saturating_sub(WINDOW);
        while self.0.len() > 1 && self.0.get(1).is_some_and(|second| second.at <= oldest) {
            self.0.pop_front();
        }
        self.0.push_back(snapshot);
    }

    /// The latest, with its rates as soon as there is another.
    pub fn latest(&self) -> Option<(&Snapshot, Rates)> {
        let (first, last) = (self.0.front()?, self.0.back()?);
        let rates = rates(first, last).unwrap_or_else(|| Rates {
            seconds: 0.0,
            stages: vec![StageRates::default(); last.stages.len()],
            edges: vec![EdgeRates::default(); last.edges.len()],
        });
        Some((last, rates))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::testing::pipeline;

    #[test]
    fn rates_are_differences_by_the_time_between() {
        let (before, after) = (pipeline(10, 1_000), pipeline(14, 5_000));
        let rates = rates(&before, &after).unwrap();
        assert_eq!(rates.seconds, 4.0);
        let sensor = rates.stages[0];
        assert_eq!(
            (sensor.received, sensor.sent),
            (Some(1_000.0), Some(1_000.0))
        );
        assert_eq!(sensor.dropped, Some(0.0));
        assert_eq!(sensor.cpu, Some(0.25), "a second of CPU in four");
        let edge = rates.edges[0];
        assert_eq!((edge.readings, edge.bytes), (Some(1_000.0), Some(10_000.0)));
        assert_eq!((edge.wakes, edge.lost), (Some(200.0), Some(0.0)));
        assert_eq!(edge.blocked, Some(0.5));
        assert_eq!(super::rates(&after, &before), None);
        assert_eq!(super::rates(&after, &after), None);
    }

    #[test]
    fn who_was_started_again_has_counted_from_nought() {
        let (before, mut after) = (pipeline(10, 1_000), pipeline(14, 400));
        after.stages[0].incarnation = "another".into();
        after.stages[0].cpu_seconds = 0.4;
        let now = rates(&before, &after).unwrap();
        assert_eq!(now.stages[0].received, Some(100.0));
        assert_eq!(now.stages[0].cpu, Some(0.1));
        // A counter that ran backwards was begun anew, whoever says that it was not.
        assert_eq!(now.stages[1].received, Some(100.0));
        assert_eq!(now.edges[0].readings, Some(100.0));
    }

    #[test]
    fn who_tells_nothing_has_no_rates_and_who_told_nothing_before_none_yet() {
        let (mut before, mut after) = (pipeline(10, 1_000), pipeline(14, 5_000));
        before.stages[0].counters = None;
        after.stages[1].counters = None;
        after.edges[0].reader = None;
        after.stages[1].phase = Phase::Gone;
        let now = rates(&before, &after).unwrap();
        assert_eq!((now.stages[0].sent, now.stages[0].cpu), (None, Some(0.25)));
        assert_eq!(now.stages[1], StageRates::default());
        before.stages.remove(0);
        let now = rates(&before, &after).unwrap();
        assert_eq!(now.stages[0].sent, Some(1_250.0), "it is new");
    }

    #[test]
    fn a_history_has_rates_over_its_window_and_no_more_in_it() {
        let mut history = History::default();
        assert!(history.latest().is_none());
        for second in 0..60 {
            history.add(pipeline(second, second * second));
            assert!(history.0.len() <= 7);
        }
        let (last, rates) = history.latest().unwrap();
        assert_eq!((last.at.as_secs(), rates.seconds), (59, 5.0));
        let mut one = History::default();
        one.add(pipeline(1, 1));
        let (_, rates) = one.latest().unwrap();
        assert_eq!(rates.stages, [StageRates::default(); 2]);
    }
}
