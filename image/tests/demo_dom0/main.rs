//! The demo as a whole program, in a dom0 made of shell scripts: what it asks of Xen, what it accepts, what it leaves.

mod fake;
mod published;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use fake::{Dom0, Outcome, complained, printed};
use grantflow::demo::recompute;
use grantflow::demo::stages::{FLOW_SERIES, WEATHER_SERIES, names};
use grantflow::demo::verify::{Window, WindowKey, Windows};
use stage::Timestamp;
use stage::senml::{END_OF_STREAM, PackQueue, Reading};

const FLOW: &str = "Time,Water flow [l/s]
2022-03-20T23:00:00+01:00,100.5
2022-03-21T00:00:00+01:00,101.5
2022-03-21T02:00:00+01:00,99.25
2022-03-21T03:00:00+01:00,98.75
";

const WEATHER: &str = "date,pressure,temperature,wind
2010-01-01T22:00:00,1016.6,4.0,3.8
2010-01-01T23:00:00,1016.5,3.9,3.8
2010-01-02T00:00:00,1016.7,3.8,3.5
";

/// 4 windows of 24 h of flow and weather in all: 2 + 3 x 2.
const WINDOWS: usize = 8;

/// Records of a window: count, mean, min, max, stddev_pop, missing, flagged.
const RECORDS: usize = 7;

/// A dom0 in which everything goes well, and its recordings.
struct Scene {
    dom0: Dom0,
    flow: PathBuf,
    weather: PathBuf,
    windows: Windows,
}

impl Scene {
    fn new() -> Outcome<Self> {
        let dom0 = Dom0::new()?;
        dom0.write("flow.csv", FLOW)?;
        dom0.write("weather.csv", WEATHER)?;
        let (flow, weather) = (dom0.path("flow.csv"), dom0.path("weather.csv"));
        let mut series = recompute::read(&flow, &names(&FLOW_SERIES))?;
        series.extend(recompute::read(&weather, &names(&WEATHER_SERIES))?);
        let scene = Self {
            dom0,
            flow,
            weather,
            windows: recompute::windows(&series, 86_400),
        };
        scene.send(&scene.windows.clone())?;
        Ok(scene)
    }

    /// Has the aggregator send these windows, and every stage count what that takes.
    fn send(&self, windows: &Windows) -> Outcome {
        let bytes = encode(windows)?;
        let records = windows.len() * RECORDS;
        self.dom0.write("results", &bytes)?;
        let edge = |bytes: usize, readings: usize| {
            format!("bytes={bytes} packs=4 readings={readings} sent=2")
        };
        let stage =
            |taken: usize, out: usize| format!("in={taken} used={taken} out={out} heap=9000");
        let nodes = [
            ("1/data/grantflow/stats/stage", stage(13, records)),
            ("1/data/grantflow/stats/in/flow", edge(100, 4)),
            ("1/data/grantflow/stats/in/weather", edge(300, 9)),
            (
                "1/data/grantflow/stats/out/windows",
                edge(bytes.len(), records),
            ),
            ("2/data/grantflow/stats/stage", stage(4, 4)),
            ("2/data/grantflow/stats/out/flow", edge(100, 4)),
            ("3/data/grantflow/stats/stage", stage(9, 9)),
            ("3/data/grantflow/stats/out/weather", edge(300, 9)),
        ];
        for (node, text) in nodes {
            self.dom0
                .write(&format!("store/local/domain/{node}"), text)?;
        }
        for domain in 1..=3 {
            self.dom0.write(
                &format!("store/local/domain/{domain}/data/grantflow/state"),
                "done",
            )?;
        }
        Ok(())
    }

    fn demo(&self) -> Command {
        self.dom0.demo(&self.flow, &self.weather)
    }

    /// The domains that the demo has destroyed, in alphabetical order.
    fn destroyed(&self) -> Outcome<Vec<String>> {
        let mut names: Vec<String> = self
            .dom0
            .log()?
            .iter()
            .filter_map(|line| line.strip_prefix("destroy ").map(str::to_owned))
            .collect();
        names.sort();
        Ok(names)
    }
}

const ALL: [&str; 3] = ["demo-aggregator", "demo-flow", "demo-weather"];

/// The records of a window: the figure's name and its value.
fn figures(window: &Window) -> impl Iterator<Item = (&'static str, f64)> {
    let missing = window.missing.map(|missing| ("missing", missing as f64));
    [
        ("count", window.count as f64),
        ("mean", window.mean),
        ("min", window.min),
        ("max", window.max),
        ("stddev_pop", window.deviation),
        ("flagged", window.flagged as f64),
    ]
    .into_iter()
    .chain(missing)
}

