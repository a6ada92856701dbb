//! Pages that a peer shares: a mapping, and the accesses that the protocol makes to it.
#![expect(unsafe_code, reason = "mmap, and memory that is no Rust object")]

use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, Ordering};
use std::io;
use std::os::fd::BorrowedFd;

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use vchan::interface::PAGE_SIZE;
use vchan::platform::{Access, SharedMemory};

use crate::copy::copy;

/// Shared pages of either role, mapped as long as this lives. `G` is what the platform knows of their grants.
///
/// Where others write it, there is no way to get a slice or a plain reference out of it: integers are loaded and stored as
/// atomics, and runs of bytes are copied by code that the compiler cannot see through.
///
/// # Panics
/// Every access panics when it leaves the mapping, is not aligned, or stores to a mapping for reading. That would be our
/// own mistake: what a peer says is checked before it becomes an offset.
pub struct Memory<G> {
    start: NonNull<u8>,
    len: usize,
    access: Access,
    /// Nobody else can write it: no peer, and no other mapping of ours.
    alone: bool,
    pub(crate) grants: G,
}

// SAFETY: the mapping belongs to the process, not to a thread, and the pointer is private to this type.
unsafe impl<G: Send> Send for Memory<G> {}
// SAFETY: every access through a shared reference is an atomic one, or a copy of memory that others change anyway.
unsafe impl<G: Sync> Sync for Memory<G> {}

macro_rules! accessors {
    ($($atomic:ty, $int:ty, $load:ident, $store:ident;)*) => {
        $(
            #[inline]
            fn $load(&self, offset: usize, order: Ordering) -> $int {
                let pointer = self.pointer::<$int>(offset, Access::ReadOnly);
                // SAFETY: in range and aligned, checked just now, and mapped as long as we live. An atomic is the one type of
                // which a reference claims nothing about who else writes.
                unsafe { <$atomic>::from_ptr(pointer) }.load(order)
            }

            #[inline]
            fn $store(&self, offset: usize, value: $int, order: Ordering) {
                let pointer = self.pointer::<$int>(offset, Access::ReadWrite);
                // SAFETY: as for the load, and mapped for writing, checked just now.
                unsafe { <$atomic>::from_ptr(pointer) }.store(value, order);
            }
        )*
    };
}

impl<G> Memory<G> {
    /// Maps `pages` pages of `file` from `offset` on.
    pub(crate) fn map(
        file: BorrowedFd<'_>,
        offset: u64,
        pages: usize,
        access: Access,
        grants: G,
    ) -> io::Result<Self> {
        let len = pages * PAGE_SIZE;
        let protection = match access {
            Access::ReadOnly => ProtFlags::READ,
            Access::ReadWrite => ProtFlags::READ | ProtFlags::WRITE,
        };
        // Populated: no page fault waits on the data path.
        let flags = MapFlags::SHARED | MapFlags::POPULATE;
        // SAFETY: the kernel picks a free address, so that no Rust object is touched.
        let start = unsafe { mmap(ptr::null_mut(), len, protection, flags, file, offset) }?;
        let start = NonNull::new(start.cast())
            .ok_or_else(|| io::Error::other("the kernel mapped pages at address 0"))?;
        Ok(Self {
            start,
            len,
            access,
            alone: false,
            grants,
        })
    }

    /// The same memory, of which is known whether nobody else can write it.
    pub(crate) fn written_by_us_alone(mut self, alone: bool) -> Self {
        self.alone = alone;
        self
    }

    /// Where it lies, for who reads and writes it by its address.
    pub(crate) fn address(&self) -> u64 {
        self.start.as_ptr().expose_provenance() as u64
    }

    fn pointer<T>(&self, offset: usize, access: Access) -> *mut T {
        assert!(offset.is_multiple_of(align_of::<T>()));
        self.range(offset, size_of::<T>(), access).cast()
    }

    #[inline]
    fn range(&self, offset: usize, len: usize, access: Access) -> *mut u8 {
        assert!(offset <= self.len && len <= self.len - offset);
        assert!(access == Access::ReadOnly || self.access == Access::ReadWrite);
        // SAFETY: within the mapping, checked just now.
        unsafe { self.start.as_ptr().add(offset) }
    }
}

