//! The folder of a pipeline of processes: `grantflow/PIPELINE` in the user's runtime folder.
//!
//! ```text
//! lock            held by the `grantflow up` that runs the pipeline, as long as it lives
//! process.json    what it has started: for other commands
//! .meet/          where edges meet
//! STAGE/          the keys of a stage, as a domain has them in xenstore; and `console`, what it has printed last
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use vchan_linux::local::{Folder, FolderError};

use super::proc::ProcessId;
use crate::compose::plan::Plan;
use crate::compose::record::{self, Lock, Record, RecordError};

const LOCK: &str = "lock";
const RECORD: &str = "process.json";

/// Where edges meet; no stage has such a name.
pub const MEET: &str = ".meet";

/// The longest address of a UNIX socket.
const ADDRESS_MAX: usize = 107;

/// What a pipeline of processes is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessRecord {
    /// The `grantflow up` that runs it.
    pub composer: ProcessId,
    /// What was to run, as for domains.
    pub record: Record,
    /// The processes, in the order of the record's stages.
    pub processes: Vec<ProcessOf>,
}

/// The process of a stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessOf {
    /// The latest.
    pub id: ProcessId,
    /// How it ended, once it has.
    pub ended: Option<Ended>,
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ended {
    /// Nothing if it did so in order; otherwise in words.
    pub fault: Option<String>,
    /// Seconds of CPU time that it took.
    pub cpu_seconds: f64,
}

/// Why there is no folder.
#[derive(Debug, thiserror::Error)]
pub enum NestError {
    /// The folders above it.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Its files.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A name that is taken by something else there.
    #[error("processes have no {what} named `{name}`: the name is taken in {}; name it otherwise", folder.display())]
    Name {
        /// A stage or pipeline.
        what: &'static str,
        /// Its name.
        name: String,
        /// Where.
        folder: PathBuf,
    },
    /// A socket's address would be too long.
    #[error(
        "{} is longer than the {ADDRESS_MAX} bytes of a socket's address: set XDG_RUNTIME_DIR to a shorter folder, or shorten \
         the names of pipeline, stage or edge", .0.display()
    )]
    Long(PathBuf),
}

/// The folder while the pipeline runs; removed when dropped.
#[derive(Debug)]
pub struct Nest {
    path: PathBuf,
    _lock: Lock,
}

fn wrong(path: &Path) -> impl FnOnce(io::Error) -> RecordError {
    let path = path.to_owned();
    |source| RecordError::File { path, source }
}

/// The folder of the pipeline of this name, whether there is one or not.
pub fn path(name: &str) -> PathBuf {
    Folder::home().join(name)
}

/// The pipelines of processes that there are, or that one who was killed has left.
pub fn names() -> Vec<String> {
    names_in(&Folder::home())
}

fn names_in(home: &Path) -> Vec<String> {
    let folders = fs::read_dir(home).into_iter().flatten().flatten();
    let mut names: Vec<String> = folders
        .filter(|folder| folder.path().join(RECORD).is_file())
        .map(|folder| folder.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// What a stage has printed, in a pipeline's folder.
pub fn console(folder: &Path, stage: &str) -> PathBuf {
    folder.join(stage).join("console")
}

/// What is recorded in a pipeline's folder.
pub fn read(folder: &Path) -> Result<Option<ProcessRecord>, RecordError> {
    let path = folder.join(RECORD);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(&path)(error)),
    };
    let record = serde_json::from_slice(&bytes);
    record
        .map(Some)
        .map_err(|source| RecordError::Unreadable { path, source })
}

impl Nest {
    /// The folder for this pipeline, empty: what one who was killed has left is removed.
    pub fn make(plan: &Plan) -> Result<Self, NestError> {
        Self::make_in(Folder::at(Folder::home())?.path(), &record::home(), plan)
    }

    fn make_in(home: &Path, of_domains: &Path, plan: &Plan) -> Result<Self, NestError> {
        let path = home.join(&plan.name);
        check_names(&path, plan)?;
        if record::names(of_domains).contains(&plan.name) {
            // Domains of the same name: other commands would not know which are meant, and their folder may be this one.
            return Err(NestError::Name {
                what: "pipeline",
                name: plan.name.clone(),
                folder: of_domains.join(&plan.name),
            });
        }
        let nest = loop {
            Folder::at(&path)?;
            // One that was removed while its lock was taken is not the pipeline's any more.
            if let Some(nest) = Self::take(&path, &plan.name)? {
                break nest;
            }
        };
        nest.empty(|name| name != LOCK)?;
        Folder::at(path.join(MEET))?;
        for stage in &plan.stages {
            Folder::at(path.join(&stage.stage))?;
        }
        nest.introduce(plan)?;
        Ok(nest)
    }

    /// The folder that is there, unless it goes meanwhile. An error while another command has it.
    pub fn take(path: &Path, name: &str) -> Result<Option<Self>, RecordError> {
        let lock = record::lock(path, name)?;
        Ok(lock.map(|lock| Self {
            path: path.to_owned(),
            _lock: lock,
        }))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where edges meet.
    pub fn meet(&self) -> PathBuf {
        self.path.join(MEET)
    }

    /// The keys of a stage.
    pub fn keys(&self, stage: &str) -> PathBuf {
        self.path.join(stage)
    }

    /// Forgets what a stage has told: its next process begins anew.
    pub fn forget(&self, stage: &str) -> Result<(), RecordError> {
        let told = self.keys(stage).join("data");
        match fs::remove_dir_all(&told) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(wrong(&told)(error)),
            _ => Ok(()),
        }
    }

