//! Watching a pipeline that runs.
//!
//! * [`rates`] are what two snapshots ([`crate::compose::snapshot`]) differ by.
//! * [`metrics`] serves them to Prometheus.

pub mod looker;
pub mod metrics;
pub mod rates;
#[cfg(test)]
pub(crate) mod testing;

pub use looker::{Looker, Which};
