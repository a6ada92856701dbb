//! How a stage came up: the value of `data/grantflow/boot`, written once, when it first runs.

use core::fmt;

use crate::counters::{CountersError, pairs};

/// The name of the node, under `data/grantflow`.
pub const NODE: &str = "boot";

/// Figures of a boot; times in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Boot {
    /// From the first instruction to the first line on the console.
    pub first_line: u64,
    /// From the first instruction to the state `running`.
    pub running: u64,
    /// As much of that as was spent waiting for others: dom0's word, or a peer.
    pub waiting: u64,
    /// Xenstore round trips up to `running`, one after the other.
    pub round_trips: u64,
    /// How long the first of them took.
    pub round_trip: u64,
}

impl Boot {
    /// From the first instruction to `running`, the waiting for others left out.
    pub fn own(&self) -> u64 {
        self.running.saturating_sub(self.waiting)
    }

    /// Reads the text of the node.
    pub fn parse(text: &str) -> Result<Self, CountersError> {
        let mut boot = Self::default();
        for pair in pairs(text) {
            let (key, value) = pair?;
            match key {
                "first_line" => boot.first_line = value,
                "running" => boot.running = value,
                "waiting" => boot.waiting = value,
                "round_trips" => boot.round_trips = value,
                "round_trip" => boot.round_trip = value,
                _ => {}
            }
        }
        Ok(boot)
    }
}

impl fmt::Display for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "first_line={} running={} waiting={} round_trips={} round_trip={}",
            self.first_line, self.running, self.waiting, self.round_trips, self.round_trip
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn what_is_written_is_read() {
        let boot = Boot {
            first_line: 312,
            running: 20_500,
            waiting: 12_000,
            round_trips: 5,
            round_trip: 1_300,
        };
        assert_eq!(Boot::parse(&boot.to_string()), Ok(boot));
        assert_eq!(boot.own(), 8_500);
        assert!(Boot::parse("running=soon").is_err());
    }
}
