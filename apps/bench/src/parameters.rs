//! What every image here is told: which end it is, and what goes through. Pure.

use alloc::string::{String, ToString};

use stage::params::Size;
use stage::{Kind, Parameter, Plan};

/// Which end of the connection this is.
pub const ROLE: Parameter = Parameter::new(
    "role",
    Kind::Choice(&["server", "client"]),
    "server",
    "which end of the connection",
);

/// What becomes of a message.
pub const MODE: Parameter = Parameter::new(
    "mode",
    Kind::Choice(&["sink", "echo"]),
    "sink",
    "swallow messages, or send each back",
);

/// How many messages.
pub const COUNT: Parameter = Parameter::new("count", Kind::Integer, "1000", "messages");

/// Whether what comes is looked at.
pub const CHECK: Parameter = Parameter::new(
    "check",
    Kind::Choice(&["off", "on"]),
    "off",
    "compare what comes with what the bench programs send",
);

/// How long a message is.
pub const fn size(default: &'static str) -> Parameter {
    Parameter::new("size", Kind::Size, default, "bytes in a message")
}

/// Which end of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Waits for a connection.
    Server,
    /// Makes it.
    Client,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It is swallowed.
    Sink,
    /// It is sent back.
    Echo,
}

/// What goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Which end this is.
    pub role: Role,
    /// What becomes of a message.
    pub mode: Mode,
    /// Bytes in a message.
    pub size: u64,
    /// Messages.
    pub count: u64,
    /// Whether what comes is compared with what the bench programs send.
    pub check: bool,
}

impl Load {
    /// Reads the parameters.
    pub fn new(plan: &Plan<'_>) -> Result<Self, String> {
        let Size(size) = plan.params.require("size").map_err(|e| e.to_string())?;
        let count = plan.params.require("count").map_err(|e| e.to_string())?;
        if size == 0 || count == 0 || size.checked_mul(count).is_none() {
            return Err(
                "size= and count= are numbers of at least 1, of less than 2^64 bytes together"
                    .into(),
            );
        }
        Ok(Self {
            role: match plan.params.text("role") {
                Some("client") => Role::Client,
                _ => Role::Server,
            },
            mode: match plan.params.text("mode") {
                Some("echo") => Mode::Echo,
                _ => Mode::Sink,
            },
            size,
            count,
            check: plan.params.text("check") == Some("on"),
        })
    }

    /// Bytes in all messages.
    pub fn total(&self) -> u64 {
        self.size * self.count
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use stage::Stage;

    /// What `read` makes of a command line of `S`.
    pub(crate) fn read<S: Stage, T>(
        line: &'static str,
        read: impl FnOnce(&Plan<'_>) -> Result<T, String>,
    ) -> Result<T, String> {
        let plan = Plan::new::<S>(line.as_bytes(), b"").map_err(|error| error.to_string())?;
        read(&plan)
    }

    /// Every line is refused with a message that names its word.
    pub(crate) fn refuses<T>(
        read: impl Fn(&'static str) -> Result<T, String>,
        lines: &[(&'static str, &str)],
    ) {
        for (line, named) in lines {
            let Err(error) = read(line) else {
                panic!("{line} passes");
            };
            assert!(error.contains(named), "{line}: {error}");
        }
    }
}
