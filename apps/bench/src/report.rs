//! The line that a measurement ends with. Pure.

use core::fmt;
use core::time::Duration;

use crate::histogram::Histogram;

/// What was measured, as one line of JSON.
#[derive(Debug)]
pub struct Report<'a> {
    /// Bytes in a message.
    pub size: u64,
    /// Messages.
    pub count: u64,
    /// What it took.
    pub spent: Spent,
    /// Round trips; `None` where messages are not sent back, and at the end that sends them back.
    pub round_trips: Option<&'a Histogram>,
    /// The channel, where it was one; else it was TCP.
    pub channel: Option<Channel>,
}

/// What was used from the first message to the last answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// Time.
    pub took: Duration,
    /// Events sent to the other end, of the network or of the channel.
    pub events_sent: u64,
    /// Events received from it.
    pub events_received: u64,
    /// Hypercalls made.
    pub hypercalls: u64,
}

/// What is to be said of a vchan alone.
#[derive(Clone, Copy, Debug)]
pub struct Channel {
    /// Which end this was.
    pub role: &'static str,
    /// By which calls of the library.
    pub api: &'static str,
    /// Which wire format.
    pub wire: &'static str,
    /// Bytes that the ring from client to server holds.
    pub left_ring: u32,
    /// Bytes that the ring from server to client holds.
    pub right_ring: u32,
    /// Bytes written.
    pub bytes_sent: u64,
    /// Bytes read.
    pub bytes_received: u64,
    /// Whether they were compared with what they should be.
    pub checked: bool,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            size, count, spent, ..
        } = self;
        let bench = match self.channel {
            None => "tcp",
            Some(_) => "vchan",
        };
        // A run that took no time at all is none.
        let nanos = spent.took.as_nanos().max(1);
        let per_second = |amount: u128| amount * 1_000_000_000 / nanos;
        write!(
            f,
            "{{\"bench\":\"{bench}\",\"size\":{size},\"count\":{count},\"seconds\":{}.{:09},\"bytes_per_s\":{},\"messages_per_s\":{},",
            spent.took.as_secs(),
            spent.took.subsec_nanos(),
            per_second(u128::from(*size) * u128::from(*count)),
            per_second((*count).into()),
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
            "\"events_sent\":{},\"events_received\":{},\"hypercalls\":{}",
            spent.events_sent, spent.events_received, spent.hypercalls
        )?;
        if let Some(channel) = &self.channel {
            write!(f, ",{channel}")?;
        }
        f.write_str("}")
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            role, api, wire, ..
        } = self;
        write!(
            f,
            "\"role\":\"{role}\",\"api\":\"{api}\",\"wire\":\"{wire}\",\"left_ring\":{},\"right_ring\":{},\
             \"bytes_sent\":{},\"bytes_received\":{},\"checked\":{}",
            self.left_ring, self.right_ring, self.bytes_sent, self.bytes_received, self.checked,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    const SPENT: Spent = Spent {
        took: Duration::from_millis(1500),
        events_sent: 4,
        events_received: 5,
        hypercalls: 6,
    };

    #[test]
    fn the_line_is_the_one_that_tools_read() {
        let mut histogram = Histogram::default();
        histogram.add(7);
        let mut report = Report {
            size: 1000,
            count: 30,
            spent: SPENT,
            round_trips: Some(&histogram),
            channel: None,
        };
        assert_eq!(
            report.to_string(),
            "{\"bench\":\"tcp\",\"size\":1000,\"count\":30,\"seconds\":1.500000000,\"bytes_per_s\":20000,\"messages_per_s\":20,\
             \"rtt_ns\":{\"p50\":7,\"p99\":7,\"p999\":7,\"max\":7},\"events_sent\":4,\"events_received\":5,\"hypercalls\":6}"
        );
        report.round_trips = None;
        assert!(report.to_string().contains("\"rtt_ns\":null,"));
    }

    #[test]
    fn a_channel_says_more() {
        let report = Report {
            size: 64,
            count: 3,
            spent: SPENT,
            round_trips: None,
            channel: Some(Channel {
                role: "client",
                api: "packet",
                wire: "stock",
                left_ring: 1024,
                right_ring: 2048,
                bytes_sent: 192,
                bytes_received: 0,
                checked: true,
            }),
        };
        assert_eq!(
            report.to_string(),
            "{\"bench\":\"vchan\",\"size\":64,\"count\":3,\"seconds\":1.500000000,\"bytes_per_s\":128,\"messages_per_s\":2,\
             \"rtt_ns\":null,\"events_sent\":4,\"events_received\":5,\"hypercalls\":6,\
             \"role\":\"client\",\"api\":\"packet\",\"wire\":\"stock\",\"left_ring\":1024,\"right_ring\":2048,\
             \"bytes_sent\":192,\"bytes_received\":0,\"checked\":true}"
        );
    }
}
