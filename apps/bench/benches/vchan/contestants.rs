//! Who carries the messages. A new one is one more line in [`CONTESTANTS`].

use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicUsize, Ordering};

use vchan::in_process::block_on;
use vchan::interface::PAGE_SIZE;
use vchan::platform::SharedMemory;
use vchan::{ConnectOptions, Endpoint, Layout, Policy};

use crate::heap::{Memory, Place};
use crate::{Load, libxenvchan, race};

/// How large each ring is.
const RING: usize = 64 << 10;
/// How often a blocking end looks before it sleeps: some microseconds, as long as a sleep takes here.
const LOOKS: u32 = 1000;

/// What one run has shown.
pub struct Sample {
    /// Nanoseconds a message.
    pub nanos: f64,
    /// Events that both ends sent, per 1,000 messages.
    pub events: f64,
}

pub struct Contestant {
    pub name: &'static str,
    /// Carries so many messages; `None` for a load that it does not carry.
    pub run: fn(Load, usize) -> Option<Sample>,
}

pub const CONTESTANTS: [Contestant; 9] = [
    Contestant {
        name: "vchan, polling",
        run: |load, count| polling(load, count, Policy::Eager),
    },
    Contestant {
        name: "vchan, polling, batched",
        run: |load, count| polling(load, count, Policy::Batched),
    },
    Contestant {
        name: "vchan, blocking, batched",
        run: |load, count| blocking(load, count, 0),
    },
    Contestant {
        name: "vchan, looking, then blocking",
        run: |load, count| blocking(load, count, LOOKS),
    },
    Contestant {
        name: "vchan, send and recv, batched",
        run: messages,
    },
    Contestant {
        name: "vchan, reserve and peek, batched",
        run: in_place,
    },
    Contestant {
        name: "libxenvchan, polling",
        run: |load, count| libxenvchan::run(load, count, "poll"),
    },
    Contestant {
        name: "libxenvchan, blocking",
        run: |load, count| libxenvchan::run(load, count, "block"),
    },
    Contestant {
        name: "memcpy in, memcpy out",
        run: copies,
    },
];

type End = Endpoint<Place>;

/// Runs the sender on one end and the receiver on the other.
fn vchan(
    policy: Policy,
    looks: u32,
    count: usize,
    sender: impl FnOnce(&mut End) + Send,
    receiver: impl FnOnce(&mut End) + Send,
) -> Sample {
    let place = Place::new(looks);
    let layout = Layout::for_sizes(RING, RING).unwrap();
    let mut server = block_on(Endpoint::offer(&place, layout.into())).unwrap();
    let mut client = block_on(Endpoint::connect(&place, ConnectOptions::default())).unwrap();
    server.set_policy(policy);
    client.set_policy(policy);
    let stats = [server.stats(), client.stats()];
    let sent = || {
        stats
            .iter()
            .map(|stats| stats.counters().events_sent)
            .sum::<u64>()
    };
    let before = sent();
    let mut events = 0;
    let time = race(
        || {
            sender(&mut client);
            client
        },
        || {
            receiver(&mut server);
            events = sent() - before;
            server
        },
    );
    Sample {
        nanos: time.as_nanos() as f64 / count as f64,
        events: events as f64 * 1000.0 / count as f64,
    }
}

fn poll_write(end: &mut End, mut data: &[u8]) {
    while !data.is_empty() {
        match end.try_write(data).unwrap() {
            0 => spin_loop(),
            written => data = &data[written..],
        }
    }
}

fn poll_read(end: &mut End, mut out: &mut [u8]) {
    while !out.is_empty() {
        match end.try_read(out).unwrap() {
            None => spin_loop(),
            Some(read) => out = &mut out[read..],
        }
    }
}

fn polling(load: Load, count: usize, policy: Policy) -> Option<Sample> {
    Some(match load {
        Load::Stream(size) => vchan(
            policy,
            0,
            count,
            |end| {
                let message = vec![7; size];
                for _ in 0..count {
                    poll_write(end, &message);
                }
                end.writer().publish().unwrap();
            },
            |end| {
                let mut message = vec![0; size];
                for _ in 0..count {
                    poll_read(end, &mut message);
                    black_box(&message);
                }
            },
        ),
        Load::RoundTrip(size) => vchan(
            policy,
            0,
            count,
            |end| {
                let mut message = vec![7; size];
                for _ in 0..count {
                    poll_write(end, &message);
                    end.writer().publish().unwrap();
                    poll_read(end, &mut message);
                }
            },
            |end| {
                let mut message = vec![0; size];
                for _ in 0..count {
                    poll_read(end, &mut message);
                    poll_write(end, &message);
                    end.writer().publish().unwrap();
                }
            },
        ),
    })
}

