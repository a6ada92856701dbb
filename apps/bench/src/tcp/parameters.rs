//! What `tcp-bench` is told. Pure.

use alloc::format;
use alloc::string::String;

use stage::{EdgeKind, Kind, Parameter, Plan, Setup, SetupError, Stage};

use crate::parameters::{self, Load, parse_addr};

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
    /// Whether small writes go at once.
    pub nodelay: bool,
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
        parameters::WARM_UP,
        parameters::CHECK,
        Parameter::new(
            "nodelay",
            Kind::Choice(&["on", "off"]),
            "on",
            "send small writes at once, or collect them while earlier ones are not acknowledged",
        ),
        #[cfg(not(xen_guest))]
        parameters::TIMEOUT,
    ];
    const EDGES: &'static [EdgeKind] = &[];
    // A Linux has its network already.
    const NETWORK: bool = cfg!(xen_guest);

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
        Ok(Self {
            load: Load::new(plan)?,
            host,
            port,
            nodelay: plan.params.text("nodelay") != Some("off"),
        })
    }
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
        let line = "role=client addr=10.0.0.1:80 mode=echo size=64 count=7 warm-up=3";
        let task = self::task(line).unwrap();
        let load = task.load;
        assert_eq!((load.role, load.mode), (Role::Client, Mode::Echo));
        assert_eq!((load.size, load.count, task.port), (64, 7, 80));
        assert_eq!((load.warm_up, task.nodelay), (3, true));
        assert!(!self::task("nodelay=off").unwrap().nodelay);
        assert!(
            !load.check,
            "a program that knows nothing of it may send what it likes"
        );
        assert!(self::task("check=on").unwrap().load.check);
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
            ("size=9223372036854775808 warm-up=1", "warm-up"),
            ("nodelay=maybe", "nodelay"),
            ("ip=dhcp", "ip"),
            ("colour=red", "colour"),
        ];
        refuses(task, &lines);
    }
}
