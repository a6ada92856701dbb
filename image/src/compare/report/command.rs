//! The options of `grantflow compare` about reports, and what is done without measuring.

use std::path::PathBuf;

use serde_json::json;

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

    /// Writes the report and says what is in it.
    pub fn finish(
        &self,
        results: &Results,
        before: Option<&Results>,
        json: bool,
    ) -> Result<(), Failure> {
        Ok(output::write(self.report(results, before, json)?)?)
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use clap::Parser as _;

    use super::*;
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
}
