//! What `tcp-bench` is told. Pure.

use alloc::format;
use alloc::string::String;
use core::net::SocketAddr;

use stage::params::Size;
use stage::{EdgeKind, Kind, Parameter, Plan, Setup, SetupError, Stage};
use unikernel::net::IpConfig;

/// The parameters of `tcp-bench`. It has no edges and takes no readings, so as a stage it would end at once.
#[derive(Debug)]
pub struct TcpBench;

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
    /// It is swallowed; after the last one a byte comes back.
    Sink,
    /// It is sent back.
    Echo,
}

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// Which end this is.
    pub role: Role,
    /// Where the server is, or listens.
    pub addr: SocketAddr,
    /// What becomes of a message.
    pub mode: Mode,
    /// Bytes in a message.
    pub size: u64,
    /// Messages.
    pub count: u64,
    /// The address of our interface.
    pub ip: IpConfig,
}

impl Stage for TcpBench {
    const NAME: &'static str = "tcp-bench";
    const ABOUT: &'static str = "measures TCP over the network interface";
    const PARAMETERS: &'static [Parameter] = &[
        Parameter::new(
            "role",
            Kind::Choice(&["server", "client"]),
            "server",
            "which end of the connection",
        ),
        Parameter::new(
            "addr",
            Kind::Text,
            "0.0.0.0:5001",
            "IP:PORT to connect to, or to listen on",
        ),
        Parameter::new(
            "mode",
            Kind::Choice(&["sink", "echo"]),
            "sink",
            "swallow messages, or send each back",
        ),
        Parameter::new("size", Kind::Size, "64K", "bytes in a message"),
        Parameter::new("count", Kind::Integer, "1000", "messages"),
    ];
    const EDGES: &'static [EdgeKind] = &[];
    const NETWORK: bool = true;

    fn new(_: &Setup<'_>) -> Result<Self, SetupError> {
        Ok(Self)
    }
}

impl Task {
    /// Reads the parameters.
    pub fn new(plan: &Plan<'_>) -> Result<Self, String> {
        let text = |key| plan.params.text(key).unwrap_or_default();
        let failed = |error: &dyn core::fmt::Display| format!("{error}");
        let Size(size) = plan.params.require("size").map_err(|e| failed(&e))?;
        let count = plan.params.require("count").map_err(|e| failed(&e))?;
        if size == 0 || count == 0 || size.checked_mul(count).is_none() {
            return Err(
                "size= and count= are numbers of at least 1, of less than 2^64 bytes together"
                    .into(),
            );
        }
        let addr = text("addr")
            .parse()
            .map_err(|_| format!("addr={} is not IP:PORT", text("addr")))?;
        Ok(Self {
            role: match text("role") {
                "client" => Role::Client,
                _ => Role::Server,
            },
            addr,
            mode: match text("mode") {
                "echo" => Mode::Echo,
                _ => Mode::Sink,
            },
            size,
            count,
            ip: IpConfig::parse(plan.ip().unwrap_or("dhcp")).map_err(|e| failed(&e))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(line: &str) -> Result<Task, String> {
        let plan = Plan::new::<TcpBench>(line.as_bytes(), b"").map_err(|e| format!("{e}"))?;
        Task::new(&plan)
    }

    #[test]
    fn the_contract_is_read() {
        let task = task("role=client addr=10.0.0.1:80 mode=echo size=64 count=7 ip=10.0.0.2/8");
        let task = task.unwrap();
        assert_eq!((task.role, task.mode), (Role::Client, Mode::Echo));
        assert_eq!((task.size, task.count, task.addr.port()), (64, 7, 80));
    }

    #[test]
    fn nonsense_is_refused_and_named() {
        for (line, named) in [
            ("role=both", "role"),
            ("addr=10.0.0.1", "addr"),
            ("size=0", "size"),
            ("count=0", "count"),
            ("count=18446744073709551615", "count"),
            ("ip=here", "ip="),
            ("colour=red", "colour"),
        ] {
            let error = task(line).unwrap_err();
            assert!(error.contains(named), "{line}: {error}");
        }
    }
}
