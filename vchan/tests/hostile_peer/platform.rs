//! A platform whose every load returns what a test dictates, and which counts the loads.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use vchan::interface::*;
use vchan::platform::{Access, EventChannel, Keys, Rendezvous, SharedMemory, Wake};

/// What a test plays: it answers each load, and may watch what we do. A closure answers only.
pub trait Peer {
    /// What a load of the field at this offset of the control page returns.
    fn load(&mut self, offset: usize) -> u32;
    /// We have stored a field of the control page.
    fn stored(&mut self, _offset: usize, _value: u32) {}
    /// We have copied out of a memory: 0 is the control page, others count up as they were made.
    fn copied_out(&mut self, _memory: usize, _offset: usize, _len: usize) {}
    /// We have copied into it.
    fn copied_in(&mut self, _memory: usize, _offset: usize, _len: usize) {}
    /// Whether our port is bound.
    fn bound(&mut self) -> bool {
        true
    }
}

impl<F: FnMut(usize) -> u32> Peer for F {
    fn load(&mut self, offset: usize) -> u32 {
        self(offset)
    }
}

pub struct Hostile {
    peer: RefCell<Box<dyn Peer>>,
    /// How often each field was loaded, read-modify-writes included, since last asked.
    loads: RefCell<HashMap<usize, usize>>,
    /// How the rings were mapped: pages and access.
    pub mapped: RefCell<Vec<(usize, Access)>>,
    /// The references that they were mapped by.
    pub refs: RefCell<Vec<u32>>,
    /// The same of the rings that were granted.
    pub shared: RefCell<Vec<(usize, Access)>>,
    /// What stands in the store.
    pub keys: RefCell<Keys<Vec<u8>>>,
    /// How long a wait looks before it sleeps.
    pub wake_cost: Cell<u32>,
    memories: Cell<usize>,
}

impl Hostile {
    pub fn new(peer: impl Peer + 'static) -> Rc<Self> {
        Rc::new(Hostile {
            peer: RefCell::new(Box::new(peer)),
            loads: RefCell::default(),
            mapped: RefCell::default(),
            refs: RefCell::default(),
            shared: RefCell::default(),
            keys: RefCell::new(Keys {
                ring_ref: b"4000000000".to_vec(),
                event_channel: b"1".to_vec(),
            }),
            wake_cost: Cell::new(0),
            memories: Cell::new(0),
        })
    }

    fn load(&self, offset: usize) -> u32 {
        *self.loads.borrow_mut().entry(offset).or_default() += 1;
        self.peer.borrow_mut().load(offset)
    }

    pub fn take_loads(&self) -> HashMap<usize, usize> {
        self.loads.take()
    }
}

pub struct Memory {
    pub peer: Rc<Hostile>,
    /// Which of its memories this is.
    pub number: usize,
    /// Bytes that bulk copies may touch.
    pub bulk: RangeInclusive<usize>,
    /// What is in it, where the peer may only read.
    pub bytes: Option<Vec<u8>>,
}

impl Memory {
    fn in_bounds(&self, offset: usize, len: usize) {
        assert!(len > 0, "a copy of nothing");
        assert!(
            self.bulk.contains(&offset) && self.bulk.contains(&(offset + len)),
            "out of the ring"
        );
    }
}

impl SharedMemory for Memory {
    fn load_u8(&self, offset: usize, _: Ordering) -> u8 {
        if *self.bulk.start() == 0 || offset >= GRANTS {
            // A byte of a ring, in place.
            self.in_bounds(offset, 1);
            let mut peer = self.peer.peer.borrow_mut();
            peer.copied_out(self.number, offset, 1);
            return 0;
        }
        self.peer.load(offset) as u8
    }
    fn load_u16(&self, offset: usize, _: Ordering) -> u16 {
        self.peer.load(offset) as u16
    }
    fn load_u32(&self, offset: usize, _: Ordering) -> u32 {
        assert!(offset.is_multiple_of(4) && offset + 4 <= PAGE_SIZE);
        self.peer.load(offset)
    }
    fn store_u8(&self, offset: usize, value: u8, order: Ordering) {
        self.store_u32(offset, u32::from(value), order);
    }
    fn store_u16(&self, offset: usize, value: u16, order: Ordering) {
        self.store_u32(offset, u32::from(value), order);
    }
    fn store_u32(&self, offset: usize, value: u32, _: Ordering) {
        self.peer.peer.borrow_mut().stored(offset, value);
    }
    fn fetch_or_u8(&self, offset: usize, _: u8, _: Ordering) -> u8 {
        self.peer.load(offset) as u8
    }
    fn fetch_and_u8(&self, offset: usize, _: u8, _: Ordering) -> u8 {
        self.peer.load(offset) as u8
    }
    fn read(&self, offset: usize, out: &mut [u8]) {
        self.in_bounds(offset, out.len());
        let mut peer = self.peer.peer.borrow_mut();
        peer.copied_out(self.number, offset, out.len());
    }
    fn write(&self, offset: usize, data: &[u8]) {
        self.in_bounds(offset, data.len());
        let mut peer = self.peer.peer.borrow_mut();
        peer.copied_in(self.number, offset, data.len());
    }
    fn plain(&mut self) -> Option<&mut [u8]> {
        self.bytes.as_deref_mut()
    }
}

