//! Events become the document of results. Pure.

use super::catalogue::{Contestant, Measure};
use super::goals;
use super::results::{About, Event, MeasureInfo, Results, SCHEMA, Sample, Scope};

/// What has come so far.
#[derive(Debug)]
pub struct Gatherer {
    results: Results,
    complete: bool,
}

impl Gatherer {
    /// Nothing has come yet of what was asked for; `tool` is the program and its version, `started` RFC 3339.
    pub fn new(scope: Scope, title: &str, tool: &str, started: &str) -> Self {
        Self {
            results: Results {
                schema: SCHEMA,
                title: title.to_owned(),
                tool: tool.to_owned(),
                started: started.to_owned(),
                seconds: 0.0,
                scope,
                cut_short: None,
                machine: Default::default(),
                contestants: Vec::new(),
                measures: Vec::new(),
                goals: Vec::new(),
                samples: Vec::new(),
                failures: Vec::new(),
                warnings: Vec::new(),
            },
            complete: false,
        }
    }

    /// Takes what was told.
    pub fn take(&mut self, event: Event) {
        let results = &mut self.results;
        match event {
            Event::Sample(sample) => results.samples.push(sample),
            Event::Failed(failed) => {
                // Of what was measured before wrong bytes came, no figure is left.
                let is_it = |sample: &Sample| {
                    sample.round == failed.round && sample.subject == failed.subject
                };
                results.samples.retain(|sample| !is_it(sample));
                results.failures.push(failed);
            }
            Event::Machine(machine) => results.machine = machine,
            Event::About(about) => {
                results.contestants.retain(|one| one.id != about.id);
                results.contestants.push(about);
            }
            Event::Warning(warning) => {
                if !results.warnings.contains(&warning) {
                    results.warnings.push(warning);
                }
            }
            Event::Complete => self.complete = true,
        }
    }

    /// Whether everything that was asked for was tried.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Whether there is no figure and no failure yet.
    pub fn is_empty(&self) -> bool {
        self.results.samples.is_empty() && self.results.failures.is_empty()
    }

    /// The document, after so many seconds; `cut_short` says why it ended early, if it did.
    pub fn finish(self, seconds: f64, cut_short: Option<String>) -> Results {
        let mut results = self.results;
        results.seconds = seconds;
        results.cut_short = match (cut_short, self.complete) {
            (Some(reason), _) => Some(reason),
            (None, true) => None,
            (None, false) => Some("it ended before everything was measured".to_owned()),
        };
        let subjects = || {
            let samples = results.samples.iter().map(|sample| &sample.subject);
            samples.chain(results.failures.iter().map(|failed| &failed.subject))
        };
        let measured = |measure: &Measure| subjects().any(|subject| subject.measure == *measure);
        results.measures = Measure::ALL
            .into_iter()
            .filter(measured)
            .map(MeasureInfo::from)
            .collect();
        // One that nothing was said of is in the tables all the same.
        let silent: Vec<Contestant> = Contestant::ALL
            .into_iter()
            .filter(|id| subjects().any(|subject| subject.contestant == *id))
            .filter(|id| results.contestants.iter().all(|about| about.id != *id))
            .collect();
        results
            .contestants
            .extend(silent.into_iter().map(|id| About {
                id,
                name: id.name().to_owned(),
                setup: String::new(),
            }));
        results.contestants.sort_by_key(|about| about.id);
        results.goals = goals::evaluate(&results.samples, &results.failures);
        results
    }
}

#[cfg(test)]
mod tests {
    use super::super::results::{Failed, Subject};
    use super::*;

    fn subject(contestant: Contestant, measure: Measure) -> Subject {
        Subject {
            contestant,
            setting: String::new(),
            measure,
            size: Some(64),
        }
    }

    fn gatherer() -> Gatherer {
        let scope = Scope {
            rounds: 1,
            ..Scope::default()
        };
        Gatherer::new(scope, "a title", "grantflow 1", "2026-01-01T00:00:00Z")
    }

    fn sample(contestant: Contestant, measure: Measure, value: f64) -> Event {
        Event::Sample(Sample {
            subject: subject(contestant, measure),
            round: 1,
            value,
        })
    }

    #[test]
    fn events_become_a_document_with_its_goals() {
        let mut gatherer = gatherer();
        gatherer.take(sample(Contestant::LinuxTcp, Measure::Throughput, 1e6));
        gatherer.take(sample(Contestant::UnikernelVchan, Measure::Throughput, 6e8));
        gatherer.take(Event::About(About {
            id: Contestant::LinuxTcp,
            name: "x".into(),
            setup: "y".into(),
        }));
        gatherer.take(Event::Failed(Failed {
            subject: subject(Contestant::LinuxUdp, Measure::RttP50),
            round: 1,
            reason: "no program".into(),
        }));
        for _ in 0..2 {
            gatherer.take(Event::Warning("busy".into()));
        }
        gatherer.take(Event::Complete);
        let results = gatherer.finish(3.0, None);
        assert_eq!(results.cut_short, None);
        let who: Vec<(Contestant, &str)> = results
            .contestants
            .iter()
            .map(|about| (about.id, about.setup.as_str()))
            .collect();
        assert_eq!(
            who,
            [
                (Contestant::UnikernelVchan, ""),
                (Contestant::LinuxTcp, "y"),
                (Contestant::LinuxUdp, ""),
            ]
        );
        let measures: Vec<Measure> = results.measures.iter().map(|info| info.id).collect();
        assert_eq!(measures, [Measure::Throughput, Measure::RttP50]);
        let goal = |id: &str| results.goals.iter().find(|goal| goal.id == id).unwrap();
        assert_eq!(goal("vchan-vs-linux-tcp-64").value, Some(600.0));
        assert!(goal("vchan-vs-linux-tcp-64").met);
        assert_eq!(goal("vchan-vs-linux-tcp-1k").value, None);
        assert_eq!(results.warnings, ["busy"]);
        assert_eq!(results.failures.len(), 1);
    }

    #[test]
    fn a_failure_takes_the_figure_of_its_round_back() {
        let mut gatherer = gatherer();
        for measure in [Measure::Throughput, Measure::RttP50] {
            gatherer.take(sample(Contestant::LinuxTcp, measure, 1e6));
        }
        gatherer.take(Event::Failed(Failed {
            subject: subject(Contestant::LinuxTcp, Measure::Throughput),
            round: 1,
            reason: "wrong bytes when sent back".into(),
        }));
        let results = gatherer.finish(1.0, None);
        let left: Vec<Measure> = results
            .samples
            .iter()
            .map(|one| one.subject.measure)
            .collect();
        assert_eq!(left, [Measure::RttP50]);
        assert_eq!(results.failures.len(), 1);
    }

    #[test]
    fn a_run_that_was_cut_short_keeps_what_it_has_and_says_why() {
        let mut one = gatherer();
        one.take(sample(Contestant::LinuxTcp, Measure::RttP50, 1.0));
        let results = one.finish(1.0, Some("Ctrl-C".into()));
        assert_eq!(results.cut_short.as_deref(), Some("Ctrl-C"));
        assert_eq!(results.samples.len(), 1);
        // Without a word at the end, something was lost on the way.
        assert!(gatherer().finish(1.0, None).cut_short.is_some());
    }
}
