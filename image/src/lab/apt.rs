//! Debian's packages: which ones this release has, and a verified download of them.
//!
//! None of it needs root, and apt checks each file against the signed lists of the release.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use super::error::LabError;
use crate::progress::{Bytes, Progress};

/// One package of the release at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// The candidate version.
    pub version: String,
    /// `libs`, `kernel`, `admin`, ...
    pub section: String,
    /// Bytes to download.
    pub size: u64,
}

/// apt with lists of its own, below a folder of ours: those of the machine may be missing or old, an installed package may have
/// left the mirror, and fresh lists need no root this way.
#[derive(Debug)]
pub struct Apt {
    options: Vec<OsString>,
}

impl Apt {
    /// Fetches the lists of the machine's sources into `folder`.
    pub fn update(folder: &Path, progress: &Progress) -> Result<Self, LabError> {
        let (state, cache) = (folder.join("state"), folder.join("cache"));
        for part in [state.join("lists/partial"), cache.join("archives/partial")] {
            fs::create_dir_all(&part).map_err(LabError::file(&part))?;
        }
        let set = |name: &str, value: &OsStr| {
            let mut option = OsString::from(name);
            option.push("=");
            option.push(value);
            [OsString::from("-o"), option]
        };
        let options = [
            set("Dir::State", state.as_os_str()),
            set("Dir::Cache", cache.as_os_str()),
            // What is installed here does not matter: only what can be downloaded does.
            set("Dir::State::status", OsStr::new("/dev/null")),
            set("Acquire::Languages", OsStr::new("none")),
            // apt's own user cannot write into our folder; apt would warn and go on as root.
            set("APT::Sandbox::User", OsStr::new("root")),
        ];
        let apt = Self {
            options: options.into_iter().flatten().collect(),
        };
        progress.say("fetching the lists of Debian's packages");
        let output = apt
            .command("apt-get")
            .args(["update", "-q"])
            .output()
            .map_err(|_| missing("apt-get"))?;
        // A source that has nothing to do with the lab may fail; what the lab needs is looked up next.
        let found = apt.depends(&["xen-system-amd64".to_owned()])?;
        if found.is_empty() && !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(failure("apt-get update", &said));
        }
        Ok(apt)
    }

    fn command(&self, program: &'static str) -> Command {
        let mut command = Command::new(program);
        command
            .args(&self.options)
            .env("LC_ALL", "C")
            .stdin(Stdio::null());
        command
    }

    /// `roots` and every library (section `libs`) that they need, directly or not.
    pub fn closure(&self, roots: &[String]) -> Result<Vec<Package>, LabError> {
        let mut found: BTreeMap<String, Package> = BTreeMap::new();
        let mut wanted: BTreeSet<String> = roots.iter().cloned().collect();
        while !wanted.is_empty() {
            let names: Vec<String> = wanted.into_iter().collect();
            let shown = parse_show(&self.apt_cache(&["show", "--no-all-versions"], &names)?);
            for root in roots.iter().filter(|root| names.contains(root)) {
                if !shown.iter().any(|package| package.name == *root) {
                    return Err(LabError::NoPackage(root.clone()));
                }
            }
            let kept: Vec<Package> = shown
                .into_iter()
                .filter(|package| roots.contains(&package.name) || package.section == "libs")
                .collect();
            let names: Vec<String> = kept.iter().map(|package| package.name.clone()).collect();
            found.extend(
                kept.into_iter()
                    .map(|package| (package.name.clone(), package)),
            );
            wanted = self
                .depends(&names)?
                .into_iter()
                .filter(|name| !found.contains_key(name))
                .collect();
        }
        Ok(found.into_values().collect())
    }

    /// The direct dependencies of these packages.
    pub fn depends(&self, names: &[String]) -> Result<Vec<String>, LabError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let flags = [
            "depends",
            "--no-recommends",
            "--no-suggests",
            "--no-conflicts",
            "--no-breaks",
            "--no-replaces",
            "--no-enhances",
        ];
        Ok(parse_depends(&self.apt_cache(&flags, names)?))
    }

    fn apt_cache(&self, arguments: &[&str], names: &[String]) -> Result<String, LabError> {
        let output = self
            .command("apt-cache")
            .args(arguments)
            .args(names)
            .stderr(Stdio::null())
            .output()
            .map_err(|_| missing("apt-cache"))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Downloads these packages into `into`, telling how far it is.
    pub fn download(
        &self,
        packages: &[Package],
        into: &Path,
        progress: &Progress,
    ) -> Result<(), LabError> {
        let total: u64 = packages.iter().map(|package| package.size).sum();
        progress.say(format_args!(
            "downloading {} Debian packages, {}, once",
            packages.len(),
            Bytes(total)
        ));
        let said = tempfile::tempfile().map_err(LabError::file(std::env::temp_dir()))?;
        let stderr = said
            .try_clone()
            .map_err(LabError::file(std::env::temp_dir()))?;
        let mut child = self
            .command("apt-get")
            .args(["download", "-q"])
            .args(
                packages
                    .iter()
                    .map(|package| format!("{}={}", package.name, package.version)),
            )
            .current_dir(into)
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .map_err(|_| missing("apt-get"))?;
        let mut ticks = 0u32;
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) => thread::sleep(Duration::from_millis(100)),
                Err(error) => return Err(LabError::file("apt-get")(error)),
            }
            ticks += 1;
            if ticks.is_multiple_of(50) {
                progress.say(format_args!(
                    "downloading: {} of {}",
                    Bytes(folder_size(into)),
                    Bytes(total)
                ));
            }
        };
        if status.success() {
            return Ok(());
        }
        Err(failure("apt-get download", &read_back(said)))
    }
}

