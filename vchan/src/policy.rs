//! When a half shows its peer what it has done, and how long it looks before it sleeps. Pure.

/// When a [`Writer`](crate::Writer) publishes what it has filled, and a [`Reader`](crate::Reader) frees what it has
/// taken.
///
/// Each publication costs a transfer of the one cache line that both sides write; [`Batched`](Self::Batched) spreads
/// this over a quarter of the ring.
///
/// # Why batching leaves nobody waiting
///
/// A batched half holds something back only while it has reason to go on: a writer less than a quarter of the ring, a
/// reader less than a quarter and only while it knows of more to read. Both let go of all of it before they wait, ask for an event, find too little
/// room or nothing to read, and before they close or are dropped. So of two sides that wait for each other over one
/// ring, neither holds anything back, and each sees as much as with [`Eager`](Self::Eager). What remains is the rule of
/// every buffered writer: whoever is about to wait for something *else*, a reply on the other half for instance,
/// [publishes](crate::Writer::publish) first. An [`Endpoint`](crate::Endpoint) that is not split does this itself, for both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Each call publishes, or frees, what it has moved.
    #[default]
    Eager,
    /// A quarter of the ring at a time.
    Batched,
}

impl Policy {
    /// Whether `held` bytes of a ring of `size` are enough to let go of.
    #[inline]
    pub(crate) fn is_due(self, held: u32, size: u32) -> bool {
        held >= self.due(size)
    }

    /// How many bytes of a ring of `size` are enough to let go of.
    #[inline]
    pub(crate) fn due(self, size: u32) -> u32 {
        match self {
            Policy::Eager => 1,
            Policy::Batched => size / 4,
        }
    }
}

/// How long a half looks for news before it goes to sleep, in calls of
/// [`relax`](crate::platform::EventChannel::relax): about as long as a sleep would cost, as long as that pays.
///
/// A look that found something doubles the next one, up to the limit; one that found nothing halves it. At zero there
/// is no looking but for one short try in 64 waits. So a peer that never answers in time, because it is idle or because
/// it needs this very CPU to run on, costs less than twice the limit once, and next to nothing from then on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spin {
    /// How much of the limit is used: it is shifted right by this much.
    shrunk: u32,
    /// Waits since the last look.
    skipped: u32,
}

impl Spin {
    /// From here on there is no looking.
    const OFF: u32 = 6;
    /// One wait in so many is a try even then.
    const RETRY: u32 = 64;

    /// How many times to look at the start of a wait, `limit` being what one sleep costs.
    pub fn looks(&mut self, limit: u32) -> u32 {
        if self.shrunk < Self::OFF {
            return limit >> self.shrunk;
        }
        self.skipped += 1;
        if self.skipped < Self::RETRY {
            return 0;
        }
        self.skipped = 0;
        limit >> (Self::OFF - 1)
    }

    /// The looks of this wait found something.
    pub fn paid(&mut self) {
        self.shrunk = self.shrunk.saturating_sub(1);
    }

    /// They found nothing.
    pub fn failed(&mut self) {
        self.shrunk = (self.shrunk + 1).min(Self::OFF);
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    const LIMIT: u32 = 1 << 10;

    #[test]
    fn looking_that_never_pays_ends() {
        let mut spin = Spin::default();
        let mut wait = || {
            let looks = spin.looks(LIMIT);
            if looks > 0 {
                spin.failed();
            }
            looks
        };
        let first: Vec<u32> = (0..6).map(|_| wait()).collect();
        assert_eq!(first, [1024, 512, 256, 128, 64, 32]);
        let later: Vec<u32> = (0..640).map(|_| wait()).collect();
        assert_eq!(later.iter().sum::<u32>(), 10 * 32);
        assert_eq!(later.iter().filter(|&&looks| looks > 0).count(), 10);
    }

    #[test]
    fn a_peer_that_answers_again_is_looked_for_again() {
        let mut spin = Spin::default();
        for _ in 0..100 {
            if spin.looks(LIMIT) > 0 {
                spin.failed();
            }
        }
        let tried = (0..64).map(|_| spin.looks(LIMIT)).find(|&looks| looks > 0);
        assert_eq!(tried, Some(32));
        let grown: Vec<u32> = (0..8)
            .map(|_| {
                spin.paid();
                spin.looks(LIMIT)
            })
            .collect();
        assert_eq!(grown, [32, 64, 128, 256, 512, 1024, 1024, 1024]);
    }

    #[test]
    fn without_a_limit_nothing_is_looked_at() {
        let mut spin = Spin::default();
        assert!((0..1000).all(|_| spin.looks(0) == 0));
    }

    #[test]
    fn a_quarter_is_due() {
        assert!(Policy::Eager.is_due(1, 1024) && !Policy::Eager.is_due(0, 1024));
        assert!(Policy::Batched.is_due(256, 1024) && !Policy::Batched.is_due(255, 1024));
    }
}
