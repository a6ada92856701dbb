//! One client at one broker, over any number of connections: bytes in, bytes out, and the time.
//!
//! What was accepted is delivered at least once, or counted as dropped. Nothing here waits or does I/O; see
//! [`uplink`](crate::uplink) for that.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use crate::counters::{Cause, Counters};
use crate::failure::Failure;
use crate::mqtt::{
    Connack, Connect, Decoder, Delivery, Malformed, Packet, Publish, Reason, Will, disconnect,
    pingreq,
};
use crate::pulse::Pulse;
use crate::queue::{Message, Queue, Sending};

/// The most messages in flight, whatever the broker allows: their answers must fit a TCP window even if nobody reads them.
pub const WINDOW: usize = 256;

/// The longest packet that we take. Whatever a broker has to say to a publisher is shorter.
pub const MAX_PACKET: u32 = 4096;

/// How long the broker keeps the session of a connection that ended, in seconds.
pub const SESSION_EXPIRY: u32 = 3600;

/// How long nothing is sent after the broker said that a quota is used up.
const QUOTA_PAUSE: Duration = Duration::from_secs(1);

/// What the retained message at the topic of the will says while a connection stands, after it was lost, and after its end.
pub const PRESENCE: [&str; 3] = ["running", "lost", "done"];

/// Who we are and how we speak.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The client identifier.
    pub client_id: String,
    /// User name and password.
    pub credentials: Option<(String, Vec<u8>)>,
    /// The topic of the will.
    pub will_topic: String,
    /// The longest time without a packet of ours, in seconds; 0 for no limit.
    pub keep_alive: u16,
    /// The media type of all payloads.
    pub content_type: &'static str,
    /// All payloads are UTF-8.
    pub is_text: bool,
    /// Each message says how many readings were accepted before it.
    pub counts: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Down,
    /// A connection is there, CONNECT is yet to be written.
    Made,
    /// CONNECT is written, CONNACK has not come.
    Greeted,
    Up,
}

/// The client.
#[derive(Debug)]
pub struct Session {
    identity: Identity,
    /// What the names of messages begin with: another number at each start.
    boot: u64,
    /// The broker has let us in before: it may have kept a session, and we have.
    has_session: bool,
    queue: Queue,
    counters: Counters,
    decoder: Decoder,
    link: Link,
    /// The presence is yet to be said on this connection.
    presence_due: bool,
    window: usize,
    /// Nothing tells that the next message has a subscriber: it goes alone, so that it can wait without being overtaken.
    probing: bool,
    maximum_packet: u32,
    pulse: Pulse,
    /// When the broker let us in.
    up_since: Duration,
    /// Nothing new is sent before.
    paused_until: Duration,
}

impl Session {
    /// A client without a connection.
    pub fn new(identity: Identity, queue: Queue) -> Self {
        Self {
            identity,
            boot: 0,
            has_session: false,
            queue,
            counters: Counters::default(),
            decoder: Decoder::new(MAX_PACKET as usize),
            link: Link::Down,
            presence_due: false,
            window: WINDOW,
            probing: false,
            maximum_packet: u32::MAX,
            pulse: Pulse::default(),
            up_since: Duration::ZERO,
            paused_until: Duration::ZERO,
        }
    }

    /// Sets what the names of messages begin with, before the first is sent.
    pub fn set_boot(&mut self, boot: u64) {
        self.boot = boot;
    }

    /// What has been counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Whether the broker has let us in.
    pub fn is_up(&self) -> bool {
        self.link == Link::Up
    }

    /// For how long the broker has let us in.
    pub fn up_for(&self, now: Duration) -> Duration {
        if self.is_up() {
            now.saturating_sub(self.up_since)
        } else {
            Duration::ZERO
        }
    }

    /// Whether inputs should wait. Without a connection they need not where the queue's policy says what goes then.
    pub fn holds_back(&self) -> bool {
        (self.is_up() || self.queue.never_drops()) && self.queue.is_half_full()
    }

    /// Whether everything accepted is acknowledged or counted as dropped.
    pub fn is_drained(&self) -> bool {
        self.queue.is_empty()
    }

    /// Messages that are neither acknowledged nor dropped.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Accepts a message.
    pub fn push(&mut self, message: Message) {
        self.counters.accepted += 1;
        let Self {
            queue, counters, ..
        } = self;
        queue.push(message, self.link != Link::Up, |message| {
            counters.drop(Cause::Queue, message);
        });
    }

    /// There is an address from which the broker may be reached.
    pub fn addressed(&mut self, now: Duration) {
        self.counters.address.reach(now);
    }

    /// A connection is there; what [`fill`](Self::fill) gives goes out on it.
    pub fn open(&mut self, now: Duration) {
        self.decoder.reset();
        self.link = Link::Made;
        self.pulse = Pulse::new(now, self.identity.keep_alive);
        self.paused_until = now;
    }