fn missing(program: &'static str) -> LabError {
    LabError::MissingTool {
        program,
        package: "apt",
    }
}

fn parse_depends(text: &str) -> Vec<String> {
    let names = text.lines().filter_map(|line| {
        let line = line.trim_start().trim_start_matches('|');
        let name = line
            .strip_prefix("Depends: ")
            .or_else(|| line.strip_prefix("PreDepends: "))?;
        let virtual_package = name.starts_with('<');
        (!virtual_package).then(|| name.split(':').next().unwrap_or(name).to_owned())
    });
    names.collect::<BTreeSet<_>>().into_iter().collect()
}

fn parse_show(text: &str) -> Vec<Package> {
    let field = |stanza: &str, key: &str| {
        stanza
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
            .map(|value| value.trim().to_owned())
    };
    let stanzas = text.split("\n\n").filter_map(|stanza| {
        Some(Package {
            name: field(stanza, "Package")?,
            version: field(stanza, "Version")?,
            section: field(stanza, "Section").unwrap_or_default(),
            size: field(stanza, "Size")
                .and_then(|size| size.parse().ok())
                .unwrap_or(0),
        })
    });
    stanzas.collect()
}

fn read_back(mut file: std::fs::File) -> String {
    use std::io::{Read, Seek};
    let mut bytes = Vec::new();
    // What apt said only explains a failure that is reported anyway.
    let _ = file.rewind().and_then(|()| file.read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

fn failure(command: &str, said: &str) -> LabError {
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("E:")).collect();
    let line = errors
        .first()
        .copied()
        .or_else(|| said.lines().last())
        .unwrap_or("no message")
        .trim();
    let hint = if said.contains("resolv") || said.contains("onnect") || said.contains("unreachable")
    {
        "; no network? The lab needs Debian's mirror once, then never again"
    } else if said.contains("No space left") {
        "; make room, or point XDG_CACHE_HOME to a larger disk"
    } else {
        "; the sources of apt on this machine must have Debian's main"
    };
    LabError::Command {
        command: command.to_owned(),
        said: line.to_owned(),
        hint,
    }
}

fn folder_size(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .filter_map(|entry| entry.metadata().ok())
        .map(|meta| meta.len())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_real_packages_without_architecture() {
        let text = "xen-utils-4.17\n  Depends: libc6\n |Depends: sysvinit-utils\n  PreDepends: libtinfo6\n  \
                    Depends: <python3:any>\n    python3\n  Depends: python3:any\n  Recommends: grub\n  Depends: libc6\n";
        assert_eq!(
            parse_depends(text),
            ["libc6", "libtinfo6", "python3", "sysvinit-utils"]
        );
    }

    #[test]
    fn stanzas_become_packages() {
        let text = "Package: libc6\nVersion: 2.36-9\nSection: libs\nSize: 2757\nDescription: GNU\n x\n\nPackage: a\n\
                    Version: 1:2\n\n\nbroken\n";
        assert_eq!(
            parse_show(text),
            [
                Package {
                    name: "libc6".into(),
                    version: "2.36-9".into(),
                    section: "libs".into(),
                    size: 2757
                },
                Package {
                    name: "a".into(),
                    version: "1:2".into(),
                    section: String::new(),
                    size: 0
                },
            ]
        );
    }

    #[test]
    fn a_failed_download_names_its_likely_cause() {
        let text = "W: x\nE: Failed to fetch http://deb/x  Could not resolve 'deb'\nE: Unable to fetch some archives\n";
        let message = failure("apt-get download", text).to_string();
        assert!(
            message.contains("Could not resolve") && message.contains("no network?"),
            "{message}"
        );
    }
}
