//! `grantflow down` of processes: asks the `grantflow up` that runs them, and removes what one that was killed has left.

use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::look::OnProcesses;
use super::nest::Nest;
use crate::compose::record::RecordError;
use crate::failure::Failure;

/// How often to look whether it has ended.
const LOOK: Duration = Duration::from_millis(20);

/// How long processes that were killed may take to be gone.
const LAST: Duration = Duration::from_secs(10);

/// Ends a pipeline, drained within `patience`, or at once if that is zero.
pub fn down(name: &str, found: &OnProcesses, patience: Duration) -> Result<(), Failure> {
    let signal = if patience.is_zero() {
        Signal::KILL
    } else {
        Signal::TERM
    };
    // Sent to the process that has the lock now: once it has not, its number may be another's.
    if let Some(pid) = Pid::from_raw(found.told.composer.pid)
        && let Ok(composer) = pidfd_open(pid, PidfdFlags::empty())
        && found.told.composer.is_alive()
    {
        // One that ends meanwhile need not be asked.
        let _ = pidfd_send_signal(&composer, signal);
    }
    let begin = Instant::now();
    let limit = patience.max(LAST);
    let wait = |is_over: &mut dyn FnMut() -> Result<bool, RecordError>| {
        while !is_over()? {
            if begin.elapsed() >= limit {
                return Err(Failure::failed(format!(
                    "{name} has not ended in {} s; `grantflow down --now` does not wait",
                    limit.as_secs()
                )));
            }
            thread::sleep(LOOK);
        }
        Ok(())
    };
    // Its folder, once nobody has it any more; it goes with this.
    let mut left = None;
    wait(&mut || match Nest::take(&found.folder, name) {
        Ok(nest) => {
            left = nest;
            Ok(true)
        }
        Err(RecordError::Locked(_)) => Ok(false),
        Err(error) => Err(error),
    })?;
    // Killed with their parent, and perhaps not gone yet.
    let processes = &found.told.processes;
    wait(&mut || Ok(processes.iter().all(|process| !process.id.is_alive())))
}
