//! The messages themselves, by each of the library's ways to move them.

use alloc::vec::Vec;
use core::hint::black_box;
use core::time::Duration;

use ::vchan::platform::Rendezvous;
use ::vchan::{Peek, ReadError, Reader, RecvError, SendError, WriteError, Writer};
use futures_util::future::join;

use super::ending::drained;
use super::parameters::{Api, Task};
use crate::content::{Content, Mismatch, RUN_MAX};
use crate::histogram::Histogram;
use crate::parameters::{Load, Mode, Role};

/// As many runs as the longest message that can go at once takes.
const RUNS: usize = (1 << ::vchan::interface::MAX_ORDER) / RUN_MAX;

/// Why an exchange failed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// Nothing more can be sent.
    #[error("{error}, after {sent} bytes were written")]
    Send {
        /// Why.
        error: SendError,
        /// How many bytes were written before.
        sent: u64,
    },
    /// Nothing more can be received.
    #[error(transparent)]
    Receive(#[from] RecvError),
    /// The peer closed too early.
    #[error("the peer closed the channel after {received} of {total} bytes")]
    Ended {
        /// How many bytes had come.
        received: u64,
        /// How many there should have been.
        total: u64,
    },
    /// What came is not what was sent.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
}

impl From<ReadError> for ExchangeError {
    fn from(error: ReadError) -> Self {
        Self::Receive(error.into())
    }
}

/// What is measured.
pub struct Exchange<'a, R: Rendezvous> {
    load: Load,
    sender: Sender<'a, R>,
    receiver: Receiver<'a, R>,
}

/// The half that makes messages.
struct Sender<'a, R: Rendezvous> {
    api: Api,
    writer: &'a mut Writer<R>,
    content: &'a Content,
    sent: u64,
}

/// What went without waiting.
struct Ahead {
    /// Whole messages.
    messages: u64,
    /// Bytes of the next one.
    begun: u64,
}

/// The half that takes them.
struct Receiver<'a, R: Rendezvous> {
    api: Api,
    reader: &'a mut Reader<R>,
    content: Option<&'a Content>,
    /// Made once: the time of a message is the channel's.
    buffer: Vec<u8>,
    received: u64,
    /// With those of the messages under way.
    total: u64,
}

impl<'a, R: Rendezvous> Exchange<'a, R> {
    /// Over these halves.
    pub fn new(
        task: &Task,
        content: &'a Content,
        reader: &'a mut Reader<R>,
        writer: &'a mut Writer<R>,
    ) -> Result<Self, alloc::string::String> {
        let Task { load, api, .. } = *task;
        let most = match api {
            // It fits into a ring.
            Api::Packet => load.size,
            Api::Stream | Api::ZeroCopy => load.total().min(RUN_MAX as u64),
        };
        let mut buffer = Vec::new();
        buffer
            .try_reserve_exact(most as usize)
            .map_err(|error| alloc::format!("size=: {error}; give the domain more memory"))?;
        buffer.resize(most as usize, 0);
        Ok(Self {
            load,
            sender: Sender {
                api,
                writer,
                content,
                sent: 0,
            },
            receiver: Receiver {
                api,
                reader,
                content: load.check.then_some(content),
                buffer,
                received: 0,
                total: 0,
            },
        })
    }

    /// Waits for the first byte.
    pub async fn begun(&mut self) -> Result<(), ExchangeError> {
        self.receiver.reader.peek(1).await?;
        Ok(())
    }

