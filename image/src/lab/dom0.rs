//! dom0's user land: one small initramfs out of unpacked Debian packages, without Debian's own start-up.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::cpio::Archive;
use super::error::LabError;
use super::job::entries;
use super::libraries::{self, Search};
use super::modules;

/// Programs of Debian packages that replace busybox's of the same name.
const PROGRAMS: [&str; 13] = [
    "bin/bash",
    "bin/ip",
    "sbin/bridge",
    "sbin/ethtool",
    "sbin/tc",
    "usr/bin/flock",
    "usr/bin/timeout",
    "usr/bin/xenstore",
    "usr/bin/xenstore-ls",
    "usr/bin/xenstore-read",
    "usr/bin/xenstore-rm",
    "usr/bin/xenstore-watch",
    "usr/bin/xenstore-write",
];

/// Programs that may be absent: older releases lack some, jobs rarely want them.
const WELCOME: [&str; 5] = [
    "usr/bin/xenstore-list",
    "usr/bin/xenstore-exists",
    "usr/bin/xenstore-chmod",
    "usr/sbin/xentop",
    "usr/sbin/xentrace",
];

/// Loaded at run time (`pthread_cancel`), so that no `DT_NEEDED` names it; `xl` aborts without it.
const LOADED_LATE: &str = "libgcc_s.so.1";

/// `results` is what comes back to the host: a job's files and Xen's logs.
const FOLDERS: [&str; 13] = [
    "proc",
    "sys",
    "dev",
    "run",
    "tmp",
    "root",
    "usr/sbin",
    "var/lib/xen",
    "var/lib/xenstored",
    "lib/x86_64-linux-gnu",
    "lib64",
    "results/out",
    "results/xen/console",
];

/// The folder of `xl`, `xenstored` and their kin, below the root: `usr/lib/xen-4.17/bin`.
pub fn xen_bin(tree: &Path) -> Result<String, LabError> {
    let lib = tree.join("usr/lib");
    let missing = || LabError::MissingPart {
        what: "usr/lib/xen-VERSION/bin/xl".to_owned(),
    };
    let entries = fs::read_dir(&lib).map_err(LabError::file(&lib))?;
    let names = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names = names.filter(|name| lib.join(name).join("bin/xl").is_file());
    names
        .next()
        .map(|name| format!("usr/lib/{name}/bin"))
        .ok_or_else(missing)
}

/// Writes the initramfs of dom0, `/init` left out, to `target`; returns the names of the libraries in it.
pub fn write(tree: &Path, kernel: &str, target: &Path) -> Result<Vec<String>, LabError> {
    let file = File::create(target).map_err(LabError::file(target))?;
    let mut root = Root {
        archive: Archive::new(GzEncoder::new(BufWriter::new(file), Compression::new(6))),
        target,
        elf: Vec::new(),
        names: Vec::new(),
    };
    for folder in FOLDERS {
        root.archive.dir(folder).map_err(LabError::file(target))?;
    }
    for program in PROGRAMS {
        let found = find(tree, program).ok_or_else(|| LabError::MissingPart {
            what: program.to_owned(),
        })?;
        root.program(program, &found)?;
    }
    for program in WELCOME {
        if let Some(found) = find(tree, program) {
            root.program(program, &found)?;
        }
    }
    root.toolstack(tree)?;
    root.busybox(tree)?;
    root.copy_folder(tree, "etc/xen")?;
    root.copy_folder(tree, "etc/default")?;
    root.kernel_modules(tree, kernel)?;
    root.link("out", "results/out")?;
    root.link("var/log/xen", "/results/xen")?;
    let libraries = root.libraries(tree)?;
    let written = root
        .archive
        .finish()
        .and_then(GzEncoder::finish)
        .and_then(|mut out| out.flush());
    written.map_err(LabError::file(target))?;
    Ok(libraries)
}

/// A file of a package, wherever the release puts it: some moved to `/usr`, some did not yet.
pub(super) fn find(tree: &Path, path: &str) -> Option<PathBuf> {
    let moved = path
        .strip_prefix("usr/")
        .map_or_else(|| format!("usr/{path}"), str::to_owned);
    [path, &moved]
        .into_iter()
        .map(|path| tree.join(path))
        .find(|path| path.is_file())
}

struct Root<'a> {
    archive: Archive<GzEncoder<BufWriter<File>>>,
    target: &'a Path,
    elf: Vec<PathBuf>,
    names: Vec<String>,
}

