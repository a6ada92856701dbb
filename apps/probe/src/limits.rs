//! Uses things up, until an error says so; gives them back; and shows that they can be had again.

use alloc::collections::TryReserveError;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use unikernel::events::Port;
use unikernel::grants::{Granted, Mapped, release_quarantined};
use unikernel::memory::heap_stats;
use unikernel::time;

use crate::Report;

/// Whom grants and ports are for: dom0, which never takes them.
const DOM0: u16 = 0;

/// Uses up the heap, down to its smallest blocks, twice.
pub async fn heap(report: &Report, pages: usize) -> Result<(), String> {
    let (first, error) = fill_the_heap(pages);
    // Without a byte of heap left a line still goes out.
    log::info!("the heap is full");
    drop(first.blocks);
    report
        .say("heap", format!("{} bytes, then: {error}", first.bytes))
        .await;
    let (second, error) = fill_the_heap(pages);
    drop(second.blocks);
    report
        .say(
            "heap-again",
            format!("{} bytes, then: {error}", second.bytes),
        )
        .await;
    report.say("heap-used", heap_stats().used).await;
    Ok(())
}

/// Takes an event, sleeps, gives pages up and lets go of a peer's while the heap is full. The peer is this domain.
pub async fn scarce(report: &Report, pages: usize) -> Result<(), String> {
    let domid = report.store().read("domid").await;
    let domid = domid.map_err(|error| format!("domid: {error}"))?;
    let own = core::str::from_utf8(&domid)
        .ok()
        .and_then(|id| id.parse().ok())
        .ok_or("domid: no number")?;
    let granted = Granted::new(own, 3).map_err(|error| error.to_string())?;
    let references = [0, 1, 2].map(|page| granted.reference(page));
    let mapped = Mapped::new(own, &references, true).map_err(|error| error.to_string())?;
    granted.shared().write(5000, b"seen through the mapping");
    let mut seen = [0; 24];
    mapped.shared().read(5000, &mut seen);
    let port = Port::alloc_unbound(own).map_err(|error| error.to_string())?;
    let other = Port::bind_interdomain(own, port.number()).map_err(|error| error.to_string())?;
    let moment = Duration::from_millis(1);
    // The first sleep makes the list of sleepers.
    time::sleep_until(time::now() + moment).await;

    let (hoard, _) = fill_the_heap(pages);
    let events = port.event_count();
    other.notify();
    port.wait(events).await;
    time::sleep_until(time::now() + moment).await;
    drop(granted);
    let kept = release_quarantined();
    drop(mapped);
    let left = release_quarantined();
    drop(hoard);
    let seen = core::str::from_utf8(&seen).unwrap_or_default();
    report
        .say("scarce", format!("{seen}: {kept} pages kept, then {left}"))
        .await;
    Ok(())
}

struct Hoard {
    blocks: Vec<Vec<u8>>,
    bytes: usize,
}

fn fill_the_heap(pages: usize) -> (Hoard, TryReserveError) {
    let mut hoard = Hoard {
        blocks: Vec::new(),
        bytes: 0,
    };
    let mut outcome = hoard.blocks.try_reserve_exact(4 * pages);
    for size in [4096, 1024, 256, 64, 16] {
        while outcome.is_ok() {
            outcome = hoard.take(size);
        }
        if size > 16 {
            outcome = Ok(());
        }
    }
    match outcome {
        Err(error) => (hoard, error),
        Ok(()) => unreachable!("the loop ends with an error"),
    }
}

impl Hoard {
    fn take(&mut self, size: usize) -> Result<(), TryReserveError> {
        let mut block = Vec::new();
        block.try_reserve_exact(size)?;
        // The list has room for as many blocks as there can be; where it has not, memory is out as well.
        self.blocks.try_reserve(1)?;
        self.blocks.push(block);
        self.bytes += size;
        Ok(())
    }
}

/// Allocates as programs do that do not ask whether there is memory; here with the list of ports locked, which the domain's
/// last words must not wait for.
pub fn allocate_carelessly(pages: usize) -> ! {
    let hoard = fill_the_heap(pages);
    let port = Port::alloc_unbound(DOM0);
    drop(hoard);
    panic!("{port:?} needed no memory");
}

/// Grants pages until an error, twice.
pub async fn grants(report: &Report, pages: usize) -> Result<(), String> {
    let mut held = Vec::with_capacity(pages);
    for key in ["grants", "grants-again"] {
        let error = until_error(&mut held, || Granted::new(DOM0, 1));
        let count = held.len();
        held.clear();
        report
            .say(key, format!("{count} pages, then: {error}"))
            .await;
    }
    Ok(())
}

/// Allocates ports until an error, twice.
pub async fn ports(report: &Report) -> Result<(), String> {
    let mut held = Vec::with_capacity(4096);
    for key in ["ports", "ports-again"] {
        let error = until_error(&mut held, || Port::alloc_unbound(DOM0));
        let count = held.len();
        held.clear();
        report
            .say(key, format!("{count} ports, then: {error}"))
            .await;
    }
    Ok(())
}

/// Makes things until one cannot be made. They are held where there is room for all there can be: a list that grew, or that was
/// made anew each time, would take memory of its own.
fn until_error<T, E>(held: &mut Vec<T>, mut make: impl FnMut() -> Result<T, E>) -> E {
    loop {
        match make() {
            Ok(one) => held.push(one),
            Err(error) => return error,
        }
    }
}
