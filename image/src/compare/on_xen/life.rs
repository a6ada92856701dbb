//! The life of guests: what is measured of one guest rather than of a pair.

use super::site::{Site, Trouble};
use crate::compare::catalogue::{Contestant, Measure};

/// Takes one figure, in the measure's unit.
pub fn run(_site: &mut Site<'_>, contestant: Contestant, measure: Measure) -> Result<f64, Trouble> {
    Err(Trouble::Failed(format!(
        "{} is not measured of {}",
        measure.id(),
        contestant.id()
    )))
}
