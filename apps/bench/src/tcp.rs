//! `tcp-bench`: both roles, from the boot to the line that says how it went.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;

use stage::Plan;
use unikernel::hypercall::{self, ShutdownReason, shutdown};
use unikernel::net::{IpEndpoint, Network, TcpError, TcpOptions, TcpStream};
use unikernel::rt::{self, Boot};
use unikernel::{console, time};

use crate::histogram::Histogram;
use crate::parameters::{Mode, Role, Task, TcpBench};
use crate::report::Report;

/// Buffers of the connection: what is on its way at most.
const BUFFER: usize = 256 << 10;
/// The most that is read or written at once.
const CHUNK: usize = 64 << 10;

/// Measures, and ends the domain.
pub fn main(boot: Boot) -> ! {
    let line = boot.info.command_line.unwrap_or_default();
    let task = match Plan::new::<TcpBench>(line.as_bytes(), boot.module) {
        Ok(plan) if boot.info.command_line.is_ok() => {
            log::set_max_level(plan.log_level());
            Task::new(&plan)
        }
        // Bad parameters end like any stage's.
        _ => rt::run::<TcpBench>(boot),
    };
    let (store, spawner) = (boot.store.clone(), boot.spawner.clone());
    boot.run(async move {
        let work = async {
            let task = task?;
            let network = Network::start(&store, &spawner, task.ip);
            measure(&task, &network).await
        };
        let reason = match work.await {
            Ok(line) => {
                console::write_line(&line).await;
                ShutdownReason::Poweroff
            }
            Err(message) => {
                console::last_words(format_args!("error: {message}"));
                ShutdownReason::Crash
            }
        };
        console::drain();
        shutdown(reason)
    })
}

async fn measure(task: &Task, network: &Network) -> Result<String, String> {
    let failed = |error: TcpError| error.to_string();
    let options = TcpOptions {
        receive_buffer: BUFFER,
        send_buffer: BUFFER,
        ..TcpOptions::default()
    };
    network.configured(false).await;
    for address in network.addresses() {
        log::info!("address {address}");
    }
    let stream = match task.role {
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
    let before = (network.events(), hypercall::count());
    let start = time::now();
    let round_trips = exchange(task, &stream).await.map_err(failed)?;
    let took = time::now().saturating_sub(start);
    let (events, hypercalls) = (network.events(), hypercall::count());
    if let Some(counters) = network.counters() {
        log::info!("{counters:?}");
    }
    stream.shutdown();
    let report = Report {
        size: task.size,
        count: task.count,
        took,
        round_trips: round_trips.as_ref(),
        events_sent: events.sent - before.0.sent,
        events_received: events.received - before.0.received,
        hypercalls: hypercalls - before.1,
    };
    // The peer has taken everything, and has seen the end, or has gone.
    let _ = stream.acknowledged().await;
    let _ = stream.receive(&mut [0]).await;
    Ok(report.to_string())
}

/// What is measured.
async fn exchange(task: &Task, stream: &TcpStream) -> Result<Option<Histogram>, TcpError> {
    let total = task.size * task.count;
    match (task.role, task.mode) {
        (Role::Client, Mode::Sink) => {
            let message = vec![0x5a; CHUNK.min(usize::try_from(total).unwrap_or(CHUNK))];
            let mut left = total;
            while left > 0 {
                let len = left.min(message.len() as u64).min(task.size) as usize;
                send_all(stream, &message[..len]).await?;
                left -= len as u64;
            }
            receive_all(stream, &mut [0], 1).await?;
            Ok(None)
        }
        (Role::Server, Mode::Sink) => {
            receive_all(stream, &mut vec![0; CHUNK], total).await?;
            send_all(stream, &[1]).await?;
            Ok(None)
        }
        (Role::Client, Mode::Echo) => round_trips(task, stream).await.map(Some),
        (Role::Server, Mode::Echo) => {
            send_back(stream, total).await?;
            Ok(None)
        }
    }
}

async fn round_trips(task: &Task, stream: &TcpStream) -> Result<Histogram, TcpError> {
    let mut histogram = Histogram::default();
    let message = vec![0x5a; CHUNK];
    // Made once: the time of a round trip is the network's.
    let mut back = vec![0; CHUNK];
    for _ in 0..task.count {
        let start = time::now();
        let mut left = task.size;
        // A message longer than both buffers would wait for itself: its parts come back as they go.
        while left > 0 {
            let len = left.min(message.len() as u64) as usize;
            send_all(stream, &message[..len]).await?;
            receive_all(stream, &mut back, len as u64).await?;
            left -= len as u64;
        }
        let took = time::now().saturating_sub(start).as_nanos();
        histogram.add(u64::try_from(took).unwrap_or(u64::MAX));
    }
    Ok(histogram)
}

async fn send_back(stream: &TcpStream, total: u64) -> Result<(), TcpError> {
    let mut buffer = vec![0; CHUNK];
    let mut left = total;
    while left > 0 {
        let count = receive_some(stream, &mut buffer).await?;
        send_all(stream, &buffer[..count]).await?;
        left = left.saturating_sub(count as u64);
    }
    Ok(())
}

async fn send_all(stream: &TcpStream, mut data: &[u8]) -> Result<(), TcpError> {
    while !data.is_empty() {
        let sent = stream.send(data).await?;
        data = &data[sent..];
    }
    Ok(())
}

/// Takes `total` bytes by way of `buffer`.
async fn receive_all(stream: &TcpStream, buffer: &mut [u8], total: u64) -> Result<(), TcpError> {
    let mut left = total;
    while left > 0 {
        let count = receive_some(stream, buffer).await?;
        left = left.saturating_sub(count as u64);
    }
    Ok(())
}

/// Takes what has come, at least a byte; a peer that ends before has broken off.
async fn receive_some(stream: &TcpStream, buffer: &mut [u8]) -> Result<usize, TcpError> {
    match stream.receive(buffer).await? {
        0 => Err(TcpError::Reset),
        count => Ok(count),
    }
}
