//! `grantflow lab test`: scripts run in dom0 one after the other, each with a verdict.
//!
//! A scenario is a bash script in `image/tests/lab`. Its second line says in a comment what it shows, and a line
//! `# timeout: SECONDS` may give it more than a minute. With `--soak` it finds SOAK set to 1, and a line
//! `# soak timeout: SECONDS` says how long that may take. One with a line `# measures` tells figures rather than faults: it is
//! run where it is named, and with `--soak`. One with a line `# machines: 2` runs in two machines at a time, with a broker
//! between them, and finds in MACHINE which it is, a or b. A scenario ends with 0 (passed), 77 (cannot be tried here) or anything
//! else (failed). Scripts whose names begin with `lib` are what scenarios share.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::error::LabError;

/// How long a scenario may take unless it says otherwise.
const LIMIT: Duration = Duration::from_secs(60);

/// The exit status of a scenario that cannot be tried here.
const SKIPPED: i32 = 77;

/// One script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// The file's name without `.sh`.
    pub name: String,
    /// What it shows.
    pub about: String,
    /// How long it may take.
    pub limit: Duration,
    /// It tells figures, and is run only where it is asked for.
    pub measures: bool,
    /// It runs in two machines at a time.
    pub paired: bool,
}

/// The scenarios in a folder, in the order of their names; `names` picks some. `soak` asks for their long forms.
pub fn find(folder: &Path, names: &[String], soak: bool) -> Result<Vec<Scenario>, LabError> {
    let entries = fs::read_dir(folder).map_err(LabError::file(folder))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        path.extension().is_some_and(|end| end == "sh") && !stem.starts_with("lib")
    });
    paths.sort();
    let mut all = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).map_err(LabError::file(&path))?;
        let name = path
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned())
            .unwrap_or_default();
        all.push(parse(name, &text, soak)?);
    }
    if all.is_empty() {
        let message = format!("there are no scenarios in {}", folder.display());
        return Err(LabError::Job(message));
    }
    if names.is_empty() {
        all.retain(|scenario| soak || !scenario.measures);
        return Ok(all);
    }
    let known = || {
        all.iter()
            .map(|scenario| scenario.name.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let pick = |name: &String| {
        let found = all.iter().find(|scenario| scenario.name == *name).cloned();
        found.ok_or_else(|| {
            LabError::Job(format!(
                "there is no scenario {name}; there are: {}",
                known()
            ))
        })
    };
    names.iter().map(pick).collect()
}

fn parse(name: String, text: &str, soak: bool) -> Result<Scenario, LabError> {
    let comments = || {
        text.lines()
            .skip(1)
            .map_while(|line| line.strip_prefix('#'))
            .map(str::trim)
    };
    let about = comments().next().unwrap_or_default().to_owned();
    let after = |key| comments().find_map(|line| line.strip_prefix(key));
    let long = after("soak timeout:").filter(|_| soak);
    let limit = match long.or_else(|| after("timeout:")) {
        None => LIMIT,
        Some(seconds) => super::job::seconds(seconds.trim())
            .map_err(|error| LabError::Job(format!("scenario {name}: timeout: {error}")))?,
    };
    let measures = comments().any(|line| line == "measures");
    let paired = comments().any(|line| line == "machines: 2");
    Ok(Scenario {
        name,
        about,
        limit,
        measures,
        paired,
    })
}

/// How many labs these scenarios are best run in: two where there are many, each of which mostly waits, and as many CPUs;
/// figures are not measured beside anything else.
pub fn labs(scenarios: &[Scenario]) -> usize {
    const MANY: usize = 8;
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    if cpus < 2 || scenarios.len() < MANY || scenarios.iter().any(|scenario| scenario.measures) {
        return 1;
    }
    2
}

/// Shares them out, in turn: those with neighbouring names tend to take as long as each other.
pub fn deal(scenarios: &[Scenario], labs: usize) -> Vec<Vec<Scenario>> {
    let mut hands = vec![Vec::new(); labs.min(scenarios.len()).max(1)];
    let count = hands.len();
    for (number, scenario) in scenarios.iter().enumerate() {
        hands[number % count].push(scenario.clone());
    }
    hands
}

/// What became of a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It ended with 0.
    Passed,
    /// It ended with anything but 0 and 77, or never.
    Failed,
    /// It cannot be tried here.
    Skipped,
}

