//! Samples by what they are of, summed up; and the best of a contestant's settings. Pure.

use std::collections::BTreeMap;

use super::catalogue::{Better, Contestant, Measure};
use super::results::{Failed, Sample, Subject};
use super::stats::Summary;

/// What all rounds of one subject gave.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figure {
    /// The values, in the order of rounds.
    pub values: Vec<f64>,
    /// The same summed up; `None` if every round failed.
    pub summary: Option<Summary>,
    /// Why rounds gave nothing, each with its number.
    pub failures: Vec<(u32, String)>,
}

impl Figure {
    /// `2 of 5 rounds failed`, if any did.
    pub fn failed(&self) -> Option<String> {
        let failed = self.failures.len();
        match (failed, self.values.len()) {
            (0, _) => None,
            (_, 0) => Some("failed".to_owned()),
            (_, done) => Some(format!("{failed} of {} rounds failed", failed + done)),
        }
    }
}

/// All figures of a comparison.
#[derive(Debug, Clone, Default)]
pub struct Figures(BTreeMap<Subject, Figure>);

impl Figures {
    /// Of these samples and failures. A value that is no number counts for nothing; whoever reports calls it a failure.
    pub fn of(samples: &[Sample], failures: &[Failed]) -> Self {
        let mut figures: BTreeMap<Subject, Figure> = BTreeMap::new();
        let mut in_order: Vec<&Sample> = samples.iter().collect();
        in_order.sort_by_key(|sample| sample.round);
        for sample in in_order
            .into_iter()
            .filter(|sample| sample.value.is_finite())
        {
            let figure = figures.entry(sample.subject.clone()).or_default();
            figure.values.push(sample.value);
        }
        for figure in figures.values_mut() {
            figure.summary = Summary::of(&figure.values);
        }
        for failed in failures {
            let figure = figures.entry(failed.subject.clone()).or_default();
            figure.failures.push((failed.round, failed.reason.clone()));
        }
        Self(figures)
    }

    /// All of them, in the order of tables.
    pub fn iter(&self) -> impl Iterator<Item = (&Subject, &Figure)> {
        self.0.iter()
    }

    /// One of them.
    pub fn get(&self, subject: &Subject) -> Option<&Figure> {
        self.0.get(subject)
    }

    /// The settings of a contestant for a measure and size.
    pub fn settings(
        &self,
        contestant: Contestant,
        measure: Measure,
        size: Option<u64>,
    ) -> impl Iterator<Item = (&Subject, &Figure)> {
        self.iter().filter(move |(subject, _)| {
            subject.contestant == contestant && subject.measure == measure && subject.size == size
        })
    }

    /// The best of them by its median; one that failed in every round if there is no other.
    pub fn best(
        &self,
        contestant: Contestant,
        measure: Measure,
        size: Option<u64>,
    ) -> Option<(&Subject, &Figure)> {
        let settings = self.settings(contestant, measure, size);
        best_of(settings, measure.better())
    }

    /// The best figure over these contestants, of those that `counts` admits.
    pub fn best_among(
        &self,
        contestants: &[Contestant],
        measure: Measure,
        size: Option<u64>,
        counts: impl Fn(&Figure) -> bool,
    ) -> Option<(&Subject, &Summary)> {
        let all = contestants
            .iter()
            .flat_map(|&contestant| self.settings(contestant, measure, size))
            .filter(|(_, figure)| counts(figure));
        let (subject, figure) = best_of(all, measure.better())?;
        Some((subject, figure.summary.as_ref()?))
    }

    /// The sizes at which a measure was taken, or failed, of any of these contestants.
    pub fn sizes(&self, contestants: &[Contestant], measure: Measure) -> Vec<Option<u64>> {
        let mut sizes: Vec<Option<u64>> = self
            .iter()
            .filter(|(s, _)| s.measure == measure && contestants.contains(&s.contestant))
            .map(|(subject, _)| subject.size)
            .collect();
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    }
}

/// What has a median comes before what has none; of equals the first.
fn best_of<'a>(
    settings: impl Iterator<Item = (&'a Subject, &'a Figure)>,
    better: Better,
) -> Option<(&'a Subject, &'a Figure)> {
    settings.reduce(|best, next| {
        let beats = match (best.1.summary, next.1.summary) {
            (Some(best), Some(next)) => match better {
                Better::Higher => next.median > best.median,
                Better::Lower => next.median < best.median,
            },
            (None, next) => next.is_some(),
            (Some(_), None) => false,
        };
        if beats { next } else { best }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::testing::{failed, sample};

    #[test]
    fn the_best_setting_is_the_one_with_the_better_median_and_failed_ones_come_last() {
        let tcp = |setting: &str, measure, round, value| {
            sample(
                Contestant::LinuxTcp,
                setting,
                measure,
                Some(64),
                round,
                value,
            )
        };
        let samples = [
            tcp("gso", Measure::Throughput, 2, 9.0),
            tcp("gso", Measure::Throughput, 1, 1.0),
            tcp("gso", Measure::Throughput, 3, 2.0),
            tcp("nodelay", Measure::Throughput, 1, 3.0),
            tcp("gso", Measure::RttP50, 1, 9.0),
            tcp("nodelay", Measure::RttP50, 1, 3.0),
            tcp("nodelay", Measure::RttP50, 2, f64::NAN),
        ];
        let failures = [
            failed(
                Contestant::LinuxTcp,
                "a",
                Measure::Throughput,
                Some(64),
                1,
                "reset",
            ),
            failed(
                Contestant::LinuxUdp,
                "",
                Measure::Throughput,
                Some(64),
                1,
                "lost",
            ),
        ];
        let figures = Figures::of(&samples, &failures);
        let best = |contestant, measure| {
            let (subject, figure) = figures.best(contestant, measure, Some(64)).unwrap();
            (subject.setting.as_str(), figure.values.clone())
        };
        let nodelay = |value: f64| ("nodelay", vec![value]);
        assert_eq!(
            best(Contestant::LinuxTcp, Measure::Throughput),
            nodelay(3.0)
        );
        assert_eq!(best(Contestant::LinuxTcp, Measure::RttP50), nodelay(3.0));
        assert_eq!(
            best(Contestant::LinuxUdp, Measure::Throughput),
            ("", vec![])
        );
        assert!(
            figures
                .best(Contestant::LinuxTcp, Measure::RttP50, None)
                .is_none()
        );
        let gso = figures.settings(Contestant::LinuxTcp, Measure::Throughput, Some(64));
        let values: Vec<_> = gso.map(|(_, figure)| figure.values.clone()).collect();
        assert!(
            values.contains(&vec![1.0, 9.0, 2.0]),
            "in the order of rounds: {values:?}"
        );
    }
}
