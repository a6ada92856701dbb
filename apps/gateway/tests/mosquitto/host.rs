//! A host in real time: edges in memory, TCP from the system.

use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use async_io::{Async, Timer};
use embedded_io_async::{ErrorType, Read, Write};
use gateway::Net;
use stage::counters::Counters;
use stage::runner::{Host, OpenError};
use stage::state::State;
use stage::testing::{Network, PipeReader, PipeWriter};
use stage::{Edge, Timestamp};

/// What the stages say on the log, of all tests.
static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Lines;

impl log::Log for Lines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if record.target().starts_with("gateway") {
            let line = format!("{} {}", record.level(), record.args());
            LINES.lock().expect("a log").push(line);
        }
    }

    fn flush(&self) {}
}

/// Begins to keep the log.
pub fn log_lines() {
    log::set_logger(&Lines).expect("the only logger");
    log::set_max_level(log::LevelFilter::Info);
}

/// The lines of the log after the first so many.
pub fn lines_since(count: usize) -> Vec<String> {
    LINES.lock().expect("a log")[count..].to_vec()
}

/// A boot module that holds a secret.
pub fn module(secret: Option<&str>) -> &'static [u8] {
    let Some(secret) = secret else { return &[] };
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(secret.len() as u64);
    header.set_mode(0o600);
    archive
        .append_data(&mut header, "secret", secret.as_bytes())
        .expect("an archive");
    archive.into_inner().expect("an archive").leak()
}

pub struct RealHost {
    pub network: Rc<Network>,
    started: Instant,
    states: RefCell<Vec<State>>,
    counters: RefCell<Counters>,
    stopped: Cell<bool>,
}

impl RealHost {
    pub fn new() -> Self {
        Self {
            network: Network::new(),
            started: Instant::now(),
            states: RefCell::default(),
            counters: RefCell::default(),
            stopped: Cell::default(),
        }
    }

    pub fn state(&self) -> State {
        self.states
            .borrow()
            .last()
            .cloned()
            .unwrap_or(State::Starting)
    }

    /// Tells the stage to stop.
    pub fn stop(&self) {
        self.stopped.set(true);
    }

    /// What the stage last published.
    pub fn counters(&self) -> Counters {
        self.counters.borrow().clone()
    }

    /// What the gateway last published of a counter of its own.
    pub fn own(&self, key: &str) -> u64 {
        number(&self.counters.borrow().own, key)
    }
}

impl Host for RealHost {
    type Reader = PipeReader;
    type Writer = PipeWriter;

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn wall_clock(&self) -> Timestamp {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        Timestamp::from_nanos(now.as_nanos() as i64)
    }

    async fn sleep_until(&self, deadline: Duration) {
        Timer::at(self.started + deadline).await;
    }

    async fn open_input(&self, edge: &Edge) -> Result<PipeReader, OpenError> {
        Ok(self
            .network
            .open_input(edge.name.as_str(), edge.ring as usize)
            .await)
    }

    async fn open_output(&self, edge: &Edge) -> Result<PipeWriter, OpenError> {
        Ok(self.network.open_output(edge.name.as_str()).await)
    }

    fn set_state(&self, state: &State) {
        self.states.borrow_mut().push(state.clone());
    }

    fn publish(&self, counters: &Counters) {
        self.counters.replace(counters.clone());
    }

    fn heap_high_water(&self) -> u64 {
        0
    }

    async fn console_line(&self, line: &str) {
        println!("{line}");
    }

    async fn stop_requested(&self) {
        while !self.stopped.get() {
            Timer::after(Duration::from_millis(5)).await;
        }
    }
}

/// The value of a key in `key=number` pairs; 0 where it is not.
pub fn number(pairs: &str, key: &str) -> u64 {
    let mut pairs = pairs.split(' ').filter_map(|pair| pair.split_once('='));
    let value = pairs.find(|(known, _)| *known == key);
    value.map_or(0, |(_, value)| value.parse().expect("a number"))
}

pub struct TcpNet;

pub struct Stream(Async<TcpStream>);

impl ErrorType for Stream {
    type Error = io::Error;
}

impl Read for Stream {
    async fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read_with(|mut stream| stream.read(buf)).await
    }
}

impl Write for Stream {
    async fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write_with(|mut stream| stream.write(buf)).await
    }

    async fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Net for TcpNet {
    type Stream = Stream;
    type Error = io::Error;

    async fn configured(&self, _: &str) {}

    async fn connect(&self, host: &str, port: u16) -> io::Result<Stream> {
        let address = host.parse().map_err(io::Error::other)?;
        let stream = Async::<TcpStream>::connect(std::net::SocketAddr::new(address, port)).await?;
        stream.get_ref().set_nodelay(true)?;
        Ok(Stream(stream))
    }

    fn random(&self) -> u64 {
        RandomState::new().build_hasher().finish()
    }
}
