//! What the messages hold: a stream of which every byte says by its value where it belongs. Pure.
//!
//! The stream is one block of noise over and over. The block's length is a prime, so no two places that a segment, a page or a
//! message could be mistaken for one another are a whole number of blocks apart: what is lost, doubled, swapped or damaged on
//! the way differs from the block where it arrives. Only whole blocks that are missing or too many at the very end look right,
//! and those the count of the bytes tells. `image/tests/lab/tcp-peer.c` makes the same stream.

use alloc::vec::Vec;
use core::fmt;

/// The length of the block: the smallest prime above [`RUN_MAX`].
const PERIOD: usize = 65_537;

/// The most that is asked for at once.
pub const RUN_MAX: usize = 64 << 10;

const _: () = assert!(RUN_MAX <= PERIOD);

/// The stream.
#[derive(Debug)]
pub struct Content {
    /// The block, and as much of it again as a run that begins at its last byte needs.
    bytes: Vec<u8>,
}

/// A byte that is not the stream's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Where.
    pub position: u64,
    /// What was there.
    pub found: u8,
    /// What should have been.
    pub wanted: u8,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            position,
            found,
            wanted,
        } = self;
        write!(
            f,
            "byte {position} of the stream is {found:#04x} and not {wanted:#04x}"
        )
    }
}

impl core::error::Error for Mismatch {}

impl Default for Content {
    /// Makes the block.
    fn default() -> Self {
        // xorshift64 (Marsaglia 2003), the top byte of each step.
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let block = (0..PERIOD).map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 56) as u8
        });
        let mut bytes: Vec<u8> = block.collect();
        bytes.extend_from_within(..RUN_MAX);
        Self { bytes }
    }
}

impl Content {
    /// `len` bytes of the stream from `position` on, but no more than [`RUN_MAX`].
    pub fn run(&self, position: u64, len: u64) -> &[u8] {
        let start = (position % PERIOD as u64) as usize;
        let len = len.min(RUN_MAX as u64) as usize;
        &self.bytes[start..start + len]
    }

    /// Whether `data` is what the stream holds from `position` on; the first byte that is not.
    pub fn check(&self, mut position: u64, mut data: &[u8]) -> Result<(), Mismatch> {
        while !data.is_empty() {
            let wanted = self.run(position, data.len() as u64);
            let (here, rest) = data.split_at(wanted.len());
            if here != wanted {
                let pairs = here.iter().zip(wanted);
                let right = pairs.take_while(|(found, wanted)| found == wanted);
                let index = right.count();
                return Err(Mismatch {
                    position: position + index as u64,
                    found: here[index],
                    wanted: wanted[index],
                });
            }
            position += wanted.len() as u64;
            data = rest;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(content: &Content, len: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < len {
            let left = (len - bytes.len()) as u64;
            bytes.extend_from_slice(content.run(bytes.len() as u64, left));
        }
        bytes
    }

    #[test]
    fn the_stream_is_the_one_that_the_linux_program_makes() {
        let content = Content::default();
        assert_eq!(
            content.run(0, 8),
            [0x7f, 0xe4, 0x35, 0x62, 0xec, 0x0c, 0x10, 0x1f]
        );
        assert_eq!(content.run(PERIOD as u64 * 1_000_000, 3), content.run(0, 3));
    }

    #[test]
    fn a_run_begins_at_any_byte_of_the_block() {
        let content = Content::default();
        for position in [0, 1, PERIOD - 1, PERIOD, PERIOD + 1] {
            let run = content.run(position as u64, u64::MAX);
            assert_eq!(run.len(), RUN_MAX, "{position}");
        }
    }

    #[test]
    fn what_arrives_whole_is_right_in_pieces_of_any_length() {
        let content = Content::default();
        let bytes = stream(&content, 3 * PERIOD + 17);
        for len in [1, 1448, 4096, 65_160, bytes.len()] {
            let mut position = 0;
            for piece in bytes.chunks(len) {
                assert_eq!(content.check(position, piece), Ok(()));
                position += piece.len() as u64;
            }
        }
    }

    #[test]
    fn loss_doubling_swapping_and_damage_are_seen_where_they_begin() {
        const PART: usize = 1448;
        let content = Content::default();
        let bytes = stream(&content, 200 * PART);
        let position = |bytes: &[u8]| content.check(0, bytes).unwrap_err().position;
        // By chance two bytes are the same one time in 256: the place is near, not exact.
        let near = |at: u64, wanted: usize| (wanted as u64..wanted as u64 + 4).contains(&at);
        for part in [1, 7, 44, 99] {
            let start = part * PART;
            let lost = [&bytes[..start], &bytes[start + PART..]].concat();
            assert!(near(position(&lost), start));
            let doubled = [&bytes[..start], &bytes[start - PART..]].concat();
            assert!(near(position(&doubled), start));
            let mut swapped = bytes.clone();
            swapped[start..start + 2 * PART].rotate_left(PART);
            assert!(near(position(&swapped), start));
            let mut damaged = bytes.clone();
            damaged[start + 5] ^= 0x10;
            assert_eq!(position(&damaged), (start + 5) as u64);
        }
    }
}
