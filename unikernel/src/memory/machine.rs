//! The domain's memory as Xen handed it over: the p2m list, the page tables, the free frames.
#![expect(unsafe_code, reason = "page tables")]

use core::fmt;
use core::ops::Range;
use core::slice;

use spin::{Mutex, Once};

use super::{FrameMap, Mfn, OutOfFrames, Pages, Pfn, Shared, VirtAddr, Window};
use crate::hypercall::{self, XenErrno};
use crate::xen_abi::{MACH2PHYS_VIRT_START, PAGE_SIZE};

const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
/// PV kernels run in ring 3.
const USER: u64 = 1 << 2;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS_MASK: u64 = 0x000f_ffff_ffff_f000;
/// Entries of eight bytes in a page table.
const TABLE_ENTRIES: usize = PAGE_SIZE / 8;
const TABLE: u64 = PRESENT | WRITABLE | USER | ACCESSED | DIRTY;
const DATA: u64 = TABLE | NO_EXECUTE;
const READ_ONLY: u64 = DATA & !WRITABLE;

/// Why memory could not be had or mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoMemory {
    /// The domain has no such run of frames, or the window no such run of addresses.
    Frames(OutOfFrames),
    /// The heap is full.
    Heap,
    /// Xen refused the change of a page table.
    Xen(XenErrno),
}

impl From<OutOfFrames> for NoMemory {
    fn from(error: OutOfFrames) -> Self {
        Self::Frames(error)
    }
}

impl From<XenErrno> for NoMemory {
    fn from(error: XenErrno) -> Self {
        Self::Xen(error)
    }
}

impl fmt::Display for NoMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frames(error) => error.fmt(f),
            Self::Heap => {
                f.write_str("out of memory: the heap is full; raise memory= in the domain's config")
            }
            Self::Xen(error) => write!(f, "Xen refused a page-table update: {error}"),
        }
    }
}

impl core::error::Error for NoMemory {}

/// What the domain builder said about memory, in start_info's terms.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The domain's frames.
    pub nr_pages: usize,
    /// Where the p2m list stands.
    pub mfn_list: VirtAddr,
    /// Where the root page table stands.
    pub pt_base: VirtAddr,
    /// The first frame that the domain builder put nothing into.
    pub first_free: Pfn,
    /// The frames of the module, which may lie among the free ones.
    pub module: Range<Pfn>,
    /// A page of the image that is to fault: the one below the stack.
    pub guard: VirtAddr,
}

/// The memory of the machine. There is one, made at boot: [`machine`].
pub struct Machine {
    p2m: VirtAddr,
    root: Mfn,
    frames: Mutex<FrameMap<'static>>,
    pub(super) window: Window,
}

static MACHINE: Once<Machine> = Once::new();

/// The machine's memory.
///
/// # Panics
/// Before [`Machine::start`].
pub fn machine() -> &'static Machine {
    MACHINE.get().expect("memory is set up first")
}

impl Machine {
    /// Takes over the memory: extends the linear map over all of it, unmaps the guard page, starts the heap.
    ///
    /// # Safety
    /// Called once, before anything is allocated; `layout` is what Xen said at this boot.
    pub unsafe fn start(layout: &Layout) -> Result<&'static Self, NoMemory> {
        let books = FrameMap::words(layout.nr_pages) + Window::WORDS;
        let start = layout.first_free.address();
        // SAFETY: the domain builder maps at least 512 KiB beyond what it uses, zeroed, and nobody has used them yet.
        let words = unsafe { slice::from_raw_parts_mut(start.as_mut_ptr::<u64>(), books) };
        let (frame_words, window_words) = words.split_at_mut(FrameMap::words(layout.nr_pages));

        let after_books = Pfn(layout.first_free.0 + (books * 8).div_ceil(PAGE_SIZE));
        let machine = Self {
            p2m: layout.mfn_list,
            root: Mfn(0),
            frames: Mutex::new(FrameMap::new(frame_words, layout.nr_pages)),
            window: Window::new(window_words),
        };
        let root = machine.linear_mfn(layout.pt_base);
        let machine = MACHINE.call_once(|| Self { root, ..machine });

