//! The end that sends, and whose clock counts.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::Instant;

use super::Measured;
use super::packet::{self, ANSWER, HEADER, Header, Kind};
use super::parameters::Task;
use crate::content::Content;
use crate::histogram::Histogram;
use crate::parameters::Mode;

/// How long an answer may take before its question, or a message, is sent again.
pub const AGAIN: Duration = Duration::from_millis(500);

/// How often, before the server counts as gone.
pub const TRIES: u32 = 10;

/// How often the farewell is sent: the figures are there by then.
const FAREWELLS: u32 = 3;

struct Client<'a> {
    task: &'a Task,
    socket: &'a UdpSocket,
    content: Content,
    message: Vec<u8>,
    buffer: Vec<u8>,
    /// Bytes of messages.
    sent: u64,
    received: u64,
    lost: u64,
    /// The first number that was never sent.
    next: u64,
    /// What the server had of the messages before the last number that it was asked about, and that number.
    answered: (u64, u64),
}

/// Both phases.
pub fn measure(task: &Task, socket: &UdpSocket) -> Result<Measured, String> {
    let mut client = Client {
        task,
        socket,
        content: Content::default(),
        message: vec![0; task.load.size as usize],
        // A longer one is cut, and seen to be.
        buffer: vec![0; task.load.size as usize + ANSWER],
        sent: 0,
        received: 0,
        lost: 0,
        next: 0,
        answered: (0, 0),
    };
    let (warm_up, count) = (task.load.warm_up, task.load.count);
    let tries = task.timeout.as_millis() / AGAIN.as_millis();
    // The server is there, and its hardware address known.
    client.ask(
        Kind::Question,
        0,
        u32::try_from(tries).unwrap_or(u32::MAX).max(1),
    )?;
    client.messages(0, warm_up)?;
    let before = (client.sent, client.received, client.lost, client.answered.0);
    let start = Instant::now();
    let round_trips = client.messages(warm_up, warm_up + count)?;
    let took = start.elapsed();
    let (arrived, lost) = match task.load.mode {
        Mode::Sink => {
            let arrived = client.answered.0.saturating_sub(before.3);
            (arrived, count.saturating_sub(arrived))
        }
        Mode::Echo => (count, client.lost - before.2),
    };
    if let Err(error) = client.ask(Kind::Farewell, warm_up + count, FAREWELLS) {
        log::warn!("after the last message: {error}");
    }
    Ok(Measured {
        took,
        round_trips,
        arrived,
        lost,
        bytes: (client.sent - before.0, client.received - before.1),
    })
}