    /// Writes down what there is.
    pub fn save(&self, record: &ProcessRecord) -> Result<(), RecordError> {
        let (path, beside) = (self.path.join(RECORD), self.path.join(".process.new"));
        let text = serde_json::to_vec_pretty(record).map_err(io::Error::from);
        let write = |text: Vec<u8>| {
            fs::write(&beside, text)?;
            fs::rename(&beside, &path)
        };
        text.and_then(write).map_err(wrong(&path))
    }

    /// Tells both ends of each edge who the other is. That stays: a stage that is started again meets at the same place.
    fn introduce(&self, plan: &Plan) -> Result<(), RecordError> {
        let stage = |place: Option<usize>| plan.stages.get(place?);
        for wire in &plan.wires {
            let (Some(from), Some(to)) = (stage(wire.from), stage(wire.to)) else {
                continue;
            };
            for (own, peer) in [(from, to), (to, from)] {
                let folder = self.keys(&own.stage).join("grantflow/peer");
                let key = folder.join(&wire.name);
                fs::create_dir_all(&folder)
                    .and_then(|()| fs::write(&key, format!("{} 1", peer.stage)))
                    .map_err(wrong(&key))?;
            }
        }
        Ok(())
    }

    /// Removes what is in the folder and wanted away.
    fn empty(&self, wanted_away: impl Fn(&str) -> bool) -> Result<(), RecordError> {
        let entries = fs::read_dir(&self.path).map_err(wrong(&self.path))?;
        for entry in entries.flatten() {
            if !wanted_away(&entry.file_name().to_string_lossy()) {
                continue;
            }
            let path = entry.path();
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let removed = if is_folder {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            removed.map_err(wrong(&path))?;
        }
        Ok(())
    }
}

impl Drop for Nest {
    fn drop(&mut self) {
        // What cannot be removed now is by the next command on this pipeline.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Names that mean something else there, and addresses that would be too long.
fn check_names(path: &Path, plan: &Plan) -> Result<(), NestError> {
    let taken = |what, name: &str, folder: &Path| NestError::Name {
        what,
        name: name.to_owned(),
        folder: folder.to_owned(),
    };
    if plan.name == "vchan" {
        // Where all programs of this user meet.
        return Err(taken("pipeline", &plan.name, path.parent().unwrap_or(path)));
    }
    let lock = |stage: &&crate::compose::plan::Planned| stage.stage == LOCK;
    if let Some(stage) = plan.stages.iter().find(lock) {
        return Err(taken("stage", &stage.stage, path));
    }
    for wire in &plan.wires {
        let reader = wire.to.and_then(|place| plan.stages.get(place));
        let reader = reader.map_or("dom0", |stage| &stage.stage);
        let socket = path.join(MEET).join(format!("{reader}.{}", wire.name));
        if socket.as_os_str().len() > ADDRESS_MAX {
            return Err(NestError::Long(socket));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::plan::{Planned, Wire};
    use crate::pipeline::Restart;
    use crate::xl::BootInput;

    fn plan(name: &str, stages: &[&str]) -> Plan {
        let stage = |stage: &&str| Planned {
            stage: (*stage).into(),
            domain: format!("{name}-{stage}"),
            image: "/x/a.elf".into(),
            memory_mib: 1,
            bridge: None,
            input: BootInput::default(),
            restart: Restart::Never,
        };
        Plan {
            name: name.into(),
            stages: stages.iter().map(stage).collect(),
            wires: vec![Wire {
                feedback: false,
                name: "e".into(),
                from: Some(0),
                to: Some(1),
            }],
        }
    }

    #[test]
    fn both_ends_are_told_and_what_was_left_is_gone() {
        let home = tempfile::tempdir().unwrap();
        let old = home.path().join("p/gone/data");
        Folder::at(home.path().join("p")).unwrap();
        fs::create_dir_all(&old).unwrap();
        let nest = Nest::make_in(home.path(), home.path(), &plan("p", &["a", "b"])).unwrap();
        let key = |stage: &str| fs::read_to_string(nest.keys(stage).join("grantflow/peer/e"));
        assert_eq!(
            (key("a").unwrap(), key("b").unwrap()),
            ("b 1".into(), "a 1".into())
        );
        assert!(!old.exists());
        assert!(names_in(home.path()).is_empty());
        let second = Nest::make_in(home.path(), home.path(), &plan("p", &["a", "b"])).unwrap_err();
        assert!(second.to_string().contains("another grantflow"), "{second}");
        drop(nest);
        assert!(!home.path().join("p").exists());
    }

    #[test]
    fn names_that_mean_something_else_are_refused_and_nothing_is_made() {
        let home = tempfile::tempdir().unwrap();
        let long = "x".repeat(100);
        for (name, stages, told) in [
            ("vchan", ["a", "b"], "no pipeline named `vchan`"),
            ("p", ["a", "lock"], "no stage named `lock`"),
            ("p", ["a", long.as_str()], "107 bytes"),
        ] {
            let error = Nest::make_in(home.path(), home.path(), &plan(name, &stages)).unwrap_err();
            assert!(error.to_string().contains(told), "{error}");
        }
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_folder_of_domains_is_left_alone() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("p");
        Folder::at(&folder).unwrap();
        fs::write(folder.join("record.json"), "{}").unwrap();
        assert!(Nest::make_in(home.path(), home.path(), &plan("p", &["a", "b"])).is_err());
        assert!(folder.join("record.json").exists());
        let other = tempfile::tempdir().unwrap();
        let error = Nest::make_in(other.path(), home.path(), &plan("p", &["a", "b"])).unwrap_err();
        assert!(error.to_string().contains("the name is taken"), "{error}");
        assert!(!other.path().join("p").exists());
    }
}
