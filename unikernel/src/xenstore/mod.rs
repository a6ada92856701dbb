//! XenStore: the small shared database through which domains find each other.
//!
//! | room | what it is |
//! |---|---|
//! | [`wire`] | `xs_wire.h` as a codec: headers, paths, permissions, strict numbers |
//! | [`connection`] | which request waits for which reply, which watch fired; bytes in, bytes out |
//! | [`error`] | why a call failed |
//! | [`driver`] | the task that moves the bytes, and the [`Transport`] that it needs |
//! | [`page`] | that transport: the shared page and its event channel |
//! | [`client`] | the calls that a program makes |
//!
//! Three rules hold in all of them. The store is trusted to mean well, not to be right: each length is
//! checked before it is believed, and a broken store is an error for every call, never a hang. What is
//! in flight is bounded by the guest's quota. And nothing that a dropped future began is left behind.

#![forbid(unsafe_code)]

pub mod client;
pub mod connection;
pub mod driver;
pub mod error;
pub mod page;
pub mod wire;

pub use client::{Calls, Client, Listening, Request, TRANSACTION_TRIES, Transaction, Watch};
pub use connection::Counters;
pub use driver::{Driver, Transport, TransportError};
pub use error::{Broken, Errno, Error};
pub use page::XenstorePage;
pub use wire::{Access, Permission, parse_decimal};

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;
