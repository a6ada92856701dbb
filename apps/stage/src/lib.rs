//! What a sensing function is made of.
//!
//! A function is a type that implements [`Stage`]: it reads [`Reading`]s from input edges, or makes
//! them, and emits others. Everything around it stands in one room each:
//!
//! * [`function`]: the [`Stage`] trait and what it is given;
//! * [`senml`]: records on the wire (RFC 8428), [`time`]: their stamps;
//! * [`params`] and [`module`]: what a stage is told at boot; [`plan`] checks both before anything runs;
//! * [`runner`]: drives a stage over any [`runner::Host`], with back-pressure, gaps and an orderly end;
//! * [`boot`], [`counters`] and [`state`]: what a stage says about itself while it runs;
//! * [`decimal`]: floats as text, exactly;
//! * [`window`]: windows in event time and percentiles; [`note`]: the ELF note an image carries;
//! * `testing` (feature `testing`): a host in memory, to run whole pipelines in a test.
//!
//! Nothing here knows a platform, and nothing here is unsafe.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod boot;
pub mod counters;
pub mod decimal;
pub mod function;
pub mod module;
pub mod note;
pub mod params;
pub mod plan;
pub mod runner;
pub mod senml;
pub mod state;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod time;
pub mod window;

pub use function::{DropCause, Next, Outputs, Setup, Stage, Verdict};
pub use params::{Direction, Edge, EdgeKind, EdgeName, Kind, Parameter, Params, Peer};
pub use plan::{Plan, SetupError};
pub use senml::{Reading, Value};
pub use time::Timestamp;
