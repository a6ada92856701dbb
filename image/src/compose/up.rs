//! `grantflow up`: makes what runs what the file says, all of it or nothing.
//!
//! A stage whose domain is what the file asks for is kept. The others get new domains beside the old ones, which give their
//! names up; then everyone is told of their new peers, and only then the old ones go. Until that moment every step can be
//! undone, and is, when one fails or the composer is killed ([`super::record`]).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::domains::{self, ComposeError, create, find, is_alive, peer_key};
use super::first_words::{self, NewDomain};
use super::load::size;
use super::plan::{Plan, Planned, Wire};
use super::record::{EdgeRecord, Journal, Record, StageRecord, Undo};
use super::sums;
use crate::progress::Progress;
use crate::xl::{DomId, Domain, Tools, Uuid, XenStore, Xl};

/// What a change came to.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct Changed {
    /// Stages that have a new domain.
    pub created: Vec<String>,
    /// Stages that have kept theirs.
    pub kept: Vec<String>,
    /// Stages of before that are not in the file any more.
    pub removed: Vec<String>,
    /// The domains of the host when all this was done.
    #[serde(skip)]
    pub domains: Vec<Domain>,
}

/// What is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// What shall run.
    pub plan: &'a Plan,
    /// The file that says so.
    pub file: &'a Path,
    /// The stages that it is about.
    pub scope: Scope<'a>,
}

/// Which stages may get another domain.
#[derive(Debug, Clone, Copy)]
pub enum Scope<'a> {
    /// Those whose domain is not what the plan says, or has ended.
    Changed,
    /// These, whatever theirs is; all others keep theirs, whatever it is.
    Only(&'a [String]),
}

/// Makes what runs what the plan says. `cleanup` are the same tools, for undoing, whatever was asked of us meanwhile.
pub fn up<T: Tools>(
    wanted: Wanted<'_>,
    journal: &mut Journal,
    tools: &T,
    cleanup: &T,
    progress: &Progress,
) -> Result<Changed, ComposeError> {
    domains::recover(journal, cleanup)?;
    let change = Change::prepare(wanted, journal, tools)?;
    let mut changed = change.summary(journal);
    if change.is_empty(&changed) {
        changed.domains = change.before;
        return Ok(changed);
    }
    change.check_host(tools)?;
    match change.perform(journal, tools, progress) {
        Ok(domains) => changed.domains = domains,
        Err(cause) => {
            let cause = Box::new(cause);
            return Err(match domains::recover(journal, cleanup) {
                Ok(()) => ComposeError::Undone { cause },
                Err(undo) => ComposeError::NotUndone {
                    cause,
                    undo: Box::new(undo),
                },
            });
        }
    }
    domains::destroy_replaced(journal, cleanup)
        .map_err(|error| ComposeError::Remains(Box::new(error)))?;
    Ok(changed)
}

/// What a stage's domain will be.
enum Fate {
    /// The one that it has.
    Keep(Uuid),
    /// A new one; and the one that has its name until then.
    Create(Uuid, Option<Uuid>),
}

impl Fate {
    fn uuid(&self) -> &Uuid {
        match self {
            Self::Keep(uuid) | Self::Create(uuid, _) => uuid,
        }
    }
}

/// A change that is possible.
struct Change<'p> {
    plan: &'p Plan,
    file: PathBuf,
    /// The domains that there were.
    before: Vec<Domain>,
    /// In the order of the plan's stages.
    fates: Vec<Fate>,
    digests: Vec<String>,
}

impl<'p> Change<'p> {
    fn prepare<T: Tools>(
        wanted: Wanted<'p>,
        journal: &Journal,
        tools: &T,
    ) -> Result<Self, ComposeError> {
        let domains = Xl::new(tools).list()?;
        let stages = &wanted.plan.stages;
        if let Scope::Only(names) = wanted.scope {
            check_known(names, stages)?;
        }
        let (mut fates, mut digests) = (Vec::new(), Vec::new());
        let files = Digests::default();
        for stage in stages {
            let (fate, digest) = fate(stage, wanted.scope, &journal.record, &domains, &files)?;
            fates.push(fate);
            digests.push(digest);
        }
        Ok(Self {
            plan: wanted.plan,
            file: wanted.file.to_owned(),
            before: domains,
            fates,
            digests,
        })
    }

    fn summary(&self, journal: &Journal) -> Changed {
        let mut changed = Changed::default();
        for (stage, fate) in self.plan.stages.iter().zip(&self.fates) {
            match fate {
                Fate::Keep(_) => changed.kept.push(stage.stage.clone()),
                Fate::Create(..) => changed.created.push(stage.stage.clone()),
            }
        }
        let planned = |name: &String| self.plan.stages.iter().any(|stage| stage.stage == *name);
        let before = journal.record.stages.iter().map(|stage| &stage.name);
        changed.removed = before.filter(|name| !planned(name)).cloned().collect();
        changed
    }

