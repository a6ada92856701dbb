//! An open edge over vchan.

use core::fmt;
use core::time::Duration;
use std::time::Instant;

use embedded_io_async::{ErrorKind, ErrorType, Read, Write};
use stage::runner::{self, Events};
use vchan_linux::platform::Rendezvous;
use vchan_linux::{Endpoint, Policy, ReadError, Reader, WriteError, Writer, sleep_until};

/// How often a writer that is not blocked asks whether its reader is there.
const LOOK_FOR_PEER: Duration = Duration::from_secs(1);

/// An open edge over vchan.
pub struct Ring<R: Rendezvous> {
    reader: Reader<R>,
    writer: Writer<R>,
    /// When it was last asked whether the peer is there.
    looked: Instant,
}

/// What ended it.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// Reading failed.
    #[error(transparent)]
    Read(ReadError),
    /// Writing failed.
    #[error(transparent)]
    Write(WriteError),
}

impl embedded_io_async::Error for RingError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Read(error) => embedded_io_async::Error::kind(error),
            Self::Write(error) => embedded_io_async::Error::kind(error),
        }
    }
}

impl<R: Rendezvous> Ring<R> {
    pub(crate) fn new(mut endpoint: Endpoint<R>) -> Self {
        // The runner reads what there is and says when a group of packs is complete.
        endpoint.set_policy(Policy::Batched);
        let (reader, writer) = endpoint.split();
        Self {
            reader,
            writer,
            looked: Instant::now(),
        }
    }

    fn event_counters(&self) -> Events {
        let counters = self.writer.stats().counters();
        Events {
            sent: counters.events_sent,
            received: counters.events_received,
        }
    }
}

impl<R: Rendezvous> fmt::Debug for Ring<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").finish_non_exhaustive()
    }
}

impl<R: Rendezvous> ErrorType for Ring<R> {
    type Error = RingError;
}

impl<R: Rendezvous> Read for Ring<R> {
    async fn read(&mut self, out: &mut [u8]) -> Result<usize, RingError> {
        self.reader.read(out).await.map_err(RingError::Read)
    }
}

impl<R: Rendezvous> Write for Ring<R> {
    async fn write(&mut self, data: &[u8]) -> Result<usize, RingError> {
        self.writer.write(data).await.map_err(RingError::Write)
    }

    async fn flush(&mut self) -> Result<(), RingError> {
        self.writer.publish().map_err(RingError::Write)
    }
}

impl<R: Rendezvous> runner::Reader for Ring<R> {
    fn events(&self) -> Events {
        self.event_counters()
    }
}

impl<R: Rendezvous> runner::Writer for Ring<R> {
    fn events(&self) -> Events {
        self.event_counters()
    }

    fn unread(&self) -> usize {
        self.writer.unread() as usize
    }

    async fn drained(&mut self) {
        // An error says that the reader is gone; `unread` tells what it left.
        let _ = self.writer.drained().await;
    }

    async fn gone(&mut self) {
        loop {
            sleep_until(self.looked + LOOK_FOR_PEER).await;
            self.looked = Instant::now();
            // An error is a peer that broke the protocol: the next write says so.
            let _ = self.writer.look_for_peer();
            if !self.writer.is_connected() {
                return;
            }
        }
    }
}
