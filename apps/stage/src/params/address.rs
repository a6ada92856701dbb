//! `HOST:PORT`, where something is on a network.

use alloc::string::String;
use core::fmt;

/// The longest name that DNS carries.
const LONGEST: usize = 253;

/// A place on a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// A name, or an address of IPv4 or IPv6.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

impl Address {
    /// Reads `HOST:PORT` or `[V6]:PORT`; where there is a default for the port, `HOST`, `V6` and `[V6]` too.
    pub fn parse(text: &str, default_port: Option<u16>) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, rest)) => (host, Some(rest.strip_prefix(':')?)),
            None if text.matches(':').count() > 1 => (text, None),
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let is_v6 = host.contains(':');
        let is_sound = if is_v6 {
            host.parse::<core::net::Ipv6Addr>().is_ok()
        } else {
            let mut bytes = host.bytes();
            !host.is_empty() && bytes.all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
        };
        let port = match port {
            None => default_port,
            Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => port.parse().ok(),
            Some(_) => None,
        };
        match port {
            Some(port) if port > 0 && is_sound && host.len() <= LONGEST => Some(Self {
                host: host.into(),
                port,
            }),
            _ => None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn a_port_may_be_left_out() {
        for (text, shown) in [
            ("10.0.2.2", "10.0.2.2:1883"),
            ("broker.example:8883", "broker.example:8883"),
            ("fe80::1", "[fe80::1]:1883"),
            ("[fe80::1]", "[fe80::1]:1883"),
            ("[::1]:1884", "[::1]:1884"),
        ] {
            let address = Address::parse(text, Some(1883)).unwrap();
            assert_eq!(address.to_string(), shown);
            let is_whole = text == shown;
            assert_eq!(Address::parse(text, None).is_some(), is_whole, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            ":1883",
            "host:",
            "host:0",
            "host:70000",
            "host:+1",
            "a b",
            "mqtt://host",
            "[::1]x",
            "[::1",
            "::zz",
            "host/path",
        ] {
            assert_eq!(Address::parse(text, Some(1883)), None, "{text}");
        }
    }
}
