//! How a command ends when it does not end well: a message for a person and an exit code for a script.

use std::error::Error;
use std::fmt;

/// The end of a command that did not do what it was asked to do.
///
/// Exit codes: 1 the work failed, 2 what the user gave is wrong. 0 is success and has no `Failure`.
#[derive(Debug)]
pub struct Failure {
    exit: u8,
    cause: Box<dyn Error + Send + Sync>,
}

impl Failure {
    /// The input was right and the work failed: exit code 1.
    pub fn failed(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            exit: 1,
            cause: cause.into(),
        }
    }

    /// What the user gave cannot be worked with: exit code 2.
    pub fn input(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            exit: 2,
            cause: cause.into(),
        }
    }

    /// The exit code for the shell.
    pub fn exit_code(&self) -> u8 {
        self.exit
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.cause)?;
        let mut said = self.cause.to_string();
        let mut next = self.cause.source();
        while let Some(cause) = next {
            let text = cause.to_string();
            if !said.contains(&text) {
                write!(f, ": {text}")?;
                said.push_str(&text);
            }
            next = cause.source();
        }
        Ok(())
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    fn from(cause: E) -> Self {
        Self::failed(cause)
    }
}

#[cfg(test)]
mod tests {
    use super::Failure;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read config")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn a_message_names_every_cause_once() {
        let inner = std::io::Error::other("disk on fire");
        assert_eq!(
            Failure::failed(Outer(inner)).to_string(),
            "cannot read config: disk on fire"
        );
    }

    #[test]
    fn wrong_input_and_failed_work_differ_in_the_exit_code() {
        assert_eq!(Failure::input("no such image").exit_code(), 2);
        assert_eq!(Failure::failed("it broke").exit_code(), 1);
    }
}
