//! The rim of `mqtt-in`: one connection to the broker after the other, for as long as something may come.
//!
//! The end: when the end of the stream has come, the broker is told to forget the session. The word to stop leaves the session
//! there, with what was not accepted yet, for who comes next under the same client identifier; but not that of an edge (`end=on`),
//! where the end of one run would be kept for the next. Its writer waits until somebody reads again.

use alloc::vec::Vec;
use core::pin::pin;

use stage::params::Address;
use stage::runner::{Beside, Companion, Host, Net, first};
use stage::state::Awaited;

use crate::failure::Failure;
use crate::line::{FAREWELL_PATIENCE, Failures, Line};
use crate::mqtt::disconnect;
use crate::mqtt_in::MqttIn;
use crate::subscription::Subscription;

/// How many bytes are read at a time.
const CHUNK: usize = 4 << 10;

/// Brings the messages of an [`MqttIn`] over a network.
#[derive(Debug)]
pub struct Downlink<N> {
    net: N,
}

impl<N: Net> Downlink<N> {
    /// Over this network.
    pub const fn new(net: N) -> Self {
        Self { net }
    }
}

impl<N: Net> Companion<MqttIn> for Downlink<N> {
    const IS_SOURCE: bool = true;

    async fn run<H: Host>(self, beside: Beside<'_, MqttIn, H>) {
        let net = self.net;
        let task = Task(Line { net, beside });
        first(pin!(task.bring()), pin!(task.out_of_patience())).await;
        task.act(Subscription::close);
        task.0.beside.set_awaited(None);
    }
}

struct Task<'a, N, H>(Line<'a, N, MqttIn, H>);

impl<N: Net, H: Host> Task<'_, N, H> {
    fn act<T>(&self, act: impl FnOnce(&mut Subscription) -> T) -> T {
        self.0
            .beside
            .with(|function, _| act(function.subscription_mut()))
    }

    async fn stopped(&self) {
        self.0.beside.until(|_| self.0.beside.is_stopped()).await;
    }

    /// Ready a while after the word to stop.
    async fn out_of_patience(&self) {
        self.stopped().await;
        self.0.sleep(2 * FAREWELL_PATIENCE).await;
    }

    /// Brings messages until the end has come, or the stage is told to stop.
    async fn bring(&self) {
        let Line { net, beside } = &self.0;
        let address = beside.with(|function, _| function.address().clone());
        let mut failures = Failures::default();
        while !beside.is_stopped() {
            let Err(failure) = self.connection(&address, &mut failures).await else {
                return;
            };
            let now = self.0.now();
            let stood = self.act(|subscription| subscription.up_for(now));
            self.act(Subscription::close);
            beside.set_awaited(Some(Awaited::Broker));
            let wait = failures.wait(&address, &failure, stood, net.random());
            first(pin!(self.0.sleep(wait)), pin!(self.stopped())).await;
        }
    }

    /// One connection, from its making to its end; `Ok` if nothing more is wanted.
    async fn connection(&self, address: &Address, failures: &mut Failures) -> Result<(), Failure> {
        let addressed = |now| self.act(|subscription| subscription.addressed(now));
        let connect = pin!(self.0.connect(address, addressed));
        let Some(stream) = first(connect, pin!(self.stopped())).await else {
            return Ok(());
        };
        let mut stream = stream?;
        let now = self.0.now();
        self.act(|subscription| subscription.open(now));
        let outcome = self
            .converse(&mut stream, || failures.connected(address))
            .await;
        let mut bytes = Vec::new();
        match &outcome {
            Ok(forget) => self.act(|subscription| subscription.farewell(*forget, &mut bytes)),
            Err(failure) => {
                if let Some(reason) = failure.farewell() {
                    disconnect(&mut bytes, reason, false);
                }
            }
        }
        if !bytes.is_empty() {
            self.0.last_words(&mut stream, &bytes).await;
        }
        outcome.map(drop)
    }

    /// Until the end has come or the stage is told to stop; whether the session is of no more use then.
    async fn converse(
        &self,
        stream: &mut N::Stream,
        mut connected: impl FnMut(),
    ) -> Result<bool, Failure> {
        let beside = &self.0.beside;
        let (mut out, mut chunk) = (Vec::new(), alloc::vec![0; CHUNK]);
        loop {
            self.take_in();
            let is_over = beside.is_stopped() || beside.with(|function, _| function.has_ended());
            if is_over {
                return Ok(beside.with(|function, _| function.ends()));
            }
            let now = self.0.now();
            out.clear();
            let is_up = self.act(|subscription| {
                subscription.fill(now, &mut out);
                subscription.check(now)?;
                Ok::<_, Failure>(subscription.is_up())
            })?;
            if !out.is_empty() {
                self.0.send(stream, &out).await?;
                continue;
            }
            if is_up {
                beside.set_awaited(None);
                connected();
            }
            let something_to_do = self.something_to_do();
            if beside.with(|function, _| function.subscription().is_full()) {
                something_to_do.await;
                continue;
            }
            let count = self.0.receive(stream, &mut chunk, something_to_do).await?;
            if let Some(count) = count {
                let bytes = chunk.get(..count).unwrap_or_default();
                let now = self.0.now();
                self.act(|subscription| subscription.receive(now, bytes))?;
            }
        }
    }

    /// Emits what has come, as far as there is room.
    fn take_in(&self) {
        let (beside, host) = (&self.0.beside, self.0.beside.host());
        while !beside.is_stopped()
            && beside.has_room()
            && beside.emit(|function, out| function.take_in(host.now(), host.wall_clock(), out))
        {
        }
    }

    /// Ready when there is room for what waits, when it is time to look, and at the word to stop.
    async fn something_to_do(&self) {
        let beside = &self.0.beside;
        let (deadline, has_waiting) =
            self.act(|subscription| (subscription.deadline(), subscription.has_waiting()));
        let room = async {
            match has_waiting {
                true => beside.room().await,
                false => core::future::pending().await,
            }
        };
        let time = async {
            match deadline {
                Some(deadline) => beside.host().sleep_until(deadline).await,
                None => core::future::pending().await,
            }
        };
        let (room, time) = (pin!(room), pin!(time));
        first(pin!(self.stopped()), pin!(first(room, time))).await;
    }
}
