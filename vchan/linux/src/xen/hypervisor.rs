//! Xen itself, asked as a toolstack asks it: `xen/sysctl.h`, `domctl.h` and `version.h`, through `/dev/xen/privcmd`. Only a
//! privileged domain is answered, and only in the interface versions that stand in `abi`: those of Xen 4.17.
#![expect(unsafe_code, reason = "hypercalls")]

use core::sync::atomic::Ordering;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use rustix::io::Errno;
use vchan::interface::PAGE_SIZE;
use vchan::platform::{Access, SharedMemory};

use super::abi;
use super::devices::call;
use super::info::{DOMAIN_INFO, DomainInfo, PHYS_INFO, PhysInfo};
use crate::Memory;

/// One page for the question, the others for what it asks for.
const PAGES: usize = 4;

/// Where the answer goes that does not stand in the question.
const ANSWER: usize = PAGE_SIZE;

/// As many domains as fit there; more are asked for in turn.
const DOMAINS: usize = (PAGES - 1) * PAGE_SIZE / DOMAIN_INFO;

const _: () = assert!(abi::COMMANDLINE <= PAGE_SIZE && abi::DOMCTL_SIZE <= PAGE_SIZE);
const _: () = assert!(abi::SYSCTL_U + PHYS_INFO <= abi::SYSCTL_SIZE);

/// The way to Xen.
pub struct Hypervisor {
    privcmd: File,
    /// Of `/dev/xen/hypercall`: the kernel leaves it where it is, so that Xen always finds it.
    memory: Memory<()>,
}

