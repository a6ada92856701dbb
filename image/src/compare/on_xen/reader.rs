//! A reader in dom0: waits for a stage, and notes when its readings come and what they are.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{ErrorKind, Read as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use stage::senml::{Item, Pack, StreamDecoder};
use stage::{Timestamp, Value};
use vchan_linux::xen::Meeting;
use vchan_linux::xenstore::{Connection, Tx};
use vchan_linux::{Endpoint, Layout, OfferOptions, Readable, block_until};

use super::site::{Site, Trouble};
use crate::xl::console;

/// Bytes of the ring that it offers, as a stage does where nobody says more.
const RING: usize = 16 << 10;

/// How long a reader sleeps before it looks whether it is still wanted.
const NAP: Duration = Duration::from_millis(100);

/// How often to look whether the domain that is waited for still lives.
const LOOK_AFTER: Duration = Duration::from_secs(1);

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// When the first pack was here.
    pub first: Instant,
    /// When the last one was.
    pub last: Instant,
    /// All readings.
    pub readings: u64,
    /// The same for the same readings in the same order, however they were packed.
    pub digest: String,
}

/// What a reader has to say.
#[derive(Debug)]
enum Heard {
    /// Its writer finds it from now on.
    Ready,
    /// The first pack is here.
    First(Instant),
    /// The stream has ended, or as much has come as is wanted.
    End(Received),
    /// Neither will come.
    Failed(String),
}

/// A reader. It goes when it is dropped.
#[derive(Debug)]
pub struct Reader {
    heard: Receiver<Heard>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    ready: bool,
    first: Option<Instant>,
    end: Option<Result<Received, String>>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // One that panicked has nothing more to say.
            let _ = thread.join();
        }
    }
}

/// Whose readings are waited for over vchan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Writer {
    /// A domain that is there.
    Domain(u16),
    /// The domain that will get this name, whatever its number.
    ToCome(String),
}

impl Reader {
    /// Over vchan, at an edge of this name; of a domain to come it hears as soon as Xen's store does. Ends after `most` readings.
    pub fn over_vchan(writer: Writer, edge: &str, most: u64) -> Result<Self, Trouble> {
        let mut coming = match writer {
            Writer::Domain(id) => Coming::Here(id),
            Writer::ToCome(name) => Coming::new(name).map_err(Trouble::new)?,
        };
        let edge = edge.to_owned();
        Ok(Self::start(move |wanted, heard| {
            let Some(peer) = coming.id(wanted)? else {
                return Ok(None);
            };
            let path = format!("/local/domain/0/data/vchan/{peer}/{edge}");
            let meeting = Meeting::new(peer, &path).map_err(|error| error.to_string())?;
            let layout = Layout::for_sizes(RING, 0).map_err(|error| error.to_string())?;
            let offered = Endpoint::offer(&meeting, OfferOptions::from(layout));
            let endpoint = vchan_linux::block_on(offered).map_err(|error| error.to_string())?;
            let _ = heard.send(Heard::Ready);
            while wanted() {
                match block_until(Instant::now() + NAP, endpoint.connected()) {
                    Some(Ok(())) => break,
                    Some(Err(error)) => return Err(error.to_string()),
                    None => {}
                }
            }
            let (mut reader, _writer) = endpoint.split();
            let read =
                |space: &mut [u8]| match block_until(Instant::now() + NAP, reader.read(space)) {
                    Some(count) => count.map(Some).map_err(|error| error.to_string()),
                    None => Ok(None),
                };
            gather(read, most, wanted, heard)
        }))
    }

    /// Over TCP, at this address of dom0.
    pub fn over_tcp(address: SocketAddr, most: u64) -> Result<Self, Trouble> {
        let wrong = |error| Trouble::new(format_args!("listening at {address}: {error}"));
        let listener = TcpListener::bind(address).map_err(wrong)?;
        listener.set_nonblocking(true).map_err(wrong)?;
        let listener = Arc::new(listener);
        Ok(Self::start(move |wanted, heard| {
            let _ = heard.send(Heard::Ready);
            let Some(stream) = accept(&listener, wanted)? else {
                return Ok(None);
            };
            // Where it listened, the next reader may.
            drop(listener);
            gather(|space| read(&stream, space), most, wanted, heard)
        }))
    }

