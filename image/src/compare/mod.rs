//! The same work on unikernels and on Linux guests, in one run, in one report.
//!
//! | room | what it is |
//! |---|---|
//! | [`catalogue`] | who is compared, and by what |
//! | [`results`] | what came of it: the document `results.json` |
//! | [`stats`] | medians, spread, and what is beyond the noise |
//! | [`figures`] | samples by what they are of; the best of a contestant's settings |
//! | [`goals`] | what is to be reached |
//! | [`schema`] | the document's JSON Schema |
//! | [`read`] | a file that says it is such a document |
//! | [`against`] | two documents: what became better or worse |
//! | [`report`] | pages, charts and tables of one |

pub mod against;
pub mod catalogue;
pub mod figures;
pub mod goals;
pub mod read;
pub mod report;
pub mod results;
pub mod schema;
pub mod stats;
#[cfg(test)]
mod testing;
