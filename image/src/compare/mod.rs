//! The same work on unikernels and on Linux guests, in one run, in one report.
//!
//! | room | what it is |
//! |---|---|
//! | [`catalogue`] | who is compared, and by what |
//! | [`results`] | what came of it: the document `results.json` |

pub mod catalogue;
pub mod results;
