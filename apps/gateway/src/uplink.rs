//! The rim: one connection to the broker after the other, for as long as there is something to deliver.
//!
//! The end: when the function has finished and every message is acknowledged, the broker is told so. Until then the uplink
//! goes on trying; only the word to stop gives it [`DRAIN_PATIENCE`] from the last acknowledgement, and what is left then
//! is counted as undelivered.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::future::Future;
use core::pin::pin;
use core::time::Duration;

use embedded_io_async::{Error as _, Read as _, Write as _};
use stage::params::Address;
use stage::runner::{Beside, Companion, DRAIN_PATIENCE, Host, Net, first};
use stage::state::Awaited;

use crate::back_off::BackOff;
use crate::failure::Failure;
use crate::gateway::Gateway;
use crate::mqtt::disconnect;
use crate::session::{PATIENCE, Session};

/// How long a connection may take to be made.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

/// How long the last words on a connection may take.
const FAREWELL_PATIENCE: Duration = Duration::from_secs(1);

/// A connection that stood so long was a good one: the next wait is a short one again.
const GOOD: Duration = Duration::from_secs(30);

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
        let task = Task { net, beside };
        let boot = task.net.random();
        task.act(|session| session.set_boot(boot));
        first(pin!(task.deliver()), pin!(task.out_of_patience())).await;
        task.act(Session::close);
        // What still comes in, now that nobody delivers, is left over as well.
        task.beside.until(|_| task.beside.is_finishing()).await;
        task.act(Session::give_up);
        task.beside.set_awaited(None);
    }
}

struct Task<'a, N, H> {
    net: N,
    beside: Beside<'a, Gateway, H>,
}

