//! The CPU time of domains, before and after.
//!
//! What this program itself takes in dom0 while it waits for a figure is no part of the figure.

use std::fs;
use std::time::Duration;

use super::site::{Site, Trouble};
use crate::xl::DomId;

/// CPU time of dom0, and of guests.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CpuTime {
    /// Of dom0, without this program's own.
    pub dom0: Duration,
    /// Of all guests that were asked for.
    pub guests: Duration,
}

impl CpuTime {
    /// What these guests and dom0 have used so far.
    pub fn now(site: &Site<'_>, guests: &[DomId]) -> Result<Self, Trouble> {
        let mut time = Self::default();
        for domain in site.xl().list()? {
            if domain.id == DomId(0) {
                time.dom0 = domain.cpu_time.saturating_sub(own());
            } else if guests.contains(&domain.id) {
                time.guests += domain.cpu_time;
            }
        }
        Ok(time)
    }

    /// What was used from `earlier` to this.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            dom0: self.dom0.saturating_sub(earlier.dom0),
            guests: self.guests.saturating_sub(earlier.guests),
        }
    }

    /// All of it, in seconds.
    pub fn seconds(self) -> f64 {
        (self.dom0 + self.guests).as_secs_f64()
    }
}

/// What this program has used: its one thread, by the scheduler's count in nanoseconds.
fn own() -> Duration {
    let text = fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let first = text.split_whitespace().next();
    Duration::from_nanos(first.and_then(|spent| spent.parse().ok()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_before_does_not_count_and_a_domain_that_went_takes_nothing_back() {
        let at = |dom0, guests| CpuTime {
            dom0: Duration::from_secs(dom0),
            guests: Duration::from_secs(guests),
        };
        assert_eq!(at(7, 5).since(at(3, 4)), at(4, 1));
        assert_eq!(at(7, 1).since(at(3, 4)).seconds(), 4.0);
        assert!(own() > Duration::ZERO);
    }
}
