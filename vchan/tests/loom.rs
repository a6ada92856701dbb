//! The shipped protocol code under loom: every interleaving and every stale value that the memory model allows, up to
//! a bound of preemptions. There are no heartbeats here unless a model asks for one, so a lost wake-up is a deadlock,
//! which loom reports.

#[path = "common/both.rs"]
mod both;

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use both::both;
use loom::cell::Cell;
use loom::future::block_on;
use loom::sync::Mutex;
use loom::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering, fence};
use loom::thread;

use vchan::interface::{
    CLI_LIVE, CLI_NOTIFY, GRANTS, LEFT_ORDER, RIGHT_ORDER, SRV_LIVE, SRV_NOTIFY,
};
use vchan::platform::{Access, EventChannel, Keys, Rendezvous, SharedMemory, Wake};
use vchan::{ConnectOptions, Endpoint, OfferOptions};

/// Positions of each ring whose bytes are modelled; the others take no part.
const MODELLED: usize = 4;
/// The default layout: orders 10 and 11, at these offsets of the control page.
const RINGS: [usize; 2] = [1024, 2048];

#[derive(Default)]
struct Page {
    indexes: [AtomicU32; 4],
    orders: [std::sync::atomic::AtomicU16; 2],
    flags: [AtomicU8; 4],
    /// Not atomic: loom reports an access that the indexes do not order after the peer's.
    bytes: [[Cell<u8>; MODELLED]; 2],
}

#[derive(Clone)]
struct Memory(Rc<Page>);

impl Memory {
    fn flag(&self, offset: usize) -> &AtomicU8 {
        assert!([CLI_LIVE, SRV_LIVE, CLI_NOTIFY, SRV_NOTIFY].contains(&offset));
        &self.0.flags[offset - CLI_LIVE]
    }

    fn order(&self, offset: usize) -> &std::sync::atomic::AtomicU16 {
        assert!([LEFT_ORDER, RIGHT_ORDER].contains(&offset));
        &self.0.orders[(offset - LEFT_ORDER) / 2]
    }

    /// The modelled bytes within a range, each with its place in the range.
    fn modelled(&self, offset: usize, len: usize) -> impl Iterator<Item = (usize, &Cell<u8>)> {
        assert!(offset >= GRANTS && offset + len <= 4096);
        RINGS
            .into_iter()
            .zip(&self.0.bytes)
            .flat_map(move |(start, bytes)| {
                bytes.iter().enumerate().filter_map(move |(at, byte)| {
                    let place = (start + at).checked_sub(offset)?;
                    (place < len).then_some((place, byte))
                })
            })
    }
}

impl SharedMemory for Memory {
    fn load_u8(&self, offset: usize, order: Ordering) -> u8 {
        self.flag(offset).load(order)
    }
    fn load_u16(&self, offset: usize, order: Ordering) -> u16 {
        self.order(offset).load(order)
    }
    fn load_u32(&self, offset: usize, order: Ordering) -> u32 {
        self.0.indexes[offset / 4].load(order)
    }
    fn store_u8(&self, offset: usize, value: u8, order: Ordering) {
        self.flag(offset).store(value, order);
    }
    fn store_u16(&self, offset: usize, value: u16, order: Ordering) {
        self.order(offset).store(value, order);
    }
    fn store_u32(&self, offset: usize, value: u32, order: Ordering) {
        self.0.indexes[offset / 4].store(value, order);
    }
    fn fetch_or_u8(&self, offset: usize, bits: u8, order: Ordering) -> u8 {
        self.flag(offset).fetch_or(bits, order)
    }
    fn fetch_and_u8(&self, offset: usize, bits: u8, order: Ordering) -> u8 {
        self.flag(offset).fetch_and(bits, order)
    }
    fn read(&self, offset: usize, out: &mut [u8]) {
        for (place, byte) in self.modelled(offset, out.len()) {
            out[place] = byte.get();
        }
    }
    fn write(&self, offset: usize, data: &[u8]) {
        for (place, byte) in self.modelled(offset, data.len()) {
            byte.set(data[place]);
        }
    }
    fn fence(&self) {
        fence(Ordering::SeqCst);
    }
}

/// One end's port: a count, and who waits for it to move.
struct Bell {
    count: AtomicU64,
    waiting: Mutex<Vec<Waker>>,
    open: AtomicBool,
}

impl Bell {
    fn new(open: bool) -> Arc<Self> {
        Arc::new(Bell {
            count: AtomicU64::new(0),
            waiting: Mutex::new(Vec::new()),
            open: AtomicBool::new(open),
        })
    }

