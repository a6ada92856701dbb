//! Images that measure.
//!
//! | room | what it is |
//! |---|---|
//! | [`content`] | what messages hold, so that their receiver can tell whether it is right |
//! | [`histogram`] | round trips, counted by length |
//! | [`report`] | the line of JSON that a measurement ends with |
//! | [`parameters`] | what `tcp-bench` is told |
//! | [`tcp`] | `tcp-bench`: both roles |
#![no_std]

extern crate alloc;

pub mod content;
pub mod histogram;
pub mod parameters;
pub mod report;
pub mod tcp;

pub use parameters::TcpBench;
