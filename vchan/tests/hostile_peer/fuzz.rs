//! The bodies of the fuzz targets. Each reads its input as a list of steps, so that every input means something and a change of
//! one byte changes one step. `cargo fuzz` drives them in `vchan/fuzz`, proptest in the tests of this file's parent.

use std::cell::RefCell;
use std::rc::Rc;

use vchan::in_process::block_on;
use vchan::interface::*;
use vchan::platform::Keys;
use vchan::{ConnectOptions, Endpoint, OfferOptions, ReadError, WriteError};

use crate::attack::{Op, attack};
use crate::platform::{Hostile, Meeting, Peer, honest_offer};

/// Bytes as choices: zeros after the last one.
struct Input {
    bytes: Vec<u8>,
    at: usize,
}

impl Input {
    fn new(bytes: &[u8]) -> Self {
        let bytes = bytes.to_vec();
        Self { bytes, at: 0 }
    }

    fn byte(&mut self) -> u8 {
        self.at += 1;
        self.bytes.get(self.at - 1).copied().unwrap_or(0)
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes([self.byte(), self.byte(), self.byte(), self.byte()])
    }

    fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }
}

/// One ring as its indexes have gone, kept apart from the code under test.
#[derive(Clone, Copy)]
struct Ring {
    memory: usize,
    base: usize,
    size: u32,
    /// Where our index stands, and where the peer's.
    own: usize,
    peer: usize,
    /// What we have stored last, and what the peer has last said that it may say.
    ours: u32,
    theirs: u32,
}

impl Ring {
    fn new(location: RingLocation, size: u32, memory: usize, own: usize, peer: usize) -> Self {
        let (memory, base) = match location {
            RingLocation::InPage { offset } => (0, offset),
            RingLocation::External { .. } => (memory, 0),
        };
        Self {
            memory,
            base,
            size,
            own,
            peer,
            ours: 0,
            theirs: 0,
        }
    }

    /// A copy of so many bytes stays within the first `most` after our index.
    fn holds(&self, memory: usize, offset: usize, len: usize, most: u32) {
        assert_eq!(memory, self.memory, "the other memory");
        let position = offset.checked_sub(self.base).expect("before the ring") as u32;
        assert!(position + len as u32 <= self.size, "past the ring");
        let ahead = position.wrapping_sub(self.ours) % self.size;
        assert!(
            ahead + len as u32 <= most,
            "{len} bytes at {ahead} of {most}"
        );
    }
}

/// A peer that answers what the input says, and watches what we make of it.
struct Liar {
    answers: Input,
    role: Role,
    layout: Layout,
    /// Until then it is honest.
    joined: bool,
    /// We have met the peer: it can no longer be one that has not come.
    met: bool,
    /// It has said something that no honest peer says.
    lied: bool,
    incoming: Ring,
    outgoing: Ring,
}

impl Liar {
    fn new(answers: Input, role: Role, layout: Layout, start: u32) -> Self {
        let left = |own, peer| Ring::new(layout.left(), layout.left_size(), 1, own, peer);
        // The second memory that was made, if the left ring has one.
        let number = 1 + usize::from(layout.left_pages() > 0);
        let right = |own, peer| Ring::new(layout.right(), layout.right_size(), number, own, peer);
        let (mut incoming, mut outgoing) = match role {
            Role::Server => (left(LEFT_CONS, LEFT_PROD), right(RIGHT_PROD, RIGHT_CONS)),
            Role::Client => (right(RIGHT_CONS, RIGHT_PROD), left(LEFT_PROD, LEFT_CONS)),
        };
        for ring in [&mut incoming, &mut outgoing] {
            (ring.ours, ring.theirs) = (start, start);
        }
        Self {
            answers,
            role,
            layout,
            joined: false,
            met: role == Role::Client,
            lied: false,
            incoming,
            outgoing,
        }
    }

    /// An index that has gone some part of `room` on, or, rarely, one that cannot be.
    fn index(&mut self, last: u32, room: u32) -> u32 {
        match self.answers.byte() {
            part @ 0..0x80 => last.wrapping_add(room.wrapping_mul(u32::from(part)) / 0x7f),
            0x80..0xf0 => last,
            near @ 0xf0..0xf8 => last.wrapping_add(room).wrapping_add(u32::from(near & 7)),
            0xf8..0xfc => last.wrapping_sub(u32::from(self.answers.byte())),
            _ => self.answers.u32(),
        }
    }
}

struct Watched(Rc<RefCell<Liar>>);

