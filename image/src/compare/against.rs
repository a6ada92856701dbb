//! Two comparisons of the same machine: what became better or worse beyond the noise. Pure.

use std::collections::BTreeSet;

use serde::Serialize;

use super::catalogue::Better;
use super::figures::{Figure, Figures};
use super::results::{Results, Subject};
use super::stats::{Difference, Summary, difference};

/// What became of one subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It gave figures and fails now.
    FailsNow,
    /// Worse beyond the noise.
    Worse,
    /// Better beyond the noise.
    Better,
    /// It failed and gives figures now.
    WorksNow,
    /// It was not measured before.
    New,
    /// It is not measured any more.
    Gone,
    /// Too few rounds to tell.
    Unknown,
    /// Within the noise.
    Same,
}

impl Verdict {
    /// For readers.
    pub fn words(self) -> &'static str {
        match self {
            Self::FailsNow => "fails now",
            Self::Worse => "worse",
            Self::Better => "better",
            Self::WorksNow => "works now",
            Self::New => "new",
            Self::Gone => "gone",
            Self::Unknown => "too few rounds to tell",
            Self::Same => "within the noise",
        }
    }
}

/// One subject then and now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// Of what.
    #[serde(flatten)]
    pub subject: Subject,
    /// What became of it.
    pub verdict: Verdict,
    /// Its median then.
    pub before: Option<f64>,
    /// Its median now.
    pub now: Option<f64>,
    /// How much better it is now: 2 is twice as fast, or half the time.
    pub gain: Option<f64>,
}

/// All of them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Against {
    /// When the older one began.
    pub before: String,
    /// What else differs between the two: versions, rounds.
    pub notes: Vec<String>,
    /// Changes, the worst first; what stayed within the noise last.
    pub changes: Vec<Change>,
}

impl Against {
    /// How many subjects have this verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.changes
            .iter()
            .filter(|change| change.verdict == verdict)
            .count()
    }
}

/// The two were measured on different machines.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not held against the older run, which was on another machine: {0}")]
pub struct OtherMachine(String);

/// Holds a comparison against an older one.
pub fn against(old: &Results, new: &Results) -> Result<Against, OtherMachine> {
    let (then, now) = (&old.machine, &new.machine);
    let emulator = |name: &Option<String>| name.clone().unwrap_or_else(|| "no emulator".into());
    let machine = differing(&[
        ("CPU", &then.cpu, &now.cpu),
        ("CPUs", &then.cpus.to_string(), &now.cpus.to_string()),
        (
            "emulator",
            &emulator(&then.emulator),
            &emulator(&now.emulator),
        ),
    ]);
    if !machine.is_empty() {
        return Err(OtherMachine(machine.join("; ")));
    }
    let notes = differing(&[
        (
            "memory in MiB",
            &then.memory_mib.to_string(),
            &now.memory_mib.to_string(),
        ),
        ("Xen", &then.xen, &now.xen),
        ("dom0's kernel", &then.dom0_kernel, &now.dom0_kernel),
        (
            "rounds",
            &old.scope.rounds.to_string(),
            &new.scope.rounds.to_string(),
        ),
        ("program", &old.tool, &new.tool),
    ]);
    let (then, now) = (
        Figures::of(&old.samples, &old.failures),
        Figures::of(&new.samples, &new.failures),
    );
    let subjects: BTreeSet<&Subject> = then.iter().chain(now.iter()).map(|(s, _)| s).collect();
    let mut changes: Vec<Change> = subjects
        .into_iter()
        .map(|subject| change(subject, then.get(subject), now.get(subject)))
        .collect();
    changes.sort_by(|a, b| {
        let gain = |change: &Change| change.gain.unwrap_or(1.0);
        let order = a.verdict.cmp(&b.verdict);
        order.then(gain(a).ln().abs().total_cmp(&gain(b).ln().abs()).reverse())
    });
    Ok(Against {
        before: old.started.clone(),
        notes,
        changes,
    })
}

fn differing(pairs: &[(&str, &String, &String)]) -> Vec<String> {
    let differ = pairs.iter().filter(|(_, then, now)| then != now);
    differ
        .map(|(what, then, now)| format!("{what} was {then} and is {now}"))
        .collect()
}

