//! One subscriber at one broker, over any number of connections: bytes in, messages and bytes out, and the time.
//!
//! A message is acknowledged once it has been [taken](Subscription::take), and not before, so the broker keeps what we have no
//! room for. It also keeps our session while we are away, and sends then what came meanwhile. Nothing here waits or does I/O;
//! see [`downlink`](crate::downlink) for that.

use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use crate::client::Credentials;
use crate::counters::Arrivals;
use crate::failure::Failure;
use crate::mqtt::{
    Connack, Connect, Decoder, Incoming, Malformed, Packet, Reason, disconnect, pingreq, puback,
    subscribe,
};
use crate::pulse::Pulse;
use crate::seen::{Fate, Name, Seen};
use crate::topic::matches;

/// How many messages the broker may send before one is acknowledged.
pub const RECEIVE_MAXIMUM: usize = 32;

/// The longest packet that we take: the longest pack, its topic and its properties. A broker keeps longer ones to itself.
pub const MAX_PACKET: u32 = 80 << 10;

/// The packet identifier of SUBSCRIBE; we have no other.
const SUBSCRIBE_ID: u16 = 1;

/// Who we are, and what we want to hear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The client identifier.
    pub client_id: String,
    /// User name and password.
    pub credentials: Option<Credentials>,
    /// The longest time without a packet of ours, in seconds; 0 for no limit.
    pub keep_alive: u16,
    /// The topic filter.
    pub filter: String,
    /// How long the broker keeps the session of a connection that ended, in seconds.
    pub session_expiry: u32,
    /// A message that comes after one that was sent after it is dropped.
    pub ordered: bool,
}

/// A message that has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    /// Where it was published.
    pub topic: String,
    /// What it says.
    pub payload: Vec<u8>,
    id: Option<u16>,
    again: bool,
    name: Option<Name>,
    seq: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Down,
    /// A connection is there, CONNECT is yet to be written.
    Made,
    /// CONNECT is written, CONNACK has not come.
    Greeted,
    /// The broker has let us in; whether SUBSCRIBE is written.
    Admitted(bool),
    /// It has granted the subscription.
    Up,
}

/// The subscriber.
#[derive(Debug)]
pub struct Subscription {
    account: Account,
    counters: Arrivals,
    decoder: Decoder,
    link: Link,
    pulse: Pulse,
    up_since: Duration,
    /// Messages in the order in which they came.
    waiting: VecDeque<Arrived>,
    /// Acknowledgements that are to be written.
    acknowledgements: Vec<u16>,
    seen: Seen,
    /// Nothing was read for a while: whether the broker is silent is not known.
    deaf: bool,
    /// The broker had kept a session of ours when we first came: an earlier start has had what came before.
    resumed: bool,
}

impl Subscription {
    /// A subscriber without a connection.
    pub fn new(account: Account) -> Self {
        Self {
            account,
            counters: Arrivals::default(),
            decoder: Decoder::subscriber(MAX_PACKET as usize),
            link: Link::Down,
            pulse: Pulse::default(),
            up_since: Duration::ZERO,
            waiting: VecDeque::new(),
            acknowledgements: Vec::new(),
            seen: Seen::default(),
            deaf: false,
            resumed: false,
        }
    }

    /// What has been counted.
    pub fn counters(&self) -> &Arrivals {
        &self.counters
    }

    /// The same, for who takes the messages.
    pub fn counters_mut(&mut self) -> &mut Arrivals {
        &mut self.counters
    }

    /// Whether the broker has granted the subscription.
    pub fn is_up(&self) -> bool {
        self.link == Link::Up
    }

    /// For how long it has.
    pub fn up_for(&self, now: Duration) -> Duration {
        if self.is_up() {
            now.saturating_sub(self.up_since)
        } else {
            Duration::ZERO
        }
    }

    /// Whether a message waits to be taken.
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether nothing more is to be read for now. A broker that keeps to the receive maximum never has us at it with
    /// something on its way; one that resumes a session may send all that it holds at once (Mosquitto 2.0 does).
    pub fn is_full(&self) -> bool {
        self.waiting.len() >= RECEIVE_MAXIMUM
    }