impl Peer for Watched {
    fn load(&mut self, offset: usize) -> u32 {
        let this = &mut *self.0.borrow_mut();
        if !this.joined {
            // A server may have written before we came.
            if offset == this.incoming.peer {
                let part = this.answers.byte();
                let filled = this.incoming.size * u32::from(part) / 0xff;
                this.incoming.theirs = this.incoming.ours.wrapping_add(filled);
            }
            return match offset {
                LEFT_CONS..LEFT_ORDER if offset == this.incoming.peer => this.incoming.theirs,
                LEFT_CONS..LEFT_ORDER => this.incoming.ours,
                _ => honest_offer(this.layout.left_order(), this.layout.right_order())(offset),
            };
        }
        if [CLI_NOTIFY, SRV_NOTIFY].contains(&offset) {
            return u32::from(this.answers.byte());
        }
        assert!(!this.lied, "offset {offset} is loaded after a lie");
        let (live, lives) = match this.role {
            Role::Server => (CLI_LIVE, [LIVE_OPEN, LIVE_CLOSED, LIVE_WAITING]),
            Role::Client => (SRV_LIVE, [LIVE_OPEN, LIVE_CLOSED, LIVE_CLOSED]),
        };
        if offset == this.incoming.peer {
            let ring = this.incoming;
            let filled = ring.theirs.wrapping_sub(ring.ours);
            let claimed = this.index(ring.theirs, ring.size - filled);
            let fills = claimed.wrapping_sub(ring.ours);
            this.lied = fills > ring.size || fills < filled;
            if !this.lied {
                this.incoming.theirs = claimed;
            }
            return claimed;
        }
        if offset == this.outgoing.peer {
            let ring = this.outgoing;
            let unread = ring.ours.wrapping_sub(ring.theirs);
            let claimed = this.index(ring.theirs, unread);
            this.lied = ring.ours.wrapping_sub(claimed) > unread;
            if !this.lied {
                this.outgoing.theirs = claimed;
            }
            return claimed;
        }
        if offset == live {
            let said = match this.answers.byte() {
                0..0xd0 => LIVE_OPEN,
                0xd0..0xe0 => LIVE_WAITING,
                0xe0..0xf0 => LIVE_CLOSED,
                wild => wild & 0xf,
            };
            this.lied = !lives.contains(&said) || said == LIVE_WAITING && this.met;
            this.met |= said != LIVE_WAITING;
            return u32::from(said);
        }
        // The one field of our own that we look at again.
        let ring = [this.incoming, this.outgoing];
        let ours = ring
            .iter()
            .find(|ring| ring.own == offset)
            .expect("our own index")
            .ours;
        let stands = match this.answers.byte() {
            0xff => this.answers.u32(),
            _ => ours,
        };
        this.lied = stands != ours;
        stands
    }

    fn stored(&mut self, offset: usize, value: u32) {
        let this = &mut *self.0.borrow_mut();
        if !this.joined {
            return;
        }
        if offset == this.incoming.own {
            let ring = &mut this.incoming;
            let unread = ring.theirs.wrapping_sub(ring.ours);
            assert!(
                value.wrapping_sub(ring.ours) <= unread,
                "frees what never came"
            );
            ring.ours = value;
        }
        if offset == this.outgoing.own {
            assert!(!this.lied, "something is published after a lie");
            let ring = &mut this.outgoing;
            let space = ring.size - ring.ours.wrapping_sub(ring.theirs);
            assert!(
                value.wrapping_sub(ring.ours) <= space,
                "fills more than is free"
            );
            ring.ours = value;
        }
    }

    fn copied_out(&mut self, memory: usize, offset: usize, len: usize) {
        let this = self.0.borrow();
        assert!(!this.lied, "something is read after a lie");
        let ring = this.incoming;
        ring.holds(memory, offset, len, ring.theirs.wrapping_sub(ring.ours));
    }

    fn copied_in(&mut self, memory: usize, offset: usize, len: usize) {
        let this = self.0.borrow();
        assert!(!this.lied, "something is written after a lie");
        let ring = this.outgoing;
        let space = ring.size - ring.ours.wrapping_sub(ring.theirs);
        ring.holds(memory, offset, len, space);
    }

    fn bound(&mut self) -> bool {
        self.0.borrow_mut().answers.byte() < 0xe0
    }
}

/// A length that matters to a ring of this size.
fn length(input: &mut Input, size: u32) -> usize {
    let size = size as usize;
    match input.byte() {
        near @ 0..0x40 => usize::from(near & 7),
        near @ 0x40..0x60 => size / 4 + usize::from(near & 3) - 2,
        near @ 0x60..0x80 => size / 2 + usize::from(near & 3) - 2,
        near @ 0x80..0xa0 => size + usize::from(near & 3) - 2,
        near @ 0xa0..0xb0 => 2 * size + usize::from(near & 3) - 2,
        part => size * usize::from(part - 0xb0) / 0x50,
    }
}

