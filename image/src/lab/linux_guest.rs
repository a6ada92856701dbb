//! A Linux guest to meet or to measure beside a unikernel: the kernel of dom0, and one small initramfs without a disk.
//!
//! A job finds it at `linux-guest/vmlinuz` and `linux-guest/initramfs`. Its command line says what it does
//! (`linux-guest.sh` reads it): with `address=A.B.C.D/N` it has a network, `program="COMMAND..."` it runs in a shell and powers
//! off. Without a program it does what dom0 tells it through xenstore.
//!
//! In the lab it is made of the [`Parts`], on a real dom0 of what is installed there ([`Guest::at_hand`]).
//!
//! The kernel is Debian's, with its defaults; `mitigations=off` as in dom0 is the caller's to add. Nothing else runs in the
//! guest while the program does.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::cpio::Archive;
use super::dom0::find;
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

/// Programs that it has beside busybox, each with its package: orders come through xenstore, and what an interface may do for
/// the kernel is switched by ethtool.
const PROGRAMS: [(&str, &str); 2] = [
    ("usr/bin/xenstore", "xenstore-utils"),
    ("sbin/ethtool", "ethtool"),
];

/// What a Linux guest is made of.
#[derive(Debug)]
pub struct Guest {
    kernel: PathBuf,
    busybox: PathBuf,
    programs: Vec<PathBuf>,
    /// Place in its root → content.
    modules: BTreeMap<String, Vec<u8>>,
    search: Search,
}

/// Adds the guest to a job, with these programs of the host in its `/bin`.
pub fn add(job: &mut Job, parts: &Parts, programs: &[PathBuf]) -> Result<(), LabError> {
    let guest = Guest::of_parts(parts)?;
    job.file("linux-guest/vmlinuz", guest.kernel())?;
    job.bytes("linux-guest/initramfs", 0o644, &guest.initramfs(programs)?);
    Ok(())
}

impl Guest {
    /// Of the lab's parts where they are in the cache, else of what is installed on this machine, a dom0.
    pub fn at_hand() -> Result<Self, LabError> {
        match Parts::cached() {
            Some(parts) => Self::of_parts(&parts),
            None => {
                let release = rustix::system::uname();
                let release = release.release().to_string_lossy();
                Self::of_machine(Path::new("/"), &release)
            }
        }
    }

    /// Of the lab's parts.
    pub fn of_parts(parts: &Parts) -> Result<Self, LabError> {
        let mut modules = BTreeMap::new();
        read_folder("", &parts.linux_guest(), &mut modules)?;
        let programs = PROGRAMS.iter().map(|(path, _)| parts.program(path));
        Ok(Self {
            kernel: parts.kernel(),
            busybox: parts.program("bin/busybox")?,
            programs: programs.collect::<Result<_, _>>()?,
            modules,
            search: Search::new([parts.tree(), PathBuf::from("/")]),
        })
    }

    /// Of a Debian that is installed below `root`, with the kernel of this release.
    pub fn of_machine(root: &Path, release: &str) -> Result<Self, LabError> {
        let kernel = format!("boot/vmlinuz-{release}");
        let kernel_package = format!("linux-image-{release}");
        let mut wanted = vec![
            (kernel.as_str(), kernel_package.as_str()),
            ("bin/busybox", "busybox-static"),
        ];
        wanted.extend(PROGRAMS);
        let mut found = Vec::new();
        let mut missing = Vec::new();
        for (path, package) in wanted {
            match find(root, path) {
                Some(file) => found.push(file),
                None => missing.push((path, package)),
            }
        }
        let folder = super::dom0::find_modules(root, release);
        let list = fs::read_to_string(folder.join("modules.dep"));
        if list.is_err()
            && !missing
                .iter()
                .any(|(_, package)| *package == kernel_package)
        {
            missing.push(("the kernel's modules", &kernel_package));
        }
        let (Ok(list), true) = (list, missing.is_empty()) else {
            let (what, packages): (Vec<_>, Vec<_>) = missing.into_iter().unzip();
            return Err(LabError::NotHere {
                what: what.join(", "),
                packages: packages.join(" "),
            });
        };
        let built_in = fs::read_to_string(folder.join("modules.builtin")).unwrap_or_default();
        let chosen = modules::select_listed(&list, &built_in, &MODULES);
        let chosen = chosen.map_err(|name| LabError::NotHere {
            what: format!("module {name} of kernel {release}"),
            packages: "linux-image-amd64".to_owned(),
        })?;
        let mut rest = found.into_iter();
        let mut next = || rest.next().unwrap_or_default();
        Ok(Self {
            kernel: next(),
            busybox: next(),
            modules: unpack_modules(&folder, release, &chosen)?,
            programs: rest.collect(),
            search: Search::new([root.to_owned()]),
        })
    }

