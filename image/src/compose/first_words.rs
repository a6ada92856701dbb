//! Exit code 0 of `xl create` is not enough: a new stage must have said a first word, and must not have crashed.

use std::thread;
use std::time::{Duration, Instant};

use super::domains::{ComposeError, find, is_alive};
use super::plan::Planned;
use crate::xl::{DomId, Domain, Told, Tools, Uuid, Xl};

/// How long stages may take from their creation to their first word in xenstore; emulated machines boot in milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often to look for it there.
const PAUSE: Duration = Duration::from_millis(10);

/// How often to ask Xen meanwhile whether one has crashed: it starts a program.
const LOOK: Duration = Duration::from_millis(500);

/// A domain that was created.
#[derive(Debug, Clone, Copy)]
pub struct NewDomain<'n> {
    /// For this stage.
    pub stage: &'n Planned,
    /// Its identity.
    pub uuid: &'n Uuid,
    /// Its number.
    pub id: DomId,
}

/// Waits until each has told a state, or has ended in order; the domains that there are then.
pub fn await_all<T: Tools>(
    new: Vec<NewDomain<'_>>,
    tools: &T,
) -> Result<Vec<Domain>, ComposeError> {
    let begin = Instant::now();
    let mut silent = new.clone();
    let mut looked = begin;
    loop {
        silent.retain(|one| Told::new(tools, one.id).state().is_none());
        // One that has told something may have crashed since; one that has crashed at once never will.
        if silent.is_empty() || looked.elapsed() >= LOOK {
            looked = Instant::now();
            let domains = Xl::new(tools).list()?;
            for one in &new {
                check_lives(one, &domains)?;
            }
            silent.retain(|one| find(&domains, one.uuid).is_some_and(is_alive));
            if silent.is_empty() {
                return Ok(domains);
            }
        }
        if let Some(one) = silent.first()
            && begin.elapsed() >= PATIENCE
        {
            return Err(ComposeError::Silent {
                domain: one.stage.domain.clone(),
                seconds: PATIENCE.as_secs(),
                said: last_words(one.stage),
            });
        }
        thread::sleep(PAUSE);
    }
}

/// Whether the domain is there, and has not ended against its will.
fn check_lives(one: &NewDomain<'_>, domains: &[Domain]) -> Result<(), ComposeError> {
    let name = || one.stage.domain.clone();
    let domain = find(domains, one.uuid).ok_or_else(|| ComposeError::Vanished(name()))?;
    match domain.ended.filter(|reason| !reason.is_orderly()) {
        None => Ok(()),
        Some(reason) => Err(ComposeError::EndedAtOnce {
            domain: name(),
            reason: reason.to_string(),
            said: last_words(one.stage),
        }),
    }
}

/// The end of a stage's console, each line after a line break.
fn last_words(stage: &Planned) -> String {
    let lines = crate::xl::console::tail(&stage.domain);
    lines.iter().map(|line| format!("\n  {line}")).collect()
}