/// Any calls on an end whose every load may return anything: no panic, no byte outside of what the peer has given, nothing
/// copied or published once it has lied, each lie told and nobody accused of one who told none, a bounded number of loads.
pub fn peer(data: &[u8]) {
    let mut input = Input::new(data);
    let setup = input.byte();
    let role = if setup & 1 == 0 {
        Role::Server
    } else {
        Role::Client
    };
    let orders = [(10, 11), (11, 10), (11, 12), (12, 11), (12, 12), (13, 12)];
    let (left, right) = orders[usize::from(setup >> 1 & 7) % orders.len()];
    let layout = Layout::new(left, right).unwrap();
    let start = if setup & 0x10 == 0 { 0 } else { input.u32() };
    // One half of the input chooses the calls, the other what they find in memory.
    let (calls, answers) =
        data[input.at.min(data.len())..].split_at(data.len().saturating_sub(input.at) / 2);
    let mut calls = Input::new(calls);
    let liar = Rc::new(RefCell::new(Liar::new(
        Input::new(answers),
        role,
        layout,
        start,
    )));
    let hostile = Hostile::new(Watched(Rc::clone(&liar)));
    hostile.wake_cost.set(u32::from(setup >> 5));
    let meeting = Meeting(Rc::clone(&hostile));
    let end = match role {
        Role::Server => {
            let options = OfferOptions {
                layout,
                first_index: start,
                ..OfferOptions::default()
            };
            block_on(Endpoint::offer(&meeting, options)).ok()
        }
        Role::Client => block_on(Endpoint::connect(&meeting, ConnectOptions::default())).ok(),
    };
    let mut end = end.unwrap();
    liar.borrow_mut().joined = true;
    let mut broken = false;
    while !calls.is_empty() {
        let choice = calls.byte();
        let polls = 1 + usize::from(choice >> 6);
        let (incoming, outgoing) = (liar.borrow().incoming.size, liar.borrow().outgoing.size);
        let op = match choice & 15 {
            0 => Op::TryRead(length(&mut calls, incoming)),
            1 => Op::TryWrite(length(&mut calls, outgoing)),
            2 => Op::Read(length(&mut calls, incoming)),
            3 => Op::Write(length(&mut calls, outgoing)),
            4 => Op::TrySend(length(&mut calls, outgoing)),
            5 => Op::TryRecv(length(&mut calls, incoming)),
            6 => Op::Send(length(&mut calls, outgoing)),
            7 => Op::Recv(length(&mut calls, incoming)),
            8 | 9 => Op::Reserve(length(&mut calls, outgoing), length(&mut calls, outgoing)),
            10 | 11 => Op::Peek(length(&mut calls, incoming), length(&mut calls, incoming)),
            12 => Op::Publish,
            13 => Op::Batch(choice & 16 != 0),
            14 => Op::Drained,
            _ => Op::Look,
        };
        attack(&mut end, op, polls, &hostile, &mut broken);
        let lied = liar.borrow().lied;
        assert!(lied || !broken, "{op:?}: an honest peer is accused");
        if lied {
            let mut byte = [0];
            let read = end.try_read(&mut byte);
            assert!(
                matches!(read, Err(ReadError::PeerCorrupt(_))),
                "{op:?}: {read:?}"
            );
            let written = end.try_write(&byte);
            assert!(
                matches!(written, Err(WriteError::PeerCorrupt(_))),
                "{op:?}: {written:?}"
            );
            assert!(hostile.take_loads().is_empty());
        }
    }
}

/// A client that meets any keys and any offer: each thing is loaded once, and what it maps is of a legal layout, each page once.
pub fn offer(data: &[u8]) {
    let mut input = Input::new(data);
    let setup = input.byte();
    let mut key = |honest: &[u8]| match input.byte() {
        // Mostly what parses, for the rest to be seen.
        0..0xc0 => honest.to_vec(),
        len => (0..len % 16).map(|_| input.byte()).collect(),
    };
    let keys = Keys {
        ring_ref: key(b"4000000000"),
        event_channel: key(b"1"),
    };
    let mut count = 0u32;
    let hostile = Hostile::new(move |offset| match (offset, input.byte()) {
        (LEFT_ORDER | RIGHT_ORDER, order @ 0..0xf0) => 9 + u32::from(order) % 13,
        (LEFT_ORDER | RIGHT_ORDER, _) => input.u32(),
        (SRV_LIVE, 0..0xf0) => u32::from(LIVE_OPEN),
        (CLI_LIVE, 0..0xe0) => u32::from(LIVE_WAITING),
        (CLI_LIVE | SRV_LIVE, live) => u32::from(live & 0xf),
        (GRANTS.., 0..0xfc) => {
            count += 1;
            count
        }
        (GRANTS.., _) => u32::from(input.byte()),
        (_, index @ 0..0xf0) => u32::from(index) << 3,
        _ => input.u32(),
    });
    *hostile.keys.borrow_mut() = keys;
    let options = ConnectOptions {
        accept_used: setup & 1 != 0,
    };
    let joined = block_on(Endpoint::connect(&Meeting(Rc::clone(&hostile)), options));
    assert!(hostile.take_loads().values().all(|&count| count == 1));
    let mut refs = hostile.refs.take();
    if let Ok(end) = &joined {
        let layout = end.layout();
        assert_eq!(refs.len(), layout.left_pages() + layout.right_pages());
    }
    let all = refs.len();
    refs.sort_unstable();
    refs.dedup();
    assert_eq!(refs.len(), all, "a page is mapped twice");
}
