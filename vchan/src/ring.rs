//! One direction: a [`Producer`] that fills a ring and a [`Consumer`] that empties it.
//!
//! Indexes run free over all of u32 and wrap; the position of an index is its value modulo the ring's size, and
//! `prod - cons` in wrapping arithmetic is what the ring holds, 0 to its whole size. Each side keeps its own index
//! here, in private memory, and only ever *stores* it in the control page. The peer's index is loaded once per
//! decision and checked here, in `Producer::refresh` and `Consumer::refresh`, and nowhere else in the crate.

use core::sync::atomic::Ordering;

use thiserror::Error;

use crate::platform::SharedMemory;

/// Where one ring's parts are: the indexes in the control page, the bytes in the ring's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Offset of the consumer's index in the control page.
    pub cons: usize,
    /// Offset of the producer's index in the control page.
    pub prod: usize,
    /// Offset of the ring's first byte in the memory that holds the ring.
    pub base: usize,
    /// The ring's size in bytes, a power of two.
    pub size: u32,
}

impl Geometry {
    /// The one or two contiguous pieces of `len` bytes from `index` on: offset and length of the first, length of the
    /// second, which starts at `base`.
    fn pieces(&self, index: u32, len: usize) -> (usize, usize, usize) {
        let position = (index & (self.size - 1)) as usize;
        let first = len.min(self.size as usize - position);
        (self.base + position, first, len - first)
    }
}

/// The peer's index is one that no honest peer could have stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "the peer's index {claimed} cannot follow {known}: our own is {own}, the ring holds {size} bytes"
)]
pub struct BadIndex {
    /// What stood in the control page.
    pub claimed: u32,
    /// The peer's last good index.
    pub known: u32,
    /// Our own index in the same ring.
    pub own: u32,
    /// The ring's size in bytes.
    pub size: u32,
}

fn in_ring(geometry: &Geometry, prod: u32, cons: u32) -> Result<(), BadIndex> {
    if prod.wrapping_sub(cons) > geometry.size {
        return Err(BadIndex {
            claimed: prod,
            known: cons,
            own: cons,
            size: geometry.size,
        });
    }
    Ok(())
}

/// The side that fills a ring.
#[derive(Debug)]
pub struct Producer {
    geometry: Geometry,
    /// How far we have filled. Authoritative; the control page has a copy for the peer.
    prod: u32,
    /// How far the peer had read when we last looked. May be stale, which only hides space.
    cons: u32,
}

impl Producer {
    /// A producer whose ring is empty at `index`.
    pub fn new(geometry: Geometry, index: u32) -> Self {
        Producer {
            geometry,
            prod: index,
            cons: index,
        }
    }

    /// Takes over a ring from a side that has left it at these indexes, which may be the peer's invention.
    pub fn adopt(geometry: Geometry, prod: u32, cons: u32) -> Result<Self, BadIndex> {
        in_ring(&geometry, prod, cons)?;
        Ok(Producer {
            geometry,
            prod,
            cons,
        })
    }

    /// Our index as it should stand in the control page.
    pub fn index(&self) -> u32 {
        self.prod
    }

    /// The ring's size in bytes.
    pub fn size(&self) -> u32 {
        self.geometry.size
    }

    /// Bytes published and, as far as we have looked, not yet read by the peer.
    pub fn in_flight(&self) -> u32 {
        self.prod.wrapping_sub(self.cons)
    }

    /// Free bytes, as far as we have looked.
    pub fn space(&self) -> u32 {
        self.geometry.size - self.in_flight()
    }

    /// Loads the peer's index, once, and checks it. Space can only have grown.
    pub fn refresh<M: SharedMemory>(&mut self, control: &M) -> Result<(), BadIndex> {
        // Acquire: the consumer's last copy out of the freed bytes happened before we overwrite them.
        let claimed = control.load_u32(self.geometry.cons, Ordering::Acquire);
        if self.prod.wrapping_sub(claimed) > self.in_flight() {
            return Err(BadIndex {
                claimed,
                known: self.cons,
                own: self.prod,
                size: self.geometry.size,
            });
        }
        self.cons = claimed;
        Ok(())
    }

