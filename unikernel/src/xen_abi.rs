//! The public headers of Xen: `xen-sys` where it has them, the rest written down here.
//!
//! No behaviour: numbers, `repr(C)` layouts and proofs of their sizes. Names are those of the headers
//! (`xen/include/public`, interface version 0x00040e00).

pub use xen_sys::{
    __HYPERVISOR_event_channel_op, __HYPERVISOR_grant_table_op, __HYPERVISOR_mmu_update,
    __HYPERVISOR_sched_op, __HYPERVISOR_set_trap_table, __HYPERVISOR_update_va_mapping,
    EVTCHNOP_alloc_unbound, EVTCHNOP_bind_interdomain, EVTCHNOP_close, EVTCHNOP_send,
    EVTCHNOP_status, MMU_NORMAL_PT_UPDATE, SCHEDOP_poll, SCHEDOP_shutdown, SCHEDOP_yield,
    SHUTDOWN_crash, SHUTDOWN_poweroff, SHUTDOWN_reboot, SIF_MOD_START_PFN, evtchn_alloc_unbound,
    evtchn_bind_interdomain, evtchn_close, evtchn_send, evtchn_status, mmu_update, sched_shutdown,
    shared_info, start_info, trap_info, vcpu_info, vcpu_time_info,
};

/// A page: the unit of mapping and of granting.
pub const PAGE_SIZE: usize = 4096;
/// The domain that makes the call (`xen.h`).
pub const DOMID_SELF: u16 = 0x7ff0;
/// `update_va_mapping`: drop this address from the local TLB (`xen.h`).
pub const UVMF_INVLPG: u64 = 2;
/// The machine-to-physical table: the frame number inside this domain, by machine frame number (`arch-x86/xen-x86_64.h`).
pub const MACH2PHYS_VIRT_START: u64 = 0xffff_8000_0000_0000;
/// The flat code selector that Xen gives a 64-bit PV kernel (`arch-x86/xen-x86_64.h`).
pub const FLAT_KERNEL_CS: u16 = 0xe033;
/// `evtchn_status.status`: the port waits for a remote domain (`event_channel.h`).
pub const EVTCHNSTAT_UNBOUND: u32 = 1;
/// `evtchn_status.status`: the port is connected to another domain (`event_channel.h`).
pub const EVTCHNSTAT_INTERDOMAIN: u32 = 2;
/// Ports of the two-level event-channel ABI: 64 words of 64 bits (`event_channel.h`).
pub const EVTCHN_2L_NR_CHANNELS: u32 = 4096;
/// Most ports that one `SCHEDOP_poll` may name (`sched.h`, `xen/common/sched`).
pub const POLL_PORTS_MAX: usize = 128;

/// `SCHEDOP_poll` (`sched.h`). `ports` stands for the header's guest handle, which on x86-64 is a plain pointer.
#[repr(C)]
pub struct sched_poll {
    /// The ports to watch.
    pub ports: *const u32,
    /// How many.
    pub nr_ports: u32,
    /// Absolute system time in nanoseconds at which to give up; 0 for never.
    pub timeout: u64,
}

/// `GNTTABOP_map_grant_ref` (`grant_table.h`).
pub const GNTTABOP_MAP_GRANT_REF: u32 = 0;
/// `GNTTABOP_unmap_grant_ref` (`grant_table.h`).
pub const GNTTABOP_UNMAP_GRANT_REF: u32 = 1;
/// `GNTTABOP_setup_table` (`grant_table.h`).
pub const GNTTABOP_SETUP_TABLE: u32 = 2;
/// Map for use by the CPU (`grant_table.h`).
pub const GNTMAP_HOST_MAP: u32 = 2;
/// Map without write access (`grant_table.h`).
pub const GNTMAP_READONLY: u32 = 4;
/// The call succeeded (`grant_table.h`).
pub const GNTST_OKAY: i16 = 0;
/// The granting domain's page is paged out for the moment: try again (`grant_table.h`).
pub const GNTST_EAGAIN: i16 = -12;
/// Grant entry type: the grantee may map the frame (`grant_table.h`).
pub const GTF_PERMIT_ACCESS: u16 = 1;
/// Grant entry flag: the grantee may only read the frame (`grant_table.h`).
pub const GTF_READONLY: u16 = 4;
/// Set by Xen while the grantee has the frame mapped for reading (`grant_table.h`).
pub const GTF_READING: u16 = 8;
/// Set by Xen while the grantee has the frame mapped for writing (`grant_table.h`).
pub const GTF_WRITING: u16 = 16;
/// The first references are kept for the toolstack: console, xenstore (`grant_table.h`).
pub const GNTTAB_NR_RESERVED_ENTRIES: u32 = 8;

