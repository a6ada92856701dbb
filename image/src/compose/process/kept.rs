//! The console of a stage, kept in a file for `grantflow logs`.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::xl::console::older;

/// How long the file may become; then it is the older one, and what that held is gone.
const MOST: u64 = 1 << 20;

/// The file. It outlives the process whose lines it holds, as a domain's log does.
#[derive(Debug)]
pub struct Kept {
    path: PathBuf,
    most: u64,
    file: File,
    length: u64,
    failed: bool,
}

impl Kept {
    /// The file at this path, continued if it is there.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::of(path, MOST)
    }

    fn of(path: &Path, most: u64) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        Ok(Self {
            path: path.to_owned(),
            most,
            length: file.metadata()?.len(),
            file,
            failed: false,
        })
    }

    /// Adds a line. An error is told once, until there is none: lines that are not kept are no reason to end.
    pub fn add(&mut self, line: &str) -> io::Result<()> {
        let added = self.write(line);
        match added {
            Err(_) if self.failed => Ok(()),
            added => {
                self.failed = added.is_err();
                added
            }
        }
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        let length = line.len() as u64 + 1;
        if self.length > 0 && self.length + length > self.most {
            fs::rename(&self.path, older(&self.path))?;
            *self = Self::of(&self.path, self.most)?;
        }
        self.file.write_all(format!("{line}\n").as_bytes())?;
        self.length += length;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_whole_in_two_files_of_bounded_length() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("console");
        let held = |path: &Path| fs::read_to_string(path).unwrap();
        let mut kept = Kept::of(&path, 8).unwrap();
        for line in ["one", "two", "three", "four"] {
            kept.add(line).unwrap();
        }
        assert_eq!(
            (held(&older(&path)), held(&path)),
            ("three\n".into(), "four\n".into())
        );
        let mut next = Kept::of(&path, 8).unwrap();
        next.add("55").unwrap();
        assert_eq!(held(&path), "four\n55\n");
        next.add("longer than both").unwrap();
        assert_eq!(held(&older(&path)), "four\n55\n");
        assert_eq!(held(&path), "longer than both\n");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_cannot_be_kept_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("console");
        let mut kept = Kept::of(&path, 4).unwrap();
        kept.add("one").unwrap();
        fs::create_dir_all(older(&path).join("in the way")).unwrap();
        assert!(kept.add("two").is_err());
        assert!(kept.add("two").is_ok());
        fs::remove_dir_all(older(&path)).unwrap();
        kept.add("three").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
    }
}
