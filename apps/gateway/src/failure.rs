//! Why a connection ended; each message completes "broker HOST:PORT ".

use alloc::string::String;
use core::fmt;
use core::time::Duration;

use crate::mqtt::{Malformed, Reason};

/// Why a connection is of no more use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No connection was made.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// The broker closed it without a word.
    #[error("closed the connection")]
    Closed,
    /// The network broke it.
    #[error("is lost: the connection broke ({0:?})")]
    Broken(embedded_io_async::ErrorKind),
    /// The broker does not let us in.
    #[error("refuses the connection: {reason}{}", said(.text))]
    Refused {
        /// Why.
        reason: Reason,
        /// What it says to a person.
        text: String,
    },
    /// The broker said that it ends the connection.
    #[error("ended the connection: {reason}{}", said(.text))]
    Ended {
        /// Why.
        reason: Reason,
        /// What it says to a person.
        text: String,
    },
    /// It sent what no broker sends.
    #[error("sent {0}; is it an MQTT 5 broker?")]
    Garbage(#[from] Malformed),
    /// It owes an answer and says nothing.
    #[error("has not answered for {} s", .0.as_secs())]
    Silent(Duration),
    /// It does not grant the subscription.
    #[error("does not grant the subscription: {reason}{}", said(.text))]
    NotGranted {
        /// Why.
        reason: Reason,
        /// What it says to a person.
        text: String,
    },
    /// It takes or grants QoS 0 only.
    #[error("takes messages at QoS 0 alone, which is not at least once")]
    AtMostOnce,
}

impl Failure {
    /// What a DISCONNECT of ours says before we close, if it can say anything.
    pub fn farewell(&self) -> Option<Reason> {
        match self {
            Self::Garbage(malformed) => Some(malformed.reason()),
            Self::AtMostOnce | Self::NotGranted { .. } => Some(Reason::SUCCESS),
            _ => None,
        }
    }
}

/// The longest text of a broker that is shown, in characters.
const LONGEST_TEXT: usize = 120;

/// What a broker says to a person, as far as it is fit for a console; nothing if it is empty.
pub(crate) fn said(text: &str) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        if text.is_empty() {
            return Ok(());
        }
        write!(f, " (\"{}\")", shown(text))
    })
}

/// A text of the other side, as far as it is fit for a console.
pub(crate) fn shown(text: &str) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        for c in text.chars().take(LONGEST_TEXT) {
            let shown = if c.is_control() { '?' } else { c };
            fmt::Write::write_char(f, shown)?;
        }
        Ok(())
    })
}
