//! A network interface of the domain (netfront), and TCP/IP over it (smoltcp).
//!
//! | room | what it is |
//! |---|---|
//! | [`netif`] | layouts of the shared rings |
//! | [`ring`] | one shared ring, from the front end's side |
//! | [`buffers`] | pages that are granted once and carry frames |
//! | [`tx`], [`rx`] | frames out, frames in: chains of slots, ids, responses |
//! | [`offload`] | checksums and segmentation |
//! | `pace` | how often something may be done |
//! | [`device`] | both rings as smoltcp's `phy::Device` |
//! | [`handshake`] | the xenbus states |
//! | [`netfront`] | the device in xenstore: connects it, notices when it goes |
//! | [`config`] | the parameter `ip=` |
//! | [`stack`] | smoltcp's interface and sockets, and who waits for them |
//! | [`announce`] | who has an IPv4 address, told to the link |
//! | [`slaac`] | IPv6 addresses from routers |
//! | [`tcp`], [`udp`], [`resolve`], [`connect`] | connections, datagrams, names, connections by name |
//! | [`network`] | all of it on this domain's grants, events and clock: what programs use |

#![forbid(unsafe_code)]

pub mod announce;
pub mod buffers;
pub mod config;
pub mod connect;
pub mod device;
pub mod handshake;
pub mod netfront;
pub mod netif;
pub mod network;
pub mod offload;
mod pace;
pub mod resolve;
pub mod ring;
pub mod rx;
pub mod slaac;
pub mod stack;
pub mod tcp;
pub mod tx;
pub mod udp;

pub use config::IpConfig;
pub use connect::ConnectError;
pub use network::Network;
pub use smoltcp::wire::{IpAddress, IpCidr, IpEndpoint};
pub use tcp::{TcpError, TcpListener, TcpOptions, TcpStream};
pub use udp::{UdpError, UdpSocket};

#[cfg(any(test, fuzzing))]
mod crafted;
#[cfg(any(test, fuzzing))]
mod fake;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
#[cfg(any(test, fuzzing))]
mod host;
#[cfg(test)]
mod tests;
