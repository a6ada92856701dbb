//! `gateway`: the one function that speaks to the world outside. Readings come in on any number of edges and leave as
//! messages at an MQTT 5 broker.
//!
//! * [`gateway`]: the function, its parameters, and how readings become messages; [`batch`], [`topic`]: the parts of that;
//! * [`queue`]: messages that wait or are in flight; [`session`]: what becomes of them, connection after connection;
//! * [`mqtt`]: packets, as much of the protocol as a publisher at QoS 1 needs;
//! * [`uplink`]: brings the session's bytes to the broker, over any network ([`Net`]); [`back_off`]: how long it waits to try again;
//! * [`secret`]: user name and password;
//! * [`counters`] and [`failure`]: what it counts, and why a connection ends.
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
//! accepted=7 published=7 resent=1 acknowledged=6 queue=0 large=0 refused=0 end=0 connections=2 garbage=0 unexpected=0 address-ms=310 connected-ms=330 delivered-ms=900 queued=1
//! ```
//!
//! The milestones ending in `-ms` say when there was an address, a connection, and a message acknowledged, for the first
//! time, from the start of the stage. At any time `accepted` = `acknowledged` + `queue` + `large` + `refused` + `end` + `queued`. The queue is memory: what a
//! gateway has not delivered when it is destroyed is gone.
//!
//! There is no TLS. No platform is named here: see the `stage` crate.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod back_off;
pub mod batch;
pub mod counters;
pub mod failure;
pub mod gateway;
pub mod mqtt;
pub mod queue;
pub mod secret;
pub mod session;
pub mod topic;
pub mod uplink;

pub use gateway::Gateway;
pub use stage::runner::Net;
pub use uplink::Uplink;
