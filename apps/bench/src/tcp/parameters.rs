//! What `tcp-bench` is told. Pure.

use alloc::format;
use alloc::string::{String, ToString};
use core::net::SocketAddr;

use stage::{EdgeKind, Kind, Parameter, Plan, Setup, SetupError, Stage};
use unikernel::net::IpConfig;

use crate::parameters::{self, Load};

/// The parameters of `tcp-bench`. It has no edges and takes no readings, so as a stage it would end at once.
#[derive(Debug)]
pub struct TcpBench;

/// What to measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// What goes through.
    pub load: Load,
    /// Where the server is: its address, or its name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The address of our interface.
    pub ip: IpConfig,
}

impl Stage for TcpBench {
    const NAME: &'static str = "tcp-bench";
    const ABOUT: &'static str = "measures TCP over the network interface";
    const PARAMETERS: &'static [Parameter] = &[
        parameters::ROLE,
        Parameter::new(
            "addr",
            Kind::Text,
            "0.0.0.0:5001",
            "IP:PORT or NAME:PORT to connect to, or IP:PORT to listen on",
        ),
        parameters::MODE,
        parameters::size("64K"),
        parameters::COUNT,
        parameters::CHECK,
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
        let addr = plan.params.text("addr").unwrap_or_default();
        let (host, port) =
            parse_addr(addr).ok_or_else(|| format!("addr={addr} is not HOST:PORT"))?;
        let ip = IpConfig::parse(plan.ip().unwrap_or("dhcp"));
        Ok(Self {
            load: Load::new(plan)?,
            host,
            port,
            ip: ip.map_err(|error| error.to_string())?,
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
    use crate::parameters::tests::{read, refuses};
    use crate::parameters::{Mode, Role};

    fn task(line: &'static str) -> Result<Task, String> {
        read::<TcpBench, _>(line, Task::new)
    }

    #[test]
    fn the_contract_is_read() {
        let line = "role=client addr=10.0.0.1:80 mode=echo size=64 count=7 ip=10.0.0.2/8";
        let task = self::task(line).unwrap();
        let load = task.load;
        assert_eq!((load.role, load.mode), (Role::Client, Mode::Echo));
        assert_eq!((load.size, load.count, task.port), (64, 7, 80));
        assert!(
            !load.check,
            "a program that knows nothing of it may send what it likes"
        );
        assert!(self::task("check=on").unwrap().load.check);
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
        let lines = [
            ("role=both", "role"),
            ("addr=10.0.0.1", "addr"),
            ("size=0", "size"),
            ("count=0", "count"),
            ("count=18446744073709551615", "count"),
            ("check=maybe", "check"),
            ("ip=here", "ip="),
            ("colour=red", "colour"),
        ];
        refuses(task, &lines);
    }
}
