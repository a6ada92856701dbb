//! Drives one [`Stage`](crate::Stage) over a [`Host`].
//!
//! Each edge is a task of its own, all on one thread; the function is called between them and never
//! waits. An output that is full stops every input and the source until it has room. A pack is
//! filled while its output is busy and sent as soon as the output is free, so a stage that is ahead
//! batches and one that is idle delays nothing.
//!
//! The end: when all inputs have ended, or the source has, or the host says stop, the function
//! finishes, each output is written out and marked with the end of stream, and its reader has
//! [`DRAIN_PATIENCE`] from its last progress to consume the ring. What it leaves is counted as lost.
//!
//! A feedback edge closes a circle of edges, and so may hold up neither end of it: the reader does not wait for its end, and counts
//! what comes after its own as lost; the writer does not wait for its room. What finds a whole pack waiting there is lost
//! and counted, the newest first, so that the way forward is never stopped by the way back.
//!
//! A function whose results leave by another way than edges has a [`Companion`]: a task that carries
//! them, over a [`Net`] perhaps.

mod board;
mod companion;
mod host;
mod input;
pub(crate) mod join;
mod net;
mod output;
pub(crate) mod signal;
mod source;
mod stage;

pub use companion::{Beside, Companion};
pub use host::{Events, Host, OpenError, Reader, Writer};
pub use net::Net;
pub use signal::{first, yield_now};
pub use stage::{RunError, run, run_beside};

use core::time::Duration;

use crate::params::Edge;

/// How long the reader of an ending output may go without consuming anything before what it left
/// counts as lost.
pub const DRAIN_PATIENCE: Duration = Duration::from_secs(5);

/// The least time between two publications of the counters.
pub const PUBLISH_INTERVAL: Duration = Duration::from_secs(1);

/// The length of an edge's buffers: a quarter of its ring, so that small domains have small buffers,
/// within reason.
pub(crate) fn buffer_size(edge: &Edge) -> usize {
    (edge.ring as usize / 4).clamp(512, 16 << 10)
}

#[cfg(test)]
mod tests;
