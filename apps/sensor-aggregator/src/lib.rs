//! The sensing functions.
//!
//! * [`Sensor`] replays a recorded CSV file, or makes a signal from a seed;
//! * [`Aggregator`] condenses readings into windows of event time;
//! * [`csv`]: rows of a CSV file, read where they stand.
//!
//! No function knows the platform it runs on: see the `stage` crate.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod aggregator;
pub mod csv;
pub mod sensor;

#[cfg(test)]
mod pipeline;

pub use aggregator::Aggregator;
pub use sensor::Sensor;
