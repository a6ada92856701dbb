//! A Linux guest to meet or to measure beside a unikernel: the kernel of dom0, and one small initramfs without a disk.
//!
//! A job finds it at `linux-guest/vmlinuz` and `linux-guest/initramfs`. Its command line says what it does
//! (`linux-guest.sh` reads it): with `address=A.B.C.D/N` it has a network, `program="COMMAND..."` it runs in a shell and powers
//! off. Without a program it does what dom0 tells it through xenstore.
//!
//! The kernel is Debian's, with its defaults; `mitigations=off` as in dom0 is the caller's to add. Nothing else runs in the
//! guest while the program does.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::cpio::Archive;
use super::error::LabError;
use super::job::{Job, entries};
use super::libraries::{self, Search};
use super::modules;
use super::parts::Parts;

/// What the guest loads; each brings what it depends on.
const MODULES: [&str; 5] = [
    "xen-netfront",
    "xen-evtchn",
    "xen-gntalloc",
    "xen-gntdev",
    "xen-privcmd",
];

/// Keeps the guest's modules out of a kernel's folder of modules, which is thrown away: below `into`, as in the guest's root.
pub fn keep_modules(source: &Path, kernel: &str, into: &Path) -> Result<(), LabError> {
    let place = into.join("lib/modules").join(kernel);
    let chosen = modules::select(source, &MODULES, &[])?;
    for path in chosen.keys() {
        let target = place.join(path);
        let folder = target.parent().unwrap_or(&place);
        fs::create_dir_all(folder).map_err(LabError::file(folder))?;
        fs::copy(source.join(path), &target).map_err(LabError::file(&target))?;
    }
    let list = place.join("modules.dep");
    fs::write(&list, modules::dependency_file(&chosen)).map_err(LabError::file(&list))
}

/// Adds the guest to a job, with these programs of the host in its `/bin`.
pub fn add(job: &mut Job, parts: &Parts, programs: &[PathBuf]) -> Result<(), LabError> {
    job.file("linux-guest/vmlinuz", &parts.kernel())?;
    job.bytes("linux-guest/initramfs", 0o644, &initramfs(parts, programs)?);
    Ok(())
}

/// The guest's root. It is not packed: the job is, and the domain builder takes it as it is.
fn initramfs(parts: &Parts, programs: &[PathBuf]) -> Result<Vec<u8>, LabError> {
    // Orders come through xenstore.
    let xenstore = parts.program("usr/bin/xenstore")?;
    let programs = || programs.iter().chain([&xenstore]);
    let wrong = || LabError::file("the Linux guest's archive");
    let mut archive = Archive::new(Vec::new());
    archive
        .file("init", 0o755, include_bytes!("linux-guest.sh"))
        .map_err(wrong())?;
    for folder in ["proc", "sys", "dev"] {
        archive.dir(folder).map_err(wrong())?;
    }
    let busybox = parts.program("bin/busybox")?;
    let bytes = fs::read(&busybox).map_err(LabError::file(&busybox))?;
    archive
        .file("bin/busybox", 0o755, &bytes)
        .map_err(wrong())?;
    // The rest of its commands it finds by itself once its shell runs.
    archive.symlink("bin/sh", "busybox").map_err(wrong())?;
    copy_folder(&mut archive, "", &parts.linux_guest())?;
    for program in programs() {
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        let bytes = fs::read(program).map_err(LabError::file(program))?;
        archive
            .file(&format!("bin/{name}"), 0o755, &bytes)
            .map_err(wrong())?;
    }
    let search = Search::new([parts.tree(), PathBuf::from("/")]);
    for (name, path) in search.resolve(programs().map(PathBuf::as_path))? {
        let bytes = fs::read(&path).map_err(LabError::file(&path))?;
        archive
            .file(&libraries::place(&name), 0o755, &bytes)
            .map_err(wrong())?;
    }
    archive.finish().map_err(wrong())
}

fn copy_folder(archive: &mut Archive<Vec<u8>>, place: &str, source: &Path) -> Result<(), LabError> {
    for (name, entry) in entries(source)? {
        let place = format!("{place}/{name}");
        if entry.is_dir() {
            copy_folder(archive, &place, &entry)?;
            continue;
        }
        let bytes = fs::read(&entry).map_err(LabError::file(&entry))?;
        let meta = fs::metadata(&entry).map_err(LabError::file(&entry))?;
        archive
            .file(&place, meta.permissions().mode(), &bytes)
            .map_err(LabError::file("the Linux guest's archive"))?;
    }
    Ok(())
}
