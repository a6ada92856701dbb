//! The writing end of an edge: packs to one reader after the other, each reading counted once.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use stage::Reading;
use stage::senml::{END_OF_STREAM, EncodeError, PackQueue, Sealed};
use vchan_linux::platform::Rendezvous;
use vchan_linux::{ConnectError, ConnectOptions, Endpoint, Reader, Writer, first, sleep_until};

use crate::output;

/// The longest pack that is gathered, in bytes: a quarter of an ordinary ring.
const PACK: usize = 4 << 10;

/// How soon to try again to join an offer that was an old one.
const AGAIN: Duration = Duration::from_millis(200);

/// How often to look whether the stage has become another domain.
const LOOK: Duration = Duration::from_secs(1);

/// How long the last reader may go without reading anything before what it left counts as lost.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who reads now, and how to meet it.
pub trait Readers {
    /// How the two meet.
    type Meeting: Rendezvous<Memory: Send + Sync, Events: Send + Sync, Published: Send + Sync>;

    /// Who reads now; a reader that is another has another word here. None while there is none.
    fn now(&mut self) -> Result<Option<(String, Self::Meeting)>, String>;
}

/// What has become of the readings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Sent {
    /// Readings that came.
    pub readings: u64,
    /// Of these, the ones that no reader has consumed.
    pub lost: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Packs written.
    pub packs: u64,
    /// Readers that there were.
    pub readers: u64,
}

/// The edge.
pub struct Edge<P: Readers> {
    readers: P,
    queue: PackQueue,
    /// Packs taken from the queue; those from `next` on are still to be written, the first of them from `begun` on.
    bytes: Vec<u8>,
    sealed: Vec<Sealed>,
    next: usize,
    begun: usize,
    link: Option<Link<P::Meeting>>,
    /// What has become of the readings so far.
    pub sent: Sent,
}

/// One reader, as long as it is there.
struct Link<R: Rendezvous> {
    reader: Reader<R>,
    writer: Writer<R>,
    /// Packs written and perhaps not consumed: where in the connection each ends, and its readings.
    in_flight: VecDeque<(u64, u64)>,
    written: u64,
}

impl<P: Readers> fmt::Debug for Edge<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edge").field("sent", &self.sent).finish()
    }
}

/// What waits may be dropped at any time, and begun again: nothing is lost or written twice.
impl<P: Readers> Edge<P> {
    /// An edge to these readers.
    pub fn new(readers: P) -> Self {
        Self {
            readers,
            queue: PackQueue::new(PACK),
            bytes: Vec::new(),
            sealed: Vec::new(),
            next: 0,
            begun: 0,
            link: None,
            sent: Sent::default(),
        }
    }

    /// Takes a reading, to be sent.
    pub fn push(&mut self, reading: &Reading<'_>) -> Result<(), EncodeError> {
        self.queue.push(reading)?;
        self.sent.readings += 1;
        Ok(())
    }

    /// Waits until there is a reader.
    pub async fn meet(&mut self) -> Result<(), String> {
        if self.link.is_none() {
            self.link = Some(connect(&mut self.readers).await?);
            self.sent.readers += 1;
        }
        Ok(())
    }

    /// Waits until the reader is gone, and then for the next one, and so on.
    pub async fn follow(&mut self) -> Result<(), String> {
        loop {
            self.meet().await?;
            if let Some(link) = &mut self.link {
                link.gone().await;
            }
            self.lose().await;
        }
    }

    /// Writes what was taken, waiting for a reader where there is none, and for room.
    pub async fn send(&mut self) -> Result<(), String> {
        while self.has_more() {
            self.meet().await?;
            if self.write_out().await.is_err() {
                self.lose().await;
            }
        }
        Ok(())
    }

    /// Whether there is something to write; takes it from the queue.
    fn has_more(&mut self) -> bool {
        if self.next < self.sealed.len() {
            return true;
        }
        self.queue.take(&mut self.bytes, &mut self.sealed);
        (self.next, self.begun) = (0, 0);
        !self.sealed.is_empty()
    }

    /// Writes all there is to the reader that is there.
    async fn write_out(&mut self) -> Result<(), Gone> {
        while self.has_more() {
            let (Some(pack), Some(link)) = (self.sealed.get(self.next).copied(), &mut self.link)
            else {
                return Err(Gone);
            };
            let unwritten = self.bytes.get(self.begun..pack.end).unwrap_or_default();
            let count = link.writer.write(unwritten).await.map_err(|_| Gone)?;
            self.begun += count;
            link.written += count as u64;
            self.sent.bytes += count as u64;
            self.note_written(pack);
        }
        Ok(())
    }

