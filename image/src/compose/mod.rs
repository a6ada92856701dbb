//! The commands around a pipeline's file.
//!
//! [`load`] brings the file and the images together; each command is a file of its own, named as it is.

pub mod check;
pub mod graph;
pub mod load;
pub mod plan;
pub mod schema;