    /// There is an address from which the broker may be reached.
    pub fn addressed(&mut self, now: Duration) {
        self.counters.address.reach(now);
    }

    /// A connection is there; what [`fill`](Self::fill) gives goes out on it.
    pub fn open(&mut self, now: Duration) {
        self.decoder.reset();
        self.link = Link::Made;
        self.pulse = Pulse::new(now, self.account.keep_alive);
    }

    /// The connection is gone. What was not acknowledged comes again on the next.
    pub fn close(&mut self) {
        self.link = Link::Down;
        self.pulse = Pulse::default();
        self.waiting.retain(|message| message.id.is_none());
        self.acknowledgements.clear();
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
            (Link::Admitted(true), Packet::Suback { id, reason, text }) if id == SUBSCRIBE_ID => {
                self.suback(now, reason, text)?;
            }
            (Link::Admitted(_) | Link::Up, Packet::Publish(message)) => self.message(&message),
            (Link::Admitted(_) | Link::Up, Packet::Pingresp) => self.pulse.answered(),
            (_, Packet::Disconnect { reason, text }) => {
                let text = text.to_string();
                return Err(Failure::Ended { reason, text });
            }
            // Each has its place, and this is not it.
            (_, Packet::Connack(_)) => return Err(Malformed::Type(0x20).into()),
            (_, Packet::Publish(_)) => return Err(Malformed::Type(0x30).into()),
            (_, Packet::Puback { .. }) => return Err(Malformed::Type(0x40).into()),
            (_, Packet::Suback { .. }) => return Err(Malformed::Type(0x90).into()),
            (_, Packet::Pingresp) => return Err(Malformed::Type(0xD0).into()),
        }
        self.pulse.heard(now, !self.is_up());
        Ok(())
    }

    fn connack(&mut self, now: Duration, connack: &Connack<'_>) -> Result<(), Failure> {
        if connack.reason != Reason::SUCCESS {
            return Err(Failure::Refused {
                reason: connack.reason,
                text: connack.text.to_string(),
            });
        }
        if self.counters.connections == 0 {
            self.resumed = connack.session_present;
        } else if !connack.session_present {
            self.counters.forgotten += 1;
            log::warn!(
                "broker: it has forgotten our session; what came while we were away is lost"
            );
        }
        self.counters.connections += 1;
        self.pulse.agree(connack.keep_alive);
        self.pulse.sent(now);
        self.link = Link::Admitted(false);
        Ok(())
    }

    fn suback(&mut self, now: Duration, reason: Reason, text: &str) -> Result<(), Failure> {
        match reason {
            Reason::GRANTED_QOS_1 => {
                self.counters.subscribed.reach(now);
                self.link = Link::Up;
                self.up_since = now;
                Ok(())
            }
            Reason::SUCCESS => Err(Failure::AtMostOnce),
            reason if reason.is_failure() => Err(Failure::NotGranted {
                reason,
                text: text.to_string(),
            }),
            other => Err(Malformed::Code(other.0).into()),
        }
    }

    fn message(&mut self, message: &Incoming<'_>) {
        // Nothing holds back who publishes at QoS 0.
        if message.id.is_none() && self.is_full() {
            self.counters.received += 1;
            self.counters.overrun += 1;
            return;
        }
        self.counters.received += 1;
        // Of a subscription that an earlier start has made, perhaps.
        if !matches(&self.account.filter, message.topic) {
            self.counters.foreign += 1;
            self.acknowledgements.extend(message.id);
            return;
        }
        self.waiting.push_back(Arrived {
            topic: message.topic.into(),
            payload: message.payload.into(),
            id: message.id,
            again: message.again,
            name: message.name.and_then(Name::parse),
            seq: message.seq,
        });
    }

    /// Takes the next message that has not come before; it will be acknowledged.
    pub fn take(&mut self) -> Option<Arrived> {
        loop {
            let mut message = self.waiting.pop_front()?;
            self.acknowledgements.extend(message.id);
            match self.fate(&message) {
                Fate::New { lost } => {
                    self.counters.lost = self.counters.lost.saturating_add(lost);
                    return Some(message);
                }
                Fate::Late if self.account.ordered => self.counters.late += 1,
                Fate::Late => {
                    // What it says of those before it is known already.
                    message.seq = None;
                    return Some(message);
                }
                Fate::Again => self.counters.again += 1,
            }
        }
    }

    fn fate(&mut self, message: &Arrived) -> Fate {
        match (message.name, message.id) {
            (Some(name), _) => self.seen.named(name, message.seq, self.resumed),
            (None, Some(id)) => {
                let Arrived { topic, payload, .. } = message;
                self.seen.nameless(id, message.again, topic, payload)
            }
            (None, None) => Fate::New { lost: 0 },
        }
    }

    /// The message that was taken last holds so many readings.
    pub fn held(&mut self, message: &Arrived, readings: u64) {
        self.counters.accepted += 1;
        if message.name.is_some() && message.seq.is_some() {
            self.seen.held(readings);
        }
    }

    /// Appends what is to be sent now.
    pub fn fill(&mut self, now: Duration, out: &mut Vec<u8>) {
        let before = out.len();
        let is_full = self.is_full();
        if core::mem::replace(&mut self.deaf, is_full) {
            // What it has answered was not read. It wants to hear from us all the same.
            self.pulse.answered();
            self.pulse.heard(now, !self.is_up());
        }
        match self.link {
            Link::Down | Link::Greeted => {}
            Link::Made => {
                self.connect(out);
                self.link = Link::Greeted;
            }
            Link::Admitted(is_asked) => {
                self.acknowledge(out);
                if !is_asked {
                    subscribe(out, SUBSCRIBE_ID, &self.account.filter);
                    self.link = Link::Admitted(true);
                    self.pulse.asked(now);
                }
            }
            Link::Up => {
                self.acknowledge(out);
                if out.len() == before && self.pulse.ping_due().is_some_and(|due| due <= now) {
                    pingreq(out);
                    self.pulse.pinged(now);
                }
            }
        }
        if out.len() > before {
            self.pulse.sent(now);
        }
    }

    fn acknowledge(&mut self, out: &mut Vec<u8>) {
        for id in self.acknowledgements.drain(..) {
            puback(out, id);
        }
    }

    fn connect(&self, out: &mut Vec<u8>) {
        let account = &self.account;
        let credentials = account.credentials.as_ref();
        let connect = Connect {
            client_id: &account.client_id,
            clean_start: false,
            keep_alive: account.keep_alive,
            session_expiry: account.session_expiry,
            maximum_packet: MAX_PACKET,
            receive_maximum: RECEIVE_MAXIMUM as u16,
            will: None,
            credentials: credentials.map(|(user, password)| (user.as_str(), password.as_slice())),
        };
        connect.write(out);
    }

    /// Looks whether the broker has been silent for too long.
    pub fn check(&self, now: Duration) -> Result<(), Failure> {
        if self.deaf {
            Ok(())
        } else {
            self.pulse.check(now)
        }
    }

    /// When to call [`check`](Self::check) and [`fill`](Self::fill) next if nothing happens before.
    pub fn deadline(&self) -> Option<Duration> {
        let silent_at = self.pulse.silent_at().filter(|_| !self.deaf);
        let ping_due = self.pulse.ping_due().filter(|_| self.is_up());
        [silent_at, ping_due].into_iter().flatten().min()
    }

    /// Appends the end of a connection. `forget` has the broker drop the session: nothing more is wanted.
    pub fn farewell(&mut self, forget: bool, out: &mut Vec<u8>) {
        if matches!(self.link, Link::Admitted(_) | Link::Up) {
            self.acknowledge(out);
            disconnect(out, Reason::SUCCESS, forget);
        }
    }
}

#[cfg(test)]
mod tests;
