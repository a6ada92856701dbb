//! The options of `grantflow compare` about reports, and what is done without measuring.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::room::{NoRoom, Room};
use super::{files, summary};
use crate::compare::against::against;
use crate::compare::read;
use crate::compare::results::Results;
use crate::compare::schema::schema;
use crate::failure::Failure;
use crate::output;

/// What a report is told.
#[derive(clap::Args, Debug, Clone)]
pub struct Args {
    /// Folder of the report: report.html, report.md, results.json, charts as SVG
    #[arg(long, value_name = "DIR", default_value = "target/compare")]
    pub out: PathBuf,
    /// Measure nothing; make the report of this results.json again
    #[arg(long, value_name = "FILE", conflicts_with = "schema")]
    pub from: Option<PathBuf>,
    /// Say what became better or worse, beyond the noise, since this older results.json
    #[arg(long, value_name = "OLD.json", conflicts_with = "schema")]
    pub against: Option<PathBuf>,
    /// Write results.md and its charts into this folder too
    #[arg(long, value_name = "DIR", conflicts_with = "schema")]
    pub docs: Option<PathBuf>,
    /// Print the JSON Schema of results.json
    #[arg(long)]
    pub schema: bool,
}

impl Args {
    /// What needs no measuring; `None` if something is to be measured.
    pub fn without_measuring(&self, json: bool) -> Option<Result<(), Failure>> {
        let text = self.read_again(json)?;
        Some(text.and_then(|text| Ok(output::write(text)?)))
    }

    fn read_again(&self, json: bool) -> Option<Result<String, Failure>> {
        if self.schema {
            return Some(Ok(format!("{:#}\n", schema())));
        }
        let from = self.from.as_ref()?;
        let again = || {
            let results = read::file(from).map_err(Failure::input)?;
            self.report(&results, self.before()?.as_ref(), json)
        };
        Some(again())
    }

    /// The older results, read before anything is measured, so that a wrong file costs no hour.
    pub fn before(&self) -> Result<Option<Results>, Failure> {
        let read = |path: &PathBuf| read::file(path).map_err(Failure::input);
        self.against.as_ref().map(read).transpose()
    }

    /// Holds room for the report before anything is measured.
    pub fn room(&self) -> Result<Vec<Room>, NoRoom> {
        let out = Room::hold(&self.out, "--out");
        let docs = self.docs.iter().map(|docs| Room::hold(docs, "--docs"));
        std::iter::once(out).chain(docs).collect()
    }

    /// Writes the report into the room that was held for it, and says what is in it. Where it cannot be written all the same,
    /// the results are kept elsewhere.
    pub fn finish(
        &self,
        results: &Results,
        before: Option<&Results>,
        json: bool,
        room: Vec<Room>,
    ) -> Result<(), Failure> {
        let text = self.report_into(results, before, json, room)?;
        Ok(output::write(text)?)
    }

    fn report_into(
        &self,
        results: &Results,
        before: Option<&Results>,
        json: bool,
        room: Vec<Room>,
    ) -> Result<String, Failure> {
        drop(room);
        let text = self.report(results, before, json);
        text.map_err(|failure| kept(results, &failure, &std::env::temp_dir()))
    }

    /// Writes the report; what is said of it.
    fn report(
        &self,
        results: &Results,
        before: Option<&Results>,
        json: bool,
    ) -> Result<String, Failure> {
        let results = files::sound(results);
        let held = before.map(|before| against(before, &results));
        files::write_against(&results, held.as_ref(), &self.out)?;
        if let Some(folder) = &self.docs {
            files::write_docs(&results, folder)?;
        }
        let page = self.out.join("report.html");
        if !json {
            let text = summary::text(&results, held.as_ref());
            return Ok(format!("{text}report: {}\n", page.display()));
        }
        let held = held.as_ref().map(|held| match held {
            Ok(against) => json!(against),
            Err(other) => json!({ "refused": other.to_string() }),
        });
        let document = json!({ "results": results, "against": held, "report": page });
        Ok(format!("{document:#}\n"))
    }
}

