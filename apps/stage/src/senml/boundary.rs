//! Where the packs of a CBOR sequence end, found as bytes arrive.
//!
//! Each byte of structure is looked at once and strings are stepped over, so the work is linear in
//! the bytes however they are cut; a header that is not all there yet (at most 9 bytes) is the only
//! thing looked at again. Nothing is believed: depth, lengths and counts are bounded before they are
//! used.

use super::MAX_PACK;
use super::cbor::Header;

/// The deepest nesting: pack, record, decimal fraction and its array need four.
const MAX_DEPTH: usize = 8;

/// Why a byte stream is not a sequence of packs. After such an error nothing that follows has a
/// meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// An item of the sequence is not an array.
    #[error("an item that is not a SenML pack")]
    NotAPack,
    /// A pack longer than [`MAX_PACK`].
    #[error("a pack longer than 64 KiB")]
    TooLong,
    /// Nested deeper than any SenML.
    #[error("nested too deep")]
    TooDeep,
    /// Not well-formed CBOR, or a string of indefinite length, which SenML forbids.
    #[error("malformed CBOR")]
    Malformed,
}

/// One open array, map or tag.
#[derive(Debug, Clone, Copy)]
enum Frame {
    /// This many items are still to come.
    Counted(usize),
    /// Items until a break; for a map, whether a value is due, where a break may not stand.
    Open { map: bool, value_due: bool },
}

/// Finds the end of one pack.
#[derive(Debug)]
pub(super) struct Boundary {
    frames: [Frame; MAX_DEPTH],
    depth: usize,
    /// The next byte of structure; may lie past the bytes that are there.
    position: usize,
}

impl Boundary {
    pub(super) const fn new() -> Self {
        Self {
            frames: [Frame::Counted(0); MAX_DEPTH],
            depth: 0,
            position: 0,
        }
    }

