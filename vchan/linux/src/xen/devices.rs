//! `/dev/xen/{gntalloc,gntdev,evtchn,privcmd}`: one typed function for each call that is made.
//!
//! A mapping of granted pages outlives the file that made it, and its end is the end of the grants: the kernel then does what
//! it does for a process that was killed. So no file is kept but the port's, and nothing is undone by hand.
#![expect(unsafe_code, reason = "ioctl")]

use core::ffi::c_void;
use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::OFlags;
use rustix::io::{Errno, read, write};
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, ioctl};
use vchan::interface::MAX_RING_PAGES;
use vchan::platform::Access;

use super::abi::{self, AllocGref, GrantRef, MapGrantRef, UnmapNotify};
use super::{Error, Memory, Offer};
use crate::port::{News, Source};

/// One call: its argument is read and written by the kernel.
struct Call<'a, T> {
    opcode: Opcode,
    argument: &'a mut T,
}

// SAFETY: `as_ptr` points to the argument, exclusively borrowed as long as this lives, and `IS_MUTATING` says that the kernel
// may write to it. That it is what this opcode reads and writes is the promise of whoever makes the call.
unsafe impl<T> Ioctl for Call<'_, T> {
    type Output = IoctlOutput;

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        self.opcode
    }

    fn as_ptr(&mut self) -> *mut c_void {
        (&raw mut *self.argument).cast()
    }

    unsafe fn output_from_ptr(out: IoctlOutput, _: *mut c_void) -> rustix::io::Result<IoctlOutput> {
        Ok(out)
    }
}

/// # Safety
/// The opcode must be one whose argument is a `T`, valid as it stands, at most as long as `T`; every bit pattern that the
/// kernel may leave in it must be a `T`.
pub(super) unsafe fn call<T>(
    file: BorrowedFd<'_>,
    opcode: Opcode,
    argument: &mut T,
) -> Result<u32, Errno> {
    // SAFETY: the caller's promise.
    let answer = unsafe { ioctl(file, Call { opcode, argument }) }?;
    Ok(answer.cast_unsigned())
}

fn open(device: &'static str) -> Result<File, Error> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    options
        .open(device)
        .map_err(|error| Error::Device { device, error })
}

fn failed(what: &'static str, domain: u16) -> impl Fn(Errno) -> Error {
    move |error| Error::Kernel {
        what,
        domain,
        error: error.into(),
    }
}

/// The byte that the kernel clears, and the port on which it then sends an event, when the mapping ends: for a process that is
/// killed before it could say goodbye.
#[derive(Clone, Copy)]
pub(super) struct Goodbye {
    pub byte: usize,
    pub port: u32,
}

impl Goodbye {
    fn at(self, index: u64) -> UnmapNotify {
        UnmapNotify {
            index: index + self.byte as u64,
            action: abi::UNMAP_NOTIFY_CLEAR_BYTE | abi::UNMAP_NOTIFY_SEND_EVENT,
            event_channel_port: self.port,
        }
    }
}

/// Zeroed pages, granted to `domain` for what it may do with them.
pub(super) fn share(
    domain: u16,
    pages: usize,
    peer: Access,
    goodbye: Option<Goodbye>,
) -> Result<Memory, Error> {
    assert!(pages <= MAX_RING_PAGES);
    let device = open("/dev/xen/gntalloc")?;
    let mut argument = Box::new(AllocGref::<MAX_RING_PAGES> {
        domid: domain,
        flags: match peer {
            Access::ReadOnly => 0,
            Access::ReadWrite => abi::GNTALLOC_FLAG_WRITABLE,
        },
        count: pages as u32,
        index: 0,
        gref_ids: [0; MAX_RING_PAGES],
    });
    // SAFETY: this opcode's argument is an `ioctl_gntalloc_alloc_gref` with room for `count` references, checked above; the
    // kernel writes integers.
    unsafe {
        call(
            device.as_fd(),
            abi::IOCTL_GNTALLOC_ALLOC_GREF,
            &mut *argument,
        )
    }
    .map_err(failed("pages to grant", domain))?;
    let refs = argument.gref_ids[..pages].to_vec();
    let index = argument.index;
    let memory = Memory::map(device.as_fd(), index, pages, Access::ReadWrite, refs)
        .map_err(|error| Error::Map { domain, error })?;
    if let Some(goodbye) = goodbye {
        // SAFETY: this opcode's argument is an `ioctl_gntalloc_unmap_notify`, which the kernel only reads.
        unsafe {
            call(
                device.as_fd(),
                abi::IOCTL_GNTALLOC_SET_UNMAP_NOTIFY,
                &mut goodbye.at(index),
            )
        }
        .map_err(failed("a last event", domain))?;
    }
    Ok(memory.written_by_us_alone(peer == Access::ReadOnly))
}

