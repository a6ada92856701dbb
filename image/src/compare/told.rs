//! Events, as a person who waits for the end sees them. Pure.

use super::catalogue::Measure;
use super::plan::{Trial, Work};
use super::results::{Event, Subject};

/// A line for an event; none for what is in the report anyway.
pub fn line(event: &Event, rounds: u32) -> Option<String> {
    match event {
        // Hundreds within seconds.
        Event::Sample(sample) if sample.subject.contestant.is_native() => None,
        Event::Sample(sample) if is_main(sample.subject.measure) => Some(format!(
            "round {}/{rounds}  {}  {}",
            sample.round,
            words(&sample.subject),
            amount(sample.subject.measure, sample.value)
        )),
        Event::Failed(failed) if is_main(failed.subject.measure) => Some(format!(
            "round {}/{rounds}  {}  FAILED: {}",
            failed.round,
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
    if !subject.setting.is_empty() {
        words += &format!(" {}", subject.setting);
    }
    words += &format!("  {}", subject.measure.id());
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

/// What a step will be about, for `--list`.
pub fn step(work: &Work) -> Option<String> {
    work.subjects().first().map(words)
}

#[cfg(test)]
mod tests {
    use super::super::catalogue::Contestant;
    use super::super::results::{Failed, Sample};
    use super::*;

    fn subject(measure: Measure) -> Subject {
        Subject {
            contestant: Contestant::LinuxTcp,
            setting: "nodelay,gso".into(),
            measure,
            size: Some(64),
        }
    }

    fn told(measure: Measure, value: f64) -> Option<String> {
        let sample = Sample {
            subject: subject(measure),
            round: 1,
            value,
        };
        line(&Event::Sample(sample), 3)
    }

    #[test]
    fn a_figure_is_one_line_and_what_comes_with_it_none() {
        assert_eq!(
            told(Measure::Throughput, 524_000.0).unwrap(),
            "round 1/3  linux-tcp nodelay,gso  throughput 64 B  0.524 MB/s"
        );
        assert_eq!(
            told(Measure::RttP50, 1_234_567.0).unwrap(),
            "round 1/3  linux-tcp nodelay,gso  rtt-p50 64 B  1235 µs"
        );
        assert_eq!(told(Measure::RttMax, 1.0), None);
        assert_eq!(told(Measure::CpuPerMillion, 1.0), None);
        assert!(told(Measure::Fit, 12.0).unwrap().ends_with("  12.0"));
        let failed = Event::Failed(Failed {
            subject: subject(Measure::Throughput),
            round: 2,
            reason: "no memory".into(),
        });
        assert!(line(&failed, 3).unwrap().ends_with("FAILED: no memory"));
    }
}
