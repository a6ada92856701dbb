//! Shared pages made of atomics.

use core::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;
use std::vec::Vec;

use super::{Host, Release};
use crate::interface::PAGE_SIZE;
use crate::platform::{Access, SharedMemory};

const WORDS: usize = PAGE_SIZE / 4;

/// One page, as words: a narrower access is a word's access with a mask, so that no unsafe code is needed.
pub(super) struct Page([AtomicU32; WORDS]);

impl Page {
    pub(super) fn zeroed() -> Arc<Self> {
        Arc::new(Page([const { AtomicU32::new(0) }; WORDS]))
    }
}

/// Pages that are shared: granted by a server or mapped by a client.
pub struct Memory {
    pub(super) host: Host,
    pub(super) pages: Vec<Arc<Page>>,
    /// The references of a server's pages; empty for a client, who only maps.
    pub(super) grants: Vec<u32>,
    pub(super) access: Access,
}

impl Memory {
    fn word(&self, offset: usize) -> &AtomicU32 {
        &self.pages[offset / PAGE_SIZE].0[offset % PAGE_SIZE / 4]
    }

    fn writable(&self, offset: usize) -> &AtomicU32 {
        assert_eq!(
            self.access,
            Access::ReadWrite,
            "store to a read-only mapping"
        );
        self.word(offset)
    }

    /// Replaces the bits of `mask` at once, as a narrower store does.
    fn store_bits(&self, offset: usize, mask: u32, value: u32, order: Ordering) {
        let shift = 8 * (offset % 4);
        // The closure never says no.
        let _ = self
            .writable(offset)
            .fetch_update(order, Ordering::Relaxed, |word| {
                Some(word & !(mask << shift) | value << shift)
            });
    }
}

impl SharedMemory for Memory {
    fn load_u8(&self, offset: usize, order: Ordering) -> u8 {
        (self.word(offset).load(order) >> (8 * (offset % 4))) as u8
    }

    fn load_u16(&self, offset: usize, order: Ordering) -> u16 {
        (self.word(offset).load(order) >> (8 * (offset % 4))) as u16
    }

    fn load_u32(&self, offset: usize, order: Ordering) -> u32 {
        self.word(offset).load(order)
    }

    fn store_u8(&self, offset: usize, value: u8, order: Ordering) {
        self.store_bits(offset, 0xff, u32::from(value), order);
    }

    fn store_u16(&self, offset: usize, value: u16, order: Ordering) {
        self.store_bits(offset, 0xffff, u32::from(value), order);
    }

    fn store_u32(&self, offset: usize, value: u32, order: Ordering) {
        self.writable(offset).store(value, order);
    }

    fn fetch_or_u8(&self, offset: usize, bits: u8, order: Ordering) -> u8 {
        let shift = 8 * (offset % 4);
        (self
            .writable(offset)
            .fetch_or(u32::from(bits) << shift, order)
            >> shift) as u8
    }

    fn fetch_and_u8(&self, offset: usize, bits: u8, order: Ordering) -> u8 {
        let shift = 8 * (offset % 4);
        (self
            .writable(offset)
            .fetch_and(!(u32::from(!bits) << shift), order)
            >> shift) as u8
    }

    fn read(&self, offset: usize, out: &mut [u8]) {
        let mut at = offset;
        let head = out.len().min(offset.wrapping_neg() % 4);
        let (head, rest) = out.split_at_mut(head);
        for byte in head {
            *byte = self.load_u8(at, Ordering::Relaxed);
            at += 1;
        }
        let mut words = rest.chunks_exact_mut(4);
        for word in &mut words {
            word.copy_from_slice(&self.load_u32(at, Ordering::Relaxed).to_le_bytes());
            at += 4;
        }
        for byte in words.into_remainder() {
            *byte = self.load_u8(at, Ordering::Relaxed);
            at += 1;
        }
    }

    fn write(&self, offset: usize, data: &[u8]) {
        let mut at = offset;
        let (head, rest) = data.split_at(data.len().min(offset.wrapping_neg() % 4));
        for &byte in head {
            self.store_u8(at, byte, Ordering::Relaxed);
            at += 1;
        }
        let (words, tail) = rest.as_chunks::<4>();
        for &word in words {
            self.store_u32(at, u32::from_le_bytes(word), Ordering::Relaxed);
            at += 4;
        }
        for &byte in tail {
            self.store_u8(at, byte, Ordering::Relaxed);
            at += 1;
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let mut tables = self.host.tables();
        if self.grants.is_empty() {
            tables.mapped -= self.pages.len();
            tables.releases.push(Release::Mappings(self.pages.len()));
        } else {
            tables.releases.push(Release::Grants(self.grants.len()));
        }
        for grant in &self.grants {
            tables.grants.remove(grant);
        }
    }
}
