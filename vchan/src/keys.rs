//! The values of `ring-ref` and `event-channel`: ASCII decimal, written by a peer, so read strictly.

use thiserror::Error;

/// The longest base path that libxenvchan finds: it cuts the names of keys, of which `/event-channel` is the longest, after 63
/// bytes without a word.
pub const BASE_MAX: usize = 63 - "/event-channel".len();

/// A value that is no grant reference and no port number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// The value is empty.
    #[error("is empty; the server has not finished writing it, or is no vchan server")]
    Empty,
    /// The value holds something other than the digits 0 to 9.
    #[error("holds something other than decimal digits")]
    NotDecimal,
    /// The number does not fit into 32 bits.
    #[error("does not fit into 32 bits")]
    TooLarge,
    /// The number is 0, which no grant reference and no port is.
    #[error("is 0, which is no grant reference and no port")]
    Zero,
}

/// Reads one key's value: decimal digits and nothing else (no sign, no blank, no NUL), 1 to 4294967295.
pub fn parse(value: &[u8]) -> Result<u32, KeyError> {
    if value.is_empty() {
        return Err(KeyError::Empty);
    }
    let mut number: u32 = 0;
    for &byte in value {
        if !byte.is_ascii_digit() {
            return Err(KeyError::NotDecimal);
        }
        number = number
            .checked_mul(10)
            .and_then(|tens| tens.checked_add(u32::from(byte - b'0')))
            .ok_or(KeyError::TooLarge)?;
    }
    if number == 0 {
        return Err(KeyError::Zero);
    }
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read() {
        assert_eq!(parse(b"1"), Ok(1));
        assert_eq!(parse(b"007"), Ok(7));
        assert_eq!(parse(b"4294967295"), Ok(u32::MAX));
    }

    // R28 of FAULTS.md.
    #[test]
    fn everything_else_is_refused() {
        for (value, error) in [
            (&b""[..], KeyError::Empty),
            (b"0", KeyError::Zero),
            (b"000", KeyError::Zero),
            (b"12abc", KeyError::NotDecimal),
            (b"-1", KeyError::NotDecimal),
            (b"+1", KeyError::NotDecimal),
            (b" 1", KeyError::NotDecimal),
            (b"1\n", KeyError::NotDecimal),
            (b"1\0", KeyError::NotDecimal),
            ("٣".as_bytes(), KeyError::NotDecimal),
            (b"4294967296", KeyError::TooLarge),
            (&[b'9'; 4096], KeyError::TooLarge),
        ] {
            assert_eq!(parse(value), Err(error), "{:?}", value.get(..12));
        }
    }
}
