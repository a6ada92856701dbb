//! The rim that both ways to a broker share: a connection is made, written to, and after a failure made anew, ever more rarely.

use alloc::string::{String, ToString};
use core::future::Future;
use core::pin::pin;
use core::time::Duration;

use embedded_io_async::{Error as _, Read as _, Write as _};
use stage::params::Address;
use stage::runner::{Beside, Host, Net, first};
use stage::state::Awaited;

use crate::back_off::BackOff;
use crate::failure::Failure;
use crate::pulse::PATIENCE;

/// How long a connection may take to be made.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

/// How long the last words on a connection may take.
pub(crate) const FAREWELL_PATIENCE: Duration = Duration::from_secs(1);

/// A connection that stood so long was a good one: the next wait is a short one again.
const GOOD: Duration = Duration::from_secs(30);

/// A stage and its network.
pub(crate) struct Line<'a, N, S, H> {
    pub(crate) net: N,
    pub(crate) beside: Beside<'a, S, H>,
}

impl<N: Net, S, H: Host> Line<'_, N, S, H> {
    pub(crate) fn now(&self) -> Duration {
        self.beside.host().now()
    }

    pub(crate) async fn sleep(&self, span: Duration) {
        self.beside.host().sleep_until(self.now() + span).await;
    }

    /// A future's outcome, or `None` after a time.
    pub(crate) async fn within<T>(
        &self,
        span: Duration,
        future: impl Future<Output = T>,
    ) -> Option<T> {
        first(pin!(future), pin!(self.sleep(span))).await
    }

    /// Connects to the broker; `addressed` is called once there is an address from which it may be reached.
    pub(crate) async fn connect(
        &self,
        address: &Address,
        addressed: impl FnOnce(Duration),
    ) -> Result<N::Stream, Failure> {
        let mut configured = pin!(self.net.configured(&address.host));
        if first(configured.as_mut(), pin!(core::future::ready(())))
            .await
            .is_none()
        {
            self.beside.set_awaited(Some(Awaited::Dhcp));
            configured.await;
        }
        addressed(self.now());
        self.beside.set_awaited(Some(Awaited::Broker));
        let connect = self.net.connect(&address.host, address.port);
        match self.within(CONNECT_PATIENCE, connect).await {
            Some(Ok(stream)) => Ok(stream),
            Some(Err(error)) => Err(Failure::Unreachable(error.to_string())),
            None => Err(Failure::Unreachable("no answer".into())),
        }
    }

    /// Waits for bytes; `None` if there is something to do before.
    pub(crate) async fn receive(
        &self,
        stream: &mut N::Stream,
        chunk: &mut [u8],
        something_to_do: impl Future,
    ) -> Result<Option<usize>, Failure> {
        match first(pin!(stream.read(chunk)), pin!(something_to_do)).await {
            None => Ok(None),
            Some(Ok(0)) => Err(Failure::Closed),
            Some(Ok(count)) => Ok(Some(count)),
            Some(Err(error)) => Err(Failure::Broken(error.kind())),
        }
    }

    pub(crate) async fn send(
        &self,
        stream: &mut N::Stream,
        mut bytes: &[u8],
    ) -> Result<(), Failure> {
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

    /// Writes what nothing depends on any more, and waits a moment until the broker has it.
    pub(crate) async fn last_words(&self, stream: &mut N::Stream, bytes: &[u8]) {
        let words = async {
            if self.send(stream, bytes).await.is_ok() {
                let _ = stream.flush().await;
            }
        };
        self.within(FAREWELL_PATIENCE, words).await;
    }
}

/// Failures of connections: how long to wait after each, and what is said on the console, which is a failure when it is a new
/// one, and then ever more rarely.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    back_off: BackOff,
    last: String,
    count: u64,
    is_connected: bool,
}

impl Failures {
    /// A connection failed after it had stood for a time; how long to wait before the next.
    pub(crate) fn wait(
        &mut self,
        address: &Address,
        failure: &Failure,
        stood: Duration,
        random: u64,
    ) -> Duration {
        if stood >= GOOD {
            self.back_off = BackOff::new();
        }
        let wait = self.back_off.wait(random);
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
        wait
    }

    /// The broker has let us in.
    pub(crate) fn connected(&mut self, address: &Address) {
        if !core::mem::replace(&mut self.is_connected, true) {
            log::info!("broker {address}: connected");
        }
    }
}
