//! The shortest decimal text of a float: free-format conversion after Steele and White (1990), with
//! the scaling of Burger and Dybvig (1996).

use core::cmp::Ordering;
use core::fmt::{self, Write as _};

use super::big::Big;

/// Shows a float with the fewest digits that read back as the same number; of two such texts, the
/// nearer one. Below 1e-7 and from 1e17 on with an exponent, as in `1.5e-9`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shortest(pub f64);

impl fmt::Display for Shortest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(number) = *self;
        if number.is_nan() {
            return f.write_str("NaN");
        }
        if number.is_sign_negative() {
            f.write_char('-')?;
        }
        let magnitude = number.abs();
        if magnitude == 0.0 {
            f.write_char('0')
        } else if magnitude.is_infinite() {
            f.write_str("inf")
        } else {
            Digits::of(magnitude).show(f)
        }
    }
}

/// A float of at most so many digits is `0.DIGITS * 10^exponent`.
struct Digits {
    digits: [u8; Self::MOST],
    length: usize,
    exponent: i32,
}

impl Digits {
    const MOST: usize = 17;

    /// The digits of a finite number above 0.
    fn of(number: f64) -> Self {
        let bits = number.to_bits();
        let (biased, fraction) = ((bits >> 52) as i32, bits & ((1 << 52) - 1));
        let mantissa = if biased == 0 {
            fraction
        } else {
            fraction | 1 << 52
        };
        let power = biased.max(1) - 1075;
        // The float below a power of two is only half as far away as the one above it.
        let narrow = u32::from(fraction == 0 && biased > 1);
        let (up, down) = (power.max(0).unsigned_abs(), power.min(0).unsigned_abs());
        // The number is rest / one; `below` and `above` are half the ways to its neighbours.
        let mut rest = Big::new(mantissa);
        rest.shift_left(up + 1 + narrow);
        let mut one = Big::new(1);
        one.shift_left(down + 1 + narrow);
        let mut below = Big::new(1);
        below.shift_left(up);
        let mut above = below.clone();
        above.shift_left(narrow);

        // log10(2) in 32 bits: the power of ten at or just above the number, or the one before.
        let log2 = i64::from(power) + i64::from(63 - mantissa.leading_zeros());
        let mut exponent = ((log2 * 1_292_913_986) >> 32) as i32 + 1;
        if exponent < 0 {
            for big in [&mut rest, &mut below, &mut above] {
                big.multiply_power_of_ten(exponent.unsigned_abs());
            }
        } else {
            one.multiply_power_of_ten(exponent.unsigned_abs());
        }
        let even = mantissa & 1 == 0;
        // A text in the middle between two floats reads as the even one.
        let reaches =
            |order: Ordering| order == Ordering::Greater || even && order == Ordering::Equal;
        let sum = |rest: &Big, above: &Big| {
            let mut sum = rest.clone();
            sum.add(above);
            sum
        };
        if reaches(sum(&rest, &above).compare(&one)) {
            exponent += 1;
            one.multiply_add(10, 0);
        }
        let mut this = Self {
            digits: [0; Self::MOST],
            length: 0,
            exponent,
        };
        loop {
            for big in [&mut rest, &mut below, &mut above] {
                big.multiply_add(10, 0);
            }
            let mut digit = 0;
            while rest.compare(&one) != Ordering::Less {
                rest.subtract(&one);
                digit += 1;
            }
            let down = reaches(below.compare(&rest));
            let up = reaches(sum(&rest, &above).compare(&one));
            if up && (!down || sum(&rest, &rest).compare(&one) != Ordering::Less) {
                digit += 1;
            }
            this.push(digit);
            if up || down || this.length == Self::MOST {
                return this;
            }
        }
    }

    fn push(&mut self, digit: u8) {
        if let Some(place) = self.digits.get_mut(self.length) {
            *place = b'0' + digit;
            self.length += 1;
        }
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let point = match self.exponent {
            -6..=17 => self.exponent,
            _ => 1,
        };
        if point <= 0 {
            f.write_str("0.")?;
        }
        for _ in point..0 {
            f.write_char('0')?;
        }
        let digits = self.digits.iter().take(self.length);
        for (at, digit) in digits.enumerate() {
            if at > 0 && at as i32 == point {
                f.write_char('.')?;
            }
            f.write_char(char::from(*digit))?;
        }
        for _ in self.length as i32..point {
            f.write_char('0')?;
        }
        if point != self.exponent {
            write!(f, "e{}", self.exponent - 1)?;
        }
        Ok(())
    }
}
