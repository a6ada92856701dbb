//! `grantflow logs`: what the stages have printed on their consoles, as xenconsoled has logged it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use super::commands::by_blame;
use super::domains::ComposeError;
use super::record::{self, StageRecord};
use crate::failure::Failure;
use crate::lab::qemu::printable;
use crate::lab::signals;
use crate::output;
use crate::xl::console;

/// How often to look for more.
const LOOK: Duration = Duration::from_millis(200);

/// What `grantflow logs` is told.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The pipeline's name, or its file
    #[arg(value_name = "NAME|FILE.toml")]
    pipeline: String,
    /// The stages; all of them if none is named
    stages: Vec<String>,
    /// Go on as more comes
    #[arg(short, long)]
    follow: bool,
    /// Begin with the last lines of each
    #[arg(short = 'n', long, value_name = "LINES")]
    lines: Option<usize>,
}

/// Does it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let stop = signals::watch()?;
    let name = super::commands::known_name(Some(&args.pipeline)).map_err(by_blame)?;
    let record = record::look(&record::home(), &name)?.unwrap_or_default();
    let chosen = choose(&record.stages, &args.stages).map_err(by_blame)?;
    let width = chosen
        .iter()
        .map(|stage| stage.name.len())
        .max()
        .unwrap_or(0);
    let mut logs: Vec<Log> = chosen.iter().map(|stage| Log::of(stage)).collect();
    if let Some(absent) = logs
        .iter()
        .find(|log| !log.path.exists())
        .filter(|_| !args.follow)
    {
        return Err(Failure::failed(format!(
            "there is no {}: is xenconsoled started with --log=guest?",
            absent.path.display()
        )));
    }
    let mut keep = args.lines;
    loop {
        for log in &mut logs {
            let mut lines = log.news()?;
            // Only the first look may pass over some.
            let skip = keep.map_or(0, |keep| lines.len().saturating_sub(keep));
            for line in lines.drain(..).skip(skip) {
                output::line(format_args!("{:<width$} | {line}", log.stage))?;
            }
        }
        keep = None;
        if !args.follow || signals::came(&stop) {
            return Ok(());
        }
        thread::sleep(LOOK);
    }
}

fn choose<'r>(
    stages: &'r [StageRecord],
    names: &[String],
) -> Result<Vec<&'r StageRecord>, ComposeError> {
    if names.is_empty() {
        return Ok(stages.iter().collect());
    }
    let pick = |name: &String| {
        stages
            .iter()
            .find(|stage| stage.name == *name)
            .ok_or_else(|| ComposeError::Unknown {
                name: format!("stage `{name}`"),
                known: format!(
                    "; there are: {}",
                    stages
                        .iter()
                        .map(|stage| stage.name.as_str())
                        .collect::<Vec<_>>()
                        .join(", ")
                ),
            })
    };
    names.iter().map(pick).collect()
}

/// The console of one stage.
struct Log {
    stage: String,
    path: PathBuf,
    /// As far as it was read.
    at: u64,
}

impl Log {
    fn of(stage: &StageRecord) -> Self {
        Self {
            stage: stage.name.clone(),
            path: console::path(&stage.domain),
            at: 0,
        }
    }

    /// The whole lines since the last look; none where there is no file yet, all again where it was begun anew.
    fn news(&mut self) -> io::Result<Vec<String>> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        if file.metadata()?.len() < self.at {
            self.at = 0;
        }
        file.seek(SeekFrom::Start(self.at))?;
        let mut reader = BufReader::new(file);
        let (mut lines, mut line) = (Vec::new(), Vec::new());
        while reader.read_until(b'\n', &mut line)? > 0 && line.ends_with(b"\n") {
            self.at += line.len() as u64;
            lines.push(printable(&line));
            line.clear();
        }
        Ok(lines)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_whole_lines_are_shown_each_once_and_none_can_steer_the_terminal() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log {
            stage: "a".into(),
            path: folder.path().join("log"),
            at: 0,
        };
        assert!(log.news().unwrap().is_empty(), "no file is no error");
        fs::write(&log.path, "one\r\n\x1b[2Jtwo\nthr").unwrap();
        assert_eq!(log.news().unwrap(), ["one", "two"]);
        assert!(log.news().unwrap().is_empty());
        fs::write(&log.path, "one\r\n\x1b[2Jtwo\nthree\n").unwrap();
        assert_eq!(log.news().unwrap(), ["three"]);
        fs::write(&log.path, "new\n").unwrap();
        assert_eq!(log.news().unwrap(), ["new"], "a log that was begun anew");
    }
}
