//! Addresses for pages that are not in the linear map: shared_info, the grant table, mapped grants.

use core::mem::ManuallyDrop;

use spin::Mutex;

use super::{FrameMap, NoMemory, Pfn, VirtAddr, machine};

/// Where the window starts: an L3 slot of its own, far above any memory that the linear map can hold.
const WINDOW_BASE: u64 = 0x40_0000_0000;
/// Pages in the window: 120 edges of the largest ring fit, page tables are made only for what is used.
const WINDOW_PAGES: usize = 32 * 1024;

/// The addresses of the window, as far as they are free.
pub struct Window {
    pages: Mutex<FrameMap<'static>>,
}

/// A run of page addresses with page tables in place and nothing mapped yet. Whoever maps something there unmaps it before
/// the run is dropped.
#[derive(Debug)]
#[must_use = "the addresses go back to the window when this is dropped"]
pub struct Pages {
    first: Pfn,
    count: usize,
}

impl Window {
    /// Words for the books of a window.
    pub const WORDS: usize = FrameMap::words(WINDOW_PAGES);

    /// A window in which every page is free.
    pub fn new(words: &'static mut [u64]) -> Self {
        let mut pages = FrameMap::new(words, WINDOW_PAGES);
        pages.give(Pfn(0), WINDOW_PAGES);
        Self {
            pages: Mutex::new(pages),
        }
    }

    /// Takes `count` addresses in a row.
    pub(super) fn take(&self, count: usize) -> Result<Pages, NoMemory> {
        let first = self.pages.lock().take(count)?;
        Ok(Pages { first, count })
    }
}

impl Pages {
    /// The first address.
    pub fn start(&self) -> VirtAddr {
        VirtAddr::new(WINDOW_BASE).add_pages(self.first.0)
    }

    /// Keeps the run for ever, for what is never unmapped; its first address.
    pub(super) fn keep(self) -> VirtAddr {
        ManuallyDrop::new(self).start()
    }

    /// How many pages.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The address of each page.
    pub fn addresses(&self) -> impl Iterator<Item = VirtAddr> + use<> {
        let start = self.start();
        (0..self.count).map(move |page| start.add_pages(page))
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        machine().window.pages.lock().give(self.first, self.count);
    }
}
