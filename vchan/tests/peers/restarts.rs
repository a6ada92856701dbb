//! R14, R15: ends that restart, one or both, at any moment and in any order, as domains with new ids do: each is told by a third
//! party who the other one is now, and offers or joins anew.

use core::pin::{Pin, pin};
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;
use vchan::in_process::Host;
use vchan::{ConnectOptions, Endpoint, OfferOptions, Role};

use super::mortal::{Life, Mortal};

/// What one end is told of the other: its incarnation. Each incarnation has a number of its own, as domain ids have.
type Told = Rc<Cell<Option<u32>>>;

/// Which incarnations met, message by message.
type Delivered = Rc<RefCell<Vec<(u32, u32)>>>;

/// Gives the others a turn.
async fn turn() {
    let mut polled = false;
    poll_fn(|_| match core::mem::replace(&mut polled, true) {
        true => Poll::Ready(()),
        false => Poll::Pending,
    })
    .await;
}

/// `work`, until another peer is named.
async fn unless_renamed(told: &Cell<Option<u32>>, work: impl Future<Output = ()>) {
    let before = told.get();
    let mut work = pin!(work);
    poll_fn(|context| match told.get() == before {
        true => work.as_mut().poll(context),
        false => Poll::Ready(()),
    })
    .await;
}

fn message(server: u32, client: u32) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&server.to_le_bytes());
    bytes[4..].copy_from_slice(&client.to_le_bytes());
    bytes
}

/// Reads whole messages; each must be of this very pair.
async fn serve(meeting: Mortal, (server, client): (u32, u32), delivered: Delivered) {
    let offered = Endpoint::offer(&meeting, OfferOptions::default())
        .await
        .unwrap();
    if offered.connected().await.is_err() {
        return;
    }
    let (mut reader, _writer) = offered.split();
    let mut out = [0; 8];
    // What a death cuts short goes with its channel.
    while let Ok(8) = reader.recv(&mut out).await {
        assert_eq!(
            out,
            message(server, client),
            "a frame of another generation"
        );
        delivered.borrow_mut().push((server, client));
    }
}

/// Writes messages, in two pieces each.
async fn join(meeting: Mortal, (server, client): (u32, u32)) {
    let Ok(mut joined) = Endpoint::connect(&meeting, ConnectOptions::default()).await else {
        return;
    };
    let bytes = message(server, client);
    loop {
        for piece in [&bytes[..3], &bytes[3..]] {
            let mut left = piece;
            while !left.is_empty() {
                match joined.writer().write(left).await {
                    Ok(count) => left = &left[count..],
                    Err(_) => return,
                }
            }
            turn().await;
        }
    }
}

struct End {
    role: Role,
    told: Told,
    life: Rc<Life>,
    task: Pin<Box<dyn Future<Output = ()>>>,
    number: u32,
}

impl End {
    fn new(host: &Host, role: Role, number: u32, delivered: &Delivered) -> Self {
        let (told, life) = (Told::default(), Life::of(usize::MAX));
        let task = {
            let (host, told, life, delivered) =
                (host.clone(), told.clone(), life.clone(), delivered.clone());
            async move {
                loop {
                    turn().await;
                    let Some(peer) = told.get() else { continue };
                    let pair = match role {
                        Role::Server => (number, peer),
                        Role::Client => (peer, number),
                    };
                    let meeting =
                        Mortal::new(&host.meeting(&format!("{}-{}", pair.0, pair.1)), &life);
                    match role {
                        Role::Server => {
                            unless_renamed(&told, serve(meeting, pair, delivered.clone())).await
                        }
                        Role::Client => unless_renamed(&told, join(meeting, pair)).await,
                    }
                }
            }
        };
        Self {
            role,
            told,
            life,
            task: Box::pin(task),
            number,
        }
    }

    fn step(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        assert!(self.task.as_mut().poll(&mut context).is_pending());
    }
}

#[derive(Clone, Copy, Debug)]
enum Event {
    /// One end has a turn.
    Step(usize),
    /// Both hear of a heartbeat.
    Heartbeat,
    /// One end dies at once, or in the middle of what it does next, and starts anew.
    Restart(usize, usize),
    /// One end learns who the other is.
    Tell(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        30 => (0..2_usize).prop_map(Event::Step),
        2 => Just(Event::Heartbeat),
        2 => (0..2_usize, 0..40_usize).prop_map(|(end, left)| Event::Restart(end, left)),
        4 => (0..2_usize).prop_map(Event::Tell),
    ]
}

