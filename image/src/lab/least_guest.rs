//! The least Linux guest that a stage's program can run in: the kernel's modules, a busybox for the first process, the program,
//! the libraries that it is linked with. Packed, as the kernel itself is.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::cpio::Archive;
use super::error::LabError;
use super::libraries;
use super::linux_guest::Guest;

/// Its initramfs, with this program of the host in its `/bin`.
pub fn initramfs(guest: &Guest, program: &Path) -> Result<Vec<u8>, LabError> {
    let wrong = || LabError::file("the least Linux guest's archive");
    let mut archive = Archive::new(Vec::new());
    archive
        .file("init", 0o755, include_bytes!("least-guest.sh"))
        .map_err(wrong())?;
    for folder in ["proc", "dev"] {
        archive.dir(folder).map_err(wrong())?;
    }
    for (place, bytes) in guest.modules() {
        archive.file(place, 0o755, bytes).map_err(wrong())?;
    }
    // A busybox of another package is not static.
    let libraries = guest.libraries(&[program, guest.busybox()])?;
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let mut files = vec![
        ("bin/busybox".to_owned(), guest.busybox().to_owned()),
        (format!("bin/{name}"), program.to_owned()),
    ];
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
