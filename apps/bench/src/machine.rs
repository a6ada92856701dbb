//! What a measurement asks of the machine that it runs on, and what it took of it. Pure.

use core::future::Future;
use core::time::Duration;

use crate::report::Spent;

/// The machine: a domain of our own, or Linux.
pub trait Machine {
    /// Time since some moment.
    fn now(&self) -> Duration;

    /// Hypercalls made so far, where anybody counts them.
    fn hypercalls(&self) -> Option<u64>;

    /// Waits.
    fn sleep(&self, time: Duration) -> impl Future<Output = ()>;
}

/// What has been used at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    at: Duration,
    events: Option<(u64, u64)>,
    hypercalls: Option<u64>,
}

impl Meter {
    /// Now, with so many events sent and received so far, where anybody counts them.
    pub fn look(machine: &impl Machine, events: Option<(u64, u64)>) -> Self {
        Self {
            at: machine.now(),
            events,
            hypercalls: machine.hypercalls(),
        }
    }

    /// What was used from here to there.
    pub fn until(self, later: Self) -> Spent {
        let between = |start: u64, end: u64| end.saturating_sub(start);
        let events = self.events.zip(later.events);
        let (sent, received) = events
            .map(|(start, end)| (between(start.0, end.0), between(start.1, end.1)))
            .unzip();
        Spent {
            took: later.at.saturating_sub(self.at),
            events_sent: sent,
            events_received: received,
            hypercalls: self
                .hypercalls
                .zip(later.hypercalls)
                .map(|(start, end)| between(start, end)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fake(u64, Option<u64>);

    impl Machine for Fake {
        fn now(&self) -> Duration {
            Duration::from_millis(self.0)
        }

        fn hypercalls(&self) -> Option<u64> {
            self.1
        }

        async fn sleep(&self, _: Duration) {}
    }

    #[test]
    fn what_was_used_is_what_lies_between() {
        let start = Meter::look(&Fake(5, Some(7)), Some((1, 2)));
        let spent = start.until(Meter::look(&Fake(25, Some(17)), Some((31, 42))));
        assert_eq!(
            spent,
            Spent {
                took: Duration::from_millis(20),
                events_sent: Some(30),
                events_received: Some(40),
                hypercalls: Some(10),
            }
        );
        let unknown = start.until(Meter::look(&Fake(25, None), None));
        assert_eq!((unknown.events_sent, unknown.hypercalls), (None, None));
    }
}
