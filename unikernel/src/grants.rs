//! Grant table, version 1 (`public/grant_table.h`): pages offered to other domains, and pages of theirs mapped here.
#![expect(unsafe_code, reason = "grants")]

use alloc::collections::TryReserveError;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::Ordering;

use spin::Mutex;

use self::quarantine::{Offered, Quarantine};
use crate::hypercall::{self, XenErrno};
use crate::memory::{Frames, Mfn, NoMemory, Pages, Shared, machine};
use crate::xen_abi::{
    GNTMAP_HOST_MAP, GNTMAP_READONLY, GNTST_EAGAIN, GNTST_OKAY, GNTTAB_NR_RESERVED_ENTRIES,
    GRANT_ENTRIES_PER_FRAME, GTF_PERMIT_ACCESS, GTF_READING, GTF_READONLY, GTF_WRITING, PAGE_SIZE,
    gnttab_map_grant_ref, gnttab_unmap_grant_ref,
};

mod quarantine;

/// Xen's default limit for a domain's table; `max_grant_frames` in the domain's config may set a lower one.
const FRAMES_MAX: usize = 64;

/// Why a page could not be granted or mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantError {
    /// The table is full, and Xen grants no further frame for it: raise `max_grant_frames`.
    TableFull,
    /// No memory or addresses for the pages.
    Memory(NoMemory),
    /// Xen refused the call as a whole.
    Xen(XenErrno),
    /// Xen refused to map a page of the peer: a `GNTST_*` status.
    Peer(i16),
}

impl From<NoMemory> for GrantError {
    fn from(error: NoMemory) -> Self {
        Self::Memory(error)
    }
}

impl From<TryReserveError> for GrantError {
    fn from(_: TryReserveError) -> Self {
        Self::Memory(NoMemory::Heap)
    }
}

impl From<XenErrno> for GrantError {
    fn from(error: XenErrno) -> Self {
        Self::Xen(error)
    }
}

impl fmt::Display for GrantError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TableFull => f.write_str(
                "out of grant references; raise max_grant_frames= in the domain's config",
            ),
            Self::Memory(error) => error.fmt(f),
            Self::Xen(error) => write!(f, "grant table: {error}"),
            Self::Peer(status) => {
                let name = match status {
                    -2 => "unknown domain",
                    -3 => "no such grant reference",
                    -5 => "bad virtual address",
                    -8 => "permission denied",
                    -9 => "the page may not be mapped",
                    -12 => "the page is paged out",
                    _ => "refused",
                };
                write!(
                    f,
                    "the peer's page could not be mapped: {name} (GNTST {status})"
                )
            }
        }
    }
}

impl core::error::Error for GrantError {}

/// Which references are free. Pure.
#[derive(Debug, Default)]
struct References {
    free: Vec<u32>,
    entries: u32,
}

impl References {
    /// Makes room for another frame's worth of references. Room for all that there are: to give one back needs no memory.
    fn reserve_frame(&mut self) -> Result<(), TryReserveError> {
        let all = (self.entries + GRANT_ENTRIES_PER_FRAME) as usize;
        self.free
            .try_reserve_exact(all.saturating_sub(self.free.len()))
    }

    /// Adds a frame's worth of references; those kept for the toolstack stay out.
    fn add_frame(&mut self) {
        let first = self.entries;
        self.entries += GRANT_ENTRIES_PER_FRAME;
        let usable = first.max(GNTTAB_NR_RESERVED_ENTRIES)..self.entries;
        self.free.extend(usable.rev());
    }

    fn frames(&self) -> usize {
        (self.entries / GRANT_ENTRIES_PER_FRAME) as usize
    }
}

struct Table {
    frames: Vec<Shared>,
    references: References,
    quarantine: Quarantine<Frames>,
}

static TABLE: Mutex<Table> = Mutex::new(Table {
    frames: Vec::new(),
    references: References {
        free: Vec::new(),
        entries: 0,
    },
    quarantine: Quarantine::new(),
});

