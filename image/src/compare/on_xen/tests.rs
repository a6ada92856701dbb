//! Whole comparisons on a dom0 that is none, with Linux guests that are none.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::site::Part;
use super::*;
use crate::compare::catalogue::{Contestant, Measure};
use crate::compare::plan;
use crate::compare::results::Scope;
use crate::xl::fake::FakeHost;
use crate::xl::{ToolError, Tools};

/// A dom0 whose guests do what they are told, as far as they can.
struct Dom0 {
    host: FakeHost,
    free_mib: u64,
    boots: bool,
    programs: &'static str,
    /// A setting whose bytes come out wrong where they are looked at.
    wrong: &'static str,
    /// A stop is asked for with this order.
    stop_at: usize,
    orders: Cell<usize>,
    stop: AtomicBool,
    /// Domains that are somebody else's.
    foreign: Vec<&'static str>,
    calls: RefCell<Vec<String>>,
    xentrace: Option<PathBuf>,
    bridges: RefCell<BTreeSet<String>>,
    /// A pair streams beside the one that is measured.
    streams: Cell<bool>,
    /// xl.conf keeps guests off the CPUs that they are to have.
    masked: bool,
    /// For so many domains, there is no room for their configurations in this folder, the site's.
    full: Cell<usize>,
    folder: RefCell<PathBuf>,
}

impl Dom0 {
    fn new() -> Self {
        Self {
            host: FakeHost::default(),
            free_mib: 1_000,
            boots: true,
            programs: "vchan-bench libxenvchan-bench tcp-bench udp-bench ethtool ",
            wrong: "none",
            stop_at: usize::MAX,
            orders: Cell::new(0),
            stop: AtomicBool::new(false),
            foreign: Vec::new(),
            calls: RefCell::default(),
            xentrace: None,
            bridges: RefCell::default(),
            streams: Cell::new(false),
            masked: false,
            full: Cell::new(0),
            folder: RefCell::default(),
        }
    }

    /// A guest is about to be made: what is written into its configuration finds no room, or does again.
    fn make_room_or_not(&self) {
        let path = self.folder.borrow().join("gf-compare-linux-server.cfg");
        let _ = std::fs::remove_file(&path);
        if let Some(left) = self.full.get().checked_sub(1) {
            self.full.set(left);
            std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        }
    }

    /// A guest obeys: its status, and the last line that it prints.
    fn obey(&self, command: &str) -> (u32, String) {
        if command.starts_with("for p in") {
            return (0, self.programs.to_owned());
        }
        if command.ends_with("& true") {
            self.streams.set(true);
            return (0, String::new());
        }
        if command.starts_with("killall ") {
            // The server of a pair ends with its client.
            let killed = self.streams.replace(false) || command.ends_with("|| true");
            return (u32::from(!killed), "killall: no process killed".into());
        }
        let value = |key: &str| {
            let mut words = command.split_whitespace();
            let value = words.find_map(|word| word.strip_prefix(key));
            value.unwrap_or_default().to_owned()
        };
        if command.contains("check=on") && command.contains(self.wrong) {
            return (1, "error: byte 7 of the stream is 0x01 and not 0x02".into());
        }
        let trips = r#"{"p50":1000,"p99":2000,"p999":3000,"max":4000}"#;
        let trips = if value("mode=") == "echo" {
            trips
        } else {
            "null"
        };
        let warm_up = value("warm-up=").parse().unwrap_or(0u64);
        let checked = command.contains("check=on");
        let (size, count) = (value("size="), value("count="));
        let answer = format!(
            r#"{{"bench":"x","size":{size},"count":{count},"warm_up":{warm_up},"seconds":0.5,"bytes_per_s":1000,"rtt_ns":{trips},"events_sent":10,"hypercalls":null,"checked":{checked}}}"#
        );
        (0, answer)
    }
}

