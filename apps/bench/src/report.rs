//! The line that a measurement ends with. Pure.

use core::fmt;
use core::time::Duration;

use crate::histogram::Histogram;
use crate::parameters::{Load, Role};

/// What was measured, as one line of JSON.
#[derive(Debug)]
pub struct Report<'a> {
    /// What was asked for.
    pub load: Load,
    /// What it took.
    pub spent: Spent,
    /// Round trips; `None` where messages are not sent back, and at the end that sends them back.
    pub round_trips: Option<&'a Histogram>,
    /// What carried it.
    pub way: Way,
    /// Bytes written, and read, without those of the warm-up.
    pub bytes: (u64, u64),
}

/// What was used from the first message to the last answer; `None` is what nobody counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Time.
    pub took: Duration,
    /// Events sent to the other end, of the network or of the channel.
    pub events_sent: Option<u64>,
    /// Events received from it.
    pub events_received: Option<u64>,
    /// Hypercalls made.
    pub hypercalls: Option<u64>,
}

/// What carried the messages, with what is to be said of it alone.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    /// A TCP connection.
    Tcp {
        /// Whether small writes went at once.
        nodelay: bool,
    },
    /// Datagrams.
    Udp(Datagrams),
    /// A vchan.
    Vchan(Channel),
}

/// What is to be said of datagrams alone.
#[derive(Clone, Copy, Debug)]
pub struct Datagrams {
    /// Messages that arrived; the rates are theirs.
    pub arrived: u64,
    /// Messages that did not; of round trips, those that were repeated.
    pub lost: u64,
    /// How many were on their way at most.
    pub window: u64,
}

/// What is to be said of a vchan alone.
#[derive(Clone, Copy, Debug)]
pub struct Channel {
    /// By which calls of the library.
    pub api: &'static str,
    /// Which wire format.
    pub wire: &'static str,
    /// Bytes that the ring from client to server holds.
    pub left_ring: u32,
    /// Bytes that the ring from server to client holds.
    pub right_ring: u32,
}