impl Table {
    /// Has the references for `count` more pages.
    fn reserve(&mut self, count: usize) -> Result<(), GrantError> {
        while self.references.free.len() < count {
            let frames = self.references.frames() + 1;
            if frames > FRAMES_MAX {
                return Err(GrantError::TableFull);
            }
            self.references.reserve_frame()?;
            self.frames.try_reserve(1)?;
            let mut mfns = [0; FRAMES_MAX];
            let (mfns, _) = mfns.split_at_mut(frames);
            if hypercall::gnttab_setup_table(mfns)? != GNTST_OKAY {
                return Err(GrantError::TableFull);
            }
            let [.., newest] = mfns else {
                return Err(GrantError::TableFull);
            };
            self.frames.push(machine().map_xen_frame(Mfn(*newest))?);
            self.references.add_frame();
        }
        Ok(())
    }

    fn permit(&self, reference: u32, peer: u16, mfn: Mfn, flags: u16) {
        let (frame, entry) = entry(&self.frames, reference);
        frame.store_u16(entry + 2, peer, Ordering::Relaxed);
        // Version 1 entries hold 32 bits: 16 TiB of machine memory.
        frame.store_u32(entry + 4, mfn.0 as u32, Ordering::Relaxed);
        // Release: who and which before the flags make it valid for Xen.
        frame.store_u16(entry, GTF_PERMIT_ACCESS | flags, Ordering::Release);
    }
}

/// The frame of a reference, and the byte offset of its entry.
fn entry(frames: &[Shared], reference: u32) -> (&Shared, usize) {
    let frame = &frames[(reference / GRANT_ENTRIES_PER_FRAME) as usize];
    (frame, (reference % GRANT_ENTRIES_PER_FRAME) as usize * 8)
}

/// Makes the entry invalid and its reference free; `false` while the peer has the page mapped.
fn end_and_free(frames: &[Shared], references: &mut References, reference: u32) -> bool {
    let done = end(frames, reference);
    if done {
        references.free.push(reference);
    }
    done
}

/// Makes the entry invalid; `false` while the peer has the page mapped.
fn end(frames: &[Shared], reference: u32) -> bool {
    let (frame, entry) = entry(frames, reference);
    loop {
        let flags = frame.load_u16(entry, Ordering::Relaxed);
        if flags & (GTF_READING | GTF_WRITING) != 0 {
            return false;
        }
        // AcqRel: the peer's last writes to the page come before anything we do with it next; Xen may set its bits at any
        // moment, hence the comparison.
        if frame
            .compare_exchange_u16(entry, flags, 0, Ordering::AcqRel)
            .is_ok()
        {
            return true;
        }
    }
}

/// Pages granted to a peer. Dropping it ends the grants; pages that the peer still maps then are kept from any other use until it
/// lets go.
pub struct Granted {
    // An option, so that drop can hand it on.
    offered: Option<Offered<Frames>>,
    shared: Shared,
    /// The peer may not write.
    read_only: bool,
}

impl Granted {
    /// Grants `count` fresh, zeroed pages in a row to domain `peer`, for reading and writing.
    pub fn new(peer: u16, count: usize) -> Result<Self, GrantError> {
        Self::with(peer, count, false)
    }

    /// The same, for reading only. Xen lets the peer map them for nothing else.
    pub fn read_only(peer: u16, count: usize) -> Result<Self, GrantError> {
        Self::with(peer, count, true)
    }

    fn with(peer: u16, count: usize, read_only: bool) -> Result<Self, GrantError> {
        let flags = if read_only { GTF_READONLY } else { 0 };
        release_quarantined();
        let pages = machine().frames(count)?;
        let mut references = Vec::new();
        references.try_reserve_exact(count)?;
        let mut table = TABLE.lock();
        table.reserve(count)?;
        table.quarantine.reserve()?;
        let at = table.references.free.len() - count;
        references.extend(table.references.free.drain(at..));
        for (&reference, mfn) in references.iter().zip(pages.mfns()) {
            table.permit(reference, peer, mfn, flags);
        }
        Ok(Self {
            shared: pages.shared(),
            offered: Some(Offered::new(peer, pages, references)),
            read_only,
        })
    }

