//! The kinds of values, and how each is read.

use alloc::string::String;
use core::time::Duration;

use super::Edge;
use super::text::list;
use crate::decimal;
use crate::time::Timestamp;

/// What the value of a parameter looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A whole number of at least 0.
    Integer,
    /// A finite decimal number.
    Number,
    /// A span of time: a number and one of `ns`, `us`, `ms`, `s`, `m`, `h`, `d`; or `0`.
    Duration,
    /// A number of bytes, `K` for 1,024 and `M` for 1,048,576 of them.
    Size,
    /// An RFC 3339 stamp.
    Time,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// An edge: `PEER[,ring=SIZE][,feedback]`, and for an input `[,stale=SPAN]`, for an output `[,drop=newest]`.
    Edge,
    /// An address: `dhcp` or `A.B.C.D/N[,gw=A.B.C.D][,dns=A.B.C.D]`; read by the network.
    Network,
}

/// Whether a value is of a kind; the words are those of a choice.
pub(crate) type Check = fn(&[&str], &str) -> bool;

impl Kind {
    /// Its word in the ELF note; a choice is followed there by `:` and its words with `|` between.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Duration => "duration",
            Self::Size => "size",
            Self::Time => "time",
            Self::Choice(_) => "choice",
            Self::Edge => "edge",
            Self::Network => "network",
        }
    }

    /// The kind of a word in the ELF note; none for a choice, which takes more than a word.
    pub(crate) fn named(word: &str) -> Option<Self> {
        let all = [
            Self::Text,
            Self::Integer,
            Self::Number,
            Self::Duration,
            Self::Size,
            Self::Time,
            Self::Edge,
            Self::Network,
        ];
        all.into_iter().find(|kind| kind.word() == word)
    }

    /// Says whether a value is of this kind. Known when the image is built, so that an image has no code for the kinds that none
    /// of its parameters is of.
    pub(crate) const fn check(&self) -> Check {
        match self {
            Self::Text => |_, _| true,
            Self::Integer => |_, value| u64::from_param(value).is_some(),
            Self::Number => |_, value| f64::from_param(value).is_some(),
            Self::Duration => |_, value| Duration::from_param(value).is_some(),
            Self::Size => |_, value| Size::from_param(value).is_some(),
            Self::Time => |_, value| Timestamp::from_param(value).is_some(),
            Self::Choice(_) => |words, value| words.contains(&value),
            Self::Edge => |_, value| Edge::parse_value(value).is_some(),
            Self::Network => |_, value| !value.is_empty(),
        }
    }

    /// The words of a choice.
    pub(crate) const fn words(&self) -> &'static [&'static str] {
        match self {
            Self::Choice(words) => words,
            _ => &[],
        }
    }

    /// What a value should be; completes "is not".
    pub(crate) fn expected(&self) -> String {
        let expected = match self {
            Self::Text => "text",
            Self::Integer => u64::EXPECTED,
            Self::Number => f64::EXPECTED,
            Self::Duration => Duration::EXPECTED,
            Self::Size => Size::EXPECTED,
            Self::Time => Timestamp::EXPECTED,
            Self::Choice(_) => "",
            Self::Edge => Edge::EXPECTED,
            Self::Network => "dhcp or A.B.C.D/N[,gw=A.B.C.D][,dns=A.B.C.D]",
        };
        let mut words = String::new();
        for word in self.words() {
            list(&mut words, word);
        }
        if words.is_empty() {
            words.push_str(expected);
        } else {
            words.insert_str(0, "one of ");
        }
        words
    }
}

/// A type that the value of a parameter can be read as.
pub trait FromParam<'a>: Sized {
    /// What a value should be; completes "is not".
    const EXPECTED: &'static str;

    /// Reads the whole of `text`, or refuses it.
    fn from_param(text: &'a str) -> Option<Self>;
}

impl<'a> FromParam<'a> for &'a str {
    const EXPECTED: &'static str = "text";

    fn from_param(text: &'a str) -> Option<Self> {
        Some(text)
    }
}

impl FromParam<'_> for u64 {
    const EXPECTED: &'static str = "a whole number";

    fn from_param(text: &str) -> Option<Self> {
        // `parse` alone would let a plus sign pass.
        text.bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| text.parse().ok())?
    }
}

impl FromParam<'_> for f64 {
    const EXPECTED: &'static str = "a decimal number";

    fn from_param(text: &str) -> Option<Self> {
        decimal::parse(text.as_bytes()).filter(|number| number.is_finite())
    }
}

impl FromParam<'_> for Duration {
    const EXPECTED: &'static str = "a span of time such as 500ms, 30s, 15m, 24h or 7d";

    fn from_param(text: &str) -> Option<Self> {
        if text == "0" {
            return Some(Self::ZERO);
        }
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at_checked(digits)?;
        let number = u64::from_param(number)?;
        let nanos: u64 = match unit {
            "ns" => 1,
            "us" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "d" => 86_400_000_000_000,
            _ => return None,
        };
        number.checked_mul(nanos).map(Self::from_nanos)
    }
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl FromParam<'_> for Size {
    const EXPECTED: &'static str = "a number of bytes such as 4096, 16K or 1M";

    fn from_param(text: &str) -> Option<Self> {
        let (number, factor) = if let Some(number) = text.strip_suffix(['K', 'k']) {
            (number, 1 << 10)
        } else if let Some(number) = text.strip_suffix(['M', 'm']) {
            (number, 1 << 20)
        } else {
            (text, 1)
        };
        u64::from_param(number)?.checked_mul(factor).map(Self)
    }
}

impl FromParam<'_> for Timestamp {
    const EXPECTED: &'static str = "an RFC 3339 stamp such as 2026-01-31T12:00:00Z";

    fn from_param(text: &str) -> Option<Self> {
        Self::parse(text.as_bytes()).ok()
    }
}
