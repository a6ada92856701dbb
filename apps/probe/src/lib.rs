//! The image `probe`: does one thing on request (`do=`), says how it went, and ends. For the lab's tests.
//!
//! What it finds out stands on its console, one line each, and in xenstore under `data/probe/`.
//!
//! | room | what it does |
//! |---|---|
//! | [`faults`] | ends badly: panic, page fault, stack overflow, invalid opcode |
//! | [`limits`] | uses up the heap, grants, ports, and gives them back |
//! | [`output`] | floods the console; waits for room on it |
//! | [`machine`] | clocks, random bytes, Hermit's `sys_*` calls |
//! | [`store`] | each kind of xenstore request |
//! | [`channel`] | sends, receives and echoes bytes over vchan |
//! | [`conformance`] | vchan's checks, with both ends in this domain |
//! | [`matrix`] | messages of every length over rings of every order, with a C program at the other end |
//! | [`stream`] | the bytes that are sent, and their checksum |
//! | [`victim`] | meets peers that do not keep to the protocol |
//! | [`function`] | a stage like any other: counts what comes, emits what it is told |
#![no_std]

extern crate alloc;

pub mod channel;
pub mod conformance;
pub mod faults;
pub mod function;
pub mod limits;
pub mod machine;
pub mod matrix;
pub mod output;
pub mod store;
pub mod stream;
pub mod victim;

mod report;
mod run;

pub use function::Probe;
pub use report::Report;
pub use run::main;
