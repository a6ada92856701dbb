//! One output edge: connect, write packs, mark the end; again after a loss.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::time::Duration;

use embedded_io_async::Write as _;

use super::DRAIN_PATIENCE;
use super::board::{Board, Link, Phase};
use super::host::{Host, OpenError, Writer};
use super::signal::first;
use super::stage::Ended;
use crate::params::Edge;
use crate::senml::{END_OF_STREAM, Sealed};

/// The wait before connecting anew after a reader went away.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Why a connection cannot be written on: the reader is gone, or its time has run out.
struct Gone;

pub(super) struct Output<'a, H> {
    board: &'a Board<'a, H>,
    /// Among all edges.
    index: usize,
    /// Among the outputs.
    slot: usize,
    edge: &'a Edge,
    /// Packs taken from the function's queue; those from `next` on are still to be written.
    bytes: Vec<u8>,
    sealed: Vec<Sealed>,
    next: usize,
    /// Packs written and perhaps not consumed: where in the connection each ends, and its readings.
    in_flight: VecDeque<(u64, u64)>,
    /// Bytes written on this connection.
    written: u64,
    /// Readings that earlier readers left unread. The `seq` of the next pack that is consumed tells
    /// its reader of them; until then they are ours to count.
    untold: u64,
}

impl<'a, H: Host> Output<'a, H> {
    pub(super) fn new(board: &'a Board<'a, H>, index: usize, slot: usize) -> Self {
        Self {
            board,
            index,
            slot,
            edge: board.edge(index),
            bytes: Vec::with_capacity(super::buffer_size(board.edge(index))),
            sealed: Vec::with_capacity(4),
            next: 0,
            in_flight: VecDeque::new(),
            written: 0,
            untold: 0,
        }
    }

    /// Runs until everything is written and read, or is counted as lost.
    pub(super) async fn run(mut self) -> Result<Ended, OpenError> {
        let board = self.board;
        let mut connections = 0u64;
        loop {
            // One that never had a reader waits for it even when all is emitted; the word to stop, or a reader that went
            // away at the end, leaves nothing to wait for. The reader of a feedback edge may end before its writer.
            let waits = connections == 0 && !self.edge.feedback;
            let hopeless = || board.is_stopped() || !waits && board.phase() == Phase::Finishing;
            let give_up = board.changed.until(hopeless);
            let Some(writer) = first(pin!(board.host.open_output(self.edge)), pin!(give_up)).await
            else {
                break;
            };
            let mut writer = writer?;
            board.count(self.index, |counters| counters.reconnects = connections);
            connections += 1;
            self.written = 0;
            board.set_link(self.index, Link::Connected);
            let outcome = self.write_out(&mut writer).await;
            self.settle(&writer);
            if outcome.is_ok() {
                break;
            }
            self.untold += self.forget_in_flight();
            board.set_link(self.index, Link::Waiting);
            log::warn!(
                "out.{}: its reader went away; waiting for a new one",
                self.edge.name
            );
            drop(writer);
            let give_up = board.changed.until(|| board.phase() != Phase::Running);
            let pause = board.host.sleep_until(board.host.now() + BACK_OFF);
            first(pin!(pause), pin!(give_up)).await;
        }
        self.discard().await;
        board.set_link(self.index, Link::Ended);
        Ok(Ended::Consumer)
    }

    /// Counts what no reader will get: written and unread, untold, unwritten, and what is emitted
    /// until the function has finished.
    async fn discard(&mut self) {
        let board = self.board;
        let mut lost = self.untold + self.forget_in_flight();
        loop {
            let unwritten = self.sealed.iter().skip(self.next);
            lost += unwritten.map(|pack| pack.readings).sum::<u64>();
            self.next = 0;
            self.sealed.clear();
            if self.take() {
                continue;
            }
            if board.phase() == Phase::Finishing {
                break;
            }
            board.emitted.until(|| self.has_work()).await;
        }
        if lost > 0 {
            log::warn!(
                "out.{}: {lost} readings lost: nobody read them",
                self.edge.name
            );
        }
        board.count(self.index, |counters| counters.lost += lost);
    }

    /// The readings of the packs written and not consumed, which are not waited for any longer.
    fn forget_in_flight(&mut self) -> u64 {
        let readings = self.in_flight.iter().map(|(_, readings)| readings).sum();
        self.in_flight.clear();
        readings
    }

    fn has_work(&self) -> bool {
        let phase = self.board.phase();
        phase == Phase::Finishing || !self.board.outputs.borrow().edges[self.slot].is_empty()
    }

    /// Takes what the function has emitted. Returns whether there was any.
    fn take(&mut self) -> bool {
        let mut outputs = self.board.outputs.borrow_mut();
        let queue = &mut outputs.edges[self.slot];
        if queue.is_empty() {
            return false;
        }
        queue.take(&mut self.bytes, &mut self.sealed);
        self.next = 0;
        self.board.room.notify();
        true
    }