    fn ring(&self) {
        let waiting = {
            let mut waiting = self.waiting.lock().unwrap();
            // Release: what the sender stored is visible to who sees the event.
            self.count.fetch_add(1, Ordering::Release);
            std::mem::take(&mut *waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }
}

struct Port {
    own: Arc<Bell>,
    peer: Arc<Bell>,
    /// Whether the next wait ends with a heartbeat instead of an event.
    beats: std::sync::atomic::AtomicBool,
}

impl EventChannel for Port {
    fn port(&self) -> u32 {
        1
    }
    fn notify(&self) {
        self.peer.ring();
    }
    fn event_count(&self) -> u64 {
        self.own.count.load(Ordering::Acquire)
    }
    fn wait(&self, seen: u64) -> impl Future<Output = Wake> {
        poll_fn(move |context| {
            if self.beats.swap(false, Ordering::Relaxed) {
                return Poll::Ready(Wake::Heartbeat);
            }
            let mut waiting = self.own.waiting.lock().unwrap();
            if self.own.count.load(Ordering::Acquire) != seen {
                return Poll::Ready(Wake::Event);
            }
            waiting.push(context.waker().clone());
            Poll::Pending
        })
    }
    fn wake(&self) {
        self.own.ring();
    }
    fn peer_bound(&self) -> bool {
        self.peer.open.load(Ordering::Acquire)
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.own.open.store(false, Ordering::Release);
    }
}

/// Both ends of one channel. Making it takes no part in the model: it happens in one thread.
struct Meeting {
    page: Memory,
    server: Arc<Bell>,
    client: Arc<Bell>,
    beats: RefCell<bool>,
}

impl Meeting {
    fn new() -> Self {
        Meeting {
            page: Memory(Rc::default()),
            server: Bell::new(true),
            client: Bell::new(false),
            beats: RefCell::new(false),
        }
    }

    fn pair(self) -> (Endpoint<Meeting>, Endpoint<Meeting>) {
        let server = block_on(Endpoint::offer(&self, OfferOptions::default())).unwrap();
        let client = block_on(Endpoint::connect(&self, ConnectOptions::default()));
        (server, client.unwrap_or_else(|error| panic!("{error}")))
    }
}

impl Rendezvous for Meeting {
    type Memory = Memory;
    type Events = Port;
    type Published = ();
    type Value = &'static [u8];
    type Error = Infallible;

    fn alloc_unbound(&self) -> Result<Port, Infallible> {
        Ok(Port {
            own: Arc::clone(&self.server),
            peer: Arc::clone(&self.client),
            beats: (*self.beats.borrow()).into(),
        })
    }
    fn share_control(&self, _: &Port) -> Result<Memory, Infallible> {
        Ok(self.page.clone())
    }
    fn share_ring(&self, _: usize) -> Result<Memory, Infallible> {
        unreachable!("the default layout has no external ring")
    }
    fn grant_ref(&self, _: &Memory, _: usize) -> u32 {
        1
    }
    async fn publish(&self, _: u32, _: u32) -> Result<(), Infallible> {
        Ok(())
    }
    async fn keys(&self) -> Result<Keys<&'static [u8]>, Infallible> {
        Ok(Keys {
            ring_ref: b"1",
            event_channel: b"1",
        })
    }
    fn bind_interdomain(&self, _: u32) -> Result<Port, Infallible> {
        self.client.open.store(true, Ordering::Release);
        Ok(Port {
            own: Arc::clone(&self.client),
            peer: Arc::clone(&self.server),
            beats: false.into(),
        })
    }
    fn map_control(&self, _: u32, _: &Port) -> Result<Memory, Infallible> {
        Ok(self.page.clone())
    }
    fn map_ring(&self, _: &[u32], _: Access) -> Result<Memory, Infallible> {
        unreachable!("the default layout has no external ring")
    }
}

/// Two preemptions find every bug that was put in on purpose; `LOOM_MAX_PREEMPTIONS` asks for more.
fn model(body: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(2));
    builder.check(body);
}

#[test]
fn bytes_wake_a_sleeping_reader() {
    model(|| {
        let (server, client) = Meeting::new().pair();
        let (mut reader, _server_writer) = server.split();
        let (_client_reader, mut writer) = client.split();
        let writing = thread::spawn(move || {
            assert_eq!(writer.try_write(&[11]), Ok(1));
            assert_eq!(writer.try_write(&[22]), Ok(1));
            writer
        });
        let mut got = Vec::new();
        while got.len() < 2 {
            let mut out = [0; 8];
            let read = block_on(reader.read(&mut out)).unwrap();
            assert!(read > 0);
            got.extend_from_slice(&out[..read]);
        }
        assert_eq!(got, [11, 22]);
        drop(writing.join().unwrap());
    });
}

#[test]
fn space_wakes_a_sleeping_writer() {
    model(|| {
        let (server, client) = Meeting::new().pair();
        let (mut reader, _server_writer) = server.split();
        let (_client_reader, mut writer) = client.split();
        // All of the ring but its last byte. Position 0 is written again after the wrap, so a copy out that came too
        // late, or space that was taken too early, shows in the byte there.
        let mut fill = [0; 1023];
        fill[0] = 11;
        assert_eq!(writer.try_write(&fill), Ok(1023));
        let writing = thread::spawn(move || {
            let mut data = &[0, 22][..];
            while !data.is_empty() {
                let written = block_on(writer.write(data)).unwrap();
                data = &data[written..];
            }
            writer
        });
        let mut got = Vec::new();
        while got.len() < 1025 {
            let mut out = [0; 1025];
            let read = block_on(reader.read(&mut out)).unwrap();
            got.extend_from_slice(&out[..read]);
        }
        assert_eq!((got[0], got[1024]), (11, 22));
        drop(writing.join().unwrap());
    });
}

