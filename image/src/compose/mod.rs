//! The commands around a pipeline's file.
//!
//! * [`load`] brings the file and the images together; [`check`], [`graph`] and [`schema`] need no more.
//! * [`plan`] is what has to be done, as data, and [`sums`] what it takes of a host; [`record`] what was done, where the next
//!   command finds it.
//! * [`domains`] are found by their identity; [`up`] makes them what the plan says, all or nothing, having heard the
//!   [`first_words`] of each; [`snapshot`] sees how they are and [`status`] tells it, [`logs`] what they print, [`down`] ends
//!   them.
//! * [`render`] writes what would be done as files, for `xl`, libvirt and systemd.
//! * [`supervise`] starts again what has ended, when [`policy`] says.
//! * [`commands`] are the command lines of those, [`in_lab`] runs them in the lab, and [`process`] runs a
//!   pipeline without Xen.

pub mod check;
pub mod commands;
pub mod domains;
pub mod down;
pub mod first_words;
pub mod graph;
pub mod in_lab;
pub mod load;
pub mod logs;
pub mod plan;
pub mod policy;
pub mod process;
pub mod record;
pub mod render;
pub mod schema;
pub mod snapshot;
pub mod status;
pub mod sums;
pub mod supervise;
pub mod up;
