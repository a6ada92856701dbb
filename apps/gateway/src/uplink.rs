//! The rim: one connection to the broker after the other, for as long as there is something to deliver.
//!
//! The end: when the function has finished and every message is acknowledged, the broker is told so. Until then the uplink
//! goes on trying; only the word to stop gives it [`DRAIN_PATIENCE`] from the last acknowledgement, and what is left then
//! is counted as undelivered.

use alloc::vec::Vec;
use core::pin::pin;

use stage::params::Address;
use stage::runner::{Beside, Companion, DRAIN_PATIENCE, Host, Net, first};
use stage::state::Awaited;

use crate::failure::Failure;
use crate::gateway::Gateway;
use crate::line::{Failures, Line};
use crate::mqtt::disconnect;
use crate::session::Session;

/// How many bytes are gathered before they are written; a message is not cut.
const ENOUGH: usize = 4 << 10;

/// Carries the messages of a [`Gateway`] over a network.
#[derive(Debug)]
pub struct Uplink<N> {
    net: N,
}

impl<N: Net> Uplink<N> {
    /// Over this network.
    pub const fn new(net: N) -> Self {
        Self { net }
    }
}

impl<N: Net> Companion<Gateway> for Uplink<N> {
    async fn run<H: Host>(self, beside: Beside<'_, Gateway, H>) {
        let net = self.net;
        let task = Task(Line { net, beside });
        let boot = task.0.net.random();
        task.act(|session| session.set_boot(boot));
        first(pin!(task.deliver()), pin!(task.out_of_patience())).await;
        task.act(Session::close);
        // What still comes in, now that nobody delivers, is left over as well.
        let beside = &task.0.beside;
        beside.until(|_| beside.is_finishing()).await;
        task.act(Session::give_up);
        beside.set_awaited(None);
    }
}

struct Task<'a, N, H>(Line<'a, N, Gateway, H>);

impl<N: Net, H: Host> Task<'_, N, H> {
    fn act<T>(&self, act: impl FnOnce(&mut Session) -> T) -> T {
        self.0.beside.with(|gateway, out| gateway.act(out, act))
    }

    /// Whether nothing is left to deliver, now and later.
    fn is_done(&self, gateway: &Gateway) -> bool {
        self.0.beside.is_finishing() && gateway.session().is_drained()
    }

    /// Ready when the stage was told to stop and the broker acknowledges nothing.
    async fn out_of_patience(&self) {
        let beside = &self.0.beside;
        beside.until(|_| beside.is_stopped()).await;
        let progress = || self.act(|session| session.counters().acknowledged);
        loop {
            let before = progress();
            self.0.sleep(DRAIN_PATIENCE).await;
            if progress() == before {
                return;
            }
        }
    }

    /// Delivers until nothing is left.
    async fn deliver(&self) {
        let Line { net, beside } = &self.0;
        let address = beside.with(|gateway, _| gateway.address().clone());
        let mut failures = Failures::default();
        loop {
            let Err(failure) = self.connection(&address, &mut failures).await else {
                return;
            };
            let now = self.0.now();
            let stood = self.act(|session| session.up_for(now));
            self.act(Session::close);
            beside.set_awaited(Some(Awaited::Broker));
            let wait = failures.wait(&address, &failure, stood, net.random());
            let done = beside.until(|gateway| self.is_done(gateway));
            if first(pin!(self.0.sleep(wait)), pin!(done)).await.is_none() {
                return;
            }
        }
    }

    /// One connection, from its making to its end; `Ok` if nothing is left to deliver.
    async fn connection(&self, address: &Address, failures: &mut Failures) -> Result<(), Failure> {
        let addressed = |now| self.act(|session| session.addressed(now));
        let mut stream = self.0.connect(address, addressed).await?;
        let now = self.0.now();
        self.act(|session| session.open(now));
        let connected = || failures.connected(address);
        let outcome = self.converse(&mut stream, connected).await;
        if let Some(reason) = outcome.as_ref().err().and_then(Failure::farewell) {
            let mut bytes = Vec::new();
            disconnect(&mut bytes, reason, false);
            self.0.last_words(&mut stream, &bytes).await;
        }
        outcome
    }

    async fn converse(
        &self,
        stream: &mut N::Stream,
        mut connected: impl FnMut(),
    ) -> Result<(), Failure> {
        let beside = &self.0.beside;
        let (mut out, mut chunk) = (Vec::new(), [0; 256]);
        loop {
            let now = self.0.now();
            out.clear();
            self.act(|session| {
                session.fill(now, &mut out, ENOUGH);
                session.check(now)
            })?;
            if !out.is_empty() {
                self.0.send(stream, &out).await?;
                continue;
            }
            let (is_up, is_done) =
                beside.with(|gateway, _| (gateway.session().is_up(), self.is_done(gateway)));
            if is_up && is_done {
                self.act(|session| session.farewell(&mut out));
                // All is delivered, so nothing depends on these words.
                self.0.last_words(stream, &out).await;
                return Ok(());
            }
            if is_up {
                beside.set_awaited(None);
                connected();
            }
            let something_to_do = self.something_to_do();
            let count = self.0.receive(stream, &mut chunk, something_to_do).await?;
            if let Some(count) = count {
                let bytes = chunk.get(..count).unwrap_or_default();
                let now = self.0.now();
                self.act(|session| session.receive(now, bytes))?;
            }
        }
    }

    /// Ready when there is something to send, or it is time to look.
    async fn something_to_do(&self) {
        let beside = &self.0.beside;
        let now = self.0.now();
        let deadline = self.act(|session| session.deadline(now));
        let news = beside.until(|gateway| {
            let session = gateway.session();
            session.has_next(now) || session.is_up() && self.is_done(gateway)
        });
        match deadline {
            Some(deadline) => {
                first(pin!(news), pin!(beside.host().sleep_until(deadline))).await;
            }
            None => news.await,
        }
    }
}
