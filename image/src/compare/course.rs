//! How far a comparison is, and how long it may still take. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::plan::Step;
use super::results::{Event, Subject};

/// Before so many steps are done, the first of which boot guests, nobody knows how long the others take.
const ENOUGH: usize = 20;

/// The steps of a comparison, and those of which something was heard.
#[derive(Debug)]
pub struct Course {
    steps: Vec<Step>,
    /// Of which step a figure comes in a round.
    of: BTreeMap<(u32, Subject), usize>,
    heard: BTreeSet<usize>,
    /// When it told something for the first time: guests, images and the lab are made before.
    began: Option<Duration>,
}

impl Course {
    /// Nothing was heard of these steps yet.
    pub fn new(steps: &[Step]) -> Self {
        let mut of = BTreeMap::new();
        for (number, step) in steps.iter().enumerate() {
            let subjects = step.work.subjects().into_iter();
            of.extend(subjects.map(|subject| ((step.round, subject), number)));
        }
        Self {
            steps: steps.to_vec(),
            of,
            heard: BTreeSet::new(),
            began: None,
        }
    }

    /// Takes what was told, at this time on any clock; the step that it is about, if it is about one.
    pub fn take(&mut self, event: &Event, now: Duration) -> Option<Step> {
        self.began.get_or_insert(now);
        let (subject, round) = match event {
            Event::Sample(sample) => (&sample.subject, sample.round),
            Event::Failed(failed) => (&failed.subject, failed.round),
            _ => return None,
        };
        let number = *self.of.get(&(round, subject.clone()))?;
        self.heard.insert(number);
        self.steps.get(number).copied()
    }

    /// The first step.
    pub fn first(&self) -> Option<Step> {
        self.steps.first().copied()
    }

    /// How many steps are done. Of a check nothing is heard; it is done when a later step is.
    pub fn done(&self) -> usize {
        let last = self.heard.last().copied().unwrap_or(0);
        let before = self.steps.iter().take(last);
        self.heard.len() + before.filter(|step| step.work.is_check()).count()
    }

    /// How long the others may take, if they take as long as those that are done; none where too few are done to tell.
    fn left(&self, now: Duration) -> Option<Duration> {
        let done = self.done();
        let left = self.steps.len().saturating_sub(done);
        let since = now.checked_sub(self.began?)?;
        (done >= ENOUGH && left > 0)
            .then(|| Duration::from_secs_f64(since.as_secs_f64() / done as f64 * left as f64))
    }

    /// `213/1480, some 31 min left`; nothing where there are no steps.
    pub fn words(&self, now: Duration) -> String {
        if self.steps.is_empty() {
            return String::new();
        }
        let mut words = format!("{}/{}", self.done(), self.steps.len());
        if let Some(left) = self.left(now) {
            words += &match left.as_secs() {
                0..60 => ", under 1 min left".to_owned(),
                seconds => format!(", some {} min left", (seconds + 30) / 60),
            };
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan;
    use super::super::results::{Failed, Sample, Scope};
    use super::*;

    fn all(rounds: u32) -> Vec<Step> {
        let scope = Scope {
            rounds,
            ..Scope::default()
        };
        plan::steps(&scope).unwrap()
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn samples(step: &Step) -> impl Iterator<Item = Event> {
        let round = step.round;
        let subjects = step.work.subjects().into_iter();
        subjects.map(move |subject| {
            Event::Sample(Sample {
                subject,
                round,
                value: 1.0,
            })
        })
    }

    #[test]
    fn it_ends_where_all_steps_are_done_and_each_counts_once() {
        let steps = all(2);
        let mut course = Course::new(&steps);
        let mut before = 0;
        for (number, step) in steps.iter().enumerate() {
            for event in samples(step) {
                assert_eq!(course.take(&event, seconds(0)), Some(*step));
                assert_eq!(course.done(), number + 1, "with the checks before it");
            }
            assert!(course.done() >= before);
            before = course.done();
        }
        assert_eq!(course.done(), steps.len());
        let all = format!("{0}/{0}", steps.len());
        assert_eq!(course.words(seconds(9_000)), all, "and nothing is left");
    }

    #[test]
    fn what_is_left_takes_as_long_as_what_is_done_and_before_that_nobody_knows() {
        let steps = all(5);
        let mut course = Course::new(&steps);
        assert_eq!(course.words(seconds(90)), format!("0/{}", steps.len()));
        // The lab boots for two minutes.
        course.take(&Event::Machine(Default::default()), seconds(120));
        let (half, few) = (steps.len() / 2, ENOUGH - 1);
        let mut now = seconds(120);
        for (number, step) in steps.iter().enumerate().take(half) {
            now += seconds(2);
            for event in samples(step) {
                course.take(&event, now);
            }
            let knows = course.words(now).contains("left");
            assert_eq!(
                knows,
                course.done() > few,
                "{number}: {}",
                course.words(now)
            );
        }
        let (done, left) = (course.done(), steps.len() - course.done());
        let minutes = (left as f64 * 2.0 / 60.0).round();
        let wanted = format!("{done}/{}, some {minutes} min left", steps.len());
        assert_eq!(course.words(now), wanted);
    }

    #[test]
    fn a_failed_check_is_heard_of_by_its_figure_and_what_is_not_among_the_steps_not_at_all() {
        let steps = all(1);
        let mut course = Course::new(&steps);
        let figure = steps.iter().position(|step| !step.work.is_check()).unwrap();
        for subject in steps[figure].work.subjects() {
            let failed = Failed {
                subject,
                round: 1,
                reason: "wrong bytes".into(),
            };
            course.take(&Event::Failed(failed), seconds(1));
        }
        assert_eq!(course.done(), figure + 1);
        for mut event in samples(&steps[figure]) {
            if let Event::Sample(sample) = &mut event {
                sample.round = 7;
            }
            assert_eq!(course.take(&event, seconds(1)), None);
        }
        assert_eq!(course.done(), figure + 1);
        assert_eq!(Course::new(&[]).words(seconds(1)), "");
    }
}
