//! `tcp-bench` as a program on Linux: plain blocking calls of the size of a message, in the kernel's own buffers.

use alloc::format;
use alloc::string::{String, ToString};
use core::time::Duration;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream, ToSocketAddrs as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use stage::Plan;
use vchan_linux::{Readable, block_on, block_until};

use super::exchange::Connection;
use super::parameters::{Task, TcpBench};
use crate::parameters::{self, Role};
use crate::program::{self, Process};

/// How long to wait before a server that is not there is tried again.
const AGAIN: Duration = Duration::from_millis(100);

const TEACHES: &str = "\
Measures TCP between two ends: start one with role=server, the other with role=client, both with
the same mode=, size=, count= and warm-up=. The image tcp-bench may be either end.

  sink: the client writes COUNT messages of SIZE bytes, the server reads them one by one and then
        sends one byte back, which stops the client's clock; another one ends the warm-up
  echo: the client writes a message and reads it back before it writes the next

Sockets are blocking and have the kernel's default buffers; a message is one write(2) and as many
read(2) as it takes, but no more than 64 KiB at once. Segmentation offload is the interface's to
have or not: ethtool -K eth0 tso off gso off

  tcp-bench role=server addr=0.0.0.0:5001 mode=echo size=64 count=10000 warm-up=100 check=on
  tcp-bench role=client addr=10.0.0.1:5001 mode=echo size=64 count=10000 warm-up=100 check=on
";

/// Measures: what `main` of the program is.
pub fn main() -> ExitCode {
    program::main::<TcpBench, _>(TEACHES, read, |(task, timeout)| measure(&task, timeout))
}

fn read(plan: &Plan<'_>) -> Result<(Task, Duration), String> {
    Ok((Task::new(plan)?, parameters::timeout(plan)?))
}

impl Connection for TcpStream {
    type Error = String;

    async fn send(&self, data: &[u8]) -> Result<usize, String> {
        let mut socket = self;
        until_done(|| socket.write(data))
    }

    async fn receive(&self, buffer: &mut [u8]) -> Result<usize, String> {
        let mut socket = self;
        until_done(|| socket.read(buffer))
    }
}

/// A signal is no reason to stop.
fn until_done(mut call: impl FnMut() -> io::Result<usize>) -> Result<usize, String> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Err("the other end has been silent for the whole timeout=".into());
            }
            other => return other.map_err(|error| error.to_string()),
        }
    }
}

fn measure(task: &Task, timeout: Duration) -> Result<String, String> {
    let place = format!("{} port {}", task.host, task.port);
    let stream = connection(task, timeout, |_| ()).map_err(|error| format!("{place}: {error}"))?;
    over(task, &stream, timeout)
}

/// The whole of it, once there is a connection.
pub(super) fn over(task: &Task, stream: &TcpStream, timeout: Duration) -> Result<String, String> {
    let text = |error: io::Error| error.to_string();
    stream.set_nodelay(task.nodelay).map_err(text)?;
    stream.set_read_timeout(Some(timeout)).map_err(text)?;
    stream.set_write_timeout(Some(timeout)).map_err(text)?;
    // Nothing in it waits but system calls.
    let measured = block_on(super::measure(task, stream, &Process::start(), || None));
    let measured = measured.map_err(|error| error.to_string())?;
    // The peer may have gone before us.
    let _ = stream.shutdown(Shutdown::Write);
    let mut more = stream;
    match more.read(&mut [0]) {
        Ok(1..) if task.load.check => Err("more bytes came than were asked for".into()),
        _ => Ok(measured.report(task).to_string()),
    }
}

/// The connection; `listening` is told on which port a server does.
pub(super) fn connection(
    task: &Task,
    timeout: Duration,
    listening: impl FnOnce(u16),
) -> io::Result<TcpStream> {
    let deadline = Instant::now() + timeout;
    match task.load.role {
        Role::Server => {
            let listener = TcpListener::bind((&*task.host, task.port))?;
            log::info!("listening on {}", listener.local_addr()?);
            listening(listener.local_addr()?.port());
            let listener = Arc::new(listener);
            block_until(deadline, Readable::new(listener.clone())).ok_or_else(nobody)?;
            Ok(listener.accept()?.0)
        }
        Role::Client => loop {
            let mut last = io::Error::new(ErrorKind::NotFound, "it has no address");
            for address in (&*task.host, task.port).to_socket_addrs()? {
                let left = deadline.saturating_duration_since(Instant::now());
                match TcpStream::connect_timeout(&address, left.max(AGAIN)) {
                    Ok(stream) => return Ok(stream),
                    Err(error) => last = error,
                }
            }
            if Instant::now() >= deadline {
                return Err(last);
            }
            thread::sleep(AGAIN);
        },
    }
}

fn nobody() -> io::Error {
    io::Error::new(ErrorKind::TimedOut, "nobody has connected within timeout=")
}
