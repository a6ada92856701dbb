//! The messages themselves, over any connection.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::future::Future;
use core::time::Duration;

use crate::content::{Content, Mismatch, RUN_MAX};
use crate::histogram::Histogram;
use crate::parameters::{Load, Mode, Role};

/// A TCP connection.
pub trait Connection {
    /// Why it can carry no more.
    type Error: fmt::Display;

    /// Sends some of it, at least a byte; how much.
    fn send(&self, data: &[u8]) -> impl Future<Output = Result<usize, Self::Error>>;

    /// Takes what has come, at least a byte; 0 once the peer has ended.
    fn receive(&self, buffer: &mut [u8]) -> impl Future<Output = Result<usize, Self::Error>>;
}

/// Why an exchange failed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError<E: fmt::Display> {
    /// The connection did.
    #[error("{error}, after {sent} bytes sent and {received} received")]
    Connection {
        /// Why.
        error: E,
        /// How many bytes were sent before.
        sent: u64,
        /// How many had come.
        received: u64,
    },
    /// The peer ended too early.
    #[error("the peer closed the connection after {sent} bytes sent and {received} received")]
    Ended {
        /// How many bytes were sent before.
        sent: u64,
        /// How many had come.
        received: u64,
    },
    /// What came is not what was sent.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
}

/// What is measured.
pub struct Exchange<'a, C: Connection> {
    load: Load,
    connection: &'a C,
    content: Content,
    /// Made once: the time of a round trip is the network's.
    buffer: Vec<u8>,
    sent: u64,
    received: u64,
}

impl<'a, C: Connection> Exchange<'a, C> {
    /// Over this connection.
    pub fn new(load: Load, connection: &'a C) -> Self {
        Self {
            load,
            connection,
            content: Content::default(),
            buffer: vec![0; RUN_MAX],
            sent: 0,
            received: 0,
        }
    }

    /// Bytes of messages sent, and received.
    pub fn bytes(&self) -> (u64, u64) {
        (self.sent, self.received)
    }

    /// So many messages, until the other end has them; the round trips, by this clock, where they are sent back.
    pub async fn run(
        &mut self,
        count: u64,
        now: impl Fn() -> Duration,
    ) -> Result<Option<Histogram>, ExchangeError<C::Error>> {
        let size = self.load.size;
        match (self.load.role, self.load.mode) {
            (Role::Client, Mode::Sink) => {
                for _ in 0..count {
                    self.send(size).await?;
                }
                // The server's word that it has everything.
                self.receive_some(1).await?;
                Ok(None)
            }
            (Role::Server, Mode::Sink) => {
                for _ in 0..count {
                    self.receive(size).await?;
                }
                self.send_all(1, |_| &[1]).await?;
                Ok(None)
            }
            (Role::Client, Mode::Echo) => self.round_trips(count, now).await.map(Some),
            (Role::Server, Mode::Echo) => {
                self.send_back(self.received + size * count).await?;
                Ok(None)
            }
        }
    }

    async fn round_trips(
        &mut self,
        count: u64,
        now: impl Fn() -> Duration,
    ) -> Result<Histogram, ExchangeError<C::Error>> {
        let mut histogram = Histogram::default();
        for _ in 0..count {
            let start = now();
            let mut left = self.load.size;
            // A message longer than both buffers would wait for itself: its parts come back as they go.
            while left > 0 {
                let len = left.min(RUN_MAX as u64);
                self.send(len).await?;
                self.receive(len).await?;
                left -= len;
            }
            let took = now().saturating_sub(start).as_nanos();
            histogram.add(u64::try_from(took).unwrap_or(u64::MAX));
        }
        Ok(histogram)
    }

    async fn send_back(&mut self, end: u64) -> Result<(), ExchangeError<C::Error>> {
        while self.received < end {
            let most = (end - self.received).min(RUN_MAX as u64) as usize;
            let came = self.receive_some(most).await?;
            self.compare(came)?;
            self.send_all(came, |this| &this.buffer).await?;
            self.sent += came as u64;
        }
        Ok(())
    }

    /// Sends the next `len` bytes of the stream.
    async fn send(&mut self, len: u64) -> Result<(), ExchangeError<C::Error>> {
        let end = self.sent + len;
        while self.sent < end {
            let run = self.content.run(self.sent, end - self.sent);
            match self.connection.send(run).await {
                Ok(sent) => self.sent += sent as u64,
                Err(error) => return Err(self.broken(error)),
            }
        }
        Ok(())
    }

    /// Sends so many bytes of these.
    async fn send_all(
        &self,
        len: usize,
        data: impl FnOnce(&Self) -> &[u8],
    ) -> Result<(), ExchangeError<C::Error>> {
        let mut data = &data(self)[..len];
        while !data.is_empty() {
            let sent = self.connection.send(data).await;
            data = &data[sent.map_err(|error| self.broken(error))?..];
        }
        Ok(())
    }

    /// Takes the next `len` bytes of the stream.
    async fn receive(&mut self, len: u64) -> Result<(), ExchangeError<C::Error>> {
        let end = self.received + len;
        while self.received < end {
            let most = (end - self.received).min(RUN_MAX as u64) as usize;
            let came = self.receive_some(most).await?;
            self.compare(came)?;
        }
        Ok(())
    }

    /// The next bytes of the stream are the first ones in the buffer.
    fn compare(&mut self, came: usize) -> Result<(), Mismatch> {
        if self.load.check {
            self.content.check(self.received, &self.buffer[..came])?;
        }
        self.received += came as u64;
        Ok(())
    }

    /// Takes what has come, at least a byte, into the buffer; a peer that ends before has broken off.
    async fn receive_some(&mut self, most: usize) -> Result<usize, ExchangeError<C::Error>> {
        match self.connection.receive(&mut self.buffer[..most]).await {
            Ok(0) => Err(ExchangeError::Ended {
                sent: self.sent,
                received: self.received,
            }),
            Ok(came) => Ok(came),
            Err(error) => Err(self.broken(error)),
        }
    }

    fn broken(&self, error: C::Error) -> ExchangeError<C::Error> {
        ExchangeError::Connection {
            error,
            sent: self.sent,
            received: self.received,
        }
    }
}