    fn is_empty(&self, changed: &Changed) -> bool {
        changed.created.is_empty() && changed.removed.is_empty()
    }

    /// Compares what the new domains take with what there is.
    fn check_host<T: Tools>(&self, tools: &T) -> Result<(), ComposeError> {
        let host = Xl::new(tools).info()?;
        if let Some(too_much) = sums::sums(self.plan, &size).too_much_for(&host) {
            return Err(too_much.into());
        }
        let new = self.plan.stages.iter().zip(&self.fates);
        let new = new.filter(|(_, fate)| matches!(fate, Fate::Create(..)));
        let needed = sums::memory_mib(new.map(|(stage, _)| stage));
        let free = host.free_mib;
        if needed > free {
            return Err(ComposeError::Memory { needed, free });
        }
        Ok(())
    }

    /// Every step that can be undone, and the one that ends the change: its record. The domains that there are then.
    fn perform<T: Tools>(
        &self,
        journal: &mut Journal,
        tools: &T,
        progress: &Progress,
    ) -> Result<Vec<Domain>, ComposeError> {
        let mut replaced = Vec::new();
        for (stage, fate) in self.plan.stages.iter().zip(&self.fates) {
            let Fate::Create(uuid, old) = fate else {
                continue;
            };
            if let Some(old) = old {
                give_up_name(old, &stage.domain, journal, tools)?;
                replaced.push(old.clone());
            }
            progress.say(format_args!(
                "creating {} ({} MiB)",
                stage.domain, stage.memory_mib
            ));
            create(stage, uuid, journal, tools)?;
        }
        let numbers = self.numbers(tools)?;
        let generation = journal.record.generation + 1;
        for wire in &self.plan.wires {
            self.introduce(wire, generation, &numbers, journal, tools)?;
        }
        let domains = first_words::await_all(self.new_domains(&numbers).collect(), tools)?;
        let planned =
            |stage: &&StageRecord| self.plan.stages.iter().any(|one| one.stage == stage.name);
        let removed = journal.record.stages.iter().filter(|stage| !planned(stage));
        replaced.extend(removed.map(|stage| stage.uuid.clone()));
        let stages = self.records(&journal.record.stages);
        let before = std::mem::replace(
            &mut journal.record,
            Record {
                file: self.file.clone(),
                plan: self.plan.clone(),
                generation,
                stages,
                undo: Vec::new(),
                replaced,
            },
        );
        journal.save().inspect_err(|_| journal.record = before)?;
        Ok(domains)
    }

    /// The number of each stage's domain, in the order of the plan's stages; none for a kept one that is gone.
    fn numbers<T: Tools>(&self, tools: &T) -> Result<Vec<Option<DomId>>, ComposeError> {
        let known = domains::numbers(tools)?;
        let mut numbers = Vec::new();
        for (stage, fate) in self.plan.stages.iter().zip(&self.fates) {
            let number = known.get(fate.uuid()).copied();
            if let (Fate::Create(..), None) = (fate, number) {
                return Err(ComposeError::Vanished(stage.domain.clone()));
            }
            numbers.push(number);
        }
        Ok(numbers)
    }

    /// Tells both ends of an edge who the other is, unless both knew before.
    fn introduce<T: Tools>(
        &self,
        wire: &Wire,
        generation: u32,
        numbers: &[Option<DomId>],
        journal: &mut Journal,
        tools: &T,
    ) -> Result<(), ComposeError> {
        let (Some(from), Some(to)) = (wire.from, wire.to) else {
            return Ok(());
        };
        let end = |stage: usize| Some((self.fates.get(stage)?, (*numbers.get(stage)?)?));
        let (Some(from), Some(to)) = (end(from), end(to)) else {
            return Ok(());
        };
        if let (Fate::Keep(_), Fate::Keep(_)) = (from.0, to.0) {
            return Ok(());
        }
        let key = peer_key(&wire.name);
        let store = XenStore::new(tools);
        for ((fate, own), (_, peer)) in [(to, from), (from, to)] {
            let path = format!("/local/domain/{own}/{key}");
            // What is below a new domain goes with it.
            if let Fate::Keep(uuid) = fate {
                let value = store.read(&path)?;
                journal.before(Undo::Key {
                    uuid: uuid.clone(),
                    key: key.clone(),
                    value,
                })?;
            }
            store.write(&path, &format!("{peer} {generation}"))?;
        }
        Ok(())
    }

