//! Whole runs, into readers of this process over `vchan_linux::local`.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use stage::senml::{Item, StreamDecoder};
use stage::{Timestamp, Value};
use vchan_linux::local::{Folder, Meeting};
use vchan_linux::{Layout, OfferOptions, Stream};

use super::*;
use crate::feed::bytes::{Bytes, Growing};
use crate::feed::csv::Columns;
use crate::feed::format::{Format, Parser};
use crate::feed::sensors::Sensors;
use crate::feed::target::Local;

const PATIENCE: Option<Duration> = Some(Duration::from_secs(60));

/// What a reader got.
#[derive(Debug, Default, PartialEq)]
struct Got {
    /// `NAME=VALUE` of each reading.
    readings: Vec<String>,
    /// The readings that the edge had carried before the first.
    before: Option<u64>,
    /// It was told the end.
    ended: bool,
}

/// Reads until the end.
fn read(folder: &Folder) -> Got {
    read_some(&mut offer(folder, 1024), usize::MAX, |_| {})
}

/// A reader of the edge, through a ring of so many bytes.
fn offer(folder: &Folder, ring: usize) -> Stream<Meeting> {
    let meeting = Meeting::new(folder, "e").unwrap();
    let options = OfferOptions::from(Layout::for_sizes(ring, 1024).unwrap());
    let mut stream = Stream::offer(&meeting, options, PATIENCE).unwrap();
    stream.set_read_timeout(PATIENCE);
    stream
}

/// Reads until the end, or until it has had `most` readings; `each` is told how many there are by now.
fn read_some(stream: &mut Stream<Meeting>, most: usize, each: impl Fn(usize)) -> Got {
    let (mut decoder, mut got) = (StreamDecoder::new(), Got::default());
    while got.readings.len() < most {
        let item = decoder.next_item().unwrap();
        match item {
            Item::End => {
                got.ended = true;
                break;
            }
            Item::Pack(pack) => {
                let mut readings = pack.readings(Timestamp::from_nanos(0)).unwrap();
                while let Some(reading) = readings.next_reading().unwrap() {
                    let Value::Number(value) = reading.value else {
                        panic!("{reading:?}")
                    };
                    got.readings.push(format!("{}={value}", reading.name));
                }
                got.before = got.before.or(readings.seq());
                each(got.readings.len());
            }
            Item::Incomplete => {
                let count = stream.read(decoder.space(512).unwrap()).unwrap();
                if count == 0 {
                    break;
                }
                decoder.filled(count);
            }
        }
    }
    got
}

struct Bench {
    place: tempfile::TempDir,
    folder: Folder,
    stop: Stop,
    ask: UnixStream,
}

impl Bench {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::at(place.path().join("vchan")).unwrap();
        let (stop, ask) = Stop::pair().unwrap();
        Self {
            place,
            folder,
            stop,
            ask,
        }
    }

    fn feed(&self, source: Source) -> Fed {
        let readers = Local {
            folder: Folder::at(self.folder.path()).unwrap(),
            name: "e".into(),
        };
        vchan_linux::block_on(run(source, readers, &self.stop)).unwrap()
    }
}

/// A pipe that holds this text, and its end.
fn pipe(text: String) -> Bytes {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    thread::spawn(move || theirs.write_all(text.as_bytes()));
    Bytes::Pipe(Arc::new(File::from(OwnedFd::from(ours))))
}

fn numbers(bytes: Bytes) -> Source {
    let columns = Columns {
        names: vec![(None, "n".into())],
        ..Columns::default()
    };
    Source::lines(bytes, Parser::new(Format::Numbers, columns).unwrap())
}

fn counting(count: u64) -> String {
    (0..count).map(|number| format!("{number}\n")).collect()
}

fn expected(numbers: std::ops::Range<u64>) -> Vec<String> {
    numbers.map(|number| format!("n={number}")).collect()
}

#[test]
fn everything_arrives_in_order_through_a_small_ring_and_then_the_end() {
    let bench = Bench::new();
    let (fed, got) = thread::scope(|scope| {
        let reader = scope.spawn(|| read(&bench.folder));
        (
            bench.feed(numbers(pipe(counting(20_000)))),
            reader.join().unwrap(),
        )
    });
    assert_eq!(got.readings, expected(0..20_000));
    assert_eq!((got.before, got.ended), (Some(0), true));
    assert_eq!(
        (fed.sent.readings, fed.sent.lost, fed.sent.readers, fed.bad),
        (20_000, 0, 1, 0)
    );
}

