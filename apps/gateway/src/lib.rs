//! `gateway`: the one function that speaks to the world outside, as a client of an MQTT 5 broker.
//!
//! * [`mqtt`]: packets, as much of the protocol as a publisher at QoS 1 needs.
//!
//! No platform is named here: see the `stage` crate.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod mqtt;
