//! A peer that may do anything: here every load from shared memory returns whatever it likes. Whatever that is, our
//! side does not panic, stays within its rings, does a bounded amount of work, and decides each thing on one load.

use std::cell::RefCell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;
use vchan::in_process::block_on;
use vchan::interface::*;
use vchan::platform::{Access, EventChannel, Keys, Rendezvous, SharedMemory, Wake};
use vchan::ring::{Consumer, Geometry, Producer};
use vchan::{ConnectError, ConnectOptions, Endpoint, OfferOptions, ReadError, WriteError};

/// What the peer answers to a load of the field at an offset.
type Answer = dyn FnMut(usize) -> u32;

struct Hostile {
    answer: RefCell<Box<Answer>>,
    /// How often each field was loaded, read-modify-writes included, since last asked.
    loads: RefCell<HashMap<usize, usize>>,
    /// How the rings were mapped: pages and access.
    mapped: RefCell<Vec<(usize, Access)>>,
}

impl Hostile {
    fn new(answer: impl FnMut(usize) -> u32 + 'static) -> Rc<Self> {
        Rc::new(Hostile {
            answer: RefCell::new(Box::new(answer)),
            loads: RefCell::default(),
            mapped: RefCell::default(),
        })
    }

    fn load(&self, offset: usize) -> u32 {
        *self.loads.borrow_mut().entry(offset).or_default() += 1;
        (self.answer.borrow_mut())(offset)
    }

    fn take_loads(&self) -> HashMap<usize, usize> {
        self.loads.take()
    }
}

struct Memory {
    peer: Rc<Hostile>,
    /// Bytes that bulk copies may touch.
    bulk: std::ops::RangeInclusive<usize>,
}

impl Memory {
    fn in_bounds(&self, offset: usize, len: usize) {
        assert!(len > 0, "a copy of nothing");
        assert!(
            self.bulk.contains(&offset) && self.bulk.contains(&(offset + len)),
            "out of the ring"
        );
    }
}

impl SharedMemory for Memory {
    fn load_u8(&self, offset: usize, _: Ordering) -> u8 {
        self.peer.load(offset) as u8
    }
    fn load_u16(&self, offset: usize, _: Ordering) -> u16 {
        self.peer.load(offset) as u16
    }
    fn load_u32(&self, offset: usize, _: Ordering) -> u32 {
        assert!(offset.is_multiple_of(4) && offset + 4 <= PAGE_SIZE);
        self.peer.load(offset)
    }
    fn store_u8(&self, _: usize, _: u8, _: Ordering) {}
    fn store_u16(&self, _: usize, _: u16, _: Ordering) {}
    fn store_u32(&self, _: usize, _: u32, _: Ordering) {}
    fn fetch_or_u8(&self, offset: usize, _: u8, _: Ordering) -> u8 {
        self.peer.load(offset) as u8
    }
    fn fetch_and_u8(&self, offset: usize, _: u8, _: Ordering) -> u8 {
        self.peer.load(offset) as u8
    }
    fn read(&self, offset: usize, out: &mut [u8]) {
        self.in_bounds(offset, out.len());
    }
    fn write(&self, offset: usize, data: &[u8]) {
        self.in_bounds(offset, data.len());
    }
}

/// An event channel on which something always seems to have happened: every wait lasts one turn.
struct Port {
    waits: std::cell::Cell<u32>,
}

impl EventChannel for Port {
    fn port(&self) -> u32 {
        1
    }
    fn notify(&self) {}
    fn event_count(&self) -> u64 {
        0
    }
    fn wait(&self, _: u64) -> impl Future<Output = Wake> {
        let mut waited = false;
        poll_fn(move |_| {
            if !core::mem::replace(&mut waited, true) {
                return Poll::Pending;
            }
            self.waits.set(self.waits.get() + 1);
            Poll::Ready(if self.waits.get().is_multiple_of(2) {
                Wake::Event
            } else {
                Wake::Heartbeat
            })
        })
    }
    fn wake(&self) {}
    fn peer_bound(&self) -> bool {
        true
    }
}

