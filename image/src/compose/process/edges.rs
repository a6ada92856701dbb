//! What has gone over the edges of a pipeline that ended, and how fast. Pure.

use std::time::Duration;

use crate::compose::snapshot::{EdgeSnapshot, Snapshot};
use crate::progress::Thousands;

/// A line an edge: readings, and how many a second of the run, and of the CPU time of the process at either end, did.
pub fn table(snapshot: &Snapshot, took: Duration) -> String {
    let name = |edge: &EdgeSnapshot| {
        let [from, to] = [&edge.from, &edge.to].map(|end| end.as_deref().unwrap_or("dom0"));
        format!("{from} -> {to}")
    };
    let names = snapshot.edges.iter().map(|edge| name(edge).len());
    let width = names.max().unwrap_or(0).max(4);
    let mut text = format!(
        "\n{:<width$}  {:>12} {:>8} {:>11} {:>15} {:>15}\n",
        "edge", "received", "lost", "a second", "a CPU s, writer", "a CPU s, reader"
    );
    for edge in &snapshot.edges {
        let readings = |end: &Option<stage::counters::EdgeCounters>| {
            end.as_ref().map_or(0, |counters| counters.readings)
        };
        let cpu = |stage: &Option<String>| {
            let mut stages = snapshot.stages.iter();
            let stage = stages.find(|one| Some(&one.stage) == stage.as_ref());
            stage.map_or(0.0, |stage| stage.cpu_seconds)
        };
        let (sent, received) = (readings(&edge.writer), readings(&edge.reader));
        text += &format!(
            "{:<width$}  {:>12} {:>8} {:>11} {:>15} {:>15}\n",
            name(edge),
            Thousands(received),
            Thousands(edge.lost()),
            rate(received, took.as_secs_f64()),
            rate(sent, cpu(&edge.from)),
            rate(received, cpu(&edge.to))
        );
    }
    text
}

/// So many in so many seconds, where that is long enough to be told: the kernel counts in hundredths.
fn rate(count: u64, seconds: f64) -> String {
    if seconds < 0.1 {
        return "-".to_owned();
    }
    Thousands((count as f64 / seconds) as u64).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::testing;

    #[test]
    fn readings_are_told_by_the_second_and_what_was_too_short_is_not() {
        assert_eq!(rate(5_000_000, 2.0), "2,500,000");
        assert_eq!(rate(5, 0.01), "-");
        let text = table(&testing::pipeline(8, 1000), Duration::from_secs(2));
        assert!(text.lines().all(|line| line.len() <= 100), "{text}");
        assert!(text.lines().count() >= 3 && text.contains(" -> "), "{text}");
    }
}