    /// So many messages; the round trips, by this clock, where they are sent back.
    pub async fn run(
        &mut self,
        count: u64,
        now: impl Fn() -> Duration,
    ) -> Result<Option<Histogram>, ExchangeError> {
        let Load { size, mode, .. } = self.load;
        self.receiver.total = self.receiver.received + size * count;
        match (self.load.role, mode) {
            (Role::Client, Mode::Sink) => {
                let mut left = count;
                while left > 0 {
                    let Ahead { messages, begun } = self.sender.ahead(size, left)?;
                    left -= messages;
                    if left > 0 {
                        self.sender.message(size - begun).await?;
                        left -= 1;
                    }
                }
                Ok(None)
            }
            (Role::Server, Mode::Sink) => {
                // A stream has no messages.
                let (part, parts) = match self.receiver.api {
                    Api::Stream => (size * count, 1),
                    Api::Packet | Api::ZeroCopy => (size, count),
                };
                let mut left = parts;
                while left > 0 {
                    left -= self.receiver.ahead(part, left)?;
                    if left > 0 {
                        self.receiver.message(part).await?;
                        left -= 1;
                    }
                }
                Ok(None)
            }
            (Role::Client, Mode::Echo) => self.round_trips(count, now).await.map(Some),
            (Role::Server, Mode::Echo) => {
                while self.receiver.received < self.receiver.total {
                    self.send_back().await?;
                }
                Ok(None)
            }
        }
    }

    /// Waits until the peer has read everything; see [`drained`].
    pub async fn drained(&mut self, patience: impl AsyncFn()) -> Result<(), alloc::string::String> {
        drained(self.sender.writer, patience).await
    }

    async fn round_trips(
        &mut self,
        count: u64,
        now: impl Fn() -> Duration,
    ) -> Result<Histogram, ExchangeError> {
        let size = self.load.size;
        let room = self.sender.writer.layout();
        let room = room.left_size().min(room.right_size());
        let mut histogram = Histogram::default();
        for _ in 0..count {
            let start = now();
            if size <= u64::from(room) {
                self.sender.whole_message(size).await?;
                self.receiver.message(size).await?;
            } else {
                // What fits into no ring comes back while it goes.
                let going = self.sender.whole_message(size);
                let (sent, received) = join(going, self.receiver.message(size)).await;
                sent?;
                received?;
            }
            let took = now().saturating_sub(start).as_nanos();
            histogram.add(u64::try_from(took).unwrap_or(u64::MAX));
        }
        Ok(histogram)
    }

    /// Takes a message, or of a stream what has come, and sends it back.
    async fn send_back(&mut self) -> Result<(), ExchangeError> {
        let (sender, receiver) = (&mut self.sender, &mut self.receiver);
        match receiver.api {
            Api::Packet => {
                receiver.message(self.load.size).await?;
                let sent = sender.writer.send(&receiver.buffer).await;
                sender.wrote(sent, receiver.buffer.len() as u64)?;
            }
            Api::Stream => {
                let left = receiver.total - receiver.received;
                let came = receiver.read(left).await?;
                sender.write_all(&receiver.buffer[..came]).await?;
            }
            Api::ZeroCopy => {
                let len = self.load.size as usize;
                let reserved = sender.writer.reserve(len).await;
                let mut room = reserved.map_err(|error| sent_before(error, sender.sent))?;
                let lent = receiver.reader.peek(len).await?;
                let message = lent.slice();
                if message.len() < len {
                    return Err(receiver.ended());
                }
                match room.plain() {
                    Some([one, two]) => {
                        message.copy_to(0, one);
                        message.copy_to(one.len(), two);
                        if let Some(content) = receiver.content {
                            content.check(receiver.received, one)?;
                            content.check(receiver.received + one.len() as u64, two)?;
                        }
                    }
                    None => {
                        let mut at = 0;
                        while at < len {
                            let part = (len - at).min(receiver.buffer.len());
                            let bytes = &mut receiver.buffer[..part];
                            message.copy_to(at, bytes);
                            if let Some(content) = receiver.content {
                                content.check(receiver.received + at as u64, bytes)?;
                            }
                            room.slice().copy_from(at, bytes);
                            at += part;
                        }
                    }
                }
                lent.consume(len);
                receiver.received += len as u64;
                let sent = room.commit(len).map_err(SendError::from);
                sender.wrote(sent, len as u64)?;
            }
        }
        // Who waits for it is not kept waiting.
        let shown = sender.writer.publish().map_err(SendError::from);
        sender.wrote(shown, 0)
    }
}

