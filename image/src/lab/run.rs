//! One boot: Xen and dom0 in QEMU, a job in dom0, its output live, its files and status back.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::back::{Back, Event, Stream};
use super::error::LabError;
use super::job::{self, Job};
use super::parts::Parts;
use super::qemu::{self, Console, Hardware, Machine};
use super::scratch::Scratch;
use super::signals;
use crate::output;
use crate::progress::Progress;

/// How long the last output may take to arrive once the job has ended.
const DRAIN: Duration = Duration::from_secs(5);

/// How a job ended. Its files are in the results folder: `out/`, `xen/console/guest-NAME.log`, `serial.log`.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// The exit status of `run.sh`.
    pub status: i32,
    /// From QEMU's start until the job began.
    pub boot: Duration,
    /// From QEMU's start until everything was back.
    pub total: Duration,
}

/// Boots the lab, runs `job` in dom0, hands its output to `output` as it comes, and leaves its files in `results`.
///
/// Fetches the lab's parts first where they are not in the cache. QEMU ends before this returns.
pub fn run(
    job: &Job,
    results: &Path,
    progress: &Progress,
    output: &mut dyn FnMut(Stream, &[u8]),
) -> Result<Outcome, LabError> {
    job.check()?;
    let interrupted = signals::watch()?;
    qemu::ensure(progress)?;
    let parts = Parts::ensure(progress)
        // Ctrl-C reaches apt and dpkg too, whose failures it explains.
        .map_err(|error| {
            if signals::came(&interrupted) {
                LabError::Interrupted
            } else {
                error
            }
        })?;
    fs::create_dir_all(results).map_err(LabError::file(results))?;
    let folder = Scratch::new()?;
    let token = job::token()?;
    let back = Back::listen(&token, results).map_err(LabError::file("127.0.0.1"))?;
    let environment = format!("MODE=run\nPORT={}\nTOKEN={token}\n", back.port);
    assemble(job, &parts, &environment, folder.path())?;

    let start = Instant::now();
    progress.say(format_args!(
        "booting Xen and dom0 in QEMU ({} MiB)",
        job.memory
    ));
    let serial = results.join("serial.log");
    let mut machine = Machine::start(
        folder.path(),
        Hardware {
            memory: job.memory,
            dom0_memory: job.dom0_memory,
            counted: job.counted,
        },
        Console::Log(&serial),
    )?;
    let mut state = State::default();
    while !state.complete(start.elapsed()) {
        if signals::came(&interrupted) {
            return Err(LabError::Interrupted);
        }
        if start.elapsed() > job.timeout {
            return Err(LabError::Timeout {
                limit: job.timeout,
                tail: machine.tail(),
            });
        }
        match back.events.recv_timeout(Duration::from_millis(100)) {
            Ok(event) => state.take(event, start.elapsed(), output, progress)?,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                if let Some(status) = machine.ended()? {
                    if state.status.is_some() && state.files {
                        break;
                    }
                    machine.stop();
                    return Err(LabError::Died {
                        status: status.to_string(),
                        tail: machine.tail(),
                    });
                }
            }
        }
    }
    machine.stop();
    let total = start.elapsed();
    Ok(Outcome {
        status: state.status.unwrap_or(1),
        boot: state.boot.unwrap_or(total),
        total,
    })
}

/// What has come back so far.
#[derive(Debug, Default)]
struct State {
    boot: Option<Duration>,
    status: Option<i32>,
    /// When the status came: the outputs get `DRAIN` from then on.
    ended: Option<Duration>,
    files: bool,
    closed: usize,
}

