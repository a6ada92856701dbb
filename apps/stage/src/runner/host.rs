//! What the runner asks of the platform that it runs on.

use alloc::string::String;
use core::time::Duration;

use crate::counters::Counters;
use crate::params::Edge;
use crate::state::State;
use crate::time::Timestamp;

/// The platform: clock, edges, console, and the places where a stage tells about itself.
///
/// Every future may be dropped before it is ready; nothing may be lost or left behind then. The
/// runner holds at most one future of each edge, one of `console_line`, one of `stop_requested`, and
/// several of `sleep_until`.
#[expect(
    async_fn_in_trait,
    reason = "a stage runs on one thread: futures need not be Send"
)]
pub trait Host {
    /// The reading end of an edge. Dropping it closes it.
    type Reader: Reader;
    /// The writing end of an edge. Dropping it closes it.
    type Writer: Writer;

    /// Monotonic time since the start of the stage.
    fn now(&self) -> Duration;

    /// Wall-clock time: what SenML's relative stamps are relative to.
    fn wall_clock(&self) -> Timestamp;

    /// Waits until `now() >= deadline`.
    async fn sleep_until(&self, deadline: Duration);

    /// Offers an input edge and waits for its writer. Where the peer is to be asked for, this waits
    /// for dom0's word as well. An error is for what will not pass by waiting, and ends the stage;
    /// the host retries the rest, with a back-off.
    async fn open_input(&self, edge: &Edge) -> Result<Self::Reader, OpenError>;

    /// Connects an output edge to its reader, waiting for it; as [`open_input`](Self::open_input).
    async fn open_output(&self, edge: &Edge) -> Result<Self::Writer, OpenError>;

    /// Publishes the state; called only when it changes.
    fn set_state(&self, state: &State);

    /// Publishes the counters; called at most once a second, only when they have changed, and once
    /// at the end.
    fn publish(&self, counters: &Counters);

    /// The most heap ever in use, in bytes; 0 where the platform does not know.
    fn heap_high_water(&self) -> u64;

    /// Writes a line (without its newline) on the console, waiting for room.
    async fn console_line(&self, line: &str);

    /// Waits until the stage is told to stop. Once ready, it is not asked again.
    async fn stop_requested(&self);
}

/// Events of one end of an edge since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Events {
    /// Notifications sent to the peer.
    pub sent: u64,
    /// Notifications received from the peer.
    pub received: u64,
}

/// The reading end of an edge. `Ok(0)` of a read with room says that the peer closed; an error says
/// that the edge broke, or that dom0 named another peer. Bytes that had arrived come first.
pub trait Reader: embedded_io_async::Read {
    /// The events so far.
    fn events(&self) -> Events;
}

/// The writing end of an edge. `flush` returns once everything written can be seen by the peer; it
/// does not wait for the peer to read it. `Ok(0)` or an error says that the reader is gone, or that
/// dom0 named another.
#[expect(
    async_fn_in_trait,
    reason = "a stage runs on one thread: futures need not be Send"
)]
pub trait Writer: embedded_io_async::Write {
    /// The events so far.
    fn events(&self) -> Events;

    /// Bytes written that the peer has not consumed; after the peer has gone, as many as it left.
    fn unread(&self) -> usize;

    /// Waits until the peer has consumed everything written, or is gone.
    async fn drained(&mut self);

    /// Ready once the reader is gone or dom0 has named another, which a writer with room to write would not notice; within a
    /// second or two, also if it is dropped and asked for again more often than that.
    async fn gone(&mut self);
}

/// An edge cannot be opened, now or later; the message is one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OpenError(pub String);
