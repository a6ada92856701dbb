//! An image, from the boot to the line that says how it went.

use alloc::string::String;
use core::time::Duration;

use stage::{Plan, Stage};
use unikernel::executor::Spawner;
use unikernel::hypercall::{ShutdownReason, shutdown};
use unikernel::rt::{self, Boot};
use unikernel::xenstore::Client;
use unikernel::{console, hypercall, time};

use crate::machine::Machine;

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

/// A domain of our own.
#[derive(Clone, Copy, Debug)]
pub struct Domain;

impl Machine for Domain {
    fn now(&self) -> Duration {
        time::now()
    }

    fn hypercalls(&self) -> Option<u64> {
        Some(hypercall::count())
    }

    async fn sleep(&self, time: Duration) {
        time::sleep_until(time::now() + time).await;
    }
}