    /// Goes on over `bytes`, which begin where the pack begins and have only grown since the last
    /// call. Returns the pack's length once all of it is there.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Result<Option<usize>, FramingError> {
        match bytes.first() {
            Some(first) if first >> 5 != 4 => Err(FramingError::NotAPack),
            _ => self.walk(bytes),
        }
    }

    /// The same for an item of any kind.
    pub(super) fn walk(&mut self, bytes: &[u8]) -> Result<Option<usize>, FramingError> {
        loop {
            if self.position > MAX_PACK {
                return Err(FramingError::TooLong);
            }
            if self.position > 0 && self.depth == 0 {
                return Ok((self.position <= bytes.len()).then_some(self.position));
            }
            let Some(rest) = bytes.get(self.position..) else {
                return Ok(None);
            };
            match Header::parse(rest)? {
                Some(header) => self.step(header)?,
                None => return Ok(None),
            }
        }
    }

    fn step(&mut self, header: Header) -> Result<(), FramingError> {
        self.position += header.length;
        if header.is_break() {
            return self.close_open();
        }
        let room = MAX_PACK.saturating_sub(self.position);
        // An item is at least one byte long, so no count may pass what is left of the pack.
        let bounded = |count: u64| usize::try_from(count).ok().filter(|count| *count <= room);
        match (header.major, header.argument) {
            (2 | 3, Some(length)) => {
                self.position += bounded(length).ok_or(FramingError::TooLong)?;
                self.item_done();
            }
            (4, Some(count)) => self.open_counted(bounded(count).ok_or(FramingError::TooLong)?)?,
            (5, Some(count)) => {
                let items = count.checked_mul(2).and_then(bounded);
                self.open_counted(items.ok_or(FramingError::TooLong)?)?;
            }
            (6, Some(_)) => self.open_counted(1)?,
            (4, None) => self.open(Frame::Open {
                map: false,
                value_due: false,
            })?,
            (5, None) => self.open(Frame::Open {
                map: true,
                value_due: false,
            })?,
            (0 | 1 | 7, Some(_)) => self.item_done(),
            _ => return Err(FramingError::Malformed),
        }
        Ok(())
    }

    fn open_counted(&mut self, items: usize) -> Result<(), FramingError> {
        if items == 0 {
            self.item_done();
            return Ok(());
        }
        self.open(Frame::Counted(items))
    }

    fn open(&mut self, frame: Frame) -> Result<(), FramingError> {
        *self
            .frames
            .get_mut(self.depth)
            .ok_or(FramingError::TooDeep)? = frame;
        self.depth += 1;
        Ok(())
    }

    fn close_open(&mut self) -> Result<(), FramingError> {
        match self.top() {
            Some(Frame::Open {
                value_due: false, ..
            }) => {
                self.depth -= 1;
                self.item_done();
                Ok(())
            }
            _ => Err(FramingError::Malformed),
        }
    }

    /// Counts one finished item in the frames around it, closing those it fills.
    fn item_done(&mut self) {
        while let Some(frame) = self.top() {
            match frame {
                Frame::Counted(items) => *items -= 1,
                Frame::Open { map, value_due } => *value_due = *map && !*value_due,
            }
            if !matches!(frame, Frame::Counted(0)) {
                return;
            }
            self.depth -= 1;
        }
    }

    fn top(&mut self) -> Option<&mut Frame> {
        self.frames.get_mut(self.depth.checked_sub(1)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// The result over all the bytes at once, which must be the same byte by byte.
    fn end(bytes: &[u8]) -> Result<Option<usize>, FramingError> {
        let whole = Boundary::new().advance(bytes);
        let mut boundary = Boundary::new();
        let mut piecewise = Ok(None);
        for length in 0..=bytes.len() {
            piecewise = boundary.advance(&bytes[..length]);
            if piecewise != Ok(None) {
                break;
            }
        }
        assert_eq!(whole, piecewise, "{bytes:02x?}");
        whole
    }

    #[test]
    fn packs_end_where_they_end() {
        assert_eq!(end(&[0x80]), Ok(Some(1)));
        assert_eq!(end(&[0x80, 0x80]), Ok(Some(1)));
        assert_eq!(end(&[0x9F, 0xFF]), Ok(Some(2)));
        assert_eq!(end(&[0x81, 0xA0]), Ok(Some(2)));
        assert_eq!(end(&[0x81, 0xA1, 0x00, 0x61, b'x', 0x80]), Ok(Some(5)));
        assert_eq!(end(&[0x9F, 0xBF, 0x00, 0x01, 0xFF, 0xFF]), Ok(Some(6)));
        assert_eq!(
            end(&[0x81, 0xC4, 0x82, 0x22, 0x19, 0x01, 0x02]),
            Ok(Some(7))
        );
        assert_eq!(
            end(&[0x99, 0x00, 0x01, 0xFB, 0, 0, 0, 0, 0, 0, 0, 0]),
            Ok(Some(12))
        );
    }

    #[test]
    fn cut_packs_are_waited_for() {
        for bytes in [
            &[][..],
            &[0x81],
            &[0x99, 0],
            &[0x81, 0x62, b'x'],
            &[0x9F, 0xA0],
        ] {
            assert_eq!(end(bytes), Ok(None), "{bytes:02x?}");
        }
    }

    #[test]
    fn hostile_bytes_are_refused() {
        assert_eq!(end(&[0xA0]), Err(FramingError::NotAPack));
        assert_eq!(end(&[0x00]), Err(FramingError::NotAPack));
        assert_eq!(end(&[0xFF]), Err(FramingError::NotAPack));
        assert_eq!(
            end(&[0x9A, 0xFF, 0xFF, 0xFF, 0xFF]),
            Err(FramingError::TooLong)
        );
        assert_eq!(
            end(&[0x81, 0x7A, 0x00, 0x01, 0x00, 0x00]),
            Err(FramingError::TooLong)
        );
        assert_eq!(
            end(&[0x81, 0xBB, 0x80, 0, 0, 0, 0, 0, 0, 0]),
            Err(FramingError::TooLong)
        );
        assert_eq!(end(&[0x81; 9]), Err(FramingError::TooDeep));
        assert_eq!(end(&[0xC1; 9]), Err(FramingError::NotAPack));
        assert_eq!(end(&[0x81, 0xFF]), Err(FramingError::Malformed));
        assert_eq!(end(&[0x9F, 0xBF, 0x00, 0xFF]), Err(FramingError::Malformed));
        assert_eq!(end(&[0x81, 0x7F]), Err(FramingError::Malformed));
        assert_eq!(end(&[0x81, 0x1C]), Err(FramingError::Malformed));
        assert_eq!(end(&[0x81, 0xF8, 0x10]), Err(FramingError::Malformed));
        assert_eq!(end(&[0x81, 0xDF]), Err(FramingError::Malformed));
    }

    #[test]
    fn an_open_array_that_never_ends_is_cut_off() {
        let bytes: Vec<u8> = core::iter::once(0x9F)
            .chain(core::iter::repeat_n(0, MAX_PACK))
            .collect();
        assert_eq!(Boundary::new().advance(&bytes), Err(FramingError::TooLong));
        let mut boundary = Boundary::new();
        assert_eq!(boundary.advance(&bytes[..MAX_PACK]), Ok(None));
    }
}
