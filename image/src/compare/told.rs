//! Events, as a person who waits for the end sees them. Pure.

use std::time::Duration;

use super::catalogue::Measure;
use super::course::Course;
use super::plan::{Step, Trial, Work};
use super::results::{Event, Subject};

/// What is told of a comparison, in lines that say how far it is.
#[derive(Debug)]
pub struct Told {
    course: Course,
    rounds: u32,
    /// The round that was told of last, of pairs or of the life of guests.
    round: Option<(bool, u32)>,
}

impl Told {
    /// Nothing was told yet of these steps.
    pub fn new(steps: &[Step], rounds: u32) -> Self {
        Self {
            course: Course::new(steps),
            rounds,
            round: None,
        }
    }

    /// The lines for an event, at this time on any clock; none for what is in the report anyway.
    pub fn lines(&mut self, event: &Event, now: Duration) -> Vec<String> {
        let step = self.course.take(event, now);
        // With the first word, that of the first round.
        let step = step.or_else(|| self.course.first().filter(|_| self.round.is_none()));
        let place = self.course.words(now);
        let mut said = Vec::new();
        if let Some(step) = step {
            let is_life = matches!(step.work, Work::Life { .. });
            let round = (is_life, step.round);
            if self.round.replace(round) != Some(round) {
                said.push(self.begins(round));
            }
        }
        said.extend(line(event));
        let with_place = |line: String| match place.as_str() {
            "" => line,
            place => format!("{place}  {line}"),
        };
        said.into_iter().map(with_place).collect()
    }

    fn begins(&self, (is_life, round): (bool, u32)) -> String {
        let what = match (is_life, round) {
            (true, _) => ": the life of guests",
            (false, 1) => ", every byte is looked at before it is measured",
            (false, _) => "",
        };
        format!("round {round} of {}{what}", self.rounds)
    }
}

/// A line for an event.
fn line(event: &Event) -> Option<String> {
    match event {
        // Hundreds within seconds.
        Event::Sample(sample) if sample.subject.contestant.is_native() => None,
        Event::Sample(sample) if is_main(sample.subject.measure) => Some(format!(
            "{}  {}",
            words(&sample.subject),
            amount(sample.subject.measure, sample.value)
        )),
        Event::Failed(failed) if is_main(failed.subject.measure) => Some(format!(
            "{}  FAILED: {}",
            words(&failed.subject),
            failed.reason
        )),
        Event::Warning(warning) => Some(format!("warning: {warning}")),
        _ => None,
    }
}

/// Whether it is what a person waits for: of what comes together, the first.
fn is_main(measure: Measure) -> bool {
    let of = |trial: Trial| trial.measures();
    let together = [
        of(Trial::Throughput),
        of(Trial::RoundTrip),
        of(Trial::LoadedRoundTrip),
    ];
    let mut together = together.into_iter();
    together.all(|measures| !measures.iter().skip(1).any(|other| *other == measure))
}

fn words(subject: &Subject) -> String {
    let mut words = subject.contestant.id().to_owned();
    // There is room for the word alone beside how far it is.
    let measure = subject.measure.id().trim_end_matches("-per-message");
    if !subject.setting.is_empty() {
        words += &format!(" {}", subject.setting);
    }
    words += &format!("  {measure}");
    if let Some(size) = subject.size {
        words += &match size {
            0..1024 => format!(" {size} B"),
            1024..1_048_576 => format!(" {} KiB", size / 1024),
            _ => format!(" {} MiB", size / 1_048_576),
        };
    }
    words
}

fn amount(measure: Measure, value: f64) -> String {
    match measure.unit() {
        "bytes/s" => format!("{} MB/s", digits(value / 1e6)),
        "ns" => format!("{} µs", digits(value / 1e3)),
        "bytes" => format!("{} KiB", digits(value / 1024.0)),
        "1" => digits(value),
        unit => format!("{} {unit}", digits(value)),
    }
}

