//! What the tasks of one stage share: the phase, the counters, the state that they add up to.

use alloc::string::String;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell, RefMut};

use super::host::{Events, Host};
use super::signal::Signal;
use crate::counters::{Counters, EdgeCounters, NamedEdgeCounters};
use crate::function::Outputs;
use crate::params::{Direction, Edge};
use crate::state::{Awaited, State};

/// How much text may wait for the console before the function is held up, in bytes.
const CONSOLE_ROOM: usize = 1024;

/// How far a stage is from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Working.
    Running,
    /// Told to stop: what has arrived is worked off.
    Stopping,
    /// The function has finished: outputs are written out.
    Finishing,
}

/// How one edge stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    Waiting,
    Connected,
    Stale,
    Ended,
}

pub(super) struct Board<'a, H> {
    pub(super) host: &'a H,
    pub(super) outputs: RefCell<Outputs>,
    /// An output or the console has room again.
    pub(super) room: Signal,
    /// The function has emitted.
    pub(super) emitted: Signal,
    /// The phase, or whether an edge is connected, has changed.
    pub(super) changed: Signal,
    /// A counter has changed.
    pub(super) counted: Signal,
    phase: Cell<Phase>,
    /// Told to stop, whatever the phase.
    stopped: Cell<bool>,
    dirty: Cell<bool>,
    edges: &'a [Edge],
    links: RefCell<Vec<Link>>,
    counters: RefCell<Vec<EdgeCounters>>,
    state: RefCell<State>,
    /// What the companion waits for.
    awaited: RefCell<Option<Awaited>>,
}

impl<'a, H: Host> Board<'a, H> {
    /// `edges` are the inputs and then the outputs; tasks name them by their index here.
    pub(super) fn new(host: &'a H, edges: &'a [Edge], outputs: Outputs) -> Self {
        let board = Self {
            host,
            outputs: RefCell::new(outputs),
            room: Signal::default(),
            emitted: Signal::default(),
            changed: Signal::default(),
            counted: Signal::default(),
            phase: Cell::new(Phase::Running),
            stopped: Cell::new(false),
            dirty: Cell::new(true),
            edges,
            links: RefCell::new(edges.iter().map(|_| Link::Waiting).collect()),
            counters: RefCell::new(edges.iter().map(|_| EdgeCounters::default()).collect()),
            state: RefCell::new(State::Starting),
            awaited: RefCell::default(),
        };
        board.show_state();
        board
    }

    pub(super) fn edge(&self, index: usize) -> &'a Edge {
        &self.edges[index]
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase.get()
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.set(self.phase.get().max(phase));
        self.changed.notify();
        self.emitted.notify();
        self.room.notify();
    }

    pub(super) fn stop(&self) {
        self.stopped.set(true);
        self.enter(Phase::Stopping);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.get()
    }

    /// Whether the function may be called: no output, and not the console, holds a full buffer, and it does not hold back.
    pub(super) fn has_room(&self) -> bool {
        let outputs = self.outputs.borrow();
        !outputs.held
            && outputs.console.len() < CONSOLE_ROOM
            && !outputs.edges.iter().any(|edge| edge.is_full())
    }

    pub(super) fn set_link(&self, index: usize, link: Link) {
        self.links.borrow_mut()[index] = link;
        self.changed.notify();
        self.show_state();
    }

    /// Whether every output is or was connected.
    pub(super) fn outputs_met(&self) -> bool {
        let links = self.links.borrow();
        let mut sides = self.edges.iter().zip(links.iter());
        sides.all(|(edge, link)| edge.direction == Direction::In || *link != Link::Waiting)
    }

    pub(super) fn set_awaited(&self, awaited: Option<Awaited>) {
        self.awaited.replace(awaited);
        self.show_state();
    }

    fn show_state(&self) {
        let state = {
            let links = self.links.borrow();
            let find = |wanted| links.iter().position(|link| *link == wanted);
            match (find(Link::Stale), find(Link::Waiting)) {
                (Some(index), _) => State::Stale(self.edges[index].name),
                (None, Some(index)) => State::Waiting(Awaited::Edge(self.edges[index].name)),
                (None, None) => match &*self.awaited.borrow() {
                    Some(awaited) => State::Waiting(awaited.clone()),
                    None => State::Running,
                },
            }
        };
        if *self.state.borrow() != state {
            self.host.set_state(&state);
            self.state.replace(state);
        }
    }

    /// Changes the counters of an edge.
    pub(super) fn count(&self, index: usize, change: impl FnOnce(&mut EdgeCounters)) {
        change(&mut self.counters_of(index));
    }

    /// The counters of an edge, about to change. Not inlined: one copy serves every change.
    #[inline(never)]
    fn counters_of(&self, index: usize) -> RefMut<'_, EdgeCounters> {
        self.note(false);
        RefMut::map(self.counters.borrow_mut(), |counters| &mut counters[index])
    }

    /// The function was called, and has perhaps emitted.
    pub(super) fn note(&self, emitted: bool) {
        if !self.dirty.replace(true) {
            self.counted.notify();
        }
        if emitted {
            self.emitted.notify();
        }
    }

    /// Adds the events of a connection to those of the ones before.
    pub(super) fn count_events(&self, index: usize, before: Events, now: Events) {
        self.count(index, |counters| {
            counters.events_sent = before.sent + now.sent;
            counters.events_received = before.received + now.received;
        });
    }

    pub(super) fn events(&self, index: usize) -> Events {
        let counters = &self.counters.borrow()[index];
        Events {
            sent: counters.events_sent,
            received: counters.events_received,
        }
    }

    /// Publishes the counters whenever they have changed, at most once an interval.
    pub(super) async fn publish_changes(&self, own: impl Fn(&mut String)) {
        loop {
            self.counted.until(|| self.dirty.get()).await;
            self.dirty.set(false);
            self.host.publish(&self.counters(&own));
            self.host
                .sleep_until(self.host.now() + super::PUBLISH_INTERVAL)
                .await;
        }
    }

    /// Everything counted so far, with what the function counts beside.
    pub(super) fn counters(&self, own: &impl Fn(&mut String)) -> Counters {
        let outputs = self.outputs.borrow();
        let mut stage = outputs.counters.clone();
        stage.heap_high_water = self.host.heap_high_water();
        let counters = self.counters.borrow();
        let mut queues = outputs.edges.iter();
        let mut edges = Vec::with_capacity(self.edges.len());
        for (edge, counters) in self.edges.iter().zip(counters.iter()) {
            let mut counters = counters.clone();
            if edge.direction == Direction::Out
                && let Some(queue) = queues.next()
            {
                counters.readings = queue.readings() + queue.shed();
                counters.lost += queue.shed();
            }
            edges.push(NamedEdgeCounters {
                direction: edge.direction,
                name: edge.name,
                counters,
            });
        }
        let mut text = String::new();
        own(&mut text);
        Counters {
            stage,
            edges,
            own: text,
        }
    }
}
