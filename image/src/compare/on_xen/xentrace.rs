//! Xen's tracer, run beside what is measured. What it writes is read in [`trace`](super::trace).

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::site::{Site, Trouble};
use super::trace::{MASK, Trace};

/// Xen's buffer of each CPU, in pages. Xen keeps it until the machine is booted again.
const PAGES: &str = "512";

/// After so many milliseconds at the latest the tracer looks what has come.
const POLL: &str = "50";

/// It ends by itself after so many seconds, whatever becomes of this program.
const LONGEST: &str = "600";

/// How long it may take to begin, and to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is longer is not read.
const MOST_BYTES: u64 = 256 << 20;

/// A tracer at work; it ends when it is dropped.
#[derive(Debug)]
pub struct Tracing {
    child: Child,
    file: PathBuf,
    since: Instant,
}

impl Tracing {
    /// Begins; an error where there is no tracer.
    pub fn begin(site: &Site<'_>) -> Result<Self, Trouble> {
        let none =
            || Trouble::new("there is no xentrace here (Debian: apt-get install xen-utils-common)");
        let program = site.kit.xentrace.as_ref().ok_or_else(none)?;
        let file = site.folder().join("trace");
        let said = site.folder().join("xentrace.said");
        // An earlier one must not be taken for this one's.
        let _ = fs::remove_file(&file);
        let errors = File::create(&said).map_err(Trouble::file(&said))?;
        let mask = format!("{MASK:#x}");
        let child = Command::new(program)
            .args(["-D", "-S", PAGES, "-s", POLL, "-T", LONGEST, "-e", &mask])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            // Ctrl-C on the terminal is for this program alone, which ends it.
            .process_group(0)
            .spawn()
            .map_err(Trouble::file(program))?;
        let mut tracing = Self {
            child,
            file,
            since: Instant::now(),
        };
        let silent = || "xentrace wrote nothing".to_owned();
        // dom0 calls Xen all the time, so that something comes soon.
        site.until(PATIENCE, silent, || {
            if fs::metadata(&tracing.file).is_ok_and(|file| file.len() > 0) {
                return Ok(Some(()));
            }
            match tracing.child.try_wait() {
                Ok(None) => Ok(None),
                _ => {
                    let said = fs::read_to_string(&said).unwrap_or_default();
                    let last = said.lines().last().unwrap_or("without a word");
                    Err(Trouble::new(format!("xentrace has ended: {last}")))
                }
            }
        })?;
        tracing.since = Instant::now();
        Ok(tracing)
    }

    /// Ends; what was traced, in how many seconds since it began. What is too long has lost something.
    pub fn end(mut self) -> Result<(Trace, f64), Trouble> {
        let seconds = self.since.elapsed().as_secs_f64();
        self.finish()?;
        let length = fs::metadata(&self.file).map_err(Trouble::file(&self.file))?;
        let mut trace = Trace::default();
        if length.len() > MOST_BYTES {
            trace.lost = 1;
        } else {
            let bytes = fs::read(&self.file).map_err(Trouble::file(&self.file))?;
            trace = Trace::read(&bytes).map_err(Trouble::new)?;
        }
        let _ = fs::remove_file(&self.file);
        Ok((trace, seconds))
    }

    /// Asks it to write what it has and to end, which it does in order; one that does not is killed.
    fn finish(&mut self) -> Result<(), Trouble> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let (Ok(None), Some(pid)) = (self.child.try_wait(), pid) {
            // It has not been waited for, so that its number is nobody else's.
            let _ = kill_process(pid, Signal::TERM);
        }
        let end = Instant::now() + PATIENCE;
        while let Ok(None) = self.child.try_wait() {
            if Instant::now() >= end {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return Err(Trouble::new("xentrace did not end and was killed"));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Tracing {
    fn drop(&mut self) {
        // What it has to say is of no use any more.
        let _ = self.finish();
    }
}
