//! The order to stop: SIGTERM, SIGINT, or a reader of the console that has gone.

use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{flag, low_level};
use vchan_linux::Readable;

/// Once given, it stands: a socket with a byte in it that nobody reads.
pub struct Orders {
    given: Arc<OwnedFd>,
    give: UnixStream,
}

impl Orders {
    /// From now on a first signal is the order, and a second one ends the process at once.
    pub fn new() -> io::Result<Self> {
        let (given, give) = UnixStream::pair()?;
        let signalled = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal finds the flag unset.
            flag::register_conditional_default(signal, Arc::clone(&signalled))?;
            flag::register(signal, Arc::clone(&signalled))?;
            low_level::pipe::register(signal, give.try_clone()?)?;
        }
        Ok(Self {
            given: Arc::new(given.into()),
            give,
        })
    }

    /// Gives it.
    pub fn stop(&self) {
        // A full socket says it too.
        let _ = (&self.give).write(b"x");
    }

    /// Waits for it.
    pub async fn given(&self) {
        Readable::new(Arc::<OwnedFd>::clone(&self.given)).await;
    }
}
