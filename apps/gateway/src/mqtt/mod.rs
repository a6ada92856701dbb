//! As much of MQTT 5.0 (OASIS standard, 7 March 2019) as a client at QoS 1 speaks: CONNECT, PUBLISH, PUBACK, SUBSCRIBE,
//! PINGREQ and DISCONNECT are written, CONNACK, PUBLISH, PUBACK, SUBACK, PINGRESP and DISCONNECT are read.
//!
//! Small on purpose. The kept no_std crates would do (`rust-mqtt` 0.6 pipelines QoS 1 and resends, `mqtt-proto` 0.4 is a
//! codec), but either adds about 100 KB to an image whose bound is 300 KB with its TCP/IP, because they carry every
//! packet in both directions. `mqtt-proto` is what the tests hold this codec against.

mod property;
mod read;
mod reason;
mod write;

pub use read::{Connack, Decoder, Incoming, Malformed, Packet};
pub use reason::Reason;
pub use write::{Connect, Delivery, Publish, Will, disconnect, pingreq, puback, subscribe};

/// The first byte of a packet: its type and flags (section 2.1).
mod first {
    pub const CONNECT: u8 = 0x10;
    pub const CONNACK: u8 = 0x20;
    pub const PUBLISH: u8 = 0x30;
    pub const PUBACK: u8 = 0x40;
    pub const SUBSCRIBE: u8 = 0x82;
    pub const SUBACK: u8 = 0x90;
    pub const PINGREQ: u8 = 0xC0;
    pub const PINGRESP: u8 = 0xD0;
    pub const DISCONNECT: u8 = 0xE0;
}

/// The longest remaining length that four bytes can say (section 1.5.5).
pub const MAX_REMAINING: usize = 268_435_455;

#[cfg(test)]
mod tests;
