//! The way into Xen: one typed function per hypercall that is used, and the only `asm!` that enters the hypervisor.
//!
//! A 64-bit PV guest enters Xen with `syscall`: number in RAX, arguments in RDI, RSI, RDX, R10, R8, result in RAX
//! (`arch-x86/xen-x86_64.h`). The hypercall page would only wrap the same instruction, so the images have none.
#![expect(unsafe_code, reason = "hypercalls")]

use core::arch::asm;
use core::fmt;
#[cfg(feature = "count")]
use core::sync::atomic::{AtomicU64, Ordering};

use crate::memory::{Mfn, VirtAddr};
use crate::xen_abi as abi;

/// A negative errno value that Xen answered with (`public/errno.h`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct XenErrno(pub i64);

impl XenErrno {
    /// No such process: the domain is gone.
    pub const ESRCH: Self = Self(3);
}

impl fmt::Debug for XenErrno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for XenErrno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            1 => "EPERM",
            3 => "ESRCH",
            12 => "ENOMEM",
            13 => "EACCES",
            14 => "EFAULT",
            16 => "EBUSY",
            22 => "EINVAL",
            28 => "ENOSPC",
            38 => "ENOSYS",
            other => return write!(f, "Xen error {other}"),
        };
        f.write_str(name)
    }
}

impl core::error::Error for XenErrno {}

/// Why a domain ends (`sched.h`): what `on_poweroff`, `on_reboot` and `on_crash` of its config go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShutdownReason {
    /// The work is done.
    Poweroff,
    /// Start anew, please.
    Reboot,
    /// Something went wrong.
    Crash,
}

// Relaxed wherever it is used: a number that orders nothing.
#[cfg(feature = "count")]
static COUNT: AtomicU64 = AtomicU64::new(0);

/// How many hypercalls were made since the boot.
#[cfg(feature = "count")]
pub fn count() -> u64 {
    COUNT.load(Ordering::Relaxed)
}

/// # Safety
/// The arguments must be what hypercall `number` expects, and every pointer among them must point to memory that stays
/// valid for the call and that Xen may read or write as the call defines. Only a Xen PV guest may call this.
unsafe fn hypercall(number: u32, a1: u64, a2: u64, a3: u64, a4: u64) -> i64 {
    #[cfg(feature = "count")]
    COUNT.fetch_add(1, Ordering::Relaxed);
    let result: i64;
    // SAFETY: the register assignment is Xen's; the caller vouches for the arguments. Xen clobbers the argument
    // registers, RCX and R11, and reads or writes guest memory, so neither `nomem` nor `nostack` is claimed.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") i64::from(number) => result,
            inlateout("rdi") a1 => _,
            inlateout("rsi") a2 => _,
            inlateout("rdx") a3 => _,
            inlateout("r10") a4 => _,
            lateout("r8") _,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    result
}

fn check(result: i64) -> Result<(), XenErrno> {
    if result < 0 {
        Err(XenErrno(-result))
    } else {
        Ok(())
    }
}

/// Calls an operation of a hypercall that takes a number and one structure.
///
/// # Safety
/// `argument` must be the structure that `operation` of hypercall `number` takes, and what it points to must be valid.
unsafe fn operation<T>(number: u32, operation: u32, argument: &mut T) -> Result<(), XenErrno> {
    let pointer = core::ptr::from_mut(argument) as u64;
    // SAFETY: the exclusive borrow outlives the call; the caller vouches for its type.
    check(unsafe { hypercall(number, u64::from(operation), pointer, 0, 0) })
}

/// Ends the domain. Does not return: if Xen should refuse, the vCPU yields for ever.
pub fn shutdown(reason: ShutdownReason) -> ! {
    let mut argument = abi::sched_shutdown {
        reason: match reason {
            ShutdownReason::Poweroff => abi::SHUTDOWN_poweroff,
            ShutdownReason::Reboot => abi::SHUTDOWN_reboot,
            ShutdownReason::Crash => abi::SHUTDOWN_crash,
        },
    };
    loop {
        // SAFETY: `SCHEDOP_shutdown` takes a `sched_shutdown`.
        let _ = unsafe {
            operation(
                abi::__HYPERVISOR_sched_op,
                abi::SCHEDOP_shutdown,
                &mut argument,
            )
        };
    }
}