/// A number, or `null`.
struct Known(Option<u64>);

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(number) => number.fmt(f),
            None => f.write_str("null"),
        }
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            load, spent, way, ..
        } = self;
        let (bench, carried) = match way {
            Way::Tcp { .. } => ("tcp", load.count),
            Way::Udp(datagrams) => ("udp", datagrams.arrived),
            Way::Vchan(_) => ("vchan", load.count),
        };
        // A run that took no time at all is none.
        let nanos = spent.took.as_nanos().max(1);
        let per_second = |amount: u128| amount * 1_000_000_000 / nanos;
        write!(
            f,
            "{{\"bench\":\"{bench}\",\"size\":{},\"count\":{},\"warm_up\":{},\"seconds\":{}.{:09},\"bytes_per_s\":{},\"messages_per_s\":{},",
            load.size,
            load.count,
            load.warm_up,
            spent.took.as_secs(),
            spent.took.subsec_nanos(),
            per_second(u128::from(load.size) * u128::from(carried)),
            per_second(carried.into()),
        )?;
        match self.round_trips {
            None => write!(f, "\"rtt_ns\":null,")?,
            Some(histogram) => write!(
                f,
                "\"rtt_ns\":{{\"p50\":{},\"p99\":{},\"p999\":{},\"max\":{}}},",
                histogram.quantile(50, 100),
                histogram.quantile(99, 100),
                histogram.quantile(999, 1000),
                histogram.max()
            )?,
        }
        write!(
            f,
            "\"events_sent\":{},\"events_received\":{},\"hypercalls\":{},\"role\":\"{}\",{way},\
             \"bytes_sent\":{},\"bytes_received\":{},\"checked\":{}}}",
            Known(spent.events_sent),
            Known(spent.events_received),
            Known(spent.hypercalls),
            match load.role {
                Role::Server => "server",
                Role::Client => "client",
            },
            self.bytes.0,
            self.bytes.1,
            load.check,
        )
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { nodelay } => write!(f, "\"nodelay\":{nodelay}"),
            Self::Udp(datagrams) => {
                let Datagrams {
                    arrived,
                    lost,
                    window,
                } = datagrams;
                write!(
                    f,
                    "\"arrived\":{arrived},\"lost\":{lost},\"window\":{window}"
                )
            }
            Self::Vchan(channel) => {
                let Channel {
                    api,
                    wire,
                    left_ring,
                    right_ring,
                } = channel;
                write!(
                    f,
                    "\"api\":\"{api}\",\"wire\":\"{wire}\",\"left_ring\":{left_ring},\"right_ring\":{right_ring}"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::Mode;
    use alloc::string::ToString;

    const SPENT: Spent = Spent {
        took: Duration::from_millis(1500),
        events_sent: Some(4),
        events_received: Some(5),
        hypercalls: Some(6),
    };

    fn load(role: Role, size: u64, count: u64) -> Load {
        Load {
            role,
            mode: Mode::Echo,
            size,
            count,
            warm_up: 2,
            check: true,
        }
    }

    #[test]
    fn the_line_is_the_one_that_tools_read() {
        let mut histogram = Histogram::default();
        histogram.add(7);
        let mut report = Report {
            load: load(Role::Client, 1000, 30),
            spent: SPENT,
            round_trips: Some(&histogram),
            way: Way::Tcp { nodelay: true },
            bytes: (30_000, 30_000),
        };
        assert_eq!(
            report.to_string(),
            "{\"bench\":\"tcp\",\"size\":1000,\"count\":30,\"warm_up\":2,\"seconds\":1.500000000,\"bytes_per_s\":20000,\"messages_per_s\":20,\
             \"rtt_ns\":{\"p50\":7,\"p99\":7,\"p999\":7,\"max\":7},\"events_sent\":4,\"events_received\":5,\"hypercalls\":6,\
             \"role\":\"client\",\"nodelay\":true,\"bytes_sent\":30000,\"bytes_received\":30000,\"checked\":true}"
        );
        report.round_trips = None;
        assert!(report.to_string().contains("\"rtt_ns\":null,"));
        // What nobody counts is not 0.
        report.spent = Spent {
            took: SPENT.took,
            ..Spent::default()
        };
        let wanted = "\"events_sent\":null,\"events_received\":null,\"hypercalls\":null,";
        assert!(report.to_string().contains(wanted), "{report}");
    }

    #[test]
    fn a_channel_says_more() {
        let report = Report {
            load: load(Role::Server, 64, 3),
            spent: SPENT,
            round_trips: None,
            way: Way::Vchan(Channel {
                api: "packet",
                wire: "stock",
                left_ring: 1024,
                right_ring: 2048,
            }),
            bytes: (192, 0),
        };
        assert_eq!(
            report.to_string(),
            "{\"bench\":\"vchan\",\"size\":64,\"count\":3,\"warm_up\":2,\"seconds\":1.500000000,\"bytes_per_s\":128,\"messages_per_s\":2,\
             \"rtt_ns\":null,\"events_sent\":4,\"events_received\":5,\"hypercalls\":6,\
             \"role\":\"server\",\"api\":\"packet\",\"wire\":\"stock\",\"left_ring\":1024,\"right_ring\":2048,\
             \"bytes_sent\":192,\"bytes_received\":0,\"checked\":true}"
        );
    }

    #[test]
    fn the_rates_of_datagrams_are_those_of_what_arrived() {
        let report = Report {
            load: load(Role::Client, 100, 40),
            spent: SPENT,
            round_trips: None,
            way: Way::Udp(Datagrams {
                arrived: 30,
                lost: 10,
                window: 8,
            }),
            bytes: (4000, 0),
        };
        let line = report.to_string();
        for told in [
            "{\"bench\":\"udp\",\"size\":100,\"count\":40,",
            "\"bytes_per_s\":2000,\"messages_per_s\":20,",
            "\"role\":\"client\",\"arrived\":30,\"lost\":10,\"window\":8,\"bytes_sent\":4000,",
        ] {
            assert!(line.contains(told), "{told} in {line}");
        }
    }
}