        machine.take_over_frames(layout, after_books)?;
        // SAFETY: nothing lives in the guard page: the linker script keeps it free for this.
        unsafe { hypercall::update_va_mapping(layout.guard, 0) }?;
        // The arena begins with one whole page, and with what is left of the books' last one where that is its neighbour.
        let heap_first = machine.frames.lock().take_lowest()?;
        let heap_start = if heap_first == after_books {
            start.as_u64() + (books * size_of::<u64>()) as u64
        } else {
            heap_first.address().as_u64()
        };
        let heap_end = heap_first.address().add_pages(1).as_u64();
        // SAFETY: ends with a frame that has just become ours, and begins in it or behind the books; mapped, and used by nobody.
        unsafe { start_heap(heap_start as usize, (heap_end - heap_start) as usize) };
        Ok(machine)
    }

    /// Frees what is free, in two steps: page tables for the frames that the builder left unmapped come from those it mapped.
    fn take_over_frames(&self, layout: &Layout, first: Pfn) -> Result<(), NoMemory> {
        let all = first.0..layout.nr_pages;
        let mapped_end = self.mapped_end(all.clone());
        let give = |range: Range<usize>| {
            let module = layout.module.start.0..layout.module.end.0;
            for part in [
                range.start..range.end.min(module.start).max(range.start),
                range.start.max(module.end).min(range.end)..range.end,
            ] {
                self.frames.lock().give(Pfn(part.start), part.len());
            }
        };
        give(all.start..mapped_end);
        self.extend_linear_map(mapped_end..all.end, give)
    }

    /// Where the frames of `all` that the builder mapped end: they come first.
    fn mapped_end(&self, all: Range<usize>) -> usize {
        let Range { mut start, mut end } = all;
        while start < end {
            let middle = start + (end - start) / 2;
            if self.is_mapped(Pfn(middle).address()) {
                start = middle + 1;
            } else {
                end = middle;
            }
        }
        start
    }

    /// Maps `frames`, which the builder left unmapped: what shares an L1 table with mapped ones page by page, the rest by whole
    /// tables, filled while they are still ordinary memory, so that Xen is asked once for each 2 MiB. The tables are the lowest
    /// free frames, so that they do not stand in the way of the heap; `give` frees what is mapped, for the tables to come.
    fn extend_linear_map(
        &self,
        frames: Range<usize>,
        give: impl Fn(Range<usize>),
    ) -> Result<(), NoMemory> {
        let mut next = frames.start;
        while next < frames.end {
            let address = Pfn(next).address();
            let in_table = (TABLE_ENTRIES - address.table_index(1)).min(frames.end - next);
            if self.l2_entry(address)? & PRESENT != 0 {
                for pfn in next..next + in_table {
                    let entry = self.mfn(Pfn(pfn)).address() | DATA;
                    // SAFETY: nothing is mapped there yet, and the frame is the domain's own.
                    unsafe { hypercall::update_va_mapping(Pfn(pfn).address(), entry) }?;
                }
            } else {
                let first = address.table_index(1);
                let pfn = self.frames.lock().take_lowest()?;
                let table = self.make_table(pfn, |index| {
                    let offset = index.wrapping_sub(first);
                    if offset < in_table {
                        self.mfn(Pfn(next + offset)).address() | DATA
                    } else {
                        0
                    }
                })?;
                let (parent, index) = self.l2_slot(address)?;
                // SAFETY: the entry was empty, and the table maps frames of the domain's own where nothing was mapped.
                unsafe { hypercall::mmu_update(parent, index * 8, table.address() | TABLE) }?;
            }
            give(next..next + in_table);
            next += in_table;
        }
        Ok(())
    }

    /// The machine frame behind a frame of the domain.
    ///
    /// # Panics
    /// Beyond the domain's memory.
    pub fn mfn(&self, pfn: Pfn) -> Mfn {
        let entry = VirtAddr::new(self.p2m.as_u64() + (pfn.0 * size_of::<u64>()) as u64);
        // SAFETY: the list has one entry for each frame; frames come from this machine's own books.
        Mfn(unsafe { entry.as_mut_ptr::<u64>().read_volatile() })
    }

    /// The machine frame of an address in the linear map.
    fn linear_mfn(&self, address: VirtAddr) -> Mfn {
        self.mfn(address.linear_pfn().expect("an address in the linear map"))
    }

    /// The frame of the domain that a machine frame is. For frames of other domains the answer is meaningless.
    fn pfn(mfn: Mfn) -> Pfn {
        let entry = VirtAddr::new(MACH2PHYS_VIRT_START + mfn.0 * size_of::<u64>() as u64);
        // SAFETY: Xen maps its table readable into every PV guest, with an entry for each frame of the machine.
        Pfn(unsafe { entry.as_mut_ptr::<u64>().read_volatile() } as usize)
    }

    /// The address at which a frame named by Xen, such as the console's, stands in the linear map. Needs nothing set up.
    pub fn linear_address(mfn: Mfn) -> VirtAddr {
        Self::pfn(mfn).address()
    }

    fn entry(table: Mfn, index: usize) -> u64 {
        let table = Self::pfn(table).address().as_mut_ptr::<u64>();
        // SAFETY: page tables stay in the linear map, read-only, and an index is below 512.
        unsafe { table.add(index).read_volatile() }
    }

    fn is_mapped(&self, address: VirtAddr) -> bool {
        let mut table = self.root;
        for level in [4, 3, 2, 1] {
            let entry = Self::entry(table, address.table_index(level));
            if entry & PRESENT == 0 {
                return false;
            }
            table = Mfn((entry & ADDRESS_MASK) / PAGE_SIZE as u64);
        }
        true
    }

    /// The L2 table that covers `address`, made if need be, and the index of its entry there.
    fn l2_slot(&self, address: VirtAddr) -> Result<(Mfn, usize), NoMemory> {
        let mut table = self.root;
        for level in [4, 3] {
            let index = address.table_index(level);
            let mut entry = Self::entry(table, index);
            if entry & PRESENT == 0 {
                entry = self.new_table(|_| 0)?.address() | TABLE;
                // SAFETY: the entry was empty, and what it points to is an empty table.
                unsafe { hypercall::mmu_update(table, index * 8, entry) }?;
            }
            table = Mfn((entry & ADDRESS_MASK) / PAGE_SIZE as u64);
        }
        Ok((table, address.table_index(2)))
    }

    fn l2_entry(&self, address: VirtAddr) -> Result<u64, NoMemory> {
        let (table, index) = self.l2_slot(address)?;
        Ok(Self::entry(table, index))
    }

    /// Sees to it that `address` has an L1 table.
    fn make_tables(&self, address: VirtAddr) -> Result<(), NoMemory> {
        let (table, index) = self.l2_slot(address)?;
        if Self::entry(table, index) & PRESENT == 0 {
            let entry = self.new_table(|_| 0)?.address() | TABLE;
            // SAFETY: the entry was empty, and what it points to is an empty table.
            unsafe { hypercall::mmu_update(table, index * 8, entry) }?;
        }
        Ok(())
    }

    /// A page table with the entries that `entry` tells. Tables are never given back: what needed one needs it again.
    fn new_table(&self, entry: impl Fn(usize) -> u64) -> Result<Mfn, NoMemory> {
        let pfn = self.frames.lock().take(1)?;
        self.make_table(pfn, entry)
    }

    /// Makes a page table of a frame that has just become ours.
    fn make_table(&self, pfn: Pfn, entry: impl Fn(usize) -> u64) -> Result<Mfn, NoMemory> {
        let mfn = self.mfn(pfn);
        for index in 0..TABLE_ENTRIES {
            // SAFETY: the frame has just become ours, frames in the books are mapped, and the index is inside it.
            unsafe {
                pfn.address()
                    .as_mut_ptr::<u64>()
                    .add(index)
                    .write(entry(index))
            };
        }
        // SAFETY: nobody writes to the frame from now on but Xen, which demands that it be read-only.
        unsafe { hypercall::update_va_mapping(pfn.address(), mfn.address() | READ_ONLY) }?;
        Ok(mfn)
    }

    /// # Safety
    /// As for [`hypercall::update_va_mapping`].
    unsafe fn map(&self, address: VirtAddr, entry: u64) -> Result<(), NoMemory> {
        self.make_tables(address)?;
        // SAFETY: passed on to the caller.
        Ok(unsafe { hypercall::update_va_mapping(address, entry) }?)
    }

    /// Addresses in the window, ready to have pages of others mapped by Xen.
    pub fn window(&self, pages: usize) -> Result<Pages, NoMemory> {
        let pages = self.window.take(pages)?;
        for address in pages.addresses() {
            self.make_tables(address)?;
        }
        Ok(pages)
    }

    /// Maps one machine frame that Xen shares with the domain, for ever.
    pub fn map_xen_frame(&self, mfn: Mfn) -> Result<Shared, NoMemory> {
        let page = self.window(1)?;
        let start = page.start();
        // SAFETY: the address is the window's, and unused.
        unsafe { self.map(start, mfn.address() | DATA) }?;
        page.keep();
        // SAFETY: mapped just now, never unmapped, and no Rust object is placed in the window.
        Ok(unsafe { Shared::new(start, 1) })
    }

    /// Whole frames in a row, zeroed: nothing of this domain's past is shown to whom they are granted.
    pub fn frames(&self, count: usize) -> Result<Frames, NoMemory> {
        let first = self.frames.lock().take(count)?;
        let start = first.address();
        // SAFETY: the frames have just become ours, and frames in the books are mapped.
        unsafe { start.as_mut_ptr::<u8>().write_bytes(0, count * PAGE_SIZE) };
        Ok(Frames { first, count })
    }

    /// Frames that are free, the heap's own reserve not counted.
    pub fn free_frames(&self) -> usize {
        self.frames.lock().free()
    }
}

