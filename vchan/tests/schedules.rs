//! Byte streams under random schedules: what is written is what is read, and nobody sleeps for ever.

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

use proptest::prelude::*;
use vchan::conformance::{both, now, pair, pattern};
use vchan::in_process::{Host, block_on};
use vchan::platform::Rendezvous;
use vchan::{Layout, OfferOptions, Policy, Reader, Writer};

#[derive(Clone, Copy, Debug)]
enum Op {
    ClientWrites(usize),
    ServerWrites(usize),
    ClientReads(usize),
    ServerReads(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let len = prop_oneof![0..5usize, 300..1100usize, 2000..5000usize];
    prop_oneof![
        len.clone().prop_map(Op::ClientWrites),
        len.clone().prop_map(Op::ServerWrites),
        len.clone().prop_map(Op::ClientReads),
        len.prop_map(Op::ServerReads),
    ]
}

fn layout() -> impl Strategy<Value = Layout> {
    proptest::sample::select(vec![(10, 11), (11, 10), (11, 12), (12, 11), (12, 13)])
        .prop_map(|(left, right)| Layout::new(left, right).unwrap())
}

fn first_index() -> impl Strategy<Value = u32> {
    prop_oneof![
        Just(0),
        any::<u32>(),
        u32::MAX - 6000..=u32::MAX,
        0x7fff_f000..0x8000_1000u32
    ]
}

/// What the ring should hold: a queue with a limit.
struct Model {
    queue: VecDeque<u8>,
    size: usize,
    written: usize,
}

impl Model {
    fn new(size: u32) -> Self {
        Model {
            queue: VecDeque::new(),
            size: size as usize,
            written: 0,
        }
    }

    /// The next `len` bytes to write, and how many of them should be taken.
    fn write(&mut self, len: usize) -> (Vec<u8>, usize) {
        let data = pattern(self.written, len);
        let taken = len.min(self.size - self.queue.len());
        self.queue.extend(&data[..taken]);
        self.written += taken;
        (data, taken)
    }

