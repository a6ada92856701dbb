//! What `tcp-bench` is told. Pure.

use alloc::format;
use alloc::string::{String, ToString};
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Which end this is.
    pub role: Role,
    /// Where the server is: its address, or its name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What becomes of a message.
    pub mode: Mode,
    /// Bytes in a message.
    pub size: u64,
    /// Messages.
    pub count: u64,
    /// Whether what comes is compared with what the bench programs send.
    pub check: bool,
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
            "IP:PORT or NAME:PORT to connect to, or IP:PORT to listen on",
        ),
        Parameter::new(
            "mode",
            Kind::Choice(&["sink", "echo"]),
            "sink",
            "swallow messages, or send each back",
        ),
        Parameter::new("size", Kind::Size, "64K", "bytes in a message"),
        Parameter::new("count", Kind::Integer, "1000", "messages"),
        Parameter::new(
            "check",
            Kind::Choice(&["off", "on"]),
            "off",
            "compare what comes with what a tcp-bench or tcp-peer sends",
        ),
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
        let addr = text("addr");
        let (host, port) =
            parse_addr(addr).ok_or_else(|| format!("addr={addr} is not HOST:PORT"))?;
        Ok(Self {
            role: match text("role") {
                "client" => Role::Client,
                _ => Role::Server,
            },
            host,
            port,
            mode: match text("mode") {
                "echo" => Mode::Echo,
                _ => Mode::Sink,
            },
            size,
            count,
            check: text("check") == "on",
            ip: IpConfig::parse(plan.ip().unwrap_or("dhcp")).map_err(|e| failed(&e))?,
        })
    }
}

/// `A.B.C.D:PORT`, `[IPV6]:PORT` or `NAME:PORT`.
fn parse_addr(text: &str) -> Option<(String, u16)> {
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
mod tests {
    use super::*;

    fn task(line: &str) -> Result<Task, String> {
        let plan = Plan::new::<TcpBench>(line.as_bytes(), b"").map_err(|e| format!("{e}"))?;
        Task::new(&plan)
    }

    #[test]
    fn the_contract_is_read() {
        let line = "role=client addr=10.0.0.1:80 mode=echo size=64 count=7 ip=10.0.0.2/8";
        let task = self::task(line).unwrap();
        assert_eq!((task.role, task.mode), (Role::Client, Mode::Echo));
        assert_eq!((task.size, task.count, task.port), (64, 7, 80));
        assert!(
            !task.check,
            "a program that knows nothing of it may send what it likes"
        );
        assert!(self::task("check=on").unwrap().check);
    }

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

    #[test]
    fn nonsense_is_refused_and_named() {
        for (line, named) in [
            ("role=both", "role"),
            ("addr=10.0.0.1", "addr"),
            ("size=0", "size"),
            ("count=0", "count"),
            ("count=18446744073709551615", "count"),
            ("check=maybe", "check"),
            ("ip=here", "ip="),
            ("colour=red", "colour"),
        ] {
            let error = task(line).unwrap_err();
            assert!(error.contains(named), "{line}: {error}");
        }
    }
}
