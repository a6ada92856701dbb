//! `grantflow logs`: what the stages have printed on their consoles, as xenconsoled has logged it, or `up` of processes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::commands::{by_blame, known};
use super::domains::ComposeError;
use super::process::nest;
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
    let (name, processes) = known(Some(&args.pipeline)).map_err(by_blame)?;
    let record = match &processes {
        Some(processes) => processes.record().clone(),
        None => record::look(&record::home(), &name)?.unwrap_or_default(),
    };
    let chosen = choose(&record.stages, &args.stages).map_err(by_blame)?;
    let width = chosen
        .iter()
        .map(|stage| stage.name.len())
        .max()
        .unwrap_or(0);
    let path = |stage: &StageRecord| match &processes {
        Some(processes) => nest::console(&processes.folder, &stage.name),
        None => console::path(&stage.domain),
    };
    let log = |stage: &&StageRecord| Log::new(&stage.name, path(stage));
    let mut logs: Vec<Log> = chosen.iter().map(log).collect();
    if let Some(absent) = logs
        .iter()
        .find(|log| !log.path.exists())
        .filter(|_| !args.follow)
    {
        let path = absent.path.display();
        return Err(Failure::failed(match processes {
            Some(_) => format!("there is no {path}: {name} has just ended"),
            None => format!("there is no {path}: is xenconsoled started with --log=guest?"),
        }));
    }
    let mut keep = args.lines;
    loop {
        // Asked first: what processes have printed is complete once nobody keeps it any more.
        let is_last = !args.follow
            || processes
                .as_ref()
                .is_some_and(|processes| !processes.told.composer.is_alive());
        for log in &mut logs {
            let mut lines = log.news()?;
            // Only the first look may pass over some.
            let skip = keep.map_or(0, |keep| lines.len().saturating_sub(keep));
            for line in lines.drain(..).skip(skip) {
                output::line(format_args!("{:<width$} | {line}", log.stage))?;
            }
        }
        keep = None;
        if is_last || signals::came(&stop) {
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
    /// The file that is being read, whatever its name is by now.
    now: Option<Reading>,
}

impl Log {
    fn new(stage: &str, path: PathBuf) -> Self {
        Self {
            stage: stage.to_owned(),
            path,
            now: None,
        }
    }

    /// The whole lines since the last look; none where there is no file yet. One that has become long and was put aside is read
    /// to its end before the one that was begun instead.
    fn news(&mut self) -> io::Result<Vec<String>> {
        let mut lines = Vec::new();
        // Opened before its end is read: nobody writes to one that was put aside.
        let latest = self.latest()?;
        if let Some(now) = &mut self.now {
            now.lines(&mut lines)?;
        }
        let Some((older, latest)) = latest else {
            return Ok(lines);
        };
        let before = self.now.as_ref().map(|now| now.id);
        if before == Some(latest.id) {
            return Ok(lines);
        }
        if let Some(now) = &mut self.now {
            now.rest(&mut lines)?;
        }
        if let Some(mut older) = older.filter(|older| before != Some(older.id)) {
            older.lines(&mut lines)?;
            older.rest(&mut lines)?;
        }
        self.now.insert(latest).lines(&mut lines)?;
        Ok(lines)
    }

    /// The file of this name, and the one that was put aside for it.
    fn latest(&self) -> io::Result<Option<(Option<Reading>, Reading)>> {
        loop {
            let Some(latest) = Reading::open(&self.path)? else {
                return Ok(None);
            };
            let older = Reading::open(&console::older(&self.path))?;
            // Put aside in between, it would be found twice, and its successor not at all.
            if older.as_ref().is_none_or(|older| older.id != latest.id) {
                return Ok(Some((older, latest)));
            }
        }
    }
}

/// A file as far as it was read.
struct Reading {
    file: File,
    /// Its device and number, which another of the same name has not.
    id: (u64, u64),
    at: u64,
}

impl Reading {
    fn open(path: &Path) -> io::Result<Option<Self>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let meta = file.metadata()?;
        Ok(Some(Self {
            file,
            id: (meta.dev(), meta.ino()),
            at: 0,
        }))
    }

    /// The whole lines since the last look; all again where it was emptied.
    fn lines(&mut self, lines: &mut Vec<String>) -> io::Result<()> {
        if self.file.metadata()?.len() < self.at {
            self.at = 0;
        }
        self.file.seek(SeekFrom::Start(self.at))?;
        let (mut reader, mut line) = (BufReader::new(&self.file), Vec::new());
        while reader.read_until(b'\n', &mut line)? > 0 && line.ends_with(b"\n") {
            self.at += line.len() as u64;
            lines.push(printable(&line));
            line.clear();
        }
        Ok(())
    }

    /// What has no line's end and will get none.
    fn rest(&mut self, lines: &mut Vec<String>) -> io::Result<()> {
        let mut rest = Vec::new();
        self.file.seek(SeekFrom::Start(self.at))?;
        self.at += self.file.read_to_end(&mut rest)? as u64;
        if !rest.is_empty() {
            lines.push(printable(&rest));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_whole_lines_are_shown_each_once_and_none_can_steer_the_terminal() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::new("a", folder.path().join("log"));
        assert!(log.news().unwrap().is_empty(), "no file is no error");
        fs::write(&log.path, "one\r\n\x1b[2Jtwo\nthr").unwrap();
        assert_eq!(log.news().unwrap(), ["one", "two"]);
        assert!(log.news().unwrap().is_empty());
        fs::write(&log.path, "one\r\n\x1b[2Jtwo\nthree\n").unwrap();
        assert_eq!(log.news().unwrap(), ["three"]);
        fs::write(&log.path, "new\n").unwrap();
        assert_eq!(log.news().unwrap(), ["new"], "a log that was begun anew");
    }

    #[test]
    fn a_log_that_was_put_aside_is_read_to_its_end_before_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut log = Log::new("a", path.clone());
        let turn = |more: &str| {
            fs::rename(&path, console::older(&path)).unwrap();
            fs::write(&path, more).unwrap();
        };
        let add = |text: &str| {
            use io::Write as _;
            let file = File::options().append(true).open(&path);
            file.unwrap().write_all(text.as_bytes()).unwrap();
        };
        fs::write(&path, "one\n").unwrap();
        turn("two\n");
        assert_eq!(log.news().unwrap(), ["one", "two"]);
        add("three\nfour");
        turn("five\n");
        assert_eq!(log.news().unwrap(), ["three", "four", "five"]);
        // Twice between two looks.
        add("six\n");
        turn("seven\n");
        turn("eight\n");
        assert_eq!(log.news().unwrap(), ["six", "seven", "eight"]);
        add("nine\n");
        fs::remove_dir_all(folder.path()).unwrap();
        assert_eq!(log.news().unwrap(), ["nine"], "what is gone is read out");
    }
}
