//! The sensing functions.
//!
//! * [`Sensor`] replays a recorded CSV file, or makes a signal from a seed;
//! * [`Aggregator`] condenses readings into windows of event time;
//! * [`Filter`] calibrates, bounds and smooths readings;
//! * [`Join`] brings readings of several series together that belong to the same time;
//! * [`Detect`] raises an alert when a series leaves what is usual;
//! * [`Actuate`] turns alerts into commands, which a simulated [`Valve`] obeys;
//! * [`Log`] prints readings on its console;
//! * [`csv`]: rows of a CSV file, read where they stand.
//!
//! No function knows the platform it runs on: see the `stage` crate.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod actuate;
pub mod aggregator;
pub mod csv;
pub mod detect;
pub mod filter;
pub mod join;
pub mod log;
pub mod sensor;
pub mod series;
pub mod valve;

#[cfg(test)]
mod bench;
#[cfg(test)]
mod pipeline;
#[cfg(test)]
mod rows;

pub use actuate::Actuate;
pub use aggregator::Aggregator;
pub use detect::Detect;
pub use filter::Filter;
pub use join::Join;
pub use log::Log;
pub use sensor::Sensor;
pub use valve::Valve;