/// An event channel on which something always seems to have happened: every wait lasts one turn.
pub struct Port {
    peer: Rc<Hostile>,
    waits: Cell<u32>,
}

impl EventChannel for Port {
    fn port(&self) -> u32 {
        1
    }
    fn notify(&self) {}
    fn event_count(&self) -> u64 {
        0
    }
    fn wait(&self, _: u64) -> impl Future<Output = Wake> {
        let mut waited = false;
        poll_fn(move |_| {
            if !core::mem::replace(&mut waited, true) {
                return Poll::Pending;
            }
            self.waits.set(self.waits.get() + 1);
            Poll::Ready(if self.waits.get().is_multiple_of(2) {
                Wake::Event
            } else {
                Wake::Heartbeat
            })
        })
    }
    fn wake(&self) {}
    fn peer_bound(&self) -> bool {
        self.peer.peer.borrow_mut().bound()
    }
    fn wake_cost(&self) -> u32 {
        self.peer.wake_cost.get()
    }
}

pub struct Meeting(pub Rc<Hostile>);

impl Meeting {
    fn memory(&self, bulk: RangeInclusive<usize>) -> Result<Memory, Infallible> {
        let number = if *bulk.start() == 0 {
            self.0.memories.set(self.0.memories.get() + 1);
            self.0.memories.get()
        } else {
            0
        };
        Ok(Memory {
            peer: Rc::clone(&self.0),
            number,
            bulk,
            bytes: None,
        })
    }
    fn port(&self) -> Result<Port, Infallible> {
        Ok(Port {
            peer: Rc::clone(&self.0),
            waits: Cell::new(0),
        })
    }
}

impl Rendezvous for Meeting {
    type Memory = Memory;
    type Events = Port;
    type Published = ();
    type Value = Vec<u8>;
    type Error = Infallible;

    fn alloc_unbound(&self) -> Result<Port, Infallible> {
        self.port()
    }
    fn share_control(&self, _: &Port) -> Result<Memory, Infallible> {
        self.memory(GRANTS..=PAGE_SIZE)
    }
    fn share_ring(&self, pages: usize, access: Access) -> Result<Memory, Infallible> {
        self.0.shared.borrow_mut().push((pages, access));
        let len = pages * PAGE_SIZE;
        let mut memory = self.memory(0..=len)?;
        memory.bytes = (access == Access::ReadOnly).then(|| vec![0; len]);
        Ok(memory)
    }
    fn grant_ref(&self, _: &Memory, page: usize) -> u32 {
        page as u32 + 1
    }
    async fn publish(&self, _: u32, _: u32) -> Result<(), Infallible> {
        Ok(())
    }
    async fn keys(&self) -> Result<Keys<Vec<u8>>, Infallible> {
        let keys = self.0.keys.borrow();
        Ok(Keys {
            ring_ref: keys.ring_ref.clone(),
            event_channel: keys.event_channel.clone(),
        })
    }
    fn bind_interdomain(&self, _: u32) -> Result<Port, Infallible> {
        self.port()
    }
    fn map_control(&self, _: u32, _: &Port) -> Result<Memory, Infallible> {
        self.memory(GRANTS..=PAGE_SIZE)
    }
    fn map_ring(&self, refs: &[u32], access: Access) -> Result<Memory, Infallible> {
        self.0.mapped.borrow_mut().push((refs.len(), access));
        self.0.refs.borrow_mut().extend(refs);
        assert!((1..=MAX_RING_PAGES).contains(&refs.len()) && !refs.contains(&0));
        self.memory(0..=refs.len() * PAGE_SIZE)
    }
}

/// A server that keeps to the rules while it is asked for its offer, with rings of these orders.
pub fn honest_offer(left: u16, right: u16) -> impl Fn(usize) -> u32 {
    move |offset| match offset {
        LEFT_ORDER => u32::from(left),
        RIGHT_ORDER => u32::from(right),
        CLI_LIVE => u32::from(LIVE_WAITING),
        SRV_LIVE => u32::from(LIVE_OPEN),
        GRANTS.. => offset as u32,
        _ => 0,
    }
}
