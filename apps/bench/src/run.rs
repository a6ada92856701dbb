//! From the boot to the line that says how it went.

use alloc::string::String;
use core::time::Duration;

use stage::{Plan, Stage};
use unikernel::executor::Spawner;
use unikernel::hypercall::{ShutdownReason, shutdown};
use unikernel::rt::{self, Boot};
use unikernel::xenstore::Client;
use unikernel::{console, hypercall, time};

use crate::report::Spent;

/// Reads what image `S` is told, does it, and ends the domain: after the line that `measure` has made, or one that says what
/// went wrong.
pub fn main<S: Stage + 'static, T: 'static>(
    boot: Boot,
    read: impl FnOnce(&Plan<'_>) -> Result<T, String>,
    measure: impl AsyncFnOnce(T, Client, Spawner) -> Result<String, String> + 'static,
) -> ! {
    let line = boot.info.command_line.unwrap_or_default();
    let task = match Plan::new::<S>(line.as_bytes(), boot.module) {
        Ok(plan) if boot.info.command_line.is_ok() => {
            log::set_max_level(plan.log_level());
            read(&plan)
        }
        // Bad parameters end like any stage's.
        _ => rt::run::<S>(boot),
    };
    let (store, spawner) = (boot.store.clone(), boot.spawner.clone());
    boot.run(async move {
        let outcome = match task {
            Ok(task) => measure(task, store, spawner).await,
            Err(message) => Err(message),
        };
        let reason = match outcome {
            Ok(line) => {
                console::write_line(&line).await;
                ShutdownReason::Poweroff
            }
            Err(message) => {
                console::last_words(format_args!("error: {message}"));
                ShutdownReason::Crash
            }
        };
        console::drain();
        shutdown(reason)
    })
}

/// What is counted from the first message on.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    start: Duration,
    events: (u64, u64),
    hypercalls: u64,
}

impl Meter {
    /// Begins, with so many events sent and received before.
    pub fn start(events: (u64, u64)) -> Self {
        let hypercalls = hypercall::count();
        Self {
            start: time::now(),
            events,
            hypercalls,
        }
    }

    /// Ends, with so many events sent and received since the boot.
    pub fn stop(self, (sent, received): (u64, u64)) -> Spent {
        Spent {
            took: time::now().saturating_sub(self.start),
            events_sent: sent - self.events.0,
            events_received: received - self.events.1,
            hypercalls: hypercall::count() - self.hypercalls,
        }
    }
}
