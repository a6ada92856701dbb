//! The heap: free lists for small sizes in front of `linked_list_allocator`, which keeps the arena.
//!
//! The arena's search is linear in its free blocks, so blocks of up to [`SMALL_MAX`] bytes are rounded up to a power of two
//! and kept, once freed, in a list of their size: taking and giving one is a pointer move. They are not merged again; the
//! data path asks for the same few sizes over and over.
#![expect(unsafe_code, reason = "free lists inside free memory")]

use core::alloc::Layout;
use core::ptr::{self, NonNull};

use linked_list_allocator::Heap as Arena;

/// The smallest block: holds the link of a free list.
const SMALL_MIN: usize = 16;
/// The largest block that is kept in a list.
pub(super) const SMALL_MAX: usize = 2048;
const CLASSES: usize = (SMALL_MAX / SMALL_MIN).ilog2() as usize + 1;

/// What the heap has given out, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeapStats {
    /// In use now.
    pub used: usize,
    /// The most ever in use.
    pub high_water: usize,
    /// The arena's size.
    pub size: usize,
}

struct FreeBlock {
    next: Option<NonNull<FreeBlock>>,
}

/// An allocator that owns its arena. Growing it is the caller's business.
pub struct Heap {
    arena: Arena,
    free: [Option<NonNull<FreeBlock>>; CLASSES],
    used: usize,
    high_water: usize,
}

// SAFETY: the links point into the arena, which the heap owns; whoever has the heap exclusively has them too.
unsafe impl Send for Heap {}

impl Heap {
    /// A heap with nothing in it.
    pub const fn empty() -> Self {
        Self {
            arena: Arena::empty(),
            free: [None; CLASSES],
            used: 0,
            high_water: 0,
        }
    }

    /// Takes over the arena.
    ///
    /// # Safety
    /// `start..start + size` must be mapped, writable, unused by anyone else, and stay so for ever.
    pub unsafe fn init(&mut self, start: *mut u8, size: usize) {
        // SAFETY: the caller's promise is the arena's.
        unsafe { self.arena.init(start, size) };
    }

    /// Makes the arena larger at its end.
    ///
    /// # Safety
    /// As for [`Self::init`], for the `size` bytes that follow the arena.
    pub unsafe fn extend(&mut self, size: usize) {
        // SAFETY: the caller's promise is the arena's.
        unsafe { self.arena.extend(size) };
    }

    /// The first address after the arena.
    pub fn top(&self) -> usize {
        self.arena.top() as usize
    }

    /// A block for `layout`; `None` when the arena has none.
    pub fn allocate(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let block = match class_of(layout) {
            Some((class, rounded)) => self
                .pop(class)
                .or_else(|| self.arena.allocate_first_fit(rounded).ok()),
            None => self.arena.allocate_first_fit(layout).ok(),
        }?;
        self.used += block_size(layout);
        self.high_water = self.high_water.max(self.used);
        Some(block)
    }

    /// Takes a block back.
    ///
    /// # Safety
    /// `block` must come from [`Self::allocate`] of this heap with the same `layout`, and be used no more.
    pub unsafe fn deallocate(&mut self, block: NonNull<u8>, layout: Layout) {
        self.used -= block_size(layout);
        match class_of(layout) {
            Some((class, _)) => {
                let block = block.cast::<FreeBlock>();
                // SAFETY: the block is unused, at least `SMALL_MIN` bytes and aligned to as much, so it holds a link.
                unsafe {
                    block.write(FreeBlock {
                        next: self.free[class],
                    });
                }
                self.free[class] = Some(block);
            }
            // SAFETY: a block of this layout came from the arena as it is; the caller vouches for the rest.
            None => unsafe { self.arena.deallocate(block, layout) },
        }
    }

    /// What is in use.
    pub fn stats(&self) -> HeapStats {
        HeapStats {
            used: self.used,
            high_water: self.high_water,
            size: self.arena.size(),
        }
    }