    fn read(&mut self, len: usize) -> Vec<u8> {
        let taken = len.min(self.queue.len());
        self.queue.drain(..taken).collect()
    }
}

/// A task and whether it has been woken since it last ran.
struct Task {
    body: Pin<Box<dyn Future<Output = ()>>>,
    woken: Arc<Woken>,
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Task {
    fn new(body: impl Future<Output = ()> + 'static) -> Self {
        Task {
            body: Box::pin(body),
            woken: Arc::new(Woken(AtomicBool::new(true))),
        }
    }
}

/// Numbers that a test case dictates, over and over.
#[derive(Clone)]
struct Dice(Rc<[u16]>, Rc<Cell<usize>>);

impl Dice {
    fn roll(&self, sides: usize) -> usize {
        self.1.set(self.1.get() + 1);
        (usize::from(self.0[self.1.get() % self.0.len()]) + self.1.get() / self.0.len()) % sides
    }
}

/// Up to half a ring, so that a message and the one that its receiver waits for fit into the ring together.
fn message(dice: &Dice, ring: u32, left: usize) -> usize {
    (1 + dice.roll(ring as usize / 2)).min(left)
}

async fn send<R: Rendezvous>(writer: &mut Writer<R>, ring: u32, total: usize, dice: Dice) {
    let data = pattern(3, total);
    let mut at = 0;
    while at < total {
        let (all, whole) = (total - at, message(&dice, ring, total - at));
        let some = all.min(1 + dice.roll(3000));
        let rest = &data[at..];
        at += match dice.roll(8) {
            0 => {
                writer.set_policy(policy(&dice));
                0
            }
            1 => {
                writer.publish().unwrap();
                0
            }
            2 => {
                writer.send(&rest[..whole]).await.unwrap();
                whole
            }
            3 => {
                let (a, b) = rest[..whole].split_at(whole / 3);
                writer.send_vectored(&[a, b]).await.unwrap();
                whole
            }
            4 => {
                let mut reserved = writer.reserve(whole).await.unwrap();
                reserved.slice().copy_from(0, &rest[..whole]);
                // Given up at times, and then made again.
                let kept = dice.roll(2) * whole;
                reserved.commit(kept).unwrap();
                kept
            }
            5 => {
                let (a, b) = rest[..some].split_at(some / 3);
                writer.write_vectored(&[a, b]).await.unwrap()
            }
            _ => writer.write(&rest[..some]).await.unwrap(),
        };
    }
    writer.drained().await.unwrap();
}

fn policy(dice: &Dice) -> Policy {
    [Policy::Eager, Policy::Batched][dice.roll(2)]
}

async fn receive<R: Rendezvous>(mut reader: Reader<R>, ring: u32, total: usize, dice: Dice) {
    let mut got = vec![0; total];
    let mut at = 0;
    while at < total {
        let whole = message(&dice, ring, total - at);
        let end = total.min(at + 1 + dice.roll(3000));
        at += match dice.roll(8) {
            0 => {
                reader.set_policy(policy(&dice));
                0
            }
            1 => {
                // A wait that is given up must lose nothing.
                let read = now(reader.read(&mut got[at..end])).await;
                read.map_or(0, Result::unwrap)
            }
            2 => reader.recv(&mut got[at..at + whole]).await.unwrap(),
            3 => {
                let lent = reader.peek(whole).await.unwrap();
                let taken = whole - dice.roll(whole);
                lent.slice().copy_to(0, &mut got[at..at + taken]);
                lent.consume(taken);
                taken
            }
            4 => {
                let (a, b) = got[at..end].split_at_mut((end - at) / 3);
                reader.read_vectored(&mut [a, b]).await.unwrap()
            }
            _ => reader.read(&mut got[at..end]).await.unwrap(),
        };
    }
    assert!(got == pattern(3, total));
    // The end comes once both writers know that their bytes were read.
    assert_eq!(reader.read(&mut [0; 1]).await, Ok(0));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    // R7, R22 of FAULTS.md.
    #[test]
    fn rings_behave_as_bounded_queues(
        layout in layout(),
        first_index in first_index(),
        ops in proptest::collection::vec(op(), 1..80),
    ) {
        let host = Host::new();
        let meeting = host.meeting("edge");
        let options = OfferOptions { layout, first_index, ..Default::default() };
        let (mut server, mut client) = block_on(pair(&meeting, &meeting, options));
        let mut left = Model::new(layout.left_size());
        let mut right = Model::new(layout.right_size());
        for op in ops {
            let (end, model, read, len) = match op {
                Op::ClientWrites(len) => (&mut client, &mut left, false, len),
                Op::ServerWrites(len) => (&mut server, &mut right, false, len),
                Op::ClientReads(len) => (&mut client, &mut right, true, len),
                Op::ServerReads(len) => (&mut server, &mut left, true, len),
            };
            if read {
                let mut out = vec![0; len];
                let expected = model.read(len);
                let got = end.try_read(&mut out).unwrap();
                prop_assert_eq!(got.unwrap_or(0), expected.len());
                prop_assert!(out[..expected.len()] == expected[..]);
            } else {
                let (data, taken) = model.write(len);
                prop_assert_eq!(end.try_write(&data), Ok(taken));
            }
        }
        drop((server, client));
        host.assert_clean();
    }

    // R25 of FAULTS.md.
    #[test]
    fn nobody_sleeps_for_ever(
        layout in layout(),
        first_index in first_index(),
        totals in (0..12_000usize, 0..12_000usize),
        numbers in proptest::collection::vec(any::<u16>(), 1..200),
    ) {
        let host = Host::new();
        let meeting = host.meeting("edge");
        let options = OfferOptions { layout, first_index, ..Default::default() };
        let (server, client) = block_on(pair(&meeting, &meeting, options));
        let dice = Dice(numbers.into(), Rc::default());
        let rings = (layout.left_size(), layout.right_size());
        let (server_reader, mut server_writer) = server.split();
        let (client_reader, mut client_writer) = client.split();
        let (dice_a, dice_b) = (dice.clone(), dice.clone());
        let sending = async move {
            let up = send(&mut client_writer, rings.0, totals.0, dice_a);
            let down = send(&mut server_writer, rings.1, totals.1, dice_b);
            both(up, down).await;
            server_writer.close();
        };
        let mut tasks = vec![
            Task::new(sending),
            Task::new(receive(server_reader, rings.0, totals.0, dice.clone())),
            Task::new(receive(client_reader, rings.1, totals.1, dice.clone())),
        ];
        while !tasks.is_empty() {
            let woken: Vec<usize> = (0..tasks.len())
                .filter(|&task| tasks[task].woken.0.load(Ordering::Relaxed))
                .collect();
            prop_assert!(!woken.is_empty(), "{} tasks sleep and nobody will wake them", tasks.len());
            let chosen = woken[dice.roll(woken.len())];
            let task = &mut tasks[chosen];
            task.woken.0.store(false, Ordering::Relaxed);
            let waker = Waker::from(Arc::clone(&task.woken));
            if task.body.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                drop(tasks.swap_remove(chosen));
            }
        }
        host.assert_clean();
    }
}