    fn start(
        work: impl FnOnce(&dyn Fn() -> bool, &Sender<Heard>) -> Result<Option<Received>, String>
        + Send
        + 'static,
    ) -> Self {
        let (sender, heard) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let wanted = || !stopped.load(Ordering::Relaxed);
            let said = match work(&wanted, &sender) {
                Ok(Some(received)) => Heard::End(received),
                // Nobody listens.
                Ok(None) => return,
                Err(error) => Heard::Failed(error),
            };
            let _ = sender.send(said);
        });
        Self {
            heard,
            stop,
            thread: Some(thread),
            ready: false,
            first: None,
            end: None,
        }
    }

    fn listen(&mut self) {
        while let Ok(heard) = self.heard.try_recv() {
            match heard {
                Heard::Ready => self.ready = true,
                Heard::First(at) => self.first = Some(at),
                Heard::End(received) => self.end = Some(Ok(received)),
                Heard::Failed(error) => self.end = Some(Err(error)),
            }
        }
    }

    /// Waits until its writer finds it.
    pub fn ready(&mut self, site: &Site<'_>, name: &str) -> Result<(), Trouble> {
        self.wait(site, name, site.patience, |this| this.ready.then_some(()))
    }

    /// Waits for the first pack of domain `name`.
    pub fn first(
        &mut self,
        site: &Site<'_>,
        name: &str,
        patience: Duration,
    ) -> Result<Instant, Trouble> {
        self.wait(site, name, patience, |this| this.first)
    }

    /// Waits for the end.
    pub fn all(
        &mut self,
        site: &Site<'_>,
        name: &str,
        patience: Duration,
    ) -> Result<Received, Trouble> {
        let end = self.wait(site, name, patience, |this| this.end.clone())?;
        end.map_err(Trouble::Failed)
    }

    fn wait<V>(
        &mut self,
        site: &Site<'_>,
        name: &str,
        patience: Duration,
        wanted: impl Fn(&Self) -> Option<V>,
    ) -> Result<V, Trouble> {
        let full = Site::full_name(name);
        let mut looked = Instant::now();
        let mut has_ended = false;
        let silent = || format!("no readings of {full}{}", site.last_words(name));
        site.until(patience, silent, || {
            self.listen();
            if let Some(found) = wanted(self) {
                return Ok(Some(found));
            }
            if let Some(Err(error)) = &self.end {
                let last = site.last_words(name);
                return Err(Trouble::Failed(format!("{full}: {error}{last}")));
            }
            if has_ended {
                return Err(Trouble::Failed(format!(
                    "{full} has ended{}",
                    last_lines(name)
                )));
            }
            if looked.elapsed() >= LOOK_AFTER {
                looked = Instant::now();
                // Not before it has been there: it is being created, perhaps.
                let domain = site.domain(name)?;
                has_ended = domain.is_some_and(|domain| domain.ended.is_some() || domain.dying);
            }
            Ok(None)
        })
    }
}

/// What a domain said last; a Linux guest says more than one line when it ends.
fn last_lines(name: &str) -> String {
    const LINES: usize = 4;
    let lines = console::tail(&Site::full_name(name));
    let (_, last) = lines.split_at(lines.len().saturating_sub(LINES));
    match last {
        [] => String::new(),
        last => format!(", and said last: {}", last.join(" / ")),
    }
}

/// A domain that is there, or will be.
enum Coming {
    Here(u16),
    ToCome {
        name: String,
        store: Connection,
        others: BTreeSet<String>,
    },
}

impl Coming {
    fn new(name: String) -> Result<Self, vchan_linux::xenstore::Error> {
        let mut store = Connection::open()?;
        // The watch comes first, so that no domain falls between the two.
        store.watch("@introduceDomain")?;
        let others = store.directory(Tx::NONE, "/local/domain")?;
        Ok(Self::ToCome {
            name,
            store,
            others: others.into_iter().collect(),
        })
    }

