//! What ends everything that waits: a signal, or one direction that has come to its end.

use std::future::Future;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, low_level};
use vchan_linux::{Readable, first};

/// Once asked for, it stands: a socket with a byte in it that nobody reads.
pub struct Stop {
    asked: Arc<OwnedFd>,
    ask: UnixStream,
    signalled: Arc<AtomicBool>,
}

impl Stop {
    /// Not asked for yet; a signal will.
    pub fn new() -> io::Result<Self> {
        let (asked, ask) = UnixStream::pair()?;
        let signalled = Arc::new(AtomicBool::new(false));
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            // In this order: the first signal finds the flag unset, the second one ends the program whatever it is at.
            flag::register_conditional_default(signal, Arc::clone(&signalled))?;
            flag::register(signal, Arc::clone(&signalled))?;
            low_level::pipe::register(signal, ask.try_clone()?)?;
        }
        Ok(Self {
            asked: Arc::new(asked.into()),
            ask,
            signalled,
        })
    }

    /// Asks for it.
    pub fn ask(&self) {
        // A full socket says it too.
        let _ = (&self.ask).write(b"x");
    }

    /// Whether a signal did.
    pub fn signalled(&self) -> bool {
        // Relaxed: nothing but the flag is asked for.
        self.signalled.load(Ordering::Relaxed)
    }

    /// The future's output, or `None` if it is stopped before. The future has its turn first.
    pub async fn unless<F: Future>(&self, future: F) -> Option<F::Output> {
        let stopped = async {
            Readable::new(Arc::<OwnedFd>::clone(&self.asked)).await;
            None
        };
        first(async { Some(future.await) }, stopped).await
    }
}
