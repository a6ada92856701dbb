//! A network in memory, and brokers of every kind on it; their side of the protocol is `mqtt-proto`.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use embedded_io_async::{ErrorType, Read, Write};
use futures_util::future::join;
use gateway::{Gateway, Net, Uplink};
use mqtt_proto::v5::{self, ConnectReasonCode};
use mqtt_proto::{Pid, QosPid};
use stage::counters::Counters;
use stage::runner::run_beside;
use stage::senml::{END_OF_STREAM, PackQueue};
use stage::testing::{MemoryHost, Network, PipeReader, PipeWriter};
use stage::{Plan, Reading, Timestamp};

/// How the network treats those who connect.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    Carry,
    Refuse,
    Swallow,
}

/// The gateway's way to a broker that [`Link::accept`]s.
pub struct MemoryNet {
    pub network: Rc<Network>,
    pub manner: Rc<Cell<Manner>>,
    pub attempts: Rc<Cell<u64>>,
    pub configured_at: Duration,
}

pub struct Stream {
    reader: PipeReader,
    writer: PipeWriter,
}

impl ErrorType for Stream {
    type Error = Infallible;
}

impl Read for Stream {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, Infallible> {
        self.reader.read(buf).await
    }
}

impl Write for Stream {
    async fn write(&mut self, buf: &[u8]) -> Result<usize, Infallible> {
        self.writer.write(buf).await
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

impl Net for MemoryNet {
    type Stream = Stream;
    type Error = &'static str;

    async fn configured(&self, _: &str) {
        self.network.sleep_until(self.configured_at).await;
    }

    async fn connect(&self, host: &str, port: u16) -> Result<Stream, &'static str> {
        assert_eq!((host, port), ("broker.example", 1883));
        self.attempts.set(self.attempts.get() + 1);
        match self.manner.get() {
            Manner::Refuse => Err("connection refused"),
            Manner::Swallow => std::future::pending().await,
            Manner::Carry => {
                let (writer, reader) = join(
                    self.network.open_output("up"),
                    self.network.open_input("down", 4096),
                )
                .await;
                Ok(Stream { reader, writer })
            }
        }
    }

    fn random(&self) -> u64 {
        0xB007
    }
}

/// The broker's end of a connection.
pub struct Link {
    reader: PipeReader,
    writer: PipeWriter,
    bytes: Vec<u8>,
}

impl Link {
    pub async fn accept(network: &Network) -> Self {
        let (reader, writer) =
            join(network.open_input("up", 4096), network.open_output("down")).await;
        Self {
            reader,
            writer,
            bytes: Vec::new(),
        }
    }

    /// The next packet; `None` at the end of the connection.
    pub async fn packet(&mut self) -> Option<v5::Packet> {
        loop {
            if let Ok(Some(packet)) = v5::Packet::decode(&self.bytes) {
                self.bytes.drain(..packet.encode_len().unwrap());
                return Some(packet);
            }
            let mut chunk = [0; 512];
            let count = self.reader.read(&mut chunk).await.unwrap();
            if count == 0 {
                return None;
            }
            self.bytes.extend_from_slice(&chunk[..count]);
        }
    }

    pub async fn send(&mut self, packet: impl Into<v5::Packet>) {
        let bytes = packet.into().encode().unwrap();
        self.send_bytes(bytes.as_ref()).await;
    }

    pub async fn send_bytes(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.writer.write(bytes).await.unwrap() {
                0 => return,
                count => bytes = &bytes[count..],
            }
        }
    }

    /// Takes the CONNECT and lets the client in, or not.
    pub async fn greet(&mut self, kept: bool, code: ConnectReasonCode) -> v5::Connect {
        let Some(v5::Packet::Connect(connect)) = self.packet().await else {
            panic!("no CONNECT");
        };
        self.send(v5::Connack::new(kept, code)).await;
        connect
    }
}

/// A message as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    pub topic: String,
    pub payload: Vec<u8>,
}