    /// Its kernel.
    pub fn kernel(&self) -> &Path {
        &self.kernel
    }

    /// Its shell and whatever else is no program of its own.
    pub fn busybox(&self) -> &Path {
        &self.busybox
    }

    /// Its modules: place in its root → content.
    pub fn modules(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.modules
    }

    /// The libraries that these programs of the host need, by name; what is missing is an error.
    pub fn libraries(&self, programs: &[&Path]) -> Result<BTreeMap<String, PathBuf>, LabError> {
        self.search.resolve(programs.iter().copied())
    }

    /// Its root, with these programs of the host in its `/bin`. It is not packed: the lab's job is, and the domain builder takes
    /// it as it is.
    pub fn initramfs(&self, programs: &[PathBuf]) -> Result<Vec<u8>, LabError> {
        let programs = || programs.iter().chain(&self.programs);
        let wrong = || LabError::file("the Linux guest's archive");
        let mut archive = Archive::new(Vec::new());
        archive
            .file("init", 0o755, include_bytes!("linux-guest.sh"))
            .map_err(wrong())?;
        for folder in ["proc", "sys", "dev"] {
            archive.dir(folder).map_err(wrong())?;
        }
        let bytes = fs::read(&self.busybox).map_err(LabError::file(&self.busybox))?;
        archive
            .file("bin/busybox", 0o755, &bytes)
            .map_err(wrong())?;
        // The rest of its commands it finds by itself once its shell runs.
        archive.symlink("bin/sh", "busybox").map_err(wrong())?;
        for (place, bytes) in &self.modules {
            archive.file(place, 0o644, bytes).map_err(wrong())?;
        }
        for program in programs() {
            let name = program.file_name().unwrap_or_default().to_string_lossy();
            let bytes = fs::read(program).map_err(LabError::file(program))?;
            archive
                .file(&format!("bin/{name}"), 0o755, &bytes)
                .map_err(wrong())?;
        }
        // A busybox of another package is not static.
        let all = programs().chain([&self.busybox]);
        for (name, path) in self.search.resolve(all.map(PathBuf::as_path))? {
            let bytes = fs::read(&path).map_err(LabError::file(&path))?;
            archive
                .file(&libraries::place(&name), 0o755, &bytes)
                .map_err(wrong())?;
        }
        archive.finish().map_err(wrong())
    }
}

fn read_folder(
    place: &str,
    source: &Path,
    into: &mut BTreeMap<String, Vec<u8>>,
) -> Result<(), LabError> {
    for (name, entry) in entries(source)? {
        let place = format!("{place}/{name}");
        if entry.is_dir() {
            read_folder(&place, &entry, into)?;
            continue;
        }
        let bytes = fs::read(&entry).map_err(LabError::file(&entry))?;
        into.insert(place, bytes);
    }
    Ok(())
}

/// These modules as busybox loads them, and their `modules.dep`.
fn unpack_modules(
    folder: &Path,
    release: &str,
    chosen: &BTreeMap<String, Vec<String>>,
) -> Result<BTreeMap<String, Vec<u8>>, LabError> {
    let place = format!("lib/modules/{release}");
    let mut files = BTreeMap::new();
    let mut list = BTreeMap::new();
    for (path, needs) in chosen {
        let name = modules::unpacked(path);
        let bytes = unpacked(&folder.join(path))?;
        files.insert(format!("{place}/{name}"), bytes);
        let needs = needs.iter().map(|path| modules::unpacked(path).to_owned());
        list.insert(name.to_owned(), needs.collect());
    }
    let text = modules::dependency_file(&list);
    files.insert(format!("{place}/modules.dep"), text.into_bytes());
    Ok(files)
}

