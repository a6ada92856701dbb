//! Watching a pipeline that runs.
//!
//! * [`rates`] are what two snapshots ([`crate::compose::snapshot`]) differ by.

pub mod rates;
#[cfg(test)]
pub(crate) mod testing;
