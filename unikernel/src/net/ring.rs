//! The front end's side of a shared ring (`io/ring.h`): requests out, responses in, and who is to be told when. Pure.
//!
//! Our own indexes live here and are only published; what the back end writes is loaded once, checked once, and from then on
//! only our copy counts.

use core::fmt;
use core::sync::atomic::{Ordering, fence};

use super::netif::{REQ_EVENT, REQ_PROD, RING, RSP_EVENT, RSP_PROD, SLOTS};
use crate::memory::Shared;

/// What a back end did that the protocol does not allow. The interface is closed for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// More responses than there were requests, or fewer than before.
    ResponseIndex,
    /// A response to a request that was never made, or that was answered already.
    Id,
    /// A part of a frame that reaches beyond its page.
    Bounds,
    /// A frame of more parts than a back end may use.
    ChainTooLong,
    /// An answer to extra information that was not sent.
    Extra,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ResponseIndex => "rsp_prod does not fit the requests made",
            Self::Id => "a response names no open request",
            Self::Bounds => "a response reaches beyond its page",
            Self::ChainTooLong => "a frame has too many parts",
            Self::Extra => "an answer to extra information that was not sent",
        })
    }
}

impl core::error::Error for Violation {}

/// A ring of slots of `N` bytes.
#[derive(Debug)]
pub struct FrontRing<const N: usize> {
    page: Shared,
    /// Requests made.
    req_prod: u32,
    /// Requests that the back end may see.
    published: u32,
    /// Responses taken.
    rsp_cons: u32,
}

impl<const N: usize> FrontRing<N> {
    /// Initialises the ring in `page`, as only the front end does (`SHARED_RING_INIT`).
    pub fn new(page: Shared) -> Self {
        Self::starting_at(page, 0)
    }

    /// With all indexes at `index`: how the tests come near the wrap.
    pub(super) fn starting_at(page: Shared, index: u32) -> Self {
        // Relaxed, all four: nobody knows of the page until its grant stands in xenstore.
        page.store_u32(REQ_PROD, index, Ordering::Relaxed);
        page.store_u32(REQ_EVENT, index.wrapping_add(1), Ordering::Relaxed);
        page.store_u32(RSP_PROD, index, Ordering::Relaxed);
        page.store_u32(RSP_EVENT, index.wrapping_add(1), Ordering::Relaxed);
        Self {
            page,
            req_prod: index,
            published: index,
            rsp_cons: index,
        }
    }

    /// Requests that have no response yet, or whose response was not taken.
    pub fn in_flight(&self) -> u32 {
        self.req_prod.wrapping_sub(self.rsp_cons)
    }

    /// Slots for further requests.
    pub fn free(&self) -> u32 {
        SLOTS - self.in_flight()
    }

    /// The index that the next request gets.
    pub fn next_request(&self) -> u32 {
        self.req_prod
    }

    /// The index of the first response that was not taken.
    pub fn next_response(&self) -> u32 {
        self.rsp_cons
    }

    /// Makes a request, which the back end does not see before [`Self::publish`].
    ///
    /// # Panics
    /// Without a free slot: the caller counts.
    pub fn push(&mut self, request: [u8; N]) {
        assert!(self.free() > 0, "a request without a slot");
        self.page.write(Self::slot(self.req_prod), &request);
        self.req_prod = self.req_prod.wrapping_add(1);
    }

    /// Shows the back end all requests; whether it wants an event for them.
    #[must_use = "a back end that sleeps waits for the event"]
    pub fn publish(&mut self) -> bool {
        let (old, new) = (self.published, self.req_prod);
        if old == new {
            return false;
        }
        self.published = new;
        // Release: the requests before the index that shows them.
        self.page.store_u32(REQ_PROD, new, Ordering::Release);
        // SeqCst: the index before the look at req_event. The back end stores req_event before it looks at req_prod a last
        // time, so one of the two sees the other.
        fence(Ordering::SeqCst);
        // Relaxed: the fence orders it.
        let event = self.page.load_u32(REQ_EVENT, Ordering::Relaxed);
        new.wrapping_sub(event) < new.wrapping_sub(old)
    }

    /// Responses that were not taken.
    pub fn responses(&self) -> Result<u32, Violation> {
        // Acquire: the index before the responses that it shows.
        let rsp_prod = self.page.load_u32(RSP_PROD, Ordering::Acquire);
        let count = rsp_prod.wrapping_sub(self.rsp_cons);
        if count > self.published.wrapping_sub(self.rsp_cons) {
            return Err(Violation::ResponseIndex);
        }
        Ok(count)
    }

    /// A copy of the first `M` bytes of the response `ahead` of the first that was not taken.
    pub fn response<const M: usize>(&self, ahead: u32) -> [u8; M] {
        let mut copy = [0; M];
        let slot = Self::slot(self.rsp_cons.wrapping_add(ahead));
        self.page.read(slot, &mut copy);
        copy
    }

    /// Takes `count` responses, which gives their slots free.
    pub fn consume(&mut self, count: u32) {
        debug_assert!(count <= self.in_flight());
        self.rsp_cons = self.rsp_cons.wrapping_add(count);
    }

    /// Asks for an event when `count` more responses (at least one) have come; whether as many are there already, so that no
    /// event may come.
    #[must_use = "who sleeps in spite of responses may sleep for ever"]
    pub fn arm(&self, count: u32) -> Result<bool, Violation> {
        let count = count.max(1);
        let event = self.rsp_cons.wrapping_add(count);
        // Relaxed: the fence orders it.
        self.page.store_u32(RSP_EVENT, event, Ordering::Relaxed);
        // SeqCst: the wish before the last look; the back end does the two the other way round.
        fence(Ordering::SeqCst);
        Ok(self.responses()? >= count)
    }

    /// That responses were taken of requests alone that the back end could see.
    #[cfg(any(test, fuzzing))]
    pub fn check(&self) {
        let seen = self.published.wrapping_sub(self.rsp_cons);
        assert!(seen <= self.in_flight() && self.in_flight() <= SLOTS);
    }

    fn slot(index: u32) -> usize {
        RING + (index % SLOTS) as usize * N
    }
}
