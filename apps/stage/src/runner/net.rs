//! What a companion asks of a network.

use core::fmt::Display;

use embedded_io_async::{Read, Write};

/// A network: TCP connections by name, and randomness.
///
/// Every future may be dropped before it is ready. Bytes that have come and were not read stay then; a write that was
/// dropped may have taken some bytes or none, and its connection is of no more use.
#[expect(
    async_fn_in_trait,
    reason = "a stage runs on one thread: futures need not be Send"
)]
pub trait Net {
    /// A TCP connection. What is written to it leaves without a flush; a flush returns once the other side has it. Dropping
    /// it ends the connection in order, without waiting.
    type Stream: Read + Write;

    /// Why there is no connection; one line.
    type Error: Display;

    /// Waits until there is an address from which `host` may be reached.
    async fn configured(&self, host: &str);

    /// Connects to a host, which is a name or an address.
    async fn connect(&self, host: &str, port: u16) -> Result<Self::Stream, Self::Error>;

    /// A number that nobody can foretell.
    fn random(&self) -> u64;
}