/// The bytes in which an aggregator sends windows.
fn encode(windows: &Windows) -> Outcome<Vec<u8>> {
    let mut queue = PackQueue::new(400);
    for (WindowKey { series, start }, window) in windows {
        let time = Timestamp::from_seconds(*start).ok_or("a stamp out of range")?;
        for (figure, value) in figures(window) {
            queue.push(&Reading::number(&format!("{series}:{figure}"), time, value))?;
        }
    }
    let (mut bytes, mut sealed) = (Vec::new(), Vec::new());
    queue.take(&mut bytes, &mut sealed);
    bytes.push(END_OF_STREAM);
    Ok(bytes)
}

#[test]
fn a_good_run_verifies_every_window_and_leaves_nothing() -> Outcome {
    let scene = Scene::new()?;
    let output = scene.demo().output()?;
    let text = printed(&output);
    assert!(output.status.success(), "{text}{}", complained(&output));
    let last = format!("verified {WINDOWS} of {WINDOWS} windows");
    assert_eq!(text.lines().last(), Some(last.as_str()));
    assert!(
        text.contains(
            "balance: in = used + dropped in 3 stages, sent = received + lost on 3 edges"
        ),
        "{text}"
    );
    assert_eq!(scene.destroyed()?, ALL);
    assert!(
        scene
            .dom0
            .log()?
            .contains(&"rm /local/domain/0/data/vchan/1".to_owned())
    );
    Ok(())
}

#[test]
fn both_ends_of_each_edge_are_told_of_the_other_and_dom0_serves_the_results() -> Outcome {
    let scene = Scene::new()?;
    assert!(scene.demo().output()?.status.success());
    let peer = |domain: u16, edge: &str| {
        scene
            .dom0
            .stored(&format!("/local/domain/{domain}/grantflow/peer/{edge}"))
    };
    assert_eq!(
        (peer(1, "flow")?, peer(1, "weather")?),
        ("2 1".to_owned(), "3 1".to_owned())
    );
    assert_eq!(
        (peer(2, "flow")?, peer(3, "weather")?),
        ("1 1".to_owned(), "1 1".to_owned())
    );
    let reader = fs::read_to_string(scene.dom0.path("reader-arguments"))?;
    assert_eq!(reader, "1 /local/domain/0/data/vchan/1/windows -\n");
    let config = fs::read_to_string(scene.dom0.path("configs/demo-flow.cfg"))?;
    assert!(
        config.contains("extra = \"stage=flow out.flow=? rate=max"),
        "{config}"
    );
    assert!(config.contains("on_poweroff = \"preserve\""), "{config}");
    Ok(())
}

#[test]
fn json_holds_what_the_text_says_and_nothing_else_is_printed() -> Outcome {
    let scene = Scene::new()?;
    let output = scene.demo().arg("--json").output()?;
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(report["verified"], WINDOWS);
    assert_eq!(report["passed"], true);
    assert_eq!(report["stages"][2]["readings_in"], 9);
    assert_eq!(
        report["stages"][0]["xl_create"],
        "xl create demo-aggregator.cfg"
    );
    assert_eq!(report["edges"][0]["event_sends_per_1000_messages"], 1000.0);
    assert!(
        report["first_record_ms"]
            .as_f64()
            .is_some_and(|ms| ms > 0.0)
    );
    Ok(())
}

#[test]
fn one_wrong_value_fails_the_run_and_is_named() -> Outcome {
    let scene = Scene::new()?;
    let mut windows = scene.windows.clone();
    let last = windows.values_mut().last().ok_or("no window")?;
    last.max += 1e-12;
    scene.send(&windows)?;
    let output = scene.demo().output()?;
    assert_eq!(output.status.code(), Some(1));
    let (text, complaint) = (printed(&output), complained(&output));
    assert!(
        text.contains(
            "wrong: wind 2010-01-02T00:00:00Z: max is 3.500000000001, the recording gives 3.5"
        ),
        "{text}"
    );
    assert!(text.ends_with("verified 7 of 8 windows\n"), "{text}");
    assert!(
        complaint.contains("grantflow: 7 of 8 windows are right"),
        "{complaint}"
    );
    assert_eq!(scene.destroyed()?, ALL);
    Ok(())
}

#[test]
fn a_reading_unaccounted_for_fails_a_run_whose_windows_are_right() -> Outcome {
    let scene = Scene::new()?;
    scene.dom0.write(
        "store/local/domain/2/data/grantflow/stats/stage",
        "in=4 used=3 out=4",
    )?;
    let output = scene.demo().output()?;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        printed(&output).contains("balance broken: flow: 4 readings in, but 3 used + 0 dropped")
    );
    assert!(complained(&output).contains("the balance of readings is broken"));
    Ok(())
}

