//! `FAULTS.md` against the tests that it names, both ways: each exists and carries its row, and each that carries one is named.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The rows, in the order of the table.
const ROWS: [&str; 11] = [
    "C1", "C2", "C3", "C4", "C5", "C6", "C7", "C8", "C9", "P5", "S6",
];

/// A row with a test or a scenario of it.
type Shown = BTreeSet<(String, String)>;

fn image() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// What stands between backticks, up to the next comma.
fn names(cell: &str) -> Vec<String> {
    let words = cell.split(", ").filter(|word| word.starts_with('`'));
    words.map(|word| word.replace('`', "")).collect()
}

/// What the table names: native tests, and scenarios of the lab.
fn table() -> (Shown, Shown) {
    let text = fs::read_to_string(image().join("FAULTS.md")).unwrap();
    let rows: Vec<Vec<&str>> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| "))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .filter(|cells: &Vec<&str>| cells.first().is_some_and(|row| *row != "row"))
        .collect();
    let order: Vec<&str> = rows.iter().map(|cells| cells[0]).collect();
    assert_eq!(order, ROWS);
    let (mut native, mut lab) = (Shown::new(), Shown::new());
    for cells in rows {
        let [row, fault, outcome, tests, scenarios] = cells[..] else {
            panic!("{cells:?}");
        };
        assert!(!fault.is_empty() && !outcome.is_empty(), "{row}");
        let (tests, shown) = (names(tests), names(scenarios));
        let why_not = scenarios.starts_with("— (") && scenarios.ends_with(')');
        assert!(!tests.is_empty() && shown.is_empty() == why_not, "{row}");
        native.extend(tests.into_iter().map(|test| (row.to_owned(), test)));
        lab.extend(shown.into_iter().map(|name| (row.to_owned(), name)));
    }
    (native, lab)
}

/// The rows that a text begins with: `c3_c4_…`, or `C3, C4`.
fn rows_in(text: &str) -> impl Iterator<Item = String> {
    let words = text.split(|sign: char| !sign.is_ascii_alphanumeric());
    words
        .filter(|word| !word.is_empty())
        .map(str::to_uppercase)
        .take_while(|word| ROWS.contains(&word.as_str()))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn the_table_names_the_tests_that_carry_its_rows_and_no_others() {
    let mut files = Vec::new();
    sources(&image().join("src"), &mut files);
    let mut carried = Shown::new();
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let tests = text
            .lines()
            .filter_map(|line| line.trim_start().strip_prefix("fn "));
        for test in tests {
            let name: String = test
                .chars()
                .take_while(|&sign| sign.is_ascii_alphanumeric() || sign == '_')
                .collect();
            carried.extend(rows_in(&name).map(|row| (row, name.clone())));
        }
    }
    assert_eq!(table().0, carried);
}

#[test]
fn the_table_names_the_scenarios_that_carry_its_rows_and_no_others() {
    let mut carried = Shown::new();
    for entry in fs::read_dir(image().join("tests/lab")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|end| end != "sh") {
            continue;
        }
        let name = path.file_stem().unwrap().to_string_lossy();
        let text = fs::read_to_string(&path).unwrap();
        let about = text.lines().nth(1).unwrap_or_default();
        let rows = about.split_once(':').map_or("", |(rows, _)| rows);
        // The table marks what has a longer form.
        let long = if text.contains("SOAK") { "+" } else { "" };
        carried.extend(rows_in(rows).map(|row| (row, format!("{name}{long}"))));
    }
    assert_eq!(table().1, carried);
}
