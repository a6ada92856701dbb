//! What a composer has done for a pipeline, kept where the next command finds it.
//!
//! One JSON file a pipeline, written whole or not at all. Before each step of a change, how to undo it is written down
//! ([`Undo`]); a change that is complete clears that list in the same write that says what there is now. So whoever finds a
//! list knows that a change was cut short, and ends it by undoing.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::plan::Plan;
use crate::xl::Uuid;

/// What there is of a pipeline.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The file that it was made from.
    pub file: PathBuf,
    /// How often it was changed. Peers are told of each other with it.
    pub generation: u32,
    /// What was to run, so that what has failed can be started again as it was, whatever the file says by then.
    pub plan: Plan,
    /// Its stages that have a domain.
    pub stages: Vec<StageRecord>,
    /// What undoes the change that is under way, the latest last.
    pub undo: Vec<Undo>,
    /// Domains that were replaced and must go.
    pub replaced: Vec<Uuid>,
}

/// A stage that has a domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageRecord {
    /// Its name.
    pub name: String,
    /// The name of its domain.
    pub domain: String,
    /// The domain.
    pub uuid: Uuid,
    /// A digest of all that makes the domain what it is.
    pub digest: String,
    /// Its edges by name; what a change of the pipeline means for it is seen from them.
    pub edges: Vec<EdgeRecord>,
    /// How often it was given another domain.
    #[serde(default)]
    pub restarts: u32,
}

impl StageRecord {
    /// Whether it makes readings rather than takes them, but for what comes back to it: it has to be told to end.
    pub fn is_source(&self) -> bool {
        !self
            .edges
            .iter()
            .any(|edge| edge.reads && !edge.feedback && edge.peer.is_some())
    }
}

/// An end of an edge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EdgeRecord {
    /// The edge.
    pub name: String,
    /// The stage at its other end; none for dom0.
    pub peer: Option<String>,
    /// Whether the stage reads from it.
    pub reads: bool,
    /// Whether it closes a circle on purpose.
    #[serde(default)]
    pub feedback: bool,
}

impl EdgeRecord {
    /// The ends that the stage at this place of a plan has.
    pub fn of_stage(plan: &Plan, own: usize) -> Vec<Self> {
        let mut ends = Vec::new();
        for wire in &plan.wires {
            for (end, peer, reads) in [(wire.to, wire.from, true), (wire.from, wire.to, false)] {
                if end == Some(own) {
                    let peer = peer.and_then(|peer| plan.stages.get(peer));
                    ends.push(Self {
                        name: wire.name.clone(),
                        peer: peer.map(|peer| peer.stage.clone()),
                        reads,
                        feedback: wire.feedback,
                    });
                }
            }
        }
        ends
    }
}

/// How to undo a step. Undoing what was not done yet, or was undone already, does nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Undo {
    /// Destroy the domain.
    Destroy(Uuid),
    /// Give the domain its name back.
    Rename {
        /// The domain.
        uuid: Uuid,
        /// The name.
        name: String,
    },
    /// Write what stood in xenstore, or remove what did not, while the domain still has this number.
    Key {
        /// The domain below which it stands.
        uuid: Uuid,
        /// What follows `/local/domain/ID/`.
        key: String,
        /// What stood there.
        value: Option<String>,
    },
}

/// Why a record cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The folder or a file in it cannot be used.
    #[error("{path}: {source}")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The folder is somebody else's.
    #[error("{0} belongs to another user; remove it, or set XDG_RUNTIME_DIR")]
    Foreign(PathBuf),
    /// Another command works on the pipeline.
    #[error("another grantflow is at work on pipeline {0}; wait until it is done")]
    Locked(String),
    /// The file is no record.
    #[error(
        "{path} is no record of a pipeline: {source}; if none of its domains is needed, destroy them and remove it"
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

fn wrong(path: &Path) -> impl FnOnce(io::Error) -> RecordError {
    let path = path.to_owned();
    |source| RecordError::File { path, source }
}

/// The place of all records on a Xen host: one for all of root's sessions, since the domains are everybody's.
pub fn home() -> PathBuf {
    let user = rustix::process::geteuid();
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty());
    match runtime {
        _ if user.is_root() => "/run/grantflow".into(),
        Some(folder) => PathBuf::from(folder).join("grantflow"),
        None => std::env::temp_dir().join(format!("grantflow-{}", user.as_raw())),
    }
}

/// The record of one pipeline, which no other command can change as long as this lives.
#[derive(Debug)]
pub struct Journal {
    folder: PathBuf,
    /// What it says now.
    pub record: Record,
    /// The lock goes with it.
    _lock: Lock,
}

/// A lock that is held.
#[derive(Debug)]
pub struct Lock(File);

