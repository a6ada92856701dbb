//! Why something in a dom0 did not work.

use std::fmt;
use std::io;
use std::path::Path;

use crate::xl::{ConfigError, GuardError, StoreError, ToolError, XlError};

/// Why something on a site did not work.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The user asked to stop, or nobody reads the results any more.
    #[error("stopped by a signal")]
    Stopped,
    /// It failed: why, in one line, and what to do where that is known.
    #[error("{0}")]
    Failed(String),
}

impl Trouble {
    /// A failure of this reason.
    pub fn new(reason: impl fmt::Display) -> Self {
        Self::Failed(reason.to_string())
    }

    /// A failure of what is named; a stop stays one.
    pub fn of(self, what: &str) -> Self {
        match self {
            Self::Failed(reason) => Self::Failed(format!("{what}: {reason}")),
            Self::Stopped => Self::Stopped,
        }
    }

    /// For failures about a file.
    pub fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| {
            let help = match error.kind() {
                io::ErrorKind::StorageFull => "; make room in that file system",
                _ => "",
            };
            Self::Failed(format!("{}: {error}{help}", path.display()))
        }
    }
}

impl From<ToolError> for Trouble {
    fn from(error: ToolError) -> Self {
        match error {
            ToolError::Stopped => Self::Stopped,
            other => Self::new(other),
        }
    }
}

impl From<XlError> for Trouble {
    fn from(error: XlError) -> Self {
        match error {
            XlError::Tool(error) => error.into(),
            XlError::Store(error) => error.into(),
            other => Self::new(other),
        }
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Tool(error) => error.into(),
            other => Self::new(other),
        }
    }
}

impl From<GuardError> for Trouble {
    fn from(error: GuardError) -> Self {
        match error {
            GuardError::Xl(error) => error.into(),
            other => Self::new(other),
        }
    }
}

impl From<ConfigError> for Trouble {
    fn from(error: ConfigError) -> Self {
        Self::new(error)
    }
}
