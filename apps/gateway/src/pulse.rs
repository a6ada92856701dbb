//! The keep-alive of one connection (MQTT 5.0, section 3.1.2.10): when to say something, and how long the broker may be silent.

use core::time::Duration;

use crate::failure::Failure;

/// How long to wait for an answer where no keep-alive says so.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// When was said what, as far as it matters.
#[derive(Debug, Default)]
pub struct Pulse {
    keep_alive: Duration,
    /// When the last packet was written.
    last_sent: Duration,
    /// Since when the broker owes an answer and has sent nothing.
    waiting_since: Option<Duration>,
    /// A PINGREQ is not answered.
    pinged: bool,
}

impl Pulse {
    /// Of a connection that begins, with the keep-alive that CONNECT asks for, in seconds; 0 for none.
    pub fn new(now: Duration, keep_alive: u16) -> Self {
        Self {
            keep_alive: Duration::from_secs(keep_alive.into()),
            last_sent: now,
            waiting_since: Some(now),
            pinged: false,
        }
    }

    /// The broker let us in and asks for a keep-alive of its own.
    pub fn agree(&mut self, asked: Option<u16>) {
        // It may ask for less silence than we planned; more would only delay that we notice it gone.
        let asked = Duration::from_secs(asked.unwrap_or(0).into());
        if !asked.is_zero() && (self.keep_alive.is_zero() || asked < self.keep_alive) {
            self.keep_alive = asked;
        }
    }

    /// Something is written.
    pub fn sent(&mut self, now: Duration) {
        self.last_sent = now;
    }

    /// Something is written that the broker has to answer.
    pub fn asked(&mut self, now: Duration) {
        self.waiting_since.get_or_insert(now);
    }

    /// A PINGREQ is written.
    pub fn pinged(&mut self, now: Duration) {
        self.pinged = true;
        self.asked(now);
    }

    /// A PINGRESP came.
    pub fn answered(&mut self) {
        self.pinged = false;
    }

    /// A packet came; `owes` says whether the broker has another answer to give.
    pub fn heard(&mut self, now: Duration, owes: bool) {
        self.waiting_since = (owes || self.pinged).then_some(now);
    }

    /// When a PINGREQ is to be sent if nothing else was.
    pub fn ping_due(&self) -> Option<Duration> {
        let is_due = !self.keep_alive.is_zero() && !self.pinged;
        is_due.then(|| self.last_sent + self.keep_alive / 2)
    }

    /// Looks whether the broker has been silent for too long.
    pub fn check(&self, now: Duration) -> Result<(), Failure> {
        match self.silent_at() {
            Some(at) if at <= now => Err(Failure::Silent(self.patience())),
            _ => Ok(()),
        }
    }

    /// When it will have been.
    pub fn silent_at(&self) -> Option<Duration> {
        self.waiting_since.map(|since| since + self.patience())
    }

    fn patience(&self) -> Duration {
        if self.keep_alive.is_zero() {
            PATIENCE
        } else {
            self.keep_alive
        }
    }
}
