//! One direction: a [`Producer`] that fills a ring and a [`Consumer`] that empties it.
//!
//! Indexes run free over all of u32 and wrap; the position of an index is its value modulo the ring's size, and
//! `prod - cons` in wrapping arithmetic is what the ring holds, 0 to its whole size. Each side keeps its own index
//! here, in private memory, and only ever *stores* it in the control page. The peer's index is loaded once per
//! decision and checked here, in `Producer::refresh` and `Consumer::refresh`, and nowhere else in the crate.
//!
//! Copying and showing are two steps: a producer *fills* and then *publishes*, a consumer *takes* and then *frees*, so
//! that many small copies may share one store to the line that both sides write.

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
    /// Where in the ring an index lies.
    #[inline]
    fn position(&self, index: u32) -> usize {
        (index & (self.size - 1)) as usize
    }

    /// How far from `index` on bytes go without a decision: in one piece, with some of the `known` ones left after them, and with fewer
    /// than `due` held back, of which there are `held`.
    fn ahead(&self, index: u32, known: u32, held: u32, due: u32) -> u32 {
        let piece = self.size - self.position(index) as u32;
        let more = known.saturating_sub(1);
        let fewer = due.saturating_sub(held).saturating_sub(1);
        index.wrapping_add(piece.min(more).min(fewer))
    }

    /// Where `len` bytes from `index` on begin, if they go as far as `ahead` at most; none do not.
    #[inline]
    fn piece(&self, index: u32, ahead: u32, len: usize) -> Option<usize> {
        // Of no bytes there is one less than none: more than any.
        let fits = len.wrapping_sub(1) < ahead.wrapping_sub(index) as usize;
        fits.then(|| self.base + self.position(index))
    }

    /// Where `len` bytes from `index` on lie.
    #[inline]
    fn span(&self, index: u32, len: usize) -> Span {
        let position = self.position(index);
        let first = len.min(self.size as usize - position);
        Span {
            offset: self.base + position,
            first,
            base: self.base,
            second: len - first,
        }
    }
}

/// A run of bytes in a ring: one piece, or two where it passes the ring's end. Offsets are in the memory that holds the
/// ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first piece.
    pub offset: usize,
    /// Length of the first piece.
    pub first: usize,
    /// Offset of the second piece: the ring's first byte.
    pub base: usize,
    /// Length of the second piece, 0 if there is none.
    pub second: usize,
}

