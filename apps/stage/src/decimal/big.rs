//! Natural numbers of bounded length, on the stack.

use core::cmp::Ordering;

/// 3,840 bits. The largest number that is asked for is a power of ten that scales 770 digits of a
/// subnormal float: 10^1101, 3,658 bits.
const LIMBS: usize = 120;

/// A natural number, least limb first; the topmost of the first `length` limbs is not 0.
#[derive(Clone)]
pub(super) struct Big {
    limbs: [u32; LIMBS],
    length: usize,
}

impl Big {
    pub(super) const ZERO: Self = Self {
        limbs: [0; LIMBS],
        length: 0,
    };

    pub(super) fn new(number: u64) -> Self {
        let mut big = Self::ZERO;
        big.push((number & u64::from(u32::MAX)) as u32);
        big.push((number >> 32) as u32);
        big.trim();
        big
    }

    /// The bounds of the callers keep a number from outgrowing its limbs.
    fn push(&mut self, limb: u32) {
        if let Some(top) = self.limbs.get_mut(self.length) {
            *top = limb;
            self.length += 1;
        }
    }

    fn trim(&mut self) {
        while self.length > 0 && self.limbs.get(self.length - 1) == Some(&0) {
            self.length -= 1;
        }
    }

    /// `self * factor + summand`.
    pub(super) fn multiply_add(&mut self, factor: u32, summand: u32) {
        let mut carry = u64::from(summand);
        for limb in self.limbs.iter_mut().take(self.length) {
            carry += u64::from(*limb) * u64::from(factor);
            *limb = carry as u32;
            carry >>= 32;
        }
        if carry > 0 {
            self.push(carry as u32);
        }
    }

    pub(super) fn multiply_power_of_ten(&mut self, power: u32) {
        self.multiply_power(10, power, 9);
    }

    pub(super) fn shift_left(&mut self, bits: u32) {
        self.multiply_power(2, bits, 31);
    }

    /// Multiplies by `base^power`, in steps of `base^most`.
    fn multiply_power(&mut self, base: u32, mut power: u32, most: u32) {
        while power > 0 {
            let step = power.min(most);
            self.multiply_add(base.pow(step), 0);
            power -= step;
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        let length = self.length.max(other.length);
        let mut carry = 0;
        for (limb, summand) in self.limbs.iter_mut().zip(&other.limbs).take(length) {
            carry += u64::from(*limb) + u64::from(*summand);
            *limb = carry as u32;
            carry >>= 32;
        }
        self.length = length;
        if carry > 0 {
            self.push(carry as u32);
        }
    }

    /// Takes away `other`, which is not the larger one.
    pub(super) fn subtract(&mut self, other: &Self) {
        let mut borrow = false;
        for (limb, part) in self.limbs.iter_mut().zip(&other.limbs).take(self.length) {
            let (difference, first) = limb.overflowing_sub(*part);
            let (difference, second) = difference.overflowing_sub(u32::from(borrow));
            *limb = difference;
            borrow = first || second;
        }
        self.trim();
    }

    pub(super) fn compare(&self, other: &Self) -> Ordering {
        self.length
            .cmp(&other.length)
            .then_with(|| from_the_top(self).cmp(from_the_top(other)))
    }

    /// The length in bits.
    pub(super) fn bits(&self) -> u32 {
        let top = self.length.checked_sub(1).and_then(|at| self.limbs.get(at));
        top.map_or(0, |top| self.length as u32 * 32 - top.leading_zeros())
    }
}

fn from_the_top(big: &Big) -> impl Iterator<Item = &u32> {
    big.limbs.iter().take(big.length).rev()
}
