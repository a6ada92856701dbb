//! The rim towards dom0: one trait, and the one implementation that starts processes and speaks to xenstored.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;

use vchan_linux::xen::DomainInfo;

use super::hypervisor::Hypervisor;
use super::store::Direct;
use super::toolstack::HostInfo;

/// Where Xen's programs stand on Debian, elsewhere, and when built from source; searched after `PATH`.
const XEN_FOLDERS: [&str; 6] = [
    "/usr/lib/xen/bin",
    "/usr/libexec/xen/bin",
    "/usr/sbin",
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/local/lib/xen/bin",
];

/// What is called on in dom0.
pub trait Tools {
    /// Runs `program` with `arguments` and returns what it printed on standard output.
    fn run(&self, program: &'static str, arguments: &[&str]) -> Result<Vec<u8>, ToolError>;

    /// The way to xenstore that needs no program, where there is one.
    fn xenstore(&self) -> Result<Option<&Direct>, ToolError> {
        Ok(None)
    }

    /// Xen's own word on its domains, by number; none where it cannot be asked without a program.
    fn domains(&self) -> Result<Option<Vec<DomainInfo>>, ToolError> {
        Ok(None)
    }

    /// The same on the host.
    fn host(&self) -> Result<Option<HostInfo>, ToolError> {
        Ok(None)
    }
}

impl<T: Tools + ?Sized> Tools for &T {
    fn run(&self, program: &'static str, arguments: &[&str]) -> Result<Vec<u8>, ToolError> {
        (**self).run(program, arguments)
    }

    fn xenstore(&self) -> Result<Option<&Direct>, ToolError> {
        (**self).xenstore()
    }

    fn domains(&self) -> Result<Option<Vec<DomainInfo>>, ToolError> {
        (**self).domains()
    }

    fn host(&self) -> Result<Option<HostInfo>, ToolError> {
        (**self).host()
    }
}

/// Why a program did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// It is not on this machine.
    #[error(
        "cannot find `{0}`: this must run as root in a Xen dom0 (Debian: apt-get install xen-utils-common xenstore-utils)"
    )]
    Missing(&'static str),
    /// It could not be started.
    #[error("cannot start `{program}`")]
    Start {
        /// Its name.
        program: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// It ended with an error.
    #[error("`{command}` failed ({status}): {said}")]
    Failed {
        /// Its command line.
        command: String,
        /// How it ended.
        status: String,
        /// What it printed on standard error, or a word that it printed nothing.
        said: String,
    },
    /// It did not end in time and was killed.
    #[error("`{command}` did not end within {seconds} s and was killed")]
    TimedOut {
        /// Its command line.
        command: String,
        /// How long it had.
        seconds: u64,
    },
    /// The user asked to stop (Ctrl-C or a signal).
    #[error("stopped by a signal")]
    Stopped,
}

/// Programs of the machine this runs on.
#[derive(Debug, Clone)]
pub struct SystemTools {
    stop: Arc<AtomicBool>,
    patience: Duration,
    xenstore: Arc<Direct>,
    hypervisor: Arc<Hypervisor>,
}

impl SystemTools {
    /// `stop` becomes true when the user asks to stop; a program that runs longer than `patience` is killed.
    pub fn new(stop: Arc<AtomicBool>, patience: Duration) -> Self {
        Self {
            stop,
            patience,
            xenstore: Arc::default(),
            hypervisor: Arc::default(),
        }
    }

    /// The same programs for cleaning up: no stop is heeded any more.
    pub fn for_cleanup(&self) -> Self {
        Self {
            stop: Arc::default(),
            ..self.clone()
        }
    }

    fn go_on(&self) -> Result<(), ToolError> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(ToolError::Stopped);
        }
        Ok(())
    }
}

impl Tools for SystemTools {
    fn run(&self, program: &'static str, arguments: &[&str]) -> Result<Vec<u8>, ToolError> {
        let path = find(program).ok_or(ToolError::Missing(program))?;
        let start = |source| ToolError::Start { program, source };
        // A group of its own: Ctrl-C on the terminal must not end `xl` half-way through building a domain.
        let mut child = Command::new(path)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(start)?;
        let deadline = Instant::now() + self.patience;
        let (output, errors) = drain(&mut child, deadline).map_err(start)?;
        let status = loop {
            if let Some(status) = child.try_wait().map_err(start)? {
                break status;
            }
            if Instant::now() >= deadline {
                let _ = child.kill();
                let _ = child.wait();
                return Err(ToolError::TimedOut {
                    command: spell(program, arguments),
                    seconds: self.patience.as_secs(),
                });
            }
            thread::sleep(Duration::from_millis(1));
        };
        self.go_on()?;
        if !status.success() {
            return Err(ToolError::Failed {
                command: spell(program, arguments),
                status: status.to_string(),
                said: last_words(&errors),
            });
        }
        Ok(output)
    }

    fn xenstore(&self) -> Result<Option<&Direct>, ToolError> {
        self.go_on()?;
        Ok(Some(&self.xenstore))
    }