fn change(subject: &Subject, then: Option<&Figure>, now: Option<&Figure>) -> Change {
    let of = |figure: Option<&Figure>| figure.and_then(|figure| figure.summary);
    let (before, after) = (of(then), of(now));
    let verdict = match (then, now) {
        (None, _) => Verdict::New,
        (_, None) => Verdict::Gone,
        _ => match (&before, &after) {
            (Some(before), Some(after)) => judged(subject, before, after),
            (Some(_), None) => Verdict::FailsNow,
            (None, Some(_)) => Verdict::WorksNow,
            (None, None) => Verdict::Same,
        },
    };
    let (before, now) = (before.map(|b| b.median), after.map(|a| a.median));
    let gain = before
        .zip(now)
        .map(|(before, now)| match subject.measure.better() {
            Better::Higher => now / before,
            Better::Lower => before / now,
        });
    Change {
        subject: subject.clone(),
        verdict,
        before,
        now,
        gain: gain.filter(|gain| gain.is_finite()),
    }
}

fn judged(subject: &Subject, before: &Summary, now: &Summary) -> Verdict {
    match (difference(before, now), subject.measure.better()) {
        (Difference::Noise, _) => Verdict::Same,
        (Difference::Unknown, _) => Verdict::Unknown,
        (Difference::Higher, Better::Higher) | (Difference::Lower, Better::Lower) => {
            Verdict::Better
        }
        (Difference::Higher, Better::Lower) | (Difference::Lower, Better::Higher) => Verdict::Worse,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::catalogue::{Contestant, Measure};
    use crate::compare::testing;

    fn scaled(results: &Results, contestant: Contestant, measure: Measure, by: f64) -> Results {
        let mut results = results.clone();
        for sample in &mut results.samples {
            if sample.subject.contestant == contestant && sample.subject.measure == measure {
                sample.value *= by;
            }
        }
        results
    }

    fn verdicts(
        old: &Results,
        new: &Results,
        contestant: Contestant,
        measure: Measure,
    ) -> Vec<Verdict> {
        let held = against(old, new).unwrap();
        let changes = held.changes.iter();
        let of =
            changes.filter(|c| c.subject.contestant == contestant && c.subject.measure == measure);
        of.map(|change| change.verdict).collect()
    }

    #[test]
    fn a_run_against_itself_shows_nothing() {
        let rich = testing::rich();
        let held = against(&rich, &rich).unwrap();
        assert!(held.notes.is_empty());
        assert!(held.changes.len() > 50);
        let quiet = held.count(Verdict::Same) + held.count(Verdict::Unknown);
        assert_eq!(quiet, held.changes.len());
    }

    #[test]
    fn less_time_is_better_and_less_throughput_worse() {
        let (old, who) = (testing::rich(), Contestant::UnikernelVchan);
        let better = |measure, by| {
            let verdicts = verdicts(&old, &scaled(&old, who, measure, by), who, measure);
            assert!(!verdicts.is_empty());
            verdicts
                .into_iter()
                .all(|verdict| verdict == Verdict::Better)
        };
        assert!(better(Measure::RttP50, 0.5));
        assert!(better(Measure::Throughput, 2.0));
        assert!(!better(Measure::Throughput, 1.001));
        let worse = verdicts(
            &old,
            &scaled(&old, who, Measure::RttP50, 2.0),
            who,
            Measure::RttP50,
        );
        assert!(worse.iter().all(|&verdict| verdict == Verdict::Worse));
    }

    #[test]
    fn what_is_new_gone_or_fails_now_is_said_and_the_worst_stands_first() {
        let mut old = testing::rich();
        let mut new = old.clone();
        let who = Contestant::NativeMemcpy;
        new.samples
            .retain(|sample| sample.subject.contestant != who);
        new.failures.push(testing::failed(
            who,
            "",
            Measure::Throughput,
            Some(64),
            1,
            "gone wrong",
        ));
        let then_now = verdicts(&old, &new, who, Measure::Throughput);
        assert_eq!(then_now[0], Verdict::FailsNow);
        assert!(
            then_now[1..]
                .iter()
                .all(|&verdict| verdict == Verdict::Gone)
        );
        let back = verdicts(&new, &old, who, Measure::Throughput);
        assert_eq!(back[0], Verdict::WorksNow);
        assert!(back[1..].iter().all(|&verdict| verdict == Verdict::New));
        assert_eq!(
            against(&old, &new).unwrap().changes[0].verdict,
            Verdict::FailsNow
        );
        old.machine.xen = "4.14".into();
        assert_eq!(
            against(&old, &new).unwrap().notes[0],
            "Xen was 4.14 and is 4.17.5"
        );
    }

    #[test]
    fn another_machine_is_refused_and_named() {
        let old = testing::rich();
        let mut new = old.clone();
        new.machine.emulator = None;
        let refused = against(&old, &new).unwrap_err().to_string();
        assert!(
            refused.ends_with("emulator was QEMU 7.2 (TCG) and is no emulator"),
            "{refused}"
        );
    }
}
