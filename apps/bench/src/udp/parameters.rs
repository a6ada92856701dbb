//! What `udp-bench` is told. Pure.

use alloc::format;
use alloc::string::{String, ToString};
use core::time::Duration;

use stage::{EdgeKind, Kind, Parameter, Plan, Setup, SetupError, Stage};

use super::packet::{HEADER, SIZE_MAX};
use crate::parameters::{self, Load, Mode, parse_addr};

/// The most that may be on their way.
pub const WINDOW_MAX: u64 = 65_536;

/// The parameters of `udp-bench`. It is no stage: as one it would end at once.
#[derive(Debug)]
pub struct UdpBench;

/// What to measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// What goes through.
    pub load: Load,
    /// Where the server is: its address, or its name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Messages on their way at most.
    pub window: u64,
    /// How long to stay with an end that does nothing.
    pub timeout: Duration,
}

impl Stage for UdpBench {
    const NAME: &'static str = "udp-bench";
    const ABOUT: &'static str = "measures UDP over the network interface";
    const PARAMETERS: &'static [Parameter] = &[
        parameters::ROLE,
        Parameter::new(
            "addr",
            Kind::Text,
            "0.0.0.0:5002",
            "IP:PORT or NAME:PORT to send to, or IP:PORT to listen on",
        ),
        parameters::MODE,
        parameters::size("64"),
        parameters::COUNT,
        parameters::WARM_UP,
        parameters::CHECK,
        Parameter::new(
            "window",
            Kind::Integer,
            "",
            "messages that a client of mode=sink has on their way at most, 1 to 65536; if not given, what 32 KiB hold, but 2 to 32",
        ),
        parameters::TIMEOUT,
    ];
    const EDGES: &'static [EdgeKind] = &[];

    fn new(_: &Setup<'_>) -> Result<Self, SetupError> {
        Ok(Self)
    }
}

impl Task {
    /// Reads the parameters.
    pub fn new(plan: &Plan<'_>) -> Result<Self, String> {
        let load = Load::new(plan)?;
        let (least, most) = (HEADER as u64, SIZE_MAX as u64);
        if !(least..=most).contains(&load.size) {
            let size = load.size;
            return Err(format!(
                "size={size} is not from {least} to {most}, as long as a datagram with its number is"
            ));
        }
        let addr = plan.params.text("addr").unwrap_or_default();
        let (host, port) =
            parse_addr(addr).ok_or_else(|| format!("addr={addr} is not HOST:PORT"))?;
        let window: Option<u64> = plan.params.get("window").map_err(|e| e.to_string())?;
        let window = match (load.mode, window) {
            (_, Some(window)) if !(1..=WINDOW_MAX).contains(&window) => {
                return Err(format!("window={window} is not from 1 to {WINDOW_MAX}"));
            }
            (Mode::Echo, Some(2..)) => {
                return Err("window= is for mode=sink: round trips are made one by one".into());
            }
            (Mode::Echo, _) => 1,
            // The kernel counts a page and more for each of them, and has room for 208 KiB.
            (Mode::Sink, window) => window.unwrap_or(((32 << 10) / load.size).clamp(2, 32)),
        };
        Ok(Self {
            load,
            host,
            port,
            window,
            timeout: parameters::timeout(plan)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::tests::{read, refuses};

    fn task(line: &'static str) -> Result<Task, String> {
        read::<UdpBench, _>(line, Task::new)
    }

    #[test]
    fn the_contract_is_read() {
        let task = self::task("role=client addr=10.0.0.1:80 size=1472 timeout=7").unwrap();
        assert_eq!((task.host.as_str(), task.port), ("10.0.0.1", 80));
        assert_eq!((task.window, task.timeout), (22, Duration::from_secs(7)));
        let window = |line| self::task(line).unwrap().window;
        assert_eq!(window("size=64"), 32);
        assert_eq!(window("size=65507"), 2);
        assert_eq!(window("window=9"), 9);
        assert_eq!(window("mode=echo"), 1);
    }

    #[test]
    fn nonsense_is_refused_and_named() {
        let lines = [
            ("size=15", "size=15"),
            ("size=65508", "size=65508"),
            ("window=0", "window=0"),
            ("window=65537", "window=65537"),
            ("mode=echo window=2", "window="),
            ("addr=10.0.0.1", "addr"),
            ("timeout=0", "timeout="),
            ("timeout=86401", "timeout="),
            ("nodelay=on", "nodelay"),
        ];
        refuses(task, &lines);
    }
}
