//! What a stage has counted, and its text for xenstore or files.
//!
//! One node for the stage and one for each edge, so that no value passes xenstore's 2,048 bytes.
//! Paths are relative to `data/grantflow/`; an edge's node stands under its direction because
//! xenstore allows no dot in a path:
//!
//! ```text
//! stats/stage      in=10 used=8 out=8 late=1 nan=0 range=1 type=0 malformed=0 empty=0 series=0 unsendable=0 skew=0 undelivered=0 heap=40960
//! stats/in/EDGE    bytes=900 packs=4 readings=10 lost=0 half=0 bad=0 sent=4 received=4 blocked=1500 reconnects=0
//! stats/out/EDGE   …the same keys…
//! stats/own        …what the function counts beside, if it does…
//! ```
//!
//! Values are decimal; `blocked` is in microseconds, `heap` in bytes. The order of keys is not
//! promised; a reader ignores keys it does not know and takes an absent key as 0.
//!
//! Two balances hold at the end of a stage: `in` = `used` + the sum of the drop causes; and for an
//! edge, `readings` of its writer = `readings` + `lost` of its reader + `lost` of its writer.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::fmt::Write as _;
use core::time::Duration;

use crate::function::{DropCause, Verdict};
use crate::params::{Direction, EdgeName};

/// The node of a stage's own counters.
pub const STAGE_NODE: &str = "stats/stage";

/// The node of what a function counts beside.
pub const OWN_NODE: &str = "stats/own";

/// The largest value of a xenstore node, in bytes.
pub const NODE_LIMIT: usize = 2048;

/// What a whole stage has counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StageCounters {
    /// Readings taken in: decoded from an edge, or read from a source.
    pub readings_in: u64,
    /// Readings of `readings_in` that the function used.
    pub used: u64,
    /// Readings emitted.
    pub out: u64,
    /// Readings of `readings_in` dropped, by [`DropCause`] in the order of [`DropCause::ALL`].
    pub dropped: [u64; DropCause::ALL.len()],
    /// The most heap ever in use, in bytes.
    pub heap_high_water: u64,
}

impl StageCounters {
    /// Counts one reading taken in, and what became of it.
    pub fn count(&mut self, verdict: Verdict) {
        self.readings_in += 1;
        match verdict {
            Verdict::Used => self.used += 1,
            Verdict::Dropped(cause) => self.dropped[cause as usize] += 1,
        }
    }

    /// Readings dropped for `cause`.
    pub fn dropped(&self, cause: DropCause) -> u64 {
        self.dropped[cause as usize]
    }

    /// Readings dropped for any cause.
    pub fn dropped_in_all(&self) -> u64 {
        self.dropped.iter().sum()
    }

    /// Whether readings in = used + dropped.
    pub fn balanced(&self) -> bool {
        self.readings_in == self.used + self.dropped_in_all()
    }

    /// Reads the text of a `stats/stage` node.
    pub fn parse(text: &str) -> Result<Self, CountersError> {
        let mut counters = Self::default();
        for pair in pairs(text) {
            let (key, value) = pair?;
            match key {
                "in" => counters.readings_in = value,
                "used" => counters.used = value,
                "out" => counters.out = value,
                "heap" => counters.heap_high_water = value,
                other => {
                    if let Some(cause) = DropCause::ALL.iter().find(|c| c.key() == other) {
                        counters.dropped[*cause as usize] = value;
                    }
                }
            }
        }
        Ok(counters)
    }
}

impl fmt::Display for StageCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "in={} used={} out={}",
            self.readings_in, self.used, self.out
        )?;
        for cause in DropCause::ALL {
            write!(f, " {}={}", cause.key(), self.dropped(cause))?;
        }
        write!(f, " heap={}", self.heap_high_water)
    }
}

/// What one end of an edge has counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EdgeCounters {
    /// Bytes that crossed this end.
    pub bytes: u64,
    /// Messages: packs of at least one reading, whole ones only.
    pub packs: u64,
    /// Readings written into packs (writer) or decoded from them (reader).
    pub readings: u64,
    /// Reader: readings that its writers sent and it never got, by `seq`. Writer: readings that no
    /// reader can have got and none will be told of, known at the end.
    pub lost: u64,
    /// Packs that a lost writer left unfinished.
    pub half_packs: u64,
    /// Packs refused because their content was wrong.
    pub bad_packs: u64,
    /// Event-channel notifications sent.
    pub events_sent: u64,
    /// Event-channel notifications received.
    pub events_received: u64,
    /// Time spent waiting for room in a full ring.
    pub blocked: Duration,
    /// Connections after the first.
    pub reconnects: u64,
}

impl EdgeCounters {
    /// Reads the text of a `stats/in/EDGE` or `stats/out/EDGE` node.
    pub fn parse(text: &str) -> Result<Self, CountersError> {
        let mut counters = Self::default();
        for pair in pairs(text) {
            let (key, value) = pair?;
            match key {
                "bytes" => counters.bytes = value,
                "packs" => counters.packs = value,
                "readings" => counters.readings = value,
                "lost" => counters.lost = value,
                "half" => counters.half_packs = value,
                "bad" => counters.bad_packs = value,
                "sent" => counters.events_sent = value,
                "received" => counters.events_received = value,
                "blocked" => counters.blocked = Duration::from_micros(value),
                "reconnects" => counters.reconnects = value,
                _ => {}
            }
        }
        Ok(counters)
    }
}

impl fmt::Display for EdgeCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "bytes={} packs={} readings={} lost={} half={} bad={} sent={} received={} blocked={} reconnects={}",
            self.bytes,
            self.packs,
            self.readings,
            self.lost,
            self.half_packs,
            self.bad_packs,
            self.events_sent,
            self.events_received,
            u64::try_from(self.blocked.as_micros()).unwrap_or(u64::MAX),
            self.reconnects,
        )
    }
}

