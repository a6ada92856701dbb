//! Which of the ordered readings is asked for.

/// A percentage from 0 to 100, to thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Percentile {
    thousandths: u32,
}

impl Percentile {
    /// Reads digits, and up to three more after a point: `99.9`.
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let mut thousandths = 0u32;
        let is_short = (1..=3).contains(&whole.len()) && (1..=3).contains(&fraction.len());
        for digit in whole.bytes().chain(fraction.bytes().chain(*b"00").take(3)) {
            let digit = digit
                .checked_sub(b'0')
                .filter(|digit| *digit < 10 && is_short)?;
            thousandths = thousandths * 10 + u32::from(digit);
        }
        (thousandths <= 100_000).then_some(Self { thousandths })
    }

    /// Which of `count` readings it is in their order, the least being the first.
    pub(super) fn rank(self, count: u64) -> u64 {
        let exact = count.saturating_mul(u64::from(self.thousandths));
        exact.div_ceil(100_000).max(1)
    }
}