impl Tools for Dom0 {
    fn run(&self, program: &'static str, arguments: &[&str]) -> Result<Vec<u8>, ToolError> {
        self.calls
            .borrow_mut()
            .push(format!("{program} {}", arguments.join(" ")));
        match (program, arguments) {
            ("ip", ["link", "del", name]) => {
                if !self.bridges.borrow_mut().remove(*name) {
                    panic!("there is no {name} to remove");
                }
                Ok(Vec::new())
            }
            ("ip", ["link", "add", name, "type", "bridge"]) => {
                assert!(self.bridges.borrow_mut().insert((*name).to_owned()));
                Ok(Vec::new())
            }
            ("ip", ["-o", "link", "show", "dev", name]) => {
                if self.bridges.borrow().contains(*name) {
                    return Ok(format!("7: {name}: <BROADCAST,MULTICAST> mtu 1500\n").into_bytes());
                }
                Err(ToolError::Failed {
                    command: format!("ip -o link show dev {name}"),
                    status: "exit status: 1".into(),
                    said: format!("Device \"{name}\" does not exist."),
                })
            }
            ("ip", _) => Ok(Vec::new()),
            ("xl", ["create", .., path]) if self.masked => Err(ToolError::Failed {
                command: format!("xl create -q -e {path}"),
                status: "exit status: 1".into(),
                said: "vcpu hard affinity map is empty".into(),
            }),
            ("xl", ["info"]) => {
                self.make_room_or_not();
                Ok(format!("free_memory : {}\n", self.free_mib).into_bytes())
            }
            ("xenstore-write", ["--", path, order]) if path.ends_with("/data/run") => {
                self.orders.set(self.orders.get() + 1);
                if self.orders.get() >= self.stop_at {
                    self.stop.store(true, Ordering::Relaxed);
                }
                let (number, command) = order.split_once(' ').unwrap();
                if self.boots {
                    let (status, said) = match command {
                        "true" => (0, String::new()),
                        command => self.obey(command),
                    };
                    let base = path.strip_suffix("run").unwrap();
                    let write = |key: &str, value: &str| {
                        (&self.host).run("xenstore-write", &["--", &format!("{base}{key}"), value])
                    };
                    write("said", &said)?;
                    write("ran", &format!("{number} {status}"))?;
                }
                Ok(Vec::new())
            }
            _ => (&self.host).run(program, arguments),
        }
    }
}

/// A kit of which all is in one folder.
fn kit(folder: &Path, cpus: u32, xentrace: Option<PathBuf>) -> Kit {
    Kit {
        images: folder.to_owned(),
        linux: folder.to_owned(),
        scratch: folder.to_owned(),
        cpus,
        xentrace,
    }
}

/// Runs a comparison of pairs; how it ended, and what it told.
fn compare(dom0: &Dom0, only: &[&str]) -> (Result<(), Trouble>, Vec<Event>) {
    // What is measured of one guest meets its reader over Xen's devices.
    compare_by(dom0, true, only, |work| matches!(work, Work::Pair { .. }))
}

/// The same with the steps that are `wanted`.
fn compare_by(
    dom0: &Dom0,
    quick: bool,
    only: &[&str],
    wanted: impl Fn(&Work) -> bool,
) -> (Result<(), Trouble>, Vec<Event>) {
    let scope = Scope {
        quick,
        only: only.iter().map(|&word| word.to_owned()).collect(),
        rounds: 1,
    };
    let mut steps = plan::steps(&scope).unwrap();
    steps.retain(|step| wanted(&step.work));
    let linux = tempfile::tempdir().unwrap();
    for (part, bytes) in [("vmlinuz", 8), ("initramfs", 1), ("sensor.elf", 3)] {
        std::fs::write(linux.path().join(part), vec![0; bytes]).unwrap();
    }
    let kit = kit(linux.path(), 2, dom0.xentrace.clone());
    let mut events = Vec::new();
    let mut listener = |event| events.push(event);
    let mut site = Site::new((dom0, dom0), &dom0.stop, kit, &mut listener).unwrap();
    site.patience = Duration::from_millis(60);
    *dom0.folder.borrow_mut() = site.folder().to_owned();
    let ended = run(&steps, quick, &mut site);
    drop(site);
    let domains = dom0.host.domains();
    let left: Vec<&str> = domains.iter().map(|domain| domain.name.as_str()).collect();
    assert_eq!(left, dom0.foreign, "what is left is somebody else's");
    assert!(dom0.bridges.borrow().is_empty(), "{:?}", dom0.bridges);
    (ended, events)
}

/// `SETTING SIZE` of each sample of this measure.
fn samples(events: &[Event], wanted: Measure) -> Vec<String> {
    let pick = |event: &Event| match event {
        Event::Sample(sample) if sample.subject.measure == wanted => Some(format!(
            "{} {}",
            sample.subject.setting,
            sample.subject.size.unwrap_or(0)
        )),
        _ => None,
    };
    events.iter().filter_map(pick).collect()
}

