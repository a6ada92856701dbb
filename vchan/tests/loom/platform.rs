//! A platform of loom's atomics.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

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
pub struct Memory(Rc<Page>);

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

pub struct Port {
    own: Arc<Bell>,
    peer: Arc<Bell>,
    /// Whether the next wait ends with a heartbeat instead of an event.
    beats: std::sync::atomic::AtomicBool,
    looks: u32,
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
    fn relax(&self) {
        thread::yield_now();
    }
    fn wake_cost(&self) -> u32 {
        self.looks
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.own.open.store(false, Ordering::Release);
    }
}

/// Both ends of one channel. Making it takes no part in the model: it happens in one thread.
pub struct Meeting {
    page: Memory,
    server: Arc<Bell>,
    client: Arc<Bell>,
    pub beats: RefCell<bool>,
    pub looks: u32,
}

impl Meeting {
    pub fn new() -> Self {
        Meeting {
            page: Memory(Rc::default()),
            server: Bell::new(true),
            client: Bell::new(false),
            beats: RefCell::new(false),
            looks: 0,
        }
    }

    pub fn pair(self) -> (Endpoint<Meeting>, Endpoint<Meeting>) {
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
            looks: self.looks,
        })
    }
    fn share_control(&self, _: &Port) -> Result<Memory, Infallible> {
        Ok(self.page.clone())
    }
    fn share_ring(&self, _: usize, _: Access) -> Result<Memory, Infallible> {
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
            looks: self.looks,
        })
    }
    fn map_control(&self, _: u32, _: &Port) -> Result<Memory, Infallible> {
        Ok(self.page.clone())
    }
    fn map_ring(&self, _: &[u32], _: Access) -> Result<Memory, Infallible> {
        unreachable!("the default layout has no external ring")
    }
}
