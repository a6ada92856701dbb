//! A small client of xenstore, over its socket in dom0 or the kernel's device in any domain.

pub use client::{Connection, Error, Tx};
pub use wire::{Message, PathError, Violation, check_path};

mod client;
pub mod wire;
