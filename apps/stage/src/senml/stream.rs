//! Packs out of arriving bytes.

use alloc::collections::TryReserveError;
use alloc::vec::Vec;
use core::mem;
use core::ops::Range;

use super::boundary::{Boundary, FramingError};
use super::pack::Pack;

/// Cuts a stream of bytes into packs. Bytes go in through [`space`](Self::space) and
/// [`filled`](Self::filled), packs come out of [`next_item`](Self::next_item); ask until it says
/// [`Item::Incomplete`] before adding more.
#[derive(Debug)]
pub struct StreamDecoder {
    buffer: Vec<u8>,
    /// The bytes that came and were not handed out yet.
    pending: Range<usize>,
    boundary: Boundary,
}

/// What the bytes so far amount to.
#[derive(Debug)]
pub enum Item<'a> {
    /// No whole pack; more bytes are needed.
    Incomplete,
    /// A pack.
    Pack(Pack<'a>),
    /// The end of the stream.
    End,
}

impl StreamDecoder {
    /// A decoder without room yet.
    pub const fn new() -> Self {
        Self {
            buffer: Vec::new(),
            pending: 0..0,
            boundary: Boundary::new(),
        }
    }

    /// Room for at least `wanted` more bytes. The buffer grows with the longest pack, to at most
    /// [`MAX_PACK`](super::MAX_PACK) and twice `wanted` more.
    pub fn space(&mut self, wanted: usize) -> Result<&mut [u8], StreamError> {
        // What is left is the beginning of one pack. It is moved only when something before it was
        // handed out, so once a pack.
        if self.pending.start > 0 {
            self.buffer.copy_within(self.pending.clone(), 0);
            self.pending = 0..self.pending.len();
        }
        // In steps, so that beginnings that grow by a byte from read to read do not each cost a move.
        let needed = (self.pending.end + wanted).next_multiple_of(wanted.max(1));
        if self.buffer.len() < needed {
            self.buffer.try_reserve_exact(needed - self.buffer.len())?;
            self.buffer.resize(needed, 0);
        }
        Ok(&mut self.buffer[self.pending.end..])
    }

    /// Says that the first `count` bytes of [`space`](Self::space) have been filled.
    pub fn filled(&mut self, count: usize) {
        self.pending.end = (self.pending.end + count).min(self.buffer.len());
    }

    /// The next pack, if all of it has come. After an error the stream has no meaning.
    pub fn next_item(&mut self) -> Result<Item<'_>, StreamError> {
        let bytes = &self.buffer[self.pending.clone()];
        let Some(length) = self.boundary.advance(bytes)? else {
            return Ok(Item::Incomplete);
        };
        let (pack, _) = bytes.split_at(length);
        self.pending.start += length;
        self.boundary = Boundary::new();
        Ok(match pack {
            [super::END_OF_STREAM] | [0x9F, 0xFF] => Item::End,
            _ => Item::Pack(Pack::new(pack)),
        })
    }

    /// Whether the bytes end within a pack.
    pub fn is_within_pack(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Forgets all bytes, for a new stream.
    pub fn reset(&mut self) {
        let buffer = mem::take(&mut self.buffer);
        *self = Self {
            buffer,
            ..Self::new()
        };
    }
}

impl Default for StreamDecoder {
    fn default() -> Self {
        Self::new()
    }
}

/// Why a stream cannot be read on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// Its bytes are no sequence of packs.
    #[error(transparent)]
    Framing(#[from] FramingError),
    /// There is no memory for the pack that it sends.
    #[error("no memory for a pack of this length; give the stage more, or have smaller packs sent")]
    Memory(#[from] TryReserveError),
}
