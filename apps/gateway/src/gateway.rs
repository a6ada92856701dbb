//! The function: readings in, messages into the session's queue.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use stage::params::{Address, Count, ParamError, Size};
use stage::senml::{END_OF_STREAM, MAX_PACK, PackQueue, json};
use stage::{
    DropCause, EdgeKind, Kind, Outputs, Parameter, Params, Reading, Setup, SetupError, Stage,
    Value, Verdict,
};

use crate::batch::Batch;
use crate::client::{self, BROKER, CLIENT_ID, KEEP_ALIVE};
use crate::counters::write_pairs;
use crate::queue::{Message, Policy, Queue};
use crate::session::{Identity, Session};
use crate::topic::{Template, is_topic};

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
    /// The end of the stream is published too.
    ends: bool,
    /// Readings dropped that the stage's counters know of.
    told: u64,
}

impl Stage for Gateway {
    const NAME: &'static str = "gateway";
    const ABOUT: &'static str = "publishes readings at an MQTT 5 broker";
    const PARAMETERS: &'static [Parameter] = &[
        BROKER,
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
        CLIENT_ID,
        KEEP_ALIVE,
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
            Kind::Choice(&["oldest", "newest", "never"]),
            "oldest",
            "what goes when the queue is full and the broker away; never: inputs wait, for a subscriber too",
        ),
        Parameter::new(
            "end",
            Kind::Choice(&["off", "on"]),
            "off",
            "whether the end of the stream is published: an empty pack, which ends an mqtt-in with end=on",
        ),
    ];
    const EDGES: &'static [EdgeKind] =
        &[EdgeKind::inputs(Count::AtLeastOne, "readings to publish")];
    const NETWORK: bool = true;

    fn new(setup: &Setup<'_>) -> Result<Self, SetupError> {
        let params = setup.params;
        let is_text = params.text("format") != Some("cbor");
        let ends = params.text("end") == Some("on");
        let identity = identity(setup, is_text, ends)?;
        let topic = params.require("topic")?;
        let template = Template::parse(topic)?;
        if ends && !template.is_fixed() {
            let expected = "one topic for all readings, which end=on needs";
            return Err(ParamError::bad("topic", topic, expected).into());
        }
        Ok(Self {
            address: client::broker(params)?,
            session: Session::new(identity, queue(params)?),
            template,
            ends,
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

    fn finish(&mut self, out: &mut Outputs) {
        if !self.ends {
            return;
        }
        let mut topic = String::new();
        self.template.write("", &mut topic);
        let end = match self.format {
            Format::Json => b"[]".as_slice(),
            Format::Cbor(_) => &[END_OF_STREAM],
        };
        self.act(out, |session| session.push(Message::new(&topic, end, 0)));
    }

    fn own_counters(&self, text: &mut String) {
        write_pairs(text, &self.session.counters().pairs());
        write_pairs(text, &[("queued", self.session.queued() as u64)]);
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

fn queue(params: &Params<'_>) -> Result<Queue, ParamError> {
    let Size(limit) = params.require("queue")?;
    if !(LEAST_QUEUE..=MOST_QUEUE).contains(&limit) {
        let text = params.text("queue").unwrap_or_default();
        return Err(ParamError::bad("queue", text, "between 4K and 1024M"));
    }
    let policy = match params.text("drop") {
        Some("newest") => Policy::DropNewest,
        Some("never") => Policy::Wait,
        _ => Policy::DropOldest,
    };
    Ok(Queue::new(limit as usize, policy))
}

fn identity(setup: &Setup<'_>, is_text: bool, counts: bool) -> Result<Identity, SetupError> {
    let params = setup.params;
    let client_id = client::client_id(params, Gateway::NAME);
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
        credentials: client::secret(setup)?,
        will_topic,
        keep_alive: client::keep_alive(params)?,
        content_type: if is_text {
            "application/senml+json"
        } else {
            "application/senml+cbor"
        },
        is_text,
        counts,
    })
}
