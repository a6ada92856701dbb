//! The lab: a real Xen with a Debian dom0 on any x86-64 Linux machine, under QEMU's software emulation.
//!
//! [`run()`] boots it, runs a [`Job`] in dom0 and brings back what the job left; nothing is installed but QEMU itself.
//!
//! [`scenarios`] are scripts with a verdict each, which [`trials`] runs; [`shell`] is a job for a person.
//!
//! Pure rooms: [`cpio`], [`libraries`], [`modules`]. Rims: [`apt`] and [`parts`] (Debian's packages), [`qemu`],
//! [`back`] (streams out of dom0), [`signals`].

pub mod apt;
pub mod back;
pub mod command;
pub mod cpio;
pub mod dom0;
pub mod error;
pub mod fixtures;
pub mod job;
pub mod least_guest;
pub mod libraries;
pub mod linux_guest;
pub mod modules;
mod pairs;
pub mod parts;
pub mod qemu;
pub mod run;
pub mod scenarios;
pub mod scratch;
pub mod shell;
pub mod signals;
pub mod trials;

pub use back::Stream;
pub use error::LabError;
pub use job::Job;
pub use run::{Outcome, pass_on, run};

use stage::params::Address;

/// A port on this machine's loopback, as dom0 and the guests reach it: QEMU's user network sees to that.
pub fn outside(port: u16) -> Address {
    Address {
        host: "10.0.2.2".to_owned(),
        port,
    }
}
