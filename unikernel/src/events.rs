//! Event channels, two-level ABI (`public/event_channel.h`), and the sleep of an idle domain.
//!
//! Every port stays masked and upcalls stay off: an event is a bit in shared_info's `evtchn_pending`, which [`dispatch`] turns
//! into a count per port and wakes the tasks that wait for it to move. `SCHEDOP_poll` wakes on masked ports too.

use alloc::vec::Vec;
use core::fmt;
use core::future::poll_fn;
use core::mem::offset_of;
use core::sync::atomic::Ordering;
use core::task::{Poll, Waker};
use core::time::Duration;

use spin::{Mutex, Once};

use crate::hypercall::{self, XenErrno};
use crate::memory::Shared;
use crate::xen_abi::{
    DOMID_SELF, EVTCHN_2L_NR_CHANNELS, EVTCHNSTAT_INTERDOMAIN, POLL_PORTS_MAX, shared_info,
    vcpu_info,
};

static SHARED_INFO: Once<Shared> = Once::new();
/// A list, not a map: there are 128 at most, and most domains have four.
static PORTS: Mutex<Vec<PortState>> = Mutex::new(Vec::new());

struct PortState {
    port: u32,
    events: u64,
    waiting: Vec<Waker>,
}

/// A port could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortError {
    /// Xen said no: `ENOSPC` when the domain may have no more ports (`max_event_channels`), `EINVAL` when the remote port does
    /// not wait for this domain.
    Xen(XenErrno),
    /// As many ports are in use as one `SCHEDOP_poll` can watch.
    TooMany,
    /// A port that nobody has bound is said to be bound.
    NotUnbound,
}

impl From<XenErrno> for PortError {
    fn from(error: XenErrno) -> Self {
        Self::Xen(error)
    }
}

impl fmt::Display for PortError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Xen(error) => write!(f, "event channel: {error}"),
            Self::TooMany => write!(
                f,
                "event channel: {POLL_PORTS_MAX} ports are in use, all that can be watched"
            ),
            Self::NotUnbound => f.write_str("event channel: a fresh port is said to be bound"),
        }
    }
}

impl core::error::Error for PortError {}

/// This domain's id. Xen tells it in no other place without a round trip to xenstore: a port that waits for the domain itself
/// names it.
pub fn own_domain() -> Result<u16, PortError> {
    let port = Port::alloc_unbound(DOMID_SELF)?;
    hypercall::evtchn_unbound_remote(port.number())?.ok_or(PortError::NotUnbound)
}

/// A port of this domain. Closed when dropped.
#[derive(Debug)]
pub struct Port(u32);

impl Port {
    /// A port that `remote` may bind to.
    pub fn alloc_unbound(remote: u16) -> Result<Self, PortError> {
        Self::register(hypercall::evtchn_alloc_unbound(remote)?)
    }

    /// A port connected to `remote_port` of `remote`.
    pub fn bind_interdomain(remote: u16, remote_port: u32) -> Result<Self, PortError> {
        Self::register(hypercall::evtchn_bind_interdomain(remote, remote_port)?)
    }

    /// Takes over a port that the toolstack made: the console's, xenstore's.
    pub fn from_start_info(port: u32) -> Result<Self, PortError> {
        Self::register(port)
    }

    fn register(port: u32) -> Result<Self, PortError> {
        // From here on the port is closed when it cannot be used.
        let handle = Self(port);
        let mut ports = PORTS.lock();
        if port >= EVTCHN_2L_NR_CHANNELS || ports.len() >= POLL_PORTS_MAX {
            drop(ports);
            return Err(PortError::TooMany);
        }
        ports.push(PortState {
            port,
            events: 0,
            // A port has one task that reads and one that writes, so that a wait needs no memory of its own.
            waiting: Vec::with_capacity(2),
        });
        drop(ports);
        Ok(handle)
    }

