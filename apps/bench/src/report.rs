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
    /// From the first message to the last answer.
    pub took: Duration,
    /// Round trips; `None` where messages are not sent back.
    pub round_trips: Option<&'a Histogram>,
    /// Events sent to the back end meanwhile.
    pub events_sent: u64,
    /// Events received from it.
    pub events_received: u64,
    /// Hypercalls made.
    pub hypercalls: u64,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { size, count, .. } = self;
        // A run that took no time at all is none.
        let nanos = self.took.as_nanos().max(1);
        let per_second = |amount: u128| amount * 1_000_000_000 / nanos;
        write!(
            f,
            "{{\"bench\":\"tcp\",\"size\":{size},\"count\":{count},\"seconds\":{}.{:09},\"bytes_per_s\":{},\"messages_per_s\":{},",
            self.took.as_secs(),
            self.took.subsec_nanos(),
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
            "\"events_sent\":{},\"events_received\":{},\"hypercalls\":{}}}",
            self.events_sent, self.events_received, self.hypercalls
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn the_line_is_the_one_that_tools_read() {
        let mut histogram = Histogram::default();
        histogram.add(7);
        let mut report = Report {
            size: 1000,
            count: 30,
            took: Duration::from_millis(1500),
            round_trips: Some(&histogram),
            events_sent: 4,
            events_received: 5,
            hypercalls: 6,
        };
        assert_eq!(
            report.to_string(),
            "{\"bench\":\"tcp\",\"size\":1000,\"count\":30,\"seconds\":1.500000000,\"bytes_per_s\":20000,\"messages_per_s\":20,\
             \"rtt_ns\":{\"p50\":7,\"p99\":7,\"p999\":7,\"max\":7},\"events_sent\":4,\"events_received\":5,\"hypercalls\":6}"
        );
        report.round_trips = None;
        assert!(report.to_string().contains("\"rtt_ns\":null,"));
    }
}