impl Hypervisor {
    /// Opens it, where Xen answers this domain and speaks as this program does.
    pub fn open() -> io::Result<Self> {
        // What stands in `abi` differs elsewhere.
        if !cfg!(target_arch = "x86_64") {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let open = |device| File::options().read(true).write(true).open(device);
        let privcmd = open("/dev/xen/privcmd")?;
        let buffers = open("/dev/xen/hypercall")?;
        let memory = Memory::map(buffers.as_fd(), 0, PAGES, Access::ReadWrite, ())?;
        let mut this = Self { privcmd, memory };
        // A list of domains is sysctl's, which refuses another version itself; what stands in it is domctl's.
        this.domctl_getdomaininfo()?;
        Ok(this)
    }

    /// Every domain, by number.
    pub fn domains(&mut self) -> io::Result<Vec<DomainInfo>> {
        let mut domains: Vec<DomainInfo> = Vec::new();
        loop {
            let first = match domains.last() {
                None => 0,
                Some(last) => u32::from(last.domain) + 1,
            };
            let some = self.getdomaininfolist(first)?;
            domains.extend(&some);
            if some.len() < DOMAINS {
                return Ok(domains);
            }
        }
    }

    /// The host's memory.
    pub fn physinfo(&mut self) -> io::Result<PhysInfo> {
        self.sysctl(abi::SYSCTL_PHYSINFO);
        // SAFETY: XEN_SYSCTL_physinfo reads and writes its `struct xen_sysctl` alone, which is at the address.
        unsafe { self.hypercall(abi::SYSCTL, [self.memory.address(), 0]) }?;
        let mut bytes = [0; PHYS_INFO];
        self.memory.read(abi::SYSCTL_U, &mut bytes);
        Ok(PhysInfo::decode(&bytes))
    }

    /// Xen's command line.
    pub fn command_line(&mut self) -> io::Result<String> {
        self.memory.write(ANSWER, &[0; abi::COMMANDLINE]);
        let answer = self.memory.address() + ANSWER as u64;
        // SAFETY: XENVER_commandline writes a `xen_commandline_t` to the address, which fits into a page.
        unsafe { self.hypercall(abi::XEN_VERSION, [abi::XENVER_COMMANDLINE, answer]) }?;
        let mut bytes = [0; abi::COMMANDLINE];
        self.memory.read(ANSWER, &mut bytes);
        let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        Ok(String::from_utf8_lossy(text).into_owned())
    }

    /// Domains from this number on, as many as fit.
    fn getdomaininfolist(&mut self, first: u32) -> io::Result<Vec<DomainInfo>> {
        // `first_domain`, `max_domains`, `buffer`, `num_domains`.
        self.sysctl(abi::SYSCTL_GETDOMAININFOLIST);
        self.memory.write(abi::SYSCTL_U, &first.to_le_bytes());
        let most = DOMAINS as u32;
        self.memory.write(abi::SYSCTL_U + 4, &most.to_le_bytes());
        let buffer = self.memory.address() + ANSWER as u64;
        self.memory.write(abi::SYSCTL_U + 8, &buffer.to_le_bytes());
        // SAFETY: XEN_SYSCTL_getdomaininfolist reads and writes its `struct xen_sysctl`, which is at the address, and writes at
        // most `max_domains` of `struct xen_domctl_getdomaininfo` to `buffer`, where so many fit.
        unsafe { self.hypercall(abi::SYSCTL, [self.memory.address(), 0]) }?;
        let count = self.memory.load_u32(abi::SYSCTL_U + 16, Ordering::Relaxed);
        let count = (count as usize).min(DOMAINS);
        let info = |place| {
            let mut bytes = [0; DOMAIN_INFO];
            self.memory.read(ANSWER + place * DOMAIN_INFO, &mut bytes);
            DomainInfo::decode(&bytes)
        };
        Ok((0..count).map(info).collect())
    }

    /// Lets a domain run that was created paused.
    pub fn unpause(&mut self, domain: u16) -> io::Result<()> {
        self.domctl(abi::DOMCTL_UNPAUSEDOMAIN, domain);
        // SAFETY: XEN_DOMCTL_unpausedomain reads its `struct xen_domctl` alone, which is at the address.
        unsafe { self.hypercall(abi::DOMCTL, [self.memory.address(), 0]) }
    }

    /// Asks about domain 0, to see whether Xen knows the interface version.
    fn domctl_getdomaininfo(&mut self) -> io::Result<()> {
        self.domctl(abi::DOMCTL_GETDOMAININFO, 0);
        // SAFETY: XEN_DOMCTL_getdomaininfo reads and writes its `struct xen_domctl` alone, which is at the address.
        unsafe { self.hypercall(abi::DOMCTL, [self.memory.address(), 0]) }
    }

    /// Writes the head of a `struct xen_sysctl`, and zeros behind it.
    fn sysctl(&mut self, command: u32) {
        self.memory.write(0, &[0; abi::SYSCTL_SIZE]);
        self.memory.write(0, &command.to_le_bytes());
        let version = abi::SYSCTL_INTERFACE_VERSION;
        self.memory.write(4, &version.to_le_bytes());
    }

    /// Writes the head of a `struct xen_domctl`, and zeros behind it.
    fn domctl(&mut self, command: u32, domain: u16) {
        self.memory.write(0, &[0; abi::DOMCTL_SIZE]);
        self.memory.write(0, &command.to_le_bytes());
        let version = abi::DOMCTL_INTERFACE_VERSION;
        self.memory.write(4, &version.to_le_bytes());
        self.memory.write(8, &domain.to_le_bytes());
    }

    /// # Safety
    /// All that this hypercall reads and writes must lie in `memory`.
    unsafe fn hypercall(&self, op: u64, [first, second]: [u64; 2]) -> io::Result<()> {
        let mut hypercall = abi::Hypercall {
            op,
            arg: [first, second, 0, 0, 0],
        };
        // SAFETY: this opcode's argument is a `privcmd_hypercall`, which the kernel only reads. What Xen reads and writes lies in
        // `memory`, as the caller promises, which is no Rust object.
        let answer = unsafe {
            call(
                self.privcmd.as_fd(),
                abi::IOCTL_PRIVCMD_HYPERCALL,
                &mut hypercall,
            )
        };
        answer.map(drop).map_err(Errno::into)
    }
}
