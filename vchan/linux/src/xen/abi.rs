//! The ioctls of Xen's devices: `xen/sys/gntalloc.h`, `gntdev.h`, `evtchn.h`, `privcmd.h`. Names are the headers'.

use rustix::ioctl::{Direction, Opcode, opcode::from_components};
use vchan::interface::MAX_RING_PAGES;

/// `_IOC(_IOC_NONE, group, number, size)`: all of them are made this way, whichever way the data goes.
const fn ioc(group: u8, number: u8, size: usize) -> Opcode {
    from_components(Direction::None, group, number, size)
}

/// A type, its ioctl's number, and its size in C.
macro_rules! ioctls {
    ($($constant:ident = $group:literal, $number:literal, $size:literal, $type:ty;)*) => {
        $(
            pub(super) const $constant: Opcode = ioc($group, $number, $size);
            const _: () = assert!(size_of::<$type>() == $size);
        )*
    };
}

ioctls! {
    IOCTL_GNTALLOC_ALLOC_GREF = b'G', 5, 24, AllocGref<1>;
    IOCTL_GNTALLOC_SET_UNMAP_NOTIFY = b'G', 7, 16, UnmapNotify;
    IOCTL_GNTDEV_MAP_GRANT_REF = b'G', 0, 24, MapGrantRef<1>;
    IOCTL_GNTDEV_SET_UNMAP_NOTIFY = b'G', 7, 16, UnmapNotify;
    IOCTL_EVTCHN_BIND_INTERDOMAIN = b'E', 1, 8, BindInterdomain;
    IOCTL_EVTCHN_BIND_UNBOUND_PORT = b'E', 2, 4, BindUnboundPort;
    IOCTL_EVTCHN_NOTIFY = b'E', 4, 4, Notify;
    IOCTL_PRIVCMD_HYPERCALL = b'P', 0, 48, Hypercall;
}

/// `struct ioctl_gntalloc_alloc_gref`, with room for `N` references.
#[repr(C)]
pub(super) struct AllocGref<const N: usize = MAX_RING_PAGES> {
    pub domid: u16,
    pub flags: u16,
    pub count: u32,
    /// Out: the offset for `mmap`.
    pub index: u64,
    /// Out: one for each page.
    pub gref_ids: [u32; N],
}

/// The peer may write to the pages.
pub(super) const GNTALLOC_FLAG_WRITABLE: u16 = 1;

/// `struct ioctl_gntdev_map_grant_ref`, with room for `N` references.
#[repr(C)]
pub(super) struct MapGrantRef<const N: usize = MAX_RING_PAGES> {
    pub count: u32,
    pub pad: u32,
    /// Out: the offset for `mmap`.
    pub index: u64,
    pub refs: [GrantRef; N],
}

/// `struct ioctl_gntdev_grant_ref`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct GrantRef {
    pub domid: u32,
    pub grant_ref: u32,
}

/// `struct ioctl_gntalloc_unmap_notify`, and `struct ioctl_gntdev_unmap_notify`.
#[repr(C)]
pub(super) struct UnmapNotify {
    /// The mapping's offset, plus the byte's place in the page.
    pub index: u64,
    pub action: u32,
    pub event_channel_port: u32,
}

pub(super) const UNMAP_NOTIFY_CLEAR_BYTE: u32 = 1;
pub(super) const UNMAP_NOTIFY_SEND_EVENT: u32 = 2;

/// `struct ioctl_evtchn_bind_interdomain`.
#[repr(C)]
pub(super) struct BindInterdomain {
    pub remote_domain: u32,
    pub remote_port: u32,
}

/// `struct ioctl_evtchn_bind_unbound_port`.
#[repr(C)]
pub(super) struct BindUnboundPort {
    pub remote_domain: u32,
}

/// `struct ioctl_evtchn_notify`.
#[repr(C)]
pub(super) struct Notify {
    pub port: u32,
}

/// `struct privcmd_hypercall`.
#[repr(C)]
pub(super) struct Hypercall {
    pub op: u64,
    pub arg: [u64; 5],
}

