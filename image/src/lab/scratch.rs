//! A temporary folder, which even a killed process does not leave behind for long.

use std::fs::{self, File};
use std::path::Path;

use tempfile::TempDir;

use super::error::LabError;

const BOOT: &str = "grantflow-lab-";

/// A temporary folder; removed when dropped, or by the next of its kind if its owner was killed.
#[derive(Debug)]
pub struct Scratch {
    folder: TempDir,
    /// Locked as long as the owner lives: the system lets go of it, however the owner ends.
    _lock: File,
}

impl Scratch {
    /// A boot's.
    pub fn new() -> Result<Self, LabError> {
        Self::of_kind(BOOT)
    }

    /// Makes one in the system's temporary folder, and removes those of the same prefix whose owners are gone.
    pub fn of_kind(prefix: &str) -> Result<Self, LabError> {
        Self::within(&std::env::temp_dir(), prefix)
    }

    fn within(temporary: &Path, prefix: &str) -> Result<Self, LabError> {
        sweep(temporary, prefix);
        let folder = tempfile::Builder::new()
            .prefix(prefix)
            .tempdir_in(temporary)
            .map_err(LabError::file(temporary))?;
        let path = folder.path().join("lock");
        let lock = File::create(&path).map_err(LabError::file(&path))?;
        lock.lock().map_err(LabError::file(&path))?;
        Ok(Self {
            folder,
            _lock: lock,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

fn sweep(temporary: &Path, prefix: &str) {
    let entries = fs::read_dir(temporary).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix)) {
        // Without a lock file the folder is being made this very moment, or is somebody else's.
        let Ok(lock) = File::open(entry.path().join("lock")) else {
            continue;
        };
        if lock.try_lock().is_ok() {
            // What cannot be removed belongs to another user, who will.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_in_use_stays_and_an_orphan_goes() {
        let temporary = tempfile::tempdir().unwrap();
        let orphan = temporary.path().join("grantflow-lab-orphan");
        let stranger = temporary.path().join("grantflow-lab-other");
        for folder in [&orphan, &stranger] {
            fs::create_dir(folder).unwrap();
        }
        fs::write(orphan.join("lock"), "").unwrap();
        let first = Scratch::within(temporary.path(), BOOT).unwrap();
        let second = Scratch::within(temporary.path(), BOOT).unwrap();
        assert!(first.path().exists() && second.path().exists() && stranger.exists());
        assert!(!orphan.exists());
        let path = first.path().to_owned();
        drop(first);
        assert!(!path.exists());
    }
}