/// The reasons of all failures, each once.
fn reasons(events: &[Event]) -> Vec<String> {
    let pick = |event: &Event| match event {
        Event::Failed(failed) => Some(failed.reason.clone()),
        _ => None,
    };
    let mut reasons: Vec<String> = events.iter().filter_map(pick).collect();
    reasons.sort();
    reasons.dedup();
    reasons
}

#[test]
fn linux_guests_are_booted_once_and_every_figure_is_told() {
    let dom0 = Dom0::new();
    let (ended, events) = compare(&dom0, &["linux-tcp"]);
    ended.unwrap();
    assert_eq!(reasons(&events), Vec::<String>::new());
    assert_eq!(samples(&events, Measure::Throughput).len(), 12);
    assert_eq!(samples(&events, Measure::CpuPerMillion).len(), 12);
    assert_eq!(
        samples(&events, Measure::RttP999),
        ["nodelay,no-gso 64", "nodelay,gso 64"]
    );
    assert_eq!(events.last(), Some(&Event::Complete));
    let calls = dom0.calls.borrow();
    let created = |call: &&String| call.starts_with("xl create");
    assert_eq!(calls.iter().filter(created).count(), 2);
    let set_up = |event: &Event| matches!(event, Event::About(about) if about.id == Contestant::LinuxTcp && about.setup.contains("on CPU 1 of 2, the client"));
    assert!(events.iter().any(set_up));
}

#[test]
fn round_trips_are_measured_beside_a_pair_that_streams_and_ends_with_its_client() {
    let dom0 = Dom0::new();
    let loaded = |work: &Work| {
        matches!(
            work,
            Work::Pair {
                trial: plan::Trial::LoadedRoundTrip,
                ..
            }
        )
    };
    let (ended, events) = compare_by(&dom0, false, &["linux-tcp"], loaded);
    ended.unwrap();
    assert_eq!(reasons(&events), Vec::<String>::new());
    assert_eq!(samples(&events, Measure::LoadedRttMax).len(), 4);
    assert!(!dom0.streams.get(), "it streams on");
}

#[test]
fn a_guest_that_never_boots_is_a_failure_of_its_figures_and_the_rest_goes_on() {
    let dom0 = Dom0 {
        boots: false,
        ..Dom0::new()
    };
    let (ended, events) = compare(&dom0, &["linux-tcp"]);
    ended.unwrap();
    assert_eq!(samples(&events, Measure::Throughput), Vec::<String>::new());
    for reason in reasons(&events) {
        assert!(reason.contains("the Linux guest did not boot"), "{reason}");
    }
    assert!(!reasons(&events).is_empty());
    assert_eq!(events.last(), Some(&Event::Complete));
    // It is not waited for at every step.
    let calls = dom0.calls.borrow();
    let created = |call: &&String| call.starts_with("xl create");
    assert_eq!(calls.iter().filter(created).count(), 6);
}

#[test]
fn guests_that_xl_keeps_off_their_cpus_have_a_word_on_what_to_change() {
    let dom0 = Dom0 {
        masked: true,
        ..Dom0::new()
    };
    let (ended, events) = compare(&dom0, &["linux-tcp"]);
    ended.unwrap();
    let said = "hard affinity map is empty: xl.conf's vm.cpumask or vm.pv.cpumask leaves guests none of the CPUs that \
        compare places them on (1 and 0); widen or remove it for the comparison";
    let reasons = reasons(&events);
    assert!(!reasons.is_empty());
    assert!(
        reasons.iter().all(|reason| reason.ends_with(said)),
        "{reasons:?}"
    );
    // And of one guest alone, created by whatever way.
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("x.elf"), "").unwrap();
    let kit = kit(folder.path(), 4, None);
    let mut listener = |_| {};
    let mut site = Site::new((&dom0, &dom0), &dom0.stop, kit, &mut listener).unwrap();
    let config = site.unikernel("one", "x", 4, "").unwrap();
    let (path, _) = site.configure(config.clone()).unwrap();
    for failed in [
        site.start(&path).map(drop),
        site.create(config.clone()).map(drop),
        site.create_paused(config).map(drop),
    ] {
        let reason = failed.unwrap_err().to_string();
        assert!(reason.contains("places them on (1-3); widen"), "{reason}");
    }
}