#[test]
fn data_comes_before_the_close() {
    model(|| {
        let (mut server, mut client) = Meeting::new().pair();
        let writing = thread::spawn(move || {
            assert_eq!(client.try_write(&[11, 22]), Ok(2));
            drop(client);
        });
        let mut got = Vec::new();
        loop {
            let mut out = [0; 8];
            match block_on(server.reader().read(&mut out)).unwrap() {
                0 => break,
                read => got.extend_from_slice(&out[..read]),
            }
        }
        assert_eq!(got, [11, 22]);
        writing.join().unwrap();
    });
}

#[test]
fn a_close_during_a_heartbeat_is_no_death() {
    model(|| {
        let meeting = Meeting::new();
        *meeting.beats.borrow_mut() = true;
        let (mut server, client) = meeting.pair();
        let closing = thread::spawn(move || drop(client));
        assert_eq!(block_on(server.reader().read(&mut [0; 4])), Ok(0));
        closing.join().unwrap();
    });
}

#[test]
fn a_client_that_comes_during_a_heartbeat_is_not_dead() {
    model(|| {
        let meeting = Meeting::new();
        *meeting.beats.borrow_mut() = true;
        let mut server = block_on(Endpoint::offer(&meeting, OfferOptions::default())).unwrap();
        let connecting = thread::spawn(move || {
            let joined = block_on(Endpoint::connect(&meeting, ConnectOptions::default()));
            let mut client = joined.unwrap();
            assert_eq!(client.try_write(&[11]), Ok(1));
            client
        });
        assert_eq!(block_on(server.reader().read(&mut [0; 4])), Ok(1));
        drop(connecting.join().unwrap());
    });
}

#[test]
fn a_client_that_connects_wakes_its_server() {
    model(|| {
        let meeting = Meeting::new();
        let server = block_on(Endpoint::offer(&meeting, OfferOptions::default())).unwrap();
        let connecting = thread::spawn(move || {
            block_on(Endpoint::connect(&meeting, ConnectOptions::default())).unwrap()
        });
        block_on(server.connected()).unwrap();
        drop(connecting.join().unwrap());
    });
}

#[test]
fn what_a_server_writes_early_reaches_its_client() {
    model(|| {
        let meeting = Meeting::new();
        let mut server = block_on(Endpoint::offer(&meeting, OfferOptions::default())).unwrap();
        let connecting = thread::spawn(move || {
            let mut client =
                block_on(Endpoint::connect(&meeting, ConnectOptions::default())).unwrap();
            let mut out = [0];
            assert_eq!(block_on(client.reader().read(&mut out)), Ok(1));
            assert_eq!(out, [11]);
            client
        });
        assert_eq!(server.try_write(&[11]), Ok(1));
        drop(connecting.join().unwrap());
    });
}

/// A reader that reads everything and goes at once has read everything.
#[test]
fn drained_wakes_when_all_is_read() {
    model(|| {
        let (mut server, mut client) = Meeting::new().pair();
        assert_eq!(client.try_write(&[11]), Ok(1));
        let reading = thread::spawn(move || {
            assert_eq!(server.try_read(&mut [0]), Ok(Some(1)));
            drop(server);
        });
        assert_eq!(block_on(client.drained()), Ok(()));
        reading.join().unwrap();
    });
}

/// The server's halves sleep on one port, as two tasks of one thread, one for data and one for space; a single event
/// may carry the news for both.
#[test]
fn two_directions_share_one_event() {
    model(|| {
        let (server, mut client) = Meeting::new().pair();
        let (mut reader, mut writer) = server.split();
        assert_eq!(writer.try_write(&[0; 2048]), Ok(2048));
        let peer = thread::spawn(move || {
            assert_eq!(client.try_read(&mut [0; 2048]), Ok(Some(2048)));
            assert_eq!(client.try_write(&[11]), Ok(1));
            client
        });
        let mut out = [0; 4];
        let (read, written) = block_on(both(reader.read(&mut out), writer.write(&[22])));
        assert_eq!((read, written, out[0]), (Ok(1), Ok(1), 11));
        drop(peer.join().unwrap());
    });
}

#[test]
fn closing_one_half_wakes_the_other() {
    model(|| {
        let (server, client) = Meeting::new().pair();
        let (mut reader, writer) = server.split();
        let closing = thread::spawn(move || writer.close());
        assert_eq!(block_on(reader.read(&mut [0; 4])), Ok(0));
        closing.join().unwrap();
        drop(client);
    });
}
