//! The rim towards other programs: one trait, and the one implementation that starts processes.

use std::io::Read;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Where Xen's programs stand on Debian, elsewhere, and when built from source; searched after `PATH`.
const XEN_FOLDERS: [&str; 6] = [
    "/usr/lib/xen/bin",
    "/usr/libexec/xen/bin",
    "/usr/sbin",
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/local/lib/xen/bin",
];

/// Runs one program to its end.
pub trait Tools {
    /// Runs `program` with `arguments` and returns what it printed on standard output.
    fn run(&self, program: &'static str, arguments: &[&str]) -> Result<Vec<u8>, ToolError>;
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
}

impl SystemTools {
    /// `stop` becomes true when the user asks to stop; a program that runs longer than `patience` is killed.
    pub fn new(stop: Arc<AtomicBool>, patience: Duration) -> Self {
        Self { stop, patience }
    }

    /// The same programs for cleaning up: no stop is heeded any more.
    pub fn for_cleanup(&self) -> Self {
        Self {
            stop: Arc::default(),
            patience: self.patience,
        }
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
        let output = child
            .stdout
            .take()
            .map(|pipe| thread::spawn(move || drain(pipe)));
        let errors = child
            .stderr
            .take()
            .map(|pipe| thread::spawn(move || drain(pipe)));
        let deadline = Instant::now() + self.patience;
        let status = loop {
            if let Some(status) = child.try_wait().map_err(start)? {
                break status;
            }
            let timed_out = Instant::now() >= deadline;
            if timed_out {
                let _ = child.kill();
                let _ = child.wait();
                return Err(ToolError::TimedOut {
                    command: spell(program, arguments),
                    seconds: self.patience.as_secs(),
                });
            }
            thread::sleep(Duration::from_millis(5));
        };
        let collected = |thread: Option<thread::JoinHandle<Vec<u8>>>| {
            thread.and_then(|t| t.join().ok()).unwrap_or_default()
        };
        let (output, errors) = (collected(output), collected(errors));
        if self.stop.load(Ordering::Relaxed) {
            return Err(ToolError::Stopped);
        }
        if !status.success() {
            return Err(ToolError::Failed {
                command: spell(program, arguments),
                status: status.to_string(),
                said: last_words(&errors),
            });
        }
        Ok(output)
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

fn drain(mut pipe: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    // An error here is the end of the pipe for us: what arrived before it is what there is.
    let _ = pipe.read_to_end(&mut bytes);
    bytes
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
    fn a_program_that_hangs_is_killed() {
        let started = Instant::now();
        assert!(matches!(
            tools(50).run("sleep", &["3600"]),
            Err(ToolError::TimedOut { .. })
        ));
        assert!(started.elapsed() < Duration::from_secs(600));
    }

    #[test]
    fn a_missing_program_says_where_to_run() {
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