#[test]
fn a_full_disk_of_dom0_fails_the_pair_that_finds_it_full_and_the_rest_goes_on() {
    let dom0 = Dom0 {
        // A check is made once more.
        full: Cell::new(2),
        ..Dom0::new()
    };
    let (ended, events) = compare(&dom0, &["linux-libxenvchan", "throughput"]);
    ended.unwrap();
    let reasons = reasons(&events);
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    let said = "/gf-compare-linux-server.cfg: No space left on device (os error 28); make room in that file system";
    assert!(reasons[0].ends_with(said), "{reasons:?}");
    let measured = samples(&events, Measure::Throughput);
    assert_eq!(measured, ["stream 64", "stream 4096"]);
    assert_eq!(events.last(), Some(&Event::Complete));
}

#[test]
fn without_memory_guests_are_not_created_and_the_line_says_how_much_it_takes() {
    let dom0 = Dom0 {
        free_mib: 100,
        ..Dom0::new()
    };
    let (ended, events) = compare(&dom0, &["linux-libxenvchan"]);
    ended.unwrap();
    let reasons = reasons(&events);
    assert!(
        reasons.iter().all(|reason| reason.contains("no memory for")
            && reason.contains("192 MiB")
            && reason.contains("100 MiB")),
        "{reasons:?}"
    );
    assert_eq!(events.last(), Some(&Event::Complete));
}

#[test]
fn a_program_that_is_missing_is_named_and_the_others_are_measured() {
    let dom0 = Dom0 {
        programs: "tcp-bench ethtool",
        ..Dom0::new()
    };
    let (ended, events) = compare(&dom0, &["linux-tcp", "linux-libxenvchan"]);
    ended.unwrap();
    assert_eq!(samples(&events, Measure::Throughput).len(), 12);
    let reasons = reasons(&events);
    assert!(
        reasons
            .iter()
            .all(|reason| reason.contains("no program libxenvchan-bench")),
        "{reasons:?}"
    );
    let calls = dom0.calls.borrow();
    let created = |call: &&String| call.starts_with("xl create");
    assert_eq!(
        calls.iter().filter(created).count(),
        2,
        "booted once all the same"
    );
}

#[test]
fn wrong_bytes_are_shown_in_place_of_figures() {
    let dom0 = Dom0 {
        wrong: "api=stream",
        ..Dom0::new()
    };
    let (ended, events) = compare(&dom0, &["linux-libxenvchan", "throughput"]);
    ended.unwrap();
    assert_eq!(
        samples(&events, Measure::Throughput),
        ["packet 64", "packet 4096"]
    );
    let reasons = reasons(&events);
    assert_eq!(reasons.len(), 1);
    assert!(reasons[0].contains("byte 7 of the stream"), "{reasons:?}");
    // At once, and not again where the figure would have been taken.
    let is_sample = |event: &Event| matches!(event, Event::Sample(_));
    let failed = |event: &Event| match event {
        Event::Failed(failed) => Some((failed.subject.clone(), failed.round)),
        _ => None,
    };
    let first = events.iter().position(|event| failed(event).is_some());
    assert!(first < events.iter().position(is_sample), "{events:?}");
    let all: Vec<_> = events.iter().filter_map(failed).collect();
    let each: BTreeSet<_> = all.iter().collect();
    assert_eq!(each.len(), all.len(), "{all:?}");
}

#[test]
fn wrong_bytes_that_were_sent_back_take_figures_of_the_same_size_back() {
    let dom0 = Dom0 {
        wrong: "mode=echo size=64 ",
        ..Dom0::new()
    };
    let (ended, events) = compare_by(&dom0, false, &["linux-udp"], |work| {
        matches!(work, Work::Pair { .. })
    });
    ended.unwrap();
    let failed = |wanted| {
        let pick = |event: &Event| match event {
            Event::Failed(failed) if failed.subject.measure == wanted => failed.subject.size,
            _ => None,
        };
        events.iter().filter_map(pick).collect::<Vec<_>>()
    };
    for measure in [
        Measure::Throughput,
        Measure::CpuPerMillion,
        Measure::RttP50,
        Measure::LoadedRttP50,
        Measure::EventsPerMessage,
    ] {
        assert_eq!(failed(measure), [64], "{measure:?}");
    }
    // It had come before the round trips were looked at, and what is whole stays.
    assert!(samples(&events, Measure::Throughput).contains(&" 64".to_owned()));
    assert_eq!(samples(&events, Measure::RttP50), [" 1024"]);
}