    /// Copies as much of `data` as there is space for and publishes it in one step. Returns how much that was.
    pub fn write<M: SharedMemory>(
        &mut self,
        control: &M,
        ring: &M,
        data: &[u8],
    ) -> Result<usize, BadIndex> {
        if (self.space() as usize) < data.len() {
            self.refresh(control)?;
        }
        let len = data.len().min(self.space() as usize);
        if len == 0 {
            return Ok(0);
        }
        let (offset, first, second) = self.geometry.pieces(self.prod, len);
        ring.write(offset, &data[..first]);
        if second > 0 {
            ring.write(self.geometry.base, &data[first..len]);
        }
        // `len` is at most the ring's size, which fits.
        self.prod = self.prod.wrapping_add(len as u32);
        // Release: the bytes are in the ring before the peer sees the index that covers them.
        control.store_u32(self.geometry.prod, self.prod, Ordering::Release);
        Ok(len)
    }
}

/// The side that empties a ring.
#[derive(Debug)]
pub struct Consumer {
    geometry: Geometry,
    /// How far we have read. Authoritative; the control page has a copy for the peer.
    cons: u32,
    /// How far the peer had filled when we last looked. May be stale, which only hides data.
    prod: u32,
}

impl Consumer {
    /// A consumer whose ring is empty at `index`.
    pub fn new(geometry: Geometry, index: u32) -> Self {
        Consumer {
            geometry,
            cons: index,
            prod: index,
        }
    }

    /// Takes over a ring from a side that has left it at these indexes, which may be the peer's invention.
    pub fn adopt(geometry: Geometry, prod: u32, cons: u32) -> Result<Self, BadIndex> {
        in_ring(&geometry, prod, cons)?;
        Ok(Consumer {
            geometry,
            prod,
            cons,
        })
    }

    /// Our index as it should stand in the control page.
    pub fn index(&self) -> u32 {
        self.cons
    }

    /// The ring's size in bytes.
    pub fn size(&self) -> u32 {
        self.geometry.size
    }

    /// Bytes ready, as far as we have looked.
    pub fn ready(&self) -> u32 {
        self.prod.wrapping_sub(self.cons)
    }

    /// Loads the peer's index, once, and checks it. Data can only have grown.
    pub fn refresh<M: SharedMemory>(&mut self, control: &M) -> Result<(), BadIndex> {
        // Acquire: the bytes that the index covers were stored before we copy them.
        let claimed = control.load_u32(self.geometry.prod, Ordering::Acquire);
        let ready = claimed.wrapping_sub(self.cons);
        if ready > self.geometry.size || ready < self.ready() {
            return Err(BadIndex {
                claimed,
                known: self.prod,
                own: self.cons,
                size: self.geometry.size,
            });
        }
        self.prod = claimed;
        Ok(())
    }

    /// Copies what is ready into `out`, as much as fits, and frees it in one step. Returns how much that was.
    pub fn read<M: SharedMemory>(
        &mut self,
        control: &M,
        ring: &M,
        out: &mut [u8],
    ) -> Result<usize, BadIndex> {
        if (self.ready() as usize) < out.len() {
            self.refresh(control)?;
        }
        let len = out.len().min(self.ready() as usize);
        if len == 0 {
            return Ok(0);
        }
        let (offset, first, second) = self.geometry.pieces(self.cons, len);
        let (head, tail) = out[..len].split_at_mut(first);
        ring.read(offset, head);
        if second > 0 {
            ring.read(self.geometry.base, tail);
        }
        // `len` is at most the ring's size, which fits.
        self.cons = self.cons.wrapping_add(len as u32);
        // Release: the copy out is finished before the producer may see the space as free.
        control.store_u32(self.geometry.cons, self.cons, Ordering::Release);
        Ok(len)
    }
}
