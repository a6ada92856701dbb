//! How long it takes until a stage that is created has something to say.

use std::time::{Duration, Instant};

use vchan_linux::xen::Hypervisor;

use super::life::Life;
use super::reader::Reader;
use super::sensors::{COUNT, NAME, Sensor};
use super::site::{Site, Trouble};
use crate::compare::catalogue::Contestant;

/// Seconds on dom0's clock from before `xl create` is started until the reader, which waits already, has the first record.
pub fn from_create(
    life: &mut Life,
    site: &mut Site<'_>,
    contestant: Contestant,
) -> Result<f64, Trouble> {
    let sensor = Sensor::new(contestant);
    let took = life.with_sensor(site, |life, site| {
        let config = sensor.config(site)?;
        let (path, _) = site.configure(config)?;
        let mut reader = sensor.reader(u64::MAX)?;
        let begun = Instant::now();
        site.start(&path)?;
        first_since(begun, &mut reader, contestant, life, site)
    })?;
    Ok(took.as_secs_f64())
}

/// The same from the domain's first instruction: it is created paused and let go by a hypercall, which the clock starts before.
pub fn from_entry(
    life: &mut Life,
    site: &mut Site<'_>,
    contestant: Contestant,
) -> Result<f64, Trouble> {
    let sensor = Sensor::new(contestant);
    let took = life.with_sensor(site, |life, site| {
        let mut hypervisor = Hypervisor::open().map_err(|error| {
            Trouble::new(format_args!(
                "Xen does not answer this program, whose clock would count the start of `xl unpause` too: {error}"
            ))
        })?;
        let config = sensor.config(site)?;
        let mut reader = sensor.reader(u64::MAX)?;
        let id = site.create_paused(config)?;
        reader.ready(site, NAME)?;
        let begun = Instant::now();
        hypervisor
            .unpause(id.0)
            .map_err(|error| Trouble::new(format_args!("cannot let {id} go: {error}")))?;
        first_since(begun, &mut reader, contestant, life, site)
    })?;
    Ok(took.as_secs_f64())
}

/// How long after `begun` the first record came, once all of them are seen to be right.
fn first_since(
    begun: Instant,
    reader: &mut Reader,
    contestant: Contestant,
    life: &mut Life,
    site: &Site<'_>,
) -> Result<Duration, Trouble> {
    let first = reader.first(site, NAME, site.patience)?;
    life.agree_on_sensor(contestant, &reader.all(site, NAME, site.patience)?)?;
    Ok(first - begun)
}

/// Creates the sensor and has it do its work; how long all of it took.
pub fn works(
    life: &mut Life,
    site: &mut Site<'_>,
    sensor: Sensor,
    patience: Duration,
) -> Result<Duration, Trouble> {
    let begun = Instant::now();
    life.with_sensor(site, |life, site| {
        let config = sensor.config(site)?;
        let mut reader = sensor.reader(COUNT)?;
        site.create(config)?;
        let received = reader.all(site, NAME, patience)?;
        life.agree_on_sensor(sensor.contestant, &received)?;
        Ok(begun.elapsed())
    })
}
