//! Memory that is handed from process to process: memfds that cannot shrink.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{
    MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, fstatfs, ftruncate,
    memfd_create,
};

use vchan::interface::{MAX_RING_PAGES, PAGE_SIZE};
use vchan::platform::Access;

use super::{Error, Memory, kernel};

/// `TMPFS_MAGIC`: memory of ordinary pages. A memfd of huge pages can be sealed too, but a hole in it that no page can fill
/// ends its reader with SIGBUS.
const TMPFS_MAGIC: i64 = 0x0102_1994;

/// What is wrong with a server's pages.
#[derive(Debug, thiserror::Error)]
pub enum BadPages {
    /// The file could shrink under a mapping, which would end us with SIGBUS.
    #[error("they are no memfd of ordinary pages that is sealed against shrinking")]
    Unsealed,
    /// The file is too short.
    #[error("their memfd holds {bytes} bytes instead of {pages} pages")]
    Short {
        /// What it holds.
        bytes: u64,
        /// What was announced.
        pages: u32,
    },
    /// Nothing was granted under this reference, or not next to the one before.
    #[error("grant {0} does not exist, or does not follow the one before")]
    Reference(u32),
    /// They could not be looked at.
    #[error("{0}")]
    Kernel(#[from] io::Error),
}

/// A run of pages in one file, named by consecutive references.
#[derive(Debug)]
pub struct Granted {
    file: OwnedFd,
    first: u32,
    pages: u32,
}

impl Granted {
    /// Server: zeroed pages, to be mapped and then [sealed](Self::seal). `first` is not 0.
    pub(super) fn new(first: u32, pages: usize) -> Result<Self, Error> {
        let make = || {
            let file = memfd_create("vchan", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
            ftruncate(&file, (pages * PAGE_SIZE) as u64)?;
            fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW)?;
            Ok(file)
        };
        let file = make().map_err(kernel::<rustix::io::Errno>("no memory to share"))?;
        Ok(Self {
            file,
            first,
            pages: pages as u32,
        })
    }

    /// Server: from here on nobody can map the pages in another way than `peer` may; our own mapping stays as it is.
    pub(super) fn seal(&self, peer: Access) -> Result<(), Error> {
        let writing = match peer {
            Access::ReadOnly => SealFlags::FUTURE_WRITE,
            Access::ReadWrite => SealFlags::empty(),
        };
        fcntl_add_seals(&self.file, writing | SealFlags::SEAL)
            .map_err(kernel::<rustix::io::Errno>("no seal for memory to share"))
    }

    /// Client: what a server has sent, looked at once; a seal is for ever.
    pub(super) fn received(file: OwnedFd, first: u32, pages: u32) -> Result<Self, BadPages> {
        // The seals first: a file that cannot shrink is still as long later on.
        let sealed = fcntl_get_seals(&file).is_ok_and(|seals| seals.contains(SealFlags::SHRINK));
        let kind = fstatfs(&file).map_err(io::Error::from)?.f_type;
        if !sealed || kind as i64 != TMPFS_MAGIC {
            return Err(BadPages::Unsealed);
        }
        let bytes = fstat(&file)
            .map_err(io::Error::from)?
            .st_size
            .unsigned_abs();
        if bytes < u64::from(pages) * PAGE_SIZE as u64 {
            return Err(BadPages::Short { bytes, pages });
        }
        Ok(Self { file, first, pages })
    }

    pub(super) fn first(&self) -> u32 {
        self.first
    }

    pub(super) fn last(&self) -> u32 {
        self.first + (self.pages - 1)
    }

    pub(super) fn pages(&self) -> u32 {
        self.pages
    }

    pub(super) fn file(&self) -> &OwnedFd {
        &self.file
    }

    pub(super) fn holds(&self, grant_ref: u32) -> bool {
        (self.first..=self.last()).contains(&grant_ref)
    }

    /// Maps `pages` pages from `offset` on; the caller has checked that they are there.
    pub(super) fn map(
        &self,
        offset: u64,
        pages: usize,
        access: Access,
        grants: Option<Arc<Granted>>,
    ) -> Result<Memory, BadPages> {
        debug_assert!(pages <= MAX_RING_PAGES);
        Ok(Memory::map(
            self.file.as_fd(),
            offset,
            pages,
            access,
            grants,
        )?)
    }
}
