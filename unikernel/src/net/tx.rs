//! Sending frames: pages from a pool, chains of slots, extra information, responses. Pure.

use alloc::vec::Vec;

use super::buffers::Buffers;
use super::netif::{
    NETIF_RSP_NULL, NETTXF_EXTRA_INFO, NETTXF_MORE_DATA, SLOTS, XEN_NETIF_EXTRA_TYPE_GSO,
    XEN_NETIF_NR_SLOTS_MIN, netif_extra_info, netif_tx_request, netif_tx_response,
};
use super::ring::{FrontRing, Violation};
use crate::memory::Shared;
use crate::xen_abi::PAGE_SIZE;

/// The longest frame: as much as the size field of its first slot can say, in slots that every back end takes.
pub const FRAME_MAX: usize = u16::MAX as usize;

const _: () = assert!(FRAME_MAX.div_ceil(PAGE_SIZE) <= XEN_NETIF_NR_SLOTS_MIN);

/// How the back end is to cut a long TCP segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segmentation {
    /// Payload of each segment.
    pub size: u16,
    /// `XEN_NETIF_GSO_TYPE_*`.
    pub gso_type: u8,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TxCounters {
    /// Frames handed to the back end.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Parts that the back end said it did not send.
    pub failed: u64,
}

/// The ring of frames to send.
#[derive(Debug)]
pub struct Transmitter {
    ring: FrontRing<12>,
    buffers: Buffers,
    /// Pages that are not with the back end.
    free: Vec<u16>,
    /// By page: whether it is with the back end.
    busy: Vec<bool>,
    /// Slots with extra information that have no answer yet.
    extras: u32,
    counters: TxCounters,
}

impl Transmitter {
    /// A ring in `page`, sending from `buffers`.
    pub fn new(page: Shared, buffers: Buffers) -> Self {
        Self::on(FrontRing::new(page), buffers)
    }

    pub(super) fn on(ring: FrontRing<12>, buffers: Buffers) -> Self {
        let pages = buffers.pages().min(SLOTS as usize) as u16;
        Self {
            ring,
            free: (0..pages).rev().collect(),
            busy: alloc::vec![false; usize::from(pages)],
            buffers,
            extras: 0,
            counters: TxCounters::default(),
        }
    }

    /// Whether a frame of `len` bytes can be sent now.
    pub fn has_room(&self, len: usize) -> bool {
        let slots = len.div_ceil(PAGE_SIZE);
        // One slot more: extra information takes no page.
        slots <= self.free.len() && slots < self.ring.free() as usize
    }

    /// Hands `frame` to the back end, which does not see it before [`Self::publish`]; `false` when there is no room for it, or
    /// it is empty or too long.
    pub fn send(&mut self, frame: &[u8], flags: u16, segmentation: Option<Segmentation>) -> bool {
        if frame.is_empty() || frame.len() > FRAME_MAX || !self.has_room(frame.len()) {
            return false;
        }
        let last = frame.len().div_ceil(PAGE_SIZE) - 1;
        for (number, part) in frame.chunks(PAGE_SIZE).enumerate() {
            let page = self.take_page();
            self.buffers.write(page, part);
            let mut request = netif_tx_request {
                gref: self.buffers.reference(page),
                offset: 0,
                flags: if number < last { NETTXF_MORE_DATA } else { 0 },
                id: page,
                size: part.len() as u16,
            };
            if number == 0 {
                request.size = frame.len() as u16;
                request.flags |= flags;
                if segmentation.is_some() {
                    request.flags |= NETTXF_EXTRA_INFO;
                }
            }
            self.ring.push(request.to_bytes());
            if let (0, Some(segmentation)) = (number, segmentation) {
                self.push_extra(segmentation);
            }
        }
        self.counters.frames += 1;
        self.counters.bytes += frame.len() as u64;
        true
    }

    fn take_page(&mut self) -> u16 {
        let page = self.free.pop().expect("room was checked");
        self.busy[usize::from(page)] = true;
        page
    }

    fn push_extra(&mut self, segmentation: Segmentation) {
        let extra = netif_extra_info {
            r#type: XEN_NETIF_EXTRA_TYPE_GSO,
            gso_size: segmentation.size,
            gso_type: segmentation.gso_type,
            ..netif_extra_info::default()
        };
        let mut slot = [0; 12];
        slot[..8].copy_from_slice(&extra.to_bytes());
        self.ring.push(slot);
        self.extras += 1;
    }

    /// Shows the back end what was sent; whether it wants an event for it.
    #[must_use = "a back end that sleeps waits for the event"]
    pub fn publish(&mut self) -> bool {
        self.ring.publish()
    }

    /// Takes back the pages of frames that are sent.
    pub fn reclaim(&mut self) -> Result<(), Violation> {
        let count = self.ring.responses()?;
        for ahead in 0..count {
            let response = netif_tx_response::from_bytes(self.ring.response(ahead));
            if response.status == NETIF_RSP_NULL {
                self.extras = self.extras.checked_sub(1).ok_or(Violation::Extra)?;
                continue;
            }
            let busy = self.busy.get_mut(usize::from(response.id));
            match busy {
                Some(busy) if *busy => *busy = false,
                _ => return Err(Violation::Id),
            }
            self.free.push(response.id);
            if response.status < 0 {
                self.counters.failed += 1;
            }
        }
        self.ring.consume(count);
        Ok(())
    }

    /// Asks for an event once half of what is with the back end is sent; whether that is so already.
    #[must_use = "who sleeps in spite of responses may sleep for ever"]
    pub fn arm(&self) -> Result<bool, Violation> {
        self.ring.arm(self.ring.in_flight() / 2)
    }

    /// What was counted.
    pub fn counters(&self) -> TxCounters {
        self.counters
    }

    /// That each page is in one place, and every slot is accounted for.
    #[cfg(any(test, fuzzing))]
    pub fn check(&self) {
        let mut free: Vec<u16> = self.free.clone();
        free.sort_unstable();
        let busy = |page: &u16| !self.busy[usize::from(*page)];
        let idle: Vec<u16> = (0..self.busy.len() as u16).filter(busy).collect();
        assert_eq!(free, idle);
        let open = (self.busy.len() - free.len()) as u32 + self.extras;
        // More in flight than open only after a violation, which ends the use of the ring.
        assert!(open <= self.ring.in_flight());
        self.ring.check();
    }
}
