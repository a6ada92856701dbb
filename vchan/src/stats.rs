//! What an endpoint has done so far, readable from anywhere and after its end.

use core::sync::atomic::{AtomicU64, Ordering};

/// A snapshot of an endpoint's counters, each since the endpoint was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes read from the ring that the peer fills.
    pub bytes_read: u64,
    /// Bytes written into the ring that the peer reads.
    pub bytes_written: u64,
    /// Events sent to the peer, the one at connecting and the one at closing included.
    pub events_sent: u64,
    /// Events received, as far as a wait of ours has seen them.
    pub events_received: u64,
    /// 1 once the peer has broken the protocol, which ends the channel.
    pub violations: u64,
}

/// An endpoint's counters. Orderings are all relaxed: each number stands alone.
#[derive(Debug, Default)]
pub struct Stats {
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
    events_sent: AtomicU64,
    events_received: AtomicU64,
    violations: AtomicU64,
}

static VIOLATIONS: AtomicU64 = AtomicU64::new(0);

/// How often peers of this program have broken the protocol, offers that were refused for it included
/// ([`ConnectError::is_violation`](crate::ConnectError::is_violation)): those have no endpoint that could count them.
pub fn violations() -> u64 {
    // Relaxed: the number stands alone.
    VIOLATIONS.load(Ordering::Relaxed)
}

/// Counts one by a peer without an endpoint.
pub(crate) fn count_violation() {
    VIOLATIONS.fetch_add(1, Ordering::Relaxed);
}

impl Stats {
    /// The counters as they are now.
    pub fn counters(&self) -> Counters {
        Counters {
            bytes_read: self.bytes_read.load(Ordering::Relaxed),
            bytes_written: self.bytes_written.load(Ordering::Relaxed),
            events_sent: self.events_sent.load(Ordering::Relaxed),
            events_received: self.events_received.load(Ordering::Relaxed),
            violations: self.violations.load(Ordering::Relaxed),
        }
    }

    /// Only the reader calls this, so that a load and a store do where a locked addition would cost more.
    #[inline]
    pub(crate) fn read(&self, bytes: usize) {
        let sum = self.bytes_read.load(Ordering::Relaxed) + bytes as u64;
        self.bytes_read.store(sum, Ordering::Relaxed);
    }

    /// Only the writer calls this; see [`Self::read`].
    #[inline]
    pub(crate) fn wrote(&self, bytes: usize) {
        let sum = self.bytes_written.load(Ordering::Relaxed) + bytes as u64;
        self.bytes_written.store(sum, Ordering::Relaxed);
    }

    pub(crate) fn sent(&self) {
        self.events_sent.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn violated(&self) {
        self.violations.fetch_add(1, Ordering::Relaxed);
        count_violation();
    }

    pub(crate) fn received(&self, count: u64) {
        self.events_received.fetch_max(count, Ordering::Relaxed);
    }
}
