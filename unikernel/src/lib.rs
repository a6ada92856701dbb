//! A library OS: what one sensing function needs to be a Xen PV guest, and nothing else.
//!
//! One address space, one vCPU, one purpose. The function itself is a [`stage::Stage`], which names no platform;
//! [`image!`] makes it a bootable ELF file. Four principles hold the rooms together:
//!
//! * **Nothing asynchronous lands on the stack.** Upcalls stay masked; the executor looks at pending bits and sleeps in
//!   `SCHEDOP_poll`. An idle domain uses no CPU.
//! * **The peer is a suspect.** Memory that another domain can write is never a Rust reference: see [`memory::Shared`].
//! * **Pure rooms, thin rims.** What is data in, data out is tested on the host. `unsafe` stands only in `boot`, `cpu`,
//!   `hypercall`, `memory`, `grants`, `traps` and `abi`.
//! * **The words are Xen's.** Who knows the public headers finds the same names here.
//!
//! The rooms, in boot order; each uses only rooms that stand before it:
//!
//! | room | what it holds |
//! |---|---|
//! | [`xen_abi`] | numbers and layouts of Xen's public headers |
//! | [`cpu`] | the few instructions Rust has no word for |
//! | [`hypercall`] | one typed function per hypercall |
//! | [`memory`] | frames, page tables through Xen, the heap, shared memory |
//! | [`time`] | pvclock: monotonic and wall-clock time; timers |
//! | [`executor`] | tasks on one vCPU |
//! | [`events`] | event channels, and the sleep of an idle domain |
//! | [`console`] | the PV console: log sink, lines that wait for room, reader |
//! | `traps` | faults: one line with place and cause, then *crash* |
//! | [`grants`] | pages offered to and mapped from other domains |
//! | [`entropy`] | random bytes |
//! | [`xenstore`] | the xenstore client |
//! | [`vchan`] | the platform of the crate `vchan`: grants, events, xenstore |
//! | `net` | a network interface and TCP/IP over it; behind the feature `net` |
//! | [`lifecycle`] | orders of the toolstack: shutdown |
//! | [`host`] | what a stage's runner needs of the machine |
//! | [`abi`] | Hermit's `sys_*` calls |
//! | [`boot`], [`rt`] | the entry, and the boot story from top to bottom |
#![no_std]

extern crate alloc;
#[cfg(any(test, fuzzing))]
extern crate std;

pub mod abi;
pub mod boot;
pub mod console;
pub mod cpu;
pub mod entropy;
pub mod events;
pub mod executor;
pub mod grants;
pub mod host;
pub mod hypercall;
pub mod lifecycle;
pub mod memory;
#[cfg(feature = "net")]
pub mod net;
pub mod rt;
pub mod time;
#[cfg(any(xen_guest, test))]
mod traps;
pub mod vchan;
pub mod xen_abi;
pub mod xenstore;

pub use stage;