    fn domains(&self) -> Result<Option<Vec<DomainInfo>>, ToolError> {
        self.go_on()?;
        Ok(self.hypervisor.domains())
    }

    fn host(&self) -> Result<Option<HostInfo>, ToolError> {
        self.go_on()?;
        Ok(self.hypervisor.host())
    }
}

/// Finds a program in `PATH` or in the folders where Xen's own programs stand.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let versioned = std::fs::read_dir("/usr/lib")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            // Debian keeps one folder a version: /usr/lib/xen-4.17/bin.
            entry
                .file_name()
                .to_str()?
                .starts_with("xen-")
                .then(|| entry.path().join("bin"))
        });
    std::env::split_paths(&path)
        .chain(XEN_FOLDERS.iter().map(PathBuf::from))
        .chain(versioned)
        .map(|folder| folder.join(program))
        .find(|file| is_program(file))
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// What a program prints on standard output and standard error until it has closed both, or time is up.
fn drain(child: &mut Child, deadline: Instant) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let mut pipes = [
        child
            .stdout
            .take()
            .map(|pipe| File::from(OwnedFd::from(pipe))),
        child
            .stderr
            .take()
            .map(|pipe| File::from(OwnedFd::from(pipe))),
    ];
    for pipe in pipes.iter().flatten() {
        fcntl_setfl(pipe, OFlags::NONBLOCK)?;
    }
    let mut read = [Vec::new(), Vec::new()];
    loop {
        for (pipe, bytes) in pipes.iter_mut().zip(&mut read) {
            match pipe.as_mut().map(|open| open.read_to_end(bytes)) {
                Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Another error is the end of the pipe for us: what arrived before it is what there is.
                _ => *pipe = None,
            }
        }
        let mut open: Vec<PollFd<'_>> = pipes
            .iter()
            .flatten()
            .map(|pipe| PollFd::new(pipe, PollFlags::IN))
            .collect();
        let left = deadline.saturating_duration_since(Instant::now());
        if open.is_empty() || left.is_zero() {
            return Ok(read.into());
        }
        match poll(&mut open, Timespec::try_from(left).ok().as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn spell(program: &str, arguments: &[&str]) -> String {
    std::iter::once(program)
        .chain(arguments.iter().copied())
        .collect::<Vec<_>>()
        .join(" ")
}

/// The first line of an error stream, where libxl and libxc name the cause; what follows are its consequences.
fn last_words(errors: &[u8]) -> String {
    let text = String::from_utf8_lossy(errors);
    text.lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or("it said nothing")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tools(milliseconds: u64) -> SystemTools {
        SystemTools::new(Arc::default(), Duration::from_millis(milliseconds))
    }

    #[test]
    fn what_a_program_prints_comes_back() {
        let output = tools(60_000).run("printf", &["%s|", "a b", "c"]);
        assert_eq!(output.ok().as_deref(), Some(b"a b|c|".as_slice()));
    }

    #[test]
    fn the_first_line_of_the_errors_is_the_reason() {
        let error = tools(60_000).run(
            "sh",
            &[
                "-c",
                "echo; echo 'no memory' >&2; echo 'gave up' >&2; exit 3",
            ],
        );
        let Err(ToolError::Failed { status, said, .. }) = error else {
            panic!("{error:?}")
        };
        assert_eq!(said, "no memory");
        assert!(status.contains('3'), "{status}");
    }

    #[test]
    fn much_on_both_streams_comes_back_whole() {
        let script =
            "head -c 300000 /dev/zero >&2; head -c 200000 /dev/zero; exec >&- 2>&-; sleep 0.05";
        let output = tools(60_000).run("sh", &["-c", script]);
        assert_eq!(output.unwrap().len(), 200_000);
    }

    #[test]
    fn what_a_program_leaves_behind_is_not_waited_for_beyond_the_time() {
        let output = tools(300).run("sh", &["-c", "echo done; sleep 5 &"]);
        assert_eq!(output.ok().as_deref(), Some(b"done\n".as_slice()));
    }

    #[test]
    fn c5_a_program_that_hangs_is_killed() {
        let started = Instant::now();
        assert!(matches!(
            tools(50).run("sleep", &["3600"]),
            Err(ToolError::TimedOut { .. })
        ));
        assert!(started.elapsed() < Duration::from_secs(600));
    }

    #[test]
    fn c5_a_missing_program_says_where_to_run() {
        let error = tools(60_000).run("grantflow-no-such-program", &[]);
        assert!(matches!(
            error,
            Err(ToolError::Missing("grantflow-no-such-program"))
        ));
    }

    #[test]
    fn a_stop_that_came_meanwhile_ends_the_work_but_not_the_cleanup() {
        let stop = Arc::new(AtomicBool::new(true));
        let tools = SystemTools::new(stop, Duration::from_secs(60));
        assert!(matches!(tools.run("true", &[]), Err(ToolError::Stopped)));
        assert!(tools.for_cleanup().run("true", &[]).is_ok());
    }
}
