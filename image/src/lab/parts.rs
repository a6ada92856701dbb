//! The lab's parts, fetched once: hypervisor, kernel and dom0's user land, all from Debian's packages.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::read::GzDecoder;
use serde::{Deserialize, Serialize};

use super::apt::{Apt, Package};
use super::dom0;
use super::error::LabError;
use super::linux_guest;
use crate::progress::{Bytes, Progress};

/// Raised whenever what `fetch` makes out of the packages changes.
const FORMAT: u32 = 5;

/// What is named here by role; versions come from the release at hand.
const ROOTS: [&str; 10] = [
    "xen-utils-common",
    "xenstore-utils",
    "libxen-dev",
    "busybox-static",
    "bash",
    "ethtool",
    "iproute2",
    "util-linux",
    "coreutils",
    "libgcc-s1",
];

/// What every boot takes from the cache.
#[derive(Debug, Clone)]
pub struct Parts {
    folder: PathBuf,
    stamp: Stamp,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Stamp {
    format: u32,
    kernel: String,
    packages: Vec<String>,
    libraries: Vec<String>,
}

impl Parts {
    /// The parts in the cache, fetched first where they are not there.
    pub fn ensure(progress: &Progress) -> Result<Self, LabError> {
        let cache = cache_folder();
        if let Some(parts) = Self::open(&cache) {
            return Ok(parts);
        }
        fs::create_dir_all(&cache).map_err(LabError::file(&cache))?;
        let lock_path = cache.join("lock");
        let lock = File::create(&lock_path).map_err(LabError::file(&lock_path))?;
        if lock.try_lock().is_err() {
            progress.say("another grantflow is fetching the lab's parts; waiting for it");
            lock.lock().map_err(LabError::file(&lock_path))?;
        }
        if let Some(parts) = Self::open(&cache) {
            return Ok(parts);
        }
        fetch(&cache, progress)?;
        Self::open(&cache).ok_or_else(|| LabError::MissingPart {
            what: "the lab's stamp file".to_owned(),
        })
    }

    /// The parts in the cache, if they are there.
    pub fn cached() -> Option<Self> {
        Self::open(&cache_folder())
    }

    fn open(cache: &Path) -> Option<Self> {
        let folder = cache.join("parts");
        let stamp: Stamp =
            serde_json::from_slice(&fs::read(folder.join("stamp.json")).ok()?).ok()?;
        (stamp.format == FORMAT).then_some(Self { folder, stamp })
    }

    /// The hypervisor as QEMU's multiboot loader wants it.
    pub fn xen(&self) -> PathBuf {
        self.folder.join("xen.elf")
    }

    /// The kernel of dom0; it boots as a Linux guest too.
    pub fn kernel(&self) -> PathBuf {
        self.folder.join("vmlinuz")
    }

    /// The initramfs of dom0, to which a job is appended.
    pub fn dom0(&self) -> PathBuf {
        self.folder.join("dom0.cpio.gz")
    }

    /// The unpacked packages: headers and libraries to compile against, among others.
    pub fn tree(&self) -> PathBuf {
        self.folder.join("tree")
    }

    /// What a Linux guest has beside programs and libraries, as in its root.
    pub fn linux_guest(&self) -> PathBuf {
        self.folder.join("linux-guest")
    }

    /// A program of the packages, wherever the release puts it.
    pub fn program(&self, path: &str) -> Result<PathBuf, LabError> {
        dom0::find(&self.tree(), path).ok_or_else(|| LabError::MissingPart {
            what: path.to_owned(),
        })
    }

    /// The packages with their versions, `NAME=VERSION`.
    pub fn packages(&self) -> &[String] {
        &self.stamp.packages
    }

    /// The names of the shared libraries that dom0 has.
    pub fn libraries(&self) -> &[String] {
        &self.stamp.libraries
    }

