//! What a stage tells of itself in xenstore, read by dom0.

use stage::boot::Boot;
use stage::counters::{Counters, CountersError, OWN_NODE, STAGE_NODE};
use stage::params::Direction;

use super::store::{StoreError, XenStore};
use super::tools::Tools;
use super::toolstack::DomId;

/// The nodes of one domain's stage.
#[derive(Debug)]
pub struct Told<'t, T> {
    store: XenStore<'t, T>,
    base: String,
}

/// Why counters are not known.
#[derive(Debug, thiserror::Error)]
pub enum ToldError {
    /// xenstore could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There are none.
    #[error("a stage has left no counters at {0}")]
    NoCounters(String),
    /// They cannot be read.
    #[error("cannot read the counters at {path}: `{text}`")]
    BadCounters {
        /// The node.
        path: String,
        /// What it holds.
        text: String,
        /// What is wrong with it.
        #[source]
        error: CountersError,
    },
}

impl<'t, T: Tools> Told<'t, T> {
    /// What this domain's stage tells.
    pub fn new(tools: &'t T, domain: DomId) -> Self {
        Self {
            store: XenStore::new(tools),
            base: format!("/local/domain/{domain}/data/grantflow"),
        }
    }

    /// Its state, if it tells one.
    pub fn state(&self) -> Option<String> {
        self.store
            .read(&format!("{}/state", self.base))
            .ok()
            .flatten()
    }

    /// How it came up; `None` where it has not told.
    pub fn boot(&self) -> Option<Boot> {
        let path = format!("{}/{}", self.base, stage::boot::NODE);
        let text = self.store.read(&path).ok().flatten()?;
        Boot::parse(&text).ok()
    }

    /// Everything that it has counted.
    pub fn counters(&self) -> Result<Counters, ToldError> {
        let mut nodes = vec![STAGE_NODE.to_owned()];
        for direction in [Direction::In, Direction::Out] {
            let folder = format!("stats/{direction}");
            let names = self.store.list(&format!("{}/{folder}", self.base))?;
            nodes.extend(names.into_iter().map(|name| format!("{folder}/{name}")));
        }
        // Not every stage has some of its own.
        nodes.push(OWN_NODE.to_owned());
        let mut counters = Counters::default();
        for node in nodes {
            let path = format!("{}/{node}", self.base);
            let Some(text) = self.store.read(&path)? else {
                if node == OWN_NODE {
                    continue;
                }
                return Err(ToldError::NoCounters(path));
            };
            counters
                .absorb(&node, &text)
                .map_err(|error| ToldError::BadCounters { path, text, error })?;
        }
        Ok(counters)
    }
}