impl Root<'_> {
    fn add(&mut self, place: &str, source: &Path) -> Result<(), LabError> {
        let bytes = fs::read(source).map_err(LabError::file(source))?;
        let mode = fs::metadata(source)
            .map_err(LabError::file(source))?
            .permissions()
            .mode();
        self.archive
            .file(place, mode, &bytes)
            .map_err(LabError::file(self.target))
    }

    fn link(&mut self, place: &str, to: &str) -> Result<(), LabError> {
        self.archive
            .symlink(place, to)
            .map_err(LabError::file(self.target))
    }

    fn program(&mut self, place: &str, source: &Path) -> Result<(), LabError> {
        self.add(place, source)?;
        self.elf.push(source.to_owned());
        self.names.extend(
            Path::new(place)
                .file_name()
                .map(|name| name.to_string_lossy().into_owned()),
        );
        Ok(())
    }

    /// `xl`, `xenstored` and the rest of the versioned folder; scripts in it would need Python.
    fn toolstack(&mut self, tree: &Path) -> Result<(), LabError> {
        let bin = xen_bin(tree)?;
        let folder = tree.join(&bin);
        let mut names: Vec<String> = fs::read_dir(&folder)
            .map_err(LabError::file(&folder))?
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| !name.starts_with("test-") && name != "oxenstored")
            .collect();
        names.sort();
        for name in names {
            let source = folder.join(&name);
            let bytes = fs::read(&source).map_err(LabError::file(&source))?;
            if libraries::needed(&bytes).is_some() {
                self.program(&format!("{bin}/{name}"), &source)?;
                self.link(&format!("usr/sbin/{name}"), &format!("/{bin}/{name}"))?;
            }
        }
        Ok(())
    }

    fn busybox(&mut self, tree: &Path) -> Result<(), LabError> {
        let busybox = find(tree, "bin/busybox").ok_or_else(|| LabError::MissingPart {
            what: "busybox".to_owned(),
        })?;
        self.add("bin/busybox", &busybox)?;
        let list = Command::new(&busybox)
            .arg("--list")
            .output()
            .map_err(LabError::file(&busybox))?;
        for applet in String::from_utf8_lossy(&list.stdout).lines() {
            if applet != "busybox"
                && applet != "sh"
                && !self.names.iter().any(|name| name == applet)
            {
                self.link(&format!("bin/{applet}"), "busybox")?;
            }
        }
        self.link("bin/sh", "bash")
    }

    fn copy_folder(&mut self, tree: &Path, path: &str) -> Result<(), LabError> {
        let folder = tree.join(path);
        for (name, entry) in entries(&folder)? {
            let place = format!("{path}/{name}");
            let meta = entry.symlink_metadata().map_err(LabError::file(&entry))?;
            if meta.is_dir() {
                self.copy_folder(tree, &place)?;
            } else if meta.is_symlink() {
                let to = fs::read_link(&entry).map_err(LabError::file(&entry))?;
                self.link(&place, &to.to_string_lossy())?;
            } else {
                self.add(&place, &entry)?;
            }
        }
        Ok(())
    }

    fn kernel_modules(&mut self, tree: &Path, kernel: &str) -> Result<(), LabError> {
        let source = find_modules(tree, kernel);
        let place = format!("lib/modules/{kernel}");
        let chosen = modules::select(&source, &modules::AT_BOOT, &modules::AT_HAND)?;
        for path in chosen.keys() {
            self.add(&format!("{place}/{path}"), &source.join(path))?;
        }
        let text = modules::dependency_file(&chosen);
        self.archive
            .file(&format!("{place}/modules.dep"), 0o644, text.as_bytes())
            .map_err(LabError::file(self.target))?;
        for list in ["modules.builtin", "modules.order"] {
            self.add(&format!("{place}/{list}"), &source.join(list))?;
        }
        Ok(())
    }

    fn libraries(&mut self, tree: &Path) -> Result<Vec<String>, LabError> {
        let search = Search::new([tree.to_owned()]);
        let mut found = search.resolve(self.elf.iter().map(PathBuf::as_path))?;
        if !found.contains_key(LOADED_LATE) {
            let path = format!("lib/x86_64-linux-gnu/{LOADED_LATE}");
            let late = find(tree, &path).ok_or_else(|| LabError::MissingPart {
                what: LOADED_LATE.to_owned(),
            })?;
            found.insert(LOADED_LATE.to_owned(), late);
        }
        // Programs of the project itself need these even where no package of dom0 does.
        for name in ["libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1"] {
            if let Some(path) = find(tree, &format!("lib/x86_64-linux-gnu/{name}")) {
                found.entry(name.to_owned()).or_insert(path);
            }
        }
        for (name, path) in &found {
            self.add(&libraries::place(name), path)?;
        }
        Ok(found.into_keys().collect())
    }
}

/// The folder of a kernel's modules in the unpacked packages.
pub fn find_modules(tree: &Path, kernel: &str) -> PathBuf {
    let old = tree.join("lib/modules").join(kernel);
    if old.is_dir() {
        old
    } else {
        tree.join("usr/lib/modules").join(kernel)
    }
}
