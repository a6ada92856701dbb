//! Windows out of the messages that a subscriber got from the broker: SenML packs in JSON (RFC 8428, section 5).
//!
//! Delivery is at least once, so a message may come twice; its `id` (see the crate `gateway`) tells. A number that is left
//! out is a message that never came.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::gathered::{FigureError, Gathered};
use super::verify::Windows;
use crate::broker::Message;

/// Takes in messages.
#[derive(Debug, Default)]
pub struct Messages {
    gathered: Gathered,
    /// By boot and sequence.
    seen: BTreeMap<(String, u64), Vec<u8>>,
    counts: Counts,
}

/// What the messages amount to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages, each counted once.
    pub messages: u64,
    /// Copies of messages that had come before.
    pub again: u64,
    /// Records in them.
    pub readings: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Messages that never came although later ones did.
    pub lost: u64,
}

/// Why a message is none of results.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// Not of a gateway.
    #[error("a message at {topic} without an id of a gateway: `{id}`")]
    Id {
        /// Where it was.
        topic: String,
        /// What it had.
        id: String,
    },
    /// The same id with another content.
    #[error("two messages at {topic} with the id {id} say different things")]
    Forged {
        /// Where it was.
        topic: String,
        /// The id.
        id: String,
    },
    /// No SenML.
    #[error("a message at {topic} is no SenML in JSON (RFC 8428)")]
    Json {
        /// Where it was.
        topic: String,
        /// What is wrong with it.
        #[source]
        error: serde_json::Error,
    },
    /// A record without a number, or without a time in whole seconds.
    #[error("a record of `{name}` at {topic} has no number, or no time in whole seconds")]
    Record {
        /// Where it was.
        topic: String,
        /// Its name.
        name: String,
    },
    /// Records that are not those of windows.
    #[error(transparent)]
    Figure(#[from] FigureError),
}

/// The fields of a record that results have.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Record {
    bn: Option<String>,
    bt: Option<f64>,
    n: String,
    t: f64,
    v: Option<f64>,
}

impl Messages {
    /// Takes in one message. Returns whether it is a new one.
    pub fn absorb(&mut self, message: &Message) -> Result<bool, MessageError> {
        let (topic, id) = (&message.topic, &message.id);
        let key = parse_id(id).ok_or_else(|| MessageError::Id {
            topic: topic.clone(),
            id: id.clone(),
        })?;
        if let Some(known) = self.seen.get(&key) {
            if *known != message.payload {
                return Err(MessageError::Forged {
                    topic: topic.clone(),
                    id: id.clone(),
                });
            }
            self.counts.again += 1;
            return Ok(false);
        }
        self.records(message)?;
        self.counts.messages += 1;
        self.counts.bytes += message.payload.len() as u64;
        self.seen.insert(key, message.payload.clone());
        Ok(true)
    }

    fn records(&mut self, message: &Message) -> Result<(), MessageError> {
        let topic = &message.topic;
        let records: Vec<Record> =
            serde_json::from_slice(&message.payload).map_err(|error| MessageError::Json {
                topic: topic.clone(),
                error,
            })?;
        let (mut base_name, mut base_time) = (String::new(), 0.0);
        for record in records {
            base_name = record.bn.unwrap_or(base_name);
            base_time = record.bt.unwrap_or(base_time);
            let name = format!("{base_name}{}", record.n);
            let time = base_time + record.t;
            // Up to 2^53 every whole number has its own f64.
            let is_whole = time.fract() == 0.0 && time.abs() <= 9_007_199_254_740_992.0;
            let (Some(value), true) = (record.v, is_whole) else {
                return Err(MessageError::Record {
                    topic: topic.clone(),
                    name,
                });
            };
            self.counts.readings += 1;
            self.gathered.add(&name, time as i64, value)?;
        }
        Ok(())
    }

    /// Windows of which something has arrived.
    pub fn windows(&self) -> usize {
        self.gathered.len()
    }

    /// What has arrived so far.
    pub fn counts(&self) -> Counts {
        let mut expected: BTreeMap<&str, u64> = BTreeMap::new();
        for (boot, sequence) in self.seen.keys() {
            // Ordered, so the last of a boot is its highest.
            expected.insert(boot, *sequence);
        }
        let expected: u64 = expected.values().sum();
        Counts {
            lost: expected.saturating_sub(self.counts.messages),
            ..self.counts
        }
    }

    /// All windows, each complete.
    pub fn finish(self) -> Result<Windows, FigureError> {
        self.gathered.finish()
    }
}