/// `gnttab_setup_table` (`grant_table.h`).
#[repr(C)]
pub struct gnttab_setup_table {
    /// Whose table: `DOMID_SELF`.
    pub dom: u16,
    /// Frames wanted in all.
    pub nr_frames: u32,
    /// Out: `GNTST_*`.
    pub status: i16,
    /// Out: machine frame numbers, `nr_frames` of them.
    pub frame_list: *mut u64,
}

/// `gnttab_map_grant_ref` (`grant_table.h`).
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct gnttab_map_grant_ref {
    /// Virtual address to map at; its L1 table must exist.
    pub host_addr: u64,
    /// `GNTMAP_*`.
    pub flags: u32,
    /// The granting domain's reference.
    pub r#ref: u32,
    /// The granting domain.
    pub dom: u16,
    /// Out: `GNTST_*`.
    pub status: i16,
    /// Out: names the mapping when it ends.
    pub handle: u32,
    /// Out: machine address.
    pub dev_bus_addr: u64,
}

/// `gnttab_unmap_grant_ref` (`grant_table.h`).
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct gnttab_unmap_grant_ref {
    /// Virtual address of the mapping.
    pub host_addr: u64,
    /// 0 unless mapped for a device.
    pub dev_bus_addr: u64,
    /// From the mapping.
    pub handle: u32,
    /// Out: `GNTST_*`.
    pub status: i16,
}

/// Entries of eight bytes in one frame of a version 1 grant table (`grant_entry_v1`: flags u16, domid u16, frame u32).
pub const GRANT_ENTRIES_PER_FRAME: u32 = 512;

/// Offsets in the console page (`io/console.h`, `xencons_interface`).
pub mod xencons_interface {
    /// Bytes towards the guest.
    pub const IN: usize = 0;
    /// Size of that ring.
    pub const IN_SIZE: usize = 1024;
    /// Bytes from the guest.
    pub const OUT: usize = 1024;
    /// Size of that ring.
    pub const OUT_SIZE: usize = 2048;
    /// Written by the guest.
    pub const IN_CONS: usize = 3072;
    /// Written by the back end.
    pub const IN_PROD: usize = 3076;
    /// Written by the back end.
    pub const OUT_CONS: usize = 3080;
    /// Written by the guest.
    pub const OUT_PROD: usize = 3084;
}

/// Offsets in the xenstore page (`io/xs_wire.h`, `xenstore_domain_interface`).
pub mod xenstore_domain_interface {
    /// Bytes of requests.
    pub const REQ: usize = 0;
    /// Bytes of replies and watch events.
    pub const RSP: usize = 1024;
    /// Size of each ring.
    pub const RING_SIZE: usize = 1024;
    /// Written by xenstored.
    pub const REQ_CONS: usize = 2048;
    /// Written by the guest.
    pub const REQ_PROD: usize = 2052;
    /// Written by the guest.
    pub const RSP_CONS: usize = 2056;
    /// Written by xenstored.
    pub const RSP_PROD: usize = 2060;
}

const _: () = {
    assert!(size_of::<start_info>() == 1168);
    assert!(core::mem::offset_of!(start_info, cmd_line) == 128);
    assert!(size_of::<shared_info>() == 3136);
    assert!(core::mem::offset_of!(shared_info, evtchn_pending) == 2048);
    assert!(core::mem::offset_of!(shared_info, wc_version) == 3072);
    assert!(size_of::<vcpu_info>() == 64);
    assert!(core::mem::offset_of!(vcpu_info, time) == 32);
    assert!(size_of::<vcpu_time_info>() == 32);
    assert!(size_of::<trap_info>() == 16);
    assert!(size_of::<mmu_update>() == 16);
    assert!(size_of::<evtchn_alloc_unbound>() == 8);
    assert!(size_of::<evtchn_bind_interdomain>() == 12);
    assert!(size_of::<evtchn_status>() == 24);
    assert!(size_of::<sched_poll>() == 24);
    assert!(size_of::<gnttab_setup_table>() == 24);
    assert!(size_of::<gnttab_map_grant_ref>() == 32);
    assert!(size_of::<gnttab_unmap_grant_ref>() == 24);
};
