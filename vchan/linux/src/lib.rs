#![doc = include_str!("../README.md")]

pub mod local;
pub mod xen;
pub mod xenstore;

mod copy;
mod memory;
mod port;
mod reactor;
mod stream;

pub use memory::Memory;
pub use port::{PollEvents, Port};
pub use reactor::{Readable, Writable, block_on, block_until, first, sleep_until};
pub use stream::{ReadHalf, Stream, WriteHalf};
pub use vchan::*;
