//! An open edge: a link, and the news of who is to be at its other end.

use core::pin::pin;

use embedded_io_async::{ErrorKind, ErrorType, Read, Write};
use stage::runner::{Events, Reader, Writer, first};

use crate::peer::PeerSource;

/// An open edge, as long as its peer stays the same.
pub trait Link: Reader + Writer {}

impl<L: Reader + Writer> Link for L {}

/// An open edge. The runner uses one of its two directions.
pub struct Channel<L> {
    link: L,
    peer: PeerSource,
}

impl<L: Link> Channel<L> {
    pub(crate) fn new(link: L, peer: PeerSource) -> Self {
        Self { link, peer }
    }
}

/// What ended an edge.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError<E> {
    /// Its link.
    #[error(transparent)]
    Link(E),
    /// Another peer was named.
    #[error("another peer was named")]
    PeerChanged,
}

impl<E: embedded_io_async::Error> embedded_io_async::Error for ChannelError<E> {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Link(error) => error.kind(),
            Self::PeerChanged => ErrorKind::ConnectionReset,
        }
    }
}

impl<L: Link> ErrorType for Channel<L> {
    type Error = ChannelError<L::Error>;
}

impl<L: Link> Read for Channel<L> {
    async fn read(&mut self, out: &mut [u8]) -> Result<usize, Self::Error> {
        let Self { link, peer } = self;
        // The link is asked first: bytes that had arrived come before the news.
        match first(pin!(link.read(out)), pin!(peer.changed())).await {
            Some(count) => count.map_err(ChannelError::Link),
            None => Err(ChannelError::PeerChanged),
        }
    }
}

impl<L: Link> Write for Channel<L> {
    async fn write(&mut self, data: &[u8]) -> Result<usize, Self::Error> {
        let Self { link, peer } = self;
        match first(pin!(link.write(data)), pin!(peer.changed())).await {
            Some(count) => count.map_err(ChannelError::Link),
            None => Err(ChannelError::PeerChanged),
        }
    }

    async fn flush(&mut self) -> Result<(), Self::Error> {
        self.link.flush().await.map_err(ChannelError::Link)
    }
}

impl<L: Link> Reader for Channel<L> {
    fn events(&self) -> Events {
        Reader::events(&self.link)
    }
}

impl<L: Link> Writer for Channel<L> {
    fn events(&self) -> Events {
        Writer::events(&self.link)
    }

    fn unread(&self) -> usize {
        self.link.unread()
    }

    async fn drained(&mut self) {
        self.link.drained().await;
    }

    async fn gone(&mut self) {
        let Self { link, peer } = self;
        first(pin!(link.gone()), pin!(peer.changed())).await;
    }
}
