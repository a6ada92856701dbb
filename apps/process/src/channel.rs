//! An open edge.

use core::fmt;
use core::pin::pin;
use core::time::Duration;
use std::time::Instant;

use embedded_io_async::{ErrorKind, ErrorType, Read, Write};
use stage::runner::{Events, first};
use vchan_linux::platform::Rendezvous;
use vchan_linux::{Endpoint, Policy, ReadError, Reader, WriteError, Writer, sleep_until};

use crate::peer::PeerSource;

/// How often a writer that is not blocked asks whether its reader is there.
const LOOK_FOR_PEER: Duration = Duration::from_secs(1);

/// An open edge. The runner uses one of its two directions.
pub struct Channel<R: Rendezvous> {
    reader: Reader<R>,
    writer: Writer<R>,
    peer: PeerSource,
    /// When it was last asked whether the peer is there.
    looked: Instant,
}

impl<R: Rendezvous> Channel<R> {
    pub(crate) fn new(mut endpoint: Endpoint<R>, peer: PeerSource) -> Self {
        // The runner reads what there is and says when a group of packs is complete.
        endpoint.set_policy(Policy::Batched);
        let (reader, writer) = endpoint.split();
        Self {
            reader,
            writer,
            peer,
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

/// What ended an edge.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// Reading failed.
    #[error(transparent)]
    Read(ReadError),
    /// Writing failed.
    #[error(transparent)]
    Write(WriteError),
    /// Another peer was named.
    #[error("another peer was named")]
    PeerChanged,
}

impl embedded_io_async::Error for ChannelError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Read(error) => embedded_io_async::Error::kind(error),
            Self::Write(error) => embedded_io_async::Error::kind(error),
            Self::PeerChanged => ErrorKind::ConnectionReset,
        }
    }
}

impl<R: Rendezvous> fmt::Debug for Channel<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").finish_non_exhaustive()
    }
}

impl<R: Rendezvous> ErrorType for Channel<R> {
    type Error = ChannelError;
}

impl<R: Rendezvous> Read for Channel<R> {
    async fn read(&mut self, out: &mut [u8]) -> Result<usize, ChannelError> {
        let Self { reader, peer, .. } = self;
        // The ring is asked first: bytes that had arrived come before the news.
        match first(pin!(reader.read(out)), pin!(peer.changed())).await {
            Some(count) => count.map_err(ChannelError::Read),
            None => Err(ChannelError::PeerChanged),
        }
    }
}

impl<R: Rendezvous> Write for Channel<R> {
    async fn write(&mut self, data: &[u8]) -> Result<usize, ChannelError> {
        let Self { writer, peer, .. } = self;
        match first(pin!(writer.write(data)), pin!(peer.changed())).await {
            Some(count) => count.map_err(ChannelError::Write),
            None => Err(ChannelError::PeerChanged),
        }
    }

    async fn flush(&mut self) -> Result<(), ChannelError> {
        self.writer.publish().map_err(ChannelError::Write)
    }
}

impl<R: Rendezvous> stage::runner::Reader for Channel<R> {
    fn events(&self) -> Events {
        self.event_counters()
    }
}

impl<R: Rendezvous> stage::runner::Writer for Channel<R> {
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
        let Self {
            writer,
            peer,
            looked,
            ..
        } = self;
        let silently = async {
            loop {
                sleep_until(*looked + LOOK_FOR_PEER).await;
                *looked = Instant::now();
                // An error is a peer that broke the protocol: the next write says so.
                let _ = writer.look_for_peer();
                if !writer.is_connected() {
                    return;
                }
            }
        };
        first(pin!(silently), pin!(peer.changed())).await;
    }
}