    /// Its number, once it is there.
    fn id(&mut self, wanted: &dyn Fn() -> bool) -> Result<Option<u16>, String> {
        let (name, store, others) = match self {
            Self::Here(id) => return Ok(Some(*id)),
            Self::ToCome {
                name,
                store,
                others,
            } => (name, store, others),
        };
        while wanted() {
            if let Some(Err(error)) = block_until(Instant::now() + NAP, store.changed()) {
                return Err(error.to_string());
            }
            let now = store.directory(Tx::NONE, "/local/domain");
            for id in now.map_err(|error| error.to_string())? {
                if others.contains(&id) {
                    continue;
                }
                // One that has no name yet is looked at again.
                let called = store.read(Tx::NONE, &format!("/local/domain/{id}/name"));
                if called.is_ok_and(|called| called == name.as_bytes())
                    && let Ok(id) = id.parse()
                    && store.is_domain_introduced(id).unwrap_or(false)
                {
                    return Ok(Some(id));
                }
            }
        }
        Ok(None)
    }
}

fn accept(
    listener: &Arc<TcpListener>,
    wanted: &dyn Fn() -> bool,
) -> Result<Option<TcpStream>, String> {
    while wanted() {
        match listener.accept() {
            Ok((stream, _)) => {
                stream
                    .set_nonblocking(false)
                    .and_then(|()| stream.set_read_timeout(Some(NAP)))
                    .map_err(|error| error.to_string())?;
                return Ok(Some(stream));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let coming = Readable::new(Arc::<TcpListener>::clone(listener));
                let _ = block_until(Instant::now() + NAP, coming);
            }
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(None)
}

fn read(mut stream: &TcpStream, space: &mut [u8]) -> Result<Option<usize>, String> {
    match stream.read(space) {
        Ok(count) => Ok(Some(count)),
        Err(error) => match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => Ok(None),
            _ => Err(error.to_string()),
        },
    }
}

/// Reads until the stream ends, `most` readings have come, or nobody wants them any more (`None`).
fn gather(
    mut read: impl FnMut(&mut [u8]) -> Result<Option<usize>, String>,
    most: u64,
    wanted: &dyn Fn() -> bool,
    heard: &Sender<Heard>,
) -> Result<Option<Received>, String> {
    let mut decoder = StreamDecoder::new();
    let mut readings = Readings::default();
    let mut first = None;
    let mut last = Instant::now();
    while wanted() {
        let space = decoder.space(RING).map_err(|error| error.to_string())?;
        match read(space)? {
            None => continue,
            Some(0) => {
                let count = readings.count;
                return Err(format!("the stream broke off after {count} readings"));
            }
            Some(count) => decoder.filled(count),
        }
        let now = Instant::now();
        let before = readings.count;
        let mut end = false;
        loop {
            match decoder.next_item().map_err(|error| error.to_string())? {
                Item::Incomplete => break,
                Item::End => {
                    end = true;
                    break;
                }
                Item::Pack(pack) => readings.take(pack)?,
            }
        }
        if readings.count > before {
            last = now;
            if first.is_none() {
                first = Some(now);
                let _ = heard.send(Heard::First(now));
            }
        }
        if end || readings.count >= most {
            let first = first.ok_or("the stream ended without a reading")?;
            return Ok(Some(Received {
                first,
                last,
                readings: readings.count,
                digest: readings.digest(),
            }));
        }
    }
    Ok(None)
}

/// Readings, by what they say.
#[derive(Default)]
pub struct Readings {
    /// How many.
    pub count: u64,
    hash: Sha256,
}

impl Readings {
    /// Takes in those of a pack.
    pub fn take(&mut self, pack: Pack<'_>) -> Result<(), String> {
        let mut readings = pack
            .readings(Timestamp::default())
            .map_err(|error| error.to_string())?;
        while let Some(reading) = readings.next_reading().map_err(|error| error.to_string())? {
            let value = match reading.value {
                Value::Number(value) => format!("v{:x}", value.to_bits()),
                Value::Sum(value) => format!("s{:x}", value.to_bits()),
                Value::Boolean(value) => format!("vb{value}"),
                Value::Text(text) => format!("vs{text:?}"),
                Value::Data(bytes) => format!("vd{bytes:?}"),
            };
            let (name, unit, time) = (reading.name, reading.unit, reading.time.nanos());
            self.hash.update(format!("{name} {unit} {time} {value}\n"));
            self.count += 1;
        }
        Ok(())
    }

    /// The same for the same readings in the same order.
    pub fn digest(self) -> String {
        let mut text = String::new();
        for byte in self.hash.finalize() {
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use stage::Reading;
    use stage::senml::{END_OF_STREAM, PackQueue};

    use super::*;

    /// A stream of so many readings, at most so many of them in a pack.
    fn stream(count: i64, in_pack: i64) -> Vec<u8> {
        let mut queue = PackQueue::new(64 << 10);
        let (mut bytes, mut all, mut sealed) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..count {
            let time = Timestamp::from_seconds(1_767_225_600 + number).unwrap();
            queue
                .push(&Reading::number("level", time, number as f64 / 3.0))
                .unwrap();
            if (number + 1) % in_pack == 0 {
                queue.seal();
                queue.take(&mut bytes, &mut sealed);
                all.extend(&bytes);
            }
        }
        all
    }

    fn gathered(stream: &[u8], piece: usize, most: u64) -> Result<Option<Received>, String> {
        let mut pieces = stream.chunks(piece);
        let (sender, _heard) = channel();
        gather(
            |space| {
                let Some(piece) = pieces.next() else {
                    return Ok(Some(0));
                };
                space[..piece.len()].copy_from_slice(piece);
                Ok(Some(piece.len()))
            },
            most,
            &|| true,
            &sender,
        )
    }

    #[test]
    fn what_readings_say_counts_and_not_how_they_are_packed() {
        let ended = |in_pack| [stream(600, in_pack), vec![END_OF_STREAM]].concat();
        let one = gathered(&ended(100), 7, u64::MAX).unwrap().unwrap();
        let other = gathered(&ended(3), 4096, u64::MAX).unwrap().unwrap();
        assert_eq!((one.readings, other.readings), (600, 600));
        assert_eq!(one.digest, other.digest);
        let fewer = gathered(&ended(3), 4096, 300).unwrap().unwrap();
        assert!(fewer.readings < 600 && fewer.digest != one.digest);
    }

    #[test]
    fn a_stream_that_breaks_off_or_is_none_is_an_error() {
        let whole = stream(6, 3);
        let error = gathered(&whole, 50, u64::MAX).unwrap_err();
        assert!(error.contains("after 6 readings"), "{error}");
        assert!(gathered(&[END_OF_STREAM], 1, 9).is_err());
        assert!(gathered(b"no readings", 4, 9).is_err());
    }

    #[test]
    fn a_reader_over_tcp_waits_and_ends_when_it_is_dropped() {
        let address = (Ipv4Addr::LOCALHOST, 0).into();
        drop(Reader::over_tcp(address, 1).unwrap());
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert!(Reader::over_tcp(taken.local_addr().unwrap(), 1).is_err());
    }

    #[test]
    fn where_a_reader_reads_already_the_next_one_may_listen() {
        // An address where nobody else takes a port meanwhile.
        let free = TcpListener::bind((Ipv4Addr::new(127, 98, 76, 1), 0)).unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let mut reader = Reader::over_tcp(address, u64::MAX).unwrap();
        let mut writer = TcpStream::connect(address).unwrap();
        std::io::Write::write_all(&mut writer, &stream(3, 3)).unwrap();
        while reader.first.is_none() {
            assert!(reader.end.is_none(), "{:?}", reader.end);
            reader.listen();
            thread::sleep(Duration::from_millis(1));
        }
        Reader::over_tcp(address, u64::MAX).unwrap();
    }
}
