//! How soon a reader has the next record after its stage was destroyed, where the stage is created again at once.

use std::time::Instant;

use super::life::Life;
use super::sensors::{NAME, Sensor};
use super::site::{Site, Trouble};
use crate::compare::catalogue::Contestant;

/// Seconds from before `xl destroy` is started.
pub fn of_sensor(
    life: &mut Life,
    site: &mut Site<'_>,
    contestant: Contestant,
) -> Result<f64, Trouble> {
    let sensor = Sensor {
        is_endless: true,
        ..Sensor::new(contestant)
    };
    life.with_sensor(site, |_, site| {
        let config = sensor.config(site)?;
        let (path, full) = site.configure(config)?;
        let mut before = sensor.reader(u64::MAX)?;
        site.start(&path)?;
        before.first(site, NAME, site.patience)?;
        let domain = site.domain(NAME)?;
        let domain = domain.ok_or_else(|| Trouble::new(format_args!("{full} is gone")))?;
        // The next reader waits already, and what the first one takes to let go of its channel is not waited for.
        let mut after = sensor.reader(u64::MAX)?;
        let begun = Instant::now();
        site.xl().destroy(domain.id)?;
        site.start(&path)?;
        let next = after.first(site, NAME, site.patience)?;
        drop(before);
        Ok((next - begun).as_secs_f64())
    })
}
