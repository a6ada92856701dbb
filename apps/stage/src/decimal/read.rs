//! Decimal text to the nearest float.

use core::cmp::Ordering;

use super::big::Big;

/// Powers of ten that are floats without rounding.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// Integers up to here are floats without rounding.
const EXACT: u64 = 1 << 53;

/// No tie between two floats has more digits (767), so of those beyond it matters only whether one
/// is not 0.
const MOST_DIGITS: u32 = 770;

/// The nearest float; of two equally near ones the even one. The text is as `f64::from_str` takes it:
/// `-1.5e-3`, `.5`, `5.`, `inf`, `NaN`.
pub fn parse(text: &[u8]) -> Option<f64> {
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let magnitude = match Decimal::scan(text) {
        Some(decimal) => decimal.magnitude(),
        None => word(text)?,
    };
    Some(if negative { -magnitude } else { magnitude })
}

fn word(text: &[u8]) -> Option<f64> {
    let is = |word: &[u8]| text.eq_ignore_ascii_case(word);
    if is(b"nan") {
        Some(f64::NAN)
    } else if is(b"inf") || is(b"infinity") {
        Some(f64::INFINITY)
    } else {
        None
    }
}

/// `mantissa * 10^exponent`.
pub(crate) fn scaled(mantissa: i64, exponent: i32) -> f64 {
    let decimal = Decimal {
        digits: b"",
        mantissa: mantissa.unsigned_abs(),
        is_cut: false,
        exponent: i64::from(exponent),
    };
    let magnitude = decimal.magnitude();
    if mantissa < 0 { -magnitude } else { magnitude }
}

/// A number without its sign: `mantissa * 10^exponent`.
struct Decimal<'a> {
    /// The digits, with at most one point among them.
    digits: &'a [u8],
    mantissa: u64,
    /// The digits are more than the mantissa holds, and so alone tell the number, with the exponent
    /// that belongs to the last of them.
    is_cut: bool,
    exponent: i64,
}

impl<'a> Decimal<'a> {
    fn scan(text: &'a [u8]) -> Option<Self> {
        let end = text.iter().position(|b| matches!(b, b'e' | b'E'));
        let (digits, tail) = text.split_at(end.unwrap_or(text.len()));
        let mut decimal = Self {
            digits,
            mantissa: 0,
            is_cut: false,
            exponent: 0,
        };
        let (mut any, mut point) = (false, false);
        for byte in digits {
            match byte {
                b'0'..=b'9' => {
                    any = true;
                    decimal.exponent -= i64::from(point);
                    let digit = u64::from(byte - b'0');
                    let longer = decimal.mantissa.checked_mul(10);
                    match longer.and_then(|tens| tens.checked_add(digit)) {
                        Some(mantissa) if !decimal.is_cut => decimal.mantissa = mantissa,
                        _ => decimal.is_cut = true,
                    }
                }
                b'.' if !point => point = true,
                _ => return None,
            }
        }
        if let [_, tail @ ..] = tail {
            decimal.exponent = decimal.exponent.saturating_add(exponent(tail)?);
        }
        any.then_some(decimal)
    }

    fn magnitude(&self) -> f64 {
        if self.mantissa == 0 {
            return 0.0;
        }
        if !self.is_cut {
            let power =
                POWERS.get(usize::try_from(self.exponent.unsigned_abs()).unwrap_or(usize::MAX));
            // Both operands are exact, so that the one operation rounds once.
            if let (0..=EXACT, Some(power)) = (self.mantissa, power) {
                let mantissa = self.mantissa as f64;
                return if self.exponent < 0 {
                    mantissa / power
                } else {
                    mantissa * power
                };
            }
            return nearest(Big::new(self.mantissa), self.exponent, 20);
        }
        let (number, exponent, digits) = self.gather();
        nearest(number, exponent, digits)
    }

    /// All digits that matter: the number, its exponent, and how many they are.
    #[cold]
    fn gather(&self) -> (Big, i64, u32) {
        let mut number = Big::ZERO;
        let mut exponent = self.exponent;
        let (mut digits, mut rest) = (0, false);
        for byte in self.digits.iter().filter(|byte| **byte != b'.') {
            let digit = u32::from(byte - b'0');
            if digits == MOST_DIGITS {
                exponent += 1;
                rest |= digit != 0;
            } else if digit != 0 || digits > 0 {
                number.multiply_add(10, digit);
                digits += 1;
            }
        }
        if rest {
            number.multiply_add(10, 1);
            exponent -= 1;
        }
        (number, exponent, digits + u32::from(rest))
    }
}

/// The number behind the `e`; one that is too long is as good as its bound.
fn exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0i64, |number, digit| {
        (number * 10 + i64::from(digit - b'0')).min(1 << 48)
    });
    Some(if negative { -number } else { number })
}

/// `number * 10^exponent` by long division in base 2; `number`, which is not 0, has at most `digits`
/// digits.
#[cold]
fn nearest(mut number: Big, exponent: i64, digits: u32) -> f64 {
    // Beyond these bounds the answer is clear, and within them no number outgrows its limbs.
    let Some(exponent) = i32::try_from(exponent).ok().filter(|e| *e <= 310) else {
        return if exponent > 0 { f64::INFINITY } else { 0.0 };
    };
    if exponent < -330 - digits as i32 {
        return 0.0;
    }
    let mut divisor = Big::new(1);
    let scale = if exponent < 0 {
        &mut divisor
    } else {
        &mut number
    };
    scale.multiply_power_of_ten(exponent.unsigned_abs());
    // The number is number / divisor * 2^power, the quotient at least 1 and below 2.
    let mut power = number.bits() as i32 - divisor.bits() as i32;
    let shifted = if power < 0 { &mut number } else { &mut divisor };
    shifted.shift_left(power.unsigned_abs());
    if number.compare(&divisor) == Ordering::Less {
        number.shift_left(1);
        power -= 1;
    }
    if power > 1023 {
        return f64::INFINITY;
    }
    // A subnormal has fewer bits; one of none can still round up to the smallest.
    let bits = (53 + (power + 1022).min(0)).max(-1);
    if bits < 0 {
        return 0.0;
    }
    let mut mantissa = 0u64;
    for _ in 0..bits {
        mantissa <<= 1;
        if number.compare(&divisor) != Ordering::Less {
            number.subtract(&divisor);
            mantissa |= 1;
        }
        number.shift_left(1);
    }
    // What is left is twice the fraction of the last bit.
    mantissa += match number.compare(&divisor) {
        Ordering::Less => 0,
        Ordering::Equal => mantissa & 1,
        Ordering::Greater => 1,
    };
    // Rounding up to the next power of two carries into the exponent, as it should.
    let biased = (power + 1022).max(0) as u64;
    f64::from_bits((biased << 52) + mantissa)
}
