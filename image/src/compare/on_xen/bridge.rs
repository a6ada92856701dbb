//! A bridge of the comparison's own in dom0: only its guests are on it, and it is gone afterwards.

use super::site::Trouble;
use crate::xl::{ToolError, Tools};

/// What it is called; the longest name of an interface has 15 letters.
pub const NAME: &str = "gf-compare";

/// Removes one that an earlier run has left behind; whether there was one.
pub fn clear(tools: &dyn Tools) -> Result<bool, Trouble> {
    match tools.run("ip", &["-o", "link", "show", "dev", NAME]) {
        Ok(told) if told.is_empty() => Ok(false),
        Ok(_) => {
            tools.run("ip", &["link", "del", NAME])?;
            Ok(true)
        }
        // There is none.
        Err(ToolError::Failed { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The bridge; removed when dropped.
pub struct Bridge<'t> {
    cleanup: &'t dyn Tools,
}

impl<'t> Bridge<'t> {
    /// Makes it. `cleanup` must work after a stop was asked for.
    pub fn new(tools: &dyn Tools, cleanup: &'t dyn Tools) -> Result<Self, Trouble> {
        tools.run("ip", &["link", "add", NAME, "type", "bridge"])?;
        let bridge = Self { cleanup };
        tools.run("ip", &["link", "set", NAME, "up"])?;
        Ok(bridge)
    }
}

impl Drop for Bridge<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.cleanup.run("ip", &["link", "del", NAME]) {
            crate::output::tell(format_args!("cannot remove the bridge {NAME}: {error}"));
        }
    }
}
