//! Room for a report, held while its figures are measured: who measures for an hour does not find the disk full at the end.

use std::fs;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// More bytes than a report of five rounds has, some 1.6 MB.
const BYTES: usize = 2 << 20;

/// A folder takes no report.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot hold {} MiB for the report in {}; make room there, or name another folder with {option}",
    BYTES >> 20,
    .folder.display()
)]
pub struct NoRoom {
    folder: PathBuf,
    option: &'static str,
    #[source]
    cause: io::Error,
}

/// Room in a folder, given back when dropped; a file without a name, so that not even a killed process leaves it behind.
#[derive(Debug)]
pub struct Room {
    _file: File,
}

impl Room {
    /// Holds it; makes the folder, which the user has named with this option.
    pub fn hold(folder: &Path, option: &'static str) -> Result<Self, NoRoom> {
        let hold = || {
            fs::create_dir_all(folder)?;
            let mut file = tempfile::tempfile_in(folder)?;
            file.write_all(&vec![0; BYTES])?;
            // Some file systems do not say before.
            file.sync_all()?;
            Ok(Self { _file: file })
        };
        hold().map_err(|cause| NoRoom {
            folder: folder.to_owned(),
            option,
            cause,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::small_disk::{fill, on_a_small_disk};
    use crate::failure::Failure;

    #[test]
    fn a_full_disk_is_told_before_and_what_was_held_is_there_at_the_end() {
        let name = "a_full_disk_is_told_before_and_what_was_held_is_there_at_the_end";
        on_a_small_disk(module_path!(), name, "4m", |disk| {
            let out = disk.join("out");
            let room = Room::hold(&out, "--out").unwrap();
            fill(disk);
            let full = Room::hold(&out, "--out").unwrap_err();
            let said = Failure::failed(full).to_string();
            let wanted = format!(
                "cannot hold 2 MiB for the report in {}; make room there, or name another folder with --out: \
                 No space left on device",
                out.display()
            );
            assert!(said.starts_with(&wanted), "{said}");
            drop(room);
            let held = Room::hold(&out, "--out");
            assert!(held.is_ok(), "it was given back: {held:?}");
        });
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_told_before() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Room::hold(&file.path().join("out"), "--docs").unwrap_err();
        let said = Failure::failed(error).to_string();
        assert!(said.contains("another folder with --docs"), "{said}");
    }
}
