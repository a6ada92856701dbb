//! A file that says it is the results of a comparison. Pure, but for [`file`](fn@file).

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::goals;
use super::results::{Results, SCHEMA};
use super::schema;

/// Larger files are refused unread; a comparison with a hundred rounds has a fortieth of it.
const MOST: u64 = 256 << 20;

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It could not be opened.
    #[error("cannot read {}", .0.display())]
    Open(PathBuf, #[source] io::Error),
    /// It is more than results can be.
    #[error("{} has {bytes} bytes, more than results can have: is it the right file?", .path.display())]
    Large {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// It is not what it should be.
    #[error("{} is not used: {reason}", .path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: Wrong,
    },
}

/// What is wrong with a document.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Wrong {
    /// No JSON.
    #[error("line {line}, column {column}: {what}; it may be cut off, take another copy")]
    Json {
        /// Where.
        line: usize,
        /// Where in the line.
        column: usize,
        /// What is wrong there.
        what: String,
    },
    /// JSON of another kind.
    #[error("it says no version (\"schema\"), so it is no results.json of grantflow compare")]
    NoVersion,
    /// From an older program.
    #[error(
        "it is of version {0}, from an older grantflow than this one, which reads version {SCHEMA}: \
         read it with that one, or measure again"
    )]
    Older(u64),
    /// From a newer one.
    #[error("it is of version {0}, and this grantflow reads version {SCHEMA}: take a newer one")]
    Newer(u64),
    /// Not what the schema says.
    #[error("{0} (grantflow compare --schema says how it should be)")]
    Shape(String),
    /// As the schema says, and impossible all the same.
    #[error("{0}: somebody changed it; measure again")]
    Impossible(String),
}

/// Reads a file.
pub fn file(path: &Path) -> Result<Results, ReadError> {
    let open = |error| ReadError::Open(path.to_owned(), error);
    let bytes = fs::metadata(path).map_err(open)?.len();
    if bytes > MOST {
        return Err(ReadError::Large {
            path: path.to_owned(),
            bytes,
        });
    }
    document(&fs::read(path).map_err(open)?).map_err(|reason| ReadError::Wrong {
        path: path.to_owned(),
        reason,
    })
}

/// Reads a document.
pub fn document(bytes: &[u8]) -> Result<Results, Wrong> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| json(&error))?;
    match &value["schema"] {
        Value::Number(version) => match version.as_u64() {
            Some(version) if version < u64::from(SCHEMA) => return Err(Wrong::Older(version)),
            Some(version) if version > u64::from(SCHEMA) => return Err(Wrong::Newer(version)),
            _ => {}
        },
        _ => return Err(Wrong::NoVersion),
    }
    schema::check(&value).map_err(Wrong::Shape)?;
    let results: Results =
        serde_json::from_value(value).map_err(|e| Wrong::Shape(e.to_string()))?;
    possible(&results).map_err(Wrong::Impossible)?;
    Ok(results)
}

fn json(error: &serde_json::Error) -> Wrong {
    let what = error.to_string();
    // The place stands in the message too, at its end.
    let what = what
        .rsplit_once(" at line ")
        .map_or(what.as_str(), |(what, _)| what);
    Wrong::Json {
        line: error.line(),
        column: error.column(),
        what: what.to_owned(),
    }
}

