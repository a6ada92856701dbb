//! The files of a report.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::{html, markdown, sections};
use crate::compare::against::{Against, OtherMachine};
use crate::compare::goals;
use crate::compare::results::{Failed, Results, Sample};

/// A file of the report could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}", .path.display())]
pub struct WriteError {
    path: PathBuf,
    #[source]
    cause: io::Error,
}

/// Writes `report.html`, `report.md`, `results.json` and the charts into a folder, which is made; names what it wrote.
pub fn write(results: &Results, folder: &Path) -> Result<Vec<PathBuf>, WriteError> {
    write_against(results, None, folder)
}

/// The same, with what became better or worse than in an older run.
pub fn write_against(
    results: &Results,
    against: Option<&Result<Against, OtherMachine>>,
    folder: &Path,
) -> Result<Vec<PathBuf>, WriteError> {
    let results = sound(results);
    let document = sections::document(&results, against);
    let json = serde_json::to_string_pretty(&results);
    let mut files = vec![
        ("report.html".to_owned(), html::render(&document)),
        ("report.md".to_owned(), markdown::render(&document)),
        // It cannot fail: every key is text, and every number is finite.
        ("results.json".to_owned(), json.unwrap_or_default() + "\n"),
    ];
    files.extend(pictures(&document));
    put(folder, files)
}

/// Writes `results.md` and the charts that it shows into the folder of a documentation.
pub fn write_docs(results: &Results, folder: &Path) -> Result<Vec<PathBuf>, WriteError> {
    let document = sections::document(&sound(results), None);
    let mut files = vec![("results.md".to_owned(), markdown::render(&document))];
    files.extend(pictures(&document));
    put(folder, files)
}

fn pictures(document: &super::document::Document) -> impl Iterator<Item = (String, String)> {
    document.charts().map(|figure| {
        let picture = figure.chart.standalone(&figure.title, &figure.set_up);
        (format!("{}.svg", figure.name), picture)
    })
}

fn put(folder: &Path, files: Vec<(String, String)>) -> Result<Vec<PathBuf>, WriteError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |cause| WriteError { path, cause }
    };
    fs::create_dir_all(folder).map_err(at(folder))?;
    let mut written = Vec::new();
    for (name, text) in files {
        let path = folder.join(name);
        replace(folder, &path, &text).map_err(at(&path))?;
        written.push(path);
    }
    Ok(written)
}

/// Whole or not at all: a reader never finds half of it.
fn replace(folder: &Path, path: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file()
        .set_permissions(fs::Permissions::from_mode(0o644))?;
    file.persist(path)?;
    Ok(())
}

/// The same results without values that no run can have: each such sample is a failure that says so. Goals follow from what is
/// left.
pub fn sound(results: &Results) -> Results {
    let mut sound = results.clone();
    for failed in &mut sound.failures {
        failed.round = failed.round.max(1);
    }
    let mut seen = BTreeSet::new();
    let (kept, lost): (Vec<&Sample>, Vec<&Sample>) = results.samples.iter().partition(|sample| {
        possible(sample.value) && sample.round > 0 && seen.insert((&sample.subject, sample.round))
    });
    sound.failures.extend(lost.into_iter().map(|sample| Failed {
        subject: sample.subject.clone(),
        round: sample.round.max(1),
        reason: match possible(sample.value) && sample.round > 0 {
            true => format!(
                "a second figure for round {}: {}",
                sample.round, sample.value
            ),
            false => format!("no figure: {} in round {}", sample.value, sample.round),
        },
    }));
    sound.samples = kept.into_iter().cloned().collect();
    sound.seconds = tame(sound.seconds);
    if let Some(load) = &mut sound.machine.load {
        load.before = tame(load.before);
        load.others = tame(load.others).min(1.0);
    }
    let mut held = goals::evaluate(&sound.samples, &sound.failures);
    for goal in &mut held {
        // A goal that was moved since stays where it was when this was measured.
        let then = results.goals.iter().find(|then| then.id == goal.id);
        if let Some(then) = then.filter(|then| then.goal.is_finite() && then.goal > 0.0) {
            goal.goal = then.goal;
            goal.met = goal.value.is_some_and(|value| value >= goal.goal);
        }
    }
    sound.goals = held;
    sound
}

fn possible(value: f64) -> bool {
    value.is_finite() && value >= 0.0
}

fn tame(value: f64) -> f64 {
    if possible(value) { value } else { 0.0 }
}