/// Messages by their `id`, and how often they came.
#[derive(Default)]
pub struct Store {
    pub messages: RefCell<BTreeMap<String, (Arrived, u64)>>,
    pub presence: RefCell<Vec<String>>,
}

impl Store {
    pub fn add(&self, publish: &v5::Publish) -> Option<Pid> {
        let QosPid::Level1(pid) = publish.qos_pid else {
            assert!(publish.retain);
            let text = String::from_utf8(publish.payload.to_vec()).unwrap();
            self.presence.borrow_mut().push(text);
            return None;
        };
        let arrived = Arrived {
            topic: publish.topic_name.to_string(),
            payload: publish.payload.to_vec(),
        };
        let id = publish.properties.user_properties[0].value.to_string();
        let mut messages = self.messages.borrow_mut();
        let (known, count) = messages.entry(id).or_insert_with(|| (arrived.clone(), 0));
        assert_eq!(*known, arrived, "another message under an old id");
        *count += 1;
        Some(pid)
    }

    /// All values `v` of all messages, in the order of their ids.
    pub fn values(&self) -> Vec<f64> {
        let messages = self.messages.borrow();
        let mut all: Vec<(u64, &Arrived)> = messages
            .iter()
            .map(|(id, (arrived, _))| {
                let (_, sequence) = id.rsplit_once('-').unwrap();
                (sequence.parse().unwrap(), arrived)
            })
            .collect();
        all.sort_by_key(|(sequence, _)| *sequence);
        let records = all.iter().flat_map(|(_, arrived)| {
            let json: serde_json::Value = serde_json::from_slice(&arrived.payload).unwrap();
            json.as_array().unwrap().clone()
        });
        records
            .map(|record| record["v"].as_f64().unwrap())
            .collect()
    }
}

/// A pack of these values of one series.
pub fn pack(series: &str, values: impl IntoIterator<Item = f64>) -> Vec<u8> {
    let mut queue = PackQueue::new(64 << 10);
    for value in values {
        let time = Timestamp::from_seconds(1_700_000_000 + value as i64).unwrap();
        queue.push(&Reading::number(series, time, value)).unwrap();
    }
    let (mut bytes, mut sealed) = (Vec::new(), Vec::new());
    queue.take(&mut bytes, &mut sealed);
    bytes
}

/// Writes to an edge as a stage before the gateway would.
pub struct Feeder(PipeWriter);

impl Feeder {
    pub async fn open(network: &Network, edge: &str) -> Self {
        Self(network.open_output(edge).await)
    }

    pub async fn feed(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    pub async fn end(mut self) {
        self.feed(&[END_OF_STREAM]).await;
    }
}

/// One gateway on a network in memory.
pub struct Bench {
    pub network: Rc<Network>,
    pub host: MemoryHost,
    pub manner: Rc<Cell<Manner>>,
    pub attempts: Rc<Cell<u64>>,
    pub store: Store,
    /// When the gateway gets its address.
    pub configured_at: Duration,
}

impl Bench {
    pub fn new() -> Self {
        let network = Network::new();
        Self {
            host: MemoryHost::new(&network),
            network,
            manner: Rc::new(Cell::new(Manner::Carry)),
            attempts: Rc::default(),
            store: Store::default(),
            configured_at: Duration::ZERO,
        }
    }

    pub async fn gateway(&self, command: &str) -> Counters {
        let command = format!("broker=broker.example in.a=1,ring=4K {command}");
        let plan = Plan::new::<Gateway>(command.as_bytes(), b"").unwrap();
        let net = MemoryNet {
            network: Rc::clone(&self.network),
            manner: Rc::clone(&self.manner),
            attempts: Rc::clone(&self.attempts),
            configured_at: self.configured_at,
        };
        run_beside(&plan, &self.host, Uplink::new(net))
            .await
            .unwrap()
    }

    pub fn own(counters: &Counters, key: &str) -> u64 {
        let mut pairs = counters
            .own
            .split(' ')
            .map(|pair| pair.split_once('=').unwrap());
        pairs
            .find(|(known, _)| *known == key)
            .unwrap()
            .1
            .parse()
            .unwrap()
    }
}