/// Pages that `domain` has granted, in this order and contiguously.
pub(super) fn map(
    domain: u16,
    refs: &[u32],
    access: Access,
    goodbye: Option<Goodbye>,
) -> Result<Memory, Error> {
    let device = open("/dev/xen/gntdev")?;
    let mut argument = Box::new(MapGrantRef::<MAX_RING_PAGES> {
        count: refs.len() as u32,
        pad: 0,
        index: 0,
        refs: [GrantRef::default(); MAX_RING_PAGES],
    });
    for (slot, &grant_ref) in argument.refs[..refs.len()].iter_mut().zip(refs) {
        *slot = GrantRef {
            domid: u32::from(domain),
            grant_ref,
        };
    }
    // SAFETY: this opcode's argument is an `ioctl_gntdev_map_grant_ref` with `count` references, filled in just now; the kernel
    // writes an integer.
    unsafe {
        call(
            device.as_fd(),
            abi::IOCTL_GNTDEV_MAP_GRANT_REF,
            &mut *argument,
        )
    }
    .map_err(failed("pages to map", domain))?;
    let index = argument.index;
    let memory = Memory::map(device.as_fd(), index, refs.len(), access, Vec::new())
        .map_err(|error| Error::Map { domain, error })?;
    if let Some(goodbye) = goodbye {
        // SAFETY: this opcode's argument is an `ioctl_gntdev_unmap_notify`, which the kernel only reads.
        unsafe {
            call(
                device.as_fd(),
                abi::IOCTL_GNTDEV_SET_UNMAP_NOTIFY,
                &mut goodbye.at(index),
            )
        }
        .map_err(failed("a last event", domain))?;
    }
    Ok(memory)
}

/// A port, which its file owns.
pub struct Evtchn {
    file: OwnedFd,
    number: u32,
    domain: u16,
    /// The way to ask Xen about the port; not every user has it, and a guest's kernel may let nothing through.
    privcmd: Option<File>,
    /// As client: what the server has offered.
    offer: Option<Offer>,
}

impl Evtchn {
    /// A port that only `domain` may bind.
    pub(super) fn alloc_unbound(domain: u16) -> Result<Self, Error> {
        let mut argument = abi::BindUnboundPort {
            remote_domain: u32::from(domain),
        };
        // SAFETY: this opcode's argument is an `ioctl_evtchn_bind_unbound_port`, which the kernel only reads.
        Self::new(domain, None, |file| unsafe {
            call(file, abi::IOCTL_EVTCHN_BIND_UNBOUND_PORT, &mut argument)
        })
    }

    /// A port bound to `domain`'s `port`, which is that of `offer`.
    pub(super) fn bind_interdomain(domain: u16, port: u32, offer: Offer) -> Result<Self, Error> {
        let mut argument = abi::BindInterdomain {
            remote_domain: u32::from(domain),
            remote_port: port,
        };
        // SAFETY: this opcode's argument is an `ioctl_evtchn_bind_interdomain`, which the kernel only reads.
        Self::new(domain, Some(offer), |file| unsafe {
            call(file, abi::IOCTL_EVTCHN_BIND_INTERDOMAIN, &mut argument)
        })
    }

