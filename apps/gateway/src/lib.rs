//! `gateway`: the one function that speaks to the world outside, as a client of an MQTT 5 broker.
//!
//! * [`mqtt`]: packets, as much of the protocol as a publisher at QoS 1 needs;
//! * [`queue`]: messages that wait or are in flight; [`session`]: what becomes of them, connection after connection;
//! * [`counters`] and [`failure`]: what is counted, and why a connection ends.
//!
//! No platform is named here: see the `stage` crate.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod counters;
pub mod failure;
pub mod mqtt;
pub mod queue;
pub mod session;
