//! How many guests of a kind the machine holds.

use vchan_linux::xen::Hypervisor;

use super::life::Life;
use super::sensors::{NAME, Sensor, is_linux};
use super::site::{Site, Trouble};
use crate::compare::catalogue::Contestant;

/// Domain ids that there are beside dom0's (`DOMID_FIRST_RESERVED`, xen/include/public/xen.h).
const DOMAIN_IDS: u64 = 32_751;

/// How many are created to see what one takes; they are left paused.
const UNIKERNELS: u32 = 8;
const LINUX_GUESTS: u32 = 2;

const KIB_OF_PAGE: u64 = 4;

/// As many as Xen's free memory holds, each with the least memory that its sensor works with and what Xen keeps for it beside; and
/// no more than there are numbers of domains.
pub fn in_machine(
    life: &mut Life,
    site: &mut Site<'_>,
    contestant: Contestant,
) -> Result<u64, Trouble> {
    let memory = life.least_memory(site, contestant)?;
    let count = match is_linux(contestant) {
        true => LINUX_GUESTS,
        false => UNIKERNELS,
    };
    let sensor = Sensor {
        memory,
        ..Sensor::new(contestant)
    };
    let names: Vec<String> = (1..=count)
        .map(|number| format!("{NAME}-{number}"))
        .collect();
    let before = free_kib(site)?;
    let created = names.iter().try_for_each(|name| {
        let mut config = sensor.config(site)?;
        config.name = Site::full_name(name);
        site.create_paused(config).map(drop)
    });
    let after = free_kib(site);
    let destroyed = names.iter().try_for_each(|name| site.destroy(name));
    created.and(destroyed)?;
    guests(before, after?, u64::from(count))
        .ok_or_else(|| Trouble::new("guests were created and Xen has no less memory free"))
}

/// KiB that no domain has: in pages where Xen answers, else in whole MiB.
fn free_kib(site: &Site<'_>) -> Result<u64, Trouble> {
    let told = Hypervisor::open().and_then(|mut xen| xen.physinfo());
    match told {
        Ok(told) => Ok(told.free_pages.saturating_sub(told.outstanding_pages) * KIB_OF_PAGE),
        Err(_) => Ok(site.xl().info()?.free_mib << 10),
    }
}

/// How many fit into what was free before some of them were created.
fn guests(before_kib: u64, after_kib: u64, created: u64) -> Option<u64> {
    let taken = before_kib
        .checked_sub(after_kib)
        .filter(|taken| *taken > 0)?;
    Some((before_kib * created / taken).min(DOMAIN_IDS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_memory_holds_so_many_of_what_each_took_and_ids_bound_them() {
        // 3,540 MiB, of which eight took 1.08 MiB each.
        let mib = 1 << 10;
        assert_eq!(guests(3_540 * mib, 3_540 * mib - 8_847, 8), Some(3_277));
        assert_eq!(guests(1 << 40, (1 << 40) - 1, 1), Some(DOMAIN_IDS));
        assert_eq!(guests(100, 100, 2), None);
        assert_eq!(guests(100, 101, 2), None);
    }
}
