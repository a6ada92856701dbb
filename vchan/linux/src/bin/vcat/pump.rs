//! The two directions, each in a thread of its own, so that neither waits for the other.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use vchan_linux::platform::Rendezvous;
use vchan_linux::{Endpoint, ReadError, Reader, WriteError, Writer, block_on, sleep_until};

use crate::arguments::Arguments;
use crate::ends::{Ends, Input};
use crate::stop::Stop;

/// How much is handed over at once.
const PIECE: usize = 64 << 10;

/// Why the pump did not end well.
#[derive(Debug)]
pub enum Failure {
    /// Our input.
    Input(io::Error),
    /// Our output, with what came and could not be delivered.
    Output(io::Error),
    /// The channel, while reading.
    Read(ReadError),
    /// The channel, while writing.
    Write(WriteError),
    /// The peer closed before it had read so many bytes.
    Unread(u64),
    /// Nothing moved for so long.
    Idle(Duration),
    /// A signal.
    Signal,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(error) => write!(f, "the input cannot be read: {error}"),
            Self::Output(error) => write!(f, "the output takes no more: {error}"),
            Self::Read(error) => error.fmt(f),
            Self::Write(error) => error.fmt(f),
            Self::Unread(bytes) => {
                write!(
                    f,
                    "the channel was closed before the peer had read the last {bytes} bytes"
                )
            }
            Self::Idle(limit) => write!(f, "nothing has moved for {} s", limit.as_secs_f64()),
            Self::Signal => f.write_str("ended by a signal"),
        }
    }
}

/// Moves bytes both ways until the channel's end. The first failure is returned, after both directions have ended.
pub fn pump<R>(
    endpoint: Endpoint<R>,
    ends: &mut Ends,
    arguments: &Arguments,
    stop: &Stop,
) -> Result<(), Failure>
where
    R: Rendezvous,
    R::Memory: Send + Sync,
    R::Events: Send + Sync,
    R::Published: Send + Sync,
{
    let (mut reader, mut writer) = endpoint.split();
    let moved = AtomicU64::new(0);
    let input = ends.input.take();
    let linger = match ends.one_way {
        true => Some(Duration::ZERO),
        false => arguments.linger,
    };
    thread::scope(|scope| {
        let up = scope.spawn(|| {
            let result = match input {
                Some(input) => upload(input, &mut writer, linger, stop, &moved),
                None => {
                    // Until the other direction has come to its end.
                    block_on(stop.unless(std::future::pending::<()>()));
                    stopped(&mut writer, 0, stop)
                }
            };
            // Wakes the other direction, whatever it waits for.
            writer.close();
            result
        });
        let down = download(&mut reader, ends, arguments.idle, &moved);
        stop.ask();
        // The thread has no way to panic but a bug, which is passed on.
        let up = up
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // Once one direction has failed, the other one fails of it.
        match (down, up) {
            (Err(down), Err(up @ (Failure::Input(_) | Failure::Signal))) => {
                drop(down);
                Err(up)
            }
            (Err(down), _) => Err(down),
            (Ok(()), up) => up,
        }
    })
}

fn upload<R: Rendezvous>(
    mut input: Input,
    writer: &mut Writer<R>,
    linger: Option<Duration>,
    stop: &Stop,
    moved: &AtomicU64,
) -> Result<(), Failure> {
    let mut piece = vec![0; PIECE];
    loop {
        if block_on(stop.unless(input.ready())).is_none() {
            return stopped(writer, 0, stop);
        }
        let length = match input.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            // A socket's peer that went without reading all of ours: an end like any other.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => return Err(Failure::Input(error)),
        };
        let mut left = &piece[..length];
        while !left.is_empty() {
            match block_on(stop.unless(writer.write(left))) {
                None => return stopped(writer, left.len(), stop),
                Some(Ok(written)) => {
                    // Relaxed, here and below: a sign of life, no more.
                    moved.fetch_add(written as u64, Ordering::Relaxed);
                    left = &left[written..];
                }
                Some(Err(WriteError::PeerClosed | WriteError::OursClosed)) => {
                    return Err(Failure::Unread(
                        u64::from(writer.unread()) + left.len() as u64,
                    ));
                }
                Some(Err(error)) => return Err(Failure::Write(error)),
            }
        }
    }
    match block_on(stop.unless(writer.drained())) {
        None => return stopped(writer, 0, stop),
        Some(Ok(())) => {}
        Some(Err(WriteError::PeerClosed | WriteError::OursClosed)) => {
            return Err(Failure::Unread(writer.unread().into()));
        }
        Some(Err(error)) => return Err(Failure::Write(error)),
    }
    // As long as something comes, the peer is not done.
    let mut before = None;
    loop {
        let now = moved.load(Ordering::Relaxed);
        match linger {
            _ if before == Some(now) => return Ok(()),
            None => {
                let _ = block_on(stop.unless(std::future::pending::<()>()));
                return stopped(writer, 0, stop);
            }
            Some(limit) => {
                let waited = block_on(stop.unless(sleep_until(Instant::now() + limit)));
                if waited.is_none() {
                    return stopped(writer, 0, stop);
                }
            }
        }
        before = Some(now);
    }
}

/// After the other direction's end, or a signal: what of ours will not be read?
fn stopped<R: Rendezvous>(writer: &mut Writer<R>, left: usize, stop: &Stop) -> Result<(), Failure> {
    if stop.signalled() {
        return Err(Failure::Signal);
    }
    // The channel has ended, so that this does not wait.
    let unread = match vchan_linux::block_until(Instant::now(), writer.drained()) {
        Some(Ok(())) => 0,
        _ => u64::from(writer.unread()),
    };
    match unread + left as u64 {
        0 => Ok(()),
        bytes => Err(Failure::Unread(bytes)),
    }
}

fn download<R: Rendezvous>(
    reader: &mut Reader<R>,
    ends: &mut Ends,
    idle: Option<Duration>,
    moved: &AtomicU64,
) -> Result<(), Failure> {
    let mut piece = vec![0; PIECE];
    let mut unwanted: u64 = 0;
    let result = loop {
        let before = moved.load(Ordering::Relaxed);
        let read = match idle {
            None => block_on(reader.read(&mut piece)),
            Some(limit) => {
                match vchan_linux::block_until(Instant::now() + limit, reader.read(&mut piece)) {
                    Some(read) => read,
                    None if moved.load(Ordering::Relaxed) != before => continue,
                    None => break Err(Failure::Idle(limit)),
                }
            }
        };
        let length = match read {
            Ok(0) => break Ok(()),
            Ok(length) => length,
            Err(error) => break Err(Failure::Read(error)),
        };
        moved.fetch_add(length as u64, Ordering::Relaxed);
        match &mut ends.output {
            None => unwanted += length as u64,
            Some(output) => {
                if let Err(error) = output.write_all(&piece[..length]) {
                    break Err(Failure::Output(error));
                }
            }
        }
    };
    if unwanted > 0 {
        eprintln!("vcat: {unwanted} bytes came that nothing was there to take");
    }
    // A failure ends the channel for the other direction too.
    reader.close();
    // The end of a program's input, and of a connection's.
    ends.output = None;
    result
}