/// The counters of one edge, with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedEdgeCounters {
    /// Which end this is.
    pub direction: Direction,
    /// The edge's name.
    pub name: EdgeName,
    /// What was counted.
    pub counters: EdgeCounters,
}

/// Everything a stage has counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// The stage as a whole.
    pub stage: StageCounters,
    /// Its edges, inputs first, in the order of the command line.
    pub edges: Vec<NamedEdgeCounters>,
    /// What the function counts beside, as text; empty for nothing.
    pub own: String,
}

impl Counters {
    /// Calls `each` with the path (relative to `data/grantflow/`) and the value of every node.
    pub fn for_each_node(&self, mut each: impl FnMut(&str, &str)) {
        let (mut path, mut value) = (String::new(), String::new());
        // Writing into a String cannot fail.
        let _ = write!(value, "{}", self.stage);
        each(STAGE_NODE, &value);
        if !self.own.is_empty() {
            each(OWN_NODE, &self.own);
        }
        for edge in &self.edges {
            path.clear();
            value.clear();
            let _ = write!(path, "stats/{}/{}", edge.direction, edge.name);
            let _ = write!(value, "{}", edge.counters);
            each(&path, &value);
        }
    }

    /// Takes in one node read back. Returns whether the path was one of ours.
    pub fn absorb(&mut self, path: &str, value: &str) -> Result<bool, CountersError> {
        if path == STAGE_NODE {
            self.stage = StageCounters::parse(value)?;
            return Ok(true);
        }
        if path == OWN_NODE {
            pairs(value).try_for_each(|pair| pair.map(drop))?;
            self.own = value.into();
            return Ok(true);
        }
        let edge = path
            .strip_prefix("stats/")
            .and_then(|rest| rest.split_once('/'));
        let Some((direction, name)) = edge else {
            return Ok(false);
        };
        let direction = match direction {
            "in" => Direction::In,
            "out" => Direction::Out,
            _ => return Ok(false),
        };
        let Some(name) = EdgeName::new(name) else {
            return Ok(false);
        };
        let counters = EdgeCounters::parse(value)?;
        match self
            .edges
            .iter_mut()
            .find(|e| e.direction == direction && e.name == name)
        {
            Some(edge) => edge.counters = counters,
            None => self.edges.push(NamedEdgeCounters {
                direction,
                name,
                counters,
            }),
        }
        Ok(true)
    }

    /// The counters of one edge.
    pub fn edge(&self, direction: Direction, name: &str) -> Option<&EdgeCounters> {
        let named = self
            .edges
            .iter()
            .find(|e| e.direction == direction && e.name.as_str() == name);
        named.map(|edge| &edge.counters)
    }
}

/// A node's text is not `key=number` pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not counters; expected key=number pairs with one space between")]
pub struct CountersError;

pub(crate) fn pairs(text: &str) -> impl Iterator<Item = Result<(&str, u64), CountersError>> {
    text.split_ascii_whitespace().map(|pair| {
        let (key, value) = pair.split_once('=').ok_or(CountersError)?;
        Ok((key, value.parse().map_err(|_| CountersError)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;
    use std::vec;

    fn full() -> Counters {
        let mut stage = StageCounters {
            out: u64::MAX,
            heap_high_water: u64::MAX,
            ..Default::default()
        };
        stage.count(Verdict::Used);
        stage.dropped = [u64::MAX; DropCause::ALL.len()];
        let counters = EdgeCounters {
            bytes: 1,
            packs: 2,
            readings: 3,
            lost: 4,
            half_packs: 5,
            bad_packs: 6,
            events_sent: 7,
            events_received: 8,
            blocked: Duration::from_micros(9),
            reconnects: u64::MAX,
        };
        let name = EdgeName::new("abcdefghijkl").unwrap();
        let edge = |direction| NamedEdgeCounters {
            direction,
            name,
            counters: counters.clone(),
        };
        Counters {
            stage,
            edges: vec![edge(Direction::In), edge(Direction::Out)],
            own: "acknowledged=7 resent=1".into(),
        }
    }

    #[test]
    fn nodes_read_back() {
        let mut back = Counters::default();
        full().for_each_node(|path, value| {
            assert!(value.len() <= NODE_LIMIT);
            assert!(
                path.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-/_@".contains(&b)),
                "{path}"
            );
            assert_eq!(back.absorb(path, value), Ok(true));
        });
        assert_eq!(back, full());
    }

    #[test]
    fn foreign_nodes_are_left_alone() {
        let mut counters = Counters::default();
        assert_eq!(
            counters.absorb(OWN_NODE, "acknowledged=soon"),
            Err(CountersError)
        );
        for path in [
            "stats",
            "state",
            "stats/other/x",
            "stats/in/UPPER",
            "stats/in",
        ] {
            assert_eq!(counters.absorb(path, "bytes=1"), Ok(false), "{path}");
        }
        assert_eq!(
            counters.absorb("stats/stage", "in=1 in"),
            Err(CountersError)
        );
        assert_eq!(
            counters.absorb("stats/in/x", "bytes=-1"),
            Err(CountersError)
        );
    }

    #[test]
    fn every_cause_has_its_own_count() {
        let mut counters = StageCounters::default();
        for cause in DropCause::ALL {
            counters.count(Verdict::Dropped(cause));
        }
        assert!(
            DropCause::ALL
                .iter()
                .all(|cause| counters.dropped(*cause) == 1)
        );
        assert!(counters.balanced());
        assert_eq!(StageCounters::parse(&counters.to_string()), Ok(counters));
    }
}