/// A scenario's end.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ended {
    /// Which.
    pub name: String,
    /// How.
    pub verdict: Verdict,
    /// How long it took.
    pub seconds: f64,
    /// Why it failed or was skipped; empty for one that passed.
    pub reason: String,
}

/// What the script in dom0 prints, line by line.
#[derive(Debug, Default)]
pub struct Reader {
    partial: Vec<u8>,
    /// The scenarios that ended.
    pub ended: Vec<Ended>,
}

impl Reader {
    /// Takes what came; returns what a person should see of it.
    pub fn take(&mut self, bytes: &[u8]) -> String {
        self.partial.extend(bytes);
        let mut text = String::new();
        while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            text.push_str(&self.line(&super::qemu::printable(&line)));
            text.push('\n');
        }
        text
    }

    fn line(&mut self, line: &str) -> String {
        let Some(ended) = line.strip_prefix("verdict ").and_then(parse_verdict) else {
            return line.to_owned();
        };
        let word = match ended.verdict {
            Verdict::Passed => "ok",
            Verdict::Failed => "FAILED",
            Verdict::Skipped => "skipped",
        };
        let reason = if ended.reason.is_empty() {
            String::new()
        } else {
            format!("  {}", ended.reason)
        };
        let text = format!(
            "{word:<8} {:<20} {:>6.1} s{reason}",
            ended.name, ended.seconds
        );
        self.ended.push(ended);
        text
    }
}

/// `NAME STATUS MILLISECONDS [REASON]`.
fn parse_verdict(text: &str) -> Option<Ended> {
    let mut words = text.splitn(4, ' ');
    let name = words.next()?.to_owned();
    let status: i32 = words.next()?.parse().ok()?;
    let milliseconds: u32 = words.next()?.parse().ok()?;
    let verdict = match status {
        0 => Verdict::Passed,
        SKIPPED => Verdict::Skipped,
        _ => Verdict::Failed,
    };
    let reason = words.next().unwrap_or_default().to_owned();
    Some(Ended {
        name,
        verdict,
        seconds: f64::from(milliseconds) / 1000.0,
        reason,
    })
}

/// How many of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Passed.
    pub passed: usize,
    /// Failed, or never ended.
    pub failed: usize,
    /// Skipped.
    pub skipped: usize,
}

impl Summary {
    /// Of `asked` scenarios, of which those that never ended count as failed.
    pub fn of(ended: &[Ended], asked: usize) -> Self {
        let count = |verdict| {
            ended
                .iter()
                .filter(|ended| ended.verdict == verdict)
                .count()
        };
        let (passed, skipped) = (count(Verdict::Passed), count(Verdict::Skipped));
        Self {
            passed,
            failed: asked.saturating_sub(passed + skipped),
            skipped,
        }
    }
}

