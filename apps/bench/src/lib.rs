//! Images that measure.
//!
//! | room | what it is |
//! |---|---|
//! | [`histogram`] | round trips, counted by length |
//! | [`report`] | the line of JSON that a measurement ends with |
//! | [`parameters`] | what `tcp-bench` is told |
//! | [`tcp`] | `tcp-bench`: both roles |
#![no_std]

extern crate alloc;

pub mod histogram;
pub mod parameters;
pub mod report;
pub mod tcp;

pub use parameters::TcpBench;