    /// The memory.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The memory as plain bytes, if the peer may only read it. A copy of the view of such pages must not be used meanwhile, so
    /// this is for the one place that grants them, `crate::vchan`, whose copy lies beside the pages, behind the same borrow.
    pub(crate) fn plain(&mut self) -> Option<&mut [u8]> {
        if !self.read_only {
            return None;
        }
        // SAFETY: the pages are ours and mapped, zeroed at first, as long as this value lives; Xen keeps the peer from writing
        // them, and the exclusive borrow keeps away every view of them.
        Some(unsafe { core::slice::from_raw_parts_mut(self.shared.start(), self.shared.len()) })
    }

    /// The reference of page `page`; 0, which is none, beyond the last.
    pub fn reference(&self, page: usize) -> u32 {
        self.offered
            .as_ref()
            .and_then(|offered| offered.references.get(page))
            .copied()
            .unwrap_or(0)
    }
}

impl Drop for Granted {
    fn drop(&mut self) {
        let Some(offered) = self.offered.take() else {
            return;
        };
        let Table {
            frames,
            references,
            quarantine,
        } = &mut *TABLE.lock();
        quarantine.give_up(offered, |reference| {
            end_and_free(frames, references, reference)
        });
    }
}

/// Tries again to end what peers still mapped; how many pages they still do. A peer that goes on mapping them is told of once.
pub fn release_quarantined() -> usize {
    let (alarm, left) = {
        let Table {
            frames,
            references,
            quarantine,
        } = &mut *TABLE.lock();
        let alarm = quarantine.retry(
            |reference| end_and_free(frames, references, reference),
            Frames::count,
        );
        (alarm, quarantine.kept().map(Frames::count).sum())
    };
    if let Some(alarm) = alarm {
        log::warn!(
            "domain {} still maps {} pages that were given up; they stay out of use until it lets go or ends",
            alarm.peer,
            alarm.pages
        );
    }
    left
}

/// How many times a peer still mapped pages when they were given up.
pub fn quarantined_ever() -> u64 {
    TABLE.lock().quarantine.ever()
}

/// Pages of a peer, mapped in a row. Unmapped when dropped.
pub struct Mapped {
    pages: Pages,
    /// Xen's handles for the pages that are mapped, from the first one on.
    handles: Vec<u32>,
    shared: Shared,
}

impl Mapped {
    /// Maps `references` of domain `peer`, in this order. On an error nothing stays mapped.
    pub fn new(peer: u16, references: &[u32], writable: bool) -> Result<Self, GrantError> {
        let pages = machine().window(references.len())?;
        let mut handles = Vec::new();
        handles.try_reserve_exact(references.len())?;
        // SAFETY: once all are mapped, they stay so as long as this value lives, which is what hands the view out.
        let shared = unsafe { Shared::new(pages.start(), pages.count()) };
        // From here on what is mapped is unmapped, whichever way this ends.
        let mut mapped = Self {
            pages,
            handles,
            shared,
        };
        let flags = GNTMAP_HOST_MAP | if writable { 0 } else { GNTMAP_READONLY };
        for (&reference, address) in references.iter().zip(mapped.pages.addresses()) {
            let operation = gnttab_map_grant_ref {
                host_addr: address.as_u64(),
                flags,
                r#ref: reference,
                dom: peer,
                ..Default::default()
            };
            let handle = map_page(operation, |operation| {
                // SAFETY: the address is the window's, and unused.
                unsafe { hypercall::gnttab_map(core::slice::from_mut(operation)) }
            })?;
            mapped.handles.push(handle);
        }
        Ok(mapped)
    }

    /// The memory.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }
}

/// How often a page that is paged out is asked for.
const TRIES: usize = 100;

/// Maps one page by `call`; Xen's handle for it. Pure.
fn map_page(
    mut operation: gnttab_map_grant_ref,
    mut call: impl FnMut(&mut gnttab_map_grant_ref) -> Result<(), XenErrno>,
) -> Result<u32, GrantError> {
    for _ in 0..TRIES {
        call(&mut operation)?;
        match operation.status {
            GNTST_OKAY => return Ok(operation.handle),
            GNTST_EAGAIN => {}
            status => return Err(GrantError::Peer(status)),
        }
    }
    Err(GrantError::Peer(GNTST_EAGAIN))
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // Page by page: to give pages back needs no memory.
        for (&handle, address) in self.handles.iter().zip(self.pages.addresses()) {
            let mut operation = gnttab_unmap_grant_ref {
                host_addr: address.as_u64(),
                handle,
                ..Default::default()
            };
            // SAFETY: the view went with this value, so nobody uses the address.
            let result = unsafe { hypercall::gnttab_unmap(core::slice::from_mut(&mut operation)) };
            if result.is_err() || operation.status != GNTST_OKAY {
                log::error!("Xen refused to unmap a page of a peer");
            }
        }
    }
}

