//! The same work on unikernels and on Linux guests, in one run, in one report.
//!
//! | room | what it is |
//! |---|---|
//! | [`catalogue`] | who is compared, and by what |
//! | [`ways`] | by which of their settings |
//! | [`results`] | what came of it: the document `results.json` |
//! | [`stats`] | medians, spread, and what is beyond the noise |
//! | [`figures`] | samples by what they are of; the best of a contestant's settings |
//! | [`goals`] | what is to be reached |
//! | [`schema`] | the document's JSON Schema |
//! | [`read`] | a file that says it is such a document |
//! | [`against`] | two documents: what became better or worse |
//! | [`report`] | pages, charts and tables of one |
//! | [`plan`] | what is tried in which order |
//! | [`course`] | how far it is, and how long it may still take |
//! | [`gather`] | events become the document |
//! | [`told`] | events, as a person sees them |
//! | [`load`] | how busy the host is with other things |
//! | [`guest`] | the files of the Linux guests, made of what is at hand |
//! | [`on_xen`] | a comparison in a dom0 |
//! | [`in_lab`] | one in the lab: the same program, in the dom0 of a Xen that is booted for it |
//! | [`native`] | the part without Xen |
//! | [`command`] | `grantflow compare` |

pub mod against;
pub mod catalogue;
pub mod command;
pub mod course;
pub mod figures;
pub mod gather;
pub mod goals;
pub mod guest;
pub mod in_lab;
pub mod load;
pub mod native;
pub mod on_xen;
pub mod plan;
pub mod read;
pub mod report;
pub mod results;
pub mod schema;
#[cfg(test)]
mod small_disk;
pub mod stats;
#[cfg(test)]
mod testing;
pub mod told;
pub mod ways;
