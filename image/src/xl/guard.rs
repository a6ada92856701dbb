//! What was created is destroyed, on every way out.

use super::tools::Tools;
use super::toolstack::{Xl, XlError};

/// Destroys the domains of its names when it is dropped.
///
/// A name is entered *before* `xl create` runs: a creation that failed or was interrupted half-way leaves a domain too.
#[derive(Debug)]
pub struct DomainGuard<T: Tools> {
    tools: T,
    names: Vec<String>,
}

/// Why a name could not be taken under guard.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// Somebody else's domain has the name, and it shall live.
    #[error("a domain named {0} exists already: `xl destroy {0}`, if nobody needs it")]
    Exists(String),
    /// `xl list` failed.
    #[error(transparent)]
    Xl(#[from] XlError),
}

impl<T: Tools> DomainGuard<T> {
    /// A guard over no domain yet. `tools` must work after a stop was asked for.
    pub fn new(tools: T) -> Self {
        Self {
            tools,
            names: Vec::new(),
        }
    }

    /// Takes the names under guard, or none of them when one is in use.
    pub fn claim<'n>(
        &mut self,
        names: impl IntoIterator<Item = &'n str>,
    ) -> Result<(), GuardError> {
        let existing = Xl::new(&self.tools).list()?;
        let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        if let Some(taken) = names
            .iter()
            .find(|name| existing.iter().any(|domain| domain.name == **name))
        {
            return Err(GuardError::Exists(taken.clone()));
        }
        self.names.extend(names);
        Ok(())
    }

    /// Destroys every guarded domain that exists; the first failure is reported after all were tried.
    pub fn destroy_all(&mut self) -> Result<(), XlError> {
        if self.names.is_empty() {
            return Ok(());
        }
        let xl = Xl::new(&self.tools);
        let mut first_failure = None;
        for domain in xl
            .list()?
            .into_iter()
            .filter(|domain| self.names.contains(&domain.name))
        {
            if let Err(error) = xl.destroy(domain.id) {
                first_failure = first_failure.or(Some(error));
            }
        }
        match first_failure {
            Some(error) => Err(error),
            None => {
                self.names.clear();
                Ok(())
            }
        }
    }
}

impl<T: Tools> Drop for DomainGuard<T> {
    fn drop(&mut self) {
        if let Err(error) = self.destroy_all() {
            crate::output::tell(format_args!(
                "cannot destroy all of {}: {error}; see `xl list`",
                self.names.join(", ")
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::super::tools::ToolError;
    use super::*;

    /// Three domains; the one numbered 2 is gone before it can be destroyed.
    #[derive(Default)]
    struct Fake(RefCell<Vec<String>>);

    impl Tools for &Fake {
        fn run(&self, program: &'static str, arguments: &[&str]) -> Result<Vec<u8>, ToolError> {
            self.0
                .borrow_mut()
                .push(format!("{program} {}", arguments.join(" ")));
            match arguments {
                ["list", "-v"] => Ok(b"Name ID Mem VCPUs State Time(s) UUID Reason-Code Security Label
Domain-0 0 512 2 r----- 14.4 0000 - -
flow 1 1 1 -b---- 0.1 0001 - -
weather 2 2 1 ---s-- 0.1 0002 0 -
other 3 2 1 ---s-- 0.1 0003 0 -
"
                .to_vec()),
                ["destroy", "2"] => Err(ToolError::Failed {
                    command: "xl destroy 2".into(),
                    status: "exit status: 1".into(),
                    said: "libxl: error: libxl_domain.c:1183:libxl__destroy_domid: Domain 2:Non-existant domain".into(),
                }),
                _ => Ok(Vec::new()),
            }
        }
    }

    #[test]
    fn a_name_in_use_is_refused_and_its_domain_lives() {
        let fake = Fake::default();
        let mut guard = DomainGuard::new(&fake);
        assert!(
            matches!(guard.claim(["new", "other"]), Err(GuardError::Exists(name)) if name == "other")
        );
        drop(guard);
        assert_eq!(*fake.0.borrow(), ["xl list -v"]);
    }

    #[test]
    fn dropping_destroys_what_was_claimed_and_nothing_else() {
        let fake = Fake::default();
        let mut guard = DomainGuard::new(&fake);
        guard.names = vec!["flow".into(), "weather".into(), "never-made".into()];
        drop(guard);
        assert_eq!(
            *fake.0.borrow(),
            ["xl list -v", "xl destroy 1", "xl destroy 2"]
        );
    }

    #[test]
    fn a_domain_that_went_by_itself_is_no_failure_and_nothing_is_destroyed_twice() {
        let fake = Fake::default();
        let mut guard = DomainGuard::new(&fake);
        guard.names = vec!["weather".into()];
        assert!(guard.destroy_all().is_ok());
        drop(guard);
        assert_eq!(*fake.0.borrow(), ["xl list -v", "xl destroy 2"]);
    }
}