struct Meeting(Rc<Hostile>);

impl Meeting {
    fn memory(&self, bulk: std::ops::RangeInclusive<usize>) -> Result<Memory, Infallible> {
        let peer = Rc::clone(&self.0);
        Ok(Memory { peer, bulk })
    }
    fn port(&self) -> Result<Port, Infallible> {
        Ok(Port {
            waits: Default::default(),
        })
    }
}

impl Rendezvous for Meeting {
    type Memory = Memory;
    type Events = Port;
    type Published = ();
    type Value = &'static [u8];
    type Error = Infallible;

    fn alloc_unbound(&self) -> Result<Port, Infallible> {
        self.port()
    }
    fn share_control(&self, _: &Port) -> Result<Memory, Infallible> {
        self.memory(GRANTS..=PAGE_SIZE)
    }
    fn share_ring(&self, pages: usize) -> Result<Memory, Infallible> {
        self.memory(0..=pages * PAGE_SIZE)
    }
    fn grant_ref(&self, _: &Memory, page: usize) -> u32 {
        page as u32 + 1
    }
    async fn publish(&self, _: u32, _: u32) -> Result<(), Infallible> {
        Ok(())
    }
    async fn keys(&self) -> Result<Keys<&'static [u8]>, Infallible> {
        Ok(Keys {
            ring_ref: b"4000000000",
            event_channel: b"1",
        })
    }
    fn bind_interdomain(&self, _: u32) -> Result<Port, Infallible> {
        self.port()
    }
    fn map_control(&self, _: u32, _: &Port) -> Result<Memory, Infallible> {
        self.memory(GRANTS..=PAGE_SIZE)
    }
    fn map_ring(&self, refs: &[u32], access: Access) -> Result<Memory, Infallible> {
        self.0.mapped.borrow_mut().push((refs.len(), access));
        assert!((1..=MAX_RING_PAGES).contains(&refs.len()) && !refs.contains(&0));
        self.memory(0..=refs.len() * PAGE_SIZE)
    }
}

/// A server that keeps to the rules while it is asked for its offer, with rings of these orders.
fn honest_offer(left: u16, right: u16) -> impl Fn(usize) -> u32 {
    move |offset| match offset {
        LEFT_ORDER => u32::from(left),
        RIGHT_ORDER => u32::from(right),
        CLI_LIVE => u32::from(LIVE_WAITING),
        SRV_LIVE => u32::from(LIVE_OPEN),
        GRANTS.. => offset as u32,
        _ => 0,
    }
}

#[test]
fn a_client_loads_each_field_of_an_offer_once() {
    for (left, right) in [(10, 11), (12, 11), (11, 20), (20, 20)] {
        let peer = Hostile::new(honest_offer(left, right));
        let meeting = Meeting(Rc::clone(&peer));
        let connected = block_on(Endpoint::connect(&meeting, ConnectOptions::default()));
        let layout = connected.unwrap_or_else(|error| panic!("{error}")).layout();
        let mut fields = vec![LEFT_CONS, LEFT_PROD, RIGHT_CONS, RIGHT_PROD];
        fields.extend([LEFT_ORDER, RIGHT_ORDER, CLI_LIVE, SRV_LIVE]);
        let grants = layout.left_pages() + layout.right_pages();
        fields.extend((0..grants).map(|slot| GRANTS + 4 * slot));
        assert_eq!(
            peer.take_loads(),
            fields.into_iter().map(|field| (field, 1)).collect()
        );
    }
}

#[test]
fn a_client_maps_for_writing_only_what_it_fills() {
    let peer = Hostile::new(honest_offer(13, 14));
    let meeting = Meeting(Rc::clone(&peer));
    assert!(block_on(Endpoint::connect(&meeting, ConnectOptions::default())).is_ok());
    assert_eq!(
        peer.mapped.take(),
        [(2, Access::ReadWrite), (4, Access::ReadOnly)]
    );
}

