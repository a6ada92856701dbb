//! Why the demo could not be run to its end.

use super::gathered::FigureError;
use super::messages::MessageError;
use super::reader::ReaderError;
use super::results::ResultsError;
use crate::broker::BrokerError;
use crate::xl::{BootInputError, ConfigError, GuardError, StoreError, ToldError, XlError};

/// Why the demo could not be run to its end. Wrong results are no error: they stand in the report.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A call of `xl` failed.
    #[error(transparent)]
    Xl(#[from] XlError),
    /// A name is taken.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// xenstore could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A stage cannot be told what it needs.
    #[error(transparent)]
    Boot(#[from] BootInputError),
    /// A domain cannot be described.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The foreign reader failed.
    #[error(transparent)]
    Reader(#[from] ReaderError),
    /// What arrived are no results.
    #[error(transparent)]
    Results(#[from] ResultsError),
    /// What the broker delivered are no results.
    #[error(transparent)]
    Messages(#[from] MessageError),
    /// What the broker delivered is not all of a window.
    #[error(transparent)]
    Figure(#[from] FigureError),
    /// There is no broker or no subscriber.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// A file of the run.
    #[error("cannot write or read the demo's files; is the disk full?")]
    Files(#[source] std::io::Error),
    /// Signals cannot be heeded.
    #[error("cannot watch for Ctrl-C: {0}")]
    Signals(String),
    /// The pipeline has no edge to dom0.
    #[error("no stage writes to dom0 or to a broker")]
    NoResultEdge,
    /// The user asked to stop.
    #[error("stopped by a signal; the demo's domains are destroyed")]
    Stopped,
    /// A domain that was just there is not in `xl list`.
    #[error("domain {0} is gone: was it destroyed by hand?")]
    Vanished(String),
    /// A stage ended with an error.
    #[error("domain {name} ended with `{reason}`:{said}")]
    Crashed {
        /// The domain.
        name: String,
        /// Why it says it ended.
        reason: String,
        /// Its state and the end of its console.
        said: String,
    },
    /// It took too long.
    #[error(
        "{have} of {all} windows after {seconds} s, and no end; a slow machine needs a longer --timeout:{said}"
    )]
    Timeout {
        /// The time it had.
        seconds: u64,
        /// Windows that arrived.
        have: usize,
        /// Windows there should be.
        all: usize,
        /// What the stages said last.
        said: String,
    },
    /// The foreign reader saw a close before the end of the stream, or the subscriber ended.
    #[error("the results broke off after {have} of {all} windows, without an end of stream:{said}")]
    CutShort {
        /// Windows that arrived.
        have: usize,
        /// Windows there should be.
        all: usize,
        /// What the stages said last.
        said: String,
    },
    /// The aggregator ended, and the end of its stream never came.
    #[error("the aggregator has ended without an end of stream:{0}")]
    EndedEarly(String),
    /// The stream ended without one record.
    #[error("the aggregator ended its stream without a single record")]
    NoRecord,
    /// The stages did not power off.
    #[error("{names} still running {seconds} s after the end of the stream:{said}")]
    StillRunning {
        /// The domains.
        names: String,
        /// How long they had.
        seconds: u64,
        /// What they said last.
        said: String,
    },
    /// What a stage has counted is not known.
    #[error(transparent)]
    Told(#[from] ToldError),
}
