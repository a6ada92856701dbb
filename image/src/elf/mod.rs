//! An image as an ELF file: read, judged, stripped.
//!
//! * [`read`] turns the bytes into a plain [`Image`]; all that follows is data in, data out.
//! * [`layout`], [`notes`] and [`red_zone`] look for what would not boot, or boot and break, [`network`] for what nobody asked
//!   for; [`report`] gathers it.
//! * [`strip()`] makes the file that Xen loads.

pub mod layout;
pub mod network;
pub mod notes;
pub mod read;
pub mod red_zone;
pub mod report;
pub mod strip;

pub use read::{Image, ReadError};
pub use report::{Report, Sizes};
pub use strip::strip;
