//! The functions as programs whose edges meet over TCP, beside the same over vchan.

use std::fs;
use std::io::{Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long something may take before a test has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program that ends with the test. What it says is read all the time, so that it never waits for room.
struct Program {
    child: Child,
    out: Option<JoinHandle<Vec<u8>>>,
    err: Option<JoinHandle<Vec<u8>>>,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn heard(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

impl Program {
    fn start(path: &str, words: &[&str], more: &[String]) -> Self {
        let mut command = Command::new(path);
        command.args(words).args(more).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        Self {
            child,
            out: Some(heard(out)),
            err: Some(heard(err)),
        }
    }

    fn sensor(words: &[&str], place: &[String]) -> Self {
        Self::start(env!("CARGO_BIN_EXE_sensor"), words, place)
    }

    fn aggregator(words: &[&str], place: &[String]) -> Self {
        Self::start(env!("CARGO_BIN_EXE_aggregator"), words, place)
    }

    /// Its end, with all that it said.
    fn end(mut self) -> Output {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None => assert!(Instant::now() < deadline, "it does not end"),
            }
            thread::sleep(Duration::from_millis(10));
        };
        Output {
            status,
            stdout: self.out.take().unwrap().join().unwrap(),
            stderr: self.err.take().unwrap().join().unwrap(),
        }
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn place(port: u16) -> Vec<String> {
    vec!["--tcp".into(), format!("flow=127.0.0.1:{port}")]
}

fn with_keys(mut place: Vec<String>, folder: &Path) -> Vec<String> {
    place.extend(["--keys".into(), folder.display().to_string()]);
    place
}

/// Waits until a key of a stage holds what is wanted.
fn until(folder: &Path, key: &str, wanted: impl Fn(&str) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let value = fs::read_to_string(folder.join("data/grantflow").join(key)).unwrap_or_default();
        if wanted(value.trim()) {
            return;
        }
        assert!(Instant::now() < deadline, "{key}: {value}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const SIGNAL: [&str; 5] = [
    "out.flow=0",
    "signal=walk",
    "seed=7",
    "count=20000",
    "every=1m",
];

const WINDOWS: [&str; 3] = ["in.flow=0", "results=console", "window=1h"];

#[test]
fn windows_are_those_of_vchan_whoever_comes_first() {
    let folder = tempfile::tempdir().unwrap();
    let meet = vec![
        "--meet".into(),
        folder.path().join("meet").display().to_string(),
    ];
    let windows = |sensor_first: bool, place: &[String]| {
        let (sensor, aggregator) = if sensor_first {
            let sensor = Program::sensor(&SIGNAL, place);
            thread::sleep(Duration::from_millis(100));
            (sensor, Program::aggregator(&WINDOWS, place))
        } else {
            let aggregator = Program::aggregator(&WINDOWS, place);
            thread::sleep(Duration::from_millis(100));
            (Program::sensor(&SIGNAL, place), aggregator)
        };
        let (sensor, aggregator) = (sensor.end(), aggregator.end());
        assert!(sensor.status.success(), "{}", said(&sensor));
        assert!(aggregator.status.success(), "{}", said(&aggregator));
        for told in [said(&sensor), said(&aggregator)] {
            assert!(!told.contains("lost"), "{told}");
        }
        String::from_utf8(aggregator.stdout).unwrap()
    };
    let over_vchan = windows(true, &meet);
    assert_eq!(over_vchan.lines().count(), 334, "{over_vchan}");
    assert!(over_vchan == windows(true, &place(free_port())));
    assert!(over_vchan == windows(false, &place(free_port())));
}

#[test]
fn a_writer_that_dies_leaves_its_reader_stale_and_another_takes_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(free_port());
    let aggregator = Program::aggregator(&WINDOWS, &with_keys(place.clone(), folder.path()));
    let endless = ["out.flow=0", "signal=sine", "count=0", "rate=1000"];
    let first = Program::sensor(&endless, &place);
    until(folder.path(), "state", |state| state == "running");
    until(folder.path(), "stats/in/flow", |told| {
        told.contains("readings=") && !told.contains("readings=0")
    });
    drop(first);
    until(folder.path(), "state", |state| state == "stale flow");
    let second = Program::sensor(&SIGNAL, &place);
    let (second, aggregator) = (second.end(), aggregator.end());
    assert!(second.status.success(), "{}", said(&second));
    assert!(aggregator.status.success(), "{}", said(&aggregator));
    assert!(said(&aggregator).contains("in.flow: lost its writer"));
    let told = fs::read_to_string(folder.path().join("data/grantflow/stats/in/flow")).unwrap();
    assert!(told.contains("reconnects=1"), "{told}");
}

#[test]
fn a_silent_writer_gives_way_to_one_that_comes() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let aggregator = Program::aggregator(&WINDOWS, &with_keys(place(port), folder.path()));
    until(folder.path(), "state", |state| state == "waiting flow");
    // Half a pack, and then nothing: as a host that vanished.
    let deadline = Instant::now() + PATIENCE;
    let mut silent = loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => break stream,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    };
    silent.write_all(&[0x81, 0xA2]).unwrap();
    until(folder.path(), "state", |state| state == "running");
    let sensor = Program::sensor(&SIGNAL, &place(port)).end();
    assert!(sensor.status.success(), "{}", said(&sensor));
    let aggregator = aggregator.end();
    assert!(aggregator.status.success(), "{}", said(&aggregator));
    let lines = aggregator.stdout.split(|byte| *byte == b'\n').count();
    assert_eq!(lines, 334 + 1);
    let told = fs::read_to_string(folder.path().join("data/grantflow/stats/in/flow")).unwrap();
    assert!(told.contains("half=1"), "{told}");
}

#[test]
fn a_writer_that_has_nothing_to_say_notices_that_its_reader_has_gone() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(free_port());
    let slow = ["out.flow=0", "signal=sine", "count=2", "rate=0.001"];
    let sensor = Program::sensor(&slow, &with_keys(place.clone(), folder.path()));
    let reader = Program::aggregator(&WINDOWS, &place);
    until(folder.path(), "state", |state| state == "running");
    drop(reader);
    until(folder.path(), "state", |state| state == "waiting flow");
    let _next = Program::aggregator(&WINDOWS, &place);
    until(folder.path(), "state", |state| state == "running");
    drop(sensor);
}

#[test]
fn every_edge_has_an_address_and_every_address_an_edge() {
    for (words, told) in [
        (
            &["out.flow=0", "--tcp", "flaw=127.0.0.1:1"][..],
            "there is no edge \"flaw\"",
        ),
        (
            &["out.flow=0", "out.b=0", "--tcp", "flow=127.0.0.1:1"],
            "add --tcp b=ADDRESS:PORT",
        ),
    ] {
        let ended = Program::sensor(words, &["signal=sine".into()]).end();
        assert_eq!(ended.status.code(), Some(1));
        assert!(said(&ended).contains(told), "{}", said(&ended));
    }
}
