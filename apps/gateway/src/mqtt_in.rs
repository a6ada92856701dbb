//! The function `mqtt-in`: messages from the subscription in, readings out.

use alloc::string::String;
use alloc::vec::Vec;

use stage::params::{Address, Count, ParamError};
use stage::senml::{Item, JsonError, Pack, PackError, StreamDecoder, StreamError, pack_of_json};
use stage::{
    DropCause, EdgeKind, Kind, Outputs, Parameter, Setup, SetupError, Stage, Timestamp, Verdict,
};

use crate::client::{self, BROKER, CLIENT_ID, KEEP_ALIVE};
use crate::counters::write_pairs;
use crate::subscription::{Account, Arrived, Subscription};
use crate::topic::is_filter;

/// `mqtt-in`.
#[derive(Debug)]
pub struct MqttIn {
    address: Address,
    subscription: Subscription,
    /// An empty pack is the end.
    ends: bool,
    has_ended: bool,
    decoder: StreamDecoder,
    /// Where JSON becomes CBOR.
    pack: Vec<u8>,
}

impl Stage for MqttIn {
    const NAME: &'static str = "mqtt-in";
    const ABOUT: &'static str =
        "subscribes at an MQTT 5 broker and emits the readings of its messages";
    const PARAMETERS: &'static [Parameter] = &[
        BROKER,
        Parameter::new(
            "topic",
            Kind::Text,
            "grantflow/#",
            "the topic filter; its messages are SenML packs as JSON or CBOR",
        ),
        CLIENT_ID,
        KEEP_ALIVE,
        Parameter::new(
            "session",
            Kind::Duration,
            "1h",
            "how long the broker keeps what comes while this stage is away; whole seconds",
        ),
        Parameter::new(
            "end",
            Kind::Choice(&["off", "on"]),
            "off",
            "whether an empty pack ends the stage; one publisher then, whose order is kept",
        ),
    ];
    const EDGES: &'static [EdgeKind] =
        &[EdgeKind::outputs(Count::AtLeastOne, "readings that came")];
    const NETWORK: bool = true;

    fn new(setup: &Setup<'_>) -> Result<Self, SetupError> {
        let params = setup.params;
        let filter: &str = params.require("topic")?;
        if !is_filter(filter) {
            let expected = "a topic filter: + for one level, # for all from there on";
            return Err(ParamError::bad("topic", filter, expected).into());
        }
        let ends = params.text("end") == Some("on");
        Ok(Self {
            address: client::broker(params)?,
            subscription: Subscription::new(Account {
                client_id: client::client_id(params, Self::NAME),
                credentials: client::secret(setup)?,
                keep_alive: client::keep_alive(params)?,
                filter: filter.into(),
                session_expiry: client::seconds(params, "session")?,
                ordered: ends,
            }),
            ends,
            has_ended: false,
            decoder: StreamDecoder::new(),
            pack: Vec::new(),
        })
    }

    fn own_counters(&self, text: &mut String) {
        write_pairs(text, &self.subscription.counters().pairs());
    }
}

impl MqttIn {
    /// Where the broker is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The client at the broker.
    pub fn subscription(&self) -> &Subscription {
        &self.subscription
    }

    /// The same, to act on it.
    pub fn subscription_mut(&mut self) -> &mut Subscription {
        &mut self.subscription
    }

    /// Whether the stream has an end.
    pub fn ends(&self) -> bool {
        self.ends
    }

    /// Whether the end of the stream has come.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Emits the readings of the next message, all of them or none. Returns whether there was one.
    pub fn take_in(
        &mut self,
        now: core::time::Duration,
        wall_clock: Timestamp,
        out: &mut Outputs,
    ) -> bool {
        if self.has_ended {
            return false;
        }
        let Some(message) = self.subscription.take() else {
            return false;
        };
        match self.emit(&message, wall_clock, out) {
            Ok(readings) => {
                self.has_ended = self.ends && readings == 0;
                self.subscription.held(&message, readings);
                if readings > 0 {
                    self.subscription.counters_mut().delivered.reach(now);
                }
            }
            Err(error) => {
                out.count(Verdict::Dropped(DropCause::Malformed));
                let count = &mut self.subscription.counters_mut().malformed;
                *count += 1;
                // Said ever more rarely, so that a bad publisher cannot fill the console.
                if count.is_power_of_two() {
                    let topic = crate::failure::shown(&message.topic);
                    log::warn!("broker: message {count} of {topic} is dropped: {error}");
                }
            }
        }
        true
    }

    fn emit(
        &mut self,
        message: &Arrived,
        wall_clock: Timestamp,
        out: &mut Outputs,
    ) -> Result<u64, PayloadError> {
        let Some(pack) = pack(&message.payload, &mut self.pack, &mut self.decoder)? else {
            return Ok(0);
        };
        // Read to its end first: what is wrong there is to have no half of it emitted.
        let (mut readings, mut count) = (pack.readings(wall_clock)?, 0);
        while readings.next_reading()?.is_some() {
            count += 1;
        }
        let mut readings = pack.readings(wall_clock)?;
        while let Some(reading) = readings.next_reading()? {
            let verdict = out.emit(&reading);
            out.count(verdict);
        }
        Ok(count)
    }
}

/// The pack that a payload holds; `None` if it is the empty one.
fn pack<'d>(
    payload: &[u8],
    scratch: &mut Vec<u8>,
    decoder: &'d mut StreamDecoder,
) -> Result<Option<Pack<'d>>, PayloadError> {
    // No pack in CBOR begins so, and every one in JSON does.
    let is_json = payload.trim_ascii_start().first() == Some(&b'[');
    scratch.clear();
    let bytes = if is_json {
        let text = core::str::from_utf8(payload).map_err(|_| PayloadError::NotText)?;
        pack_of_json(text, scratch)?;
        scratch.as_slice()
    } else {
        payload
    };
    decoder.reset();
    let space = decoder.space(bytes.len())?;
    if let Some(space) = space.get_mut(..bytes.len()) {
        space.copy_from_slice(bytes);
    }
    decoder.filled(bytes.len());
    let length = bytes.len();
    match decoder.next_item()? {
        Item::Pack(pack) if pack.length() == length => Ok(Some(pack)),
        Item::End if length <= 2 => Ok(None),
        Item::Incomplete => Err(PayloadError::Half),
        _ => Err(PayloadError::More),
    }
}

/// Why a payload is no pack.
#[derive(Debug, thiserror::Error)]
enum PayloadError {
    #[error("it is not UTF-8 text")]
    NotText,
    #[error("it is half a pack")]
    Half,
    #[error("it is more than one pack")]
    More,
    #[error(transparent)]
    Json(#[from] JsonError),
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error(transparent)]
    Pack(#[from] PackError),
}
