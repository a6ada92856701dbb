//! The least memory with which a sensor does its work, to the last reading.

use std::time::Duration;

use super::bisect::least;
use super::boot;
use super::life::Life;
use super::sensors::{Sensor, is_linux};
use super::site::{Site, Trouble};
use crate::compare::catalogue::Contestant;

/// MiB within which the least is looked for; the first is not tried.
const UNIKERNEL: (u32, u32) = (0, 8);
const LINUX: (u32, u32) = (16, 128);

/// How exactly it is looked for with `--quick` in a Linux guest, which takes seconds to boot.
const QUICK_STEP: u32 = 4;

/// A try may take so many times what the first one took, with the most memory: one that never comes up does not end by itself.
const SLOWER: u32 = 3;

/// MiB.
pub fn of_sensor(
    life: &mut Life,
    site: &mut Site<'_>,
    contestant: Contestant,
) -> Result<u32, Trouble> {
    let (range, step) = match (is_linux(contestant), life.is_quick()) {
        (false, _) => (UNIKERNEL, 1),
        (true, false) => (LINUX, 1),
        (true, true) => (LINUX, QUICK_STEP),
    };
    let mut patience = site.patience;
    let mut why = String::new();
    let found = least(range, step, |memory| {
        let sensor = Sensor {
            memory,
            ..Sensor::new(contestant)
        };
        match boot::works(life, site, sensor, patience) {
            Ok(took) => {
                patience = patience.min(took * SLOWER + Duration::from_secs(1));
                Ok(true)
            }
            Err(Trouble::Stopped) => Err(Trouble::Stopped),
            Err(Trouble::Failed(reason)) => {
                why = reason;
                Ok(false)
            }
        }
    })?;
    found.ok_or_else(|| Trouble::new(format_args!("not even with {} MiB: {why}", range.1)))
}
