//! `tcp-bench`: both roles, from the network to the line that says how it went.

pub mod parameters;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use unikernel::net::{IpEndpoint, Network, TcpError, TcpOptions, TcpStream};
use unikernel::rt::Boot;
use unikernel::time;

use self::parameters::Task;
use crate::content::{Content, Mismatch, RUN_MAX};
use crate::histogram::Histogram;
use crate::parameters::{Load, Mode, Role};
use crate::report::Report;
use crate::run::{self, Meter};

pub use self::parameters::TcpBench;

/// Buffers of the connection: what is on its way at most.
const BUFFER: usize = 256 << 10;

/// How long a connection that is broken off has to say so.
const FAREWELL: Duration = Duration::from_millis(100);

/// Measures, and ends the domain.
pub fn main(boot: Boot) -> ! {
    run::main::<TcpBench, _>(boot, Task::new, async |task, store, spawner| {
        let network = Network::start(&store, &spawner, task.ip);
        measure(&task, &network).await
    })
}

async fn measure(task: &Task, network: &Network) -> Result<String, String> {
    let options = TcpOptions {
        receive_buffer: BUFFER,
        send_buffer: BUFFER,
        ..TcpOptions::default()
    };
    network.configured(false).await;
    for address in network.addresses() {
        log::info!("address {address}");
    }
    let stream = match task.load.role {
        Role::Client => {
            let addresses = network.resolve(&task.host, false).await;
            let addresses = addresses.map_err(|error| format!("{}: {error}", task.host))?;
            let address = *addresses
                .first()
                .ok_or_else(|| format!("{} has no address", task.host))?;
            log::info!("connecting to {address}");
            let remote = IpEndpoint::new(address, task.port);
            network.connect(remote, &options).await
        }
        Role::Server => {
            let listener = network.listen(task.port, 1, options);
            match listener {
                Ok(mut listener) => {
                    log::info!("listening on port {}", task.port);
                    listener.accept().await
                }
                Err(error) => Err(error),
            }
        }
    }
    .map_err(|error| format!("{} port {}: {error}", task.host, task.port))?;
    let mut exchange = Exchange::new(task.load, &stream);
    let events = || {
        let events = network.events();
        (events.sent, events.received)
    };
    let meter = Meter::start(events());
    let round_trips = match exchange.run().await {
        Ok(round_trips) => round_trips,
        Err(error) => {
            // The peer is told before the domain ends, or it waits for an answer that nobody gives.
            stream.abort();
            time::sleep_until(time::now() + FAREWELL).await;
            return Err(error.to_string());
        }
    };
    let spent = meter.stop(events());
    if let Some(counters) = network.counters() {
        log::info!("{counters:?}");
    }
    stream.shutdown();
    let report = Report {
        size: task.load.size,
        count: task.load.count,
        spent,
        round_trips: round_trips.as_ref(),
        channel: None,
    };
    // The peer has taken everything, and has seen the end, or has gone.
    let _ = stream.acknowledged().await;
    match stream.receive(&mut [0]).await {
        Ok(1..) if task.load.check => Err("more bytes came than were asked for".into()),
        _ => Ok(report.to_string()),
    }
}

/// Why an exchange failed.
#[derive(Debug)]
enum ExchangeError {
    /// The connection did.
    Tcp(TcpError),
    /// What came is not what was sent.
    Mismatch(Mismatch),
}

impl fmt::Display for ExchangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(error) => error.fmt(f),
            Self::Mismatch(mismatch) => mismatch.fmt(f),
        }
    }
}

impl From<TcpError> for ExchangeError {
    fn from(error: TcpError) -> Self {
        Self::Tcp(error)
    }
}

impl From<Mismatch> for ExchangeError {
    fn from(mismatch: Mismatch) -> Self {
        Self::Mismatch(mismatch)
    }
}

/// What is measured.
struct Exchange<'a> {
    load: Load,
    stream: &'a TcpStream,
    content: Content,
    /// Made once: the time of a round trip is the network's.
    buffer: Vec<u8>,
    sent: u64,
    received: u64,
}

impl<'a> Exchange<'a> {
    fn new(load: Load, stream: &'a TcpStream) -> Self {
        Self {
            load,
            stream,
            content: Content::default(),
            buffer: vec![0; RUN_MAX],
            sent: 0,
            received: 0,
        }
    }

    /// All messages; the round trips where they are sent back.
    async fn run(&mut self) -> Result<Option<Histogram>, ExchangeError> {
        let Load { size, count, .. } = self.load;
        let total = self.load.total();
        match (self.load.role, self.load.mode) {
            (Role::Client, Mode::Sink) => {
                for _ in 0..count {
                    self.send(size).await?;
                }
                self.receive_some(1).await?;
                Ok(None)
            }
            (Role::Server, Mode::Sink) => {
                self.receive(total).await?;
                send_all(self.stream, &[1]).await?;
                Ok(None)
            }
            (Role::Client, Mode::Echo) => self.round_trips().await.map(Some),
            (Role::Server, Mode::Echo) => {
                self.send_back(total).await?;
                Ok(None)
            }
        }
    }

    async fn round_trips(&mut self) -> Result<Histogram, ExchangeError> {
        let mut histogram = Histogram::default();
        for _ in 0..self.load.count {
            let start = time::now();
            let mut left = self.load.size;
            // A message longer than both buffers would wait for itself: its parts come back as they go.
            while left > 0 {
                let len = left.min(RUN_MAX as u64);
                self.send(len).await?;
                self.receive(len).await?;
                left -= len;
            }
            let took = time::now().saturating_sub(start).as_nanos();
            histogram.add(u64::try_from(took).unwrap_or(u64::MAX));
        }
        Ok(histogram)
    }

    async fn send_back(&mut self, total: u64) -> Result<(), ExchangeError> {
        while self.received < total {
            let came = self.receive_some(RUN_MAX).await?;
            self.compare(came)?;
            send_all(self.stream, &self.buffer[..came]).await?;
        }
        Ok(())
    }

    /// Sends the next `len` bytes of the stream.
    async fn send(&mut self, len: u64) -> Result<(), ExchangeError> {
        let end = self.sent + len;
        while self.sent < end {
            let run = self.content.run(self.sent, end - self.sent);
            self.sent += self.stream.send(run).await? as u64;
        }
        Ok(())
    }

    /// Takes the next `len` bytes of the stream.
    async fn receive(&mut self, len: u64) -> Result<(), ExchangeError> {
        let end = self.received + len;
        while self.received < end {
            let most = (end - self.received).min(RUN_MAX as u64) as usize;
            let came = self.receive_some(most).await?;
            self.compare(came)?;
        }
        Ok(())
    }

    /// The next bytes of the stream are the first ones in the buffer.
    fn compare(&mut self, came: usize) -> Result<(), ExchangeError> {
        if self.load.check {
            self.content.check(self.received, &self.buffer[..came])?;
        }
        self.received += came as u64;
        Ok(())
    }

    /// Takes what has come, at least a byte, into the buffer; a peer that ends before has broken off.
    async fn receive_some(&mut self, most: usize) -> Result<usize, TcpError> {
        match self.stream.receive(&mut self.buffer[..most]).await? {
            0 => Err(TcpError::Reset),
            count => Ok(count),
        }
    }
}

async fn send_all(stream: &TcpStream, mut data: &[u8]) -> Result<(), TcpError> {
    while !data.is_empty() {
        let sent = stream.send(data).await?;
        data = &data[sent..];
    }
    Ok(())
}
