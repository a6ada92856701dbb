//! The readings of one pack, until it has ended; then messages, one for each topic.
//!
//! Kept as they were read, since a pack's readings are lent one at a time.

use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

use stage::{Reading, Timestamp, Value};

/// What a batch may hold, in bytes of names, units and texts; a pack with more is cut here.
const MAX_BYTES: usize = 16 << 10;

/// How many readings a batch may hold.
const MAX_READINGS: usize = 256;

/// Where a text or data stands in the batch.
type Place = Range<usize>;

#[derive(Debug)]
enum Kept {
    Number(f64),
    Sum(f64),
    Boolean(bool),
    Text(Place),
    Data(Place),
}

#[derive(Debug)]
struct Entry {
    name: Place,
    unit: Place,
    time: Timestamp,
    value: Kept,
}

/// Readings on their way into messages.
#[derive(Debug, Default)]
pub struct Batch {
    entries: Vec<Entry>,
    texts: String,
    data: Vec<u8>,
}

impl Batch {
    /// Adds a reading.
    pub fn push(&mut self, reading: &Reading<'_>) {
        // Names and units most often repeat.
        let last = self.entries.last();
        let known = |place: Option<&Place>, text: &str| {
            place
                .filter(|place| self.texts.get((*place).clone()) == Some(text))
                .cloned()
        };
        let name = known(last.map(|last| &last.name), reading.name);
        let unit = known(last.map(|last| &last.unit), reading.unit);
        let name = name.unwrap_or_else(|| keep(&mut self.texts, reading.name));
        let unit = unit.unwrap_or_else(|| keep(&mut self.texts, reading.unit));
        let value = match reading.value {
            Value::Number(number) => Kept::Number(number),
            Value::Sum(sum) => Kept::Sum(sum),
            Value::Boolean(truth) => Kept::Boolean(truth),
            Value::Text(text) => Kept::Text(keep(&mut self.texts, text)),
            Value::Data(data) => {
                let start = self.data.len();
                self.data.extend_from_slice(data);
                Kept::Data(start..self.data.len())
            }
        };
        self.entries.push(Entry {
            name,
            unit,
            time: reading.time,
            value,
        });
    }

    /// Whether it is to be taken before more is added.
    pub fn is_full(&self) -> bool {
        self.entries.len() >= MAX_READINGS || self.texts.len() + self.data.len() >= MAX_BYTES
    }

    /// Hands `each` the readings, those of one key together, keys in the order in which they first came; then they are
    /// forgotten.
    pub fn take_by<'k>(
        &mut self,
        key: impl for<'n> Fn(&'n str) -> &'n str,
        mut each: impl FnMut(&str, &[Reading<'_>]),
    ) {
        let mut readings: Vec<Reading<'_>> = Vec::with_capacity(self.entries.len());
        let mut group = Vec::new();
        readings.extend(self.entries.iter().map(|entry| self.lend(entry)));
        while let Some(first) = readings.first() {
            let topic = key(first.name);
            group.clear();
            group.extend(readings.iter().filter(|reading| key(reading.name) == topic));
            each(topic, &group);
            readings.retain(|reading| key(reading.name) != topic);
        }
        self.entries.clear();
        self.texts.clear();
        self.data.clear();
    }

    fn lend(&self, entry: &Entry) -> Reading<'_> {
        let text = |place: &Place| self.texts.get(place.clone()).unwrap_or_default();
        Reading {
            name: text(&entry.name),
            unit: text(&entry.unit),
            time: entry.time,
            value: match &entry.value {
                Kept::Number(number) => Value::Number(*number),
                Kept::Sum(sum) => Value::Sum(*sum),
                Kept::Boolean(truth) => Value::Boolean(*truth),
                Kept::Text(place) => Value::Text(text(place)),
                Kept::Data(place) => Value::Data(self.data.get(place.clone()).unwrap_or_default()),
            },
        }
    }
}

fn keep(texts: &mut String, text: &str) -> Place {
    let start = texts.len();
    texts.push_str(text);
    start..texts.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn reading<'a>(name: &'a str, value: Value<'a>) -> Reading<'a> {
        Reading {
            name,
            unit: "u",
            time: Timestamp::default(),
            value,
        }
    }

    #[test]
    fn readings_come_out_as_they_went_in_and_leave_nothing_behind() {
        let readings = [
            reading("a", Value::Number(1.0)),
            reading("b", Value::Text("text")),
            reading("a", Value::Data(&[1, 2, 3])),
            reading("a", Value::Boolean(true)),
            reading("c", Value::Sum(2.0)),
        ];
        let mut batch = Batch::default();
        for _ in 0..2 {
            readings.iter().for_each(|reading| batch.push(reading));
            let mut seen = Vec::new();
            batch.take_by(
                |name| name,
                |key, group| {
                    let expected: Vec<_> = readings.iter().filter(|r| r.name == key).collect();
                    assert!(group.iter().eq(expected));
                    seen.push(key.to_string());
                },
            );
            assert_eq!(seen, ["a", "b", "c"]);
            let left = (batch.entries.len(), batch.texts.len(), batch.data.len());
            assert_eq!(left, (0, 0, 0));
        }
    }

    #[test]
    fn a_batch_is_full_by_number_and_by_size() {
        let mut batch = Batch::default();
        (1..MAX_READINGS).for_each(|_| batch.push(&reading("a", Value::Number(0.0))));
        assert!(!batch.is_full());
        batch.push(&reading("a", Value::Number(0.0)));
        assert!(batch.is_full());
        let mut batch = Batch::default();
        batch.push(&reading("a", Value::Data(&[0; MAX_BYTES])));
        assert!(batch.is_full());
    }
}
