//! `grantflow status`: how the stages of a pipeline are.

use serde::Serialize;

use super::domains::{ComposeError, of_record};
use super::record::Record;
use crate::xl::{Domain, Told, Tools, Xl};

/// How a stage is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StageStatus {
    /// Its name.
    pub stage: String,
    /// Its domain's.
    pub domain: String,
    /// The domain's number; none if it is gone.
    pub domid: Option<u16>,
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
pub fn status<T: Tools>(record: &Record, tools: &T) -> Result<Vec<StageStatus>, ComposeError> {
    let domains = Xl::new(tools).list()?;
    let all = of_record(&record.stages, &domains).map(|(stage, domain)| {
        let told = domain.map(|domain| Told::new(tools, domain.id));
        let counted = told.as_ref().and_then(|told| told.counters().ok());
        let own_state = told.as_ref().and_then(Told::state);
        StageStatus {
            stage: stage.name.clone(),
            domain: stage.domain.clone(),
            domid: domain.map(|domain| domain.id.0),
            state: state(domain, own_state),
            memory_mib: domain.map_or(0, |domain| domain.memory_mib),
            cpu_seconds: domain.map_or(0.0, |domain| domain.cpu_seconds),
            readings: counted.map(|counted| Readings {
                received: counted.stage.readings_in,
                used: counted.stage.used,
                sent: counted.stage.out,
                dropped: counted.stage.dropped_in_all(),
            }),
        }
    });
    Ok(all.collect())
}

/// A stage that crashed may still say that it runs.
fn state(domain: Option<&Domain>, told: Option<String>) -> String {
    let Some(domain) = domain else {
        return "gone".to_owned();
    };
    match domain.ended {
        _ if domain.dying => "dying".to_owned(),
        Some(reason) if !reason.is_orderly() => reason.to_string(),
        Some(_) => printable(
            told.filter(|state| state.starts_with("failed"))
                .unwrap_or_else(|| "done".to_owned()),
        ),
        None => printable(told.unwrap_or_else(|| "starting".to_owned())),
    }
}

/// What a stage tells is data: control characters would act on the terminal of whoever reads it.
fn printable(text: String) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}

/// As a table.
pub fn table(stages: &[StageStatus]) -> String {
    let width = stages
        .iter()
        .map(|stage| stage.stage.len())
        .max()
        .unwrap_or(0)
        .max(5);
    let mut text = format!(
        "{:<width$}  {:>5} {:>5} {:>7} {:>10} {:>10} {:>8}  state\n",
        "stage", "domid", "MiB", "CPU s", "in", "out", "dropped"
    );
    for stage in stages {
        let number = |of: fn(&Readings) -> u64| {
            stage
                .readings
                .as_ref()
                .map_or_else(|| "-".to_owned(), |readings| of(readings).to_string())
        };
        let domid = stage
            .domid
            .map_or_else(|| "-".to_owned(), |id| id.to_string());
        text += &format!(
            "{:<width$}  {domid:>5} {:>5} {:>7.1} {:>10} {:>10} {:>8}  {}\n",
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
    use crate::compose::record::StageRecord;
    use crate::xl::Uuid;
    use crate::xl::fake::FakeHost;

    #[test]
    fn a_stage_is_what_xen_says_once_it_has_ended_and_what_it_says_before() {
        let host = FakeHost::default();
        host.foreign("p-a");
        let uuid = Uuid::try_from(host.domain("p-a").uuid).unwrap();
        let stage = |uuid: Uuid| StageRecord {
            name: "a".into(),
            domain: "p-a".into(),
            uuid,
            digest: String::new(),
            edges: Vec::new(),
        };
        let record = Record {
            stages: vec![stage(uuid), stage(Uuid::random().unwrap())],
            ..Record::default()
        };
        let states = || {
            let all = status(&record, &&host).unwrap();
            all.into_iter().map(|stage| stage.state).collect::<Vec<_>>()
        };
        assert_eq!(states(), ["starting", "gone"]);
        host.set("p-a", "data/grantflow/state", "waiting e\x1b[2J");
        assert_eq!(states()[0], "waiting e[2J");
        host.set(
            "p-a",
            "data/grantflow/stats/stage",
            "in=7 used=5 late=2 out=3",
        );
        let readings = status(&record, &&host).unwrap()[0].readings;
        assert_eq!(
            readings,
            Some(Readings {
                received: 7,
                used: 5,
                sent: 3,
                dropped: 2
            })
        );
        host.end("p-a", 0);
        assert_eq!(states()[0], "done");
        host.end("p-a", 3);
        assert_eq!(states()[0], "crash");
        assert!(
            table(&status(&record, &&host).unwrap())
                .lines()
                .all(|line| line.len() < 80)
        );
    }
}
