//! The end that counts, or sends back.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use std::net::{SocketAddr, UdpSocket};
use std::time::Instant;

use super::Measured;
use super::arrivals::Arrivals;
use super::client::{place, quiet};
use super::packet::{HEADER, Header, Kind, SIZE_MAX};
use super::parameters::Task;
use crate::content::Content;
use crate::parameters::Mode;

struct Server<'a> {
    task: &'a Task,
    socket: &'a UdpSocket,
    content: Content,
    arrivals: Arrivals,
    /// When the first of the measured messages came, and the last.
    span: Option<(Instant, Instant)>,
    received: u64,
    sent: u64,
}

/// Until the client has said farewell.
pub fn measure(task: &Task, socket: &UdpSocket) -> Result<Measured, String> {
    let mut server = Server {
        task,
        socket,
        content: Content::default(),
        arrivals: Arrivals::new(task.load.warm_up, task.load.count),
        span: None,
        received: 0,
        sent: 0,
    };
    server.serve()?;
    let count = task.load.count;
    let arrived = server.arrivals.measured();
    let span = server.span.map(|(first, last)| last - first);
    Ok(Measured {
        took: span.unwrap_or_default(),
        round_trips: None,
        arrived,
        lost: count - arrived,
        bytes: (server.sent, server.received),
    })
}

impl Server<'_> {
    fn serve(&mut self) -> Result<(), String> {
        let mut buffer = vec![0; SIZE_MAX + 1];
        let mut client = None;
        let patience = self.socket.set_read_timeout(Some(self.task.timeout));
        patience.map_err(|error| format!("cannot wait: {error}"))?;
        loop {
            let (came, from) = match self.socket.recv_from(&mut buffer) {
                Ok(came) => came,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) if quiet(error.kind()) => return Err(self.silence(client.is_some())),
                Err(error) => return Err(format!("cannot receive: {error}")),
            };
            let datagram = &buffer[..came];
            // Whoever is first is the client; nobody else is heard.
            let Some(header) = Header::parse(datagram) else {
                continue;
            };
            if *client.get_or_insert(from) != from {
                continue;
            }
            match header.kind {
                Kind::Message => self.message(header, datagram, from)?,
                Kind::Asking => {
                    self.message(header, datagram, from)?;
                    let question = Header {
                        number: header.number.saturating_add(1),
                        ..header
                    };
                    self.put(&question.answer(self.arrivals.all()), from)?;
                }
                Kind::Question => self.put(&header.answer(self.arrivals.all()), from)?,
                Kind::Farewell => {
                    // If that is lost, the client asks nobody in vain, and ends all the same.
                    return self.put(&header.answer(self.arrivals.all()), from);
                }
                Kind::Answer => {}
            }
        }
    }

    fn message(&mut self, header: Header, datagram: &[u8], from: SocketAddr) -> Result<(), String> {
        let size = self.task.load.size;
        if datagram.len() as u64 != size {
            return Err(format!(
                "a message of {} bytes has come instead of {size}: give both ends the same size=",
                datagram.len()
            ));
        }
        let number = header.number;
        let new = self.arrivals.come(number).ok_or_else(|| {
            format!("message {number} has come: give both ends the same count= and warm-up=")
        })?;
        if self.task.load.check {
            let body = &datagram[HEADER..];
            let checked = self.content.check(place(number, body.len()), body);
            checked.map_err(|error| format!("message {number}: {error}"))?;
        }
        if number >= self.task.load.warm_up {
            let now = Instant::now();
            self.span = Some((self.span.map_or(now, |(first, _)| first), now));
            self.received += if new || self.task.load.mode == Mode::Echo {
                size
            } else {
                0
            };
        }
        if self.task.load.mode == Mode::Echo {
            self.put(datagram, from)?;
            self.sent += if number >= self.task.load.warm_up {
                size
            } else {
                0
            };
        }
        Ok(())
    }

    /// What cannot be sent is lost, as anywhere on the way.
    fn put(&self, datagram: &[u8], to: SocketAddr) -> Result<(), String> {
        match self.socket.send_to(datagram, to) {
            Err(error) if error.kind() != std::io::ErrorKind::ConnectionRefused => {
                Err(format!("cannot send: {error}"))
            }
            _ => Ok(()),
        }
    }

    fn silence(&self, has_come: bool) -> String {
        let seconds = self.task.timeout.as_secs();
        let arrived = self.arrivals.all();
        match has_come {
            true => format!(
                "the client has been silent for {seconds} s (timeout=), after {arrived} messages"
            ),
            false => format!("no client has come within {seconds} s (timeout=)"),
        }
    }
}
