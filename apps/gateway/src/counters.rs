//! What the gateway and `mqtt-in` count beside what every stage does.

use alloc::string::String;
use core::fmt::Write as _;
use core::time::Duration;

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

/// When something was reached for the first time, in milliseconds since the start of the stage; 0 before that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Milestone(u64);

impl Milestone {
    /// It is reached, if it was not before.
    pub fn reach(&mut self, now: Duration) {
        if self.0 == 0 {
            self.0 = u64::try_from(now.as_millis()).unwrap_or(u64::MAX).max(1);
        }
    }
}

/// Messages, but where it says readings or milestones.
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
    /// Messages that the broker had nobody for, and that are sent again.
    pub nobody: u64,
    /// Acknowledgements of what was not sent.
    pub unexpected: u64,
    /// There was an address from which the broker may be reached.
    pub address: Milestone,
    /// The broker let us in.
    pub connected: Milestone,
    /// It acknowledged a message.
    pub delivered: Milestone,
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

    /// All of it, by the keys of the node `stats/own`.
    pub fn pairs(&self) -> [(&'static str, u64); 15] {
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
            ("nobody", self.nobody),
            ("unexpected", self.unexpected),
            ("address-ms", self.address.0),
            ("connected-ms", self.connected.0),
            ("delivered-ms", self.delivered.0),
        ]
    }
}

/// What a subscriber counts: messages, but where it says readings or milestones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Arrivals {
    /// Sent to us by the broker.
    pub received: u64,
    /// Read, and their readings emitted.
    pub accepted: u64,
    /// Dropped, because they had come before.
    pub again: u64,
    /// Dropped, because one that was sent after them came before them.
    pub late: u64,
    /// Dropped, because they hold no pack.
    pub malformed: u64,
    /// Dropped, because their topic is not one that we subscribe to.
    pub foreign: u64,
    /// Dropped, because there was no room; messages at QoS 0 alone.
    pub overrun: u64,
    /// Readings that were sent to us and never came, as far as their publisher numbers them.
    pub lost: u64,
    /// Connections on which the broker let us in.
    pub connections: u64,
    /// Of these, those on which it knew no more of the session before.
    pub forgotten: u64,
    /// Connections that ended because the broker sent what no broker sends.
    pub garbage: u64,
    /// There was an address from which the broker may be reached.
    pub address: Milestone,
    /// The broker granted the subscription.
    pub subscribed: Milestone,
    /// Readings were emitted.
    pub delivered: Milestone,
}

impl Arrivals {
    /// All of it, by the keys of the node `stats/own`.
    pub fn pairs(&self) -> [(&'static str, u64); 14] {
        [
            ("received", self.received),
            ("accepted", self.accepted),
            ("again", self.again),
            ("late", self.late),
            ("malformed", self.malformed),
            ("foreign", self.foreign),
            ("overrun", self.overrun),
            ("lost", self.lost),
            ("connections", self.connections),
            ("forgotten", self.forgotten),
            ("garbage", self.garbage),
            ("address-ms", self.address.0),
            ("subscribed-ms", self.subscribed.0),
            ("delivered-ms", self.delivered.0),
        ]
    }
}

/// Appends counters as `key=number` pairs.
pub(crate) fn write_pairs(text: &mut String, pairs: &[(&'static str, u64)]) {
    for (key, value) in pairs {
        let space = if text.is_empty() { "" } else { " " };
        // Writing into a String cannot fail.
        let _ = write!(text, "{space}{key}={value}");
    }
}
