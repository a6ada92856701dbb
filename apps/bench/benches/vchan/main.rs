//! vchan between two threads, each on a CPU of its own, beside unmodified libxenvchan and `memcpy` between the same two.
//!
//! Each round runs every cell of the table once, so that what else the machine does falls on all of them alike; a cell
//! shows the median of the rounds and, in brackets, the best and the quartiles. [`HELP`] says what may be set.

mod contestants;
mod copies;
mod libxenvchan;
mod lines;

use std::env;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use contestants::{CONTESTANTS, Sample};

const HELP: &str = "\
vchan between two threads of this machine, each on a CPU of its own, beside unmodified libxenvchan
and memcpy between the same two

Usage: cargo bench -p bench --bench vchan [-- --json]

Without an option it prints a table: nanoseconds a message, medians of all rounds. With --json it
prints every figure of every round as it comes, an object a line, and the machine on standard error:

  {\"contestant\":\"vchan-packet\",\"measure\":\"throughput\",\"size\":64,\"round\":1,\"value\":1.5e9,\"unit\":\"bytes/s\"}

  contestant  vchan-polling, vchan-polling-batched: try_write and try_read;
              vchan-stream: write and read, which sleep; vchan-packet: try_send and try_recv;
              vchan-zerocopy: try_reserve and try_peek; libxenvchan-polling, libxenvchan: its
              calls that sleep; memcpy: in and out again, what any channel can reach
  measure     throughput, in bytes/s, of messages of size bytes one way, and events, what both ends
              sent for 1000 of them; rtt-mean, in ns, of a round's round trips, rtt-p50, what half
              of them stayed below, and rtt-events, for 1000 of them

  ROUNDS=21   how many rounds
  CPUS=0,1    which two CPUs

libxenvchan is left out, and said to be, where its archive (libxen-dev) or gcc is not installed.
";

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

fn describe() -> String {
    let line = |path: &str, name: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let found = text.lines().find(|line| line.starts_with(name));
        found
            .and_then(|line| line.split_once(": "))
            .map_or(String::from("?"), |(_, value)| value.to_string())
    };
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!(
        "CPUs {:?} of {} ({}), load {}; rings of 64 KiB",
        cpus(),
        thread::available_parallelism().map_or(1, usize::from),
        line("/proc/cpuinfo", "model name"),
        load.split(' ').next().unwrap_or("?"),
    )
}

fn main() -> ExitCode {
    let mut json = false;
    for word in env::args().skip(1) {
        match word.as_str() {
            "--json" => json = true,
            "-h" | "--help" => {
                print!("{HELP}");
                return ExitCode::SUCCESS;
            }
            // Cargo's own.
            "--bench" => {}
            other => {
                eprintln!("error: {}: no option; see --help", other.escape_debug());
                return ExitCode::from(2);
            }
        }
    }
    let rounds: usize =
        env::var("ROUNDS").map_or(21, |rounds| rounds.parse().expect("ROUNDS is a number"));
    if json {
        eprintln!("{}", describe());
    } else {
        println!("{}", describe());
    }
    fs::DirBuilder::new()
        .mode(0o700)
        .create(folder())
        .expect("a new folder");
    let mut samples: Vec<Vec<Vec<Sample>>> = Load::ALL
        .map(|_| CONTESTANTS.map(|_| Vec::new()).into())
        .into();
    for round in 1..=rounds {
        for (load, row) in Load::ALL.into_iter().zip(&mut samples) {
            for (contestant, cell) in CONTESTANTS.iter().zip(row) {
                let sample = (contestant.run)(load, load.count());
                for line in sample.iter().flat_map(|sample| lines::of(load, sample)) {
                    if json {
                        println!("{}", line.text(contestant.id, round));
                    }
                }
                cell.extend(sample);
            }
        }
    }
    fs::remove_dir_all(folder()).expect("our own folder");
    if !json {
        table(rounds, samples);
    }
    ExitCode::SUCCESS
}

fn table(rounds: usize, samples: Vec<Vec<Vec<Sample>>>) {
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