impl Client<'_> {
    /// Those of these numbers, until the server has them or they are lost.
    fn messages(&mut self, from: u64, to: u64) -> Result<Option<Histogram>, String> {
        match self.task.load.mode {
            Mode::Sink => {
                self.window(from, to)?;
                Ok(None)
            }
            Mode::Echo => {
                let mut histogram = Histogram::default();
                for number in from..to {
                    let took = self.round_trip(number)?.as_nanos();
                    histogram.add(u64::try_from(took).unwrap_or(u64::MAX));
                }
                Ok(Some(histogram))
            }
        }
    }

    /// One way, with as many on their way as the window holds.
    fn window(&mut self, from: u64, to: u64) -> Result<(), String> {
        let window = self.task.window;
        let half = window.div_ceil(2);
        for number in from..to {
            // An answer that has come already makes room without a wait; else there is one to wait for.
            while number - self.answered.1.max(from) >= window {
                self.wait_for_answer(number)?;
            }
            let asks = (number + 1 - from).is_multiple_of(half) || number + 1 == to;
            let kind = if asks { Kind::Asking } else { Kind::Message };
            self.send(kind, 0, number)?;
        }
        while self.answered.1.max(from) < to {
            self.wait_for_answer(to)?;
        }
        Ok(())
    }

    /// The next answer; if none comes, the question or the answer was lost, and one is asked for about all messages before
    /// `number`.
    fn wait_for_answer(&mut self, number: u64) -> Result<(), String> {
        let wanted = |header: Header| header.kind == Kind::Answer;
        match self.receive(AGAIN, wanted)? {
            Some(header) => self.answer(header),
            None => self.ask(Kind::Question, number, TRIES),
        }
    }

    /// Asks until there is an answer to this question.
    fn ask(&mut self, kind: Kind, number: u64, tries: u32) -> Result<(), String> {
        for attempt in 0..tries {
            let question = Header {
                kind,
                attempt,
                number,
            };
            self.put(&question.bytes())?;
            let wanted = |header: Header| header.kind == Kind::Answer && header.number >= number;
            if let Some(header) = self.receive(AGAIN, wanted)? {
                return self.answer(header);
            }
        }
        let waited = AGAIN * tries;
        Err(format!(
            "the server does not answer, asked {tries} times in {} s",
            waited.as_secs_f32()
        ))
    }

    /// Takes the answer in the buffer.
    fn answer(&mut self, header: Header) -> Result<(), String> {
        let arrived = packet::arrived(&self.buffer[..ANSWER]);
        let arrived = arrived.filter(|arrived| *arrived <= self.next);
        let arrived = arrived.ok_or("the server says that more has come than was sent")?;
        if header.number >= self.answered.1 {
            self.answered = (arrived, header.number);
        }
        Ok(())
    }

    fn round_trip(&mut self, number: u64) -> Result<Duration, String> {
        for attempt in 0..TRIES {
            let start = Instant::now();
            self.send(Kind::Message, attempt, number)?;
            let sent = Header {
                kind: Kind::Message,
                attempt,
                number,
            };
            if self.receive(AGAIN, |header| header == sent)?.is_none() {
                self.lost += 1;
                continue;
            }
            let took = start.elapsed();
            self.received += self.task.load.size;
            if self.task.load.check && self.buffer[..self.message.len()] != self.message[..] {
                return Err(format!("message {number} has come back changed"));
            }
            return Ok(took);
        }
        Err(format!(
            "message {number} has not come back, sent {TRIES} times in {} s",
            (AGAIN * TRIES).as_secs_f32()
        ))
    }

    fn send(&mut self, kind: Kind, attempt: u32, number: u64) -> Result<(), String> {
        let header = Header {
            kind,
            attempt,
            number,
        };
        fill(&mut self.message, header, &self.content);
        self.put(&self.message)?;
        self.next = self.next.max(number + 1);
        self.sent += self.task.load.size;
        Ok(())
    }

    fn put(&self, datagram: &[u8]) -> Result<(), String> {
        loop {
            match self.socket.send(datagram) {
                // A server that is not there says so; it may come.
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("cannot send: {error}")),
            }
        }
    }

    /// The next datagram that is wanted, left in the buffer; `None` if there is none in that time.
    fn receive(
        &mut self,
        time: Duration,
        wanted: impl Fn(Header) -> bool,
    ) -> Result<Option<Header>, String> {
        let deadline = Instant::now() + time;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let came = self
                .socket
                .set_read_timeout(Some(left))
                .and_then(|()| self.socket.recv(&mut self.buffer));
            let came = match came {
                Ok(came) => came,
                Err(error) if quiet(error.kind()) => continue,
                // It may come; it is not asked oftener for that.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                    std::thread::sleep(left);
                    return Ok(None);
                }
                Err(error) => return Err(format!("cannot receive: {error}")),
            };
            let header = Header::parse(&self.buffer[..came]);
            let Some(header) = header.filter(|header| wanted(*header)) else {
                continue;
            };
            let long = match header.kind {
                Kind::Answer => ANSWER,
                _ => self.message.len(),
            };
            if came == long {
                return Ok(Some(header));
            }
        }
    }
}

/// Nothing has come in time, or a signal has.
pub fn quiet(error: ErrorKind) -> bool {
    matches!(
        error,
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

/// Makes a message.
fn fill(message: &mut [u8], header: Header, content: &Content) {
    let (head, body) = message.split_at_mut(HEADER);
    head.copy_from_slice(&header.bytes());
    let place = place(header.number, body.len());
    body.copy_from_slice(content.run(place, body.len() as u64));
}

/// Where in the stream the body of a message begins.
pub fn place(number: u64, body: usize) -> u64 {
    number.wrapping_mul(body as u64)
}
