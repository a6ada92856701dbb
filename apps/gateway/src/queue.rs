//! Messages on their way: those that wait, and those that the broker has not acknowledged.
//!
//! One line, in the order in which messages came. Its front is in flight: sent under a packet identifier that the broker
//! still owes an answer for. After a reconnect these are sent again, first and in the same order; under the same identifiers
//! if the broker has kept the session, as new messages if it has not.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

/// What a message takes beside its bytes, roughly.
const OVERHEAD: usize = 64;

/// What goes when the queue is full and nobody takes from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// The oldest message that is not in flight.
    DropOldest,
    /// The message that came last.
    DropNewest,
    /// None: inputs wait.
    Wait,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The topic, then the payload.
    bytes: Box<[u8]>,
    topic: usize,
    /// How many readings it holds.
    pub readings: u64,
    /// Which message it is of all that were ever accepted, the first being 1.
    pub sequence: u64,
    /// How many readings were accepted before it.
    pub seq: u64,
    /// Its packet identifier; 0 while it has none.
    id: u16,
    /// It was sent at least once.
    attempted: bool,
}

impl Message {
    /// A message that was never sent.
    pub fn new(topic: &str, payload: &[u8], readings: u64) -> Self {
        Self {
            bytes: [topic.as_bytes(), payload].concat().into(),
            topic: topic.len(),
            readings,
            sequence: 0,
            seq: 0,
            id: 0,
            attempted: false,
        }
    }

    /// Where it goes.
    pub fn topic(&self) -> &str {
        // The topic was a text and is cut where it ended.
        let topic = self.bytes.get(..self.topic).unwrap_or_default();
        core::str::from_utf8(topic).unwrap_or_default()
    }

    /// What it says.
    pub fn payload(&self) -> &[u8] {
        self.bytes.get(self.topic..).unwrap_or_default()
    }

    fn cost(&self) -> usize {
        self.bytes.len() + OVERHEAD
    }
}

/// How a message is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sending {
    /// Under which packet identifier.
    pub id: u16,
    /// It goes under the identifier of an earlier connection.
    pub again: bool,
    /// It was sent before, under whatever identifier.
    pub resent: bool,
}

/// The line.
#[derive(Debug)]
pub struct Queue {
    messages: VecDeque<Message>,
    /// So many at the front have packet identifiers.
    in_flight: usize,
    /// So many of these were sent on this connection.
    sent: usize,
    /// What all messages take.
    bytes: usize,
    limit: usize,
    policy: Policy,
    last_id: u16,
    accepted: u64,
    /// Readings in them.
    readings: u64,
}

impl Queue {
    /// A queue for `limit` bytes.
    pub const fn new(limit: usize, policy: Policy) -> Self {
        Self {
            messages: VecDeque::new(),
            in_flight: 0,
            sent: 0,
            bytes: 0,
            limit,
            policy,
            last_id: 0,
            accepted: 0,
            readings: 0,
        }
    }

    /// Takes a message in. Where `may_drop`, and the limit is passed, each message that has to go is handed to `dropped`.
    pub fn push(
        &mut self,
        mut message: Message,
        may_drop: bool,
        mut dropped: impl FnMut(&Message),
    ) {
        self.accepted += 1;
        message.sequence = self.accepted;
        message.seq = self.readings;
        self.readings += message.readings;
        let may_drop = may_drop && !self.never_drops();
        // All others would go for it, and then it itself.
        if may_drop && message.cost() > self.limit {
            dropped(&message);
            return;
        }
        self.bytes += message.cost();
        self.messages.push_back(message);
        while may_drop && self.bytes > self.limit {
            let index = match self.policy {
                Policy::DropOldest => self.in_flight,
                Policy::DropNewest | Policy::Wait => self.messages.len() - 1,
            };
            let Some(message) = self.remove(index) else {
                return;
            };
            dropped(&message);
            // What came while nothing was to be dropped may stay: the last one alone is too much.
            if self.policy == Policy::DropNewest {
                return;
            }
        }
    }

    /// Whether nothing is dropped for want of room.
    pub fn never_drops(&self) -> bool {
        self.policy == Policy::Wait
    }

    /// Whether inputs should wait while the broker takes messages. Half of the limit is for when it does not.
    pub const fn is_half_full(&self) -> bool {
        self.bytes >= self.limit / 2
    }

    /// What all messages take.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether there is nothing left.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// How many messages were sent on this connection and not acknowledged.
    pub const fn unacknowledged(&self) -> usize {
        self.sent
    }

    /// The message to send next.
    pub fn next(&self) -> Option<&Message> {
        self.messages.get(self.sent)
    }

    /// The message to send next is being sent.
    pub fn send_next(&mut self) -> Option<Sending> {
        let again = self.sent < self.in_flight;
        if !again {
            let id = self.free_id();
            self.messages.get_mut(self.sent)?.id = id;
            self.in_flight += 1;
        }
        let message = self.messages.get_mut(self.sent)?;
        self.sent += 1;
        Some(Sending {
            id: message.id,
            again,
            resent: core::mem::replace(&mut message.attempted, true),
        })
    }

    /// The message that was sent last and is not acknowledged.
    pub fn last_sent(&self) -> Option<&Message> {
        self.messages.get(self.sent.checked_sub(1)?)
    }

    /// Takes the message to send next out of the line.
    pub fn drop_next(&mut self) -> Option<Message> {
        self.remove(self.sent)
    }

    /// Takes a message out that the broker has answered for; `None` if it owes no answer under this identifier.
    pub fn answered(&mut self, id: u16) -> Option<Message> {
        let mut sent = self.messages.iter().take(self.sent);
        let index = sent.position(|message| message.id == id)?;
        self.remove(index)
    }

    /// Puts a message behind those in flight, to be sent anew.
    pub fn again(&mut self, mut message: Message) {
        message.id = 0;
        self.bytes += message.cost();
        self.messages.insert(self.in_flight, message);
    }

    /// The connection is a new one: what is in flight goes again.
    pub fn reconnected(&mut self, session_kept: bool) {
        self.sent = 0;
        if !session_kept {
            for message in self.messages.iter_mut().take(self.in_flight) {
                message.id = 0;
            }
            self.in_flight = 0;
        }
    }

    /// Empties the line.
    pub fn drain(&mut self) -> impl Iterator<Item = Message> {
        (self.in_flight, self.sent, self.bytes) = (0, 0, 0);
        self.messages.drain(..)
    }

    fn remove(&mut self, index: usize) -> Option<Message> {
        let message = self.messages.remove(index)?;
        self.bytes -= message.cost();
        self.in_flight -= usize::from(index < self.in_flight);
        self.sent -= usize::from(index < self.sent);
        Some(message)
    }

    /// The next identifier that nothing in flight has; there are far more of them than messages in flight.
    fn free_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            let mut in_flight = self.messages.iter().take(self.in_flight);
            if in_flight.all(|message| message.id != self.last_id) {
                return self.last_id;
            }
        }
    }
}
