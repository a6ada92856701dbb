//! What the gateway counts beside what every stage does.

use crate::queue::Message;

/// Why a message was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The queue was full while the broker was away.
    Queue,
    /// It is longer than the broker's maximum packet size.
    Large,
    /// The broker refused it.
    Refused,
    /// The stage ended before the broker acknowledged it.
    End,
}

impl Cause {
    const COUNT: usize = 4;
}

/// Messages, but where it says readings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Taken into the queue.
    pub accepted: u64,
    /// Sent for the first time.
    pub published: u64,
    /// Sent again, for want of an acknowledgement.
    pub resent: u64,
    /// Acknowledged by the broker.
    pub acknowledged: u64,
    /// Dropped, by [`Cause`].
    dropped: [u64; Cause::COUNT],
    /// Readings in messages that were dropped.
    pub readings_dropped: u64,
    /// Connections on which the broker let us in.
    pub connections: u64,
    /// Connections that ended because the broker sent what no broker sends.
    pub garbage: u64,
    /// Acknowledgements of what was not sent.
    pub unexpected: u64,
}

impl Counters {
    /// Counts a message dropped; the answer is how many were for this cause.
    pub fn drop(&mut self, cause: Cause, message: &Message) -> u64 {
        self.readings_dropped += message.readings;
        let count = &mut self.dropped[cause as usize];
        *count += 1;
        *count
    }

    /// Messages dropped for a cause.
    pub fn dropped(&self, cause: Cause) -> u64 {
        self.dropped[cause as usize]
    }

    /// Messages dropped for any cause.
    pub fn dropped_in_all(&self) -> u64 {
        self.dropped.iter().sum()
    }

    /// All of it, by the keys of the node `stats/broker`.
    pub fn pairs(&self) -> [(&'static str, u64); 11] {
        [
            ("accepted", self.accepted),
            ("published", self.published),
            ("resent", self.resent),
            ("acknowledged", self.acknowledged),
            ("queue", self.dropped(Cause::Queue)),
            ("large", self.dropped(Cause::Large)),
            ("refused", self.dropped(Cause::Refused)),
            ("end", self.dropped(Cause::End)),
            ("connections", self.connections),
            ("garbage", self.garbage),
            ("unexpected", self.unexpected),
        ]
    }
}
