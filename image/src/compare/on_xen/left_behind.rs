//! What a comparison that was killed has left in this dom0, and that no other one is at work here.

use std::fs::{File, TryLockError};
use std::path::Path;

use super::bridge;
use super::site::{MARK, PREFIX, Site, Trouble};

/// Where it stands that a comparison is at work: a folder that is root's alone, and empty after a boot.
pub const RUN: &str = "/run";

/// The only comparison in this dom0 as long as this lives; the system lets go of it, however its owner ends.
#[derive(Debug)]
pub struct Alone {
    _lock: File,
}

impl Alone {
    /// An error if there is another one. The folder is [`RUN`], but for tests.
    pub fn new(folder: &Path) -> Result<Self, Trouble> {
        let path = folder.join("grantflow-compare.lock");
        let lock = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(Trouble::file(&path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Trouble::new(
                "another comparison is at work in this dom0: wait for its end, or stop it",
            )),
            Err(TryLockError::Error(error)) => Err(Trouble::file(&path)(error)),
        }
    }
}

/// Ends what is left of earlier comparisons, which is known by name and mark, and says so. Who calls it is [`Alone`].
pub fn clear(site: &mut Site<'_>) -> Result<(), Trouble> {
    let mut left = Vec::new();
    for domain in site.xl().list()? {
        let is_ours = domain.uuid.is_some_and(|uuid| uuid.has_mark(MARK));
        if is_ours && domain.name.starts_with(PREFIX) {
            site.xl().destroy(domain.id)?;
            left.push(domain.name);
        }
    }
    if bridge::clear(site.tools())? {
        left.push(format!("the bridge {}", bridge::NAME));
    }
    if !left.is_empty() {
        let left = left.join(", ");
        site.warn(format_args!(
            "an earlier comparison was killed here; removed what it left: {left}"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_comparison_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let first = Alone::new(folder.path()).unwrap();
        let refused = Alone::new(folder.path()).unwrap_err().to_string();
        assert!(refused.contains("another comparison"), "{refused}");
        drop(first);
        Alone::new(folder.path()).unwrap();
    }
}
