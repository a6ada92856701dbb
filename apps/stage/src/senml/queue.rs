//! Writing packs: readings are gathered in packs, packs wait in one buffer until they are taken.

use alloc::vec::Vec;
use core::mem;
use core::ops::Range;

use super::cbor::{Writer, major};
use super::number::DECIMAL_FRACTION;
use super::reading::{Reading, Value, is_name};
use super::{ABSOLUTE_FROM_NANOS, MAX_PACK, SEQ, label};
use crate::time::NANOS_PER_SECOND;

/// An array whose length follows in two bytes, so that it can be filled in at the end.
const ARRAY_U16: u8 = 0x99;

/// A record's room beyond the limit, so that the buffer need not grow to find out that it is full.
const SLACK: usize = 512;

/// One whole pack in a buffer of packs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed {
    /// Where it ends; it begins where the one before ends.
    pub end: usize,
    /// How many readings it holds.
    pub readings: u64,
}

/// Packs on their way out of one edge.
#[derive(Debug)]
pub struct PackQueue {
    limit: usize,
    bytes: Vec<u8>,
    sealed: Vec<Sealed>,
    open: Option<Open>,
    /// Readings pushed so far, less those shed.
    seq: u64,
    /// Whether nobody waits until there is room again.
    sheds: bool,
    shed: u64,
}

/// The pack that is being filled.
#[derive(Debug, Clone)]
struct Open {
    start: usize,
    readings: u16,
    base_time: i64,
    base_name: Range<usize>,
}

impl PackQueue {
    /// A queue whose packs are at most `limit` bytes long; a single reading that is longer has a
    /// pack to itself, up to [`MAX_PACK`].
    pub fn new(limit: usize) -> Self {
        let limit = limit.min(MAX_PACK);
        let bytes = Vec::with_capacity(limit + SLACK);
        Self {
            limit,
            bytes,
            sealed: Vec::with_capacity(4),
            open: None,
            seq: 0,
            sheds: false,
            shed: 0,
        }
    }

    /// Whether the queue is to say that it is never full. It leaves out and counts what is pushed while a whole pack waits.
    pub fn never_full(&mut self, sheds: bool) {
        self.sheds = sheds;
    }

    /// Readings left out so far.
    pub fn shed(&self) -> u64 {
        self.shed
    }

    /// Adds a reading, to the open pack or to a new one. On an error it is as if not tried.
    pub fn push(&mut self, reading: &Reading<'_>) -> Result<(), EncodeError> {
        if !is_name(reading.name) {
            return Err(EncodeError::Name);
        }
        if reading.time.nanos() < ABSOLUTE_FROM_NANOS {
            return Err(EncodeError::Time);
        }
        if self.sheds && !self.sealed.is_empty() {
            self.shed += 1;
            return Ok(());
        }
        if let Some(mut open) = self.open.take() {
            let end = self.bytes.len();
            let before = open.clone();
            // The count of readings has two bytes.
            if open.readings < u16::MAX && self.append(&mut open, reading) <= self.limit {
                self.keep(open, end);
                return Ok(());
            }
            self.bytes.truncate(end);
            self.open = Some(before);
        }
        self.push_first(reading)
    }

    fn push_first(&mut self, reading: &Reading<'_>) -> Result<(), EncodeError> {
        self.seal();
        let start = self.bytes.len();
        let mut open = Open {
            start,
            readings: 0,
            base_time: reading.time.seconds(),
            base_name: 0..0,
        };
        self.bytes.extend_from_slice(&[ARRAY_U16, 0, 0]);
        if self.append(&mut open, reading) > MAX_PACK {
            self.bytes.truncate(start);
            return Err(EncodeError::TooLong);
        }
        self.keep(open, start);
        Ok(())
    }

    /// Keeps the record that begins at `start`. A pack that has no room for another such record is
    /// sealed at once: it is to leave now, not when the next reading has opened a new pack.
    fn keep(&mut self, open: Open, start: usize) {
        let length = self.bytes.len() - open.start;
        let record = self.bytes.len() - start;
        self.open = Some(open);
        self.seq += 1;
        if length + record > self.limit {
            self.seal();
        }
    }

    /// Appends a record, and returns how long the pack is then.
    fn append(&mut self, open: &mut Open, reading: &Reading<'_>) -> usize {
        let name_is_base = self.bytes.get(open.base_name.clone()) == Some(reading.name.as_bytes());
        let base_name = (!name_is_base).then_some(reading.name);
        let seq = (open.readings == 0).then_some(self.seq);
        record(&mut self.bytes, reading, base_name, seq, open);
        open.readings += 1;
        self.bytes.len() - open.start
    }

