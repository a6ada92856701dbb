//! What measures one way out of a domain: the same code as images and as programs on Linux.
//!
//! | room | what it is |
//! |---|---|
//! | [`content`] | what messages hold, so that their receiver can tell whether it is right |
//! | [`histogram`] | round trips, counted by length |
//! | [`report`] | the line of JSON that a measurement ends with |
//! | [`machine`] | what a measurement asks of the machine that it runs on |
//! | [`parameters`] | what every program here is told |
//! | [`tcp`] | `tcp-bench`: both roles |
//! | [`vchan`] | `vchan-bench`: both roles |
//! | `udp` | `udp-bench`: both roles, on Linux alone |
//! | `run` | an image, from the boot to that line |
//! | `program` | a program on Linux, from its arguments to that line |
#![no_std]

extern crate alloc;
#[cfg(not(xen_guest))]
extern crate std;

pub mod content;
pub mod histogram;
pub mod machine;
pub mod parameters;
#[cfg(not(xen_guest))]
pub mod program;
pub mod report;
#[cfg(xen_guest)]
pub mod run;
pub mod tcp;
#[cfg(not(xen_guest))]
pub mod udp;
pub mod vchan;

pub use tcp::TcpBench;
#[cfg(not(xen_guest))]
pub use udp::UdpBench;
pub use vchan::VchanBench;
