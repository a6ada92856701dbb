//! The first pipeline on recorded data: two sensors, an aggregator and the way out, every result checked.
//!
//! ```text
//! water-flow.csv -> sensor ----+                              over TCP/IP
//!                              +-> aggregator -> gateway -> an MQTT broker -> a subscriber: verified here
//! weather.csv ----> sensor ----+       |
//!                                      +-> or vchan-socket-proxy in dom0: verified here
//! ```
//!
//! Each arrow between stages is a vchan. The far end is always a program of Debian that knows nothing of this project.
//!
//! Pure rooms: [`stages`] is the pipeline as data, [`recompute`] makes every window from the recordings by separate
//! means, [`results`] reads those that arrived over vchan and [`messages`] those that a broker delivered, [`gathered`] puts
//! them together, [`verify`] compares them, [`figures`] and [`published`] check that no reading is unaccounted for,
//! [`report`] says it all. Rims: [`reader`] (the foreign program), [`sink`] (it, or the subscriber of a broker), [`guests`]
//! (the domains as dom0 sees them), [`on_xen`] (a run in a dom0) and [`in_lab`] (the same in a dom0 under
//! QEMU). [`args`] checks the command line before anything boots.

pub mod args;
pub mod command;
pub mod error;
pub mod figures;
pub mod gathered;
pub mod guests;
pub mod in_lab;
pub mod messages;
pub mod on_xen;
pub mod published;
pub mod reader;
pub mod recompute;
pub mod report;
pub mod results;
pub mod sink;
pub mod stages;
pub mod verify;

pub use args::Args;
pub use command::run;
pub use error::DemoError;
