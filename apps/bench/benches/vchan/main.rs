//! vchan between two threads, each on a CPU of its own, beside unmodified libxenvchan and `memcpy` between the same two.
//!
//! Each round runs every cell of the table once, so that what else the machine does falls on all of them alike; a cell
//! shows the median of the rounds and, in brackets, the best and the quartiles. `ROUNDS` and `CPUS=0,1` may be set.

mod contestants;
mod copies;
mod libxenvchan;

use std::env;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use contestants::{CONTESTANTS, Sample};

/// What a contestant is asked to carry.
#[derive(Clone, Copy)]
enum Load {
    /// Messages of so many bytes one way, as fast as they go.
    Stream(usize),
    /// A message of so many bytes, and as many back.
    RoundTrip(usize),
}

impl Load {
    const ALL: [Load; 5] = [
        Load::Stream(64),
        Load::Stream(1 << 10),
        Load::Stream(16 << 10),
        Load::Stream(64 << 10),
        Load::RoundTrip(64),
    ];

    /// Messages in one round: some milliseconds' worth.
    fn count(self) -> usize {
        match self {
            Load::Stream(size) => ((64 << 20) / (size + 1024)).min(40_000),
            Load::RoundTrip(_) => 4_000,
        }
    }

    fn name(self) -> String {
        let size = |bytes| match bytes {
            1024.. => format!("{} KiB", bytes / 1024),
            _ => format!("{bytes} B"),
        };
        match self {
            Load::Stream(bytes) => format!("{} stream", size(bytes)),
            Load::RoundTrip(bytes) => format!("{} round trip", size(bytes)),
        }
    }
}

/// Runs both at once, each on its CPU, from the same moment on; how long until the second is done.
fn race<A: Send, B: Send>(
    first: impl FnOnce() -> A + Send,
    second: impl FnOnce() -> B + Send,
) -> Duration {
    let cpus = cpus();
    let there = AtomicUsize::new(0);
    let meet = |cpu| {
        pin(cpu);
        there.fetch_add(1, Ordering::AcqRel);
        while there.load(Ordering::Acquire) < 2 {
            std::hint::spin_loop();
        }
        Instant::now()
    };
    thread::scope(|scope| {
        let second = scope.spawn(|| {
            meet(cpus[1]);
            let kept = second();
            // What is left is dropped when both have ended, since dropping closes.
            (Instant::now(), kept)
        });
        let first = scope.spawn(|| {
            let start = meet(cpus[0]);
            (start, first())
        });
        let ((start, _first), (end, _second)) = (first.join().unwrap(), second.join().unwrap());
        end.saturating_duration_since(start)
    })
}

fn pin(cpu: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(cpu);
    rustix::thread::sched_setaffinity(None, &set).expect("the CPU can be chosen");
}

fn cpus() -> [usize; 2] {
    let Ok(text) = env::var("CPUS") else {
        return [0, 1];
    };
    let cpus: Vec<usize> = text
        .split(',')
        .map(|cpu| cpu.parse().expect("CPUS=0,1"))
        .collect();
    cpus.try_into().expect("CPUS names two")
}

/// Where the ends of a channel between processes meet. It must be there, and is the same for all of them.
fn folder() -> PathBuf {
    env::temp_dir().join(format!("vchan-bench-{}", std::process::id()))
}

/// Lower quartile, median and upper quartile.
fn quartiles(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| values[(values.len() - 1) * quarter / 4])
}

fn describe() {
    let line = |path: &str, name: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let found = text.lines().find(|line| line.starts_with(name));
        found
            .and_then(|line| line.split_once(": "))
            .map_or(String::from("?"), |(_, value)| value.to_string())
    };
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!(
        "CPUs {:?} of {} ({}), load {}; rings of 64 KiB",
        cpus(),
        thread::available_parallelism().map_or(1, usize::from),
        line("/proc/cpuinfo", "model name"),
        load.split(' ').next().unwrap_or("?"),
    );
}

fn main() {
    let rounds: usize =
        env::var("ROUNDS").map_or(21, |rounds| rounds.parse().expect("ROUNDS is a number"));
    describe();
    fs::DirBuilder::new()
        .mode(0o700)
        .create(folder())
        .expect("a new folder");
    let mut samples: Vec<Vec<Vec<Sample>>> = Load::ALL
        .map(|_| CONTESTANTS.map(|_| Vec::new()).into())
        .into();
    for _ in 0..rounds {
        for (load, row) in Load::ALL.into_iter().zip(&mut samples) {
            for (contestant, cell) in CONTESTANTS.iter().zip(row) {
                cell.extend((contestant.run)(load, load.count()));
            }
        }
    }
    fs::remove_dir_all(folder()).expect("our own folder");
    println!(
        "nanoseconds a message, median of {rounds} rounds (best; quartiles); events sent by both ends per 1,000 messages"
    );
    for (load, row) in Load::ALL.into_iter().zip(samples) {
        println!("\n{}", load.name());
        for (contestant, cell) in CONTESTANTS.iter().zip(row) {
            if cell.is_empty() {
                continue;
            }
            let nanos: Vec<f64> = cell.iter().map(|sample| sample.nanos).collect();
            let best = nanos.iter().copied().fold(f64::INFINITY, f64::min);
            let [low, middle, high] = quartiles(nanos);
            let events = quartiles(cell.iter().map(|sample| sample.events).collect())[1];
            let rate = match load {
                Load::Stream(size) => format!("{:7.2} GB/s", size as f64 / middle),
                Load::RoundTrip(_) => String::new(),
            };
            println!(
                "  {:34} {middle:9.1} ({best:.1}; {low:.1} to {high:.1}) {rate} {events:8.2} events",
                contestant.name
            );
        }
    }
}