/// `3 passed, 1 failed, 1 skipped`.
impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_says_what_it_shows_and_how_long_it_may_take() {
        let scenario = parse(
            "a".into(),
            "#!/bin/bash\n# Twenty rounds leave nothing behind\n# timeout: 240\n. lib\n# x\n",
            false,
        );
        let expected = Scenario {
            name: "a".into(),
            about: "Twenty rounds leave nothing behind".into(),
            limit: Duration::from_secs(240),
            measures: false,
            paired: false,
        };
        assert_eq!(scenario.unwrap(), expected);
        assert_eq!(
            parse("b".into(), "#!/bin/bash\n. lib\n", true)
                .unwrap()
                .limit,
            LIMIT
        );
        assert!(
            parse("c".into(), "#!/bin/bash\n# x\n# timeout: soon\n", false)
                .unwrap_err()
                .to_string()
                .contains("scenario c")
        );
    }

    #[test]
    fn the_long_form_may_take_longer_where_there_is_one() {
        let limit = |soak, text| parse("a".into(), text, soak).unwrap().limit.as_secs();
        let both = "#!/bin/bash\n# x\n# timeout: 240\n# soak timeout: 3600\n";
        assert_eq!((limit(false, both), limit(true, both)), (240, 3600));
        let one = "#!/bin/bash\n# x\n# timeout: 240\n";
        assert_eq!(limit(true, one), 240);
    }

    #[test]
    fn scenarios_are_shared_out_in_turn_and_figures_are_measured_alone() {
        let named = |name: String| parse(name, "#!/bin/bash\n# x\n", false).unwrap();
        let many: Vec<Scenario> = (0..9).map(|n| named(n.to_string())).collect();
        let names = |hand: &Vec<Scenario>| hand.iter().map(|s| s.name.clone()).collect::<String>();
        let dealt = |labs| deal(&many, labs).iter().map(names).collect::<Vec<_>>();
        assert_eq!(dealt(2), ["02468", "1357"]);
        assert_eq!(dealt(1), ["012345678"]);
        assert_eq!(dealt(20).len(), 9, "no lab is booted for nothing");
        let mut measuring = many.clone();
        measuring[4].measures = true;
        assert_eq!((labs(&measuring), labs(&many[..2])), (1, 1));
    }

    #[test]
    fn what_only_measures_is_run_where_it_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        for (name, line) in [("fast", "measures"), ("right", "x")] {
            let text = format!("#!/bin/bash\n# about\n# {line}\n");
            fs::write(folder.path().join(format!("{name}.sh")), text).unwrap();
        }
        let found = |names: &[String], soak| find(folder.path(), names, soak).unwrap().len();
        assert_eq!(
            (
                found(&[], false),
                found(&[], true),
                found(&["fast".into()], false)
            ),
            (1, 2, 1)
        );
    }

    #[test]
    fn scenarios_are_found_by_name_and_the_libraries_are_none() {
        let folder = tempfile::tempdir().unwrap();
        assert!(
            find(folder.path(), &[], false).is_err(),
            "nothing tested is no success"
        );
        for name in ["two.sh", "one.sh", "lib.sh", "lib-peers.sh", "peer.c"] {
            fs::write(folder.path().join(name), "#!/bin/bash\n# x\n").unwrap();
        }
        let names = |asked: &[String]| {
            find(folder.path(), asked, false).map(|all| {
                all.into_iter()
                    .map(|scenario| scenario.name)
                    .collect::<Vec<_>>()
            })
        };
        assert_eq!(names(&[]).unwrap(), ["one", "two"]);
        assert_eq!(names(&["two".into()]).unwrap(), ["two"]);
        assert_eq!(
            names(&["lib".into()]).unwrap_err().to_string(),
            "there is no scenario lib; there are: one, two"
        );
    }

    #[test]
    fn verdicts_are_read_out_of_whatever_else_is_printed_even_in_pieces() {
        let mut reader = Reader::default();
        assert_eq!(reader.take(b"verdict hello 0 12"), "");
        assert_eq!(
            reader.take(b"345\n  | a line\n"),
            "ok       hello                  12.3 s\n  | a line\n"
        );
        let text = reader.take(
            b"verdict interop 77 100 no gcc on the host\nverdict crash 1 900 no crash seen\n",
        );
        assert_eq!(
            text,
            "skipped  interop                 0.1 s  no gcc on the host\n\
             FAILED   crash                   0.9 s  no crash seen\n"
        );
        let summary = Summary::of(&reader.ended, 4);
        assert_eq!(
            summary.to_string(),
            "1 passed, 2 failed, 1 skipped",
            "the fourth never ended"
        );
        assert_eq!(Summary::of(&[], 0).to_string(), "0 passed, 0 failed");
    }
}