#[test]
fn a_vchan_that_closes_early_fails_with_what_the_stages_said() -> Outcome {
    let scene = Scene::new()?;
    let mut bytes = encode(&scene.windows)?;
    bytes.pop();
    scene.dom0.write("results", &bytes)?;
    scene.dom0.write(
        "store/local/domain/1/data/grantflow/state",
        "failed out of memory",
    )?;
    let output = scene.demo().output()?;
    assert_eq!(output.status.code(), Some(1));
    let complaint = complained(&output);
    assert!(
        complaint.contains("results broke off after 8 of 8 windows, without an end of stream"),
        "{complaint}"
    );
    assert!(
        complaint.contains("demo-aggregator: state failed out of memory"),
        "{complaint}"
    );
    assert_eq!(scene.destroyed()?, ALL);
    Ok(())
}

#[test]
fn a_stage_that_crashed_ends_the_wait() -> Outcome {
    let scene = Scene::new()?;
    scene.dom0.write("end.demo-flow", "---sc- 0.1 0001 3 -")?;
    let log = "(XEN) Domain 2 (vcpu#0) crashed on cpu#1:\n(XEN) RIP: e033:[<0000000000334faa>]\n\
               (XEN) rsp: 0000000000359fe0 r8: 0\n(XEN) cr2: 0000000000359fe8\n";
    scene.dom0.write("dmesg", log)?;
    scene.dom0.write("results", [])?;
    scene.dom0.write("reader", "exec sleep 3600\n")?;
    let output = scene.demo().output()?;
    assert_eq!(output.status.code(), Some(1));
    let complaint = complained(&output);
    assert!(
        complaint.contains("domain demo-flow ended with `crash`"),
        "{complaint}"
    );
    assert!(
        complaint.contains("Xen: stack overflow at 0x334faa"),
        "{complaint}"
    );
    assert_eq!(scene.destroyed()?, ALL);
    Ok(())
}

#[test]
fn a_reader_that_misses_the_close_is_not_waited_for_for_ever() -> Outcome {
    let scene = Scene::new()?;
    scene.dom0.write("reader", "exec sleep 3600\n")?;
    let output = scene.demo().output()?;
    assert!(output.status.success(), "{}", complained(&output));
    Ok(())
}

#[test]
fn somebody_elses_domain_of_the_same_name_is_left_alone() -> Outcome {
    let scene = Scene::new()?;
    scene.dom0.write(
        "domains/demo-weather",
        "demo-weather 9 64 1 -b---- 1.0 0001 - -\n",
    )?;
    let output = scene.demo().output()?;
    assert_eq!(output.status.code(), Some(1));
    assert!(complained(&output).contains("a domain named demo-weather exists already"));
    assert_eq!(scene.dom0.log()?, [""; 0]);
    Ok(())
}

#[test]
fn ctrl_c_destroys_what_was_created() -> Outcome {
    let scene = Scene::new()?;
    scene.dom0.write("results", [])?;
    scene.dom0.write("reader", "exec sleep 3600\n")?;
    let mut child = scene.demo().spawn()?;
    let started = Instant::now();
    while scene
        .dom0
        .stored("/local/domain/3/grantflow/peer/weather")
        .is_err()
    {
        let waiting = child.try_wait()?.is_none() && started.elapsed() < Duration::from_secs(120);
        assert!(waiting, "the demo never introduced its stages");
        std::thread::sleep(Duration::from_millis(20));
    }
    let sent = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()?;
    assert!(sent.success());
    let status = child.wait()?;
    assert_eq!(status.code(), Some(1));
    assert_eq!(scene.destroyed()?, ALL);
    Ok(())
}

#[test]
fn wrong_input_ends_with_two_before_anything_is_created() -> Outcome {
    let scene = Scene::new()?;
    scene.dom0.write("flow.csv", "Time,flow\nyesterday,1\n")?;
    let output = scene.demo().output()?;
    assert_eq!(output.status.code(), Some(2));
    assert!(
        complained(&output).contains("flow.csv:2: `yesterday` is no time"),
        "{}",
        complained(&output)
    );
    assert_eq!(
        scene
            .demo()
            .args(["--window", "24 h"])
            .output()?
            .status
            .code(),
        Some(2)
    );
    assert_eq!(scene.dom0.log()?, [""; 0]);
    Ok(())
}