#[test]
fn lines_that_say_nothing_are_counted_and_the_others_go_on() {
    let bench = Bench::new();
    let text = "time,flow\n1999-01-01,1\nx,2\n1999-01-02,3,4\n\n1999-01-03,5".to_owned();
    let source = Source::lines(
        pipe(text),
        Parser::new(Format::Csv, Columns::default()).unwrap(),
    );
    let (fed, got) = thread::scope(|scope| {
        let reader = scope.spawn(|| read(&bench.folder));
        (bench.feed(source), reader.join().unwrap())
    });
    assert_eq!(got.readings, ["flow=1", "flow=5"]);
    assert_eq!((fed.bad, fed.sent.readings, got.ended), (2, 2, true));
}

#[test]
fn a_reader_that_goes_has_a_successor_and_what_nobody_read_is_counted() {
    let bench = Bench::new();
    let (fed, one, other) = thread::scope(|scope| {
        let readers = scope.spawn(|| {
            let mut stream = offer(&bench.folder, 16 << 10);
            let one = read_some(&mut stream, 700, |_| {});
            // It goes while something stands in the ring: otherwise nothing may be lost.
            vchan_linux::block_on(stream.reader().inner().peek(8 << 10)).unwrap();
            drop(stream);
            (one, read(&bench.folder))
        });
        let fed = bench.feed(numbers(pipe(counting(5_000))));
        let (one, other) = readers.join().unwrap();
        (fed, one, other)
    });
    assert_eq!(fed.sent.readers, 2);
    let (first, rest) = (one.readings.len() as u64, other.readings.len() as u64);
    assert_eq!(one.readings, expected(0..first));
    // From some pack's beginning on, all of it; what is between them is what is said to be lost. What the first one had taken
    // out of the ring and not looked at is its own loss.
    assert_eq!(other.readings, expected(5_000 - rest..5_000));
    assert_eq!((other.before, other.ended), (Some(5_000 - rest), true));
    assert!(
        fed.sent.lost > 0 && first + fed.sent.lost + rest <= 5_000,
        "{fed:?}"
    );
    assert!(
        first + fed.sent.lost + rest >= 5_000 - 100,
        "{fed:?} {first} {rest}"
    );
}

#[test]
fn a_stop_ends_the_stream_in_order() {
    let bench = Bench::new();
    let path = bench.place.path().join("log");
    fs::write(&path, counting(300)).unwrap();
    let source = numbers(Bytes::Growing(Growing::new(&path)));
    let (fed, got) = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            read_some(&mut offer(&bench.folder, 1024), usize::MAX, |count| {
                if count == 300 {
                    (&bench.ask).write_all(b"x").unwrap();
                }
            })
        });
        (bench.feed(source), reader.join().unwrap())
    });
    assert_eq!((got.readings, got.ended), (expected(0..300), true));
    assert_eq!((fed.sent.readings, fed.sent.lost), (300, 0));
}

#[test]
fn a_stop_before_anybody_has_come_loses_what_came_and_says_so() {
    let bench = Bench::new();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(counting(10).as_bytes()).unwrap();
    let bytes = Bytes::Pipe(Arc::new(File::from(OwnedFd::from(ours))));
    // They are there when the wait for a reader is stopped.
    (&bench.ask).write_all(b"x").unwrap();
    let fed = bench.feed(numbers(bytes));
    assert_eq!(
        (fed.sent.readings, fed.sent.lost, fed.sent.readers),
        (10, 10, 0)
    );
}

#[test]
fn an_empty_input_is_an_end_too() {
    let bench = Bench::new();
    let got = thread::scope(|scope| {
        let reader = scope.spawn(|| read(&bench.folder));
        bench.feed(numbers(pipe(String::new())));
        reader.join().unwrap()
    });
    assert!(got.ended && got.readings.is_empty());
}

#[test]
fn sensors_are_asked_as_often_as_was_said() {
    let bench = Bench::new();
    let hwmon = bench.place.path().join("sys/class/hwmon/hwmon0");
    fs::create_dir_all(&hwmon).unwrap();
    fs::write(hwmon.join("name"), "chip").unwrap();
    fs::write(hwmon.join("temp1_input"), "21500").unwrap();
    let every = Duration::from_millis(1);
    let source = Source::Sensors(Sensors::new(bench.place.path(), every, Some(3)));
    let got = thread::scope(|scope| {
        let reader = scope.spawn(|| read(&bench.folder));
        bench.feed(source);
        reader.join().unwrap()
    });
    assert_eq!(got.readings, ["chip:temp1=21.5"; 3]);
    assert!(got.ended);
}
