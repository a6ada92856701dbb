//! Who carries the messages. A new one is one more line in [`CONTESTANTS`].

use std::hint::{black_box, spin_loop};
use std::thread;
use std::time::Instant;

use vchan_linux::local::{Folder, Meeting};
use vchan_linux::{ConnectOptions, Endpoint, Layout, Policy, block_on};

use crate::{Load, copies, folder, libxenvchan, race};

/// How large each ring is.
const RING: usize = 64 << 10;
/// What one run has shown.
pub struct Sample {
    /// Nanoseconds a message.
    pub nanos: f64,
    /// Events that both ends sent, per 1,000 messages.
    pub events: f64,
    /// Of round trips, the nanoseconds that half of them stayed below.
    pub half: Option<f64>,
}

/// How long each of the round trips of one run took.
struct Laps {
    last: Instant,
    nanos: Vec<u64>,
}

impl Laps {
    fn of(count: usize) -> Self {
        Self {
            last: Instant::now(),
            nanos: Vec::with_capacity(count),
        }
    }

    fn begin(&mut self) {
        self.last = Instant::now();
    }

    /// One is done, the next begins.
    fn lap(&mut self) {
        let now = Instant::now();
        let took = (now - self.last).as_nanos();
        self.nanos.push(took as u64);
        self.last = now;
    }

    fn half(mut self) -> Option<f64> {
        self.nanos.sort_unstable();
        let middle = self.nanos.len().checked_sub(1)? / 2;
        self.nanos.get(middle).map(|nanos| *nanos as f64)
    }
}

pub struct Contestant {
    pub name: &'static str,
    /// For programs.
    pub id: &'static str,
    /// Carries so many messages; `None` for a load that it does not carry.
    pub run: fn(Load, usize) -> Option<Sample>,
}

pub const CONTESTANTS: [Contestant; 8] = [
    Contestant {
        name: "vchan, polling",
        id: "vchan-polling",
        run: |load, count| polling(load, count, Policy::Eager),
    },
    Contestant {
        name: "vchan, polling, batched",
        id: "vchan-polling-batched",
        run: |load, count| polling(load, count, Policy::Batched),
    },
    Contestant {
        name: "vchan, blocking, batched",
        id: "vchan-stream",
        run: blocking,
    },
    Contestant {
        name: "vchan, send and recv, batched",
        id: "vchan-packet",
        run: messages,
    },
    Contestant {
        name: "vchan, reserve and peek, batched",
        id: "vchan-zerocopy",
        run: in_place,
    },
    Contestant {
        name: "libxenvchan, polling",
        id: "libxenvchan-polling",
        run: |load, count| libxenvchan::run(load, count, "poll"),
    },
    Contestant {
        name: "libxenvchan, blocking",
        id: "libxenvchan",
        run: |load, count| libxenvchan::run(load, count, "block"),
    },
    Contestant {
        name: "memcpy in, memcpy out",
        id: "memcpy",
        run: copies,
    },
];

type End = Endpoint<Meeting>;

/// Runs the sender on one end and the receiver on the other.
fn vchan(
    policy: Policy,
    count: usize,
    sender: impl FnOnce(&mut End) + Send,
    receiver: impl FnOnce(&mut End) + Send,
) -> Sample {
    let folder = folder();
    let meeting = || {
        let folder = Folder::at(&folder).expect("a folder of our own");
        Meeting::new(&folder, "bench").expect("a short name")
    };
    let layout = Layout::for_sizes(RING, RING).unwrap();
    let (mut server, mut client) = thread::scope(|scope| {
        let connecting =
            scope.spawn(|| block_on(Endpoint::connect(&meeting(), ConnectOptions::default())));
        let server = block_on(async {
            let server = Endpoint::offer(&meeting(), layout.into()).await.unwrap();
            server.connected().await.unwrap();
            server
        });
        let client = connecting.join().unwrap();
        (server, client.unwrap_or_else(|error| panic!("{error}")))
    });
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
        half: None,
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
        Load::RoundTrip(size) => {
            let mut laps = Laps::of(count);
            let sample = vchan(
                policy,
                count,
                |end| {
                    let mut message = vec![7; size];
                    laps.begin();
                    for _ in 0..count {
                        poll_write(end, &message);
                        end.writer().publish().unwrap();
                        poll_read(end, &mut message);
                        laps.lap();
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
            );
            Sample {
                half: laps.half(),
                ..sample
            }
        }
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

fn blocking(load: Load, count: usize) -> Option<Sample> {
    let (size, answered) = match load {
        Load::Stream(size) => (size, false),
        Load::RoundTrip(size) => (size, true),
    };
    let mut laps = Laps::of(count);
    let mut sender = async |end: &mut End| {
        let mut message = vec![7; size];
        laps.begin();
        for _ in 0..count {
            write_all(end, &message).await;
            if answered {
                end.writer().publish().unwrap();
                read_exactly(end, &mut message).await;
                laps.lap();
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
    let sample = vchan(
        Policy::Batched,
        count,
        |end| block_on(sender(end)),
        |end| block_on(receiver(end)),
    );
    Some(Sample {
        half: laps.half(),
        ..sample
    })
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
    let mut laps = Laps::of(count);
    let sample = vchan(
        Policy::Batched,
        count,
        |end| {
            let mut message = vec![7; size];
            laps.begin();
            for _ in 0..count {
                send(end, &message);
                if answered {
                    end.writer().publish().unwrap();
                    receive(end, &mut message);
                    laps.lap();
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
    );
    Some(Sample {
        half: laps.half(),
        ..sample
    })
}

/// The message is made in the ring and looked at there: one copy instead of two.
fn in_place(load: Load, count: usize) -> Option<Sample> {
    let Load::Stream(size) = load else {
        return None;
    };
    Some(vchan(
        Policy::Batched,
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

fn copies(load: Load, count: usize) -> Option<Sample> {
    let Load::Stream(size) = load else {
        return None;
    };
    let time = copies::run(RING, size, count);
    Some(Sample {
        nanos: time.as_nanos() as f64 / count as f64,
        events: 0.0,
        half: None,
    })
}