#[test]
fn an_offer_with_more_grants_than_fit_is_refused_unread() {
    for orders in [(10, 20), (20, 10), (21, 12), (12, 0xffff)] {
        let peer = Hostile::new(honest_offer(orders.0, orders.1));
        let refused = block_on(Endpoint::connect(
            &Meeting(Rc::clone(&peer)),
            ConnectOptions::default(),
        ));
        assert!(matches!(refused, Err(ConnectError::Layout(_))));
        assert!(peer.take_loads().keys().all(|&offset| offset < GRANTS));
    }
}

/// All that the peer's index can say, against all that it may say, counted out rather than computed.
#[test]
fn exactly_the_possible_indexes_are_accepted() {
    const SIZE: u32 = 4;
    let geometry = Geometry {
        cons: LEFT_CONS,
        prod: LEFT_PROD,
        base: 0,
        size: SIZE,
    };
    let starts = [0, 1, 3, 0x7fff_fffd, 0x8000_0000, u32::MAX - 5, u32::MAX];
    for start in starts {
        for held in 0..=SIZE {
            let interesting = (0..24u32).map(|near| start.wrapping_add(near).wrapping_sub(12));
            for claimed in interesting.chain(starts) {
                let peer = Hostile::new(move |_| claimed);
                let memory = Memory {
                    peer: Rc::clone(&peer),
                    bulk: 0..=SIZE as usize,
                };
                let end = start.wrapping_add(held);

                let mut consumer = Consumer::adopt(geometry, end, start).unwrap();
                let possible = (held..=SIZE).any(|ready| start.wrapping_add(ready) == claimed);
                assert_eq!(
                    consumer.refresh(&memory).is_ok(),
                    possible,
                    "{start} {held} {claimed}"
                );
                assert!(consumer.ready() <= SIZE);

                let mut producer = Producer::adopt(geometry, end, start).unwrap();
                let possible = (0..=held).any(|read| start.wrapping_add(read) == claimed);
                assert_eq!(
                    producer.refresh(&memory).is_ok(),
                    possible,
                    "{start} {held} {claimed}"
                );
                assert!(producer.in_flight() <= SIZE);
                assert_eq!(peer.take_loads().values().sum::<usize>(), 2);
            }
        }
    }
}

fn poll_once<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

#[derive(Clone, Copy, Debug)]
enum Op {
    TryRead(usize),
    TryWrite(usize),
    Read(usize),
    Write(usize),
    Drained,
    Look,
}

fn op() -> impl Strategy<Value = Op> {
    let len = prop_oneof![0..4usize, 1020..1030usize, 4090..4100usize];
    prop_oneof![
        len.clone().prop_map(Op::TryRead),
        len.clone().prop_map(Op::TryWrite),
        len.clone().prop_map(Op::Read),
        len.prop_map(Op::Write),
        Just(Op::Drained),
        Just(Op::Look),
    ]
}

/// Values at which something could tip over, and any other.
fn claim() -> impl Strategy<Value = u32> {
    prop_oneof![
        4 => 0..3u32,
        2 => proptest::sample::select(vec![1023, 1024, 1025, 2047, 2048, 4095, 4096, 0x8000_0000, u32::MAX]),
        1 => any::<u32>(),
        1 => 0..5000u32,
    ]
}