/// What no run gives, though each value by itself could be.
fn possible(results: &Results) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for sample in &results.samples {
        let subject = &sample.subject;
        if !seen.insert((subject, sample.round)) {
            return Err(format!(
                "{} of {} has two values for round {}",
                subject.measure.id(),
                subject.contestant.id(),
                sample.round
            ));
        }
    }
    let mut ids = BTreeSet::new();
    let held = goals::evaluate(&results.samples, &results.failures);
    for goal in &results.goals {
        if !ids.insert(&goal.id) {
            return Err(format!("the goal {} stands there twice", goal.id));
        }
        // Goals may have been moved since; what was reached follows from the samples.
        let reached = held
            .iter()
            .find(|held| held.id == goal.id)
            .and_then(|held| held.value);
        let same = match (reached, goal.value) {
            (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * a.abs().max(b.abs()),
            (None, None) => true,
            _ => false,
        };
        if !same || goal.met != goal.value.is_some_and(|value| value >= goal.goal) {
            return Err(format!(
                "the goal {} does not follow from the samples",
                goal.id
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::testing;
    use proptest::prelude::*;
    use serde_json::json;

    fn changed(change: impl Fn(&mut Value)) -> Wrong {
        let mut value = serde_json::to_value(testing::rich()).unwrap();
        change(&mut value);
        document(&serde_json::to_vec(&value).unwrap()).unwrap_err()
    }

    #[test]
    fn what_was_written_is_read_to_the_last_bit() {
        for results in [testing::rich(), testing::bare()] {
            let text = serde_json::to_vec_pretty(&results).unwrap();
            assert_eq!(document(&text), Ok(results));
        }
    }

    #[test]
    fn a_document_that_is_none_is_refused_with_the_place() {
        let text = serde_json::to_string_pretty(&testing::rich()).unwrap();
        let half = document(&text.as_bytes()[..text.len() / 2]).unwrap_err();
        assert!(half.to_string().contains("EOF while parsing"), "{half}");
        let wrong = document(b"{\n \"schema\": nought }").unwrap_err();
        assert!(
            wrong
                .to_string()
                .starts_with("line 2, column 13: expected ident"),
            "{wrong}"
        );
        assert!(matches!(
            document(b"{\"a\": 1e999}"),
            Err(Wrong::Json { .. })
        ));
        assert!(matches!(document(b"\xff\xfe"), Err(Wrong::Json { .. })));
        assert_eq!(document(b"{}"), Err(Wrong::NoVersion));
        assert_eq!(document(b"[1]"), Err(Wrong::NoVersion));
        assert_eq!(document(br#"{"schema": "1"}"#), Err(Wrong::NoVersion));
    }

    #[test]
    fn another_version_is_refused_and_says_what_to_do() {
        assert_eq!(
            changed(|document| document["schema"] = json!(0)),
            Wrong::Older(0)
        );
        assert_eq!(
            changed(|document| document["schema"] = json!(2)),
            Wrong::Newer(2)
        );
        assert!(matches!(
            changed(|document| document["schema"] = json!(-1)),
            Wrong::Shape(_)
        ));
        assert!(matches!(
            changed(|document| document["schema"] = json!(1.5)),
            Wrong::Shape(_)
        ));
    }

    #[test]
    fn values_that_no_run_gives_are_refused() {
        let shape = |change: fn(&mut Value)| match changed(change) {
            Wrong::Shape(what) => what,
            other => panic!("{other}"),
        };
        assert_eq!(
            shape(|document| document["samples"][0]["round"] = json!(0)),
            "samples[0].round is 0, and cannot be less than 1"
        );
        assert!(
            shape(|document| document["goals"][0]["id"] = json!("speed")).contains("goals[0].id")
        );
        assert!(shape(|document| document["samples"][0]["value"] = json!("NaN")).contains("value"));
        let impossible = |change: fn(&mut Value)| match changed(change) {
            Wrong::Impossible(what) => what,
            other => panic!("{other}"),
        };
        let twice = impossible(|document| {
            let copy = document["samples"][0].clone();
            document["samples"].as_array_mut().unwrap().push(copy);
        });
        assert!(twice.contains("two values for round 1"), "{twice}");
        for change in [
            |document: &mut Value| document["goals"][0]["value"] = json!(1e9),
            |document: &mut Value| document["goals"][0]["value"] = Value::Null,
            |document: &mut Value| document["goals"][0]["goal"] = json!(1e12),
        ] {
            let text = impossible(change);
            assert!(text.contains("does not follow from the samples"), "{text}");
        }
        let twice = impossible(|document| {
            let copy = document["goals"][0].clone();
            document["goals"].as_array_mut().unwrap().push(copy);
        });
        assert!(twice.contains("twice"), "{twice}");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = file(Path::new("/nonexistent/results.json")).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/results.json"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = document(&bytes);
        }

        #[test]
        fn no_cut_and_no_flipped_byte_makes_it_panic(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut text = serde_json::to_vec(&testing::bare()).unwrap();
            let at = at.index(text.len());
            prop_assert!(document(&text[..at]).is_err());
            text[at] = byte;
            let _ = document(&text);
        }
    }
}
