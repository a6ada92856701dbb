//! The ways out and in over an MQTT 5 broker. `gateway`: readings come in on any number of edges and leave as messages.
//! `mqtt-in`: messages come, and leave as readings on any number of edges.
//!
//! * [`gateway`], [`mqtt_in`]: the functions, their parameters, and how readings become messages and messages readings;
//!   [`batch`], [`topic`]: the parts of that; [`client`], [`secret`]: what both are told alike;
//! * [`queue`]: messages that wait or are in flight; [`session`]: what becomes of them, connection after connection;
//! * [`subscription`]: the same for messages that come; [`seen`]: which of them have come before;
//! * [`mqtt`]: packets, as much of the protocol as a client at QoS 1 needs; [`pulse`]: its keep-alive;
//! * [`uplink`], [`downlink`]: bring the bytes of session and subscription to the broker, over any network ([`Net`]);
//!   [`back_off`]: how long they wait to try again;
//! * [`counters`] and [`failure`]: what is counted, and why a connection ends.
//!
//! # Messages
//!
//! The readings of one pack that have the same topic make one message: a SenML pack (RFC 8428) in JSON or CBOR. A reading's
//! topic is that of `topic=`, where `{name}` stands for its name and `{series}` for its name without what follows the last
//! colon: with the default, `grantflow/{series}`, the seven records of a window of the series `water-flow` go to
//! `grantflow/water-flow` as one message. A pack of more than 256 readings, or of more than 16 KiB of names and texts, makes
//! further messages.
//!
//! Each message has a content type (`application/senml+json` or `application/senml+cbor`) and the user property `id`,
//! `BOOT-SEQUENCE`: a random number of this start in 16 hexadecimal digits, and which message it is since then, from 1 on.
//! Delivery is at least once; a message that comes twice comes with the same `id`, and a number left out is a message that
//! was dropped.
//!
//! At the topic of `will=` a retained message says `running`, `lost` (the last will) or `done`.
//!
//! Gateways at one broker need client identifiers of their own (`stage=` or `client-id=`): under the same one, each that
//! connects puts the other out. Nothing is lost by that, but both go on with it.
//!
//! # What is lost, and when
//!
//! While the broker is connected nothing is dropped: from half a queue on inputs wait. While it is away the queue fills, and
//! then `drop=` decides. The readings of a dropped message move from *used* to *undelivered*; `stats/own` says why, in
//! messages:
//!
//! ```text
//! accepted=7 published=7 resent=1 acknowledged=6 queue=0 large=0 refused=0 end=0 connections=2 garbage=0 nobody=0 unexpected=0 address-ms=310 connected-ms=330 delivered-ms=900 queued=1
//! ```
//!
//! The milestones ending in `-ms` say when there was an address, a connection, and a message acknowledged, for the first
//! time, from the start of the stage. At any time `accepted` = `acknowledged` + `queue` + `large` + `refused` + `end` + `queued`. The queue is memory: what a
//! gateway has not delivered when it is destroyed is gone.
//!
//! # Messages that come
//!
//! `mqtt-in` subscribes at QoS 1 to the topic filter of `topic=`. A message is a SenML pack, in JSON or CBOR, whatever its content
//! type says; all of its readings are emitted, or none and it is counted as malformed. It is acknowledged once its readings are
//! in the output's buffer, so what a slow reader has no room for stays at the broker, and so does, for the time of `session=`,
//! what comes while the stage is away. A message that comes twice is dropped: by the user property `id` of a gateway, or, without
//! it, if the broker sends the same content again under the same packet identifier.
//!
//! ```text
//! received=9 accepted=7 again=1 late=0 malformed=1 foreign=0 overrun=0 lost=0 connections=2 forgotten=0 garbage=0 address-ms=310 subscribed-ms=330 delivered-ms=900
//! ```
//!
//! At any time `received` = `accepted` + `again` + `late` + `malformed` + `foreign` + `overrun` + what waits. What stands in the
//! output's buffer when `mqtt-in` is destroyed is gone; what it had taken and not yet acknowledged then comes again.
//!
//! # An edge that crosses hosts
//!
//! is a gateway with `end=on drop=never format=cbor` and an `mqtt-in` with `end=on`, at one topic. With `drop=never` inputs wait
//! for room, whatever the broker does, and a message that the broker had nobody for (reason code 0x10, as Mosquitto gives it) is
//! sent again, before any other, until somebody has subscribed. With `end=on` each message says in the user property `seq` how
//! many readings came before it, and an empty pack says that all have. The reader counts readings that a broker has lost
//! (`lost`), drops messages that come late (`late`; they were counted as lost), and ends after the empty pack: readings used by
//! the gateway = readings of the `mqtt-in` + `lost`. Told to stop, it has the broker forget its session, so that nothing of one run
//! is left for the next; destroyed, it finds the session again.
//!
//! There is no TLS. No platform is named here: see the `stage` crate.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod back_off;
pub mod batch;
pub mod client;
pub mod counters;
pub mod downlink;
pub mod failure;
pub mod gateway;
mod line;
pub mod mqtt;
pub mod mqtt_in;
pub mod pulse;
pub mod queue;
pub mod secret;
pub mod seen;
pub mod session;
pub mod subscription;
pub mod topic;
pub mod uplink;

pub use downlink::Downlink;
pub use gateway::Gateway;
pub use mqtt_in::MqttIn;
pub use stage::runner::Net;
pub use uplink::Uplink;