    /// Ends the open pack, if there is one.
    pub fn seal(&mut self) {
        let Some(open) = self.open.take() else { return };
        let end = self.bytes.len();
        if let Some(count) = self.bytes.get_mut(open.start + 1..open.start + 3) {
            count.copy_from_slice(&open.readings.to_be_bytes());
        }
        self.sealed.push(Sealed {
            end,
            readings: u64::from(open.readings),
        });
    }

    /// Whether a whole pack waits to be taken.
    pub fn is_full(&self) -> bool {
        !self.sheds && !self.sealed.is_empty()
    }

    /// Whether there is nothing to take.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Readings pushed so far, those already taken included and those left out not.
    pub fn readings(&self) -> u64 {
        self.seq
    }

    /// Seals the open pack and moves all packs into the given buffers, whose own content is dropped
    /// and whose room the queue goes on with.
    pub fn take(&mut self, bytes: &mut Vec<u8>, sealed: &mut Vec<Sealed>) {
        self.seal();
        mem::swap(&mut self.bytes, bytes);
        mem::swap(&mut self.sealed, sealed);
        self.bytes.clear();
        self.sealed.clear();
    }
}

fn record(
    bytes: &mut Vec<u8>,
    reading: &Reading<'_>,
    base_name: Option<&str>,
    seq: Option<u64>,
    open: &mut Open,
) {
    let past_base = reading.time.nanos() - open.base_time * NANOS_PER_SECOND;
    let first = seq.is_some();
    let fields = 1
        + u64::from(base_name.is_some())
        + 2 * u64::from(first)
        + u64::from(!reading.unit.is_empty())
        + u64::from(past_base != 0);
    let mut writer = Writer(bytes);
    writer.header(major::MAP, fields);
    if let Some(name) = base_name {
        writer.integer(label::BASE_NAME.into());
        writer.text(name);
        let end = writer.0.len();
        open.base_name = end - name.len()..end;
    }
    if first {
        writer.integer(label::BASE_TIME.into());
        writer.integer(open.base_time);
    }
    if let Some(seq) = seq {
        writer.text(SEQ);
        writer.header(major::UNSIGNED, seq);
    }
    if !reading.unit.is_empty() {
        writer.integer(label::UNIT.into());
        writer.text(reading.unit);
    }
    if past_base != 0 {
        writer.integer(label::TIME.into());
        seconds(&mut writer, past_base);
    }
    value(&mut writer, &reading.value);
}

/// A span in seconds: an integer, or a decimal fraction of milli-, micro- or nanoseconds.
fn seconds(writer: &mut Writer<'_>, nanos: i64) {
    if nanos % NANOS_PER_SECOND == 0 {
        writer.integer(nanos / NANOS_PER_SECOND);
        return;
    }
    let (exponent, unit) = match nanos {
        _ if nanos % 1_000_000 == 0 => (-3, 1_000_000),
        _ if nanos % 1_000 == 0 => (-6, 1_000),
        _ => (-9, 1),
    };
    writer.header(major::TAG, DECIMAL_FRACTION);
    writer.header(major::ARRAY, 2);
    writer.integer(exponent);
    writer.integer(nanos / unit);
}

fn value(writer: &mut Writer<'_>, value: &Value<'_>) {
    let label = match value {
        Value::Number(_) => label::VALUE,
        Value::Sum(_) => label::SUM,
        Value::Boolean(_) => label::BOOLEAN_VALUE,
        Value::Text(_) => label::STRING_VALUE,
        Value::Data(_) => label::DATA_VALUE,
    };
    writer.integer(label.into());
    match value {
        Value::Number(number) | Value::Sum(number) => writer.float(*number),
        Value::Boolean(truth) => writer.boolean(*truth),
        Value::Text(text) => writer.text(text),
        Value::Data(data) => writer.bytes(data),
    }
}

/// Why SenML cannot carry a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// Its name.
    #[error("a name of other characters than A-Z a-z 0-9 - : . / _, or longer than 255 bytes")]
    Name,
    /// Its stamp, which would read as relative to now.
    #[error("a time before 1978-07-04, which SenML takes as relative to now")]
    Time,
    /// Its length.
    #[error("a reading longer than a pack can be (64 KiB)")]
    TooLong,
}

impl From<EncodeError> for crate::DropCause {
    fn from(_: EncodeError) -> Self {
        Self::Unsendable
    }
}
