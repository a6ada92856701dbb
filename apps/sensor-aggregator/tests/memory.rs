//! What the functions take from the heap: little, and nothing for each reading.
#![expect(unsafe_code, reason = "a global allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use embedded_io_async::Read as _;
use futures_util::future::join3;
use sensor_aggregator::{Aggregator, Sensor};
use stage::counters::Counters;
use stage::runner::run;
use stage::testing::{MemoryHost, Network};
use stage::{Plan, Stage};

const WEATHER: &[u8] = include_bytes!("../../../data/seattle-weather-hourly-normals.csv");

#[derive(Clone, Copy)]
struct Use {
    allocations: u64,
    bytes: usize,
    peak: usize,
}

thread_local! {
    static USE: Cell<Use> = const { Cell::new(Use { allocations: 0, bytes: 0, peak: 0 }) };
}

struct Counting;

// SAFETY: every call is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut used = USE.get();
        used.allocations += 1;
        used.bytes += layout.size();
        used.peak = used.peak.max(used.bytes);
        USE.set(used);
        // SAFETY: the caller's promise about `layout` is the one that is asked for here.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let mut used = USE.get();
        used.bytes = used.bytes.saturating_sub(layout.size());
        USE.set(used);
        // SAFETY: `alloc` got the pointer from the same allocator with the same layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `work` took: how many allocations, and the most bytes at once.
fn measure<T>(work: impl FnOnce() -> T) -> (T, u64, usize) {
    let before = USE.get();
    USE.set(Use {
        peak: before.bytes,
        ..before
    });
    let value = work();
    let after = USE.get();
    (
        value,
        after.allocations - before.allocations,
        after.peak - before.bytes,
    )
}

async fn stage<S: Stage>(host: &MemoryHost, command: &str, module: &'static [u8]) -> Counters {
    let plan = Plan::new::<S>(command.as_bytes(), module).unwrap();
    run::<S, _>(&plan, host).await.unwrap()
}

/// A signal of this many readings through the aggregator to a reader.
fn pipeline(readings: u32) -> Counters {
    let network = Network::new();
    let hosts = [(); 2].map(|()| MemoryHost::new(&network));
    let sensor = format!("out.a=1 signal=walk every=1ms count={readings}");
    let reader = async {
        let mut reader = network.open_input("b", 2048).await;
        while reader.read(&mut [0; 512]).await.unwrap() > 0 {}
    };
    let stages = join3(
        stage::<Sensor>(&hosts[0], &sensor, b""),
        stage::<Aggregator>(&hosts[1], "in.a=2 out.b=3", b""),
        reader,
    );
    let (_, aggregator, ()) = network.block_on(stages).unwrap();
    aggregator
}

#[test]
fn no_reading_allocates() {
    let _ = pipeline(2_000);
    let (few, allocations_of_few, _) = measure(|| pipeline(10_000));
    let (many, allocations_of_many, _) = measure(|| pipeline(200_000));
    assert_eq!((few.stage.used, many.stage.used), (10_000, 200_000));
    assert_eq!(allocations_of_many, allocations_of_few);
}

#[test]
fn a_sensor_needs_little_whatever_the_length_of_its_file() {
    let sensor = || {
        let network = Network::new();
        let host = MemoryHost::new(&network);
        let reader = async {
            let mut reader = network.open_input("a", 4096).await;
            while reader.read(&mut [0; 512]).await.unwrap() > 0 {}
        };
        let command = "out.a=1,ring=4K";
        let stages = futures_util::future::join(stage::<Sensor>(&host, command, WEATHER), reader);
        network.block_on(stages).unwrap().0
    };
    let (counters, _, peak) = measure(sensor);
    assert_eq!(counters.stage.used, 3 * 8_759);
    // The ring in memory, which on Xen is not the sensor's, is 4 KiB of it.
    assert!(peak < 24 << 10, "{peak} bytes");
}