/// Sleeps until one of `ports` is pending, or until `deadline` in nanoseconds of system time (0 for never). Works for
/// masked ports. Returns at once when a port is pending already.
pub fn poll(ports: &[u32], deadline: u64) {
    debug_assert!(ports.len() <= abi::POLL_PORTS_MAX);
    let mut argument = abi::sched_poll {
        ports: ports.as_ptr(),
        nr_ports: u32::try_from(ports.len()).unwrap_or(0),
        timeout: deadline,
    };
    // SAFETY: `SCHEDOP_poll` takes a `sched_poll`; `ports` is borrowed over the call. An error means that nothing was
    // waited for, which the callers, who look again, treat like a spurious wake.
    let _ = unsafe { operation(abi::__HYPERVISOR_sched_op, abi::SCHEDOP_poll, &mut argument) };
}

/// Lets another vCPU run, if one is waiting for this CPU.
pub fn sched_yield() {
    let (number, yielding) = (abi::__HYPERVISOR_sched_op, u64::from(abi::SCHEDOP_yield));
    // SAFETY: `SCHEDOP_yield` takes no argument. It does not fail.
    unsafe { hypercall(number, yielding, 0, 0, 0) };
}

/// A port that waits for `remote` to bind it.
pub fn evtchn_alloc_unbound(remote: u16) -> Result<u32, XenErrno> {
    let mut argument = abi::evtchn_alloc_unbound {
        dom: abi::DOMID_SELF,
        remote_dom: remote,
        port: 0,
    };
    // SAFETY: `EVTCHNOP_alloc_unbound` takes this structure.
    unsafe {
        operation(
            abi::__HYPERVISOR_event_channel_op,
            abi::EVTCHNOP_alloc_unbound,
            &mut argument,
        )
    }?;
    Ok(argument.port)
}

/// A port connected to `remote_port` of domain `remote`.
pub fn evtchn_bind_interdomain(remote: u16, remote_port: u32) -> Result<u32, XenErrno> {
    let mut argument = abi::evtchn_bind_interdomain {
        remote_dom: remote,
        remote_port,
        local_port: 0,
    };
    // SAFETY: `EVTCHNOP_bind_interdomain` takes this structure.
    unsafe {
        operation(
            abi::__HYPERVISOR_event_channel_op,
            abi::EVTCHNOP_bind_interdomain,
            &mut argument,
        )
    }?;
    Ok(argument.local_port)
}

/// Raises the event at the other end of `port`.
pub fn evtchn_send(port: u32) -> Result<(), XenErrno> {
    let mut argument = abi::evtchn_send { port };
    // SAFETY: `EVTCHNOP_send` takes this structure.
    unsafe {
        operation(
            abi::__HYPERVISOR_event_channel_op,
            abi::EVTCHNOP_send,
            &mut argument,
        )
    }
}

/// Gives `port` back.
pub fn evtchn_close(port: u32) -> Result<(), XenErrno> {
    let mut argument = abi::evtchn_close { port };
    // SAFETY: `EVTCHNOP_close` takes this structure.
    unsafe {
        operation(
            abi::__HYPERVISOR_event_channel_op,
            abi::EVTCHNOP_close,
            &mut argument,
        )
    }
}

/// The state of `port` of domain `dom`: an `EVTCHNSTAT_*`.
pub fn evtchn_status(dom: u16, port: u32) -> Result<u32, XenErrno> {
    Ok(status_of(dom, port)?.status)
}

/// The domain that `port` of this domain waits for; `None` where it does not wait.
pub fn evtchn_unbound_remote(port: u32) -> Result<Option<u16>, XenErrno> {
    let status = status_of(abi::DOMID_SELF, port)?;
    if status.status != abi::EVTCHNSTAT_UNBOUND {
        return Ok(None);
    }
    // SAFETY: the member that the status tells.
    Ok(Some(unsafe { status.u.unbound.dom }))
}

