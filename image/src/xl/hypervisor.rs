//! Xen itself, asked by hypercalls. Where it does not answer them (another version, no device, no privileged domain) nothing is
//! known here, and whoever asks starts `xl`.

use std::fmt;
use std::io;
use std::sync::{Mutex, PoisonError};

use vchan_linux::xen::{self, DomainInfo};

use super::toolstack::HostInfo;

/// The way to Xen, looked for when it is first needed, and once.
#[derive(Default)]
pub struct Hypervisor(Mutex<Way>);

#[derive(Default)]
enum Way {
    #[default]
    Unknown,
    None,
    Open(xen::Hypervisor),
}

impl fmt::Debug for Hypervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hypervisor")
    }
}

impl Hypervisor {
    /// Every domain, by number.
    pub fn domains(&self) -> Option<Vec<DomainInfo>> {
        self.ask(xen::Hypervisor::domains)
    }

    /// What the host has.
    pub fn host(&self) -> Option<HostInfo> {
        self.ask(|xen| {
            let memory = xen.physinfo()?;
            Ok(HostInfo::new(&memory, &xen.command_line()?))
        })
    }

    fn ask<A>(&self, question: impl FnOnce(&mut xen::Hypervisor) -> io::Result<A>) -> Option<A> {
        let mut way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Way::Unknown = *way {
            *way = xen::Hypervisor::open().map_or(Way::None, Way::Open);
        }
        match &mut *way {
            Way::Open(xen) => question(xen).ok(),
            Way::Unknown | Way::None => None,
        }
    }
}