#[test]
fn what_a_killed_comparison_has_left_is_removed_and_nobody_elses_domain() {
    let killed = Dom0::new();
    let linux = tempfile::tempdir().unwrap();
    let kit = kit(linux.path(), 2, None);
    for part in ["vmlinuz", "initramfs", "x.elf"] {
        std::fs::write(linux.path().join(part), "").unwrap();
    }
    let mut listener = |_| {};
    let site = Site::new((&killed, &killed), &killed.stop, kit, &mut listener).unwrap();
    // Nothing of it is dropped.
    let mut site = ManuallyDrop::new(site);
    let config = site.linux_config("linux-client", 192, "10.0.0.1").unwrap();
    site.create(config).unwrap();
    let config = site.unikernel("server", "x", 4, "").unwrap();
    site.create(config).unwrap();
    // The name alone makes no domain ours.
    killed.host.foreign("gf-compare-mine");
    let next = Dom0 {
        host: killed.host,
        bridges: killed.bridges,
        foreign: vec!["gf-compare-mine"],
        ..Dom0::new()
    };
    let (ended, events) = compare(&next, &["linux-tcp", "throughput"]);
    ended.unwrap();
    let said = "an earlier comparison was killed here; removed what it left: \
        gf-compare-linux-client, gf-compare-server, the bridge gf-compare";
    assert_eq!(events[0], Event::Warning(said.into()));
    assert_eq!(samples(&events, Measure::Throughput).len(), 12);
    // Nothing is left now, and nothing is said.
    let (_, events) = compare(&next, &["linux-tcp", "throughput"]);
    assert!(!matches!(&events[0], Event::Warning(_)), "{:?}", events[0]);
}

#[test]
fn a_contestants_set_up_has_the_lines_of_all_its_parts_once() {
    let dom0 = Dom0::new();
    let mut told = Vec::new();
    let mut listener = |event| told.push(event);
    let kit = Kit {
        images: "/nowhere".into(),
        linux: "/nowhere".into(),
        scratch: std::env::temp_dir(),
        cpus: 2,
        xentrace: None,
    };
    let mut site = Site::new((&dom0, &dom0), &dom0.stop, kit, &mut listener).unwrap();
    let who = Contestant::LinuxVchan;
    site.about(who, Part::Life, |_| "both\na sensor".into());
    site.about(who, Part::Pair, |_| "a pair\nboth".into());
    site.about(who, Part::Life, |_| panic!("it is told already"));
    drop(site);
    let setups = told.iter().map(|event| match event {
        Event::About(about) => about.setup.as_str(),
        other => panic!("{other:?}"),
    });
    assert_eq!(
        setups.collect::<Vec<_>>(),
        ["both\na sensor", "a pair\nboth\na sensor"]
    );
}

#[test]
fn a_stop_keeps_what_there_is_and_leaves_nothing_running() {
    let dom0 = Dom0 {
        stop_at: 20,
        ..Dom0::new()
    };
    let (ended, events) = compare(&dom0, &["linux-tcp"]);
    assert!(matches!(ended, Err(Trouble::Stopped)));
    assert!(!samples(&events, Measure::Throughput).is_empty());
    assert!(!events.contains(&Event::Complete));
    assert_eq!(
        reasons(&events),
        Vec::<String>::new(),
        "a stop is no failure"
    );
}

#[test]
fn without_a_linux_guest_unikernels_are_still_tried() {
    let dom0 = Dom0::new();
    // There is no image either.
    let (ended, events) = compare(&dom0, &["unikernel-vchan", "rtt-p50"]);
    ended.unwrap();
    let reasons = reasons(&events);
    assert!(
        reasons[0].contains("`grantflow images` builds it"),
        "{reasons:?}"
    );
}

#[test]
fn an_image_has_the_size_of_its_files_and_one_that_is_not_there_fails_alone() {
    let (ended, events) = compare_by(&Dom0::new(), true, &[], |work| {
        let (subjects, size) = (work.subjects(), Measure::ImageSize);
        subjects.iter().any(|subject| subject.measure == size)
    });
    ended.unwrap();
    let told = |event: &Event| match event {
        Event::Sample(sample) => Some(format!(
            "{} {}",
            sample.subject.contestant.id(),
            sample.value
        )),
        Event::Failed(failed) => Some(format!("{} failed", failed.subject.contestant.id())),
        _ => None,
    };
    let told: Vec<String> = events.iter().filter_map(told).collect();
    assert_eq!(
        told,
        [
            "unikernel-vchan 3",
            "linux-vchan failed",
            "linux-tcp failed"
        ]
    );
    assert!(reasons(&events)[0].contains("sensor-initramfs"));
}

