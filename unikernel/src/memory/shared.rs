//! Memory that someone else writes: Xen, a back end, a peer.
#![expect(unsafe_code, reason = "shared memory")]

use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

use super::VirtAddr;
use crate::cpu;
use crate::xen_abi::PAGE_SIZE;

/// A range of shared memory. There is no way to get a slice or a plain reference out of it: integers are loaded and stored
/// as atomics, each access one instruction, and runs of bytes are copied by assembly that the compiler cannot see through.
///
/// It is a view: who owns the mapping says how long the view may live (see [`Shared::new`]).
///
/// # Panics
/// Every access panics when it leaves the range or is not aligned. The range is ours, so that would be our own mistake: what a
/// peer says is checked before it becomes an offset.
#[derive(Clone, Copy, Debug)]
pub struct Shared {
    start: VirtAddr,
    len: usize,
}

macro_rules! accessors {
    ($atomic:ty, $int:ty, $load:ident, $store:ident) => {
        /// One load of the integer at byte `offset`.
        pub fn $load(&self, offset: usize, order: Ordering) -> $int {
            #[cfg(any(test, fuzzing))]
            adversary::before_load(self, offset, size_of::<$int>());
            let pointer = self.pointer::<$int>(offset);
            // SAFETY: in range and aligned, checked just now, and mapped, by the promise made to `new`. An atomic is the one
            // type of which a reference claims nothing about who else writes.
            unsafe { <$atomic>::from_ptr(pointer) }.load(order)
        }

        /// One store of the integer at byte `offset`.
        pub fn $store(&self, offset: usize, value: $int, order: Ordering) {
            let pointer = self.pointer::<$int>(offset);
            // SAFETY: as for the load.
            unsafe { <$atomic>::from_ptr(pointer) }.store(value, order);
        }
    };
}

impl Shared {
    /// A view of `pages` pages from `start` on.
    ///
    /// # Safety
    /// The pages must stay mapped, writable if anything is stored, for as long as this view or a copy of it is used, and no
    /// Rust object may live in them.
    pub const unsafe fn new(start: VirtAddr, pages: usize) -> Self {
        Self {
            start,
            len: pages * PAGE_SIZE,
        }
    }

    /// Where the range begins.
    pub(crate) fn start(&self) -> *mut u8 {
        self.start.as_mut_ptr()
    }

    /// Bytes in the range.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether the range has no bytes.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    accessors!(AtomicU8, u8, load_u8, store_u8);
    accessors!(AtomicU16, u16, load_u16, store_u16);
    accessors!(AtomicU32, u32, load_u32, store_u32);
    accessors!(AtomicU64, u64, load_u64, store_u64);

    /// Sets bits of the byte at `offset`, atomically; what was there before.
    pub fn fetch_or_u8(&self, offset: usize, bits: u8, order: Ordering) -> u8 {
        // SAFETY: as for the loads.
        unsafe { AtomicU8::from_ptr(self.pointer(offset)) }.fetch_or(bits, order)
    }

    /// Keeps only `bits` of the byte at `offset`, atomically; what was there before.
    pub fn fetch_and_u8(&self, offset: usize, bits: u8, order: Ordering) -> u8 {
        // SAFETY: as for the loads.
        unsafe { AtomicU8::from_ptr(self.pointer(offset)) }.fetch_and(bits, order)
    }

    /// Keeps only `bits` of the word at `offset`, atomically; what was there before.
    pub fn fetch_and_u64(&self, offset: usize, bits: u64, order: Ordering) -> u64 {
        // SAFETY: as for the loads.
        unsafe { AtomicU64::from_ptr(self.pointer(offset)) }.fetch_and(bits, order)
    }

    /// Replaces the 32-bit integer at `offset`, atomically; what was there before.
    pub fn swap_u32(&self, offset: usize, value: u32, order: Ordering) -> u32 {
        // SAFETY: as for the loads.
        unsafe { AtomicU32::from_ptr(self.pointer(offset)) }.swap(value, order)
    }

    /// Replaces the 16-bit integer at `offset` if it is `current`; else what stands there.
    pub fn compare_exchange_u16(
        &self,
        offset: usize,
        current: u16,
        new: u16,
        success: Ordering,
    ) -> Result<u16, u16> {
        // SAFETY: as for the loads.
        unsafe { AtomicU16::from_ptr(self.pointer(offset)) }.compare_exchange(
            current,
            new,
            success,
            Ordering::Relaxed,
        )
    }

