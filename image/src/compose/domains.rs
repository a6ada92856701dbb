//! The domains of a pipeline: found by their identity, never by name or number alone, which may be another's by now.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use vchan_linux::xen::DomainInfo;

use super::plan::Planned;
use super::record::{Journal, RecordError, StageRecord, Undo};
use super::sums::TooMuch;
use crate::xl::{
    BootInputError, ConfigError, DomId, Domain, StoreError, Tools, Uuid, XenStore, Xl, XlError,
};

/// Why a pipeline could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// Somebody else's domain has a name that a stage needs.
    #[error(
        "a domain named {0} exists already and is not this pipeline's: `xl destroy {0}` if nobody needs it, or name the pipeline otherwise"
    )]
    Taken(String),
    /// The host has not as much memory.
    #[error(
        "the stages need {needed} MiB more and {free} MiB are free; give stages less memory, or end other domains"
    )]
    Memory {
        /// What the new domains take together.
        needed: u64,
        /// What Xen has.
        free: u64,
    },
    /// A stage takes more than the host gives a domain.
    #[error(transparent)]
    TooMuch(#[from] TooMuch),
    /// A domain that `xl create` reported as created is not there.
    #[error("`xl create` succeeded, and there is no domain {0}; see `xl list` and `xl dmesg`")]
    Vanished(String),
    /// A domain ended as soon as it was created.
    #[error("{domain} ended at once ({reason}); its console:{said}")]
    EndedAtOnce {
        /// The domain.
        domain: String,
        /// Why, as Xen says.
        reason: String,
        /// The last lines of its console, each after a line break.
        said: String,
    },
    /// A domain that runs, and is no stage or does not come up.
    #[error("{domain} has told no state in {seconds} s; its console:{said}")]
    Silent {
        /// The domain.
        domain: String,
        /// How long it had.
        seconds: u64,
        /// The last lines of its console, each after a line break.
        said: String,
    },
    /// There is no such pipeline.
    #[error("there is no pipeline {name}{known}")]
    Unknown {
        /// The name.
        name: String,
        /// Which there are.
        known: String,
    },
    /// `xl` failed.
    #[error(transparent)]
    Xl(#[from] XlError),
    /// xenstore could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The record could not be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A configuration could not be written.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The parameters cannot reach the image.
    #[error(transparent)]
    Boot(#[from] BootInputError),
    /// A file could not be written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Something failed, and what had been done was undone.
    #[error("{cause}; all is as it was before")]
    Undone {
        /// What failed.
        cause: Box<ComposeError>,
    },
    /// Something failed, and undoing failed too.
    #[error(
        "{cause}; and what had been done could not be undone: {undo}; the next command on this pipeline tries again"
    )]
    NotUndone {
        /// What failed.
        cause: Box<ComposeError>,
        /// What else did.
        undo: Box<ComposeError>,
    },
    /// A domain that is not needed any more is still there.
    #[error(
        "the change is made, and what it replaced could not be destroyed: {0}; the next command on this pipeline tries again"
    )]
    Remains(Box<ComposeError>),
}

/// The path of what dom0 tells a stage about an edge, below `/local/domain/ID/`.
pub fn peer_key(edge: &str) -> String {
    format!("grantflow/peer/{edge}")
}

/// The domain of this identity.
pub fn find<'d>(domains: &'d [Domain], uuid: &Uuid) -> Option<&'d Domain> {
    domains
        .iter()
        .find(|domain| domain.uuid.as_ref() == Some(uuid))
}

/// The number of every domain, for which no program has to be started: Xen tells it, or else what the toolstack keeps in
/// xenstore, where no domain can write.
pub fn numbers<T: Tools>(tools: &T) -> Result<BTreeMap<Uuid, DomId>, ComposeError> {
    if let Some(told) = tools.domains().map_err(XlError::from)? {
        let number = |info: DomainInfo| (info.handle.into(), DomId(info.domain));
        return Ok(told.into_iter().map(number).collect());
    }
    let store = XenStore::new(tools);
    let mut numbers = BTreeMap::new();
    for name in store.list("/local/domain")? {
        let Ok(id) = name.parse() else { continue };
        // One that goes meanwhile has none any more.
        let vm = store.read(&format!("/local/domain/{id}/vm"))?;
        let uuid = vm.as_deref().and_then(|vm| vm.strip_prefix("/vm/"));
        if let Some(Ok(uuid)) = uuid.map(|uuid| Uuid::try_from(uuid.to_owned())) {
            numbers.insert(uuid, DomId(id));
        }
    }
    Ok(numbers)
}

