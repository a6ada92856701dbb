//! What a stage's runner needs of the machine: edges, state and counters as keys, time, console.

use core::cell::RefCell;
use core::pin::pin;
use core::time::Duration;
use std::rc::Rc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use stage::counters::Counters;
use stage::runner::{Host, OpenError, first};
use stage::state::State;
use stage::{Edge, EdgeName, Timestamp};
use vchan_linux::sleep_until;

use crate::channel::Channel;
use crate::console::Console;
use crate::keys::Keys;
use crate::orders::Orders;
use crate::peer::{PeerSource, Who};
use crate::place::{Failure, Place};

/// The first pause after a failed attempt to open an edge, doubled with each further one.
const RETRY_FIRST: Duration = Duration::from_millis(50);
/// The longest pause.
const RETRY_LONGEST: Duration = Duration::from_secs(5);
/// How long a peer may stay away before a line says so.
const PATIENCE: Duration = Duration::from_secs(5);

/// The machine, as the runner sees it.
pub struct ProcessHost<P> {
    place: P,
    keys: Rc<Keys>,
    orders: Orders,
    console: Console,
    started: Instant,
    /// What was last published, by path: only what changed is written again.
    published: RefCell<Vec<(String, String)>>,
}

impl<P: Place> ProcessHost<P> {
    /// With edges that meet at this place.
    pub fn new(place: P, keys: Keys, orders: Orders, console: Console) -> Self {
        Self {
            place,
            keys: Rc::new(keys),
            orders,
            console,
            started: Instant::now(),
            published: RefCell::default(),
        }
    }

    async fn open(&self, edge: &Edge) -> Result<Channel<P::Link>, OpenError> {
        let mut peer = PeerSource::new(&self.keys, edge)?;
        let mut pause = RETRY_FIRST;
        loop {
            let who = peer.who().await?;
            let made = {
                let making = pin!(self.place.open(edge, &who));
                let complaint = pin!(complain(edge.name, &who));
                let changed = pin!(peer.changed());
                let renamed = pin!(first(changed, complaint));
                first(making, renamed).await
            };
            match made {
                Some(Ok(link)) => return Ok(Channel::new(link, peer)),
                Some(Err(Failure::Final(message))) => return Err(OpenError(message)),
                Some(Err(Failure::Passing(message))) => {
                    log::warn!(
                        "edge {}: {message}; trying again in {} ms",
                        edge.name,
                        pause.as_millis()
                    );
                    sleep_until(Instant::now() + pause).await;
                    pause = (pause * 2).min(RETRY_LONGEST);
                }
                None => pause = RETRY_FIRST,
            }
        }
    }

    /// Writes what changed of the counters.
    fn write_changed(&self, path: &str, value: &str) {
        let mut published = self.published.borrow_mut();
        match published.iter_mut().find(|(known, _)| known == path) {
            Some((_, last)) if last == value => return,
            Some((_, last)) => value.clone_into(last),
            None => published.push((path.to_owned(), value.to_owned())),
        }
        self.keys.write(&format!("data/grantflow/{path}"), value);
    }
}

/// Says after a while that the peer is still not there. Never ready.
async fn complain(edge: EdgeName, who: &Who) {
    sleep_until(Instant::now() + PATIENCE).await;
    match who {
        Who::Number(_) => log::warn!("edge {edge}: waiting: its other end has not come yet"),
        Who::Name(name) => log::warn!("edge {edge}: waiting: {name} has not come yet"),
    }
    core::future::pending().await
}

impl<P: Place> Host for ProcessHost<P> {
    type Reader = Channel<P::Link>;
    type Writer = Channel<P::Link>;

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn wall_clock(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let nanos = since.map(|since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX));
        Timestamp::from_nanos(nanos.unwrap_or(0))
    }

    async fn sleep_until(&self, deadline: Duration) {
        match self.started.checked_add(deadline) {
            Some(deadline) => sleep_until(deadline).await,
            None => core::future::pending().await,
        }
    }

    fn open_input(&self, edge: &Edge) -> impl Future<Output = Result<Self::Reader, OpenError>> {
        self.open(edge)
    }

    fn open_output(&self, edge: &Edge) -> impl Future<Output = Result<Self::Writer, OpenError>> {
        self.open(edge)
    }

    fn set_state(&self, state: &State) {
        let text = state.to_string();
        log::debug!("{text}");
        self.keys.write("data/grantflow/state", &text);
    }

    fn publish(&self, counters: &Counters) {
        counters.for_each_node(|path, value| self.write_changed(path, value));
    }

    fn heap_high_water(&self) -> u64 {
        0
    }

    async fn console_line(&self, line: &str) {
        if self.console.line(line).await.is_err() {
            // Results that nobody wants any more: as a pipeline of the shell ends.
            self.orders.stop();
        }
    }

    async fn stop_requested(&self) {
        self.orders.given().await;
    }
}
