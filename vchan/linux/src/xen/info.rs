//! What Xen says of a domain and of the host: `struct xen_domctl_getdomaininfo` and `struct xen_sysctl_physinfo`, as bytes of
//! the interface versions in `abi`. Pure.

use core::time::Duration;

/// Bytes of `struct xen_domctl_getdomaininfo`.
pub(super) const DOMAIN_INFO: usize = 112;

/// Bytes of `struct xen_sysctl_physinfo`.
pub(super) const PHYS_INFO: usize = 112;

/// `XEN_DOMINF_dying`.
const DYING: u32 = 1 << 0;
/// `XEN_DOMINF_shutdown`.
const SHUTDOWN: u32 = 1 << 2;
/// `XEN_DOMINF_shutdownshift`; the reason is the byte from there on.
const SHUTDOWN_SHIFT: u32 = 16;

/// A domain, as Xen knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DomainInfo {
    /// Its number.
    pub domain: u16,
    /// Its identity, given by who made it: a UUID.
    pub handle: [u8; 16],
    /// Pages that it has.
    pub tot_pages: u64,
    /// Pages that it has claimed and does not have yet.
    pub outstanding_pages: u64,
    /// The CPU time that its virtual CPUs have used.
    pub cpu_time: Duration,
    /// Why it ended, when it has (`SHUTDOWN_*`, sched.h).
    pub shutdown: Option<u8>,
    /// Whether it is being taken apart.
    pub dying: bool,
}

impl DomainInfo {
    /// Reads one.
    pub fn decode(bytes: &[u8; DOMAIN_INFO]) -> Self {
        let flags = u32::from_le_bytes(at(bytes, 4));
        let reason = (flags >> SHUTDOWN_SHIFT) as u8;
        Self {
            domain: u16::from_le_bytes(at(bytes, 0)),
            handle: at(bytes, 76),
            tot_pages: u64::from_le_bytes(at(bytes, 8)),
            outstanding_pages: u64::from_le_bytes(at(bytes, 24)),
            cpu_time: Duration::from_nanos(u64::from_le_bytes(at(bytes, 56))),
            shutdown: (flags & SHUTDOWN != 0).then_some(reason),
            dying: flags & DYING != 0,
        }
    }
}

/// The host's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PhysInfo {
    /// Pages that there are.
    pub total_pages: u64,
    /// Pages that no domain has.
    pub free_pages: u64,
    /// Those of them that domains have claimed.
    pub outstanding_pages: u64,
}

impl PhysInfo {
    /// Reads one.
    pub fn decode(bytes: &[u8; PHYS_INFO]) -> Self {
        let pages = |offset| u64::from_le_bytes(at(bytes, offset));
        Self {
            total_pages: pages(40),
            free_pages: pages(48),
            outstanding_pages: pages(64),
        }
    }
}

/// `N` bytes from `offset` on, which is within.
fn at<const N: usize, const SIZE: usize>(bytes: &[u8; SIZE], offset: usize) -> [u8; N] {
    core::array::from_fn(|place| bytes[offset + place])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A structure in which byte N of what is read is distinct from all others.
    fn counted() -> [u8; 112] {
        core::array::from_fn(|place| place as u8)
    }

    #[test]
    fn a_domain_is_read_where_the_headers_of_xen_4_17_have_it() {
        let mut bytes = counted();
        bytes[4..8].copy_from_slice(&0x0103_0004_u32.to_le_bytes());
        let info = DomainInfo::decode(&bytes);
        assert_eq!(info.domain, 0x0100);
        assert_eq!(info.handle.as_slice(), &bytes[76..92]);
        assert_eq!(info.tot_pages, 0x0F0E_0D0C_0B0A_0908);
        assert_eq!(info.outstanding_pages, 0x1F1E_1D1C_1B1A_1918);
        assert_eq!(info.cpu_time, Duration::from_nanos(0x3F3E_3D3C_3B3A_3938));
        assert_eq!((info.shutdown, info.dying), (Some(3), false));
    }

    #[test]
    fn only_who_has_ended_has_a_reason_and_who_is_taken_apart_is_told() {
        let of = |flags: u32| {
            let mut bytes = [0; 112];
            bytes[4..8].copy_from_slice(&flags.to_le_bytes());
            let info = DomainInfo::decode(&bytes);
            (info.shutdown, info.dying)
        };
        // Blocked, running, paused; Xen leaves 255 where there is no reason yet.
        assert_eq!(of(0x00FF_0010), (None, false));
        assert_eq!(of(0x0000_0020), (None, false));
        assert_eq!(of(0x0000_0008), (None, false));
        assert_eq!(of(0x0000_0004), (Some(0), false));
        assert_eq!(of(0x0001_000D), (Some(1), true));
        assert_eq!(of(0x00FF_0001), (None, true));
    }

    #[test]
    fn the_host_is_read_where_the_headers_of_xen_4_17_have_it() {
        let info = PhysInfo::decode(&counted());
        assert_eq!(info.total_pages, 0x2F2E_2D2C_2B2A_2928);
        assert_eq!(info.free_pages, 0x3736_3534_3332_3130);
        assert_eq!(info.outstanding_pages, 0x4746_4544_4342_4140);
    }
}