/// The content of a file, unpacked by the program that its name calls for.
fn unpacked(path: &Path) -> Result<Vec<u8>, LabError> {
    let (program, package) = match path.extension().and_then(|end| end.to_str()) {
        Some("xz") => ("xz", "xz-utils"),
        Some("zst") => ("zstd", "zstd"),
        Some("gz") => ("gzip", "gzip"),
        _ => return fs::read(path).map_err(LabError::file(path)),
    };
    let output = Command::new(program)
        .arg("-dc")
        .arg(path)
        .output()
        .map_err(|_| LabError::MissingTool { program, package })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(LabError::Command {
        command: format!("{program} -dc {}", path.display()),
        said: said.lines().next().unwrap_or("no message").to_owned(),
        hint: "",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELEASE: &str = "6.1.0-1-amd64";

    /// A file below a root that looks like a Debian's.
    fn put(root: &Path, path: &str, content: &[u8]) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    #[test]
    fn what_is_missing_is_named_with_its_packages() {
        let root = tempfile::tempdir().unwrap();
        let refused = || {
            let error = Guest::of_machine(root.path(), RELEASE).unwrap_err();
            error.to_string()
        };
        assert_eq!(
            refused(),
            "boot/vmlinuz-6.1.0-1-amd64, bin/busybox, usr/bin/xenstore, sbin/ethtool: not on this machine; apt-get install \
             --no-install-recommends linux-image-6.1.0-1-amd64 busybox-static xenstore-utils ethtool"
        );
        for path in [
            "boot/vmlinuz-6.1.0-1-amd64",
            "usr/bin/busybox",
            "usr/bin/xenstore",
            "usr/sbin/ethtool",
        ] {
            put(root.path(), path, b"no ELF file");
        }
        assert!(
            refused().starts_with("the kernel's modules:"),
            "{}",
            refused()
        );
        put(root.path(), "lib/modules/6.1.0-1-amd64/modules.dep", b"");
        assert!(
            refused().starts_with("module xen-netfront of kernel 6.1.0-1-amd64:"),
            "{}",
            refused()
        );
    }

    #[test]
    fn a_guest_of_this_machine_has_its_modules_unpacked() {
        let root = tempfile::tempdir().unwrap();
        for path in [
            "boot/vmlinuz-6.1.0-1-amd64",
            "bin/busybox",
            "usr/bin/xenstore",
            "sbin/ethtool",
        ] {
            put(root.path(), path, path.as_bytes());
        }
        let place = format!("lib/modules/{RELEASE}");
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packed, b"the front").unwrap();
        put(
            root.path(),
            &format!("{place}/kernel/xen-netfront.ko.gz"),
            &packed.finish().unwrap(),
        );
        put(
            root.path(),
            &format!("{place}/modules.dep"),
            b"kernel/xen-netfront.ko.gz:\n",
        );
        let others = MODULES.map(|name| format!("kernel/{name}.ko\n")).concat();
        put(
            root.path(),
            &format!("{place}/modules.builtin"),
            others.as_bytes(),
        );
        let guest = Guest::of_machine(root.path(), RELEASE).unwrap();
        assert_eq!(
            guest.kernel(),
            root.path().join("boot/vmlinuz-6.1.0-1-amd64")
        );
        let list = &guest.modules[&format!("{place}/modules.dep")];
        assert_eq!(list, b"kernel/xen-netfront.ko: \n");
        let bytes = guest.initramfs(&[]).unwrap();
        let has = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
        for part in [
            "xen-netfront.ko\0",
            "the front",
            "bin/xenstore\0",
            "bin/ethtool\0",
            "bin/busybox\0",
        ] {
            assert!(has(part.as_bytes()), "{part:?}");
        }
    }
}
