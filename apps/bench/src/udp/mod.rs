//! `udp-bench`: both roles, on Linux alone.
//!
//! Datagrams get lost, and a sender that does not wait loses most of them; so what is measured is what arrives at a client that
//! never has more on their way than a window.
//!
//! | room | what it is |
//! |---|---|
//! | [`parameters`] | what the program is told |
//! | `packet` | what a datagram looks like; pure |
//! | `arrivals` | which messages have come; pure |
//! | `client`, `server` | the two ends, over a socket |

mod arrivals;
mod client;
mod packet;
pub mod parameters;
mod server;
#[cfg(test)]
mod tests;

use alloc::format;
use alloc::string::{String, ToString};
use core::time::Duration;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::process::ExitCode;

use self::parameters::Task;
pub use self::parameters::UdpBench;
use crate::histogram::Histogram;
use crate::parameters::Role;
use crate::program;
use crate::report::{Datagrams, Report, Spent, Way};

const TEACHES: &str = "\
Measures UDP between two ends: start one with role=server, the other with role=client, both with
the same mode=, size=, count= and warm-up=. A message is one datagram of SIZE bytes, of which the
first 16 are its number; more than 1472 go in fragments on an Ethernet.

  sink: the client sends COUNT messages, of which never more than window= are on their way: with
        every half window it asks the server what has come, and waits for the answer once the
        window is full. What is lost stays lost and is counted; the rates are those of what has
        arrived, over the time from the first message to the server's last answer
  echo: each message is sent back before the next is sent. One that is not back within 500 ms is
        counted as lost and sent again, ten times at most; its time is that of the one that came

  udp-bench role=server addr=0.0.0.0:5002 mode=sink size=1472 count=10000 check=on
  udp-bench role=client addr=10.0.0.1:5002 mode=sink size=1472 count=10000 check=on
";

/// Measures: what `main` of the program is.
pub fn main() -> ExitCode {
    program::main::<UdpBench, _>(TEACHES, Task::new, |task| {
        let socket = socket(&task).map_err(|error| {
            let (host, port) = (&task.host, task.port);
            format!("{host} port {port}: {error}")
        })?;
        over(&task, &socket)
    })
}

/// The socket of either end. A client's hears its server alone.
fn socket(task: &Task) -> io::Result<UdpSocket> {
    let there = (&*task.host, task.port);
    if task.load.role == Role::Server {
        let socket = UdpSocket::bind(there)?;
        log::info!("listening on {}", socket.local_addr()?);
        return Ok(socket);
    }
    let mut addresses = there.to_socket_addrs()?;
    let none = || io::Error::new(io::ErrorKind::NotFound, "it has no address");
    let server = addresses.next().ok_or_else(none)?;
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => ([0; 4], 0).into(),
        SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(server)?;
    Ok(socket)
}

/// The whole of it, once there is a socket.
fn over(task: &Task, socket: &UdpSocket) -> Result<String, String> {
    let measured = match task.load.role {
        Role::Server => server::measure(task, socket),
        Role::Client => client::measure(task, socket),
    };
    measured.map(|measured| measured.report(task).to_string())
}

/// What one end has seen.
struct Measured {
    took: Duration,
    round_trips: Option<Histogram>,
    /// Messages that arrived at the server.
    arrived: u64,
    lost: u64,
    /// Bytes of messages sent and received, repeated ones included.
    bytes: (u64, u64),
}

impl Measured {
    fn report(&self, task: &Task) -> Report<'_> {
        Report {
            load: task.load,
            spent: Spent {
                took: self.took,
                ..Default::default()
            },
            round_trips: self.round_trips.as_ref(),
            way: Way::Udp(Datagrams {
                arrived: self.arrived,
                lost: self.lost,
                window: task.window,
            }),
            bytes: self.bytes,
        }
    }
}