impl Lock {
    /// The lock of this file, unless another has it.
    pub fn take(path: &Path) -> io::Result<Option<Self>> {
        let file = File::create(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self(file))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Said outright: a child that is being started holds the file too until it is another program, and with it the lock.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

impl Journal {
    /// Takes the record of pipeline `name` below `home`, an empty one if there is none.
    pub fn open(home: &Path, name: &str) -> Result<Self, RecordError> {
        let folder = home.join(name);
        let lock = loop {
            own(home)?;
            own(&folder)?;
            // One that was removed while we waited for its lock is not the pipeline's any more.
            if let Some(lock) = lock(&folder, name)? {
                break lock;
            }
        };
        let record = read(&folder)?.unwrap_or_default();
        Ok(Self {
            folder,
            record,
            _lock: lock,
        })
    }

    /// The pipeline's folder, for configurations and modules.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes down what the record says now.
    pub fn save(&self) -> Result<(), RecordError> {
        let path = self.folder.join("record.json");
        let text =
            serde_json::to_vec_pretty(&self.record).map_err(|error| wrong(&path)(error.into()))?;
        let beside = self.folder.join("record.new");
        let write = || -> io::Result<()> {
            let mut file = File::create(&beside)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&beside, &path)
        };
        write().map_err(wrong(&path))
    }

    /// Writes down how to undo what comes next.
    pub fn before(&mut self, undo: Undo) -> Result<(), RecordError> {
        self.record.undo.push(undo);
        self.save().inspect_err(|_| {
            self.record.undo.pop();
        })
    }

    /// Removes the record and its folder: there is nothing of the pipeline any more.
    pub fn remove(self) -> Result<(), RecordError> {
        // With the folder goes the lock's file: who waits for nothing finds no lock and makes a new folder.
        fs::remove_dir_all(&self.folder).map_err(wrong(&self.folder))
    }
}

/// The record of a pipeline without taking it: for those who only look.
pub fn look(home: &Path, name: &str) -> Result<Option<Record>, RecordError> {
    read(&home.join(name))
}

/// The pipelines that have a record.
pub fn names(home: &Path) -> Vec<String> {
    let folders = fs::read_dir(home).into_iter().flatten().flatten();
    let mut names: Vec<String> = folders
        .filter(|folder| folder.path().join("record.json").is_file())
        .map(|folder| folder.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn read(folder: &Path) -> Result<Option<Record>, RecordError> {
    let path = folder.join("record.json");
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(&path)(error)),
    };
    let record = serde_json::from_slice(&bytes)
        .map_err(|source| RecordError::Unreadable { path, source })?;
    Ok(Some(record))
}

/// The lock of a pipeline's folder, unless the folder went meanwhile.
pub(super) fn lock(folder: &Path, name: &str) -> Result<Option<Lock>, RecordError> {
    let path = folder.join("lock");
    let lock = match Lock::take(&path) {
        Ok(Some(lock)) => lock,
        Ok(None) => return Err(RecordError::Locked(name.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(&path)(error)),
    };
    let ours = lock.0.metadata().map_err(wrong(&path))?;
    let there = fs::metadata(&path).ok();
    let is_there =
        there.is_some_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino()));
    Ok(is_there.then_some(lock))
}

/// Makes a folder that only this user enters, or finds that it is one.
fn own(folder: &Path) -> Result<(), RecordError> {
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(wrong(folder)(error)),
    }
    // Not through a link that somebody else may have put there.
    let meta = fs::symlink_metadata(folder).map_err(wrong(folder))?;
    if !meta.is_dir() || meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(RecordError::Foreign(folder.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uuid() -> Uuid {
        Uuid::random().unwrap()
    }

    #[test]
    fn what_was_saved_is_found_again_and_what_was_not_is_not() {
        let home = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(home.path(), "p").unwrap();
        assert_eq!(look(home.path(), "p").unwrap(), None);
        journal.before(Undo::Destroy(uuid())).unwrap();
        let saved = journal.record.clone();
        journal.record.generation = 7;
        drop(journal);
        assert_eq!(look(home.path(), "p").unwrap(), Some(saved.clone()));
        assert_eq!(Journal::open(home.path(), "p").unwrap().record, saved);
        assert_eq!(names(home.path()), ["p"]);
        Journal::open(home.path(), "p").unwrap().remove().unwrap();
        assert_eq!(names(home.path()), Vec::<String>::new());
    }

    #[test]
    fn a_source_to_which_commands_come_back_is_one_all_the_same() {
        let edge = |reads, feedback| EdgeRecord {
            name: "e".into(),
            peer: Some("x".into()),
            reads,
            feedback,
        };
        let is_source = |edges: &[EdgeRecord]| {
            StageRecord {
                name: "a".into(),
                domain: "p-a".into(),
                uuid: uuid(),
                digest: String::new(),
                edges: edges.to_vec(),
                restarts: 0,
            }
            .is_source()
        };
        assert!(is_source(&[edge(false, false), edge(true, true)]));
        assert!(!is_source(&[edge(true, false), edge(true, true)]));
    }

    #[test]
    fn c3_a_second_command_on_the_same_pipeline_is_refused_as_long_as_the_first_is_at_work() {
        let home = tempfile::tempdir().unwrap();
        let first = Journal::open(home.path(), "p").unwrap();
        assert!(
            matches!(Journal::open(home.path(), "p"), Err(RecordError::Locked(name)) if name == "p")
        );
        assert!(
            Journal::open(home.path(), "q").is_ok(),
            "another pipeline is free"
        );
        drop(first);
        assert!(Journal::open(home.path(), "p").is_ok());
    }

    #[test]
    fn a_folder_that_is_a_link_is_not_entered() {
        let home = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), home.path().join("p")).unwrap();
        assert!(matches!(
            Journal::open(home.path(), "p"),
            Err(RecordError::Foreign(_))
        ));
    }

    #[test]
    fn a_record_that_is_none_is_an_error_that_names_it() {
        let home = tempfile::tempdir().unwrap();
        drop(Journal::open(home.path(), "p").unwrap());
        for text in ["", "{", "{\"file\":\"x\"}", "[]"] {
            fs::write(home.path().join("p/record.json"), text).unwrap();
            let error = Journal::open(home.path(), "p").unwrap_err().to_string();
            assert!(error.contains("record.json is no record"), "{error}");
        }
    }
}
