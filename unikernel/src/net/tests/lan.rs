//! Two stacks on one wire that loses, repeats, reorders and corrupts, in a time of its own. A stack is polled only when it has
//! asked for it, so that a wake-up that is missing ends a test with "stalled".

use std::collections::VecDeque;
use std::rc::Rc;
use std::vec::Vec;

use smoltcp::time::{Duration, Instant};

use crate::executor::Executor;
use crate::net::config::IpConfig;
use crate::net::device::Features;
use crate::net::fake::Packet;
use crate::net::host;
pub use crate::net::host::{FULL, PLAIN};
use crate::net::stack::Stack;

/// Chances in percent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    pub loss: u64,
    pub repeat: u64,
    pub reorder: u64,
    pub corrupt: u64,
}

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }
}

pub struct Host {
    pub stack: Rc<Stack>,
    host: host::Host,
    /// On their way to it.
    arriving: VecDeque<(Instant, Packet)>,
}

pub struct Lan {
    pub hosts: [Host; 2],
    pub executor: Executor,
    pub now: Instant,
    pub faults: Faults,
    random: Random,
    pub carried: u64,
    /// What was carried, while somebody wants to know.
    pub recorded: Option<Vec<Packet>>,
}

pub fn address(host: u8) -> [u8; 4] {
    [10, 0, 0, host + 1]
}

fn host(number: u8, features: Features) -> Host {
    let [a, b, c, d] = address(number);
    let config = IpConfig::parse(&std::format!("{a}.{b}.{c}.{d}/24")).unwrap();
    let host = host::Host::new(number, config, features);
    Host {
        stack: Rc::clone(&host.stack),
        host,
        arriving: VecDeque::new(),
    }
}

impl Lan {
    pub fn new(features: Features, faults: Faults, seed: u64) -> Self {
        Self {
            hosts: [host(0, features), host(1, features)],
            executor: Executor::default(),
            now: Instant::ZERO,
            faults,
            random: Random(seed),
            carried: 0,
            recorded: None,
        }
    }

    /// Runs until `done`; panics when nothing moves any more, or after `limit` of the wire's time.
    pub fn run_until(&mut self, limit: Duration, mut done: impl FnMut() -> bool) {
        let end = self.now + limit;
        while !done() {
            if self.turn() {
                continue;
            }
            let next = self.next().expect("stalled: nobody waits for anything");
            assert!(next <= end, "no end after {limit}");
            self.now = next.max(self.now + Duration::from_micros(1));
        }
    }

    /// Lets `time` pass.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            if !self.turn() {
                let next = self.next().unwrap_or(end).min(end);
                self.now = next.max(self.now + Duration::from_micros(1));
            }
        }
    }

    /// When somebody waits for something next.
    fn next(&self) -> Option<Instant> {
        let next = self.hosts.iter().flat_map(|host| {
            let arrival = host.arriving.iter().map(|(due, _)| *due).min();
            [host.host.next, arrival].into_iter().flatten()
        });
        next.min()
    }

    /// Whether anything moved.
    fn turn(&mut self) -> bool {
        let mut moved = self.executor.run_ready();
        for number in 0..2 {
            moved |= self.deliver(number);
            moved |= self.poll(number);
        }
        moved
    }

    /// Takes a host's device away for `time`, and gives it another one.
    pub fn replug(&mut self, number: u8, features: Features, time: Duration) {
        let host = usize::from(number);
        self.hosts[host].stack.down();
        self.pass(time);
        self.hosts[host].host.attach(number, features, self.now);
    }

    /// Delivers a frame from nowhere, at once.
    pub fn inject(&mut self, to: usize, packet: &Packet) {
        self.hosts[to].host.backend.pass_on(packet);
        self.poll(to);
        self.executor.run_ready();
    }

    fn poll(&mut self, number: usize) -> bool {
        let (polled, notify) = self.hosts[number].host.poll(self.now);
        if notify {
            self.carry(number);
        }
        polled
    }

    /// The back end's turn: takes what was sent, and asks for an event before it sleeps.
    fn carry(&mut self, number: usize) {
        loop {
            let packets = self.hosts[number].host.backend.take_all();
            for packet in packets {
                self.send(1 - number, packet);
            }
            let backend = &mut self.hosts[number].host.backend;
            backend.sleep();
            if backend.tx_waiting() == 0 {
                return;
            }
        }
    }

    fn send(&mut self, to: usize, mut packet: Packet) {
        self.carried += 1;
        if let Some(recorded) = &mut self.recorded {
            recorded.push(packet.clone());
        }
        let random = &mut self.random;
        if random.percent(self.faults.loss) {
            return;
        }
        if random.percent(self.faults.corrupt) {
            let bit = random.below(packet.bytes.len() as u64 * 8) as usize;
            packet.bytes[bit / 8] ^= 1 << (bit % 8);
        }
        let copies = 1 + u32::from(random.percent(self.faults.repeat));
        for _ in 0..copies {
            let late = match random.percent(self.faults.reorder) {
                true => random.below(20_000),
                false => 0,
            };
            let due = self.now + Duration::from_micros(100 + late);
            self.hosts[to].arriving.push_back((due, packet.clone()));
        }
    }

    fn deliver(&mut self, number: usize) -> bool {
        let host = &mut self.hosts[number];
        let waiting: Vec<_> = host.arriving.drain(..).collect();
        let (due, later) = waiting
            .into_iter()
            .partition::<VecDeque<_>, _>(|(due, _)| *due <= self.now);
        host.arriving = later;
        let moved = !due.is_empty();
        for (_, packet) in due {
            // What finds no page is lost, as with a bridge's queue.
            host.host.backend.pass_on(&packet);
        }
        moved
    }
}