fn sent_before(error: impl Into<SendError>, sent: u64) -> ExchangeError {
    ExchangeError::Send {
        error: error.into(),
        sent,
    }
}

/// How much of these bytes goes without waiting.
#[inline]
fn at_once<R: Rendezvous>(api: Api, writer: &mut Writer<R>, run: &[u8]) -> Result<u64, SendError> {
    let size = run.len() as u64;
    match api {
        Api::Packet => Ok(if writer.try_send(run)? { size } else { 0 }),
        Api::Stream => Ok(writer.try_write(run)? as u64),
        Api::ZeroCopy => match writer.try_reserve(run.len())? {
            Some(mut room) => {
                room.slice().copy_from(0, run);
                room.commit(run.len())?;
                Ok(size)
            }
            None => Ok(0),
        },
    }
}

impl<R: Rendezvous> Sender<'_, R> {
    /// As many of `count` messages as go without waiting, which nearly all do.
    #[inline(never)]
    fn ahead(&mut self, size: u64, count: u64) -> Result<Ahead, ExchangeError> {
        let mut ahead = Ahead {
            messages: 0,
            begun: 0,
        };
        // Kept in registers: what a copy into the ring may have changed is loaded again after each.
        let (api, content, mut sent) = (self.api, self.content, self.sent);
        let mut went = Ok(size);
        while ahead.messages < count && size <= RUN_MAX as u64 {
            went = at_once(api, self.writer, content.run(sent, size));
            let bytes = *went.as_ref().unwrap_or(&0);
            sent += bytes;
            if bytes < size {
                ahead.begun = bytes;
                break;
            }
            ahead.messages += 1;
        }
        self.sent = sent;
        went.map_err(|error| sent_before(error, sent))?;
        Ok(ahead)
    }

    /// The next `size` bytes of the stream, published.
    async fn whole_message(&mut self, size: u64) -> Result<(), ExchangeError> {
        self.message(size).await?;
        let shown = self.writer.publish().map_err(SendError::from);
        self.wrote(shown, 0)
    }

    /// The next `size` bytes of the stream.
    async fn message(&mut self, size: u64) -> Result<(), ExchangeError> {
        match self.api {
            Api::Packet if size <= RUN_MAX as u64 => {
                let sent = self.writer.send(self.content.run(self.sent, size)).await;
                self.wrote(sent, size)
            }
            Api::Packet => {
                let mut runs: [&[u8]; RUNS] = [&[]; RUNS];
                let mut at = 0;
                for run in &mut runs {
                    *run = self.content.run(self.sent + at, size - at);
                    at += run.len() as u64;
                }
                let sent = self.writer.send_vectored(&runs).await;
                self.wrote(sent, size)
            }
            Api::Stream => {
                let end = self.sent + size;
                while self.sent < end {
                    let run = self.content.run(self.sent, end - self.sent);
                    self.write_all(run).await?;
                }
                Ok(())
            }
            Api::ZeroCopy => {
                let reserved = self.writer.reserve(size as usize).await;
                let mut room = reserved.map_err(|error| sent_before(error, self.sent))?;
                let mut at = 0;
                while at < size {
                    let run = self.content.run(self.sent + at, size - at);
                    room.slice().copy_from(at as usize, run);
                    at += run.len() as u64;
                }
                let sent = room.commit(size as usize).map_err(SendError::from);
                self.wrote(sent, size)
            }
        }
    }

    async fn write_all(&mut self, mut data: &[u8]) -> Result<(), ExchangeError> {
        while !data.is_empty() {
            let written = self.writer.write(data).await;
            let written = written.map_err(|error: WriteError| sent_before(error, self.sent))?;
            self.sent += written as u64;
            data = &data[written..];
        }
        Ok(())
    }

    /// A call that should have written so many bytes has returned this.
    fn wrote(&mut self, result: Result<(), SendError>, bytes: u64) -> Result<(), ExchangeError> {
        result.map_err(|error| sent_before(error, self.sent))?;
        self.sent += bytes;
        Ok(())
    }
}

