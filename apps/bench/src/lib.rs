//! Images that measure.
//!
//! | room | what it is |
//! |---|---|
//! | [`content`] | what messages hold, so that their receiver can tell whether it is right |
//! | [`histogram`] | round trips, counted by length |
//! | [`report`] | the line of JSON that a measurement ends with |
//! | [`parameters`] | what every image here is told |
//! | [`run`] | from the boot to that line |
//! | [`tcp`] | `tcp-bench`: both roles |
//! | [`vchan`] | `vchan-bench`: both roles |
#![no_std]

extern crate alloc;

pub mod content;
pub mod histogram;
pub mod parameters;
pub mod report;
pub mod run;
pub mod tcp;
pub mod vchan;

pub use tcp::TcpBench;
pub use vchan::VchanBench;
