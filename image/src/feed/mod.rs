//! `grantflow feed`: readings of this machine into an input edge of a stage.
//!
//! * [`command`] is the command line; [`run`] brings a source and an edge together, and counts.
//! * [`source`] are the places that readings come from: [`bytes`] that are read in [`lines`], of a pipe, a file that grows or a
//!   serial port; and [`sensors`], which are asked.
//! * [`mod@format`] is what a line says: [`mod@csv`], [`senml`] or a number.
//! * [`edge`] writes to one reader after the other, over any rendezvous of vchan; [`target`] finds who that is.
//! * [`stop`] is Ctrl-C.

pub mod bytes;
pub mod command;
pub mod csv;
pub mod edge;
pub mod format;
pub mod lines;
pub mod run;
pub mod senml;
pub mod sensors;
pub mod source;
pub mod stop;
pub mod target;
