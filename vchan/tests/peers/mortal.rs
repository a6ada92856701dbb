//! The in-process platform, for one end that may die in the middle of anything, or whose events get lost.

use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use vchan::in_process::{self, Error};
use vchan::platform::{Access, EventChannel, Keys, Rendezvous, SharedMemory, Wake};

/// How long an end lives, and what becomes of its events.
#[derive(Debug)]
pub struct Life {
    /// Stores and events that it still gets done; nothing afterwards reaches anyone.
    left: Cell<usize>,
    /// Of so many events one arrives; 0 is all.
    arrives: Cell<u32>,
    sent: Cell<u32>,
}

impl Life {
    /// One that ends after `left` stores and events.
    pub fn of(left: usize) -> Rc<Self> {
        Rc::new(Self {
            left: Cell::new(left),
            arrives: Cell::new(1),
            sent: Cell::new(0),
        })
    }

    /// One without an end, of whose events only one in `arrives` arrives.
    pub fn deaf(arrives: u32) -> Rc<Self> {
        let life = Self::of(usize::MAX);
        life.arrives.set(arrives);
        life
    }

    /// Ends after so much more.
    pub fn end_after(&self, left: usize) {
        self.left.set(left);
    }

    pub fn is_over(&self) -> bool {
        self.left.get() == 0
    }

    /// One more thing to get done; whether it is.
    fn does(&self) -> bool {
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        left > 0
    }
}

pub struct Mortal {
    pub life: Rc<Life>,
    pub inner: in_process::Meeting,
}

pub struct Memory {
    life: Rc<Life>,
    inner: in_process::Memory,
}

pub struct Port {
    life: Rc<Life>,
    inner: in_process::Port,
}

impl SharedMemory for Memory {
    fn load_u8(&self, offset: usize, order: Ordering) -> u8 {
        self.inner.load_u8(offset, order)
    }
    fn load_u16(&self, offset: usize, order: Ordering) -> u16 {
        self.inner.load_u16(offset, order)
    }
    fn load_u32(&self, offset: usize, order: Ordering) -> u32 {
        self.inner.load_u32(offset, order)
    }
    fn store_u8(&self, offset: usize, value: u8, order: Ordering) {
        if self.life.does() {
            self.inner.store_u8(offset, value, order);
        }
    }
    fn store_u16(&self, offset: usize, value: u16, order: Ordering) {
        if self.life.does() {
            self.inner.store_u16(offset, value, order);
        }
    }
    fn store_u32(&self, offset: usize, value: u32, order: Ordering) {
        if self.life.does() {
            self.inner.store_u32(offset, value, order);
        }
    }
    fn fetch_or_u8(&self, offset: usize, bits: u8, order: Ordering) -> u8 {
        match self.life.does() {
            true => self.inner.fetch_or_u8(offset, bits, order),
            false => self.inner.load_u8(offset, Ordering::Acquire),
        }
    }
    fn fetch_and_u8(&self, offset: usize, bits: u8, order: Ordering) -> u8 {
        match self.life.does() {
            true => self.inner.fetch_and_u8(offset, bits, order),
            false => self.inner.load_u8(offset, Ordering::Acquire),
        }
    }
    fn read(&self, offset: usize, out: &mut [u8]) {
        self.inner.read(offset, out);
    }
    /// Byte by byte: a death in the middle of a copy leaves its beginning.
    fn write(&self, offset: usize, data: &[u8]) {
        for (at, &byte) in data.iter().enumerate() {
            if self.life.does() {
                self.inner.store_u8(offset + at, byte, Ordering::Relaxed);
            }
        }
    }
}

impl EventChannel for Port {
    fn port(&self) -> u32 {
        self.inner.port()
    }
    fn notify(&self) {
        self.life.sent.set(self.life.sent.get() + 1);
        if self.life.does() && self.life.sent.get().is_multiple_of(self.life.arrives.get()) {
            self.inner.notify();
        }
    }
    fn event_count(&self) -> u64 {
        self.inner.event_count()
    }
    fn wait(&self, seen: u64) -> impl Future<Output = Wake> {
        self.inner.wait(seen)
    }
    fn wake(&self) {
        self.inner.wake();
    }
    fn peer_bound(&self) -> bool {
        self.inner.peer_bound()
    }
}

impl Mortal {
    pub fn new(inner: &in_process::Meeting, life: &Rc<Life>) -> Self {
        Self {
            life: Rc::clone(life),
            inner: inner.clone(),
        }
    }

    fn memory(&self, inner: in_process::Memory) -> Memory {
        let life = Rc::clone(&self.life);
        Memory { life, inner }
    }

    fn port(&self, inner: in_process::Port) -> Port {
        let life = Rc::clone(&self.life);
        Port { life, inner }
    }
}

impl Rendezvous for Mortal {
    type Memory = Memory;
    type Events = Port;
    type Published = in_process::Published;
    type Value = Vec<u8>;
    type Error = Error;

    fn alloc_unbound(&self) -> Result<Port, Error> {
        Ok(self.port(self.inner.alloc_unbound()?))
    }
    fn share_control(&self, events: &Port) -> Result<Memory, Error> {
        Ok(self.memory(self.inner.share_control(&events.inner)?))
    }
    fn share_ring(&self, pages: usize, peer: Access) -> Result<Memory, Error> {
        Ok(self.memory(self.inner.share_ring(pages, peer)?))
    }
    fn grant_ref(&self, memory: &Memory, page: usize) -> u32 {
        self.inner.grant_ref(&memory.inner, page)
    }
    async fn publish(&self, ring_ref: u32, port: u32) -> Result<Self::Published, Error> {
        self.inner.publish(ring_ref, port).await
    }
    async fn keys(&self) -> Result<Keys<Vec<u8>>, Error> {
        self.inner.keys().await
    }
    fn bind_interdomain(&self, port: u32) -> Result<Port, Error> {
        Ok(self.port(self.inner.bind_interdomain(port)?))
    }
    fn map_control(&self, ring_ref: u32, events: &Port) -> Result<Memory, Error> {
        Ok(self.memory(self.inner.map_control(ring_ref, &events.inner)?))
    }
    fn map_ring(&self, refs: &[u32], access: Access) -> Result<Memory, Error> {
        Ok(self.memory(self.inner.map_ring(refs, access)?))
    }
}
