//! Three kinds of number that must not be mixed: virtual addresses, pseudo-physical frames, machine frames.

use crate::xen_abi::PAGE_SIZE;

/// Where the image is linked and frame 0 is mapped (ELF notes `VIRT_BASE` and `PADDR_OFFSET`).
///
/// The domain builder maps from here to the first 4 MiB line that leaves 512 KiB behind the boot data, and puts a module that
/// need not be mapped (note `MOD_START_PFN`) after that line. So the distance to the line decides the least memory: 896 KiB
/// leave room for 384 KiB of image, stack and page tables, and, in a domain of 1 MiB, for a module of 128 KiB.
pub const VIRT_BASE: u64 = 0x32_0000;

/// A pseudo-physical frame number: counts this domain's frames from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pfn(pub usize);

/// A machine frame number: what page tables, grants and Xen go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mfn(pub u64);

/// A virtual address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VirtAddr(u64);

impl Pfn {
    /// The first address of the frame in the linear map.
    pub const fn address(self) -> VirtAddr {
        VirtAddr(VIRT_BASE + (self.0 * PAGE_SIZE) as u64)
    }
}

impl Mfn {
    /// The machine address of the frame.
    pub const fn address(self) -> u64 {
        self.0 * PAGE_SIZE as u64
    }
}

impl VirtAddr {
    /// An address as a number, taken as it is.
    pub const fn new(address: u64) -> Self {
        Self(address)
    }

    /// The number.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The address as a pointer to memory of Rust's world.
    pub const fn as_mut_ptr<T>(self) -> *mut T {
        self.0 as *mut T
    }

    /// The frame that the linear map has here; `None` below it.
    pub const fn linear_pfn(self) -> Option<Pfn> {
        match self.0.checked_sub(VIRT_BASE) {
            Some(offset) => Some(Pfn((offset / PAGE_SIZE as u64) as usize)),
            None => None,
        }
    }

    /// The address `pages` pages further up.
    pub const fn add_pages(self, pages: usize) -> Self {
        Self(self.0 + (pages * PAGE_SIZE) as u64)
    }

    /// The index into the page table of `level`: 4 for the root, 1 for the table whose entries map pages.
    pub const fn table_index(self, level: u32) -> usize {
        ((self.0 >> (12 + 9 * (level - 1))) & 511) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_map_goes_both_ways() {
        for pfn in [Pfn(0), Pfn(1), Pfn(255), Pfn(0x4_0000)] {
            assert_eq!(pfn.address().linear_pfn(), Some(pfn));
        }
        assert_eq!(VirtAddr::new(VIRT_BASE - 1).linear_pfn(), None);
    }

    #[test]
    fn table_indices_are_those_of_the_manual() {
        let address = VirtAddr::new(0x0000_0a5f_3c2e_1d40);
        let indices = [4, 3, 2, 1].map(|level| address.table_index(level));
        let rebuilt = indices
            .iter()
            .fold(0, |sum, &index| (sum << 9) | index as u64)
            << 12;
        assert_eq!(rebuilt, address.as_u64() & !0xfff);
    }
}