/// Looks at a message where it lies, as much as a reader that needs one field of it. Whether all of it was there.
#[inline]
fn glance<R: Rendezvous>(lent: Peek<'_, R>, len: usize) -> bool {
    let message = lent.slice();
    let is_whole = message.len() >= len;
    if is_whole {
        black_box(message.load_u8(len - 1));
        lent.consume(len);
    }
    is_whole
}

impl<R: Rendezvous> Receiver<'_, R> {
    /// Takes as many of `count` messages as have come. How many that was.
    #[inline(never)]
    fn ahead(&mut self, size: u64, count: u64) -> Result<u64, ExchangeError> {
        match self.api {
            Api::Packet => self.packets_ahead(count),
            Api::ZeroCopy if self.content.is_none() => self.looks_ahead(size as usize, count),
            Api::Stream | Api::ZeroCopy => Ok(0),
        }
    }

    fn packets_ahead(&mut self, count: u64) -> Result<u64, ExchangeError> {
        for messages in 0..count {
            match self.reader.try_recv(&mut self.buffer)? {
                None => return Ok(messages),
                Some(0) => return Err(self.ended()),
                Some(came) => self.came(came)?,
            }
        }
        Ok(count)
    }

    fn looks_ahead(&mut self, len: usize, count: u64) -> Result<u64, ExchangeError> {
        for messages in 0..count {
            let Some(lent) = self.reader.try_peek(len)? else {
                return Ok(messages);
            };
            if !glance(lent, len) {
                return Err(self.ended());
            }
            self.received += len as u64;
        }
        Ok(count)
    }

    /// Takes the next `size` bytes of the stream.
    async fn message(&mut self, size: u64) -> Result<(), ExchangeError> {
        match self.api {
            Api::Packet => match self.reader.recv(&mut self.buffer).await? {
                0 => Err(self.ended()),
                came => self.came(came),
            },
            Api::Stream => {
                let end = self.received + size;
                while self.received < end {
                    self.read(end - self.received).await?;
                }
                Ok(())
            }
            Api::ZeroCopy => {
                let len = size as usize;
                let lent = self.reader.peek(len).await?;
                let Some(content) = self.content else {
                    if !glance(lent, len) {
                        return Err(self.ended());
                    }
                    self.received += size;
                    return Ok(());
                };
                let message = lent.slice();
                if message.len() < len {
                    return Err(self.ended());
                }
                let mut at = 0;
                while at < len {
                    let part = (len - at).min(self.buffer.len());
                    let bytes = &mut self.buffer[..part];
                    message.copy_to(at, bytes);
                    content.check(self.received + at as u64, bytes)?;
                    at += part;
                }
                lent.consume(len);
                self.received += size;
                Ok(())
            }
        }
    }

    /// Takes what has come of the stream, at least a byte and no more than `most`, into the buffer.
    async fn read(&mut self, most: u64) -> Result<usize, ExchangeError> {
        let most = most.min(self.buffer.len() as u64) as usize;
        match self.reader.read(&mut self.buffer[..most]).await? {
            0 => Err(self.ended()),
            came => {
                self.came(came)?;
                Ok(came)
            }
        }
    }

    /// The next bytes of the stream are the first ones in the buffer.
    #[inline]
    fn came(&mut self, count: usize) -> Result<(), ExchangeError> {
        if let Some(content) = self.content {
            content.check(self.received, &self.buffer[..count])?;
        }
        self.received += count as u64;
        Ok(())
    }

    fn ended(&self) -> ExchangeError {
        ExchangeError::Ended {
            received: self.received,
            total: self.total,
        }
    }
}