/// Runs one operation and checks how often each field was loaded: once per decision.
fn attack(end: &mut Endpoint<Meeting>, op: Op, peer: &Hostile, broken: &mut bool) {
    let mut buffer = vec![0; 5000];
    peer.take_loads();
    // A waiting call that is polled once makes two attempts, before and after it asked.
    let mut attempts = 1;
    let mut rereads = 1;
    match op {
        Op::TryRead(len) => {
            rereads = 2;
            match end.try_read(&mut buffer[..len]) {
                Ok(read) => assert!(read.is_none_or(|read| read <= len)),
                Err(error) => *broken |= matches!(error, ReadError::Corrupt(_)),
            }
        }
        Op::TryWrite(len) => match end.try_write(&buffer[..len]) {
            Ok(written) => assert!(written <= len),
            Err(error) => *broken |= matches!(error, WriteError::Corrupt(_)),
        },
        Op::Read(len) => {
            (attempts, rereads) = (2, 2);
            if let Some(Err(ReadError::Corrupt(_))) =
                poll_once(end.reader().read(&mut buffer[..len]))
            {
                *broken = true;
            }
        }
        Op::Write(len) => {
            attempts = 2;
            if let Some(Err(WriteError::Corrupt(_))) = poll_once(end.writer().write(&buffer[..len]))
            {
                *broken = true;
            }
        }
        Op::Drained => {
            attempts = 2;
            if let Some(Err(WriteError::Corrupt(_))) = poll_once(end.drained()) {
                *broken = true;
            }
        }
        Op::Look => {
            rereads = 2;
            *broken |= end.reader().look_for_peer().is_err();
        }
    }
    for (field, count) in peer.take_loads() {
        let allowed = match field {
            LEFT_PROD | LEFT_CONS | RIGHT_PROD | RIGHT_CONS => attempts * rereads,
            CLI_LIVE | SRV_LIVE if matches!(op, Op::Look) => 2,
            CLI_LIVE | SRV_LIVE => attempts,
            // The look at the peer's request and the atomic that takes it; our own request once.
            CLI_NOTIFY | SRV_NOTIFY => 2,
            _ => 0,
        };
        assert!(
            count <= allowed,
            "{op:?}: field {field} loaded {count} times, {allowed} allowed"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_a_peer_says_harms_us(
        claims in proptest::collection::vec(claim(), 1..64),
        ops in proptest::collection::vec(op(), 1..40),
        as_server in any::<bool>(),
        orders in proptest::sample::select(vec![(10, 11), (11, 10), (12, 11), (13, 12)]),
    ) {
        let layout = Layout::new(orders.0, orders.1).unwrap();
        let mut honest = !as_server;
        let mut at = 0;
        let turned = Rc::new(std::cell::Cell::new(false));
        let turn = Rc::clone(&turned);
        let peer = Hostile::new(move |offset| {
            honest &= !turn.get();
            if honest {
                return honest_offer(orders.0, orders.1)(offset);
            }
            at += 1;
            claims[at % claims.len()]
        });
        let meeting = Meeting(Rc::clone(&peer));
        let made = if as_server {
            let options = OfferOptions { layout, first_index: u32::MAX - 1000 };
            block_on(Endpoint::offer(&meeting, options)).ok()
        } else {
            block_on(Endpoint::connect(&meeting, ConnectOptions::default())).ok()
        };
        let mut end = made.unwrap();
        turned.set(true);
        let mut broken = false;
        for op in ops {
            let was_broken = broken;
            attack(&mut end, op, &peer, &mut broken);
            prop_assert!(broken || !was_broken);
        }
        if broken {
            // From here on the peer's memory is not even looked at.
            let mut byte = [0];
            let corrupt = matches!(end.try_read(&mut byte), Err(ReadError::Corrupt(_)));
            prop_assert!(corrupt && matches!(end.try_write(&byte), Err(WriteError::Corrupt(_))));
            let look = end.reader().look_for_peer();
            prop_assert!(look.is_err() && !end.is_connected());
            prop_assert!(peer.take_loads().is_empty());
        }
    }

    #[test]
    fn no_offer_harms_a_client(
        claims in proptest::collection::vec(claim(), 1..600),
        small in proptest::collection::vec(9..22u32, 2),
        accept_used in any::<bool>(),
    ) {
        let mut at = 0;
        let peer = Hostile::new(move |offset| match offset {
            LEFT_ORDER => small[0],
            RIGHT_ORDER => small[1],
            SRV_LIVE => 1,
            _ => {
                at += 1;
                claims[at % claims.len()].wrapping_add(if offset >= GRANTS { at as u32 } else { 0 })
            }
        });
        let joined = block_on(Endpoint::connect(&Meeting(Rc::clone(&peer)), ConnectOptions { accept_used }));
        prop_assert!(peer.take_loads().values().all(|&count| count == 1));
        drop(joined);
    }
}