/// Three digits that count.
fn digits(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        0.1.. => format!("{value:.3}"),
        _ => format!("{value:.2e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::catalogue::Contestant;
    use super::super::plan;
    use super::super::results::{Failed, Sample, Scope};
    use super::*;
    use crate::progress::Elapsed;

    fn subject(measure: Measure) -> Subject {
        Subject {
            contestant: Contestant::LinuxTcp,
            setting: "nodelay,gso".into(),
            measure,
            size: Some(64),
        }
    }

    fn sample(measure: Measure, value: f64) -> Event {
        Event::Sample(Sample {
            subject: subject(measure),
            round: 1,
            value,
        })
    }

    fn told(measure: Measure, value: f64) -> Option<String> {
        line(&sample(measure, value))
    }

    #[test]
    fn a_figure_is_one_line_and_what_comes_with_it_none() {
        assert_eq!(
            told(Measure::Throughput, 524_000.0).unwrap(),
            "linux-tcp nodelay,gso  throughput 64 B  0.524 MB/s"
        );
        assert_eq!(
            told(Measure::RttP50, 1_234_567.0).unwrap(),
            "linux-tcp nodelay,gso  rtt-p50 64 B  1235 µs"
        );
        assert_eq!(told(Measure::RttMax, 1.0), None);
        assert_eq!(told(Measure::CpuPerMillion, 1.0), None);
        assert!(told(Measure::Fit, 12.0).unwrap().ends_with("  12.0"));
        let failed = Event::Failed(Failed {
            subject: subject(Measure::Throughput),
            round: 2,
            reason: "no memory".into(),
        });
        assert!(line(&failed).unwrap().ends_with("FAILED: no memory"));
    }

    fn all() -> Vec<Step> {
        let scope = Scope {
            rounds: 5,
            ..Scope::default()
        };
        plan::steps(&scope).unwrap()
    }

    #[test]
    fn a_round_is_told_once_as_it_begins_and_every_line_says_how_far_it_is() {
        let steps = all();
        let mut told = Told::new(&steps, 5);
        let count = steps.len();
        let begun = told.lines(&Event::Machine(Default::default()), Duration::ZERO);
        assert!(
            begun[0].starts_with(&format!("0/{count}  round 1 of 5, ")),
            "{begun:?}"
        );
        assert_eq!(begun.len(), 1);
        let warned = told.lines(&Event::Warning("busy".into()), Duration::ZERO);
        assert_eq!(warned, [format!("0/{count}  warning: busy")]);
        let mut second = sample(Measure::Throughput, 524_000.0);
        let first = told.lines(&second, Duration::ZERO);
        assert!(first[0].ends_with("  linux-tcp nodelay,gso  throughput 64 B  0.524 MB/s"));
        assert!(first[0].contains(&format!("/{count}")), "{first:?}");
        assert_eq!(first.len(), 1);
        if let Event::Sample(sample) = &mut second {
            sample.round = 2;
        }
        let next = told.lines(&second, Duration::ZERO);
        assert!(next[0].ends_with("  round 2 of 5"), "{next:?}");
        assert_eq!(next.len(), 2);
    }

    #[test]
    fn every_line_of_a_figure_fits_the_terminal() {
        let steps = all();
        let mut told = Told::new(&steps, 5);
        let mut rounds = 0;
        let usual = [
            (Measure::Throughput, 123_456.7),
            (Measure::RttP50, 123_456_789.0),
        ];
        let mut now = Duration::ZERO;
        rounds += told.lines(&Event::Machine(Default::default()), now).len();
        for step in &steps {
            now += Duration::from_secs(3);
            for subject in step.work.subjects() {
                let pick = usual
                    .iter()
                    .find(|(measure, _)| *measure == subject.measure);
                let value = pick.map_or(0.012_345, |(_, value)| *value);
                let event = Event::Sample(Sample {
                    subject,
                    round: step.round,
                    value,
                });
                for line in told.lines(&event, now) {
                    let line = format!("[{}] {line}", Elapsed(now));
                    assert!(line.chars().count() <= 100, "{line}");
                    rounds += usize::from(line.contains("  round "));
                }
            }
        }
        assert_eq!(rounds, 10, "of pairs, and of the life of guests");
    }
}
