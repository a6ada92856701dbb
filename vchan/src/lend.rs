//! Ring memory lent to the caller, so that a message is made or read where it lies: [`Reservation`] and [`Peek`].
//!
//! The peer may write the memory at any time, so nobody gets a Rust reference to it: a [`RingSlice`] copies, loads and
//! stores. The one exception is [`Reservation::plain`].

use core::sync::atomic::Ordering;

use crate::platform::{Rendezvous, SharedMemory};
use crate::reader::Reader;
use crate::ring::Span;
use crate::writer::{WriteError, Writer};

/// Bytes in a ring that are ours to read. Each call copies out of the ring: what it returns is the caller's own, and a
/// byte that is asked for twice may have changed in between, if the peer breaks the rules.
pub struct RingSlice<'a, M> {
    memory: &'a M,
    span: Span,
}

/// Bytes in a ring that are ours to write; the peer sees them once they are committed, and an ill-mannered one before.
pub struct RingSliceMut<'a, M> {
    memory: &'a M,
    span: Span,
}

macro_rules! about_the_slice {
    ($slice:ident) => {
        impl<M: SharedMemory> $slice<'_, M> {
            /// How many bytes it holds.
            pub fn len(&self) -> usize {
                self.span.len()
            }

            /// Whether it holds none.
            pub fn is_empty(&self) -> bool {
                self.span.is_empty()
            }

            /// Lengths of the two pieces; the second is 0 where the bytes do not pass the ring's end.
            pub fn pieces(&self) -> (usize, usize) {
                (self.span.first, self.span.second)
            }
        }
    };
}

about_the_slice!(RingSlice);
about_the_slice!(RingSliceMut);

macro_rules! integers {
    ($int:ty, $load:ident, $store:ident) => {
        impl<M: SharedMemory> RingSlice<'_, M> {
            /// Loads the little-endian integer at byte `at`; each of its bytes is loaded once.
            ///
            /// # Panics
            /// Where the slice ends before.
            pub fn $load(&self, at: usize) -> $int {
                let span = self.span.part(at, size_of::<$int>());
                // Aligned, it does not pass the ring's end, which is aligned as well.
                if span.offset.is_multiple_of(align_of::<$int>()) {
                    // Relaxed: the load of the index that covers these bytes came before, and was Acquire.
                    return self.memory.$load(span.offset, Ordering::Relaxed);
                }
                let mut bytes = [0; size_of::<$int>()];
                span.copy_to(self.memory, &mut bytes);
                <$int>::from_le_bytes(bytes)
            }
        }

        impl<M: SharedMemory> RingSliceMut<'_, M> {
            /// Stores a little-endian integer at byte `at`.
            ///
            /// # Panics
            /// Where the slice ends before.
            pub fn $store(&mut self, at: usize, value: $int) {
                let span = self.span.part(at, size_of::<$int>());
                // As for the load.
                if span.offset.is_multiple_of(align_of::<$int>()) {
                    // Relaxed: the index that covers these bytes is stored later, and not before them.
                    return self.memory.$store(span.offset, value, Ordering::Relaxed);
                }
                span.copy_from(self.memory, &value.to_le_bytes());
            }
        }
    };
}

integers!(u8, load_u8, store_u8);
integers!(u16, load_u16, store_u16);
integers!(u32, load_u32, store_u32);

impl<'a, M: SharedMemory> RingSlice<'a, M> {
    pub(crate) fn new(memory: &'a M, span: Span) -> Self {
        RingSlice { memory, span }
    }

    /// Copies the bytes from `at` on into `out`.
    ///
    /// # Panics
    /// Where the slice ends before `out` is full.
    pub fn copy_to(&self, at: usize, out: &mut [u8]) {
        self.span.part(at, out.len()).copy_to(self.memory, out);
    }
}

impl<'a, M: SharedMemory> RingSliceMut<'a, M> {
    pub(crate) fn new(memory: &'a M, span: Span) -> Self {
        RingSliceMut { memory, span }
    }

    /// Copies `data` to the bytes from `at` on.
    ///
    /// # Panics
    /// Where the slice ends before `data` does.
    pub fn copy_from(&mut self, at: usize, data: &[u8]) {
        self.span.part(at, data.len()).copy_from(self.memory, data);
    }
}

/// Free bytes of the ring, lent by [`Writer::reserve`]. Dropping it changes nothing; what was stored in it counts from
/// [`commit`](Self::commit) on.
#[must_use = "nothing is written before it is committed"]
pub struct Reservation<'a, R: Rendezvous> {
    writer: &'a mut Writer<R>,
    span: Span,
}

impl<'a, R: Rendezvous> Reservation<'a, R> {
    pub(crate) fn new(writer: &'a mut Writer<R>, span: Span) -> Self {
        Reservation { writer, span }
    }

    /// The bytes.
    pub fn slice(&mut self) -> RingSliceMut<'_, R::Memory> {
        RingSliceMut::new(self.writer.memory(), self.span)
    }

    /// The bytes as one or two plain slices, where the peer cannot write them: on a server that has granted its ring
    /// with [`Access::ReadOnly`](crate::platform::Access::ReadOnly), if the platform can tell.
    pub fn plain(&mut self) -> Option<[&mut [u8]; 2]> {
        let memory = self.writer.own_memory()?.plain()?;
        // The ring is all of that memory; the second piece, if there is one, starts it and ends before the first.
        let (start, end) = memory.split_at_mut_checked(self.span.offset)?;
        Some([
            end.get_mut(..self.span.first)?,
            start.get_mut(..self.span.second)?,
        ])
    }

    /// Writes the first `len` bytes of the reservation, or all of it if there are no more: they follow what was written
    /// before, and are published as the writer's [`Policy`](crate::Policy) says.
    pub fn commit(self, len: usize) -> Result<(), WriteError> {
        self.writer.commit(len.min(self.span.len()))
    }
}

/// What stands in the ring, lent by [`Reader::peek`]. Dropping it consumes nothing.
pub struct Peek<'a, R: Rendezvous> {
    reader: &'a mut Reader<R>,
    span: Span,
}

impl<'a, R: Rendezvous> Peek<'a, R> {
    pub(crate) fn new(reader: &'a mut Reader<R>, span: Span) -> Self {
        Peek { reader, span }
    }

    /// The bytes; none at the end of the stream.
    pub fn slice(&self) -> RingSlice<'_, R::Memory> {
        RingSlice::new(self.reader.memory(), self.span)
    }

    /// Takes the first `len` bytes out of the ring, or all that was lent if there are no more.
    pub fn consume(self, len: usize) {
        self.reader.consume(len.min(self.span.len()));
    }
}