    /// The new domains with their numbers.
    fn new_domains<'n>(
        &'n self,
        numbers: &'n [Option<DomId>],
    ) -> impl Iterator<Item = NewDomain<'n>> {
        let all = self.plan.stages.iter().zip(&self.fates).zip(numbers);
        all.filter_map(|((stage, fate), number)| match (fate, *number) {
            (Fate::Create(uuid, _), Some(id)) => Some(NewDomain { stage, uuid, id }),
            _ => None,
        })
    }

    fn records(&self, before: &[StageRecord]) -> Vec<StageRecord> {
        let restarts = |name: &str, fate: &Fate| {
            let known = before.iter().find(|known| known.name == name);
            known.map_or(0, |known| match fate {
                Fate::Keep(_) => known.restarts,
                Fate::Create(..) => known.restarts.saturating_add(1),
            })
        };
        let all = self.plan.stages.iter().zip(&self.fates).zip(&self.digests);
        all.enumerate()
            .map(|(place, ((stage, fate), digest))| StageRecord {
                name: stage.stage.clone(),
                domain: stage.domain.clone(),
                uuid: fate.uuid().clone(),
                digest: digest.clone(),
                edges: EdgeRecord::of_stage(self.plan, place),
                restarts: restarts(&stage.stage, fate),
            })
            .collect()
    }
}

/// Every name is a stage's.
fn check_known(names: &[String], stages: &[Planned]) -> Result<(), ComposeError> {
    let is_known = |name: &String| stages.iter().any(|stage| stage.stage == *name);
    match names.iter().find(|name| !is_known(name)) {
        None => Ok(()),
        Some(unknown) => {
            let known: Vec<&str> = stages.iter().map(|stage| stage.stage.as_str()).collect();
            Err(ComposeError::Unknown {
                name: format!("stage `{unknown}`"),
                known: format!("; there are: {}", known.join(", ")),
            })
        }
    }
}

/// What becomes of a stage, given what there is; and the digest of what its domain then is.
fn fate(
    stage: &Planned,
    scope: Scope<'_>,
    record: &Record,
    domains: &[Domain],
    files: &Digests,
) -> Result<(Fate, String), ComposeError> {
    let known = record.stages.iter().find(|known| known.name == stage.stage);
    let old = known.and_then(|known| find(domains, &known.uuid));
    let digest = match (scope, known) {
        (Scope::Only(names), Some(known)) if !names.contains(&stage.stage) => {
            return Ok((Fate::Keep(known.uuid.clone()), known.digest.clone()));
        }
        (Scope::Only(_), _) => files.of(stage),
        (Scope::Changed, _) => {
            let digest = files.of(stage);
            if let (Some(known), Some(old)) = (known, old)
                && known.digest == digest
                && old.name == stage.domain
                && is_alive(old)
            {
                return Ok((Fate::Keep(known.uuid.clone()), digest));
            }
            digest
        }
    };
    // A domain that has the name and is none of ours, whatever its number.
    let is_ours = |domain: &Domain| {
        record
            .stages
            .iter()
            .any(|one| Some(&one.uuid) == domain.uuid.as_ref())
    };
    if let Some(other) = domains
        .iter()
        .find(|domain| domain.name == stage.domain && !is_ours(domain))
    {
        return Err(ComposeError::Taken(other.name.clone()));
    }
    let uuid = Uuid::random().map_err(|source| ComposeError::File {
        path: "/dev/urandom".into(),
        source,
    })?;
    Ok((
        Fate::Create(uuid, old.and_then(|old| old.uuid.clone())),
        digest,
    ))
}

/// Renames a domain that is to be replaced, so that its successor can have the name.
fn give_up_name<T: Tools>(
    uuid: &Uuid,
    name: &str,
    journal: &mut Journal,
    tools: &T,
) -> Result<(), ComposeError> {
    let xl = Xl::new(tools);
    let domains = xl.list()?;
    let Some(domain) = find(&domains, uuid) else {
        return Ok(());
    };
    journal.before(Undo::Rename {
        uuid: uuid.clone(),
        name: name.to_owned(),
    })?;
    Ok(xl.rename(domain.id, &format!("old-{uuid}"))?)
}

/// Digests of files, each of which is read once however many stages share it.
#[derive(Default)]
struct Digests(RefCell<BTreeMap<PathBuf, String>>);

impl Digests {
    /// Of all that makes a stage's domain what it is.
    fn of(&self, stage: &Planned) -> String {
        hex(&Sha256::digest(stage.essence(&|path| self.file(path))))
    }

    fn file(&self, path: &Path) -> String {
        let mut known = self.0.borrow_mut();
        let digest = known
            .entry(path.to_owned())
            .or_insert_with(|| match std::fs::read(path) {
                Ok(bytes) => hex(&Sha256::digest(bytes)),
                Err(error) => format!("{}: {error}", path.display()),
            });
        digest.clone()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