fn status_of(dom: u16, port: u32) -> Result<abi::evtchn_status, XenErrno> {
    // SAFETY: a structure of integers, for which all-zero bytes are a value.
    let mut argument: abi::evtchn_status = unsafe { core::mem::zeroed() };
    argument.dom = dom;
    argument.port = port;
    // SAFETY: `EVTCHNOP_status` takes this structure.
    unsafe {
        operation(
            abi::__HYPERVISOR_event_channel_op,
            abi::EVTCHNOP_status,
            &mut argument,
        )
    }?;
    Ok(argument)
}

/// Has Xen map `frames` of this domain's grant table into existence and tells their machine frames.
pub fn gnttab_setup_table(frames: &mut [u64]) -> Result<i16, XenErrno> {
    let mut argument = abi::gnttab_setup_table {
        dom: abi::DOMID_SELF,
        nr_frames: u32::try_from(frames.len()).unwrap_or(0),
        status: 0,
        frame_list: frames.as_mut_ptr(),
    };
    grant_table_op(
        abi::GNTTABOP_SETUP_TABLE,
        core::slice::from_mut(&mut argument),
    )?;
    Ok(argument.status)
}

/// Maps pages that other domains granted; each entry gets a status of its own.
///
/// # Safety
/// Each `host_addr` must be a page that nothing else uses: what was mapped there is replaced.
pub unsafe fn gnttab_map(operations: &mut [abi::gnttab_map_grant_ref]) -> Result<(), XenErrno> {
    grant_table_op(abi::GNTTABOP_MAP_GRANT_REF, operations)
}

/// Ends mappings; each entry gets a status of its own.
///
/// # Safety
/// Nothing may use the addresses any more.
pub unsafe fn gnttab_unmap(operations: &mut [abi::gnttab_unmap_grant_ref]) -> Result<(), XenErrno> {
    grant_table_op(abi::GNTTABOP_UNMAP_GRANT_REF, operations)
}

fn grant_table_op<T>(operation: u32, list: &mut [T]) -> Result<(), XenErrno> {
    // SAFETY: the three callers above pair the operation with a list of its structure, exclusively borrowed over the call.
    check(unsafe {
        hypercall(
            abi::__HYPERVISOR_grant_table_op,
            u64::from(operation),
            list.as_mut_ptr() as u64,
            list.len() as u64,
            0,
        )
    })
}

/// Replaces the L1 entry of `address`, whose L1 table must exist; 0 unmaps.
///
/// # Safety
/// No Rust object may live in the page at `address`, unless the new entry maps the same frame at least as the object needs.
pub unsafe fn update_va_mapping(address: VirtAddr, entry: u64) -> Result<(), XenErrno> {
    // SAFETY: passed on to the caller; the address is dropped from the TLB with the change.
    check(unsafe {
        hypercall(
            abi::__HYPERVISOR_update_va_mapping,
            address.as_u64(),
            entry,
            abi::UVMF_INVLPG,
            0,
        )
    })
}

/// Stores `value` in the page-table entry at byte `offset` of the table in machine frame `table`.
///
/// # Safety
/// As for [`update_va_mapping`], for everything below the entry.
pub unsafe fn mmu_update(table: Mfn, offset: usize, value: u64) -> Result<(), XenErrno> {
    let mut request = abi::mmu_update {
        ptr: table.address() + offset as u64 + u64::from(abi::MMU_NORMAL_PT_UPDATE),
        val: value,
    };
    // SAFETY: one request, exclusively borrowed over the call; no count is asked back; the caller vouches for the change.
    check(unsafe {
        hypercall(
            abi::__HYPERVISOR_mmu_update,
            core::ptr::from_mut(&mut request) as u64,
            1,
            0,
            u64::from(abi::DOMID_SELF),
        )
    })
}

/// Registers handlers for faults; the last entry is all zero.
///
/// # Safety
/// Each address must be an entry that copes with Xen's bounce frame.
pub unsafe fn set_trap_table(table: &[abi::trap_info]) -> Result<(), XenErrno> {
    // SAFETY: Xen reads the table up to its zero entry, which the caller has put there.
    check(unsafe {
        hypercall(
            abi::__HYPERVISOR_set_trap_table,
            table.as_ptr() as u64,
            0,
            0,
            0,
        )
    })
}
