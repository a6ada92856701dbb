//! Receiving frames: pages that wait with the back end, chains of slots, extra information. Pure.

use super::buffers::Buffers;
use super::netif::{
    NETRXF_CSUM_BLANK, NETRXF_DATA_VALIDATED, NETRXF_EXTRA_INFO, NETRXF_MORE_DATA, SLOTS,
    XEN_NETIF_EXTRA_FLAG_MORE, netif_extra_info, netif_rx_request, netif_rx_response,
};
use super::ring::{FrontRing, Violation};
use crate::memory::Shared;
use crate::xen_abi::PAGE_SIZE;

/// The most slots of one frame, extra information included: Linux uses 19.
const CHAIN_MAX: u32 = 24;

/// The fewest pages to receive into: a frame of 64 KiB takes 17, and one that breaks the limit has to be seen.
pub const PAGES_MIN: usize = 32;

const _: () = assert!(PAGES_MIN > CHAIN_MAX as usize);

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RxCounters {
    /// Frames that came.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Frames that the back end marked as failed.
    pub failed: u64,
    /// Frames that were empty or longer than what they are received into.
    pub misfits: u64,
}

/// A frame that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its length.
    pub len: usize,
    /// Its checksum need not be verified, and cannot be if it never left the host.
    pub vouched: bool,
}

/// One part of a frame, checked.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    page: u16,
    offset: u16,
    len: u16,
}

/// A frame as its slots tell, checked.
struct Chain {
    slots: u32,
    parts: [Part; CHAIN_MAX as usize],
    count: usize,
    flags: u16,
    failed: bool,
}

/// The ring of frames that come.
#[derive(Debug)]
pub struct Receiver {
    ring: FrontRing<8>,
    buffers: Buffers,
    /// By slot: the page that waits there.
    posted: [u16; SLOTS as usize],
    counters: RxCounters,
}

impl Receiver {
    /// A ring in `page`, receiving into `buffers`, all of which wait with the back end after [`Self::publish`].
    pub fn new(page: Shared, buffers: Buffers) -> Self {
        Self::on(FrontRing::new(page), buffers)
    }

    pub(super) fn on(ring: FrontRing<8>, buffers: Buffers) -> Self {
        let pages = buffers.pages().min(SLOTS as usize) as u16;
        let mut receiver = Self {
            ring,
            buffers,
            posted: [0; SLOTS as usize],
            counters: RxCounters::default(),
        };
        (0..pages).for_each(|page| receiver.post(page));
        receiver
    }

    fn post(&mut self, page: u16) {
        let id = (self.ring.next_request() % SLOTS) as u16;
        self.posted[usize::from(id)] = page;
        let request = netif_rx_request {
            id,
            pad: 0,
            gref: self.buffers.reference(page),
        };
        self.ring.push(request.to_bytes());
    }

    /// Shows the back end the pages that wait; whether it wants an event for them.
    #[must_use = "a back end that sleeps waits for the event"]
    pub fn publish(&mut self) -> bool {
        self.ring.publish()
    }

    /// Copies the next frame to the start of `out`, and has its pages wait again; `None` when there is none. Frames that the
    /// back end gave up, or that do not fit in `out`, are counted and passed over.
    pub fn receive(&mut self, out: &mut [u8]) -> Result<Option<Received>, Violation> {
        while let Some(chain) = self.next_chain()? {
            let received = self.copy(&chain, out);
            self.repost(&chain);
            if received.is_some() {
                return Ok(received);
            }
        }
        Ok(None)
    }

    /// The slots of the next frame, each loaded once; `None` as long as its last one has not come.
    fn next_chain(&self) -> Result<Option<Chain>, Violation> {
        let available = self.ring.responses()?;
        let mut chain = Chain {
            slots: 0,
            parts: [Part::default(); CHAIN_MAX as usize],
            count: 0,
            flags: 0,
            failed: false,
        };
        let mut more = true;
        while more {
            if chain.slots == available {
                return Ok(None);
            }
            let (part, response) = self.part(chain.slots)?;
            chain.slots += 1;
            match part {
                Some(part) => {
                    *chain
                        .parts
                        .get_mut(chain.count)
                        .ok_or(Violation::ChainTooLong)? = part;
                    chain.count += 1;
                }
                None => chain.failed = true,
            }
            more = response.flags & NETRXF_MORE_DATA != 0;
            if chain.slots == 1 {
                chain.flags = response.flags;
                if response.flags & NETRXF_EXTRA_INFO != 0
                    && !self.skip_extras(&mut chain, available)?
                {
                    return Ok(None);
                }
            }
            if chain.slots >= CHAIN_MAX {
                return Err(Violation::ChainTooLong);
            }
        }
        Ok(Some(chain))
    }

