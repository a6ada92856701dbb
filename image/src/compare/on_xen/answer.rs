//! The line of JSON that a bench program ends with. Pure.

use serde::Deserialize;

/// What a program measured; keys that nobody needs here are left out.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Answer {
    /// Bytes in a message.
    pub size: u64,
    /// Messages that were measured.
    pub count: u64,
    /// From the first of them to the last answer.
    pub seconds: f64,
    /// Payload a second.
    pub bytes_per_s: f64,
    /// Round trips, in nanoseconds, where it made some.
    pub rtt_ns: Option<RoundTrips>,
    /// Events it sent, where it knows.
    #[serde(default)]
    pub events_sent: Option<u64>,
    /// Hypercalls it made, where it knows.
    #[serde(default)]
    pub hypercalls: Option<u64>,
    /// Whether it looked at every byte that came.
    #[serde(default)]
    pub checked: Option<bool>,
    /// Datagrams that did not arrive.
    #[serde(default)]
    pub lost: Option<u64>,
    /// Messages before those that were measured.
    #[serde(default)]
    pub warm_up: u64,
}

/// How long round trips took, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
pub struct RoundTrips {
    /// Half of them took less.
    pub p50: f64,
    /// 99 % did.
    pub p99: f64,
    /// 99.9 % did.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

impl Answer {
    /// The answer that a line is, if it is one.
    pub fn read(line: &str) -> Option<Self> {
        let line = line.trim();
        if !line.starts_with("{\"bench\":") {
            return None;
        }
        let answer: Self = serde_json::from_str(line).ok()?;
        let sane = answer.seconds.is_finite()
            && answer.seconds >= 0.0
            && answer.bytes_per_s.is_finite()
            && answer.bytes_per_s >= 0.0;
        sane.then_some(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: &str = r#"{"bench":"vchan","size":64,"count":200,"seconds":0.091044917,"bytes_per_s":140590,"messages_per_s":2196,"rtt_ns":{"p50":403455,"p99":1015807,"p999":1703935,"max":1703935},"events_sent":200,"events_received":200,"hypercalls":1401,"role":"client","api":"packet","wire":"stock","left_ring":65536,"right_ring":65536,"bytes_sent":12800,"bytes_received":12800,"checked":true}"#;
    const C_PROGRAM: &str = r#"{"bench":"vchan","size":64,"count":3,"seconds":0.5,"bytes_per_s":384,"messages_per_s":6,"rtt_ns":null,"events_sent":1,"events_received":2,"hypercalls":null,"role":"server","api":"stream","bytes_sent":0,"bytes_received":192,"checked":false}"#;

    #[test]
    fn lines_of_the_image_and_of_the_c_program_are_read() {
        let answer = Answer::read(CLIENT).unwrap();
        assert_eq!(
            (answer.size, answer.count, answer.hypercalls),
            (64, 200, Some(1401))
        );
        assert_eq!(answer.rtt_ns.unwrap().p999, 1_703_935.0);
        assert_eq!(answer.checked, Some(true));
        let answer = Answer::read(&format!("{C_PROGRAM}\r\n")).unwrap();
        assert_eq!(
            (answer.rtt_ns, answer.hypercalls, answer.seconds),
            (None, None, 0.5)
        );
    }

    #[test]
    fn what_a_guest_prints_else_is_no_answer() {
        for line in [
            "",
            "[    0.1] connected",
            "{\"bench\":",
            "{\"bench\":\"vchan\"}",
            &CLIENT[..200],
            &CLIENT.replace("\"size\":64", "\"size\":-64"),
            &CLIENT.replace("0.091044917", "-1"),
            &CLIENT.replace("0.091044917", "1e999"),
        ] {
            assert_eq!(Answer::read(line), None, "{line}");
        }
    }
}