impl Span {
    /// Bytes in the run.
    #[inline]
    pub fn len(&self) -> usize {
        self.first + self.second
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The run without its first `at` bytes and cut after `len`.
    ///
    /// # Panics
    /// Where it does not hold that many.
    pub fn part(&self, at: usize, len: usize) -> Self {
        assert!(at <= self.len() && len <= self.len() - at);
        let (offset, first, second) = match self.first.checked_sub(at) {
            Some(first) if first > 0 => (self.offset + at, first, self.second),
            _ => (self.base + at - self.first, self.len() - at, 0),
        };
        let first = first.min(len);
        Span {
            offset,
            first,
            base: self.base,
            second: second.min(len - first),
        }
    }

    /// Copies into the run; `data` is as long.
    #[inline]
    pub(crate) fn copy_from<M: SharedMemory>(&self, ring: &M, data: &[u8]) {
        if self.second == 0 {
            if !data.is_empty() {
                ring.write(self.offset, data);
            }
            return;
        }
        let (head, tail) = data.split_at(self.first);
        ring.write(self.offset, head);
        ring.write(self.base, tail);
    }

    /// Copies out of the run; `out` is as long.
    #[inline]
    pub(crate) fn copy_to<M: SharedMemory>(&self, ring: &M, out: &mut [u8]) {
        if self.second == 0 {
            if !out.is_empty() {
                ring.read(self.offset, out);
            }
            return;
        }
        let (head, tail) = out.split_at_mut(self.first);
        ring.read(self.offset, head);
        ring.read(self.base, tail);
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

/// The side that fills a ring. What it has filled the peer sees once it is published.
#[derive(Debug)]
pub struct Producer {
    geometry: Geometry,
    /// How far we have filled.
    filled: u32,
    /// How far the peer may see. Authoritative; the control page has a copy for the peer.
    published: u32,
    /// How far the peer had read when we last looked. May be stale, which only hides space.
    cons: u32,
    /// How far bytes may be filled without a decision; `filled` where nobody has looked.
    ahead: u32,
}

impl Producer {
    /// A producer whose ring is empty at `index`.
    pub fn new(geometry: Geometry, index: u32) -> Self {
        Producer {
            geometry,
            filled: index,
            published: index,
            cons: index,
            ahead: index,
        }
    }

    /// Takes over a ring from a side that has left it at these indexes, which may be the peer's invention.
    pub fn adopt(geometry: Geometry, prod: u32, cons: u32) -> Result<Self, BadIndex> {
        in_ring(&geometry, prod, cons)?;
        Ok(Producer {
            geometry,
            filled: prod,
            published: prod,
            cons,
            ahead: prod,
        })
    }

    /// Our index as it should stand in the control page.
    #[inline]
    pub fn index(&self) -> u32 {
        self.published
    }

    /// The ring's size in bytes.
    #[inline]
    pub fn size(&self) -> u32 {
        self.geometry.size
    }

    /// Bytes filled and not yet published.
    #[inline]
    pub fn pending(&self) -> u32 {
        self.filled.wrapping_sub(self.published)
    }

    /// Bytes filled and, as far as we have looked, not yet read by the peer; pending ones among them.
    #[inline]
    pub fn unread(&self) -> u32 {
        self.filled.wrapping_sub(self.cons)
    }

    /// Free bytes, as far as we have looked.
    #[inline]
    pub fn space(&self) -> u32 {
        self.geometry.size - self.unread()
    }

    /// Loads the peer's index, once, and checks it. Space can only have grown, and not over what is published: what the
    /// peer cannot see it cannot have read.
    pub fn refresh<M: SharedMemory>(&mut self, control: &M) -> Result<(), BadIndex> {
        // Acquire: the consumer's last copy out of the freed bytes happened before we overwrite them.
        let claimed = control.load_u32(self.geometry.cons, Ordering::Acquire);
        if self.published.wrapping_sub(claimed) > self.published.wrapping_sub(self.cons) {
            return Err(BadIndex {
                claimed,
                known: self.cons,
                own: self.published,
                size: self.geometry.size,
            });
        }
        self.cons = claimed;
        Ok(())
    }

    /// Where the next `len` bytes go, or as many as there is space for.
    #[inline]
    pub fn free(&self, len: usize) -> Span {
        self.geometry
            .span(self.filled, len.min(self.space() as usize))
    }

    /// Copies as much of `data` as there is known to be space for. Returns how much that was.
    #[inline]
    pub fn fill<M: SharedMemory>(&mut self, ring: &M, data: &[u8]) -> usize {
        let span = self.free(data.len());
        span.copy_from(ring, &data[..span.len()]);
        self.advance(span.len())
    }

    /// Copies `data` into the ring if nothing is to be decided about it, as far as [`look_ahead`](Self::look_ahead) has seen. Whether it
    /// did; never for no bytes.
    #[inline]
    pub fn fill_ahead<M: SharedMemory>(&mut self, ring: &M, data: &[u8]) -> bool {
        let piece = self.geometry.piece(self.filled, self.ahead, data.len());
        if let Some(offset) = piece {
            ring.write(offset, data);
            self.filled = self.filled.wrapping_add(data.len() as u32);
        }
        piece.is_some()
    }

    /// Sees how far the next bytes go in one piece, with room left after them, and with fewer than `due` bytes pending.
    pub fn look_ahead(&mut self, due: u32) {
        let (space, pending) = (self.space(), self.pending());
        self.ahead = self.geometry.ahead(self.filled, space, pending, due);
    }

    /// Takes back what [`look_ahead`](Self::look_ahead) has seen.
    pub fn look_away(&mut self) {
        self.ahead = self.filled;
    }

    /// Counts `len` bytes as filled, or as many as there is space for. Returns how many that was.
    #[inline]
    pub fn advance(&mut self, len: usize) -> usize {
        let len = len.min(self.space() as usize);
        // `len` is at most the ring's size, which fits.
        self.filled = self.filled.wrapping_add(len as u32);
        self.ahead = self.filled;
        len
    }

    /// Takes back the last `len` bytes filled, or all that are pending.
    pub fn retract(&mut self, len: usize) {
        let len = len.min(self.pending() as usize);
        self.filled = self.filled.wrapping_sub(len as u32);
        self.ahead = self.filled;
    }

    /// Shows the peer what is pending, in one step. Whether there was any.
    pub fn publish<M: SharedMemory>(&mut self, control: &M) -> bool {
        let any = self.pending() > 0;
        if any {
            self.published = self.filled;
            // The bytes are in the ring before the peer sees the index that covers them, and the index is seen before
            // we look whether the peer wants to be told.
            control.publish_u32(self.geometry.prod, self.published);
        }
        any
    }
}

/// The side that empties a ring. What it has taken the peer may fill again once it is freed.
#[derive(Debug)]
pub struct Consumer {
    geometry: Geometry,
    /// How far we have read.
    taken: u32,
    /// How far the peer may fill again. Authoritative; the control page has a copy for the peer.
    freed: u32,
    /// How far the peer had filled when we last looked. May be stale, which only hides data.
    prod: u32,
    /// How far bytes may be taken without a decision; `taken` where nobody has looked.
    ahead: u32,
}

impl Consumer {
    /// A consumer whose ring is empty at `index`.
    pub fn new(geometry: Geometry, index: u32) -> Self {
        Consumer {
            geometry,
            taken: index,
            freed: index,
            prod: index,
            ahead: index,
        }
    }

    /// Takes over a ring from a side that has left it at these indexes, which may be the peer's invention.
    pub fn adopt(geometry: Geometry, prod: u32, cons: u32) -> Result<Self, BadIndex> {
        in_ring(&geometry, prod, cons)?;
        Ok(Consumer {
            geometry,
            taken: cons,
            freed: cons,
            prod,
            ahead: cons,
        })
    }

    /// Our index as it should stand in the control page.
    #[inline]
    pub fn index(&self) -> u32 {
        self.freed
    }

    /// The ring's size in bytes.
    #[inline]
    pub fn size(&self) -> u32 {
        self.geometry.size
    }

    /// Bytes taken and not yet freed.
    #[inline]
    pub fn held(&self) -> u32 {
        self.taken.wrapping_sub(self.freed)
    }

    /// Bytes ready, as far as we have looked.
    #[inline]
    pub fn ready(&self) -> u32 {
        self.prod.wrapping_sub(self.taken)
    }

    /// Loads the peer's index, once, and checks it. Data can only have grown, and not over what is freed.
    pub fn refresh<M: SharedMemory>(&mut self, control: &M) -> Result<(), BadIndex> {
        // Acquire: the bytes that the index covers were stored before we copy them.
        let claimed = control.load_u32(self.geometry.prod, Ordering::Acquire);
        let filled = claimed.wrapping_sub(self.freed);
        if filled > self.geometry.size || filled < self.prod.wrapping_sub(self.freed) {
            return Err(BadIndex {
                claimed,
                known: self.prod,
                own: self.freed,
                size: self.geometry.size,
            });
        }
        self.prod = claimed;
        Ok(())
    }

    /// Where the next `len` bytes are, or as many as are ready.
    #[inline]
    pub fn next(&self, len: usize) -> Span {
        self.geometry
            .span(self.taken, len.min(self.ready() as usize))
    }

    /// Copies what is known to be ready into `out`, as much as fits. Returns how much that was.
    #[inline]
    pub fn take<M: SharedMemory>(&mut self, ring: &M, out: &mut [u8]) -> usize {
        let span = self.next(out.len());
        span.copy_to(ring, &mut out[..span.len()]);
        self.advance(span.len())
    }

    /// Fills `out` if nothing is to be decided about it, as far as [`look_ahead`](Self::look_ahead) has seen. Whether it did; never for
    /// no bytes.
    #[inline]
    pub fn take_ahead<M: SharedMemory>(&mut self, ring: &M, out: &mut [u8]) -> bool {
        let piece = self.geometry.piece(self.taken, self.ahead, out.len());
        if let Some(offset) = piece {
            ring.read(offset, out);
            self.taken = self.taken.wrapping_add(out.len() as u32);
        }
        piece.is_some()
    }

    /// Sees how far the next bytes go in one piece, with more ready after them, and with fewer than `due` bytes held.
    pub fn look_ahead(&mut self, due: u32) {
        let (ready, held) = (self.ready(), self.held());
        self.ahead = self.geometry.ahead(self.taken, ready, held, due);
    }

    /// Takes back what [`look_ahead`](Self::look_ahead) has seen.
    pub fn look_away(&mut self) {
        self.ahead = self.taken;
    }

    /// Counts `len` bytes as taken, or as many as are ready. Returns how many that was.
    #[inline]
    pub fn advance(&mut self, len: usize) -> usize {
        let len = len.min(self.ready() as usize);
        // `len` is at most the ring's size, which fits.
        self.taken = self.taken.wrapping_add(len as u32);
        self.ahead = self.taken;
        len
    }

    /// Gives back to the peer what was taken, in one step. Whether there was any.
    #[inline]
    pub fn free<M: SharedMemory>(&mut self, control: &M) -> bool {
        let any = self.held() > 0;
        if any {
            self.freed = self.taken;
            // The copies out are finished before the peer may see the space as free, and the index is seen before we
            // look whether the peer wants to be told.
            control.publish_u32(self.geometry.cons, self.freed);
        }
        any
    }
}
