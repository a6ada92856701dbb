//! What a round has shown, a line of JSON for each figure.

use crate::Load;
use crate::contestants::Sample;

/// One figure.
pub struct Line {
    measure: &'static str,
    size: usize,
    value: f64,
    unit: &'static str,
}

/// The figures of one run.
pub fn of(load: Load, sample: &Sample) -> Vec<Line> {
    const EVENTS: &str = "1/1000 messages";
    let line = |measure, size, value, unit| Line {
        measure,
        size,
        value,
        unit,
    };
    match load {
        Load::Stream(size) => vec![
            line(
                "throughput",
                size,
                size as f64 * 1e9 / sample.nanos,
                "bytes/s",
            ),
            line("events", size, sample.events, EVENTS),
        ],
        Load::RoundTrip(size) => {
            let mut lines = vec![
                line("rtt-mean", size, sample.nanos, "ns"),
                line("rtt-events", size, sample.events, EVENTS),
            ];
            lines.extend(sample.half.map(|half| line("rtt-p50", size, half, "ns")));
            lines
        }
    }
}

impl Line {
    /// As JSON.
    pub fn text(&self, contestant: &str, round: usize) -> String {
        let Self {
            measure,
            size,
            value,
            unit,
        } = self;
        format!(
            "{{\"contestant\":\"{contestant}\",\"measure\":\"{measure}\",\"size\":{size},\"round\":{round},\
             \"value\":{value},\"unit\":\"{unit}\"}}"
        )
    }
}