    fn pop(&mut self, class: usize) -> Option<NonNull<u8>> {
        let block = self.free[class]?;
        // SAFETY: blocks in the list are unused memory in which `deallocate` wrote a link.
        self.free[class] = unsafe { ptr::read(block.as_ptr()).next };
        Some(block.cast())
    }
}

/// The list that serves `layout`, and the layout of its blocks; `None` for what goes to the arena directly.
fn class_of(layout: Layout) -> Option<(usize, Layout)> {
    if layout.size() > SMALL_MAX || layout.align() > SMALL_MIN {
        return None;
    }
    let size = layout.size().max(SMALL_MIN).next_power_of_two();
    let class = (size / SMALL_MIN).ilog2() as usize;
    // All blocks of a class are aligned alike: who takes one need not be who gave it back.
    Layout::from_size_align(size, SMALL_MIN)
        .ok()
        .map(|layout| (class, layout))
}

fn block_size(layout: Layout) -> usize {
    class_of(layout).map_or(layout.size(), |(_, rounded)| rounded.size())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn heap(arena: &mut [u128]) -> Heap {
        let mut heap = Heap::empty();
        // SAFETY: the slice outlives the heap in every test, and nothing else uses it.
        unsafe { heap.init(arena.as_mut_ptr().cast(), size_of_val(arena)) };
        heap
    }

    #[test]
    fn a_freed_small_block_is_the_next_one_taken() {
        let mut arena = [0u128; 64];
        let mut heap = heap(&mut arena);
        let layout = Layout::from_size_align(24, 8).unwrap();
        let first = heap.allocate(layout).unwrap();
        let _second = heap.allocate(layout).unwrap();
        // SAFETY: just allocated with this layout.
        unsafe { heap.deallocate(first, layout) };
        assert_eq!(
            heap.allocate(Layout::from_size_align(32, 16).unwrap()),
            Some(first)
        );
        assert_eq!(heap.stats().used, 64);
    }

    #[test]
    fn exhaustion_is_an_answer_and_passes() {
        let mut arena = [0u128; 64];
        let mut heap = heap(&mut arena);
        let layout = Layout::from_size_align(256, 16).unwrap();
        let blocks: Vec<_> = std::iter::from_fn(|| heap.allocate(layout)).collect();
        assert!(!blocks.is_empty() && blocks.len() <= 4);
        assert_eq!(heap.stats().high_water, blocks.len() * 256);
        // SAFETY: just allocated with this layout.
        unsafe { heap.deallocate(blocks[0], layout) };
        assert_eq!(heap.allocate(layout), Some(blocks[0]));
    }

    proptest! {
        /// Blocks are aligned, never overlap, and the books balance.
        #[test]
        fn blocks_are_disjoint(sizes in proptest::collection::vec((1usize..5000, 0u32..7, any::<bool>()), 1..80)) {
            let mut arena = std::vec![0u128; 8192];
            let mut heap = heap(&mut arena);
            let mut live: Vec<(usize, Layout)> = Vec::new();
            for (size, align, free_one) in sizes {
                let layout = Layout::from_size_align(size, 1 << align).unwrap();
                if let Some(block) = heap.allocate(layout) {
                    let start = block.as_ptr() as usize;
                    prop_assert_eq!(start % layout.align(), 0);
                    for (other, its) in &live {
                        prop_assert!(start + size <= *other || other + its.size() <= start);
                    }
                    live.push((start, layout));
                }
                if free_one && !live.is_empty() {
                    let (start, layout) = live.swap_remove(size % live.len());
                    // SAFETY: taken from the list of live blocks.
                    unsafe { heap.deallocate(NonNull::new(start as *mut u8).unwrap(), layout) };
                }
            }
            for (start, layout) in live {
                // SAFETY: as above.
                unsafe { heap.deallocate(NonNull::new(start as *mut u8).unwrap(), layout) };
            }
            prop_assert_eq!(heap.stats().used, 0);
        }
    }
}
