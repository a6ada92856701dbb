//! Watching a pipeline that runs.
//!
//! * [`looker`] looks, again and again; [`rates`] are what two snapshots ([`crate::compose::snapshot`]) differ by.
//! * [`view`] is a pipeline as lines; [`screen`] those that fit and what keys do to them, [`top`] the terminal,
//!   [`document`] the same for programs.
//! * [`metrics`] serves them to Prometheus.

pub mod document;
pub mod looker;
pub mod metrics;
pub mod rates;
pub mod screen;
#[cfg(test)]
pub(crate) mod testing;
pub mod top;
pub mod view;

pub use looker::{Looker, Which};