/// Runs the events, then quiet: whoever is left must meet, and nothing be left behind.
fn converge(events: impl IntoIterator<Item = Event>) -> usize {
    let (host, delivered) = (Host::new(), Delivered::default());
    let mut numbers = 0..;
    let mut born = |role| End::new(&host, role, numbers.next().unwrap(), &delivered);
    let mut ends = [born(Role::Server), born(Role::Client)];
    for event in events {
        match event {
            Event::Step(end) => ends[end].step(),
            Event::Heartbeat => host.heartbeat(),
            Event::Restart(end, left) => {
                ends[end].life.end_after(left);
                ends[end].step();
                ends[end].life.end_after(0);
                // The old one's pages and ports go before the new one's are made.
                ends[end].task = Box::pin(core::future::pending());
                ends[end] = born(ends[end].role);
            }
            Event::Tell(end) => ends[end].told.set(Some(ends[1 - end].number)),
        }
    }
    for end in [0, 1] {
        ends[end].told.set(Some(ends[1 - end].number));
    }
    let pair = (ends[0].number, ends[1].number);
    let before = delivered.borrow().len();
    for _ in 0..60 {
        ends.iter_mut().for_each(End::step);
        host.heartbeat();
    }
    let met = delivered.borrow()[before..]
        .iter()
        .filter(|&&met| met == pair)
        .count();
    assert!(
        met > 3,
        "{pair:?} have not met again: {:?}",
        &delivered.borrow()[before..]
    );
    drop(ends);
    host.assert_clean();
    delivered.borrow().len()
}

/// R14: a thousand restarts of either end, one after the other, each while messages are under way.
#[test]
fn r14_a_thousand_restarts() {
    let cycle = |round: usize| {
        let restart = [
            Event::Restart(round % 2, round % 23),
            Event::Tell(0),
            Event::Tell(1),
        ];
        let work = [Event::Step(0), Event::Step(1), Event::Heartbeat];
        restart.into_iter().chain(work.into_iter().cycle().take(45))
    };
    let delivered = converge((0..1000).flat_map(cycle));
    assert!(
        delivered > 1000,
        "{delivered} messages alone came between the restarts"
    );
}

/// R15: server first, client first, both at once, and told in either order.
#[test]
fn r15_every_order_of_two_restarts() {
    use Event::{Heartbeat, Restart, Step, Tell};
    let met = [
        Tell(0),
        Tell(1),
        Step(0),
        Step(1),
        Step(1),
        Step(0),
        Step(1),
        Step(1),
        Step(0),
    ];
    let happen = [Restart(0, 0), Restart(1, 0), Tell(0), Tell(1), Heartbeat];
    // All orders of the five, by the factorial number system.
    for order in 0..120 {
        let (mut left, mut rest) = (happen.to_vec(), order);
        let mut events = met.to_vec();
        for radix in (1..=left.len()).rev() {
            events.push(left.remove(rest % radix));
            rest /= radix;
            events.extend([Step(0), Step(1)]);
        }
        converge(events);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// R15: anything, in any order.
    #[test]
    fn r15_any_order_of_restarts(events in proptest::collection::vec(event(), 0..200)) {
        converge(events);
    }
}

/// What the model stands on: a writer that died without a word is found by a heartbeat alone.
#[test]
fn the_death_of_an_end_is_silent() {
    let (host, delivered) = (Host::new(), Delivered::default());
    let mut server = End::new(&host, Role::Server, 0, &delivered);
    let mut client = End::new(&host, Role::Client, 1, &delivered);
    server.told.set(Some(1));
    client.told.set(Some(0));
    for _ in 0..8 {
        server.step();
        client.step();
    }
    client.life.end_after(0);
    drop(client);
    let held = host.held();
    for _ in 0..8 {
        server.step();
    }
    assert_eq!(host.held(), held, "nobody has told it");
    host.heartbeat();
    server.step();
    assert_ne!(host.held(), held);
}
