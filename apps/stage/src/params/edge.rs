//! Edges: the parameters `in.EDGE=PEER[,ring=SIZE][,stale=SPAN][,feedback]` and
//! `out.EDGE=PEER[,ring=SIZE][,feedback][,drop=newest]`.

use alloc::borrow::ToOwned;
use core::fmt;
use core::time::Duration;

use super::kind::{FromParam, Size};
use super::{ParamError, ParamProblem};

/// The most edges of a stage: `SCHEDOP_poll` waits on 128 ports, and Xen's own need some.
pub const MAX_EDGES: usize = 120;

/// The smallest ring of libxenvchan, in bytes (order 10).
pub const MIN_RING: u32 = 1 << 10;

/// The largest ring of libxenvchan, in bytes (order 20).
pub const MAX_RING: u32 = 1 << 20;

/// The ring of an edge that gives no size, in bytes.
pub const DEFAULT_RING: u32 = 16 << 10;

/// The greatest id of an ordinary domain: one below `DOMID_FIRST_RESERVED` of Xen's `xen.h`.
pub const MAX_DOMAIN: u16 = 0x7FEF;

/// Which end of an edge this is. Its text is `in` or `out`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Readings come in: the reading side, which is the vchan server.
    In,
    /// Readings go out: the writing side, which is the vchan client.
    Out,
}

impl Direction {
    /// What the keys of its parameters begin with.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::In => "in.",
            Self::Out => "out.",
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::In => "in",
            Self::Out => "out",
        })
    }
}

/// The name of an edge: `[a-z0-9][a-z0-9_-]{0,11}`, the same at both ends. libxenvchan's buffer for
/// the xenstore path leaves no more room.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct EdgeName {
    bytes: [u8; Self::MAX],
    length: u8,
}

impl EdgeName {
    /// The longest name, in bytes.
    pub const MAX: usize = 12;

    /// Checks a name.
    pub fn new(name: &str) -> Option<Self> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let fits = plain(*name.as_bytes().first()?)
            && name.bytes().all(|b| plain(b) || b == b'_' || b == b'-');
        let mut bytes = [0; Self::MAX];
        bytes
            .get_mut(..name.len())
            .filter(|_| fits)?
            .copy_from_slice(name.as_bytes());
        Some(Self {
            bytes,
            length: u8::try_from(name.len()).ok()?,
        })
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        let bytes = self
            .bytes
            .get(..usize::from(self.length))
            .unwrap_or_default();
        core::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl fmt::Display for EdgeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for EdgeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// This domain.
    Domain(u16),
    /// `?`: whom dom0 names in `grantflow/peer/EDGE`, as `DOMID GENERATION`.
    Ask,
}

/// One edge of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// Which end we are.
    pub direction: Direction,
    /// Its name, the same at both ends.
    pub name: EdgeName,
    /// Who is at the other end.
    pub peer: Peer,
    /// The ring, in bytes: a power of two from [`MIN_RING`] to [`MAX_RING`]. A size between two
    /// powers is rounded up. It is the server's, the reading side's, to choose: at an output it only
    /// sizes our buffers.
    pub ring: u32,
    /// At an input: how long its writer may say nothing before the stage is `stale EDGE`; for ever if
    /// not given. A writer that is paused, or hangs, is seen by nothing else.
    pub stale: Option<Duration>,
    /// Whether it carries something back to a stage before its writer. A reader does not wait for the end of such an edge, and
    /// a writer for its room: so a circle of edges neither stands still nor keeps itself alive.
    pub feedback: bool,
    /// At an output: whether its writer does not wait while there is no room, but leaves out and counts what it would send.
    pub drop_newest: bool,
}

impl Edge {
    pub(super) const EXPECTED: &'static str = "PEER[,ring=SIZE][,feedback], of an input [,stale=SPAN], of an output [,drop=newest]: PEER a domain id from 0 to 32751 or ?, SIZE from 1K to 1M, SPAN such as 30s";

