//! A platform of which nothing is known.

use core::convert::Infallible;
use core::future::{Future, poll_fn};
use core::sync::atomic::Ordering;
use core::task::Poll;

use vchan::platform::{Access, EventChannel, Keys, Rendezvous, SharedMemory, Wake};

unsafe extern "C" {
    safe fn platform_load(memory: usize, offset: usize) -> u32;
    safe fn platform_store(memory: usize, offset: usize, value: u32);
    safe fn platform_exchange(memory: usize, offset: usize, value: u32) -> u32;
    safe fn platform_copy_out(memory: usize, offset: usize, to: *mut u8, len: usize);
    safe fn platform_copy_in(memory: usize, offset: usize, from: *const u8, len: usize);
    safe fn platform_event(port: usize) -> u64;
}

/// Memory that holds anything at any time.
pub struct Memory(usize);

impl SharedMemory for Memory {
    fn load_u8(&self, offset: usize, _: Ordering) -> u8 {
        platform_load(self.0, offset) as u8
    }
    fn load_u16(&self, offset: usize, _: Ordering) -> u16 {
        platform_load(self.0, offset) as u16
    }
    fn load_u32(&self, offset: usize, _: Ordering) -> u32 {
        platform_load(self.0, offset)
    }
    fn store_u8(&self, offset: usize, value: u8, _: Ordering) {
        platform_store(self.0, offset, u32::from(value));
    }
    fn store_u16(&self, offset: usize, value: u16, _: Ordering) {
        platform_store(self.0, offset, u32::from(value));
    }
    fn store_u32(&self, offset: usize, value: u32, _: Ordering) {
        platform_store(self.0, offset, value);
    }
    fn fetch_or_u8(&self, offset: usize, bits: u8, _: Ordering) -> u8 {
        platform_exchange(self.0, offset, u32::from(bits)) as u8
    }
    fn fetch_and_u8(&self, offset: usize, bits: u8, _: Ordering) -> u8 {
        platform_exchange(self.0, offset, u32::from(bits)) as u8
    }
    fn read(&self, offset: usize, out: &mut [u8]) {
        platform_copy_out(self.0, offset, out.as_mut_ptr(), out.len());
    }
    fn write(&self, offset: usize, data: &[u8]) {
        platform_copy_in(self.0, offset, data.as_ptr(), data.len());
    }
}

/// A port on which anything happens.
pub struct Port(usize);

impl EventChannel for Port {
    fn port(&self) -> u32 {
        platform_event(self.0) as u32
    }
    fn notify(&self) {
        platform_event(self.0);
    }
    fn event_count(&self) -> u64 {
        platform_event(self.0)
    }
    fn wait(&self, seen: u64) -> impl Future<Output = Wake> {
        poll_fn(move |_| match platform_event(self.0) {
            count if count == seen => Poll::Pending,
            1 => Poll::Ready(Wake::Heartbeat),
            _ => Poll::Ready(Wake::Event),
        })
    }
    fn wake(&self) {
        platform_event(self.0);
    }
    fn peer_bound(&self) -> bool {
        platform_event(self.0) == 0
    }
    fn relax(&self) {
        platform_event(self.0);
    }
    fn wake_cost(&self) -> u32 {
        platform_event(self.0) as u32
    }
}

/// Where nobody meets: no channel is made here, and the calls are given one that might exist.
pub enum Meeting {}

impl Rendezvous for Meeting {
    type Memory = Memory;
    type Events = Port;
    type Published = ();
    type Value = &'static [u8];
    type Error = Infallible;

    fn alloc_unbound(&self) -> Result<Port, Infallible> {
        match *self {}
    }
    fn share_control(&self, _: &Port) -> Result<Memory, Infallible> {
        match *self {}
    }
    fn share_ring(&self, _: usize, _: Access) -> Result<Memory, Infallible> {
        match *self {}
    }
    fn grant_ref(&self, _: &Memory, _: usize) -> u32 {
        match *self {}
    }
    async fn publish(&self, _: u32, _: u32) -> Result<(), Infallible> {
        match *self {}
    }
    async fn keys(&self) -> Result<Keys<&'static [u8]>, Infallible> {
        match *self {}
    }
    fn bind_interdomain(&self, _: u32) -> Result<Port, Infallible> {
        match *self {}
    }
    fn map_control(&self, _: u32, _: &Port) -> Result<Memory, Infallible> {
        match *self {}
    }
    fn map_ring(&self, _: &[u32], _: Access) -> Result<Memory, Infallible> {
        match *self {}
    }
}