/// Whether a domain is there to work: built, not ended, not being taken apart.
pub fn is_alive(domain: &Domain) -> bool {
    domain.ended.is_none() && !domain.dying
}

/// Creates the domain of a stage, having written down how to undo it.
pub fn create<T: Tools>(
    stage: &Planned,
    uuid: &Uuid,
    journal: &mut Journal,
    tools: &T,
) -> Result<(), ComposeError> {
    let path = |end: &str| journal.folder().join(format!("{}.{end}", stage.domain));
    let (module, file) = (path("tar"), path("cfg"));
    let done = build(stage, uuid, (&module, &file), journal, tools);
    // `xl` has read them, and passwords may be among them. One that was never written is not there.
    for file in [module, file] {
        let _ = fs::remove_file(file);
    }
    done
}

fn build<T: Tools>(
    stage: &Planned,
    uuid: &Uuid,
    (module, file): (&Path, &Path),
    journal: &mut Journal,
    tools: &T,
) -> Result<(), ComposeError> {
    let boot = stage.input.prepare(module)?;
    let mut config = stage.config(boot.extra, boot.ramdisk);
    config.uuid = Some(uuid.clone());
    write(file, &config.render()?)?;
    journal.before(Undo::Destroy(uuid.clone()))?;
    Ok(Xl::new(tools).create(file)?)
}

fn write(path: &Path, text: &str) -> Result<(), ComposeError> {
    fs::write(path, text).map_err(|source| ComposeError::File {
        path: path.to_owned(),
        source,
    })
}

/// Destroys the domain of this identity, if there is one.
pub fn destroy<T: Tools>(uuid: &Uuid, tools: &T) -> Result<(), ComposeError> {
    let xl = Xl::new(tools);
    match find(&xl.list()?, uuid) {
        Some(domain) => Ok(xl.destroy(domain.id)?),
        None => Ok(()),
    }
}

/// Undoes a change that was cut short, if one was; and destroys what an earlier one has replaced.
pub fn recover<T: Tools>(journal: &mut Journal, tools: &T) -> Result<(), ComposeError> {
    while let Some(undo) = journal.record.undo.last().cloned() {
        perform(&undo, tools)?;
        journal.record.undo.pop();
        journal.save()?;
    }
    destroy_replaced(journal, tools)
}

/// Destroys the domains that a change has replaced.
pub fn destroy_replaced<T: Tools>(journal: &mut Journal, tools: &T) -> Result<(), ComposeError> {
    while let Some(uuid) = journal.record.replaced.last().cloned() {
        destroy(&uuid, tools)?;
        journal.record.replaced.pop();
        journal.save()?;
    }
    Ok(())
}

fn perform<T: Tools>(undo: &Undo, tools: &T) -> Result<(), ComposeError> {
    match undo {
        Undo::Destroy(uuid) => destroy(uuid, tools),
        Undo::Rename { uuid, name } => {
            let xl = Xl::new(tools);
            match find(&xl.list()?, uuid) {
                Some(domain) if domain.name != *name => Ok(xl.rename(domain.id, name)?),
                _ => Ok(()),
            }
        }
        Undo::Key { uuid, key, value } => {
            let domains = Xl::new(tools).list()?;
            let Some(domain) = find(&domains, uuid) else {
                return Ok(());
            };
            let path = format!("/local/domain/{}/{key}", domain.id);
            let store = XenStore::new(tools);
            match value {
                Some(value) => store.write(&path, value)?,
                None => store.remove(&path)?,
            }
            Ok(())
        }
    }
}

/// The stages of a record with their domains, as far as there are any.
pub fn of_record<'r>(
    stages: &'r [StageRecord],
    domains: &'r [Domain],
) -> impl Iterator<Item = (&'r StageRecord, Option<&'r Domain>)> + Clone {
    stages
        .iter()
        .map(|stage| (stage, find(domains, &stage.uuid)))
}