const _: () = assert!(PAGE_SIZE == GRANT_ENTRIES_PER_FRAME as usize * 8);

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;
    use std::string::ToString;

    /// Has `map_page` try with what `call` does at the n-th try; how often it tried, and what came of it.
    fn tried(call: impl Fn(usize) -> Result<i16, XenErrno>) -> (usize, Result<u32, GrantError>) {
        let mut tries = 0;
        let outcome = map_page(gnttab_map_grant_ref::default(), |operation| {
            tries += 1;
            operation.status = call(tries)?;
            operation.handle = 7;
            Ok(())
        });
        (tries, outcome)
    }

    // R20 of FAULTS.md.
    #[test]
    fn a_page_that_is_paged_out_is_asked_for_again_and_nothing_else_is() {
        assert_eq!(tried(|_| Ok(GNTST_OKAY)), (1, Ok(7)));
        let paged_in = |at| move |n| Ok(if n < at { GNTST_EAGAIN } else { GNTST_OKAY });
        assert_eq!(tried(paged_in(3)), (3, Ok(7)));
        let never = tried(paged_in(usize::MAX));
        assert_eq!(never, (TRIES, Err(GrantError::Peer(GNTST_EAGAIN))));
        assert_eq!(tried(|_| Ok(-8)), (1, Err(GrantError::Peer(-8))));
        let refused = |n| {
            if n < 2 {
                Ok(GNTST_EAGAIN)
            } else {
                Err(XenErrno::ESRCH)
            }
        };
        assert_eq!(tried(refused), (2, Err(GrantError::Xen(XenErrno::ESRCH))));
    }

    /// R21: an entry that Xen marks as in use stays valid, whichever way the peer uses it.
    #[test]
    fn r21_a_grant_in_use_does_not_end() {
        let frames = [Shared::leaked(1)];
        let mut references = References::default();
        for used in [GTF_READING, GTF_WRITING, GTF_READING | GTF_WRITING] {
            let flags = GTF_PERMIT_ACCESS | used;
            frames[0].store_u16(9 * 8, flags, Ordering::Relaxed);
            assert!(!end_and_free(&frames, &mut references, 9));
            assert_eq!(frames[0].load_u16(9 * 8, Ordering::Relaxed), flags);
            assert_eq!(references.free, []);
        }
        frames[0].store_u16(9 * 8, GTF_PERMIT_ACCESS, Ordering::Relaxed);
        assert!(end_and_free(&frames, &mut references, 9));
        assert_eq!(frames[0].load_u16(9 * 8, Ordering::Relaxed), 0);
        assert_eq!(references.free, [9]);
    }

    /// R20: every answer that `grant_table.h` knows.
    #[test]
    fn r20_every_status_of_a_mapping_is_an_error_that_is_named() {
        for status in -13..0 {
            let expected = match status {
                GNTST_EAGAIN => TRIES,
                _ => 1,
            };
            let error = GrantError::Peer(status);
            assert_eq!(tried(|_| Ok(status)), (expected, Err(error)));
            let said = error.to_string();
            assert!(said.contains("the peer's page") && said.contains(&format!("GNTST {status})")));
        }
    }

    #[test]
    fn reserved_references_are_never_given_out() {
        let mut references = References::default();
        references.add_frame();
        assert_eq!(references.free.len(), 504);
        assert_eq!(references.free.last(), Some(&8));
        references.add_frame();
        assert_eq!(references.free.len(), 504 + 512);
        assert!(
            references
                .free
                .iter()
                .all(|&reference| (8..1024).contains(&reference))
        );
        assert_eq!(references.frames(), 2);
    }
}