    async fn write_out(&mut self, writer: &mut H::Writer) -> Result<(), Gone> {
        let events_before = self.board.events(self.index);
        loop {
            let outcome = self.write_packs(writer).await;
            self.board
                .count_events(self.index, events_before, writer.events());
            outcome?;
            if !self.take() {
                if self.board.phase() == Phase::Finishing {
                    break;
                }
                let work = self.board.emitted.until(|| self.has_work());
                if first(pin!(work), pin!(writer.gone())).await.is_none() {
                    return Err(Gone);
                }
            }
        }
        let outcome = self.finish(writer).await;
        self.board
            .count_events(self.index, events_before, writer.events());
        outcome
    }

    /// Writes the packs taken. One that an error cut off is written again as a whole on the next
    /// connection: its reader drops the half.
    async fn write_packs(&mut self, writer: &mut H::Writer) -> Result<(), Gone> {
        if self.next >= self.sealed.len() {
            return Ok(());
        }
        while let Some(pack) = self.sealed.get(self.next).copied() {
            let start = self
                .next
                .checked_sub(1)
                .map_or(0, |before| self.sealed[before].end);
            self.write_all(writer, start, pack.end).await?;
            self.next += 1;
            self.in_flight.push_back((self.written, pack.readings));
            self.board.count(self.index, |counters| counters.packs += 1);
        }
        writer.flush().await.map_err(|_| Gone)?;
        self.settle(writer);
        Ok(())
    }

    async fn write_all(
        &mut self,
        writer: &mut H::Writer,
        mut start: usize,
        end: usize,
    ) -> Result<(), Gone> {
        while start < end {
            let count = write_some(self.board, self.index, writer, &self.bytes[start..end]).await?;
            start += count;
            self.written += count as u64;
        }
        Ok(())
    }

    /// Forgets the packs that the reader has consumed.
    fn settle(&mut self, writer: &H::Writer) {
        let consumed = self.written.saturating_sub(writer.unread() as u64);
        while self
            .in_flight
            .front()
            .is_some_and(|(end, _)| *end <= consumed)
        {
            self.in_flight.pop_front();
            // That pack has told its reader of all that went missing before it.
            self.untold = 0;
        }
    }

    /// Marks the end of the stream and waits until it is read. That nobody reads it is no reason to
    /// connect anew.
    async fn finish(&mut self, writer: &mut H::Writer) -> Result<(), Gone> {
        if write_some(self.board, self.index, writer, &[END_OF_STREAM])
            .await
            .is_err()
        {
            return Ok(());
        }
        self.written += 1;
        if writer.flush().await.is_err() {
            return Ok(());
        }
        loop {
            let unread = writer.unread();
            let deadline = self.board.host.now() + DRAIN_PATIENCE;
            let patience = self.board.host.sleep_until(deadline);
            let drained = first(pin!(writer.drained()), pin!(patience)).await;
            if drained.is_some() || writer.unread() >= unread {
                return Ok(());
            }
        }
    }
}

/// Writes some bytes, counting them and the time it waited; at the end of the stage no longer than
/// the reader's patience allows.
async fn write_some<H: Host>(
    board: &Board<'_, H>,
    index: usize,
    writer: &mut H::Writer,
    bytes: &[u8],
) -> Result<usize, Gone> {
    let out_of_patience = async {
        board
            .changed
            .until(|| board.phase() != Phase::Running)
            .await;
        board
            .host
            .sleep_until(board.host.now() + DRAIN_PATIENCE)
            .await;
    };
    let (write, out_of_patience) = (pin!(writer.write(bytes)), pin!(out_of_patience));
    let write = pin!(first(write, out_of_patience));
    let (outcome, blocked) = timed(board.host, write).await;
    let count = match outcome {
        Some(Ok(count @ 1..)) => count.min(bytes.len()),
        _ => 0,
    };
    board.count(index, |counters| {
        counters.bytes += count as u64;
        counters.blocked += blocked;
    });
    if count > 0 { Ok(count) } else { Err(Gone) }
}

/// A future's outcome, and how long it was not ready after it was first asked.
fn timed<T>(
    host: &impl Host,
    mut future: Pin<&mut impl Future<Output = T>>,
) -> impl Future<Output = (T, Duration)> {
    let mut since = None;
    poll_fn(move |context| {
        let poll = future.as_mut().poll(context);
        if poll.is_pending() && since.is_none() {
            since = Some(host.now());
        }
        poll.map(|value| {
            let waited = since.map(|since| host.now().saturating_sub(since));
            (value, waited.unwrap_or(Duration::ZERO))
        })
    })
}
