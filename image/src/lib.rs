//! The host tool: builds and checks images, boots them in a Xen lab, runs and verifies pipelines.
//!
//! Rooms, from the image outwards:
//!
//! * [`compile`] calls cargo once per image; [`elf`] strips what it made and refuses what Xen would not boot.
//! * [`new`] makes a stage of one's own.
//! * [`dist`] packs images and tool for a dom0 without Rust.
//! * [`broker`] runs a Mosquitto on loopback, and a subscriber of any broker.
//! * [`lab`] boots Xen and a Debian dom0 in QEMU, runs a job there and brings back what it left.
//! * [`pipeline`] reads and checks what a pipeline's file says, and draws it; [`images`] knows what the images take.
//! * [`xl`] writes domain configurations and calls `xl`.
//! * [`demo`] runs the first pipeline on recorded data and checks every result.
//! * [`compose`] is the commands around a pipeline's file.
//! * [`watch`] shows a pipeline that runs: rates, a live view, metrics.
//! * [`feed`] writes readings of this machine into a stage.
//! * [`compare`] runs the same work on unikernels and on Linux guests, and reports.
//! * [`failure`] and [`progress`] say to a person how it went, through [`output`].

// Both macros panic where the reader of a pipe has gone.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod broker;
pub mod compare;
pub mod compile;
pub mod compose;
pub mod demo;
pub mod dist;
pub mod elf;
pub mod failure;
pub mod feed;
pub mod images;
pub mod lab;
pub mod new;
pub mod output;
pub mod pipeline;
pub mod progress;
pub mod watch;
pub mod workspace;
pub mod xl;
