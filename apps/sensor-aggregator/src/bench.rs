//! A bench for tests of functions: one function, its outputs, and what was emitted.

use std::string::{String, ToString};
use std::vec::Vec;
use std::{format, vec};

use stage::senml::{Item, StreamDecoder};
use stage::{Outputs, Plan, Reading, Stage, Timestamp, Value, Verdict};

/// A function with one input, and outputs to look into.
pub struct Bench<S> {
    function: S,
    pub out: Outputs,
}

impl<S: Stage> Bench<S> {
    pub fn new(command: &str, outputs: usize) -> Self {
        let edges: String = (0..outputs).map(|n| format!(" out.o{n}=2")).collect();
        let function = made::<S>(&format!("in.a=1{edges} {command}"));
        Self {
            function: function.unwrap_or_else(|error| panic!("{error}")),
            out: Outputs::new(vec![1 << 16; outputs]),
        }
    }

    /// Why the function does not take these parameters.
    pub fn refused(command: &str) -> String {
        let made = made::<S>(&format!("in.a=1 out.o=2 {command}"));
        made.err().unwrap_or_else(|| panic!("{command} was taken"))
    }

    pub fn reading(&mut self, reading: &Reading<'_>) -> Verdict {
        self.function.reading(0, reading, &mut self.out)
    }

    pub fn function(&self) -> &S {
        &self.function
    }

    pub fn poll(&mut self, now: core::time::Duration) -> stage::Next {
        self.function.poll(now, &mut self.out)
    }

    pub fn finish(&mut self) {
        self.function.finish(&mut self.out);
    }

    /// What the function counts beside the stage's counters.
    pub fn own(&self) -> String {
        let mut text = String::new();
        self.function.own_counters(&mut text);
        text
    }
}

fn made<S: Stage>(command: &str) -> Result<S, String> {
    let plan = Plan::new::<S>(command.as_bytes(), b"").map_err(|error| error.to_string())?;
    plan.build::<S>().map_err(|error| error.to_string())
}

/// A number of the first second of 2026.
pub fn number(name: &str, value: f64) -> Reading<'_> {
    Reading::number(name, Timestamp::from_seconds(1_767_225_600).unwrap(), value)
}

/// A command of the same time.
pub fn command(name: &str, open: bool) -> Reading<'_> {
    Reading {
        value: Value::Boolean(open),
        ..number(name, 0.0)
    }
}

/// The numbers on the first output, since it was last looked at.
pub fn emitted(out: &mut Outputs) -> Vec<(String, f64)> {
    taken(out, |value| match value {
        Value::Number(value) => value,
        other => panic!("{other:?}"),
    })
}

/// The truth values on the first output.
pub fn booleans(out: &mut Outputs) -> Vec<(String, bool)> {
    taken(out, |value| match value {
        Value::Boolean(value) => value,
        other => panic!("{other:?}"),
    })
}

/// The numbers and truth values on the first output, with their times.
pub fn records(out: &mut Outputs) -> Vec<(String, Timestamp, Value<'static>)> {
    all(out, |reading| {
        let value = match reading.value {
            Value::Number(value) => Value::Number(value),
            Value::Boolean(value) => Value::Boolean(value),
            other => panic!("{other:?}"),
        };
        (reading.name.to_string(), reading.time, value)
    })
}

fn taken<T>(out: &mut Outputs, read: impl Fn(Value<'_>) -> T) -> Vec<(String, T)> {
    all(out, |reading| {
        (reading.name.to_string(), read(reading.value))
    })
}

fn all<T>(out: &mut Outputs, read: impl Fn(&Reading<'_>) -> T) -> Vec<T> {
    let Some(queue) = out.queue_mut(0) else {
        return Vec::new();
    };
    let mut all = Vec::new();
    loop {
        let (mut bytes, mut sealed) = (Vec::new(), Vec::new());
        queue.take(&mut bytes, &mut sealed);
        if bytes.is_empty() {
            return all;
        }
        let mut decoder = StreamDecoder::default();
        decoder.space(bytes.len()).unwrap().copy_from_slice(&bytes);
        decoder.filled(bytes.len());
        while let Item::Pack(pack) = decoder.next_item().unwrap() {
            let mut readings = pack.readings(Timestamp::default()).unwrap();
            while let Some(reading) = readings.next_reading().unwrap() {
                all.push(read(&reading));
            }
        }
    }
}
