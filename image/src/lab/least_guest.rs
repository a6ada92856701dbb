//! The least Linux guest that a stage's program can run in: the kernel's modules, a busybox for the first process, the program,
//! the libraries that it is linked with. Packed, as the kernel itself is.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::cpio::Archive;
use super::error::LabError;
use super::job::entries;
use super::libraries::{self, Search};
use super::parts::Parts;

/// Its initramfs, with this program of the host in its `/bin`.
pub fn initramfs(parts: &Parts, program: &Path) -> Result<Vec<u8>, LabError> {
    let wrong = || LabError::file("the least Linux guest's archive");
    let mut archive = Archive::new(Vec::new());
    archive
        .file("init", 0o755, include_bytes!("least-guest.sh"))
        .map_err(wrong())?;
    for folder in ["proc", "dev"] {
        archive.dir(folder).map_err(wrong())?;
    }
    let mut files = Vec::new();
    list("", &parts.linux_guest(), &mut files)?;
    let busybox = parts.program("bin/busybox")?;
    let search = Search::new([parts.tree(), PathBuf::from("/")]);
    let libraries = search.resolve([program])?;
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    files.push(("bin/busybox".to_owned(), busybox));
    files.push((format!("bin/{name}"), program.to_owned()));
    for (name, path) in libraries {
        files.push((libraries::place(&name), path));
    }
    for (place, path) in files {
        let bytes = fs::read(&path).map_err(LabError::file(&path))?;
        archive.file(&place, 0o755, &bytes).map_err(wrong())?;
    }
    let archive = archive.finish().map_err(wrong())?;
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(&archive).map_err(wrong())?;
    packed.finish().map_err(wrong())
}

/// The files of a folder, with their places in the guest's root.
fn list(place: &str, folder: &Path, files: &mut Vec<(String, PathBuf)>) -> Result<(), LabError> {
    for (name, entry) in entries(folder)? {
        let place = format!("{place}/{name}");
        match entry.is_dir() {
            true => list(&place, &entry, files)?,
            false => files.push((place, entry)),
        }
    }
    Ok(())
}
