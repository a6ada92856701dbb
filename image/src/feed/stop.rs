//! Ctrl-C: ends everything that waits.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, low_level};
use vchan_linux::{Readable, first};

/// Once asked for, it stands: a socket with a byte in it that nobody reads.
#[derive(Debug)]
pub struct Stop(Arc<OwnedFd>);

impl Stop {
    /// Asked for by a signal; a second one ends the program whatever it is at.
    pub fn at_signals() -> io::Result<Self> {
        let (stop, ask) = Self::pair()?;
        let asked = Arc::new(AtomicBool::new(false));
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            // In this order: the first signal finds the flag unset.
            flag::register_conditional_default(signal, Arc::clone(&asked))?;
            flag::register(signal, Arc::clone(&asked))?;
            low_level::pipe::register(signal, ask.try_clone()?)?;
        }
        Ok(stop)
    }

    /// Asked for by a byte, or by the end, of this socket.
    pub fn pair() -> io::Result<(Self, UnixStream)> {
        let (asked, ask) = UnixStream::pair()?;
        Ok((Self(Arc::new(asked.into())), ask))
    }

    /// The future's output, or `None` if it is stopped before. The future has its turn first.
    pub async fn unless<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let stopped = async {
            Readable::new(Arc::<OwnedFd>::clone(&self.0)).await;
            None
        };
        first(async { Some(future.await) }, stopped).await
    }
}
