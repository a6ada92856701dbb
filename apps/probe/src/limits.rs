//! Uses things up, until an error says so; gives them back; and shows that they can be had again.

use alloc::collections::TryReserveError;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use unikernel::events::Port;
use unikernel::grants::Granted;
use unikernel::memory::heap_stats;

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

/// Allocates as programs do that do not ask whether there is memory.
pub fn allocate_for_ever() -> ! {
    let mut blocks = Vec::new();
    loop {
        blocks.push(Vec::<u8>::with_capacity(4096));
    }
}

/// Grants pages until an error, twice.
pub async fn grants(report: &Report, pages: usize) -> Result<(), String> {
    for key in ["grants", "grants-again"] {
        let (held, error) = until_error(pages, || Granted::new(DOM0, 1));
        let count = held.len();
        drop(held);
        report
            .say(key, format!("{count} pages, then: {error}"))
            .await;
    }
    Ok(())
}

/// Allocates ports until an error, twice.
pub async fn ports(report: &Report) -> Result<(), String> {
    for key in ["ports", "ports-again"] {
        let (held, error) = until_error(4096, || Port::alloc_unbound(DOM0));
        let count = held.len();
        drop(held);
        report
            .say(key, format!("{count} ports, then: {error}"))
            .await;
    }
    Ok(())
}

/// Makes things until one cannot be made; `room` is how many there can be at most.
fn until_error<T, E>(room: usize, mut make: impl FnMut() -> Result<T, E>) -> (Vec<T>, E) {
    let mut held = Vec::with_capacity(room);
    loop {
        match make() {
            Ok(one) => held.push(one),
            Err(error) => return (held, error),
        }
    }
}
