//! One stack over one back end, in a time of its own, for the tests. It is polled only when it has asked for it.

extern crate std;

use std::collections::VecDeque;
use std::rc::Rc;
use std::vec::Vec;

use smoltcp::time::{Duration, Instant};

use super::config::IpConfig;
use super::crafted::OUR_MAC;
use super::device::{Features, NetDevice};
use super::fake::{Backend, Packet, connected};
use super::netif::{NETRXF_CSUM_BLANK, NETTXF_CSUM_BLANK};
use super::offload::{self, ChecksumOffload};
use super::stack::Stack;
use crate::executor::Executor;
use crate::xen_abi::PAGE_SIZE;

/// A back end that does nothing for us.
pub const PLAIN: Features = Features {
    sg: true,
    checksum: ChecksumOffload {
        ipv4: false,
        ipv6: false,
    },
    gso_tcpv4: false,
};

/// Linux's.
pub const FULL: Features = Features {
    sg: true,
    checksum: ChecksumOffload {
        ipv4: true,
        ipv6: true,
    },
    gso_tcpv4: true,
};

const MTU: u16 = 1500;
/// Polls at one moment before a host is said never to rest.
const ROUNDS_MAX: usize = 10_000;

/// A stack and the back end of its device.
pub struct Host {
    /// The stack.
    pub stack: Rc<Stack>,
    /// What is behind its device.
    pub backend: Backend,
    /// When it asked to be polled.
    pub next: Option<Instant>,
    seen_events: u32,
}

impl Host {
    /// A host with hardware address 2:0:0:0:0:`number`.
    pub fn new(number: u8, config: IpConfig, features: Features) -> Self {
        let stack = Stack::new(config, 50_000);
        let backend = attach(&stack, number, features, Instant::ZERO);
        Self {
            stack,
            backend,
            next: None,
            seen_events: 0,
        }
    }

    /// Gives it another device.
    #[cfg(test)]
    pub fn attach(&mut self, number: u8, features: Features, now: Instant) {
        self.backend = attach(&self.stack, number, features, now);
        self.seen_events = 0;
    }

    /// Polls the stack if it asked for it; whether it did, and whether the back end wants an event.
    pub fn poll(&mut self, now: Instant) -> (bool, bool) {
        let due = self.next.is_some_and(|next| next <= now);
        let event = self.backend.events != self.seen_events;
        if !(due || event || self.stack.is_kicked()) {
            return (false, false);
        }
        self.seen_events = self.backend.events;
        let outcome = self.stack.poll(now);
        self.next = if outcome.again {
            Some(now)
        } else {
            outcome.next
        };
        (true, outcome.notify)
    }
}

/// Gives a stack a device; what is behind it.
fn attach(stack: &Stack, number: u8, features: Features, now: Instant) -> Backend {
    let (backend, tx, rx) = connected(64, u32::MAX - 1000);
    let device = NetDevice::new(tx, rx, features, MTU);
    let seed = u64::from(number) + 7;
    let [a, b, c, d, e, _] = OUR_MAC;
    stack.up(device, [a, b, c, d, e, number], seed, now);
    backend
}

/// One host alone with frames made by hand.
pub struct Alone {
    /// The host.
    pub host: Host,
    /// Runs its tasks.
    pub executor: Executor,
    /// Its time.
    pub now: Instant,
    /// What it has sent and nobody has taken.
    pub sent: Vec<Packet>,
}

impl Alone {
    /// A host with the parameter `ip=` as given.
    pub fn new(config: &str, features: Features) -> Self {
        let config = IpConfig::parse(config).expect("a configuration");
        let mut alone = Self {
            host: Host::new(0, config, features),
            executor: Executor::default(),
            now: Instant::ZERO,
            sent: Vec::new(),
        };
        alone.settle();
        alone
    }

    /// Delivers a frame and lets the host deal with it; what it sends then.
    pub fn give(&mut self, frame: &[u8]) -> Vec<Packet> {
        self.deliver(frame, 0);
        core::mem::take(&mut self.sent)
    }

    /// The same for a frame that never left the machine: nobody looks at its checksum.
    pub fn give_blank(&mut self, frame: &[u8]) -> Vec<Packet> {
        self.deliver(frame, NETRXF_CSUM_BLANK);
        core::mem::take(&mut self.sent)
    }

    fn deliver(&mut self, frame: &[u8], flags: u16) {
        let backend = &mut self.host.backend;
        let taken = backend.deliver(frame, PAGE_SIZE, 0, flags, false);
        assert!(taken, "no page waits for a frame");
        backend.publish_rx();
        self.settle();
    }

    /// Runs tasks and stack until both rest at this moment.
    ///
    /// # Panics
    /// If they never do, or a frame is sent that no back end would take.
    pub fn settle(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let ran = self.executor.run_ready();
            let (polled, _) = self.host.poll(self.now);
            for packet in self.host.backend.take_all() {
                check(&packet);
                self.sent.push(packet);
            }
            self.host.backend.sleep();
            if !ran && !polled {
                return;
            }
        }
        panic!("the host never rests");
    }

    /// Lets `time` pass; what the host sends meanwhile.
    pub fn pass(&mut self, time: Duration) -> Vec<Packet> {
        let mut sent = Vec::new();
        self.pass_with(time, |packet| {
            sent.push(packet.clone());
            None
        });
        sent
    }

    /// Lets `time` pass; the neighbour gives its answer to each frame that is sent, a little later.
    ///
    /// # Panics
    /// If the host, with nothing coming, asks to be polled more often than twenty times a second on the whole.
    pub fn pass_with(
        &mut self,
        time: Duration,
        mut answer: impl FnMut(&Packet) -> Option<Vec<u8>>,
    ) {
        const LATENCY: Duration = Duration::from_millis(1);
        let end = self.now + time;
        let mut polls = 200 + time.total_millis() / 50;
        let mut arriving = VecDeque::new();
        self.settle();
        loop {
            let answers = self.sent.drain(..).filter_map(|packet| answer(&packet));
            arriving.extend(answers.map(|frame| (self.now + LATENCY, frame)));
            if self.now >= end {
                return;
            }
            let arrival = arriving.front().map(|(due, _)| *due);
            let next = self.host.next.into_iter().chain(arrival).min();
            let next = next.unwrap_or(end).min(end);
            self.now = next.max(self.now + Duration::from_micros(1));
            if arrival.is_none_or(|arrival| self.now < arrival) {
                polls = polls.checked_sub(1).expect("a host that waits is not busy");
            }
            while let Some((_, frame)) = arriving.pop_front_if(|(due, _)| *due <= self.now) {
                self.deliver(&frame, 0);
            }
            self.settle();
        }
    }
}

/// What is sent has a right checksum, or one that the back end was told to fill in, and fits the wire, or the back end was told
/// how to cut it.
fn check(packet: &Packet) {
    let blank = packet.flags & NETTXF_CSUM_BLANK != 0;
    assert!(blank || offload::verify(&packet.bytes), "{packet:?}");
    let fits = packet.bytes.len() <= usize::from(MTU) + 14;
    assert!(fits || packet.segmentation.is_some(), "{packet:?}");
}
