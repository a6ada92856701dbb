#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(feature = "in-process")]
extern crate std;

#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "in-process")]
pub mod in_process;
pub mod interface;
pub mod keys;
pub mod notify;
pub mod platform;
pub mod ring;

mod endpoint;
mod late;
mod lend;
mod link;
mod policy;
mod reader;
mod stats;
mod writer;

pub use endpoint::{
    AcceptError, ConnectError, ConnectOptions, Endpoint, EndpointError, OfferError, OfferOptions,
};
pub use interface::{Layout, LayoutError, Role};
pub use late::{LateError, Stale};
pub use lend::{Peek, Reservation, RingSlice, RingSliceMut};
pub use link::Corrupt;
pub use policy::{Policy, Spin};
pub use reader::{ReadError, Reader, RecvError};
pub use stats::{Counters, Stats, violations};
pub use writer::{SendError, WriteError, Writer};
