//! What every program here is told: which end it is, and what goes through. Pure.

use alloc::string::{String, ToString};
use core::net::SocketAddr;

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

/// How many messages go before the clock starts.
pub const WARM_UP: Parameter = Parameter::new(
    "warm-up",
    Kind::Integer,
    "0",
    "messages before those that are measured, the same at both ends",
);

/// How long a program on Linux stays with an end that does nothing.
#[cfg(not(xen_guest))]
pub const TIMEOUT: Parameter = Parameter::new(
    "timeout",
    Kind::Integer,
    "60",
    "how long to wait for the other end, and then for any sign of it, before giving up",
)
.in_unit("s");

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
    /// Messages that are measured.
    pub count: u64,
    /// Messages that go before them.
    pub warm_up: u64,
    /// Whether what comes is compared with what the bench programs send.
    pub check: bool,
}

impl Load {
    /// Reads the parameters.
    pub fn new(plan: &Plan<'_>) -> Result<Self, String> {
        let Size(size) = plan.params.require("size").map_err(|e| e.to_string())?;
        let count = plan.params.require("count").map_err(|e| e.to_string())?;
        let warm_up = plan.params.require("warm-up").map_err(|e| e.to_string())?;
        let bytes = u64::checked_add(count, warm_up).and_then(|all| all.checked_mul(size));
        if size == 0 || count == 0 || bytes.is_none() {
            return Err(
                "size= and count= are numbers of at least 1, with warm-up= of less than 2^64 bytes together"
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
            warm_up,
            check: plan.params.text("check") == Some("on"),
        })
    }

    /// Bytes in all messages that are measured.
    pub fn total(&self) -> u64 {
        self.size * self.count
    }
}

/// How long a program stays with an end that does nothing, from `timeout=`.
#[cfg(not(xen_guest))]
pub fn timeout(plan: &Plan<'_>) -> Result<core::time::Duration, String> {
    let seconds: u64 = plan.params.require("timeout").map_err(|e| e.to_string())?;
    match seconds {
        1..=86_400 => Ok(core::time::Duration::from_secs(seconds)),
        _ => Err("timeout= is a number of seconds from 1 to 86400".into()),
    }
}

/// `A.B.C.D:PORT`, `[IPV6]:PORT` or `NAME:PORT`.
pub fn parse_addr(text: &str) -> Option<(String, u16)> {
    if let Ok(addr) = text.parse::<SocketAddr>() {
        return Some((addr.ip().to_string(), addr.port()));
    }
    let (name, port) = text.rsplit_once(':')?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    let begins = name
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic());
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|_| digits)?;
    (begins && name.bytes().all(plain)).then(|| (name.into(), port))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use alloc::format;
    use stage::Stage;

    #[test]
    fn a_server_has_an_address_or_a_name() {
        let addr = |text: &str| parse_addr(text).map(|(host, port)| format!("{host} {port}"));
        assert_eq!(addr("10.0.0.1:80").as_deref(), Some("10.0.0.1 80"));
        assert_eq!(addr("[fec0::2]:80").as_deref(), Some("fec0::2 80"));
        assert_eq!(
            addr("broker.test:1883").as_deref(),
            Some("broker.test 1883")
        );
        for bad in [
            "", ":1", "a:", "a:+1", "a:65536", "a b:1", "1.2.3:1", "fec0::2", "a:b:1",
        ] {
            assert_eq!(parse_addr(bad), None, "{bad}");
        }
    }

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
