//! A platform for two threads of one process: memory of the heap, copied as fast as `memcpy` does, and the events of
//! `vchan::in_process`. Both ends keep to the rules, so that no copy races with another.
#![expect(unsafe_code, reason = "memory that two threads write")]

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use vchan::in_process::{Error, Host, Meeting, Port, Published};
use vchan::interface::PAGE_SIZE;
use vchan::platform::{Access, EventChannel, Keys, Rendezvous, SharedMemory, Wake};

struct Pages {
    start: *mut u8,
    layout: Layout,
}

// SAFETY: every access is atomic, or a copy that the indexes of the ring order.
unsafe impl Send for Pages {}
// SAFETY: as for `Send`.
unsafe impl Sync for Pages {}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, and nobody has it any more.
        unsafe { dealloc(self.start, self.layout) };
    }
}

/// Shared pages of either role.
#[derive(Clone)]
pub struct Memory {
    pages: Arc<Pages>,
    first_ref: u32,
}

impl Memory {
    /// Pages that are granted to nobody.
    pub fn of(pages: usize) -> Self {
        let layout = Layout::from_size_align(pages * PAGE_SIZE, PAGE_SIZE).unwrap();
        // SAFETY: the layout is not empty.
        let start = unsafe { alloc_zeroed(layout) };
        assert!(!start.is_null());
        Memory {
            pages: Arc::new(Pages { start, layout }),
            first_ref: 0,
        }
    }

    #[inline]
    fn at(&self, offset: usize, len: usize) -> *mut u8 {
        let size = self.pages.layout.size();
        assert!(offset <= size && len <= size - offset);
        // SAFETY: within the allocation, checked just now.
        unsafe { self.pages.start.add(offset) }
    }
}

macro_rules! accessors {
    ($($atomic:ty, $int:ty, $load:ident, $store:ident;)*) => {
        $(
            #[inline]
            fn $load(&self, offset: usize, order: Ordering) -> $int {
                // SAFETY: in range, and aligned by the promise of whoever calls the trait.
                unsafe { <$atomic>::from_ptr(self.at(offset, size_of::<$int>()).cast()) }.load(order)
            }

            #[inline]
            fn $store(&self, offset: usize, value: $int, order: Ordering) {
                // SAFETY: as for the load.
                unsafe { <$atomic>::from_ptr(self.at(offset, size_of::<$int>()).cast()) }.store(value, order);
            }
        )*
    };
}

impl SharedMemory for Memory {
    accessors! {
        AtomicU8, u8, load_u8, store_u8;
        AtomicU16, u16, load_u16, store_u16;
        AtomicU32, u32, load_u32, store_u32;
    }

    fn fetch_or_u8(&self, offset: usize, bits: u8, order: Ordering) -> u8 {
        // SAFETY: as for the stores.
        unsafe { AtomicU8::from_ptr(self.at(offset, 1)) }.fetch_or(bits, order)
    }

    fn fetch_and_u8(&self, offset: usize, bits: u8, order: Ordering) -> u8 {
        // SAFETY: as for the stores.
        unsafe { AtomicU8::from_ptr(self.at(offset, 1)) }.fetch_and(bits, order)
    }

    #[inline]
    fn read(&self, offset: usize, out: &mut [u8]) {
        let source = self.at(offset, out.len());
        // SAFETY: in range; the writer has left these bytes to us.
        unsafe { core::ptr::copy_nonoverlapping(source, out.as_mut_ptr(), out.len()) };
    }

    #[inline]
    fn write(&self, offset: usize, data: &[u8]) {
        let target = self.at(offset, data.len());
        // SAFETY: in range; the reader has left these bytes to us.
        unsafe { core::ptr::copy_nonoverlapping(data.as_ptr(), target, data.len()) };
    }

    #[inline]
    fn publish_u32(&self, offset: usize, value: u32) {
        // SAFETY: as for the stores. One exchange is a store and a full fence.
        unsafe { AtomicU32::from_ptr(self.at(offset, 4).cast()) }.swap(value, Ordering::SeqCst);
    }
}

/// A port, and how long to look before a sleep.
pub struct Bell(Port, u32);

impl EventChannel for Bell {
    fn port(&self) -> u32 {
        self.0.port()
    }
    fn notify(&self) {
        self.0.notify();
    }
    fn event_count(&self) -> u64 {
        self.0.event_count()
    }
    fn wait(&self, seen: u64) -> impl Future<Output = Wake> {
        self.0.wait(seen)
    }
    fn wake(&self) {
        self.0.wake();
    }
    fn peer_bound(&self) -> bool {
        self.0.peer_bound()
    }
    fn wake_cost(&self) -> u32 {
        self.1
    }
}

/// Where both ends meet.
#[derive(Clone)]
pub struct Place {
    meeting: Meeting,
    wake_cost: u32,
    granted: Arc<Mutex<HashMap<u32, Memory>>>,
}

impl Place {
    /// A place whose waits look that often before they sleep.
    pub fn new(wake_cost: u32) -> Self {
        Place {
            meeting: Host::new().meeting("bench"),
            wake_cost,
            granted: Arc::default(),
        }
    }

    fn share(&self, pages: usize) -> Memory {
        let memory = Memory::of(pages);
        let mut granted = self.granted.lock().unwrap();
        let memory = Memory {
            // One thousand references each: more than a ring has pages.
            first_ref: 1 + 1000 * granted.len() as u32,
            ..memory
        };
        granted.insert(memory.first_ref, memory.clone());
        memory
    }
}

impl Rendezvous for Place {
    type Memory = Memory;
    type Events = Bell;
    type Published = Published;
    type Value = Vec<u8>;
    type Error = Error;

    fn alloc_unbound(&self) -> Result<Bell, Error> {
        Ok(Bell(self.meeting.alloc_unbound()?, self.wake_cost))
    }
    fn share_control(&self, _: &Bell) -> Result<Memory, Error> {
        Ok(self.share(1))
    }
    fn share_ring(&self, pages: usize, _: Access) -> Result<Memory, Error> {
        Ok(self.share(pages))
    }
    fn grant_ref(&self, memory: &Memory, page: usize) -> u32 {
        memory.first_ref + page as u32
    }
    async fn publish(&self, ring_ref: u32, port: u32) -> Result<Published, Error> {
        self.meeting.publish(ring_ref, port).await
    }
    async fn keys(&self) -> Result<Keys<Vec<u8>>, Error> {
        self.meeting.keys().await
    }
    fn bind_interdomain(&self, port: u32) -> Result<Bell, Error> {
        Ok(Bell(self.meeting.bind_interdomain(port)?, self.wake_cost))
    }
    fn map_control(&self, ring_ref: u32, _: &Bell) -> Result<Memory, Error> {
        self.map_ring(&[ring_ref], Access::ReadWrite)
    }
    fn map_ring(&self, refs: &[u32], _: Access) -> Result<Memory, Error> {
        let granted = self.granted.lock().unwrap();
        granted.get(&refs[0]).cloned().ok_or(Error::Grant(refs[0]))
    }
}
