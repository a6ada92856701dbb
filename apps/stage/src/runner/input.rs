//! One input edge: connect, read, decode, hand to the function; again after a loss.

use core::cell::RefCell;
use core::future::poll_fn;
use core::pin::pin;
use core::task::Poll;
use core::time::Duration;

use embedded_io_async::Read as _;

use super::board::{Board, Link, Phase};
use super::host::{Host, OpenError, Reader};
use super::signal::{first, yield_now};
use super::stage::Ended;
use crate::function::{Outputs, Stage, Verdict};
use crate::params::Edge;
use crate::senml::{Item, Pack, PackError, StreamDecoder, StreamError};

/// The wait after a first loss; it doubles with each further one that brought no pack.
const FIRST_BACK_OFF: Duration = Duration::from_millis(100);

/// The longest wait after a loss.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(5);

/// How a connection ended.
enum Ending {
    /// With the end of its stream, or because the stage stops.
    Done,
    /// Without.
    Lost,
}

pub(super) struct Input<'a, S, H> {
    board: &'a Board<'a, H>,
    function: &'a RefCell<S>,
    /// Of all edges, which for inputs is the index that the function knows.
    index: usize,
    edge: &'a Edge,
    decoder: StreamDecoder,
    /// Readings that the writer has sent before the next pack, as far as we know.
    expected: u64,
    back_off: Duration,
}

impl<'a, S: Stage, H: Host> Input<'a, S, H> {
    pub(super) fn new(board: &'a Board<'a, H>, function: &'a RefCell<S>, index: usize) -> Self {
        Self {
            board,
            function,
            index,
            edge: board.edge(index),
            decoder: StreamDecoder::new(),
            expected: 0,
            back_off: FIRST_BACK_OFF,
        }
    }

    /// Runs until the stream has ended or the stage stops.
    pub(super) async fn run(mut self) -> Result<Ended, OpenError> {
        let board = self.board;
        let mut connections = 0u64;
        loop {
            let stopping = board.changed.until(|| board.phase() != Phase::Running);
            let Some(reader) = first(pin!(board.host.open_input(self.edge)), pin!(stopping)).await
            else {
                break;
            };
            let reader = reader?;
            board.count(self.index, |counters| counters.reconnects = connections);
            connections += 1;
            board.set_link(self.index, Link::Connected);
            match self.read(reader).await {
                Ending::Done => break,
                Ending::Lost => self.lost().await,
            }
        }
        board.set_link(self.index, Link::Ended);
        Ok(if self.edge.feedback {
            Ended::Helper
        } else {
            Ended::Producer
        })
    }

    async fn lost(&mut self) {
        if self.decoder.is_within_pack() {
            self.board
                .count(self.index, |counters| counters.half_packs += 1);
        }
        self.decoder.reset();
        self.board.set_link(self.index, Link::Stale);
        log::warn!(
            "in.{}: lost its writer; waiting for a new one",
            self.edge.name
        );
        let deadline = self.board.host.now() + self.back_off;
        self.back_off = (self.back_off * 2).min(LONGEST_BACK_OFF);
        let stopping = self
            .board
            .changed
            .until(|| self.board.phase() != Phase::Running);
        first(pin!(self.board.host.sleep_until(deadline)), pin!(stopping)).await;
    }

    async fn read(&mut self, mut reader: H::Reader) -> Ending {
        let board = self.board;
        let events_before = board.events(self.index);
        // What may still be read after the word to stop: what can have been in the ring by then.
        let mut last_bytes = self.edge.ring as usize;
        loop {
            let space = match self.decoder.space(super::buffer_size(self.edge)) {
                Ok(space) => space,
                Err(error) => return self.refuse(&error),
            };
            let stopping = board.changed.until(|| board.phase() != Phase::Running);
            let silence = Silence {
                board,
                index: self.index,
                edge: self.edge,
            };
            let reading = silence.watch(reader.read(space));
            let Some(count) = first(pin!(reading), pin!(stopping)).await else {
                return Ending::Done;
            };
            board.count_events(self.index, events_before, reader.events());
            let Ok(count @ 1..) = count else {
                return Ending::Lost;
            };
            self.decoder.filled(count);
            board.count(self.index, |counters| counters.bytes += count as u64);
            match self.decode().await {
                Ok(false) => {}
                Ok(true) => return Ending::Done,
                Err(error) => return self.refuse(&error),
            }
            if board.phase() != Phase::Running {
                last_bytes = last_bytes.saturating_sub(count);
                if last_bytes == 0 {
                    return Ending::Done;
                }
            }
            yield_now().await;
        }
    }

    fn refuse(&mut self, error: &StreamError) -> Ending {
        log::error!("in.{}: {error}; closing it", self.edge.name);
        self.board
            .count(self.index, |counters| counters.bad_packs += 1);
        // What is left of it is no half pack.
        self.decoder.reset();
        Ending::Lost
    }

