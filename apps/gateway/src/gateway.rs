//! The function: readings in, messages into the session's queue.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

use stage::params::{Address, Count, ParamError, Size};
use stage::senml::{MAX_PACK, PackQueue, json};
use stage::{
    DropCause, EdgeKind, Kind, Outputs, Parameter, Params, Reading, Setup, SetupError, Stage,
    Value, Verdict,
};

use crate::batch::Batch;
use crate::queue::{Message, Policy, Queue};
use crate::secret::credentials;
use crate::session::{Identity, Session};
use crate::topic::{Template, is_topic};

/// The port of MQTT without TLS.
const PORT: u16 = 1883;

/// The smallest queue: a few messages.
const LEAST_QUEUE: u64 = 4 << 10;

/// The largest queue.
const MOST_QUEUE: u64 = 1 << 30;

/// What messages are written in.
#[derive(Debug)]
enum Format {
    Json,
    /// With the queue that packs are made in; its `seq` counts the readings of all messages.
    Cbor(PackQueue),
}

/// The gateway.
#[derive(Debug)]
pub struct Gateway {
    address: Address,
    session: Session,
    template: Template,
    format: Format,
    /// One for each input: packs of several inputs may come at the same time.
    batches: Vec<Batch>,
    /// Readings dropped that the stage's counters know of.
    told: u64,
}

impl Stage for Gateway {
    const NAME: &'static str = "gateway";
    const ABOUT: &'static str = "publishes readings at an MQTT 5 broker";
    const PARAMETERS: &'static [Parameter] = &[
        Parameter::new(
            "broker",
            Kind::Text,
            "",
            "the MQTT 5 broker: HOST[:PORT], 1883 without a port",
        ),
        Parameter::new(
            "topic",
            Kind::Text,
            "grantflow/{series}",
            "where messages go; {name} is a reading's name, {series} the same without its last :part",
        ),
        Parameter::new(
            "format",
            Kind::Choice(&["json", "cbor"]),
            "json",
            "SenML as JSON or CBOR",
        ),
        Parameter::new(
            "client-id",
            Kind::Text,
            "",
            "the client identifier; grantflow-STAGE without",
        ),
        Parameter::new(
            "keep-alive",
            Kind::Duration,
            "30s",
            "how long neither side may be silent; whole seconds, 0 for no limit",
        ),
        Parameter::new(
            "will",
            Kind::Text,
            "",
            "topic of the retained running, lost or done; grantflow-state/CLIENT-ID without",
        ),
        Parameter::new(
            "queue",
            Kind::Size,
            "256K",
            "messages kept while the broker is away; inputs wait at half of it while it is there",
        )
        .in_unit("bytes"),
        Parameter::new(
            "drop",
            Kind::Choice(&["oldest", "newest"]),
            "oldest",
            "what goes when the queue is full and the broker away",
        ),
    ];
    const EDGES: &'static [EdgeKind] =
        &[EdgeKind::inputs(Count::AtLeastOne, "readings to publish")];
    const NETWORK: bool = true;

    fn new(setup: &Setup<'_>) -> Result<Self, SetupError> {
        let params = setup.params;
        let is_text = params.text("format") != Some("cbor");
        let identity = identity(setup, is_text)?;
        Ok(Self {
            address: broker(params)?,
            session: Session::new(identity, queue(params)?),
            template: Template::parse(params.require("topic")?)?,
            format: if is_text {
                Format::Json
            } else {
                Format::Cbor(PackQueue::new(MAX_PACK))
            },
            batches: setup.inputs.iter().map(|_| Batch::default()).collect(),
            told: 0,
        })
    }

    fn reading(&mut self, input: usize, reading: &Reading<'_>, out: &mut Outputs) -> Verdict {
        // JSON has no word for them.
        let is_finite = !matches!(reading.value, Value::Number(number) | Value::Sum(number) if !number.is_finite());
        if matches!(self.format, Format::Json) && !is_finite {
            return Verdict::Dropped(DropCause::NotFinite);
        }
        // Before it is taken in: what is in a message was counted as used.
        if self.batches.get(input).is_some_and(Batch::is_full) {
            self.publish(input, out);
        }
        let Some(batch) = self.batches.get_mut(input) else {
            return Verdict::Dropped(DropCause::Unsendable);
        };
        batch.push(reading);
        Verdict::Used
    }

    fn pack_ended(&mut self, input: usize, out: &mut Outputs) {
        self.publish(input, out);
    }

    fn own_counters(&self, text: &mut String) {
        for (key, value) in self.session.counters().pairs() {
            let space = if text.is_empty() { "" } else { " " };
            // Writing into a String cannot fail.
            let _ = write!(text, "{space}{key}={value}");
        }
        let _ = write!(text, " queued={}", self.session.queued());
    }
}