    /// Copies bytes out. They are those of some moment, each on its own: the caller orders the copy by what it loads before.
    #[inline]
    pub fn read(&self, offset: usize, out: &mut [u8]) {
        #[cfg(any(test, fuzzing))]
        adversary::before_load(self, offset, out.len());
        let source = self.range(offset, out.len());
        // SAFETY: in range, checked just now, and mapped by the promise made to `new`; `out` is Rust's and cannot overlap.
        unsafe { cpu::copy_volatile(out.as_mut_ptr(), source, out.len()) };
    }

    /// Copies bytes in. The caller publishes them by what it stores after.
    #[inline]
    pub fn write(&self, offset: usize, data: &[u8]) {
        let target = self.range(offset, data.len());
        // SAFETY: as for `read`, the other way round.
        unsafe { cpu::copy_volatile(target, data.as_ptr(), data.len()) };
    }

    fn pointer<T>(&self, offset: usize) -> *mut T {
        assert!(offset.is_multiple_of(align_of::<T>()));
        self.range(offset, size_of::<T>()).cast()
    }

    #[inline]
    fn range(&self, offset: usize, len: usize) -> *mut u8 {
        let room = self.len.checked_sub(offset);
        assert!(room >= Some(len));
        self.start.as_mut_ptr::<u8>().wrapping_add(offset)
    }
}

/// Whoever else writes the memory, in tests: has its turn before each of our loads, so that every load may return anything.
#[cfg(any(test, fuzzing))]
pub(crate) mod adversary {
    use super::Shared;
    use core::cell::RefCell;
    use std::boxed::Box;

    /// Told what is about to be loaded: the view, the offset, the length.
    type Writer = Box<dyn FnMut(&Shared, usize, usize)>;

    std::thread_local! {
        static WRITER: RefCell<Option<Writer>> = const { RefCell::new(None) };
    }

    pub(super) fn before_load(view: &Shared, offset: usize, len: usize) {
        // Out of its place meanwhile: what it loads itself nobody disturbs.
        if let Some(mut writer) = WRITER.take() {
            writer(view, offset, len);
            WRITER.set(Some(writer));
        }
    }

    /// Has `writer` write during `action`, on this thread.
    pub(crate) fn during<R>(
        writer: impl FnMut(&Shared, usize, usize) + 'static,
        action: impl FnOnce() -> R,
    ) -> R {
        WRITER.set(Some(Box::new(writer)));
        let result = action();
        WRITER.set(None);
        result
    }
}

#[cfg(any(test, fuzzing))]
#[cfg_attr(
    fuzzing,
    expect(dead_code, reason = "memory that is used by its address")
)]
#[repr(align(4096))]
struct Page([u8; PAGE_SIZE]);

#[cfg(any(test, fuzzing))]
impl Shared {
    /// Zeroed pages that are never given back, for tests that play both sides.
    pub(crate) fn leaked(pages: usize) -> Self {
        let memory: std::vec::Vec<Page> = (0..pages).map(|_| Page([0; PAGE_SIZE])).collect();
        let start = std::vec::Vec::leak(memory).as_mut_ptr();
        // SAFETY: leaked, so they stay, and nothing else knows where they are.
        unsafe { Self::new(VirtAddr::new(start as u64), pages) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_page(test: impl FnOnce(Shared)) {
        let mut page = std::boxed::Box::new(Page([0; PAGE_SIZE]));
        let address = VirtAddr::new(page.0.as_mut_ptr() as u64);
        // SAFETY: the page outlives the test, which uses it through the view alone.
        test(unsafe { Shared::new(address, 1) });
    }

    #[test]
    fn integers_are_little_endian_bytes() {
        with_page(|page| {
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
    fn the_range_ends_where_it_ends() {
        with_page(|page| page.read(PAGE_SIZE - 3, &mut [0; 4]));
    }

    #[test]
    #[should_panic]
    fn an_offset_that_wraps_is_out_of_range() {
        with_page(|page| page.write(usize::MAX, &[1, 2]));
    }
}
