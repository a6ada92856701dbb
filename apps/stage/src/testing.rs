//! A host in memory, to run functions and whole pipelines in a test.
//!
//! Edges are pipes of the ring's size between the hosts of one [`Network`]. Time is the network's
//! own: it stands still while anything can be done, and then jumps to the next moment that somebody
//! waits for, so tests take no time and always take the same course. [`through`] is all that the test
//! of one function needs.

mod through;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::rc::Rc;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::task::Wake;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::convert::Infallible;
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use embedded_io_async::{ErrorType, Read, Write};

use crate::counters::Counters;
use crate::params::Edge;
use crate::runner::signal::Signal;
use crate::runner::{Events, Host, OpenError, Reader, Writer};
use crate::state::State;
use crate::time::Timestamp;

pub use through::through;

/// Hosts in memory that can reach one another, and their clock.
#[derive(Debug, Default)]
pub struct Network {
    now: Cell<Duration>,
    timers: RefCell<Vec<(Duration, Waker)>>,
    /// Pipes offered by readers that no writer has taken yet, by the name of their edge.
    offers: RefCell<BTreeMap<String, Rc<Pipe>>>,
    changed: Signal,
}

/// Nothing can be done and nobody waits for a later moment: the test would never end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("every task waits for another")]
pub struct Stuck;

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        // One thread sets and looks, so no other memory is ordered by it.
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Network {
    /// A network without hosts, its clock at zero.
    pub fn new() -> Rc<Self> {
        Rc::default()
    }

    /// The time on its clock.
    pub fn now(&self) -> Duration {
        self.now.get()
    }

    /// Runs a future to its end, letting time pass when nothing else can be done.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> Result<T, Stuck> {
        let flag = Arc::new(Flag(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&flag));
        let mut context = Context::from_waker(&waker);
        let mut future = pin!(future);
        loop {
            while flag.0.swap(false, Ordering::Relaxed) {
                if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
                    return Ok(value);
                }
            }
            self.pass_time()?;
        }
    }

    /// Jumps to the next moment that somebody waits for.
    fn pass_time(&self) -> Result<(), Stuck> {
        let next = self
            .timers
            .borrow()
            .iter()
            .map(|(deadline, _)| *deadline)
            .min()
            .ok_or(Stuck)?;
        self.now.set(next.max(self.now.get()));
        let (due, later) = self
            .timers
            .take()
            .into_iter()
            .partition(|(at, _)| *at <= next);
        self.timers.replace(later);
        let due: Vec<(Duration, Waker)> = due;
        due.into_iter().for_each(|(_, waker)| waker.wake());
        Ok(())
    }

    /// Waits for a moment.
    pub async fn sleep_until(&self, deadline: Duration) {
        poll_fn(|context| {
            if self.now.get() >= deadline {
                return Poll::Ready(());
            }
            self.timers
                .borrow_mut()
                .push((deadline, context.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    /// Offers the reading end of an edge, and waits for its writer.
    pub async fn open_input(&self, edge: &str, ring: usize) -> PipeReader {
        let pipe = Rc::new(Pipe::new(ring));
        self.offers
            .borrow_mut()
            .insert(edge.into(), Rc::clone(&pipe));
        self.changed.notify();
        let reader = PipeReader {
            pipe,
            events: Events::default(),
        };
        reader.pipe.changed.until(|| reader.pipe.taken.get()).await;
        reader
    }

    /// Takes the writing end of an edge, once it is offered.
    pub async fn open_output(&self, edge: &str) -> PipeWriter {
        loop {
            self.changed
                .until(|| self.offers.borrow().contains_key(edge))
                .await;
            let Some(pipe) = self.offers.borrow_mut().remove(edge) else {
                continue;
            };
            if pipe.reader_gone.get() {
                continue;
            }
            pipe.taken.set(true);
            pipe.changed.notify();
            return PipeWriter {
                pipe,
                events: Events::default(),
            };
        }
    }
}

/// One direction of an edge.
#[derive(Debug)]
struct Pipe {
    ring: RefCell<VecDeque<u8>>,
    size: usize,
    taken: Cell<bool>,
    reader_gone: Cell<bool>,
    writer_gone: Cell<bool>,
    changed: Signal,
}

impl Pipe {
    fn new(size: usize) -> Self {
        Self {
            ring: RefCell::new(VecDeque::with_capacity(size)),
            size,
            taken: Cell::new(false),
            reader_gone: Cell::new(false),
            writer_gone: Cell::new(false),
            changed: Signal::default(),
        }
    }
}

/// The reading end of an edge in memory.
#[derive(Debug)]
pub struct PipeReader {
    pipe: Rc<Pipe>,
    events: Events,
}

impl Drop for PipeReader {
    fn drop(&mut self) {
        self.pipe.reader_gone.set(true);
        self.pipe.changed.notify();
    }
}

impl ErrorType for PipeReader {
    type Error = Infallible;
}

impl Read for PipeReader {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, Infallible> {
        let pipe = &self.pipe;
        let ready = || !pipe.ring.borrow().is_empty() || pipe.writer_gone.get();
        if !ready() {
            self.events.received += 1;
        }
        pipe.changed.until(ready).await;
        let mut ring = pipe.ring.borrow_mut();
        let count = buf.len().min(ring.len());
        buf.iter_mut()
            .zip(ring.drain(..count))
            .for_each(|(to, byte)| *to = byte);
        pipe.changed.notify();
        Ok(count)
    }
}

impl Reader for PipeReader {
    fn events(&self) -> Events {
        self.events
    }
}

/// The writing end of an edge in memory.
#[derive(Debug)]
pub struct PipeWriter {
    pipe: Rc<Pipe>,
    events: Events,
}

impl Drop for PipeWriter {
    fn drop(&mut self) {
        self.pipe.writer_gone.set(true);
        self.pipe.changed.notify();
    }
}

impl ErrorType for PipeWriter {
    type Error = Infallible;
}

impl Write for PipeWriter {
    async fn write(&mut self, buf: &[u8]) -> Result<usize, Infallible> {
        let pipe = &self.pipe;
        pipe.changed
            .until(|| pipe.ring.borrow().len() < pipe.size || pipe.reader_gone.get())
            .await;
        if pipe.reader_gone.get() {
            return Ok(0);
        }
        let mut ring = pipe.ring.borrow_mut();
        let count = buf.len().min(pipe.size - ring.len());
        ring.extend(&buf[..count]);
        self.events.sent += 1;
        pipe.changed.notify();
        Ok(count)
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

impl Writer for PipeWriter {
    fn events(&self) -> Events {
        self.events
    }

    fn unread(&self) -> usize {
        self.pipe.ring.borrow().len()
    }

    async fn drained(&mut self) {
        let pipe = &self.pipe;
        pipe.changed
            .until(|| pipe.ring.borrow().is_empty() || pipe.reader_gone.get())
            .await;
    }

    async fn gone(&mut self) {
        let pipe = &self.pipe;
        pipe.changed.until(|| pipe.reader_gone.get()).await;
    }
}

/// One host in memory. What its stage says is kept for the test to look at.
#[derive(Debug)]
pub struct MemoryHost {
    network: Rc<Network>,
    /// Every state published, in order.
    pub states: RefCell<Vec<State>>,
    /// Every publication of the counters, and when.
    pub published: RefCell<Vec<(Duration, Counters)>>,
    /// Every line written on the console.
    pub console: RefCell<Vec<String>>,
    /// Whether anyone reads the console; while not, writing to it waits. Set it before the start.
    pub console_is_read: Cell<bool>,
    stop: Cell<bool>,
    changed: Signal,
}

impl MemoryHost {
    /// A host on this network.
    pub fn new(network: &Rc<Network>) -> Self {
        Self {
            network: Rc::clone(network),
            states: RefCell::default(),
            published: RefCell::default(),
            console: RefCell::default(),
            console_is_read: Cell::new(true),
            stop: Cell::new(false),
            changed: Signal::default(),
        }
    }

    /// Tells the stage to stop.
    pub fn stop(&self) {
        self.stop.set(true);
        self.changed.notify();
    }

    /// Begins to read the console.
    pub fn read_console(&self) {
        self.console_is_read.set(true);
        self.changed.notify();
    }

    /// The last state published.
    pub fn state(&self) -> Option<State> {
        self.states.borrow().last().cloned()
    }
}

impl Host for MemoryHost {
    type Reader = PipeReader;
    type Writer = PipeWriter;

    fn now(&self) -> Duration {
        self.network.now()
    }

    /// The turn of the year 2026, and the network's time since.
    fn wall_clock(&self) -> Timestamp {
        let start = Timestamp::from_seconds(1_767_225_600).unwrap_or_default();
        start.checked_add(self.network.now()).unwrap_or(start)
    }

    async fn sleep_until(&self, deadline: Duration) {
        self.network.sleep_until(deadline).await;
    }

    async fn open_input(&self, edge: &Edge) -> Result<PipeReader, OpenError> {
        Ok(self
            .network
            .open_input(edge.name.as_str(), edge.ring as usize)
            .await)
    }

    async fn open_output(&self, edge: &Edge) -> Result<PipeWriter, OpenError> {
        Ok(self.network.open_output(edge.name.as_str()).await)
    }

    fn set_state(&self, state: &State) {
        self.states.borrow_mut().push(state.clone());
    }

    fn publish(&self, counters: &Counters) {
        self.published
            .borrow_mut()
            .push((self.network.now(), counters.clone()));
    }

    fn heap_high_water(&self) -> u64 {
        0
    }

    async fn console_line(&self, line: &str) {
        self.changed.until(|| self.console_is_read.get()).await;
        self.console.borrow_mut().push(line.into());
    }

    async fn stop_requested(&self) {
        self.changed.until(|| self.stop.get()).await;
    }
}