/// Whole frames that belong to whoever holds this; nothing else of the domain's lives in them.
#[derive(Debug)]
#[must_use = "the frames go back when this is dropped"]
pub struct Frames {
    first: Pfn,
    count: usize,
}

impl Frames {
    /// The memory, as one that is shared.
    pub fn shared(&self) -> Shared {
        // SAFETY: frames stay mapped in the linear map for ever, and no Rust object is placed in them. Whoever keeps the view
        // keeps the frames as well: see `grants`.
        unsafe { Shared::new(self.first.address(), self.count) }
    }

    /// The machine frame of each.
    pub fn mfns(&self) -> impl Iterator<Item = Mfn> + use<> {
        let first = self.first.0;
        (first..first + self.count).map(|pfn| machine().mfn(Pfn(pfn)))
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.count
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        machine().frames.lock().give(self.first, self.count);
    }
}

#[cfg(xen_guest)]
mod global {
    use core::alloc::{GlobalAlloc, Layout};
    use core::ptr::{NonNull, null_mut};

    use super::super::heap::Heap;
    use super::{MACHINE, Mutex, PAGE_SIZE, VirtAddr};

    /// Frames that the heap takes at least when it grows: enough to make it seldom, few enough for a domain of 1 MiB.
    const GROWTH: usize = 4;

