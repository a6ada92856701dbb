//! `FAULTS.md` against the tests that it names, both ways: each exists and carries the mark of its row, and each that carries one
//! is named there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The rows whose long form runs for minutes or hours.
const LONG: [&str; 4] = ["R7", "R12", "R14", "R22"];

struct Row {
    name: String,
    native: Vec<String>,
    lab: Vec<String>,
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What stands between backticks; with what follows each, up to the next comma.
fn names(cell: &str) -> Vec<String> {
    let words = cell.split(", ").filter(|word| word.starts_with('`'));
    words.map(|word| word.replace('`', "")).collect()
}

fn table() -> Vec<Row> {
    let text = fs::read_to_string(workspace().join("vchan/FAULTS.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| R"));
    rows.map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [name, fault, outcome, native, lab] = cells[..] else {
            panic!("{line}");
        };
        assert!(!fault.is_empty() && !outcome.is_empty(), "{line}");
        let why_not = lab.starts_with("— (") && lab.ends_with(')');
        let row = Row {
            name: name.to_owned(),
            native: names(native),
            lab: names(lab),
        };
        assert!(
            !row.native.is_empty() && (why_not || !row.lab.is_empty()),
            "{line}"
        );
        row
    })
    .collect()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

fn is_row(word: &str) -> bool {
    let digits = word.strip_prefix(['R', 'r']).unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// The rows that a text begins with: `R7, R8: …`, or `r7_r8_…`.
fn rows_in(text: &str) -> impl Iterator<Item = String> {
    text.split(|sign: char| !sign.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .take_while(|word| is_row(word))
        .map(str::to_uppercase)
}

/// Every test with a mark, as `(row, test)`: marks in comments before a function, and in its name.
fn marked() -> BTreeSet<(String, String)> {
    let mut files = Vec::new();
    for folder in ["vchan", "unikernel/src", "apps/stage/src"] {
        sources(&workspace().join(folder), &mut files);
    }
    files.retain(|path| !path.ends_with("tests/catalogue.rs"));
    let mut found = BTreeSet::new();
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let mut rows = BTreeSet::new();
        for line in text.lines().map(str::trim_start) {
            if line.starts_with("//!") || line.starts_with("#[") {
                continue;
            }
            if line.starts_with("//") {
                rows.extend(rows_in(line));
                continue;
            }
            if let Some((_, rest)) = line.split_once("fn ") {
                let name: String = rest
                    .chars()
                    .take_while(|&sign| sign.is_ascii_alphanumeric() || sign == '_')
                    .collect();
                rows.extend(rows_in(&name));
                found.extend(rows.iter().map(|row| (row.clone(), name.clone())));
            }
            rows.clear();
        }
    }
    found
}

#[test]
fn every_row_has_an_outcome_and_tests() {
    let names: Vec<String> = table().into_iter().map(|row| row.name).collect();
    let expected: Vec<String> = (1..=30).map(|row| format!("R{row}")).collect();
    assert_eq!(names, expected);
}

#[test]
fn the_table_names_the_marked_tests_and_no_others() {
    let named: BTreeSet<(String, String)> = table()
        .into_iter()
        .flat_map(|row| {
            row.native
                .into_iter()
                .map(move |test| (row.name.clone(), test))
        })
        .collect();
    let marked = marked();
    let only_named: Vec<_> = named.difference(&marked).collect();
    let only_marked: Vec<_> = marked.difference(&named).collect();
    assert!(
        only_named.is_empty(),
        "in the table, without a test of that mark: {only_named:?}"
    );
    assert!(
        only_marked.is_empty(),
        "marked, and not in the table: {only_marked:?}"
    );
}

#[test]
fn the_labs_scenarios_carry_their_rows() {
    let folder = workspace().join("image/tests/lab");
    let mut named = BTreeSet::new();
    for row in table() {
        let long = LONG.contains(&row.name.as_str());
        assert!(
            !long || row.lab.iter().any(|lab| lab.ends_with('+')),
            "{}: no long form",
            row.name
        );
        for lab in row.lab {
            let (name, is_long) = match lab.strip_suffix('+') {
                Some(name) => (name, true),
                None => (&lab[..], false),
            };
            let text = fs::read_to_string(folder.join(format!("{name}.sh")))
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(!is_long || text.contains("SOAK"), "{name} has no long form");
            named.insert((row.name.clone(), name.to_owned()));
        }
    }
    let mut carried = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "sh") {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let text = fs::read_to_string(&path).unwrap();
            // The rows stand before the colon of the line that says what it is about.
            let about = text.lines().nth(1).unwrap_or_default();
            let rows = about.split_once(':').map_or("", |(rows, _)| rows);
            carried.extend(rows_in(rows).map(|row| (row, name.clone())));
        }
    }
    assert_eq!(named, carried);
}
