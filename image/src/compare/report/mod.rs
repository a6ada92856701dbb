//! What a person is shown of a comparison, as a page, as Markdown, as pictures and in a terminal.
//!
//! | room | what it is |
//! |---|---|
//! | [`view`] | results with their figures, and what every figure carries along |
//! | [`numbers`] | values as a reader reads them |
//! | [`chart`], [`charts`] | how charts are drawn, and which there are |
//! | [`tables`], [`lead`], [`sections`] | the tables, what stands first, and what is said in which order |
//! | [`document`] | a report before it has a form |
//! | [`html`], [`markdown`], [`svg`], [`palette`] | its forms |
//! | [`summary`] | the same in a few lines |
//! | [`files`] | the rim: the files of a report |
//! | [`room`] | room on the disk for them |
//! | [`command`] | options of `grantflow compare` about reports |

pub mod chart;
pub mod charts;
pub mod command;
pub mod document;
pub mod files;
pub mod html;
pub mod lead;
pub mod markdown;
pub mod numbers;
pub mod palette;
pub mod room;
pub mod sections;
pub mod summary;
pub mod svg;
pub mod tables;
pub mod view;

pub use files::{WriteError, write, write_against, write_docs};

#[cfg(test)]
mod tests;