    /// The connection is gone.
    pub fn close(&mut self) {
        self.link = Link::Down;
        self.pulse = Pulse::default();
    }

    /// Takes in what the broker sent. After an error the connection is of no more use.
    pub fn receive(&mut self, now: Duration, bytes: &[u8]) -> Result<(), Failure> {
        // Taken out for as long as its packets, which borrow from it, are looked at.
        let mut decoder = core::mem::take(&mut self.decoder);
        let outcome = decoder.each_packet(bytes, |packet| self.packet(now, packet));
        self.decoder = decoder;
        if let Err(Failure::Garbage(_)) = outcome {
            self.counters.garbage += 1;
        }
        outcome
    }

    fn packet(&mut self, now: Duration, packet: Packet<'_>) -> Result<(), Failure> {
        match (self.link, packet) {
            (Link::Greeted, Packet::Connack(connack)) => self.connack(now, &connack)?,
            (Link::Up, Packet::Puback { id, reason, text }) => self.puback(now, id, reason, text),
            (Link::Up, Packet::Pingresp) => self.pulse.answered(),
            (_, Packet::Disconnect { reason, text }) => {
                let text = text.to_string();
                return Err(Failure::Ended { reason, text });
            }
            // Each has its place, and this is not it.
            (_, Packet::Connack(_)) => return Err(Malformed::Type(0x20).into()),
            (_, Packet::Puback { .. }) => return Err(Malformed::Type(0x40).into()),
            (_, Packet::Pingresp) => return Err(Malformed::Type(0xD0).into()),
            // The decoder passes them to subscribers alone.
            (_, Packet::Suback { .. } | Packet::Publish(_)) => {
                return Err(Malformed::Type(0x30).into());
            }
        }
        self.pulse.heard(now, self.queue.unacknowledged() > 0);
        Ok(())
    }

    fn connack(&mut self, now: Duration, connack: &Connack<'_>) -> Result<(), Failure> {
        if connack.reason != Reason::SUCCESS {
            return Err(Failure::Refused {
                reason: connack.reason,
                text: connack.text.to_string(),
            });
        }
        if connack.session_present && !self.has_session {
            return Err(Malformed::Code(1).into());
        }
        if connack.maximum_qos == 0 {
            return Err(Failure::AtMostOnce);
        }
        self.window = usize::from(connack.receive_maximum).min(WINDOW);
        self.maximum_packet = connack.maximum_packet;
        self.pulse.agree(connack.keep_alive);
        self.queue.reconnected(connack.session_present);
        self.probing = self.queue.never_drops();
        self.has_session = true;
        self.counters.connections += 1;
        self.counters.connected.reach(now);
        self.link = Link::Up;
        self.presence_due = true;
        self.pulse.sent(now);
        self.up_since = now;
        Ok(())
    }

    fn puback(&mut self, now: Duration, id: u16, reason: Reason, text: &str) {
        let Some(message) = self.queue.answered(id) else {
            self.counters.unexpected += 1;
            return;
        };
        let nobody = reason == Reason::NO_MATCHING_SUBSCRIBERS && self.queue.never_drops();
        if nobody {
            self.counters.nobody += 1;
            if self.counters.nobody.is_power_of_two() {
                let topic = message.topic();
                log::warn!("broker: nobody has subscribed to {topic}; trying again");
            }
        }
        if !reason.is_failure() && !nobody {
            self.probing = false;
            self.counters.acknowledged += 1;
            self.counters.delivered.reach(now);
            return;
        }
        // These pass: the broker has not looked at the message itself.
        if nobody
            || matches!(
                reason,
                Reason::QUOTA_EXCEEDED | Reason::PACKET_IDENTIFIER_IN_USE
            )
        {
            self.probing = self.queue.never_drops();
            self.queue.again(message);
            self.paused_until = now + QUOTA_PAUSE;
            return;
        }
        let count = self.counters.drop(Cause::Refused, &message);
        if count.is_power_of_two() {
            let text = crate::failure::said(text);
            log::error!(
                "broker: refuses message {count} to {}: {reason}{text}",
                message.topic()
            );
        }
    }

    /// Appends what is to be sent now, until `out` holds about `enough` bytes.
    pub fn fill(&mut self, now: Duration, out: &mut Vec<u8>, enough: usize) {
        let before = out.len();
        match self.link {
            Link::Down | Link::Greeted => {}
            Link::Made => {
                self.connect(out);
                self.link = Link::Greeted;
            }
            Link::Up => {
                if core::mem::take(&mut self.presence_due) {
                    self.presence(PRESENCE[0], out);
                }
                while out.len() < enough && self.publish(now, out) {}
                if out.len() == before && self.ping_due().is_some_and(|due| due <= now) {
                    pingreq(out);
                    self.pulse.pinged(now);
                }
            }
        }
        if out.len() > before {
            self.pulse.sent(now);
        }
    }

