//! `FAULTS.md` against the tests that it names, both ways: each exists, and each that carries a row is named.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Whether a test carries one of the rows S1 to S5.
fn carries_row(name: &str) -> bool {
    let row = name.strip_prefix('s').and_then(|rest| rest.split_once('_'));
    row.is_some_and(|(row, _)| ["1", "2", "3", "4", "5"].contains(&row))
}

/// The names of functions in the sources below a folder that carry a row.
fn carried(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            carried(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let lines = text.lines();
            let names =
                lines.filter_map(|line| line.trim_start().strip_prefix("fn ")?.split('(').next());
            found.extend(names.filter(|name| carries_row(name)).map(str::to_owned));
        }
    }
}

#[test]
fn the_table_names_the_tests_that_carry_its_rows_and_no_others() {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = fs::read_to_string(own.join("FAULTS.md")).unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| S"));
    let named = rows.flat_map(|row| {
        let (_, tests) = row.trim_end_matches(" |").rsplit_once(" | ").unwrap();
        let row = row[2..4].to_lowercase();
        let tests = tests
            .split(", ")
            .map(|test| test.trim_matches('`').to_owned());
        let tests: Vec<String> = tests.collect();
        assert!(
            tests.iter().all(|test| test.starts_with(&row)),
            "{row}: {tests:?}"
        );
        tests
    });
    let mut found = BTreeSet::new();
    for folder in ["src", "../stage/src"] {
        carried(&own.join(folder), &mut found);
    }
    assert_eq!(named.collect::<BTreeSet<_>>(), found);
}