/// An `xentrace` that is none: the first run of it tells of an idle dom0, each second one after that of a long run.
fn made_up_tracer(folder: &std::path::Path, lost: u64) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;

    let guests: Vec<u16> = (1..20).collect();
    for (name, calls) in [("idle", 1), ("long", 9_000), ("short", 3_000)] {
        let lost = if name == "idle" { 0 } else { lost };
        let bytes = trace::testing::made_up(&guests, calls, lost);
        std::fs::write(folder.join(name), bytes).unwrap();
    }
    let program = folder.join("xentrace");
    let script = format!(
        "#!/bin/sh
cd {}
for to; do :; done
runs=$(cat runs 2>/dev/null || echo 0)
echo $((runs + 1)) > runs
from=idle
[ $runs -gt 0 ] && from=long
[ $runs -gt 0 ] && [ $((runs % 2)) = 0 ] && from=short
trap 'exit 0' TERM
cp $from $to.new
mv $to.new $to
while :; do sleep 0.01; done
",
        folder.display()
    );
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    program
}

fn compare_counted(dom0: &Dom0) -> (Result<(), Trouble>, Vec<Event>) {
    let only = ["linux-udp", "hypercalls-per-message"];
    compare_by(dom0, false, &only, |_| true)
}

/// The figures of this measure, each once.
fn values(events: &[Event], wanted: Measure) -> Vec<f64> {
    let pick = |event: &Event| match event {
        Event::Sample(sample) if sample.subject.measure == wanted => Some(sample.value),
        _ => None,
    };
    let mut values: Vec<f64> = events.iter().filter_map(pick).collect();
    values.dedup();
    values
}

#[test]
fn xen_s_trace_gives_hypercalls_of_those_who_do_not_count() {
    let folder = tempfile::tempdir().unwrap();
    let dom0 = Dom0 {
        xentrace: Some(made_up_tracer(folder.path(), 0)),
        ..Dom0::new()
    };
    let (ended, events) = compare_counted(&dom0);
    ended.unwrap();
    assert_eq!(reasons(&events), Vec::<String>::new());
    // Two guests and dom0 call 6,000 times more in the long run; each third is an event, and next to none is dom0's idle rate.
    let calls = dom0.calls.borrow();
    let counts = calls.iter().filter_map(|call| {
        let mut words = call.split_whitespace();
        words.find_map(|word| word.strip_prefix("count=")?.parse().ok())
    });
    let counts: Vec<f64> = counts.collect();
    let more = counts[counts.len() - 3] - counts[counts.len() - 1];
    let near = |measure, wanted: f64| {
        let value = *values(&events, measure).last().unwrap();
        assert!((value / wanted - 1.0).abs() < 0.01, "{value} {wanted}");
    };
    near(Measure::HypercallsPerMessage, 18_000.0 / more);
    near(Measure::EventsPerMessage, 6_000.0 / more);
}

#[test]
fn a_trace_that_has_lost_something_is_no_figure() {
    let folder = tempfile::tempdir().unwrap();
    let dom0 = Dom0 {
        xentrace: Some(made_up_tracer(folder.path(), 1)),
        ..Dom0::new()
    };
    let (ended, events) = compare_counted(&dom0);
    ended.unwrap();
    assert!(values(&events, Measure::HypercallsPerMessage).is_empty());
    let reasons = reasons(&events);
    assert!(reasons[0].contains("has lost records"), "{reasons:?}");
}

#[test]
fn without_a_tracer_there_is_what_programs_count_themselves_and_a_word_on_what_to_install() {
    let (ended, events) = compare_counted(&Dom0::new());
    ended.unwrap();
    assert!(values(&events, Measure::HypercallsPerMessage).is_empty());
    let warns = |event: &Event| matches!(event, Event::Warning(text) if text.contains("apt-get install xen-utils-common"));
    assert!(events.iter().any(warns), "{events:?}");
    // And where Xen does not do it, what the tracer says.
    let dom0 = Dom0 {
        xentrace: Some("/bin/false".into()),
        ..Dom0::new()
    };
    let (ended, events) = compare_counted(&dom0);
    ended.unwrap();
    let warns = |event: &Event| matches!(event, Event::Warning(text) if text.starts_with("xentrace has ended"));
    assert!(events.iter().any(warns), "{events:?}");
}