impl Gateway {
    /// Where the broker is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The client at the broker.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Lets the uplink act on the session, and tells the stage what came of it.
    pub fn act<T>(&mut self, out: &mut Outputs, act: impl FnOnce(&mut Session) -> T) -> T {
        let value = act(&mut self.session);
        let dropped = self.session.counters().readings_dropped;
        out.take_back(dropped - self.told);
        self.told = dropped;
        out.hold_back(self.session.holds_back());
        value
    }

    /// Makes messages of a batch, one for each topic.
    fn publish(&mut self, input: usize, out: &mut Outputs) {
        let Self {
            template,
            format,
            batches,
            ..
        } = self;
        let Some(batch) = batches.get_mut(input) else {
            return;
        };
        let (mut topic, mut messages) = (String::new(), Vec::new());
        let mut unsendable = 0;
        batch.take_by(
            |name| template.key(name),
            |key, readings| {
                template.write(key, &mut topic);
                unsendable += format.write(&topic, readings, &mut messages);
            },
        );
        let readings = messages
            .iter()
            .map(|message: &Message| message.readings)
            .sum();
        self.act(out, |session| {
            messages
                .into_iter()
                .for_each(|message| session.push(message))
        });
        out.take_back(unsendable);
        out.hand_over(readings);
    }
}

impl Format {
    /// Appends messages with these readings; most often one. Returns how many readings could not be written.
    fn write(&mut self, topic: &str, readings: &[Reading<'_>], messages: &mut Vec<Message>) -> u64 {
        let queue = match self {
            Self::Json => {
                let mut line = String::new();
                let written = json::line(readings, &mut line);
                if written > 0 {
                    messages.push(Message::new(topic, line.trim_end().as_bytes(), written));
                }
                return readings.len() as u64 - written;
            }
            Self::Cbor(queue) => queue,
        };
        let refused = readings
            .iter()
            .filter(|reading| queue.push(reading).is_err())
            .count();
        let (mut bytes, mut sealed) = (Vec::new(), Vec::new());
        queue.take(&mut bytes, &mut sealed);
        let mut start = 0;
        for pack in sealed {
            let payload = bytes.get(start..pack.end).unwrap_or_default();
            messages.push(Message::new(topic, payload, pack.readings));
            start = pack.end;
        }
        refused as u64
    }
}

fn broker(params: &Params<'_>) -> Result<Address, ParamError> {
    let text: &str = params.require("broker")?;
    Address::parse(text, Some(PORT)).ok_or_else(|| {
        let expected = "HOST or HOST:PORT, an IPv6 address with a port in brackets";
        ParamError::bad("broker", text, expected)
    })
}

fn queue(params: &Params<'_>) -> Result<Queue, ParamError> {
    let Size(limit) = params.require("queue")?;
    if !(LEAST_QUEUE..=MOST_QUEUE).contains(&limit) {
        let text = params.text("queue").unwrap_or_default();
        return Err(ParamError::bad("queue", text, "between 4K and 1024M"));
    }
    let policy = match params.text("drop") {
        Some("newest") => Policy::DropNewest,
        _ => Policy::DropOldest,
    };
    Ok(Queue::new(limit as usize, policy))
}

fn identity(setup: &Setup<'_>, is_text: bool) -> Result<Identity, SetupError> {
    let params = setup.params;
    let stage = params.text("stage").unwrap_or(Gateway::NAME);
    let client_id = match params.text("client-id") {
        Some(id) => id.into(),
        None => format!("grantflow-{stage}"),
    };
    let will_topic = match params.text("will") {
        Some(topic) if is_topic(topic) => topic.into(),
        Some(topic) => {
            let expected = "a topic without + and #, not beginning with $";
            return Err(ParamError::bad("will", topic, expected).into());
        }
        None => format!("grantflow-state/{client_id}"),
    };
    Ok(Identity {
        client_id,
        credentials: setup.module.secret.map(credentials).transpose()?,
        will_topic,
        keep_alive: keep_alive(params)?,
        content_type: if is_text {
            "application/senml+json"
        } else {
            "application/senml+cbor"
        },
        is_text,
    })
}

fn keep_alive(params: &Params<'_>) -> Result<u16, ParamError> {
    let span: core::time::Duration = params.require("keep-alive")?;
    let seconds = u16::try_from(span.as_secs()).ok();
    seconds.filter(|_| span.subsec_nanos() == 0).ok_or_else(|| {
        let text = params.text("keep-alive").unwrap_or_default();
        ParamError::bad("keep-alive", text, "whole seconds, at most 65535")
    })
}
