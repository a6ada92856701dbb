//! The parameter `ip=`. Pure.

use core::fmt;
use core::net::Ipv4Addr;

/// How the interface gets its IPv4 address. IPv6 needs no word: its addresses come from routers (SLAAC).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpConfig {
    /// From a DHCP server.
    Dhcp {
        /// Asked for names instead of those that the server tells.
        dns: Option<Ipv4Addr>,
    },
    /// As given.
    Static {
        /// The address.
        address: Ipv4Addr,
        /// Bits of the network's prefix.
        prefix_len: u8,
        /// The way to all other networks.
        gateway: Option<Ipv4Addr>,
        /// Asked for names.
        dns: Option<Ipv4Addr>,
    },
}

/// A value of `ip=` that says nothing sensible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpConfigError;

impl fmt::Display for IpConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ip= is not dhcp or A.B.C.D/N[,gw=A.B.C.D][,dns=A.B.C.D]")
    }
}

impl core::error::Error for IpConfigError {}

/// Whether a host can have this address.
pub(super) fn is_host(address: Ipv4Addr) -> bool {
    !address.is_unspecified()
        && !address.is_multicast()
        && !address.is_broadcast()
        && !address.is_loopback()
}

/// Whether a host can have this address in a network of `prefix_len` bits: not that of the network itself, nor everyone's in it,
/// where there is room for those (RFC 3021).
pub(super) fn is_host_in(address: Ipv4Addr, prefix_len: u8) -> bool {
    let hosts = u32::MAX.checked_shr(prefix_len.into()).unwrap_or(0);
    let host = address.to_bits() & hosts;
    is_host(address) && (hosts <= 1 || (host != 0 && host != hosts))
}

impl IpConfig {
    /// Reads `dhcp` or `A.B.C.D/N`, then `gw=` and `dns=`, each at most once.
    pub fn parse(text: &str) -> Result<Self, IpConfigError> {
        Self::read(text).ok_or(IpConfigError)
    }

    fn read(text: &str) -> Option<Self> {
        let mut words = text.split(',');
        let first = words.next()?;
        let (mut gateway, mut dns) = (None, None);
        for word in words {
            let (key, value) = word.split_once('=')?;
            let place = match key {
                "gw" => &mut gateway,
                "dns" => &mut dns,
                _ => return None,
            };
            let address = value.parse().ok().filter(|address| is_host(*address))?;
            if place.replace(address).is_some() {
                return None;
            }
        }
        if first == "dhcp" {
            return gateway.is_none().then_some(Self::Dhcp { dns });
        }
        let (address, prefix) = first.split_once('/')?;
        let digits = prefix.bytes().all(|byte| byte.is_ascii_digit());
        let prefix_len = prefix.parse().ok().filter(|len| digits && *len <= 32)?;
        let address = address.parse().ok();
        Some(Self::Static {
            address: address.filter(|address| is_host_in(*address, prefix_len))?,
            prefix_len,
            gateway,
            dns,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_the_contract_are_read() {
        assert_eq!(IpConfig::parse("dhcp"), Ok(IpConfig::Dhcp { dns: None }));
        assert_eq!(
            IpConfig::parse("dhcp,dns=10.0.2.3"),
            Ok(IpConfig::Dhcp {
                dns: Some(Ipv4Addr::new(10, 0, 2, 3))
            })
        );
        assert_eq!(
            IpConfig::parse("192.168.7.2/24,dns=1.1.1.1,gw=192.168.7.1"),
            Ok(IpConfig::Static {
                address: Ipv4Addr::new(192, 168, 7, 2),
                prefix_len: 24,
                gateway: Some(Ipv4Addr::new(192, 168, 7, 1)),
                dns: Some(Ipv4Addr::new(1, 1, 1, 1)),
            })
        );
    }

    #[test]
    fn the_smallest_networks_have_hosts_alone() {
        for good in ["10.0.0.2/31", "10.0.0.3/31", "10.0.0.0/32", "10.0.0.255/32"] {
            assert!(IpConfig::parse(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in [
            "",
            "DHCP",
            "dhcp,gw=1.2.3.4",
            "dhcp,",
            "dhcp,dns=",
            "dhcp,dns=1.2.3.4,dns=1.2.3.4",
            "10.0.0.1",
            "10.0.0.1/33",
            "10.0.0.1/+8",
            "10.0.0.1/",
            "10.0.0/8",
            "10.0.0.1/8,gw",
            "10.0.0.1/8,via=10.0.0.2",
            "0.0.0.0/0",
            "255.255.255.255/32",
            "224.0.0.1/4",
            "127.0.0.1/8",
            "10.0.0.0/8",
            "10.255.255.255/8",
            "10.0.0.3/30",
            "10.0.0.1/8 ",
            "::1/64",
        ] {
            assert_eq!(IpConfig::parse(bad), Err(IpConfigError), "{bad}");
        }
    }
}
