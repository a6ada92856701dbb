//! Reason codes (section 2.4).

use core::fmt;

/// A reason code; its text is what a person reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reason(pub u8);

impl Reason {
    /// Success, or the normal end of a connection.
    pub const SUCCESS: Self = Self(0x00);
    /// QoS 1 is granted.
    pub const GRANTED_QOS_1: Self = Self(0x01);
    /// The broker has taken a message for which nobody has subscribed.
    pub const NO_MATCHING_SUBSCRIBERS: Self = Self(0x10);
    /// A packet that cannot be parsed.
    pub const MALFORMED_PACKET: Self = Self(0x81);
    /// A packet that has no place here.
    pub const PROTOCOL_ERROR: Self = Self(0x82);
    /// The packet identifier is in use.
    pub const PACKET_IDENTIFIER_IN_USE: Self = Self(0x91);
    /// A quota of the broker is used up.
    pub const QUOTA_EXCEEDED: Self = Self(0x97);

    /// Whether it says that something failed.
    pub const fn is_failure(self) -> bool {
        self.0 >= 0x80
    }

    /// Whether a SUBACK may carry it (section 3.9.3).
    pub(super) const fn is_of_suback(self) -> bool {
        matches!(
            self.0,
            0x00..=0x02 | 0x80 | 0x83 | 0x87 | 0x8F | 0x91 | 0x97 | 0x9E | 0xA1 | 0xA2
        )
    }

    /// Whether a PUBACK may carry it (section 3.4.2.1).
    pub(super) const fn is_of_puback(self) -> bool {
        matches!(
            self.0,
            0x00 | 0x10 | 0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x97 | 0x99
        )
    }

    const fn name(self) -> &'static str {
        match self.0 {
            0x00 => "normal end",
            0x10 => "no matching subscribers",
            0x81 => "malformed packet",
            0x82 => "protocol error",
            0x83 => "implementation specific error",
            0x84 => "unsupported protocol version",
            0x85 => "client identifier not valid",
            0x86 => "bad user name or password",
            0x87 => "not authorized",
            0x88 => "server unavailable",
            0x89 => "server busy",
            0x8A => "banned",
            0x8B => "server shutting down",
            0x8D => "keep alive timeout",
            0x8E => "session taken over: another client has the same client-id",
            0x8F => "topic filter invalid",
            0x90 => "topic name invalid",
            0x91 => "packet identifier in use",
            0x93 => "receive maximum exceeded",
            0x95 => "packet too large",
            0x96 => "message rate too high",
            0x97 => "quota exceeded",
            0x98 => "administrative action",
            0x99 => "payload format invalid",
            0x9A => "retain not supported",
            0x9B => "QoS not supported",
            0x9C => "use another server",
            0x9D => "server moved",
            0x9F => "connection rate exceeded",
            0x9E => "shared subscriptions not supported",
            0xA2 => "wildcard subscriptions not supported",
            _ => "unspecified error",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (0x{:02x})", self.name(), self.0)
    }
}
