//! Debian's packages: which ones this release has, and a verified download of them.
//!
//! `apt-get download` needs no root, and apt checks each file against the signed lists of the release.

use std::collections::{BTreeMap, BTreeSet};
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

/// `roots` and every library (section `libs`) that they need, directly or not.
pub fn closure(roots: &[String]) -> Result<Vec<Package>, LabError> {
    let mut found: BTreeMap<String, Package> = BTreeMap::new();
    let mut wanted: BTreeSet<String> = roots.iter().cloned().collect();
    while !wanted.is_empty() {
        let names: Vec<String> = wanted.into_iter().collect();
        let shown = show(&names)?;
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
        wanted = depends(&names)?
            .into_iter()
            .filter(|name| !found.contains_key(name))
            .collect();
    }
    Ok(found.into_values().collect())
}

/// The direct dependencies of these packages.
pub fn depends(names: &[String]) -> Result<Vec<String>, LabError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let flags = [
        "--no-recommends",
        "--no-suggests",
        "--no-conflicts",
        "--no-breaks",
        "--no-replaces",
        "--no-enhances",
    ];
    let text = apt_cache(&[&["depends"][..], &flags].concat(), names)?;
    Ok(parse_depends(&text))
}

fn show(names: &[String]) -> Result<Vec<Package>, LabError> {
    Ok(parse_show(&apt_cache(
        &["show", "--no-all-versions"],
        names,
    )?))
}

fn apt_cache(arguments: &[&str], names: &[String]) -> Result<String, LabError> {
    let output = Command::new("apt-cache")
        .args(arguments)
        .args(names)
        .env("LC_ALL", "C")
        .stderr(Stdio::null())
        .output()
        .map_err(|_| LabError::MissingTool {
            program: "apt-cache",
            package: "apt",
        })?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
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

/// Downloads these packages into `into`, telling how far it is.
pub fn download(packages: &[Package], into: &Path, progress: &Progress) -> Result<(), LabError> {
    let total: u64 = packages.iter().map(|package| package.size).sum();
    progress.say(format_args!(
        "downloading {} Debian packages, {}, once",
        packages.len(),
        Bytes(total)
    ));
    let mut command = Command::new("apt-get");
    command
        .args(["download", "-q"])
        .env("LC_ALL", "C")
        .current_dir(into)
        .stdin(Stdio::null());
    if rustix::process::geteuid().is_root() {
        // apt's own user cannot write into a root user's cache folder; apt would warn and go on as root.
        command.args(["-o", "APT::Sandbox::User=root"]);
    }
    command.args(
        packages
            .iter()
            .map(|package| format!("{}={}", package.name, package.version)),
    );
    let said = tempfile::tempfile().map_err(LabError::file(std::env::temp_dir()))?;
    let stderr = said
        .try_clone()
        .map_err(LabError::file(std::env::temp_dir()))?;
    let mut child = command
        .stdout(Stdio::null())
        .stderr(stderr)
        .spawn()
        .map_err(|_| LabError::MissingTool {
            program: "apt-get",
            package: "apt",
        })?;
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
    Err(download_failure(&read_back(said)))
}

fn read_back(mut file: std::fs::File) -> String {
    use std::io::{Read, Seek};
    let mut bytes = Vec::new();
    // What apt said only explains a failure that is reported anyway.
    let _ = file.rewind().and_then(|()| file.read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

fn download_failure(said: &str) -> LabError {
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
        "; run `apt-get update` as root and try again"
    };
    LabError::Command {
        command: "apt-get download".to_owned(),
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
        let message = download_failure(text).to_string();
        assert!(
            message.contains("Could not resolve") && message.contains("no network?"),
            "{message}"
        );
    }
}