impl<N: Net, H: Host> Task<'_, N, H> {
    fn act<T>(&self, act: impl FnOnce(&mut Session) -> T) -> T {
        self.beside.with(|gateway, out| gateway.act(out, act))
    }

    fn now(&self) -> Duration {
        self.beside.host().now()
    }

    async fn sleep(&self, span: Duration) {
        self.beside.host().sleep_until(self.now() + span).await;
    }

    /// A future's outcome, or `None` after a time.
    async fn within<T>(&self, span: Duration, future: impl Future<Output = T>) -> Option<T> {
        first(pin!(future), pin!(self.sleep(span))).await
    }

    /// Whether nothing is left to deliver, now and later.
    fn is_done(&self, gateway: &Gateway) -> bool {
        self.beside.is_finishing() && gateway.session().is_drained()
    }

    /// Ready when the stage was told to stop and the broker acknowledges nothing.
    async fn out_of_patience(&self) {
        self.beside.until(|_| self.beside.is_stopped()).await;
        let progress = || self.act(|session| session.counters().acknowledged);
        loop {
            let before = progress();
            self.sleep(DRAIN_PATIENCE).await;
            if progress() == before {
                return;
            }
        }
    }

    /// Delivers until nothing is left.
    async fn deliver(&self) {
        let mut back_off = BackOff::new();
        let mut reports = Reports::default();
        loop {
            let Err(failure) = self.connection(&mut reports).await else {
                return;
            };
            let now = self.now();
            let stood = self.act(|session| session.up_for(now));
            self.act(Session::close);
            self.beside.set_awaited(Some(Awaited::Broker));
            if stood >= GOOD {
                back_off = BackOff::new();
            }
            let wait = back_off.wait(self.net.random());
            reports.failed(&self.address(), &failure, wait);
            let done = self.beside.until(|gateway| self.is_done(gateway));
            if first(pin!(self.sleep(wait)), pin!(done)).await.is_none() {
                return;
            }
        }
    }

    fn address(&self) -> String {
        self.beside.with(|gateway, _| gateway.address().to_string())
    }

    /// One connection, from its making to its end; `Ok` if nothing is left to deliver.
    async fn connection(&self, reports: &mut Reports) -> Result<(), Failure> {
        let address = self.beside.with(|gateway, _| gateway.address().clone());
        let mut configured = pin!(self.net.configured(&address.host));
        if first(configured.as_mut(), pin!(core::future::ready(())))
            .await
            .is_none()
        {
            self.beside.set_awaited(Some(Awaited::Dhcp));
            configured.await;
        }
        let now = self.now();
        self.act(|session| session.addressed(now));
        self.beside.set_awaited(Some(Awaited::Broker));
        let mut stream = self.connect(&address).await?;
        let now = self.now();
        self.act(|session| session.open(now));
        let outcome = self.converse(&mut stream, reports).await;
        if let Some(reason) = outcome.as_ref().err().and_then(Failure::farewell) {
            let mut bytes = Vec::new();
            disconnect(&mut bytes, reason, false);
            // It is only polite.
            let _ = self
                .within(FAREWELL_PATIENCE, self.send(&mut stream, &bytes))
                .await;
        }
        outcome
    }

    async fn connect(&self, address: &Address) -> Result<N::Stream, Failure> {
        let connect = self.net.connect(&address.host, address.port);
        match self.within(CONNECT_PATIENCE, connect).await {
            Some(Ok(stream)) => Ok(stream),
            Some(Err(error)) => Err(Failure::Unreachable(error.to_string())),
            None => Err(Failure::Unreachable("no answer".into())),
        }
    }

    async fn converse(&self, stream: &mut N::Stream, reports: &mut Reports) -> Result<(), Failure> {
        let (mut out, mut chunk) = (Vec::new(), [0; 256]);
        loop {
            let now = self.now();
            out.clear();
            self.act(|session| {
                session.fill(now, &mut out, ENOUGH);
                session.check(now)
            })?;
            if !out.is_empty() {
                self.send(stream, &out).await?;
                continue;
            }
            let (is_up, is_done) = self
                .beside
                .with(|gateway, _| (gateway.session().is_up(), self.is_done(gateway)));
            if is_up && is_done {
                self.say_goodbye(stream).await;
                return Ok(());
            }
            if is_up {
                self.beside.set_awaited(None);
                reports.connected(&self.address());
            }
            if let Some(count) = self.listen(stream, &mut chunk).await? {
                let bytes = chunk.get(..count).unwrap_or_default();
                let now = self.now();
                self.act(|session| session.receive(now, bytes))?;
            }
        }
    }

    /// Waits for bytes; `None` if there is something to do before.
    async fn listen(
        &self,
        stream: &mut N::Stream,
        chunk: &mut [u8],
    ) -> Result<Option<usize>, Failure> {
        let now = self.now();
        let deadline = self.act(|session| session.deadline(now));
        let something_to_do = async {
            let is_something = |gateway: &Gateway| {
                let session = gateway.session();
                session.has_next(now) || session.is_up() && self.is_done(gateway)
            };
            let news = self.beside.until(is_something);
            match deadline {
                Some(deadline) => {
                    first(pin!(news), pin!(self.beside.host().sleep_until(deadline))).await;
                }
                None => news.await,
            }
        };
        match first(pin!(stream.read(chunk)), pin!(something_to_do)).await {
            None => Ok(None),
            Some(Ok(0)) => Err(Failure::Closed),
            Some(Ok(count)) => Ok(Some(count)),
            Some(Err(error)) => Err(Failure::Broken(error.kind())),
        }
    }

    async fn send(&self, stream: &mut N::Stream, mut bytes: &[u8]) -> Result<(), Failure> {
        while !bytes.is_empty() {
            match self.within(PATIENCE, stream.write(bytes)).await {
                Some(Ok(count @ 1..)) => bytes = bytes.get(count..).unwrap_or_default(),
                Some(Ok(0)) => return Err(Failure::Closed),
                Some(Err(error)) => return Err(Failure::Broken(error.kind())),
                None => return Err(Failure::Silent(PATIENCE)),
            }
        }
        Ok(())
    }

    /// All is delivered, so nothing depends on these words.
    async fn say_goodbye(&self, stream: &mut N::Stream) {
        let mut bytes = Vec::new();
        self.act(|session| session.farewell(&mut bytes));
        let words = async {
            if self.send(stream, &bytes).await.is_ok() {
                let _ = stream.flush().await;
            }
        };
        self.within(FAREWELL_PATIENCE, words).await;
    }
}

/// What is said on the console: a failure when it is a new one, and then ever more rarely.
#[derive(Debug, Default)]
struct Reports {
    last: String,
    count: u64,
    is_connected: bool,
}

impl Reports {
    fn failed(&mut self, address: &str, failure: &Failure, wait: Duration) {
        let text = failure.to_string();
        if text != self.last {
            (self.last, self.count) = (text, 0);
        }
        self.count += 1;
        self.is_connected = false;
        if self.count.is_power_of_two() {
            let (text, wait) = (&self.last, wait.as_millis() as u64);
            log::warn!("broker {address} {text}; trying again in {wait} ms");
        }
    }

    fn connected(&mut self, address: &str) {
        if !core::mem::replace(&mut self.is_connected, true) {
            log::info!("broker {address}: connected");
        }
    }
}