/// `__HYPERVISOR_event_channel_op`.
pub(super) const EVENT_CHANNEL_OP: u64 = 32;
/// `EVTCHNOP_status`.
pub(super) const EVTCHNOP_STATUS: u64 = 5;
/// `DOMID_SELF`.
pub(super) const DOMID_SELF: u16 = 0x7ff0;
/// `EVTCHNSTAT_interdomain`: bound to a peer's port.
pub(super) const EVTCHNSTAT_INTERDOMAIN: u32 = 2;

/// `struct evtchn_status`.
#[repr(C)]
#[derive(Default)]
pub(super) struct EvtchnStatus {
    pub dom: u16,
    pub port: u32,
    /// Out.
    pub status: u32,
    pub vcpu: u32,
    /// Out: a union of at most eight bytes.
    pub bound_to: [u32; 2],
}

const _: () = assert!(size_of::<EvtchnStatus>() == 24);
const _: () = assert!(core::mem::offset_of!(EvtchnStatus, status) == 8);
const _: () = assert!(core::mem::offset_of!(AllocGref, gref_ids) == 16);
const _: () = assert!(core::mem::offset_of!(MapGrantRef, refs) == 16);

/// `__HYPERVISOR_xen_version`.
pub(super) const XEN_VERSION: u64 = 17;
/// `XENVER_commandline`.
pub(super) const XENVER_COMMANDLINE: u64 = 9;
/// Bytes of `xen_commandline_t`, which ends with a zero unless it is full.
pub(super) const COMMANDLINE: usize = 1024;

/// `__HYPERVISOR_sysctl`.
pub(super) const SYSCTL: u64 = 35;
/// `XEN_SYSCTL_INTERFACE_VERSION` of the layouts that stand here: Xen refuses another with EACCES.
pub(super) const SYSCTL_INTERFACE_VERSION: u32 = 0x15;
/// `XEN_SYSCTL_physinfo`.
pub(super) const SYSCTL_PHYSINFO: u32 = 3;
/// `XEN_SYSCTL_getdomaininfolist`.
pub(super) const SYSCTL_GETDOMAININFOLIST: u32 = 6;
/// Bytes of `struct xen_sysctl`: command, version, and a union from byte [`SYSCTL_U`] on.
pub(super) const SYSCTL_SIZE: usize = 136;
/// `offsetof(struct xen_sysctl, u)`.
pub(super) const SYSCTL_U: usize = 8;

/// `__HYPERVISOR_domctl`.
pub(super) const DOMCTL: u64 = 36;
/// `XEN_DOMCTL_INTERFACE_VERSION`, likewise; it is what `struct xen_domctl_getdomaininfo` goes by.
pub(super) const DOMCTL_INTERFACE_VERSION: u32 = 0x15;
/// `XEN_DOMCTL_unpausedomain`.
pub(super) const DOMCTL_UNPAUSEDOMAIN: u32 = 4;
/// `XEN_DOMCTL_getdomaininfo`.
pub(super) const DOMCTL_GETDOMAININFO: u32 = 5;
/// Bytes of `struct xen_domctl`: command, version, domain, and a union from byte 16 on.
pub(super) const DOMCTL_SIZE: usize = 144;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_that_a_c_compiler_finds() {
        for (ours, c) in [
            (IOCTL_GNTALLOC_ALLOC_GREF, 0x18_4705),
            (IOCTL_GNTALLOC_SET_UNMAP_NOTIFY, 0x10_4707),
            (IOCTL_GNTDEV_MAP_GRANT_REF, 0x18_4700),
            (IOCTL_GNTDEV_SET_UNMAP_NOTIFY, 0x10_4707),
            (IOCTL_EVTCHN_BIND_INTERDOMAIN, 0x08_4501),
            (IOCTL_EVTCHN_BIND_UNBOUND_PORT, 0x04_4502),
            (IOCTL_EVTCHN_NOTIFY, 0x04_4504),
            (IOCTL_PRIVCMD_HYPERCALL, 0x30_5000),
        ] {
            assert_eq!(ours, c, "{ours:#x}");
        }
    }
}
