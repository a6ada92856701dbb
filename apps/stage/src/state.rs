//! What a stage says it is doing: the value of `data/grantflow/state`.

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use crate::params::EdgeName;

/// What a stage waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Awaited {
    /// The peer of this edge.
    Edge(EdgeName),
    /// A lease from a DHCP server.
    Dhcp,
    /// The MQTT broker.
    Broker,
}

/// The state of a stage; its text is one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Booted, not yet connected.
    Starting,
    /// Something outside has yet to happen.
    Waiting(Awaited),
    /// Every edge is connected.
    Running,
    /// The writer of this edge went away without its end of stream, and a new one is awaited; or it is there and has
    /// said nothing for as long as the edge allows.
    Stale(EdgeName),
    /// Ended in order.
    Done,
    /// Ended by a fault; the reason is one line.
    Failed(String),
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => f.write_str("starting"),
            Self::Waiting(Awaited::Edge(edge)) => write!(f, "waiting {edge}"),
            Self::Waiting(Awaited::Dhcp) => f.write_str("waiting dhcp"),
            Self::Waiting(Awaited::Broker) => f.write_str("waiting broker"),
            Self::Running => f.write_str("running"),
            Self::Stale(edge) => write!(f, "stale {edge}"),
            Self::Done => f.write_str("done"),
            Self::Failed(reason) => write!(f, "failed {reason}"),
        }
    }
}

/// The text is none of the states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a state; expected starting, waiting EDGE|dhcp|broker, running, stale EDGE, done or failed REASON"
)]
pub struct UnknownState;

impl FromStr for State {
    type Err = UnknownState;

    /// Reads the text back. An edge that is itself called `dhcp` or `broker` reads as that service.
    fn from_str(text: &str) -> Result<Self, UnknownState> {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        match (word, rest) {
            ("starting", "") => Ok(Self::Starting),
            ("running", "") => Ok(Self::Running),
            ("done", "") => Ok(Self::Done),
            ("waiting", "dhcp") => Ok(Self::Waiting(Awaited::Dhcp)),
            ("waiting", "broker") => Ok(Self::Waiting(Awaited::Broker)),
            ("waiting", edge) => EdgeName::new(edge)
                .map(|edge| Self::Waiting(Awaited::Edge(edge)))
                .ok_or(UnknownState),
            ("stale", edge) => EdgeName::new(edge).map(Self::Stale).ok_or(UnknownState),
            ("failed", reason) => Ok(Self::Failed(reason.into())),
            _ => Err(UnknownState),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn every_state_reads_back() {
        for text in [
            "starting",
            "waiting flow",
            "waiting dhcp",
            "waiting broker",
            "running",
            "stale flow-2",
            "done",
            "failed out of memory",
        ] {
            assert_eq!(text.parse::<State>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "Running",
            "running now",
            "stale",
            "waiting UPPER",
            "waiting",
        ] {
            assert_eq!(text.parse::<State>(), Err(UnknownState), "{text}");
        }
    }
}