    /// The release of dom0's kernel.
    pub fn kernel_release(&self) -> &str {
        &self.stamp.kernel
    }
}

/// `${XDG_CACHE_HOME:-~/.cache}/grantflow/lab`.
pub fn cache_folder() -> PathBuf {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let base =
        absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    base.unwrap_or_else(std::env::temp_dir)
        .join("grantflow")
        .join("lab")
}

/// Removes the cache; says how much it freed.
pub fn clean() -> Result<u64, LabError> {
    let cache = cache_folder();
    if !cache.exists() {
        return Ok(0);
    }
    let size = folder_size(&cache);
    fs::remove_dir_all(&cache).map_err(LabError::file(&cache))?;
    Ok(size)
}

fn folder_size(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => folder_size(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

fn fetch(cache: &Path, progress: &Progress) -> Result<(), LabError> {
    progress.say(format_args!(
        "fetching the lab's parts into {} (once)",
        cache.display()
    ));
    let work = tempfile::Builder::new()
        .prefix("new-")
        .tempdir_in(cache)
        .map_err(LabError::file(cache))?;
    let lists = work.path().join("apt");
    let apt = Apt::update(&lists, progress)?;
    let packages = look_up(&apt)?;
    let downloads = work.path().join("debs");
    let tree = work.path().join("tree");
    for folder in [&downloads, &tree] {
        fs::create_dir(folder).map_err(LabError::file(folder))?;
    }
    apt.download(&packages, &downloads, progress)?;
    unpack(&downloads, &tree, progress)?;
    for folder in [&downloads, &lists] {
        fs::remove_dir_all(folder).map_err(LabError::file(folder))?;
    }

    progress.say("building dom0's initramfs");
    let kernel = take_kernel(&tree, &work.path().join("vmlinuz"))?;
    take_xen(&tree, &work.path().join("xen.elf"))?;
    let initramfs = work.path().join("dom0.cpio.gz");
    let libraries = dom0::write(&tree, &kernel, &initramfs)?;
    for folder in ["usr/share/doc", "usr/share/man", "usr/share/locale"] {
        // Only room is won by this; a folder that stays does no harm.
        let _ = fs::remove_dir_all(tree.join(folder));
    }
    let modules = dom0::find_modules(&tree, &kernel);
    linux_guest::keep_modules(&modules, &kernel, &work.path().join("linux-guest"))?;
    fs::remove_dir_all(&modules).map_err(LabError::file(&modules))?;

    let names = packages
        .iter()
        .map(|package| format!("{}={}", package.name, package.version))
        .collect();
    let stamp = Stamp {
        format: FORMAT,
        kernel,
        packages: names,
        libraries,
    };
    let path = work.path().join("stamp.json");
    fs::write(&path, serde_json::to_vec_pretty(&stamp).unwrap_or_default())
        .map_err(LabError::file(&path))?;
    let place = cache.join("parts");
    if place.exists() {
        fs::remove_dir_all(&place).map_err(LabError::file(&place))?;
    }
    fs::rename(work.keep(), &place).map_err(LabError::file(&place))?;
    let size = fs::metadata(place.join("dom0.cpio.gz")).map_or(0, |meta| meta.len());
    progress.say(format_args!("the lab is ready: dom0 {}", Bytes(size)));
    Ok(())
}

/// The roots for this release: Xen's and the kernel's versions come from the packages that depend on the newest.
fn look_up(apt: &Apt) -> Result<Vec<Package>, LabError> {
    let mut roots: Vec<String> = ROOTS.iter().map(|name| (*name).to_owned()).collect();
    let newest = |of: &str, prefixes: &[&str]| -> Result<Vec<String>, LabError> {
        let names = apt.depends(&[of.to_owned()])?;
        let pick = |prefix: &&str| {
            let found = names.iter().find(|name| {
                name.starts_with(*prefix) && name.contains(|c: char| c.is_ascii_digit())
            });
            found
                .cloned()
                .ok_or_else(|| LabError::NoPackage(format!("{prefix}VERSION")))
        };
        prefixes.iter().map(pick).collect()
    };
    roots.extend(newest(
        "xen-system-amd64",
        &["xen-hypervisor-", "xen-utils-"],
    )?);
    roots.extend(newest("linux-image-amd64", &["linux-image-"])?);
    apt.closure(&roots)
}

fn unpack(downloads: &Path, tree: &Path, progress: &Progress) -> Result<(), LabError> {
    let mut files: Vec<PathBuf> = fs::read_dir(downloads)
        .map_err(LabError::file(downloads))?
        .flatten()
        .map(|entry| entry.path())
        .collect();
    files.sort();
    progress.say(format_args!("unpacking {} packages", files.len()));
    for file in files
        .iter()
        .filter(|path| path.extension().is_some_and(|ext| ext == "deb"))
    {
        run(
            "dpkg-deb",
            &["-x", &file.to_string_lossy(), &tree.to_string_lossy()],
            "; is the disk full?",
        )?;
    }
    Ok(())
}

fn run(program: &'static str, arguments: &[&str], hint: &'static str) -> Result<(), LabError> {
    let output = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .output()
        .map_err(|_| LabError::MissingTool {
            program,
            package: if program == "dpkg-deb" { "dpkg" } else { "apt" },
        })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr)
        .lines()
        .next()
        .unwrap_or("no message")
        .to_owned();
    Err(LabError::Command {
        command: format!("{program} {}", arguments.join(" ")),
        said,
        hint,
    })
}

fn take_kernel(tree: &Path, target: &Path) -> Result<String, LabError> {
    let boot = tree.join("boot");
    let names = fs::read_dir(&boot)
        .map_err(LabError::file(&boot))?
        .flatten()
        .map(|entry| entry.file_name());
    let mut names =
        names.filter_map(|name| name.to_str()?.strip_prefix("vmlinuz-").map(str::to_owned));
    let kernel = names.next().ok_or_else(|| LabError::MissingPart {
        what: "boot/vmlinuz-VERSION".to_owned(),
    })?;
    fs::copy(boot.join(format!("vmlinuz-{kernel}")), target).map_err(LabError::file(target))?;
    Ok(kernel)
}

/// Debian gzips the hypervisor; QEMU's multiboot loader wants the ELF file inside.
fn take_xen(tree: &Path, target: &Path) -> Result<(), LabError> {
    let boot = tree.join("boot");
    let entries = fs::read_dir(&boot)
        .map_err(LabError::file(&boot))?
        .flatten()
        .map(|entry| entry.path());
    let is_xen = |path: &PathBuf| {
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        name.starts_with("xen-") && name.ends_with("-amd64.gz")
    };
    let mut found: Vec<PathBuf> = entries
        .filter(|path| is_xen(path) && !path.is_symlink())
        .collect();
    found.sort();
    let source = found.pop().ok_or_else(|| LabError::MissingPart {
        what: "boot/xen-VERSION-amd64.gz".to_owned(),
    })?;
    let mut elf = Vec::new();
    let packed = File::open(&source).map_err(LabError::file(&source))?;
    GzDecoder::new(packed)
        .read_to_end(&mut elf)
        .map_err(LabError::file(&source))?;
    fs::write(target, elf).map_err(LabError::file(target))
}
