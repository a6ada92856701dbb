//! `grantflow status`: how the stages of a pipeline are.

use serde::Serialize;

use super::domains::ComposeError;
use super::record::Record;
use super::snapshot::{Source, StageSnapshot};

/// How a stage is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StageStatus {
    /// Its name.
    pub stage: String,
    /// Its domain's.
    pub domain: String,
    /// The domain's number; none if it is gone.
    pub domid: Option<u16>,
    /// The process's, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// What it says of itself, or what Xen says of it once it has ended: `running`, `waiting EDGE`, `crash`, `gone`.
    pub state: String,
    /// MiB.
    pub memory_mib: u64,
    /// Seconds of CPU time.
    pub cpu_seconds: f64,
    /// Readings in, used, out and dropped, as far as it has told.
    pub readings: Option<Readings>,
}

/// Readings of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Readings {
    /// That came in.
    pub received: u64,
    /// Of these, the ones that were used.
    pub used: u64,
    /// That went out.
    pub sent: u64,
    /// That were dropped, for any cause.
    pub dropped: u64,
}

/// How each stage of a record is, in its order.
pub fn status(record: &Record, source: &dyn Source) -> Result<Vec<StageStatus>, ComposeError> {
    Ok(of_stages(source.stages(record)?))
}

/// The same of stages that were looked at already.
pub fn of_stages(stages: Vec<StageSnapshot>) -> Vec<StageStatus> {
    let all = stages.into_iter().map(|stage| StageStatus {
        stage: stage.stage,
        domain: stage.domain,
        domid: stage.domid,
        pid: stage.pid,
        state: stage.state,
        memory_mib: stage.memory_mib,
        cpu_seconds: stage.cpu_seconds,
        readings: stage.counters.map(|counted| Readings {
            received: counted.stage.readings_in,
            used: counted.stage.used,
            sent: counted.stage.out,
            dropped: counted.stage.dropped_in_all(),
        }),
    });
    all.collect()
}

/// As a table.
pub fn table(stages: &[StageStatus]) -> String {
    let width = stages
        .iter()
        .map(|stage| stage.stage.len())
        .max()
        .unwrap_or(0)
        .max(5);
    let are_processes = stages.iter().any(|stage| stage.pid.is_some());
    let number = if are_processes { "pid" } else { "domid" };
    let mut text = format!(
        "{:<width$}  {number:>7} {:>5} {:>7} {:>10} {:>10} {:>8}  state\n",
        "stage", "MiB", "CPU s", "in", "out", "dropped"
    );
    for stage in stages {
        let number = |of: fn(&Readings) -> u64| {
            stage
                .readings
                .as_ref()
                .map_or_else(|| "-".to_owned(), |readings| of(readings).to_string())
        };
        let domid = stage.domid.map(|id| id.to_string());
        let pid = stage.pid.map(|pid| pid.to_string());
        let own = domid.or(pid).unwrap_or_else(|| "-".to_owned());
        text += &format!(
            "{:<width$}  {own:>7} {:>5} {:>7.1} {:>10} {:>10} {:>8}  {}\n",
            stage.stage,
            stage.memory_mib,
            stage.cpu_seconds,
            number(|readings| readings.received),
            number(|readings| readings.sent),
            number(|readings| readings.dropped),
            stage.state
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::snapshot::OnXen;
    use crate::compose::snapshot::tests::bench;

    #[test]
    fn a_line_a_stage_with_what_it_has_told() {
        let (host, record) = bench();
        let counted = "in=7 used=5 late=2 out=3";
        host.set("p-a", "data/grantflow/stats/stage", counted);
        let stages = status(&record, &OnXen(&&host)).unwrap();
        let readings = Readings {
            received: 7,
            used: 5,
            sent: 3,
            dropped: 2,
        };
        assert_eq!(stages[0].readings, Some(readings));
        assert_eq!(stages[1].readings, None);
        let table = table(&stages);
        assert!(table.lines().all(|line| line.len() < 80));
        assert!(table.ends_with(" -  gone\n"), "{table}");
    }
}
