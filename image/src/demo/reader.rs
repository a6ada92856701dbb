//! The foreign end of the result edge: Debian's `vchan-socket-proxy`, a program over libxenvchan, as the vchan server
//! that reads the aggregator's output and writes the bytes to its standard output.
//!
//! What was seen of that program, and is allowed for here:
//!
//! * An end of file on its standard input ends it at once, so the pipe stays open as long as it shall read.
//! * It looks at its ring only after an event. A writer that connects and writes before the program has come back
//!   from its wait merges both events into one, and the data stays unseen. A byte on standard input makes it look;
//!   the byte travels to the writer, which ignores what its reader sends ([`ForeignReader::nudge`]).
//! * At the writer's close it drops what still stands in the ring, closes its output and ends with status 0.
//! * Killed, it leaves its keys in xenstore; [`ForeignReader::keys`] says where they are.

use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::xl::DomId;
use crate::xl::tools;

/// The program, part of Debian's `xen-utils-*`.
const PROGRAM: &str = "vchan-socket-proxy";

/// Nudges that fit into the ring towards the writer (2,048 bytes) with room to spare.
const NUDGES_MAX: u32 = 1_024;

/// What the reader has to say.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// Bytes that crossed the vchan, and when they were here.
    Bytes(Instant, Vec<u8>),
    /// Nothing within the time given.
    Silence,
    /// The writer closed, or the program ended.
    Closed,
}

/// Why the foreign end failed.
#[derive(Debug, thiserror::Error)]
pub enum ReaderError {
    /// It is not installed.
    #[error(
        "cannot find {PROGRAM}, which reads the results from the vchan: apt-get install xen-utils-4.17 (or your release's)"
    )]
    Missing,
    /// It could not be started or waited for.
    #[error("cannot run {PROGRAM}")]
    Process(#[from] std::io::Error),
    /// It ended with an error.
    #[error("{PROGRAM} failed ({status}): {said}")]
    Failed {
        /// How it ended.
        status: String,
        /// What it printed on standard error.
        said: String,
    },
}

/// A running `vchan-socket-proxy -m server`.
#[derive(Debug)]
pub struct ForeignReader {
    child: Child,
    input: Option<ChildStdin>,
    chunks: Receiver<(Instant, Vec<u8>)>,
    complaints: Option<JoinHandle<String>>,
    nudges: u32,
}

impl ForeignReader {
    /// The folder of the rendezvous keys of all edges from `writer` to dom0.
    pub fn keys(writer: DomId) -> String {
        format!("/local/domain/0/data/vchan/{writer}")
    }

    /// Offers the edge to `writer` and begins to read.
    pub fn start(writer: DomId, edge: &str) -> Result<Self, ReaderError> {
        let program = tools::find(PROGRAM).ok_or(ReaderError::Missing)?;
        let mut command = Command::new(program);
        command.args([
            "-m",
            "server",
            &writer.to_string(),
            &format!("{}/{edge}", Self::keys(writer)),
            "-",
        ]);
        Self::spawn(&mut command)
    }

    fn spawn(command: &mut Command) -> Result<Self, ReaderError> {
        // A group of its own: Ctrl-C reaches this tool alone, which then ends the program itself.
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let (sender, chunks) = sync_channel(64);
        if let Some(output) = child.stdout.take() {
            thread::spawn(move || forward(output, &sender));
        }
        let complaints = child
            .stderr
            .take()
            .map(|errors| thread::spawn(move || collect(errors)));
        let input = child.stdin.take();
        Ok(Self {
            child,
            input,
            chunks,
            complaints,
            nudges: 0,
        })
    }

    /// Waits up to `patience` for what comes next.
    pub fn next(&mut self, patience: Duration) -> Heard {
        match self.chunks.recv_timeout(patience) {
            Ok((at, bytes)) => Heard::Bytes(at, bytes),
            Err(RecvTimeoutError::Timeout) => Heard::Silence,
            Err(RecvTimeoutError::Disconnected) => Heard::Closed,
        }
    }

    /// How often it was nudged.
    pub fn nudges(&self) -> u32 {
        self.nudges
    }

