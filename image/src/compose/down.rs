//! `grantflow down`: ends a pipeline, drained or at once, and removes all there is of it.

use std::thread;
use std::time::{Duration, Instant};

use super::domains::{self, ComposeError, destroy, is_alive, of_record};
use super::record::{Journal, StageRecord};
use crate::progress::Progress;
use crate::xl::{Domain, Tools, Xl};

/// How a pipeline ends.
#[derive(Debug, Clone, Copy)]
pub struct Ending {
    /// How long the stages may take to end by themselves once their sources have; none at all ends them at once.
    pub patience: Duration,
    /// How often to look whether they have.
    pub look: Duration,
}

/// How it ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Ended {
    /// Stages that had drained and ended by themselves.
    pub drained: Vec<String>,
    /// Stages that were destroyed while they ran, with what they held.
    pub destroyed: Vec<String>,
    /// Stages that had crashed, or whose domain was gone.
    pub lost: Vec<String>,
}

/// Ends the pipeline: asks its sources to end, waits until the end of their streams has gone through, and destroys what is
/// left. The journal's folder goes last, so that a command that is cut short can be repeated.
pub fn down<T: Tools>(
    mut journal: Journal,
    ending: Ending,
    tools: &T,
    cleanup: &T,
    progress: &Progress,
) -> Result<Ended, ComposeError> {
    domains::recover(&mut journal, cleanup)?;
    if !ending.patience.is_zero() {
        drain(&journal.record.stages, ending, tools, progress)?;
    }
    let domains = Xl::new(cleanup).list()?;
    let ended = sort(&journal.record.stages, &domains);
    while let Some(stage) = journal.record.stages.last() {
        destroy(&stage.uuid, cleanup)?;
        journal.record.stages.pop();
        journal.save()?;
    }
    journal.remove()?;
    Ok(ended)
}

/// What had become of each stage when the rest was destroyed.
fn sort(stages: &[StageRecord], domains: &[Domain]) -> Ended {
    let mut ended = Ended::default();
    for (stage, domain) in of_record(stages, domains) {
        let list = match domain {
            Some(domain) if is_alive(domain) => &mut ended.destroyed,
            Some(Domain {
                ended: Some(reason),
                ..
            }) if reason.is_orderly() => &mut ended.drained,
            _ => &mut ended.lost,
        };
        list.push(stage.name.clone());
    }
    ended
}

/// First the sources are asked to end, and the others end when their inputs have; who has not by half of the time is asked too.
fn drain<T: Tools>(
    stages: &[StageRecord],
    ending: Ending,
    tools: &T,
    progress: &Progress,
) -> Result<(), ComposeError> {
    let begin = Instant::now();
    progress.say("asking the sources to end, and waiting until all is drained");
    ask(stages, StageRecord::is_source, tools)?;
    let mut asked_all = false;
    loop {
        let domains = Xl::new(tools).list()?;
        let running =
            of_record(stages, &domains).filter(|(_, domain)| domain.is_some_and(is_alive));
        let running: Vec<&str> = running.map(|(stage, _)| stage.name.as_str()).collect();
        let waited = begin.elapsed();
        if running.is_empty() || waited >= ending.patience {
            return Ok(());
        }
        if !asked_all && waited >= ending.patience / 2 {
            asked_all = true;
            progress.say(format_args!(
                "still running: {}; asking them too",
                running.join(", ")
            ));
            ask(stages, |_| true, tools)?;
        }
        thread::sleep(ending.look);
    }
}

fn ask<T: Tools>(
    stages: &[StageRecord],
    whom: impl Fn(&StageRecord) -> bool,
    tools: &T,
) -> Result<(), ComposeError> {
    let xl = Xl::new(tools);
    let domains = xl.list()?;
    for (_, domain) in of_record(stages, &domains).filter(|(stage, _)| whom(stage)) {
        // One that ends by itself meanwhile need not be asked.
        if let Some(domain) = domain.filter(|domain| is_alive(domain))
            && let Err(error) = xl.shutdown(domain.id)
            && xl
                .list()?
                .iter()
                .any(|now| now.uuid == domain.uuid && is_alive(now))
        {
            return Err(error.into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::record::{EdgeRecord, Record};
    use crate::xl::Uuid;
    use crate::xl::fake::{FakeHost, Fault};

    const DRAINED: Ending = Ending {
        patience: Duration::from_secs(600),
        look: Duration::ZERO,
    };

    const NOW: Ending = Ending {
        patience: Duration::ZERO,
        look: Duration::ZERO,
    };

    /// A source and its reader, both running.
    fn running(home: &std::path::Path, host: &FakeHost) -> Journal {
        let stage = |name: &str, peer: &str, reads| {
            let uuid = Uuid::random().unwrap();
            let config = home.join("cfg");
            std::fs::write(
                &config,
                format!("name = \"p-{name}\"\nuuid = \"{uuid}\"\nmemory = 1\n"),
            )
            .unwrap();
            Xl::new(&host).create(&config).unwrap();
            StageRecord {
                name: name.into(),
                domain: format!("p-{name}"),
                uuid,
                digest: String::new(),
                edges: vec![EdgeRecord {
                    name: "e".into(),
                    peer: Some(peer.into()),
                    reads,
                    feedback: false,
                }],
                restarts: 0,
            }
        };
        let mut journal = Journal::open(home, "p").unwrap();
        journal.record = Record {
            stages: vec![stage("a", "b", false), stage("b", "a", true)],
            ..Record::default()
        };
        journal.save().unwrap();
        journal
    }

    #[test]
    fn a_pipeline_drains_and_nothing_of_it_is_left() {
        let (home, host) = (tempfile::tempdir().unwrap(), FakeHost::default());
        host.foreign("other");
        let journal = running(home.path(), &host);
        let ended = down(journal, DRAINED, &&host, &&host, &Progress::silent()).unwrap();
        assert_eq!(ended.drained, ["a", "b"]);
        let names: Vec<String> = host
            .domains()
            .into_iter()
            .map(|domain| domain.name)
            .collect();
        assert_eq!(names, ["other"]);
        assert!(crate::compose::record::names(home.path()).is_empty());
    }

    #[test]
    fn at_once_means_that_nobody_is_asked() {
        let (home, host) = (tempfile::tempdir().unwrap(), FakeHost::default());
        let journal = running(home.path(), &host);
        host.end("p-b", 3);
        let ended = down(journal, NOW, &&host, &&host, &Progress::silent()).unwrap();
        assert_eq!(
            (ended.destroyed, ended.lost),
            (vec!["a".to_owned()], vec!["b".to_owned()])
        );
        assert!(host.domains().is_empty());
    }

    #[test]
    fn what_a_failed_end_has_left_is_ended_by_the_next() {
        for call in 0.. {
            let (home, host) = (tempfile::tempdir().unwrap(), FakeHost::default());
            let journal = running(home.path(), &host);
            host.fault_at(call, Fault::Dead);
            let ended = down(journal, NOW, &&host, &&host, &Progress::silent());
            if host.mend() <= call {
                assert!(ended.is_ok() && call > 2, "{call}");
                break;
            }
            assert!(ended.is_err(), "call {call}");
            let journal = Journal::open(home.path(), "p").unwrap();
            down(journal, NOW, &&host, &&host, &Progress::silent()).unwrap();
            assert!(host.domains().is_empty(), "call {call}");
        }
    }
}