    pub(super) fn parse(direction: Direction, name: &str, value: &str) -> Result<Self, ParamError> {
        let mut key = direction.prefix().to_owned();
        key.push_str(name);
        let Some(edge_name) = EdgeName::new(name) else {
            return Err(ParamProblem::EdgeName { key }.into());
        };
        let (peer, options) = Self::parse_value(value)
            .filter(|(_, options)| match direction {
                Direction::In => !options.drop_newest,
                Direction::Out => options.stale.is_none(),
            })
            .ok_or_else(|| ParamError::bad(&key, value, Self::EXPECTED))?;
        Ok(Self {
            direction,
            name: edge_name,
            peer,
            ring: options.ring.unwrap_or(DEFAULT_RING),
            stale: options.stale,
            feedback: options.feedback,
            drop_newest: options.drop_newest,
        })
    }

    pub(super) fn parse_value(value: &str) -> Option<(Peer, Options)> {
        let mut words = value.split(',');
        let peer = match words.next()? {
            "?" => Peer::Ask,
            domain => {
                let domain = u16::try_from(u64::from_param(domain)?).ok()?;
                Peer::Domain(Some(domain).filter(|d| *d <= MAX_DOMAIN)?)
            }
        };
        let mut options = Options::default();
        for word in words {
            if word == "feedback" && !options.feedback {
                options.feedback = true;
                continue;
            }
            let given_twice = match word.split_once('=')? {
                ("ring", size) => options.ring.replace(ring(size)?).is_some(),
                ("stale", span) => options.stale.replace(stale(span)?).is_some(),
                ("drop", "newest") => core::mem::replace(&mut options.drop_newest, true),
                _ => return None,
            };
            if given_twice {
                return None;
            }
        }
        Some((peer, options))
    }
}

/// What stands after the peer.
#[derive(Debug, Default)]
pub(super) struct Options {
    ring: Option<u32>,
    stale: Option<Duration>,
    feedback: bool,
    drop_newest: bool,
}

/// A span in which something must come: no span is none.
fn stale(text: &str) -> Option<Duration> {
    Duration::from_param(text).filter(|span| !span.is_zero())
}

/// A ring's size, rounded up to the next power of two.
fn ring(text: &str) -> Option<u32> {
    let Size(bytes) = Size::from_param(text)?;
    let bytes = u32::try_from(bytes).ok()?;
    (MIN_RING..=MAX_RING)
        .contains(&bytes)
        .then(|| bytes.next_power_of_two())
}

/// How many edges of a direction a function takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Exactly one.
    One,
    /// None or one.
    AtMostOne,
    /// One or more.
    AtLeastOne,
    /// Any number.
    Any,
}

impl Count {
    /// Its word in the ELF note, and in errors.
    pub const fn word(self) -> &'static str {
        match self {
            Self::One => "1",
            Self::AtMostOne => "0..1",
            Self::AtLeastOne => "1..",
            Self::Any => "0..",
        }
    }

    /// The count of a word in the ELF note.
    pub(crate) fn named(word: &str) -> Option<Self> {
        let all = [Self::One, Self::AtMostOne, Self::AtLeastOne, Self::Any];
        all.into_iter().find(|count| count.word() == word)
    }

    /// Whether a function may have `edges` edges.
    pub const fn admits(self, edges: usize) -> bool {
        match self {
            Self::One => edges == 1,
            Self::AtMostOne => edges <= 1,
            Self::AtLeastOne => edges >= 1,
            Self::Any => true,
        }
    }
}

/// A kind of edges that a function takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EdgeKind {
    /// Which end the function is.
    pub direction: Direction,
    /// How many it takes.
    pub count: Count,
    /// What they carry, in one line.
    pub help: &'static str,
}

impl EdgeKind {
    /// Input edges.
    pub const fn inputs(count: Count, help: &'static str) -> Self {
        Self {
            direction: Direction::In,
            count,
            help,
        }
    }

    /// Output edges.
    pub const fn outputs(count: Count, help: &'static str) -> Self {
        Self {
            direction: Direction::Out,
            count,
            help,
        }
    }
}

/// Whether any of these kinds is of the direction.
pub(crate) const fn takes(mut kinds: &[EdgeKind], direction: Direction) -> bool {
    while let [kind, rest @ ..] = kinds {
        if matches!(
            (kind.direction, direction),
            (Direction::In, Direction::In) | (Direction::Out, Direction::Out)
        ) {
            return true;
        }
        kinds = rest;
    }
    false
}
