//! What can go wrong in the lab, each with what to do about it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::failure::Failure;

/// Why the lab did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// A program is not installed.
    #[error("{program} is missing: apt-get install --no-install-recommends {package}")]
    MissingTool {
        /// What was looked for in PATH.
        program: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// A program could not be started or gave up.
    #[error("{command} failed: {said}{hint}")]
    Command {
        /// The command line.
        command: String,
        /// The line that says why.
        said: String,
        /// What to do, with its separator, or nothing.
        hint: &'static str,
    },
    /// The release at hand has no such package.
    #[error(
        "the apt sources of this machine have no package {0}: the lab needs main of Debian 12 or later for amd64"
    )]
    NoPackage(String),
    /// A downloaded package lacks what the lab needs from it.
    #[error(
        "{what} is not in the packages of this release; `grantflow lab clean` and fetch again, or report it"
    )]
    MissingPart {
        /// What was looked for.
        what: String,
    },
    /// What a Linux guest is made of is not on this machine.
    #[error("{what}: not on this machine; apt-get install --no-install-recommends {packages}")]
    NotHere {
        /// What was looked for.
        what: String,
        /// The Debian packages that have it.
        packages: String,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}{}", hint(source))]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// QEMU ended before the job did.
    #[error("QEMU ended before the job ({status}); its last lines:\n{tail}")]
    Died {
        /// How it ended.
        status: String,
        /// The last lines of its console and of its standard error.
        tail: String,
    },
    /// The job took longer than it was given.
    #[error("no end after {} s (--timeout); the console's last lines:\n{tail}", limit.as_secs())]
    Timeout {
        /// What it was given.
        limit: Duration,
        /// The last lines of the console.
        tail: String,
    },
    /// Ctrl-C, or a request to terminate.
    #[error("interrupted; the lab is stopped and its files are removed")]
    Interrupted,
    /// The job's folder is not a job.
    #[error("{0}")]
    Job(String),
}

impl LabError {
    /// For `map_err`: an error about this file.
    pub fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}

/// What the user gave is wrong, or the work failed.
pub fn by_blame(error: LabError) -> Failure {
    match error {
        LabError::Job(_) => Failure::input(error),
        other => Failure::failed(other),
    }
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            " (make room, or point TMPDIR and XDG_CACHE_HOME to a larger disk)"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_says_what_to_do() {
        let full = LabError::file("/tmp/x")(io::ErrorKind::StorageFull.into());
        assert!(full.to_string().contains("TMPDIR"), "{full}");
        let other = LabError::file("/tmp/x")(io::ErrorKind::NotFound.into());
        assert!(!other.to_string().contains("TMPDIR"), "{other}");
    }
}