impl State {
    fn take(
        &mut self,
        event: Event,
        now: Duration,
        output: &mut dyn FnMut(Stream, &[u8]),
        progress: &Progress,
    ) -> Result<(), LabError> {
        match event {
            Event::Ready => {
                self.boot = Some(now);
                progress.say(format_args!(
                    "dom0 is up after {:.1} s; running the job",
                    now.as_secs_f64()
                ));
            }
            Event::Output(stream, bytes) => output(stream, &bytes),
            Event::Closed(_) => self.closed += 1,
            Event::Files(unpacked) => {
                unpacked.map_err(LabError::file("the job's files"))?;
                self.files = true;
            }
            Event::Exit(status) => {
                self.status = Some(status);
                self.ended = Some(now);
            }
        }
        Ok(())
    }

    /// Everything is back, or the rest belongs to a process that the job left behind.
    fn complete(&self, now: Duration) -> bool {
        let drained = self
            .ended
            .is_some_and(|ended| now.saturating_sub(ended) > DRAIN);
        self.status.is_some() && self.files && (self.closed >= 2 || drained)
    }
}

/// Lays out what QEMU boots in `folder`.
pub(super) fn assemble(
    job: &Job,
    parts: &Parts,
    environment: &str,
    folder: &Path,
) -> Result<(), LabError> {
    let link = |from: &Path, name: &str| {
        symlink(from, folder.join(name)).map_err(LabError::file(folder.join(name)))
    };
    link(&parts.xen(), "xen.elf")?;
    link(&parts.kernel(), "vmlinuz")?;
    let path = folder.join("initrd");
    let mut file = File::create(&path).map_err(LabError::file(&path))?;
    let dom0 = parts.dom0();
    let mut base = File::open(&dom0).map_err(LabError::file(&dom0))?;
    io::copy(&mut base, &mut file).map_err(LabError::file(&path))?;
    // The kernel unpacks archives one after the other; the job's files come last and win.
    let mut packed = GzEncoder::new(BufWriter::new(file), Compression::fast());
    job.write(parts, environment, &mut packed)?;
    packed
        .finish()
        .and_then(|mut out| out.flush())
        .map_err(LabError::file(&path))
}

/// Passes a job's outputs on to this process's own.
pub fn pass_on(stream: Stream, bytes: &[u8]) {
    // A reader that has gone is noted, and ends the job; an output that is lost otherwise does not.
    let _ = output::noting(match stream {
        Stream::Stdout => io::stdout()
            .write_all(bytes)
            .and_then(|()| io::stdout().flush()),
        Stream::Stderr => io::stderr().write_all(bytes),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(state: &mut State, event: Event, second: u64) {
        state
            .take(
                event,
                Duration::from_secs(second),
                &mut |_, _| {},
                &Progress::silent(),
            )
            .unwrap();
    }

    #[test]
    fn a_job_is_over_when_status_files_and_both_outputs_are_back() {
        let mut state = State::default();
        feed(&mut state, Event::Ready, 1);
        feed(&mut state, Event::Exit(7), 2);
        feed(&mut state, Event::Closed(Stream::Stdout), 2);
        feed(&mut state, Event::Closed(Stream::Stderr), 2);
        assert!(
            !state.complete(Duration::from_secs(60)),
            "the files are still to come"
        );
        feed(&mut state, Event::Files(Ok(())), 3);
        assert!(state.complete(Duration::from_secs(3)));
        assert_eq!(
            (state.status, state.boot),
            (Some(7), Some(Duration::from_secs(1)))
        );
    }

    #[test]
    fn a_process_that_keeps_the_output_open_does_not_hold_the_job() {
        let mut state = State::default();
        feed(&mut state, Event::Files(Ok(())), 1);
        feed(&mut state, Event::Exit(0), 2);
        assert!(!state.complete(Duration::from_secs(4)));
        assert!(state.complete(Duration::from_secs(8)));
    }

    #[test]
    fn files_that_cannot_be_unpacked_fail_the_job() {
        let mut state = State::default();
        let full = Event::Files(Err(io::ErrorKind::StorageFull.into()));
        let error = state
            .take(full, Duration::ZERO, &mut |_, _| {}, &Progress::silent())
            .unwrap_err();
        assert!(error.to_string().contains("make room"), "{error}");
    }
}
