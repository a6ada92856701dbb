//! Ctrl-C and requests to terminate, as a flag that waiting loops look at.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::error::LabError;
use crate::output;

static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From now on Ctrl-C, SIGTERM and SIGHUP set a flag; a second one ends the process on the spot.
pub fn watch() -> Result<Arc<AtomicBool>, LabError> {
    if let Some(flag) = FLAG.get() {
        return Ok(Arc::clone(flag));
    }
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // The order matters: the shutdown sees the flag of an earlier signal, not of this one.
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&flag))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&flag)))
            .map_err(LabError::file("signal handler"))?;
    }
    Ok(Arc::clone(FLAG.get_or_init(|| flag)))
}

/// Whether one came, or nobody reads any more what the work is done for.
pub fn came(flag: &AtomicBool) -> bool {
    // The flag alone is the message; it publishes no other memory.
    flag.load(Ordering::Relaxed) || output::reader_is_gone()
}
