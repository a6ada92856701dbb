//! Who looks at a pipeline again and again.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::compose::commands::{Dom0, by_blame, known};
use crate::compose::process::look::OnProcesses;
use crate::compose::record;
use crate::compose::snapshot::{OnXen, Snapshot, snapshot};
use crate::failure::Failure;
use crate::xl::SystemTools;

/// Which pipeline to watch.
#[derive(clap::Args, Debug)]
pub struct Which {
    /// The pipeline's name, or its file [default: the one there is]
    #[arg(value_name = "NAME|FILE.toml")]
    pub pipeline: Option<String>,
}

/// Looks at one pipeline.
#[derive(Debug)]
pub struct Looker {
    name: String,
    tools: SystemTools,
    stop: Arc<AtomicBool>,
}

impl Looker {
    /// At the pipeline that is meant.
    pub fn new(which: &Which) -> Result<Self, Failure> {
        let (name, _) = known(which.pipeline.as_deref()).map_err(by_blame)?;
        let dom0 = Dom0::here()?;
        Ok(Self {
            name,
            tools: dom0.tools,
            stop: dom0.stop,
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// True once the user has asked to stop.
    pub fn stop(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    /// The pipeline now, which the caller's clock calls `at`; none once it is down.
    pub fn look(&self, at: Duration) -> Result<Option<Snapshot>, Failure> {
        if let Some(processes) = OnProcesses::find(&self.name)? {
            let now = snapshot(&self.name, processes.record(), &processes, at);
            return Ok(Some(now.map_err(by_blame)?));
        }
        // A supervisor may have given stages other domains.
        let Some(record) = record::look(&record::home(), &self.name)? else {
            return Ok(None);
        };
        let source = OnXen(&self.tools);
        Ok(Some(
            snapshot(&self.name, &record, &source, at).map_err(by_blame)?,
        ))
    }
}