impl<G> SharedMemory for Memory<G> {
    accessors! {
        AtomicU8, u8, load_u8, store_u8;
        AtomicU16, u16, load_u16, store_u16;
        AtomicU32, u32, load_u32, store_u32;
    }

    #[inline]
    fn fetch_or_u8(&self, offset: usize, bits: u8, order: Ordering) -> u8 {
        // SAFETY: as for the stores.
        unsafe { AtomicU8::from_ptr(self.pointer(offset, Access::ReadWrite)) }.fetch_or(bits, order)
    }

    #[inline]
    fn fetch_and_u8(&self, offset: usize, bits: u8, order: Ordering) -> u8 {
        // SAFETY: as for the stores.
        unsafe { AtomicU8::from_ptr(self.pointer(offset, Access::ReadWrite)) }
            .fetch_and(bits, order)
    }

    #[inline]
    fn read(&self, offset: usize, out: &mut [u8]) {
        let source = self.range(offset, out.len(), Access::ReadOnly);
        // SAFETY: in range, checked just now, and mapped as long as we live; `out` is Rust's alone and cannot overlap.
        unsafe { copy(out.as_mut_ptr(), source, out.len()) };
    }

    #[inline]
    fn write(&self, offset: usize, data: &[u8]) {
        let target = self.range(offset, data.len(), Access::ReadWrite);
        // SAFETY: as for `read`, the other way round, and mapped for writing.
        unsafe { copy(target, data.as_ptr(), data.len()) };
    }

    #[inline]
    fn publish_u32(&self, offset: usize, value: u32) {
        let pointer = self.pointer::<u32>(offset, Access::ReadWrite);
        // One exchange is a store and a full fence.
        // SAFETY: as for the stores.
        unsafe { AtomicU32::from_ptr(pointer) }.swap(value, Ordering::SeqCst);
    }

    fn plain(&mut self) -> Option<&mut [u8]> {
        if !self.alone || self.access == Access::ReadOnly {
            return None;
        }
        // SAFETY: mapped for writing as long as we live, and made of bytes. Nobody else writes it, which whoever set `alone`
        // knows; the exclusive borrow keeps our own accesses away.
        Some(unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) })
    }
}

impl<G> Drop for Memory<G> {
    fn drop(&mut self) {
        // SAFETY: ours, mapped by `map`, and nothing points into it any more.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
        debug_assert!(unmapped.is_ok());
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    fn with_page(access: Access, test: impl FnOnce(Memory<()>)) {
        let file = tempfile::tempfile().unwrap();
        file.set_len(PAGE_SIZE as u64).unwrap();
        test(Memory::map(file.as_fd(), 0, 1, access, ()).unwrap());
    }

    #[test]
    fn integers_are_little_endian_bytes() {
        with_page(Access::ReadWrite, |page| {
            page.store_u32(8, 0x0403_0201, Ordering::Relaxed);
            let mut bytes = [0; 6];
            page.read(7, &mut bytes);
            assert_eq!(bytes, [0, 1, 2, 3, 4, 0]);
            page.write(PAGE_SIZE - 2, &[7, 9]);
            assert_eq!(page.load_u16(PAGE_SIZE - 2, Ordering::Relaxed), 0x0907);
            assert_eq!(page.fetch_or_u8(8, 0x80, Ordering::Relaxed), 1);
            assert_eq!(page.fetch_and_u8(8, 0x80, Ordering::Relaxed), 0x81);
        });
    }

    #[test]
    #[should_panic]
    fn the_mapping_ends_where_it_ends() {
        with_page(Access::ReadWrite, |page| {
            page.read(PAGE_SIZE - 3, &mut [0; 4])
        });
    }

    #[test]
    #[should_panic]
    fn an_offset_that_wraps_is_out_of_range() {
        with_page(Access::ReadWrite, |page| page.write(usize::MAX, &[1, 2]));
    }

    #[test]
    #[should_panic]
    fn a_mapping_for_reading_is_not_written() {
        with_page(Access::ReadOnly, |page| page.write(0, &[1]));
    }
}
