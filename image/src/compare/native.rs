//! The native part: the rings and peers of `make bench`, between two CPUs of this host without Xen, where cores, caches and the order
//! of memory are real.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::catalogue::{Contestant, Measure};
use super::results::{Event, Sample, Scope, Subject};
use crate::progress::Progress;
use crate::workspace::Workspace;

/// Rounds, each of which takes a part of a second.
const ROUNDS: u32 = 11;

/// Whether it is asked for: with everything, or by a contestant's name.
pub fn is_wanted(scope: &Scope) -> bool {
    let named = |word: &String| {
        let native = |one: &Contestant| one.is_native() && one.id() == word;
        Contestant::ALL.iter().any(native)
    };
    !scope.quick && scope.only.is_empty() || scope.only.iter().any(named)
}

/// Runs it; `listener` hears what it gives, or a warning that says why it gives nothing.
pub fn run(progress: &Progress, listener: &mut dyn FnMut(Event)) {
    progress.say("vchan, libxenvchan and memcpy between two CPUs of this host");
    if let Err(reason) = bench(listener) {
        listener(Event::Warning(format!("no native part: {reason}")));
    }
}

fn bench(listener: &mut dyn FnMut(Event)) -> Result<(), String> {
    let workspace = Workspace::here().map_err(|error| error.to_string())?;
    let mut child = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args([
            "bench",
            "--quiet",
            "--package=bench",
            "--bench=vchan",
            "--",
            "--json",
        ])
        .env("ROUNDS", ROUNDS.to_string())
        .current_dir(&workspace.root)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("cargo: {error}"))?;
    let lines = child.stdout.take().map(BufReader::new);
    let lines = lines.into_iter().flat_map(BufRead::lines);
    let mut count = 0;
    for line in lines.map_while(Result::ok) {
        if let Some(sample) = sample(&line) {
            count += 1;
            listener(Event::Sample(sample));
        }
    }
    let status = child.wait().map_err(|error| format!("cargo: {error}"))?;
    match (status.success(), count) {
        (true, 1..) => Ok(()),
        _ => Err(format!(
            "`cargo bench --package bench --bench vchan -- --json` ended with {status} and gave {count} figures"
        )),
    }
}

/// A line of the benchmark.
#[derive(Debug, Deserialize)]
struct Line {
    contestant: String,
    measure: String,
    size: u64,
    round: u32,
    value: f64,
}

/// What a line gives, if the report has a place for it.
fn sample(line: &str) -> Option<Sample> {
    let line: Line = serde_json::from_str(line).ok()?;
    let (contestant, setting) = match line.contestant.split_once('-') {
        Some(("vchan", setting)) => (Contestant::NativeVchan, setting),
        Some(("libxenvchan", setting)) => (Contestant::NativeLibxenvchan, setting),
        None if line.contestant == "libxenvchan" => (Contestant::NativeLibxenvchan, "blocking"),
        None if line.contestant == "memcpy" => (Contestant::NativeMemcpy, ""),
        _ => return None,
    };
    let (measure, value) = match line.measure.as_str() {
        "throughput" => (Measure::Throughput, line.value),
        "rtt-p50" => (Measure::RttP50, line.value),
        // For a thousand messages.
        "events" => (Measure::EventsPerMessage, line.value / 1000.0),
        _ => return None,
    };
    Some(Sample {
        subject: Subject {
            contestant,
            setting: setting.to_owned(),
            measure,
            size: Some(line.size),
        },
        round: line.round,
        value,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_benchmark_become_samples_and_others_nothing() {
        let of = |contestant: &str, measure: &str| {
            let line = format!(
                r#"{{"contestant":"{contestant}","measure":"{measure}","size":64,"round":2,"value":30.0,"unit":"x"}}"#
            );
            sample(&line).map(|sample| {
                let subject = sample.subject;
                (
                    subject.contestant,
                    subject.setting,
                    subject.measure,
                    sample.value,
                )
            })
        };
        assert_eq!(
            of("vchan-polling-batched", "throughput"),
            Some((
                Contestant::NativeVchan,
                "polling-batched".into(),
                Measure::Throughput,
                30.0
            ))
        );
        assert_eq!(
            of("libxenvchan", "events"),
            Some((
                Contestant::NativeLibxenvchan,
                "blocking".into(),
                Measure::EventsPerMessage,
                0.03
            ))
        );
        assert_eq!(
            of("memcpy", "rtt-p50").map(|(who, ..)| who),
            Some(Contestant::NativeMemcpy)
        );
        assert_eq!(of("memcpy", "rtt-mean"), None);
        assert_eq!(of("pipe", "throughput"), None);
        assert_eq!(sample("noise"), None);
    }

    #[test]
    fn it_comes_with_everything_or_by_name() {
        let scope = |quick, only: &[&str]| Scope {
            quick,
            only: only.iter().map(|&word| word.to_owned()).collect(),
            rounds: 1,
        };
        assert!(is_wanted(&scope(false, &[])));
        assert!(is_wanted(&scope(false, &["linux-tcp", "native-memcpy"])));
        assert!(!is_wanted(&scope(true, &[])) && !is_wanted(&scope(false, &["linux-tcp"])));
    }
}
