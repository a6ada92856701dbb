//! What any channel that copies twice can reach: blocks of as much memory as a ring has, filled by one CPU and emptied by
//! the other, handed over by two counters in lines of their own.
#![expect(unsafe_code, reason = "memory that two threads copy to and from")]

use std::cell::UnsafeCell;
use std::hint::{black_box, spin_loop};
use std::ptr::copy_nonoverlapping;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::race;

struct Blocks {
    bytes: Box<[UnsafeCell<u8>]>,
    size: usize,
}

// SAFETY: `run` hands each block from thread to thread by a counter, so that no two touch it at once.
unsafe impl Sync for Blocks {}

impl Blocks {
    fn count(&self) -> usize {
        self.bytes.len() / self.size
    }

    fn at(&self, number: usize) -> *mut u8 {
        let start = number % self.count() * self.size;
        self.bytes[start..start + self.size]
            .as_ptr()
            .cast_mut()
            .cast()
    }
}

/// A counter in a cache line of its own, and the neighbour that is fetched along with it.
#[repr(align(128))]
#[derive(Default)]
struct Counter(AtomicUsize);

/// How long it takes to hand over `count` blocks of `size` bytes, `memory` bytes of them at most at once, but two.
pub fn run(memory: usize, size: usize, count: usize) -> Duration {
    let bytes = size * (memory / size).max(2);
    let blocks = Blocks {
        bytes: (0..bytes).map(|_| UnsafeCell::new(0)).collect(),
        size,
    };
    let (filled, emptied) = (Counter::default(), Counter::default());
    race(
        || {
            let block = vec![7; size];
            let mut free = blocks.count();
            for number in 0..count {
                while number == free {
                    spin_loop();
                    free = emptied.0.load(Ordering::Acquire) + blocks.count();
                }
                // SAFETY: `size` bytes, and ours: the other thread has emptied this block or has never had it.
                unsafe { copy_nonoverlapping(block.as_ptr(), blocks.at(number), size) };
                filled.0.store(number + 1, Ordering::Release);
            }
        },
        || {
            let mut block = vec![0_u8; size];
            let mut ready = 0;
            for number in 0..count {
                while number == ready {
                    spin_loop();
                    ready = filled.0.load(Ordering::Acquire);
                }
                // SAFETY: as above, filled.
                unsafe { copy_nonoverlapping(blocks.at(number), block.as_mut_ptr(), size) };
                black_box(&block);
                emptied.0.store(number + 1, Ordering::Release);
            }
        },
    )
}