    fn new(
        domain: u16,
        offer: Option<Offer>,
        bind: impl FnOnce(BorrowedFd<'_>) -> Result<u32, Errno>,
    ) -> Result<Self, Error> {
        let file = OwnedFd::from(open("/dev/xen/evtchn")?);
        let number = bind(file.as_fd()).map_err(failed("a port", domain))?;
        Ok(Self {
            file,
            number,
            domain,
            privcmd: open("/dev/xen/privcmd").ok(),
            offer,
        })
    }

    /// Whether Xen knows the peer's domain: a dead one too, as long as somebody has its pages mapped.
    fn domain_exists(&self) -> bool {
        // Nobody's: Xen looks for the domain first, and never binds this.
        const NO_PORT: u32 = 0;
        let mut argument = abi::BindInterdomain {
            remote_domain: u32::from(self.domain),
            remote_port: NO_PORT,
        };
        // SAFETY: this opcode's argument is an `ioctl_evtchn_bind_interdomain`, which the kernel only reads.
        let answer = unsafe {
            call(
                self.file.as_fd(),
                abi::IOCTL_EVTCHN_BIND_INTERDOMAIN,
                &mut argument,
            )
        };
        answer != Err(Errno::SRCH)
    }

    /// What Xen says about the port; `None` if it cannot be asked.
    fn status(&self) -> Option<u32> {
        let mut status = abi::EvtchnStatus {
            dom: abi::DOMID_SELF,
            port: self.number,
            ..Default::default()
        };
        let mut hypercall = abi::Hypercall {
            op: abi::EVENT_CHANNEL_OP,
            arg: [
                abi::EVTCHNOP_STATUS,
                (&raw mut status).expose_provenance() as u64,
                0,
                0,
                0,
            ],
        };
        // Xen reads and writes our memory by its address, and says EFAULT where the kernel has just moved the page: once more.
        for _ in 0..3 {
            // SAFETY: this opcode's argument is a `privcmd_hypercall`, which the kernel only reads. EVTCHNOP_status reads and
            // writes an `evtchn_status` at the address in its second argument, which is ours until this returns.
            let answer = unsafe {
                call(
                    self.privcmd.as_ref()?.as_fd(),
                    abi::IOCTL_PRIVCMD_HYPERCALL,
                    &mut hypercall,
                )
            };
            match answer {
                // SAFETY: initialised, and integers whatever Xen wrote; read so because the compiler saw nobody write.
                Ok(0) => return Some(unsafe { (&raw const status.status).read_volatile() }),
                Err(Errno::FAULT) => {}
                Ok(_) | Err(_) => return None,
            }
        }
        None
    }
}

impl AsFd for Evtchn {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Source for Evtchn {
    fn number(&self) -> u32 {
        self.number
    }

    fn notify(&self) {
        let mut argument = abi::Notify { port: self.number };
        // It fails where the peer is gone, which others will say.
        // SAFETY: this opcode's argument is an `ioctl_evtchn_notify`, which the kernel only reads.
        let _ = unsafe { call(self.file.as_fd(), abi::IOCTL_EVTCHN_NOTIFY, &mut argument) };
    }

    fn take(&self) -> News {
        let mut port = [0; 4];
        match read(&self.file, &mut port) {
            Ok(4) => {
                // Written back, it is unmasked: what comes after this makes the file readable again.
                let _ = write(&self.file, &port);
                News::Event
            }
            _ => News::Nothing,
        }
    }

    fn peer_bound(&self) -> bool {
        match self.status() {
            Some(status) => status == abi::EVTCHNSTAT_INTERDOMAIN,
            // A process that died is noticed by the kernel's goodbye. Of a domain that did, each of these can tell in some cases:
            // xenstore to the privileged; Xen about one whose pages we do not hold; what a server left where all can read it.
            None => {
                super::domain_is_introduced(self.domain)
                    && self.domain_exists()
                    && self.offer.as_ref().is_none_or(Offer::stands)
            }
        }
    }
}