    fn note_written(&mut self, pack: Sealed) {
        if self.begun < pack.end {
            return;
        }
        self.next += 1;
        self.sent.packs += 1;
        if let Some(link) = &mut self.link {
            link.in_flight.push_back((link.written, pack.readings));
            link.settle();
        }
    }

    /// Writes what is left to the reader that is there, marks the end of the stream, and waits until it is read: as long as the
    /// reader goes on reading. What nobody gets is lost.
    pub async fn finish(mut self) -> Sent {
        loop {
            let before = self.sent.bytes;
            let patience = Instant::now() + PATIENCE;
            let done = within(patience, self.write_out()).await;
            if done.is_some() || self.sent.bytes == before {
                break;
            }
        }
        if let Some(link) = &mut self.link
            && self.next >= self.sealed.len()
        {
            let marked = within(
                Instant::now() + PATIENCE,
                link.writer.write(&[END_OF_STREAM]),
            )
            .await;
            link.written += u64::from(matches!(marked, Some(Ok(_))));
            loop {
                let unread = link.writer.unread();
                let drained = within(Instant::now() + PATIENCE, link.writer.drained()).await;
                if drained.is_some() || link.writer.unread() >= unread {
                    break;
                }
            }
        }
        self.lose().await;
        let unwritten = self.sealed.iter().skip(self.next);
        self.sent.lost += unwritten.map(|pack| pack.readings).sum::<u64>();
        self.queue.take(&mut self.bytes, &mut self.sealed);
        self.sent.lost += self.sealed.iter().map(|pack| pack.readings).sum::<u64>();
        self.sent
    }

    /// Ends a connection: what its reader has not consumed is lost, and a pack that was cut off is written again as a whole to
    /// the next, since the reader drops the half.
    async fn lose(&mut self) {
        if let Some(mut link) = self.link.take() {
            // It looks once how far the reader came, and does not wait.
            let _ = within(Instant::now(), link.writer.drained()).await;
            link.settle();
            self.sent.lost += link
                .in_flight
                .iter()
                .map(|(_, readings)| readings)
                .sum::<u64>();
            let before = self.next.checked_sub(1);
            self.begun = before.map_or(0, |before| self.sealed[before].end);
        }
    }
}

/// The reader is gone.
struct Gone;

/// The output of the future, if it is ready by then.
async fn within<T>(deadline: Instant, future: impl Future<Output = T>) -> Option<T> {
    let late = async {
        sleep_until(deadline).await;
        None
    };
    first(async { Some(future.await) }, late).await
}

/// Waits for a reader that is there and takes us.
async fn connect<P: Readers>(readers: &mut P) -> Result<Link<P::Meeting>, String> {
    let mut told = false;
    loop {
        let Some((who, meeting)) = readers.now()? else {
            tell_once(&mut told, "there is no reader yet");
            sleep_until(Instant::now() + LOOK).await;
            continue;
        };
        let other = async {
            loop {
                sleep_until(Instant::now() + LOOK).await;
                if readers.now()?.is_none_or(|(now, _)| now != who) {
                    return Ok(None);
                }
            }
        };
        let joined = async {
            loop {
                match Endpoint::connect(&meeting, ConnectOptions::default()).await {
                    Ok(endpoint) => return Ok(Some(endpoint)),
                    // What is left of a channel whose reader has gone: the next offer will take its place.
                    Err(
                        ConnectError::Bind(_)
                        | ConnectError::MapControl(_)
                        | ConnectError::PeerClosed(_)
                        | ConnectError::Used(_),
                    ) => sleep_until(Instant::now() + AGAIN).await,
                    Err(error) => return Err(error.to_string()),
                }
            }
        };
        if let Some(endpoint) = first(joined, other).await? {
            let (reader, writer) = endpoint.split();
            return Ok(Link {
                reader,
                writer,
                in_flight: VecDeque::new(),
                written: 0,
            });
        }
    }
}

fn tell_once(told: &mut bool, what: &str) {
    if !std::mem::replace(told, true) {
        output::tell(format_args!("{what}; waiting for it"));
    }
}

impl<R: Rendezvous> Link<R> {
    /// Forgets the packs that the reader has consumed.
    fn settle(&mut self) {
        let consumed = self.written.saturating_sub(self.writer.unread().into());
        while self
            .in_flight
            .front()
            .is_some_and(|(end, _)| *end <= consumed)
        {
            self.in_flight.pop_front();
        }
    }

    /// Waits until the reader closes or dies; it has nothing to say else.
    async fn gone(&mut self) {
        let mut unwanted = [0; 64];
        while let Ok(1..) = self.reader.read(&mut unwanted).await {}
    }
}