/// Keeps results whose report could not be written; the failure, and what to do about it.
fn kept(results: &Results, failure: &Failure, temporary: &Path) -> Failure {
    let keep = || -> Result<PathBuf, Failure> {
        let mut kind = tempfile::Builder::new();
        let folder = kind
            .prefix("grantflow-results-")
            .disable_cleanup(true)
            .tempdir_in(temporary)?;
        files::write(results, folder.path())?;
        Ok(folder.path().join("results.json"))
    };
    Failure::failed(match keep() {
        Ok(path) => format!(
            "{failure}; what was measured is in {path}: make room, and have the report made by `grantflow compare --from \
             {path}`, with --out for another folder",
            path = path.display()
        ),
        Err(neither) => format!("{failure}; what was measured is lost: {neither}"),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::Parser as _;

    use super::*;
    use crate::compare::small_disk::{fill, on_a_small_disk};
    use crate::compare::testing::rich;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        report: Args,
    }

    fn args(words: &[&str]) -> Args {
        let words = ["compare"].iter().chain(words);
        Cli::try_parse_from(words)
            .unwrap_or_else(|error| panic!("{error}"))
            .report
    }

    fn path(path: &Path) -> &str {
        path.to_str().unwrap()
    }

    #[test]
    fn results_are_rendered_again_without_measuring() {
        let folder = tempfile::tempdir().unwrap();
        let [from, out, docs] =
            ["results.json", "out", "docs"].map(|name| folder.path().join(name));
        fs::write(&from, serde_json::to_vec(&rich()).unwrap()).unwrap();
        for json in [false, true] {
            let words = [
                "--from",
                path(&from),
                "--against",
                path(&from),
                "--out",
                path(&out),
                "--docs",
                path(&docs),
            ];
            let said = args(&words).read_again(json).unwrap().unwrap();
            if json {
                let said: serde_json::Value = serde_json::from_str(&said).unwrap();
                assert_eq!(said["results"], json!(rich()));
                assert_eq!(said["against"]["changes"][0]["verdict"], "same");
            } else {
                let last = said.lines().last().unwrap();
                assert_eq!(
                    last,
                    format!("report: {}", out.join("report.html").display())
                );
            }
            assert_eq!(read::file(&out.join("results.json")).unwrap(), rich());
            let page = fs::read_to_string(out.join("report.html")).unwrap();
            assert!(page.contains("Against an older run"));
            let docs_text = fs::read_to_string(docs.join("results.md")).unwrap();
            assert!(
                docs_text.contains("](throughput.svg)")
                    && !docs_text.contains("Against an older run")
            );
            assert!(docs.join("throughput.svg").is_file());
            fs::remove_dir_all(&docs).unwrap();
        }
    }

    #[test]
    fn a_wrong_file_is_wrong_input_and_costs_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let [from, out] = ["old.json", "out"].map(|name| folder.path().join(name));
        fs::write(&from, b"{\"schema\": 0}").unwrap();
        for option in ["--from", "--against"] {
            let args = args(&[option, path(&from), "--out", path(&out)]);
            let failure = match option {
                "--from" => args.read_again(false).unwrap().unwrap_err(),
                _ => args.before().unwrap_err(),
            };
            assert_eq!(failure.exit_code(), 2);
            let text = failure.to_string();
            assert!(
                text.contains("old.json is not used: it is of version 0"),
                "{text}"
            );
        }
        assert!(!out.exists());
    }

    #[test]
    fn without_such_options_there_is_something_to_measure() {
        assert!(args(&[]).read_again(false).is_none());
        assert!(args(&[]).before().unwrap().is_none());
        let printed = args(&["--schema"]).read_again(false).unwrap().unwrap();
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&printed).unwrap(),
            schema()
        );
        let both = Cli::try_parse_from(["compare", "--schema", "--from", "x"]);
        assert!(both.is_err());
    }

    #[test]
    fn a_disk_that_fills_up_meanwhile_has_room_for_the_report_all_the_same() {
        let name = "a_disk_that_fills_up_meanwhile_has_room_for_the_report_all_the_same";
        on_a_small_disk(module_path!(), name, "8m", |disk| {
            let [out, docs] = ["out", "docs"].map(|name| disk.join(name));
            let args = args(&["--out", path(&out), "--docs", path(&docs)]);
            let room = args.room().unwrap();
            fill(disk);
            args.report_into(&rich(), None, false, room).unwrap();
            let again = read::file(&out.join("results.json")).unwrap();
            assert_eq!(again.samples, rich().samples);
            assert!(docs.join("results.md").is_file());
        });
    }

    #[test]
    fn results_whose_report_cannot_be_written_are_kept_and_the_line_says_where() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        // No folder can be made in a file.
        let args = args(&["--out", path(&file.join("out"))]);
        let failure = args.report(&rich(), None, false).unwrap_err();
        let said = kept(&rich(), &failure, folder.path()).to_string();
        assert!(said.starts_with("cannot write "), "{said}");
        let (_, from) = said.split_once("`grantflow compare --from ").unwrap();
        let (from, _) = from.split_once('`').unwrap();
        let again = read::file(Path::new(from)).unwrap();
        assert_eq!(again.samples, rich().samples);
        let said = kept(&rich(), &failure, &file).to_string();
        assert!(said.contains("; what was measured is lost: "), "{said}");
    }
}