    fn connect(&self, out: &mut Vec<u8>) {
        let identity = &self.identity;
        let credentials = identity.credentials.as_ref();
        let connect = Connect {
            client_id: &identity.client_id,
            // Only who has a session may go on with one (section 3.2.2.1.1).
            clean_start: !self.has_session,
            keep_alive: identity.keep_alive,
            session_expiry: SESSION_EXPIRY,
            maximum_packet: MAX_PACKET,
            // None are sent to who has not subscribed.
            receive_maximum: u16::MAX,
            will: Some(Will {
                topic: &identity.will_topic,
                payload: PRESENCE[1].as_bytes(),
            }),
            credentials: credentials.map(|(user, password)| (user.as_str(), password.as_slice())),
        };
        connect.write(out);
    }

    fn presence(&self, text: &str, out: &mut Vec<u8>) {
        let publish = Publish {
            topic: &self.identity.will_topic,
            payload: text.as_bytes(),
            delivery: Delivery::AtMostOnceRetained,
            content_type: "",
            is_text: true,
            id: "",
            seq: None,
        };
        publish.write(out);
    }

    /// Whether a message may be sent now.
    pub fn has_next(&self, now: Duration) -> bool {
        let window = if self.probing { 1 } else { self.window };
        let may_send = self.queue.unacknowledged() < window && now >= self.paused_until;
        self.is_up() && may_send && self.queue.next().is_some()
    }

    /// Appends one message, if one may be sent.
    fn publish(&mut self, now: Duration, out: &mut Vec<u8>) -> bool {
        if !self.has_next(now) {
            return false;
        }
        let Some(message) = self.queue.next() else {
            return false;
        };
        // How long it gets does not depend on the identifier.
        let name = self.name(message);
        let length = self.packet_of(message, &name, 1, false).length();
        if length > self.maximum_packet as usize {
            if let Some(message) = self.queue.drop_next() {
                self.drop_large(&message);
            }
            return true;
        }
        let Some(Sending { id, again, resent }) = self.queue.send_next() else {
            return false;
        };
        if let Some(message) = self.queue.last_sent() {
            self.packet_of(message, &name, id, again).write(out);
        }
        if resent {
            self.counters.resent += 1;
        } else {
            self.counters.published += 1;
        }
        self.pulse.asked(now);
        true
    }

    /// What a message is called, so that whoever gets it twice can tell.
    fn name(&self, message: &Message) -> String {
        format!("{:016x}-{}", self.boot, message.sequence)
    }

    fn packet_of<'m>(
        &self,
        message: &'m Message,
        name: &'m str,
        id: u16,
        again: bool,
    ) -> Publish<'m> {
        Publish {
            topic: message.topic(),
            payload: message.payload(),
            delivery: Delivery::AtLeastOnce { id, again },
            content_type: self.identity.content_type,
            is_text: self.identity.is_text,
            id: name,
            seq: self.identity.counts.then_some(message.seq),
        }
    }

    fn drop_large(&mut self, message: &Message) {
        let count = self.counters.drop(Cause::Large, message);
        if count.is_power_of_two() {
            log::error!(
                "broker: message {count} of {} bytes to {} is more than its maximum packet size, {}",
                message.payload().len(),
                message.topic(),
                self.maximum_packet
            );
        }
    }

    /// When a PINGREQ is to be sent if nothing else was.
    fn ping_due(&self) -> Option<Duration> {
        self.pulse.ping_due().filter(|_| self.is_up())
    }

    /// Looks whether the broker has been silent for too long.
    pub fn check(&self, now: Duration) -> Result<(), Failure> {
        self.pulse.check(now)
    }

    /// When to call [`check`](Self::check) and [`fill`](Self::fill) next if nothing happens before.
    pub fn deadline(&self, now: Duration) -> Option<Duration> {
        let paused = (self.paused_until > now).then_some(self.paused_until);
        let deadlines = [self.pulse.silent_at(), self.ping_due(), paused];
        deadlines.into_iter().flatten().min()
    }

    /// Appends the end of a connection that has nothing left to send.
    pub fn farewell(&mut self, out: &mut Vec<u8>) {
        if self.is_up() {
            self.presence(PRESENCE[2], out);
            disconnect(out, Reason::SUCCESS, self.queue.is_empty());
        }
    }

    /// Counts what is left as dropped.
    pub fn give_up(&mut self) {
        for message in self.queue.drain() {
            self.counters.drop(Cause::End, &message);
        }
    }
}

#[cfg(test)]
mod tests;
