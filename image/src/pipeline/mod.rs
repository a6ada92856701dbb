//! A pipeline as its file says it: stages, the edges between them, and what they share.
//!
//! [`read()`] turns the text of a TOML file into a [`Pipeline`], or into every [`Problem`] of it at once; [`check()`] holds a
//! pipeline against the images it names. What a file may hold stands once, in [`keys`], for reading and for the JSON
//! Schema ([`schema()`]). [`graph`] draws it, [`hosts`] takes it apart where it runs on several. Pure, all of it.

pub mod check;
pub mod graph;
pub mod hosts;
pub mod keys;
pub mod model;
pub mod problem;
pub mod read;
pub mod schema;
mod similar;
#[cfg(test)]
pub(crate) mod testing;

pub use check::{Catalogue, check};
pub use model::{Edge, End, Pipeline, Restart, Stage};
pub use problem::{Problem, Source};
pub use read::read;
pub use schema::schema;
