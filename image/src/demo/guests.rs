//! The domains of the stages, watched from dom0: whether they live, what they say, what they counted.

use std::fmt::Write as _;

use stage::boot::Boot;
use stage::counters::Counters;

use super::error::DemoError;
use crate::xl::{DomId, Domain, Told, Tools, Xl};

/// The domains of the stages.
#[derive(Debug)]
pub struct Guests<'t, T> {
    tools: &'t T,
    names: Vec<String>,
}

impl<'t, T: Tools> Guests<'t, T> {
    /// Domains of these names, in the order of the stages.
    pub fn new(tools: &'t T, names: Vec<String>) -> Self {
        Self { tools, names }
    }

    /// All of them, in the order of the stages; an error when one has crashed or is gone.
    pub fn check(&self) -> Result<Vec<Domain>, DemoError> {
        let all = Xl::new(self.tools).list()?;
        let mut domains = Vec::new();
        for name in &self.names {
            let domain = all.iter().find(|domain| domain.name == *name);
            let domain = domain.ok_or_else(|| DemoError::Vanished(name.clone()))?;
            if let Some(reason) = domain.ended.filter(|reason| !reason.is_orderly()) {
                let mut said = self.last_words(&[name]);
                // A domain without a stack cannot say so itself.
                if let Some(crash) = Xl::new(self.tools).crash(domain.id) {
                    let _ = write!(said, "\n    Xen: {crash}");
                }
                return Err(DemoError::Crashed {
                    name: name.clone(),
                    reason: reason.to_string(),
                    said,
                });
            }
            domains.push(domain.clone());
        }
        Ok(domains)
    }

    /// What domains said last: their state in xenstore and the end of their consoles, a line each.
    pub fn last_words(&self, names: &[&str]) -> String {
        let mut words = String::new();
        for name in names {
            let domain = Xl::new(self.tools).find(name).ok().flatten();
            let state = domain.and_then(|domain| self.state(domain.id));
            // Writing into a String cannot fail.
            let _ = write!(
                words,
                "\n  {name}: state {}",
                state.as_deref().unwrap_or("unknown")
            );
            for line in crate::xl::console::tail(name) {
                let _ = write!(words, "\n    {line}");
            }
        }
        words
    }

    /// What all of them said last.
    pub fn last_words_of_all(&self) -> String {
        self.last_words(&self.names.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// The state that a stage tells, if it tells one.
    pub fn state(&self, domain: DomId) -> Option<String> {
        Told::new(self.tools, domain).state()
    }

    /// How the stage of a domain came up; `None` where it has not told.
    pub fn boot(&self, domain: DomId) -> Option<Boot> {
        Told::new(self.tools, domain).boot()
    }

    /// Everything that the stage of a domain has counted.
    pub fn counters(&self, domain: DomId) -> Result<Counters, DemoError> {
        Ok(Told::new(self.tools, domain).counters()?)
    }
}