/// `BOOT-SEQUENCE`, the sequence from 1 on.
fn parse_id(id: &str) -> Option<(String, u64)> {
    let (boot, sequence) = id.rsplit_once('-')?;
    let is_hexadecimal = boot.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_decimal = sequence.bytes().all(|byte| byte.is_ascii_digit());
    let sequence = sequence.parse().ok().filter(|sequence| *sequence > 0)?;
    (boot.len() == 16 && is_hexadecimal && is_decimal).then(|| (boot.to_owned(), sequence))
}

#[cfg(test)]
mod tests {
    use super::super::gathered::FIGURES;
    use super::super::verify::{Window, WindowKey};
    use super::*;

    const BOOT: &str = "00112233445566ff";

    fn message(sequence: u64, payload: &str) -> Message {
        Message {
            topic: "grantflow/wind".into(),
            id: format!("{BOOT}-{sequence}"),
            payload: payload.into(),
        }
    }

    /// A window as the gateway writes it, its figures being `value` and what follows it.
    fn window(day: i64) -> String {
        let mut line = String::new();
        let time = stage::Timestamp::from_seconds(day * 86_400).unwrap();
        let names = FIGURES.map(|figure| format!("wind:{figure}"));
        let readings: Vec<_> = (7..)
            .zip(&names)
            .map(|(value, name)| stage::Reading::number(name, time, f64::from(value)))
            .collect();
        stage::senml::json::line(&readings, &mut line);
        line
    }

    #[test]
    fn windows_come_out_as_the_gateway_put_them_in() {
        let mut messages = Messages::default();
        let day = |day| window(day).trim_end().to_owned();
        assert!(messages.absorb(&message(1, &day(14_000))).unwrap());
        let both = day(14_001);
        assert!(messages.absorb(&message(2, &both)).unwrap());
        assert!(!messages.absorb(&message(2, &both)).unwrap());
        let counts = messages.counts();
        assert_eq!(
            (counts.messages, counts.again, counts.readings, counts.lost),
            (2, 1, 14, 0)
        );
        let expected = Window {
            count: 7,
            mean: 8.0,
            min: 9.0,
            max: 10.0,
            deviation: 11.0,
            missing: Some(12),
            flagged: 13,
        };
        let key = |day: i64| WindowKey {
            series: "wind".into(),
            start: day * 86_400,
        };
        let windows = [14_000, 14_001].map(|day| (key(day), expected));
        assert_eq!(messages.finish().unwrap(), windows.into());
    }

    #[test]
    fn numbers_keep_every_bit() {
        for step in 0..10_000u64 {
            // From 1 to 2, all over the fraction.
            let fraction = step.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 12;
            let value = f64::from_bits(0x3FF0_0000_0000_0000 | fraction);
            let record: Record = serde_json::from_str(&format!("{{\"v\":{value}}}")).unwrap();
            assert_eq!(record.v.map(f64::to_bits), Some(value.to_bits()), "{value}");
        }
    }

    #[test]
    fn a_number_left_out_is_a_message_lost() {
        let mut messages = Messages::default();
        for sequence in [2, 5] {
            let payload = window(14_000 + sequence);
            messages
                .absorb(&message(sequence as u64, &payload))
                .unwrap();
        }
        assert_eq!(messages.counts().lost, 3);
    }

    #[test]
    fn what_is_no_result_is_refused() {
        let refuse = |message: Message| Messages::default().absorb(&message).unwrap_err();
        for id in ["", "x-1", &format!("{BOOT}-0"), &format!("{BOOT}-+1"), BOOT] {
            let message = Message {
                id: id.into(),
                ..message(1, "[]")
            };
            assert!(matches!(refuse(message), MessageError::Id { .. }), "{id}");
        }
        for payload in ["", "{}", "[1]", "[{\"v\":\"text\"}]"] {
            assert!(
                matches!(refuse(message(1, payload)), MessageError::Json { .. }),
                "{payload}"
            );
        }
        for payload in [
            r#"[{"n":"a:min","bt":1700000000}]"#,
            r#"[{"n":"a:min","t":1700000000.5,"v":1}]"#,
        ] {
            assert!(
                matches!(refuse(message(1, payload)), MessageError::Record { .. }),
                "{payload}"
            );
        }
        let mut messages = Messages::default();
        messages.absorb(&message(1, &window(1))).unwrap();
        let forged = messages.absorb(&message(1, &window(2))).unwrap_err();
        assert!(matches!(forged, MessageError::Forged { .. }));
    }
}
