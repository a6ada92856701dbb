//! Quantiles of numbers that are seen once, in bounded memory.

use alloc::vec::Vec;

use super::Percentile;

/// The most different values that are told apart.
pub const MAX_DISTINCT: usize = 256;

/// How often each value came, values near one another being taken together where there are too many.
///
/// Up to [`MAX_DISTINCT`] different values are kept as they are, and then every quantile is exact: what a sensor of finite resolution
/// reads most often stays below that. Beyond, values share a cell when the leading bits of their floating-point numbers are the
/// same, as many bits as leave room. A cell then lies between two floats whose distance is a power of two below their size, and
/// what is answered is the middle of the cell in which the exact quantile lies: with `c` leading bits of the fraction left
/// it is off by at most one part in 2^(c+1). Where all readings have one sign and lie within a factor of 2^k of each other, they
/// are in k + 1 powers of two, each of 2^c cells; so it is off by less than one part in `MAX_DISTINCT / (k + 1)`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Digest {
    /// In order: the leading bits of a value, and how many readings had them.
    pub(super) cells: Vec<(u64, u64)>,
    /// The bits that are left out.
    shift: u32,
}

impl Digest {
    /// Takes in a finite number.
    pub fn add(&mut self, value: f64) {
        loop {
            let key = in_order(value) >> self.shift;
            let place = self.cells.binary_search_by_key(&key, |(key, _)| *key);
            match place {
                Ok(index) => return self.cells[index].1 += 1,
                Err(index) if self.cells.len() < MAX_DISTINCT => {
                    return self.cells.insert(index, (key, 1));
                }
                Err(_) => self.coarsen(),
            }
        }
    }

    /// Leaves out one more bit, and brings together what is the same then.
    fn coarsen(&mut self) {
        self.shift += 1;
        self.cells.dedup_by(|next, cell| {
            let same = next.0 >> 1 == cell.0 >> 1;
            if same {
                cell.1 += next.1;
            }
            same
        });
        for (key, _) in &mut self.cells {
            *key >>= 1;
        }
    }

    /// The least value that at least so many percent of all are not above (the nearest rank), or the middle of its cell.
    pub fn at(&self, percentile: Percentile) -> Option<f64> {
        let all: u64 = self.cells.iter().map(|(_, count)| count).sum();
        let rank = percentile.rank(all);
        let mut below = 0;
        let cell = self.cells.iter().find(|(_, count)| {
            below += count;
            below >= rank
        });
        let half = (1u64 << self.shift) >> 1;
        cell.map(|(key, _)| out_of_order((key << self.shift) | half))
    }
}

/// The bits of a float such that a greater float has greater bits.
fn in_order(value: f64) -> u64 {
    let bits = value.to_bits();
    if bits >> 63 == 0 {
        bits | 1 << 63
    } else {
        !bits
    }
}

fn out_of_order(bits: u64) -> f64 {
    f64::from_bits(if bits >> 63 == 0 {
        !bits
    } else {
        bits ^ 1 << 63
    })
}
