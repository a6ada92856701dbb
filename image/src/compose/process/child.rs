//! The process of one stage.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use super::kept::Kept;
use super::nest::{self, Ended, Nest};
use super::proc::ProcessId;
use crate::compose::plan::Planned;
use crate::lab::qemu::printable;
use crate::output;
use crate::xl::BootInputError;

/// The longest line of a console that is shown in one piece.
const LINE_MAX: u64 = 64 << 10;

/// Where the lines of consoles go.
pub type Show = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// Why a stage has no process.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The program cannot be run.
    #[error("cannot start {program}: {source}")]
    Program {
        /// Which.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// What it prints cannot be kept.
    #[error("{path}: {source}")]
    Console {
        /// Where.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// It cannot be told what to do.
    #[error(transparent)]
    Input(#[from] BootInputError),
}

/// A stage that was started. Killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    id: ProcessId,
    /// How it ended, once that is known.
    ended: Option<Ended>,
    consoles: Vec<JoinHandle<()>>,
}

impl Running {
    /// Starts the program of a stage, from a folder of programs, on a pipeline's folder. It ends with the thread that calls this.
    pub fn start(
        stage: &Planned,
        programs: &Path,
        nest: &Nest,
        show: &Show,
    ) -> Result<Self, StartError> {
        let app = stage.image.file_stem().unwrap_or_default();
        let program = programs.join(app);
        let failed = |source| StartError::Program {
            program: program.display().to_string(),
            source,
        };
        let console = nest::console(nest.path(), &stage.stage);
        let kept = Kept::open(&console).map_err(|source| StartError::Console {
            path: console.display().to_string(),
            source,
        })?;
        let kept = Arc::new(Mutex::new(kept));
        let archive = nest.path().join(format!(".{}.tar", stage.stage));
        let boot = stage.input.prepare(&archive)?;
        let mut command = Command::new(&program);
        command.arg("--keys").arg(nest.keys(&stage.stage));
        command.arg("--meet").arg(nest.meet());
        command.args(["--parent", &std::process::id().to_string()]);
        if let Some(module) = &boot.ramdisk {
            command.arg("--module").arg(module);
        }
        // In the archive, where there is one with parameters.
        if !boot.extra.is_empty() {
            let words = stage.input.parameters.iter();
            command.args(words.map(|(key, value)| format!("{key}={value}")));
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // Ctrl-C on the terminal is for us, who end the stages in their order.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().map_err(failed)?;
        let pid = i32::try_from(child.id()).unwrap_or_default();
        let id = ProcessId::of(pid).unwrap_or(ProcessId { pid, started: 0 });
        let console = |file: Option<Box<dyn Read + Send>>| {
            file.map(|file| shower(file, &stage.stage, &kept, show))
        };
        let stdout = child.stdout.take().map(|file| Box::new(file) as _);
        let stderr = child.stderr.take().map(|file| Box::new(file) as _);
        let consoles = [stdout, stderr].into_iter().filter_map(console).collect();
        Ok(Self {
            child,
            id,
            ended: None,
            consoles,
        })
    }

    /// Which process it is.
    pub fn id(&self) -> ProcessId {
        self.id
    }

    /// How it has ended, if it has. What it used is read before its parent, who we are, has the kernel forget it.
    pub fn ended(&mut self) -> io::Result<Option<&Ended>> {
        if self.ended.is_none() && self.has_ended()? {
            let usage = self.id.usage().unwrap_or_default();
            let status = self.child.wait()?;
            self.ended = Some(Ended {
                fault: (!status.success()).then(|| status.to_string()),
                cpu_seconds: usage.cpu_seconds,
            });
        }
        Ok(self.ended.as_ref())
    }

    fn has_ended(&self) -> io::Result<bool> {
        let Some(pid) = Pid::from_raw(self.id.pid) else {
            return Ok(true);
        };
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        Ok(waitid(WaitId::Pid(pid), look)?.is_some())
    }

    /// Asks it to end in order.
    pub fn ask(&self) {
        self.signal(Signal::TERM);
    }

    /// Ends it.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Until its end was asked for, its number is nobody else's.
    fn signal(&self, signal: Signal) {
        if let (None, Some(pid)) = (&self.ended, Pid::from_raw(self.id.pid)) {
            // One that has ended meanwhile needs none.
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
        // Both come to an end: it is dead, and with it the other ends of its pipes.
        let _ = self.child.wait();
        for console in self.consoles.drain(..) {
            let _ = console.join();
        }
    }
}

fn shower(
    file: impl Read + Send + 'static,
    stage: &str,
    kept: &Arc<Mutex<Kept>>,
    show: &Show,
) -> JoinHandle<()> {
    let (stage, kept, show) = (stage.to_owned(), Arc::clone(kept), Arc::clone(show));
    thread::spawn(move || {
        each_line(BufReader::new(file), |line| {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = kept.add(line) {
                output::tell(format_args!(
                    "what {stage} prints is not kept for `grantflow logs`: {error}"
                ));
            }
            drop(kept);
            show(&stage, line);
        });
    })
}

/// Every line, without what would steer a terminal; one that is too long comes in pieces.
fn each_line(mut file: impl BufRead, mut each: impl FnMut(&str)) {
    let mut line = Vec::new();
    loop {
        line.clear();
        match file.by_ref().take(LINE_MAX).read_until(b'\n', &mut line) {
            Ok(1..) => each(&printable(&line)),
            Ok(0) => return,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_and_cannot_steer_and_one_without_end_comes_in_pieces() {
        let mut text = b"one\n\x1b[2Jtwo\r\n".to_vec();
        text.extend(std::iter::repeat_n(b'x', 3 * LINE_MAX as usize / 2));
        let mut lines = Vec::new();
        each_line(&text[..], |line| lines.push(line.to_owned()));
        assert_eq!(lines[..2], ["one", "two"]);
        let lengths: Vec<usize> = lines[2..].iter().map(String::len).collect();
        assert_eq!(lengths, [LINE_MAX as usize, LINE_MAX as usize / 2]);
    }
}