    pub(super) struct Allocator(pub(super) Mutex<Heap>);

    #[global_allocator]
    pub(super) static HEAP: Allocator = Allocator(Mutex::new(Heap::empty()));

    impl Allocator {
        /// Makes the heap larger by what `layout` needs; `false` when there is no memory.
        fn grow(heap: &mut Heap, layout: Layout) -> bool {
            // The arena may have to skip up to an alignment, and keeps a header's worth of slack.
            let needed = layout.size() + layout.align() + 64;
            let pages = needed.div_ceil(PAGE_SIZE).max(GROWTH);
            let Some(machine) = MACHINE.get() else {
                return false;
            };
            let Some(next) = VirtAddr::new(heap.top() as u64).linear_pfn() else {
                return false;
            };
            if machine.frames.lock().take_at(next, pages).is_err() {
                return false;
            }
            // SAFETY: the frames after the arena have just become ours, and frames in the books are mapped.
            unsafe { heap.extend(pages * PAGE_SIZE) };
            true
        }
    }

    // SAFETY: blocks come from the heap, which hands each out once, with the layout asked for; `realloc` is the default.
    unsafe impl GlobalAlloc for Allocator {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            let mut heap = self.0.lock();
            let block = heap.allocate(layout).or_else(|| {
                Self::grow(&mut heap, layout)
                    .then(|| heap.allocate(layout))
                    .flatten()
            });
            block.map_or(null_mut(), NonNull::as_ptr)
        }

        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            if let Some(block) = NonNull::new(block) {
                // SAFETY: by the contract of `GlobalAlloc`, a block of ours with its layout.
                unsafe { self.0.lock().deallocate(block, layout) };
            }
        }
    }
}

/// # Safety
/// As for [`super::Heap::init`]; called once.
#[cfg(xen_guest)]
unsafe fn start_heap(start: usize, size: usize) {
    // SAFETY: passed on to the caller.
    unsafe { global::HEAP.0.lock().init(start as *mut u8, size) };
}

/// On a host the heap is the host's: nothing to start.
#[cfg(not(xen_guest))]
unsafe fn start_heap(_start: usize, _size: usize) {}

/// What the heap has given out.
#[cfg(xen_guest)]
pub fn heap_stats() -> super::HeapStats {
    global::HEAP.0.lock().stats()
}

/// On a host the heap is the host's, which keeps no such books.
#[cfg(not(xen_guest))]
pub fn heap_stats() -> super::HeapStats {
    super::HeapStats::default()
}