    /// Passes over extra information: how a frame was put together matters to who sends it on, and we do not. `false` when it
    /// has not come as a whole.
    fn skip_extras(&self, chain: &mut Chain, available: u32) -> Result<bool, Violation> {
        while chain.slots < available {
            let extra = netif_extra_info::from_bytes(self.ring.response(chain.slots));
            chain.slots += 1;
            if extra.flags & XEN_NETIF_EXTRA_FLAG_MORE == 0 {
                return Ok(true);
            }
            if chain.slots >= CHAIN_MAX {
                return Err(Violation::ChainTooLong);
            }
        }
        Ok(false)
    }

    /// The response `ahead`, and where its bytes are; `None` for one that says that it failed.
    fn part(&self, ahead: u32) -> Result<(Option<Part>, netif_rx_response), Violation> {
        let response = netif_rx_response::from_bytes(self.ring.response(ahead));
        let slot = self.ring.next_response().wrapping_add(ahead) % SLOTS;
        // Responses come in the order of the requests, so the slot says which page it is, and the id has to agree.
        if u32::from(response.id) != slot {
            return Err(Violation::Id);
        }
        let Ok(len) = u16::try_from(response.status) else {
            return Ok((None, response));
        };
        if usize::from(response.offset) + usize::from(len) > PAGE_SIZE {
            return Err(Violation::Bounds);
        }
        let part = Part {
            page: self.posted[slot as usize],
            offset: response.offset,
            len,
        };
        Ok((Some(part), response))
    }

    fn copy(&mut self, chain: &Chain, out: &mut [u8]) -> Option<Received> {
        if chain.failed {
            self.counters.failed += 1;
            return None;
        }
        let parts = &chain.parts[..chain.count];
        let len = parts.iter().map(|part| usize::from(part.len)).sum();
        if len == 0 || len > out.len() {
            self.counters.misfits += 1;
            return None;
        }
        let mut rest = out;
        for part in parts {
            let (here, after) = rest.split_at_mut(usize::from(part.len));
            self.buffers.read(part.page, part.offset, here);
            rest = after;
        }
        self.counters.frames += 1;
        self.counters.bytes += len as u64;
        Some(Received {
            len,
            vouched: chain.flags & (NETRXF_DATA_VALIDATED | NETRXF_CSUM_BLANK) != 0,
        })
    }

    /// Takes the frame's responses and has their pages wait again, those under extra information too.
    fn repost(&mut self, chain: &Chain) {
        let first = self.ring.next_response();
        self.ring.consume(chain.slots);
        for slot in 0..chain.slots {
            let page = self.posted[(first.wrapping_add(slot) % SLOTS) as usize];
            self.post(page);
        }
    }

    /// Asks for an event when a frame comes; whether one is there already.
    #[must_use = "who sleeps in spite of responses may sleep for ever"]
    pub fn arm(&self) -> Result<bool, Violation> {
        // Counted before the look: what comes during it is news.
        let seen = self.ring.responses()?;
        if self.next_chain()?.is_some() {
            return Ok(true);
        }
        // Of a frame that has come in part, the rest is the news.
        self.ring.arm(seen + 1)
    }

    /// What was counted.
    pub fn counters(&self) -> RxCounters {
        self.counters
    }

    /// That every page waits, once.
    #[cfg(any(test, fuzzing))]
    pub fn check(&self) {
        let first = self.ring.next_response();
        let slot = |ahead| (first.wrapping_add(ahead) % SLOTS) as usize;
        let waiting = (0..self.ring.in_flight()).map(|ahead| self.posted[slot(ahead)]);
        let mut waiting: alloc::vec::Vec<u16> = waiting.collect();
        waiting.sort_unstable();
        assert!(waiting.into_iter().eq(0..self.buffers.pages() as u16));
        self.ring.check();
    }
}