    /// Hands on every whole pack. Returns whether the stream has ended.
    async fn decode(&mut self) -> Result<bool, StreamError> {
        let Self {
            board,
            function,
            index,
            decoder,
            expected,
            edge,
            ..
        } = self;
        loop {
            match decoder.next_item()? {
                Item::Incomplete => return Ok(false),
                Item::End => return Ok(true),
                Item::Pack(pack) => {
                    self.back_off = FIRST_BACK_OFF;
                    let mut delivery = Delivery {
                        board,
                        function,
                        index: *index,
                        expected,
                    };
                    if let Err(error) = delivery.pack(pack).await {
                        delivery.count_bad(edge, error);
                    }
                }
            }
        }
    }
}

/// What becomes of an edge whose writer is there and says nothing.
struct Silence<'a, 'b, H> {
    board: &'b Board<'a, H>,
    index: usize,
    edge: &'a Edge,
}

impl<H: Host> Silence<'_, '_, H> {
    /// The output of `read`. The edge is stale from when its time has passed until then. One place that polls: each costs as
    /// much code as the read itself.
    async fn watch<T>(&self, read: impl Future<Output = T>) -> T {
        let host = self.board.host;
        let deadline = self
            .edge
            .stale
            .map(|span| host.sleep_until(host.now() + span));
        let (mut read, mut deadline) = (pin!(read), pin!(deadline));
        let mut is_stale = false;
        poll_fn(|context| {
            let polled = read.as_mut().poll(context);
            if polled.is_ready() {
                if is_stale {
                    self.board.set_link(self.index, Link::Connected);
                }
                return polled;
            }
            let Some(late) = deadline.as_mut().as_pin_mut().filter(|_| !is_stale) else {
                return Poll::Pending;
            };
            if late.poll(context).is_ready() {
                is_stale = true;
                self.board.set_link(self.index, Link::Stale);
                log::warn!(
                    "in.{}: its writer has said nothing for {} ms; still reading",
                    self.edge.name,
                    self.edge.stale.unwrap_or_default().as_millis() as u64
                );
            }
            Poll::Pending
        })
        .await
    }
}

/// One pack on its way to the function.
struct Delivery<'a, 'b, S, H> {
    board: &'b Board<'a, H>,
    function: &'b RefCell<S>,
    index: usize,
    expected: &'b mut u64,
}

impl<S: Stage, H: Host> Delivery<'_, '_, S, H> {
    async fn pack(&mut self, pack: Pack<'_>) -> Result<(), PackError> {
        let board = self.board;
        let mut readings = pack.readings(board.host.wall_clock())?;
        let promised = readings.remaining();
        let (mut delivered, mut given) = (0u64, 0u64);
        // Only a feedback edge is still read then; the function has said its last.
        let finished = || board.phase() == Phase::Finishing;
        let outcome = loop {
            board.room.until(|| board.has_room() || finished()).await;
            let seq_due = delivered == 0;
            let reading = match readings.next_reading() {
                Ok(Some(reading)) => reading,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            };
            delivered += 1;
            if !finished() {
                given += 1;
                self.reading(&reading);
            }
            if seq_due && let Some(seq) = readings.seq() {
                self.compare(seq);
            }
        };
        if !finished() {
            self.call(|function, outputs| function.pack_ended(self.index, outputs));
        }
        let all = promised.max(delivered);
        *self.expected = self.expected.saturating_add(all);
        board.count(self.index, |counters| {
            counters.packs += u64::from(delivered > 0);
            counters.readings += given;
            counters.lost = counters.lost.saturating_add(all - given);
        });
        outcome
    }

    fn reading(&self, reading: &crate::Reading<'_>) {
        self.call(|function, outputs| {
            let verdict: Verdict = function.reading(self.index, reading, outputs);
            outputs.counters.count(verdict);
        });
    }

    fn call(&self, call: impl FnOnce(&mut S, &mut Outputs)) {
        let mut outputs = self.board.outputs.borrow_mut();
        let emitted = outputs.counters.out;
        call(&mut self.function.borrow_mut(), &mut outputs);
        self.board.note(outputs.counters.out != emitted);
    }

    /// Counts the gap between what was sent before this pack and what we know of. A number that went
    /// back is that of a new writer, which counts from its own start.
    fn compare(&mut self, seq: u64) {
        let missed = seq.checked_sub(*self.expected).unwrap_or(seq);
        if missed > 0 {
            self.board
                .count(self.index, |c| c.lost = c.lost.saturating_add(missed));
        }
        *self.expected = seq;
    }

    fn count_bad(&self, edge: &Edge, error: PackError) {
        self.board.count(self.index, |counters| {
            counters.bad_packs += 1;
            // Said ever more rarely, so that a bad writer cannot fill the console.
            if counters.bad_packs.is_power_of_two() {
                log::warn!(
                    "in.{}: bad pack {}: {error}; the rest of it is lost",
                    edge.name,
                    counters.bad_packs
                );
            }
        });
    }
}
