//! Whom to feed: a stage's domain on Xen, or a process of this host.

use std::str::FromStr;

use stage::params::EdgeName;
use vchan_linux::local::{self, Folder};
use vchan_linux::xen;
use vchan_linux::xenstore::{Connection, Tx};

use super::edge::Readers;
use crate::compose::domains::numbers;
use crate::compose::record;
use crate::xl::{DomId, Tools};

/// What is written after `--to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum To {
    /// `EDGE` or `PIPELINE/EDGE`: the edge from dom0 of a pipeline that is up.
    Pipeline(Option<String>, EdgeName),
    /// `DOMID/EDGE`: an edge of a domain.
    Domain(u16, EdgeName),
    /// `local:NAME`: a process of this host.
    Local(String),
}

impl FromStr for To {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix("local:") {
            return Ok(Self::Local(name.to_owned()));
        }
        let (before, edge) = match text.rsplit_once('/') {
            Some((before, edge)) => (Some(before), edge),
            None => (None, text),
        };
        let edge = EdgeName::new(edge).ok_or_else(|| {
            format!("`{edge}` is no edge: 1 to 12 of a-z 0-9 _ -, the first a letter or digit")
        })?;
        Ok(match before.map(|before| (before, before.parse())) {
            Some((_, Ok(domain))) => Self::Domain(domain, edge),
            Some((name, Err(_))) => Self::Pipeline(Some(name.to_owned()), edge),
            None => Self::Pipeline(None, edge),
        })
    }
}

/// The name of the stage at the end of an edge that begins in dom0.
pub fn stage_of(record: &record::Record, edge: &str) -> Result<String, String> {
    let from_dom0 = |stage: &&record::StageRecord| {
        let mut edges = stage.edges.iter();
        edges.any(|one| one.name == edge && one.reads && one.peer.is_none())
    };
    match record.stages.iter().find(from_dom0) {
        Some(stage) => Ok(stage.name.clone()),
        None => Err(format!(
            "{} has no edge {edge} with from = \"dom0\"",
            record.plan.name
        )),
    }
}

/// The domain of a stage, whichever that is after restarts, found by its identity.
#[derive(Debug)]
pub struct Stage<T> {
    /// The pipeline.
    pub pipeline: String,
    /// Its edge from dom0.
    pub edge: EdgeName,
    /// The way to xenstore.
    pub tools: T,
}

impl<T: Tools> Readers for Stage<T> {
    type Meeting = xen::Meeting;

    fn now(&mut self) -> Result<Option<(String, xen::Meeting)>, String> {
        let text = |error: &dyn std::error::Error| error.to_string();
        let record = record::look(&record::home(), &self.pipeline).map_err(|error| text(&error))?;
        let Some(record) = record.filter(|record| !record.stages.is_empty()) else {
            return Err(format!("pipeline {} is down", self.pipeline));
        };
        let stage = stage_of(&record, self.edge.as_str())?;
        let uuid = record
            .stages
            .iter()
            .find(|one| one.name == stage)
            .map(|one| &one.uuid);
        let known = numbers(&self.tools).map_err(|error| text(&error))?;
        match uuid.and_then(|uuid| known.get(uuid)) {
            Some(DomId(domain)) => meeting(*domain, &self.edge).map(Some),
            None => Ok(None),
        }
    }
}

/// An edge of a domain.
#[derive(Debug)]
pub struct Domain(pub u16, pub EdgeName);

impl Readers for Domain {
    type Meeting = xen::Meeting;

    fn now(&mut self) -> Result<Option<(String, xen::Meeting)>, String> {
        meeting(self.0, &self.1).map(Some)
    }
}

/// Where to meet a domain that reads from this one.
fn meeting(domain: u16, edge: &EdgeName) -> Result<(String, xen::Meeting), String> {
    let own = own_domain()?;
    let path = format!("/local/domain/{domain}/data/vchan/{own}/{edge}");
    let meeting = xen::Meeting::new(domain, &path).map_err(|error| error.to_string())?;
    Ok((domain.to_string(), meeting))
}

/// The domain that this process runs in.
fn own_domain() -> Result<u16, String> {
    let read = || Connection::open()?.read(Tx::NONE, "domid");
    let value = read().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&value);
    text.parse().map_err(|_| {
        format!(
            "xenstore says that this is domain `{}`",
            text.escape_debug()
        )
    })
}

/// A process of this host.
#[derive(Debug)]
pub struct Local {
    /// Where processes meet.
    pub folder: Folder,
    /// By what name.
    pub name: String,
}

impl Readers for Local {
    type Meeting = local::Meeting;

    fn now(&mut self) -> Result<Option<(String, local::Meeting)>, String> {
        let meeting =
            local::Meeting::new(&self.folder, &self.name).map_err(|error| error.to_string())?;
        Ok(Some((self.name.clone(), meeting)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_fed_is_told_by_how_it_is_written() {
        let edge = |name| EdgeName::new(name).unwrap();
        for (text, to) in [
            ("flow", To::Pipeline(None, edge("flow"))),
            (
                "water/flow",
                To::Pipeline(Some("water".into()), edge("flow")),
            ),
            (
                "image/pipelines/w.toml/flow",
                To::Pipeline(Some("image/pipelines/w.toml".into()), edge("flow")),
            ),
            ("7/flow", To::Domain(7, edge("flow"))),
            ("local:7/flow", To::Local("7/flow".into())),
        ] {
            assert_eq!(text.parse::<To>().unwrap(), to);
        }
        assert!("7/".parse::<To>().is_err() && "Flow".parse::<To>().is_err());
    }
}
