//! A pipeline as its file says it: stages, the edges between them, and what they share.
//!
//! [`read()`] turns the text of a TOML file into a [`Pipeline`], or into every [`Problem`] of it at once; [`check()`] holds a
//! pipeline against the images it names. What a file may hold stands once, in [`keys`], for reading and for all that
//! describes the file. Pure, all of it.

pub mod check;
pub mod keys;
pub mod model;
pub mod problem;
pub mod read;
mod similar;

pub use check::{Catalogue, check};
pub use model::{Edge, End, Pipeline, Restart, Stage};
pub use problem::{Problem, Source};
pub use read::read;
