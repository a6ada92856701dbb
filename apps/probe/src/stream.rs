//! The bytes that are sent, and their checksum. Pure.

use crc::{CRC_32_ISO_HDLC, Crc, Digest, Table};

/// The CRC-32 of gzip, which `crc32` of any shell computes too.
static CRC: Crc<u32, Table<1>> = Crc::<u32, Table<1>>::new(&CRC_32_ISO_HDLC);

/// Bytes that look random, the same for the same seed (SplitMix64).
#[derive(Clone, Debug)]
pub struct Source {
    state: u64,
    word: [u8; 8],
    used: usize,
}

impl Source {
    /// The stream of this seed.
    pub fn new(seed: u64) -> Self {
        Self {
            state: seed,
            word: [0; 8],
            used: 8,
        }
    }

    /// Its next bytes.
    pub fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            if self.used == self.word.len() {
                self.word = self.next().to_le_bytes();
                self.used = 0;
            }
            *byte = self.word[self.used];
            self.used += 1;
        }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// How many bytes went by, and their checksum.
#[derive(Clone)]
pub struct Sum {
    bytes: u64,
    digest: Digest<'static, u32, Table<1>>,
}

impl Default for Sum {
    fn default() -> Self {
        Self {
            bytes: 0,
            digest: CRC.digest(),
        }
    }
}

impl Sum {
    /// Takes these into account.
    pub fn add(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.digest.update(bytes);
    }

    /// `BYTES bytes, crc32 HEX`.
    pub fn text(&self) -> alloc::string::String {
        alloc::format!(
            "{} bytes, crc32 {:08x}",
            self.bytes,
            self.digest.clone().finalize()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_of_gzip() {
        let mut sum = Sum::default();
        sum.add(b"1234");
        sum.add(b"56789");
        // The check value of CRC-32/ISO-HDLC.
        assert_eq!(sum.text(), "9 bytes, crc32 cbf43926");
        assert_eq!(Sum::default().text(), "0 bytes, crc32 00000000");
    }

    #[test]
    fn the_bytes_do_not_depend_on_how_they_are_asked_for() {
        let mut whole = [0; 40];
        Source::new(7).fill(&mut whole);
        let mut pieces = [0; 40];
        let mut source = Source::new(7);
        let (first, rest) = pieces.split_at_mut(3);
        let (second, third) = rest.split_at_mut(17);
        for piece in [first, second, third] {
            source.fill(piece);
        }
        assert_eq!(whole, pieces);
        Source::new(8).fill(&mut pieces);
        assert_ne!(whole, pieces);
    }

    #[test]
    fn the_generator_is_splitmix64() {
        let mut bytes = [0; 8];
        Source::new(0).fill(&mut bytes);
        // The first value of the reference implementation for seed 0.
        assert_eq!(u64::from_le_bytes(bytes), 0xe220_a839_7b1d_cdaf);
    }
}