    fn state<'a>(&self, ports: &'a mut [PortState]) -> Option<&'a mut PortState> {
        ports.iter_mut().find(|state| state.port == self.0)
    }

    /// The number.
    pub fn number(&self) -> u32 {
        self.0
    }

    /// Raises the event at the other end. What was stored before is visible there before the event: a hypercall orders more
    /// than that. With nobody there any more it does nothing; [`Self::is_bound`] tells.
    pub fn notify(&self) {
        let _ = hypercall::evtchn_send(self.0);
    }

    /// Events seen so far. Several may have been merged into one.
    pub fn event_count(&self) -> u64 {
        let mut ports = PORTS.lock();
        let Some(state) = self.state(&mut ports) else {
            return 0;
        };
        state.look();
        state.events
    }

    /// Takes an event without a count and without a lock: for the end of the domain, whoever holds the list of ports.
    pub(crate) fn take_event(&self) {
        take_pending(self.0);
    }

    /// Waits until [`Self::event_count`] is no longer `seen`. A task that is polled for another reason goes on waiting here, so
    /// that a time limit around the wait is not begun anew by whatever else the task does.
    pub fn wait(&self, seen: u64) -> impl Future<Output = ()> {
        poll_fn(move |cx| {
            let mut ports = PORTS.lock();
            match self.state(&mut ports) {
                Some(state) if state.events == seen => {
                    let known = state
                        .waiting
                        .iter()
                        .any(|waker| waker.will_wake(cx.waker()));
                    if !known {
                        state.waiting.push(cx.waker().clone());
                    }
                    Poll::Pending
                }
                _ => Poll::Ready(()),
            }
        })
    }

    /// Ends every wait on this port as an event would.
    pub fn wake(&self) {
        if let Some(state) = self.state(&mut PORTS.lock()) {
            state.raise();
        }
    }

    /// Whether a port of another domain is still connected. Xen sends no event when it goes.
    pub fn is_bound(&self) -> bool {
        hypercall::evtchn_status(DOMID_SELF, self.0) == Ok(EVTCHNSTAT_INTERDOMAIN)
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        PORTS.lock().retain(|state| state.port != self.0);
        // Nothing is lost when Xen does not know the port any more.
        let _ = hypercall::evtchn_close(self.0);
        // A later owner of the number starts without an event of this one.
        take_pending(self.0);
    }
}

impl PortState {
    /// Takes the port's event, if there is one.
    fn look(&mut self) {
        if take_pending(self.port) {
            self.raise();
        }
    }

    /// Counts an event and wakes who waits for it. Neither collects the wakers nor gives their room back: an event needs no
    /// memory. To wake a task is to put its number into a queue, which never comes back to the list of ports.
    fn raise(&mut self) {
        self.events += 1;
        self.waiting.drain(..).for_each(Waker::wake);
    }
}

/// Starts events.
pub fn start(shared_info: Shared) {
    SHARED_INFO.call_once(|| shared_info);
}

/// The address of the last page fault: where Xen puts CR2 for a PV guest.
pub fn fault_address() -> u64 {
    // `arch_vcpu_info.cr2`, the first field of vCPU 0's `arch`.
    let offset = offset_of!(shared_info, vcpu_info) + offset_of!(vcpu_info, arch);
    SHARED_INFO
        .get()
        .map_or(0, |page| page.load_u64(offset, Ordering::Relaxed))
}

/// Clears the pending bit of `port`; whether it was set.
fn take_pending(port: u32) -> bool {
    let Some(page) = SHARED_INFO.get() else {
        return false;
    };
    let word = offset_of!(shared_info, evtchn_pending) + (port as usize / 64) * 8;
    let bit = 1 << (port % 64);
    // Relaxed: a bit that is set after this look is seen by the next one, or keeps `SCHEDOP_poll` from sleeping.
    if page.load_u64(word, Ordering::Relaxed) & bit == 0 {
        return false;
    }
    // Acquire: the bit is cleared before the rings are looked at that the event is about, so that no event falls between.
    page.fetch_and_u64(word, !bit, Ordering::AcqRel) & bit != 0
}

/// Takes all pending events and wakes who waits for them.
pub fn dispatch() {
    PORTS.lock().iter_mut().for_each(PortState::look);
}

/// Sleeps until an event is pending on a port that someone waits for, or until `deadline` of monotonic time.
pub fn sleep(deadline: Option<Duration>) {
    let mut watched = [0; POLL_PORTS_MAX];
    let mut count = 0;
    {
        let ports = PORTS.lock();
        let waiting = ports.iter().filter(|state| !state.waiting.is_empty());
        for (slot, state) in watched.iter_mut().zip(waiting) {
            *slot = state.port;
            count += 1;
        }
    }
    // 0 means "for ever" to Xen.
    let deadline = deadline.map_or(0, |deadline| (deadline.as_nanos() as u64).max(1));
    hypercall::poll(watched.get(..count).unwrap_or_default(), deadline);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_wakes_who_waits_and_keeps_the_room_for_the_next_wait() {
        let mut state = PortState {
            port: 1,
            events: 0,
            waiting: Vec::with_capacity(2),
        };
        let room = state.waiting.capacity();
        state.waiting.push(Waker::noop().clone());
        state.raise();
        assert_eq!((state.events, state.waiting.len()), (1, 0));
        assert_eq!(state.waiting.capacity(), room);
    }
}
