//! Pages that were granted once and carry one packet after the other. Pure: who granted them keeps them granted.

use alloc::vec::Vec;

use crate::memory::Shared;
use crate::xen_abi::PAGE_SIZE;

/// Pages in a row, each with its grant reference.
#[derive(Debug)]
pub struct Buffers {
    shared: Shared,
    references: Vec<u32>,
}

impl Buffers {
    /// The pages of `shared`; `references` in their order.
    ///
    /// # Panics
    /// When there is not one reference for each page.
    pub fn new(shared: Shared, references: Vec<u32>) -> Self {
        assert_eq!(shared.len(), references.len() * PAGE_SIZE);
        Self { shared, references }
    }

    /// How many pages.
    pub fn pages(&self) -> usize {
        self.references.len()
    }

    /// The reference of `page`.
    pub fn reference(&self, page: u16) -> u32 {
        self.references[usize::from(page)]
    }

    /// Copies out of `page`.
    ///
    /// # Panics
    /// Beyond the page: what the back end said was checked before.
    pub fn read(&self, page: u16, offset: u16, out: &mut [u8]) {
        assert!(usize::from(offset) + out.len() <= PAGE_SIZE);
        self.shared.read(Self::place(page, offset), out);
    }

    /// Copies to the start of `page`.
    ///
    /// # Panics
    /// Beyond the page.
    pub fn write(&self, page: u16, data: &[u8]) {
        assert!(data.len() <= PAGE_SIZE);
        self.shared.write(Self::place(page, 0), data);
    }

    fn place(page: u16, offset: u16) -> usize {
        usize::from(page) * PAGE_SIZE + usize::from(offset)
    }
}