async fn write_all(end: &mut End, mut data: &[u8]) {
    while !data.is_empty() {
        let written = end.writer().write(data).await.unwrap();
        data = &data[written..];
    }
}

async fn read_exactly(end: &mut End, mut out: &mut [u8]) {
    while !out.is_empty() {
        let read = end.reader().read(out).await.unwrap();
        out = &mut out[read..];
    }
}

fn blocking(load: Load, count: usize, looks: u32) -> Option<Sample> {
    let (size, answered) = match load {
        Load::Stream(size) => (size, false),
        Load::RoundTrip(size) => (size, true),
    };
    let sender = async |end: &mut End| {
        let mut message = vec![7; size];
        for _ in 0..count {
            write_all(end, &message).await;
            if answered {
                end.writer().publish().unwrap();
                read_exactly(end, &mut message).await;
            }
        }
        end.writer().publish().unwrap();
    };
    let receiver = async |end: &mut End| {
        let mut message = vec![0; size];
        for _ in 0..count {
            read_exactly(end, &mut message).await;
            if answered {
                write_all(end, &message).await;
                end.writer().publish().unwrap();
            }
        }
    };
    Some(vchan(
        Policy::Batched,
        looks,
        count,
        |end| block_on(sender(end)),
        |end| block_on(receiver(end)),
    ))
}

fn messages(load: Load, count: usize) -> Option<Sample> {
    let (size, answered) = match load {
        Load::Stream(size) => (size, false),
        Load::RoundTrip(size) => (size, true),
    };
    let send = |end: &mut End, message: &[u8]| {
        while !end.writer().try_send(message).unwrap() {
            spin_loop();
        }
    };
    let receive = |end: &mut End, message: &mut [u8]| {
        while end.reader().try_recv(message).unwrap().is_none() {
            spin_loop();
        }
    };
    Some(vchan(
        Policy::Batched,
        0,
        count,
        |end| {
            let mut message = vec![7; size];
            for _ in 0..count {
                send(end, &message);
                if answered {
                    end.writer().publish().unwrap();
                    receive(end, &mut message);
                }
            }
            end.writer().publish().unwrap();
        },
        |end| {
            let mut message = vec![0; size];
            for _ in 0..count {
                receive(end, &mut message);
                black_box(&message);
                if answered {
                    send(end, &message);
                    end.writer().publish().unwrap();
                }
            }
        },
    ))
}

/// The message is made in the ring and looked at there: one copy instead of two.
fn in_place(load: Load, count: usize) -> Option<Sample> {
    let Load::Stream(size) = load else {
        return None;
    };
    Some(vchan(
        Policy::Batched,
        0,
        count,
        |end| {
            let message = vec![7; size];
            let mut sent = 0;
            while sent < count {
                let Some(mut reserved) = end.writer().try_reserve(size).unwrap() else {
                    spin_loop();
                    continue;
                };
                reserved.slice().copy_from(0, &message);
                reserved.commit(size).unwrap();
                sent += 1;
            }
            end.writer().publish().unwrap();
        },
        |end| {
            let mut got = 0;
            while got < count {
                let Some(lent) = end.reader().try_peek(size).unwrap() else {
                    spin_loop();
                    continue;
                };
                black_box(lent.slice().load_u32(size - 4));
                lent.consume(size);
                got += 1;
            }
        },
    ))
}

/// A counter in a cache line of its own, and the neighbour that is fetched along with it.
#[repr(align(128))]
struct Counter(AtomicUsize);

/// What any channel that copies twice can reach: blocks of as much memory as the ring has, handed over by two counters.
fn copies(load: Load, count: usize) -> Option<Sample> {
    let Load::Stream(size) = load else {
        return None;
    };
    let blocks = (RING / size).max(2);
    let memory = Memory::of((blocks * size).div_ceil(PAGE_SIZE));
    let counter = || Counter(AtomicUsize::new(0));
    let (filled, emptied) = (counter(), counter());
    let time = race(
        || {
            let block = vec![7; size];
            let mut free = blocks;
            for number in 0..count {
                while number == free {
                    spin_loop();
                    free = emptied.0.load(Ordering::Acquire) + blocks;
                }
                memory.write(number % blocks * size, &block);
                filled.0.store(number + 1, Ordering::Release);
            }
        },
        || {
            let mut block = vec![0; size];
            let mut ready = 0;
            for number in 0..count {
                while number == ready {
                    spin_loop();
                    ready = filled.0.load(Ordering::Acquire);
                }
                memory.read(number % blocks * size, &mut block);
                black_box(&block);
                emptied.0.store(number + 1, Ordering::Release);
            }
        },
    );
    Some(Sample {
        nanos: time.as_nanos() as f64 / count as f64,
        events: 0.0,
    })
}