    /// Makes the program look at its ring although no event came; how often it was done so far.
    pub fn nudge(&mut self) -> u32 {
        if let Some(input) = self.input.as_mut().filter(|_| self.nudges < NUDGES_MAX) {
            // The pipe holds more than all nudges together; an error means the program has ended, which `next` tells.
            let _ = input.write_all(b"\n");
            self.nudges += 1;
        }
        self.nudges
    }

    /// Waits for the end of a program that has closed its output, and says whether it ended well.
    pub fn finish(&mut self, patience: Duration) -> Result<(), ReaderError> {
        let deadline = Instant::now() + patience;
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if Instant::now() >= deadline {
                let said = format!(
                    "it did not end within {} s of closing its output",
                    patience.as_secs()
                );
                return Err(ReaderError::Failed {
                    status: "still running".into(),
                    said,
                });
            }
            thread::sleep(Duration::from_millis(10));
        };
        if status.success() {
            return Ok(());
        }
        let said = self
            .complaints
            .take()
            .and_then(|thread| thread.join().ok())
            .unwrap_or_default();
        Err(ReaderError::Failed {
            status: status.to_string(),
            said,
        })
    }
}

impl Drop for ForeignReader {
    fn drop(&mut self) {
        // Both fail only when the program has ended and was waited for already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn forward(mut output: ChildStdout, sender: &SyncSender<(Instant, Vec<u8>)>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = output.read(&mut buffer) {
        let bytes = buffer.get(..count).unwrap_or_default().to_vec();
        if sender.send((Instant::now(), bytes)).is_err() {
            return;
        }
    }
}

/// What the program complained of, at most a few lines; the rest is read so that it never waits for us.
fn collect(mut errors: ChildStderr) -> String {
    let mut kept = Vec::new();
    let mut buffer = [0; 1024];
    while let Ok(count @ 1..) = errors.read(&mut buffer) {
        let room = 600_usize.saturating_sub(kept.len()).min(count);
        kept.extend_from_slice(buffer.get(..room).unwrap_or_default());
    }
    let text = String::from_utf8_lossy(&kept);
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    if lines.is_empty() {
        "it said nothing".to_owned()
    } else {
        lines.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Result<ForeignReader, ReaderError> {
        ForeignReader::spawn(Command::new("sh").args(["-c", script]))
    }

    fn bytes_until_closed(reader: &mut ForeignReader) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            match reader.next(Duration::from_secs(60)) {
                Heard::Bytes(_, bytes) => all.extend(bytes),
                Heard::Silence => panic!("silence"),
                Heard::Closed => return all,
            }
        }
    }

    #[test]
    fn everything_the_program_prints_arrives_before_closed() -> Result<(), ReaderError> {
        let mut reader = shell("head -c 300000 /dev/zero")?;
        assert_eq!(bytes_until_closed(&mut reader).len(), 300_000);
        reader.finish(Duration::from_secs(60))
    }

    #[test]
    fn the_input_stays_open_until_a_nudge_comes() -> Result<(), ReaderError> {
        let mut reader = shell("read line && echo seen")?;
        assert_eq!(reader.next(Duration::from_millis(50)), Heard::Silence);
        assert_eq!(reader.nudge(), 1);
        assert_eq!(bytes_until_closed(&mut reader), b"seen\n");
        Ok(())
    }

    #[test]
    fn nudges_never_outgrow_the_ring_towards_the_writer() -> Result<(), ReaderError> {
        let mut reader = shell("sleep 3600")?;
        let most = (0..2 * NUDGES_MAX).map(|_| reader.nudge()).max();
        assert_eq!(most, Some(NUDGES_MAX));
        Ok(())
    }

    #[test]
    fn a_failure_carries_what_the_program_said() -> Result<(), ReaderError> {
        let mut reader = shell("echo 'libxenvchan_server_init: No such file' >&2; exit 1")?;
        bytes_until_closed(&mut reader);
        let end = reader.finish(Duration::from_secs(60));
        assert!(
            matches!(&end, Err(ReaderError::Failed { said, .. }) if said.contains("No such file")),
            "{end:?}"
        );
        Ok(())
    }

    #[test]
    fn dropping_it_ends_the_program() -> Result<(), ReaderError> {
        let reader = shell("exec sleep 3600")?;
        let process = format!("/proc/{}", reader.child.id());
        assert!(std::path::Path::new(&process).exists());
        drop(reader);
        assert!(!std::path::Path::new(&process).exists());
        Ok(())
    }
}
