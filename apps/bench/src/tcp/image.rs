//! `tcp-bench` as an image: from the network to the line that says how it went.

use alloc::format;
use alloc::string::{String, ToString};
use core::time::Duration;

use stage::Plan;
use unikernel::net::{IpConfig, IpEndpoint, Network, TcpError, TcpOptions, TcpStream};
use unikernel::rt::Boot;
use unikernel::time;

use super::exchange::Connection;
use super::parameters::{Task, TcpBench};
use crate::parameters::Role;
use crate::run::{self, Domain};

/// Buffers of the connection: what is on its way at most.
const BUFFER: usize = 256 << 10;

/// How long a connection that is broken off has to say so.
const FAREWELL: Duration = Duration::from_millis(100);

/// Measures, and ends the domain.
pub fn main(boot: Boot) -> ! {
    run::main::<TcpBench, _>(boot, read, async |(task, ip), store, spawner| {
        let network = Network::start(&store, &spawner, ip);
        measure(&task, &network).await
    })
}

fn read(plan: &Plan<'_>) -> Result<(Task, IpConfig), String> {
    let ip = IpConfig::parse(plan.ip().unwrap_or("dhcp"));
    Ok((Task::new(plan)?, ip.map_err(|error| error.to_string())?))
}

impl Connection for TcpStream {
    type Error = TcpError;

    async fn send(&self, data: &[u8]) -> Result<usize, TcpError> {
        Self::send(self, data).await
    }

    async fn receive(&self, buffer: &mut [u8]) -> Result<usize, TcpError> {
        Self::receive(self, buffer).await
    }
}

async fn measure(task: &Task, network: &Network) -> Result<String, String> {
    let options = TcpOptions {
        receive_buffer: BUFFER,
        send_buffer: BUFFER,
        nagle: !task.nodelay,
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
    let events = || {
        let events = network.events();
        Some((events.sent, events.received))
    };
    let measured = match super::measure(task, &stream, &Domain, events).await {
        Ok(measured) => measured,
        Err(error) => {
            // The peer is told before the domain ends, or it waits for an answer that nobody gives.
            stream.abort();
            time::sleep_until(time::now() + FAREWELL).await;
            return Err(error.to_string());
        }
    };
    if let Some(counters) = network.counters() {
        log::info!("{counters:?}");
    }
    stream.shutdown();
    // The peer has taken everything, and has seen the end, or has gone.
    let _ = stream.acknowledged().await;
    match stream.receive(&mut [0]).await {
        Ok(1..) if task.load.check => Err("more bytes came than were asked for".into()),
        _ => Ok(measured.report(task).to_string()),
    }
}
