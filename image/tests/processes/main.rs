//! `grantflow up --target process`: real processes over real vchan, killed and asked to end.

mod bench;

use std::fs;
use std::io::Write as _;
use std::process::{Output, Stdio};
use std::time::Duration;

use grantflow::broker::{Broker, BrokerError, Heard, Subscriber};
use grantflow::demo::messages::Messages;
use libtest_mimic::{Arguments, Failed, Trial};
use rustix::process::Signal;

use bench::{Bench, edge, is_alive, pipelines, send, stage};

fn main() {
    let arguments = Arguments::from_args();
    let missing = match Broker::start().and_then(|broker| Subscriber::start(&broker.address(), "#"))
    {
        Err(error @ BrokerError::Missing { .. }) => {
            eprintln!("{error}: the tests of waterworks.toml and two-hosts.toml are IGNORED");
            true
        }
        _ => false,
    };
    let trials = vec![
        Trial::test("alerts_are_raised_and_cleared_and_nothing_is_left", alerts),
        Trial::test("waterworks_reach_a_broker_whole", waterworks).with_ignored_flag(missing),
        Trial::test("two_hosts_meet_at_a_broker", two_hosts).with_ignored_flag(missing),
        Trial::test("two_hosts_are_one_without_a_broker", two_hosts_as_one),
        Trial::test("a_weather_station_without_its_broker", weather_station),
        Trial::test("thirty_two_sensors_meet_in_one_aggregator", many_to_one),
        Trial::test(
            "s6_a_killed_stage_comes_back_alone_and_what_was_lost_is_counted",
            killed,
        ),
        Trial::test(
            "c7_a_killed_composer_takes_its_processes_with_it",
            composer_killed,
        ),
        Trial::test(
            "c4_a_stage_that_does_not_start_leaves_nothing",
            does_not_start,
        ),
        Trial::test(
            "c3_a_second_composer_is_refused_and_down_drains_the_first",
            down,
        ),
        Trial::test(
            "a_source_to_which_readings_come_back_is_asked_to_end",
            circle,
        ),
        Trial::test("what_they_print_is_kept_and_followed_to_the_end", logs),
        Trial::test("they_are_watched_as_domains_are", watched),
        Trial::test("what_is_fed_arrives_whole_and_ends_the_pipeline", fed),
        Trial::test(
            "parameters_of_any_length_and_with_spaces_arrive",
            parameters,
        ),
        Trial::test(
            "names_of_apps_that_are_not_there_are_told_with_their_place",
            unknown_app,
        ),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}

fn alerts() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let file = pipelines().join("alerts.toml");
    let output = bench.up(&file).output()?;
    let told = bench::json(&output)?;
    // As many as in memory, where sensor-aggregator runs the same file.
    assert_eq!(edge(&told, "alerts")["received"], 7);
    for name in ["source", "smooth", "alerts"] {
        let edge = edge(&told, name);
        assert_eq!(
            (&edge["sent"], &edge["lost"]),
            (&edge["received"], &0.into()),
            "{told}"
        );
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said.matches("\"vb\":true").count(), 4, "{said}");
    assert!(said.contains("log    | [{"), "{said}");
    assert_eq!(bench.left(), Vec::<String>::new());
    Ok(())
}

/// The whole of the demo's pipeline, the gateway among it, on this host's network.
fn waterworks() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let broker = Broker::start()?;
    let mut subscriber = Subscriber::start(&broker.address(), "grantflow/waterworks/#")?;
    let text = fs::read_to_string(pipelines().join("waterworks.toml"))?;
    let text = text.replace("10.0.2.2:1883", &broker.address().to_string());
    assert!(text.contains(&broker.address().to_string()));
    let file = bench.file("waterworks", &text)?;
    let told = bench::json(&bench.up(&file).output()?)?;
    // Each of the four anomalies shuts the valve and opens it again.
    let commands = edge(&told, "commands");
    assert_eq!(
        (&commands["sent"], &commands["received"]),
        (&8.into(), &8.into())
    );
    let sent = edge(&told, "windows")["sent"].as_u64().unwrap_or_default();
    assert!(sent > 0, "{told}");
    assert_eq!(edge(&told, "windows")["received"], sent);
    let mut messages = Messages::default();
    while messages.counts().readings < sent {
        match subscriber.next(Duration::from_secs(30)) {
            Heard::Message(_, message) => {
                messages.absorb(&message)?;
            }
            other => return Err(format!("{other:?} after {:?}", messages.counts()).into()),
        }
    }
    assert_eq!((messages.counts().again, messages.counts().lost), (0, 0));
    Ok(())
}

/// The values of the recording.
fn recorded() -> Result<Vec<f64>, Failed> {
    let path = pipelines().join("../../data/water-flow.csv");
    let text = fs::read_to_string(path)?;
    let cells = text.lines().skip(1).filter_map(|line| line.split_once(','));
    Ok(cells.filter_map(|(_, cell)| cell.parse().ok()).collect())
}

/// The values that a log has printed.
fn logged(stderr: &[u8]) -> Vec<f64> {
    let said = String::from_utf8_lossy(stderr).into_owned();
    let values = said.lines().filter_map(|line| line.split_once("\"v\":"));
    values
        .filter_map(|(_, rest)| rest.split(['}', ',']).next()?.parse().ok())
        .collect()
}

/// Each host's part as a pipeline of its own, with a real broker between them that goes away meanwhile.
fn two_hosts() -> Result<(), Failed> {
    let (a, b) = (Bench::new()?, Bench::new()?);
    let mut broker = Broker::start_lasting()?;
    let text = fs::read_to_string(pipelines().join("two-hosts.toml"))?;
    let text = text.replace("10.0.2.2:1883", &broker.address().to_string());
    let text = text.replace("rate = \"max\"", "rate = \"500\"");
    assert!(text.contains("500") && text.contains(&broker.address().to_string()));
    let up = |bench: &Bench, host: &str| {
        let file = bench.file("two-hosts", &text)?;
        bench.up(&file).args(["--host", host]).spawn()
    };
    let (at_a, at_b) = (up(&a, "a")?, up(&b, "b")?);
    b.status_when("two-hosts", |stages| {
        stage(stages, "log")["readings"]["used"].as_u64() >= Some(100)
    })?;
    broker.pause(Duration::from_millis(300))?;
    let (at_a, at_b) = (at_a.wait_with_output()?, at_b.wait_with_output()?);
    let recorded = recorded()?;
    assert_eq!(logged(&at_b.stderr), recorded);
    for output in [&at_a, &at_b] {
        let told = bench::json(output)?;
        let flow = edge(&told, "flow");
        assert_eq!(
            (&flow["received"], &flow["lost"]),
            (&recorded.len().into(), &0.into()),
            "{told}"
        );
    }
    Ok(())
}

/// Without `--host` the stages of all hosts run here, and meet by vchan.
fn two_hosts_as_one() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let output = bench.up(&pipelines().join("two-hosts.toml")).output()?;
    let told = bench::json(&output)?;
    let recorded = recorded()?;
    assert_eq!(logged(&output.stderr), recorded);
    assert_eq!(told["stages"].as_array().map(Vec::len), Some(2), "{told}");
    Ok(())
}

fn weather_station() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let text = fs::read_to_string(pipelines().join("weather-station.toml"))?;
    let (text, _broker) = text.split_once("[broker]").ok_or("no broker")?;
    let text = text
        .replace("app = \"gateway\"", "app = \"log\"")
        .replace("parameters.topic", "# ");
    let file = bench.file("weather-station", &text)?;
    let told = bench::json(&bench.up(&file).output()?)?;
    for name in ["station", "plausible", "hourly"] {
        assert_eq!(edge(&told, name)["received"], 3 * 8_759, "{told}");
    }
    // Each day of four, the first of which begin the day before, has ten figures of three series.
    let windows = edge(&told, "windows");
    assert_eq!(
        (&windows["sent"], &windows["lost"]),
        (&windows["received"], &0.into())
    );
    assert_eq!(windows["received"], (4 * 365 + 3) * 10 * 3, "{told}");
    Ok(())
}

fn many_to_one() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let told = bench::json(&bench.up(&pipelines().join("many-to-one.toml")).output()?)?;
    for sensor in 1..=32 {
        let edge = edge(&told, &format!("s{sensor:02}"));
        assert_eq!(
            (&edge["sent"], &edge["received"]),
            (&600.into(), &600.into())
        );
    }
    // Six windows of nine figures each.
    assert_eq!(edge(&told, "windows")["received"], 32 * 6 * 9, "{told}");
    Ok(())
}

/// A source that makes readings until it is asked to end, and two stages behind it.
const ENDLESS: &str = r#"
[[stage]]
name = "source"
app = "sensor"
parameters = { signal = "sine", rate = 5000, count = 0 }
[[stage]]
name = "middle"
app = "filter"
[[stage]]
name = "end"
app = "aggregator"
parameters.window = "1h"
[[stage]]
name = "sink"
app = "log"
[[edge]]
from = "source"
to = "middle"
[[edge]]
from = "middle"
to = "end"
[[edge]]
from = "end"
to = "sink"
"#;

fn killed() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let file = bench.file("endless", ENDLESS)?;
    let mut up = bench.run(&file)?;
    let before = bench.status_when("endless", |stages| stages.iter().all(bench::works))?;
    let pid = stage(&before, "middle")["pid"].clone();
    send(&pid, Signal::KILL)?;
    let after = bench.status_when("endless", |stages| {
        let middle = stages.iter().find(|one| one["stage"] == "middle");
        stages.iter().all(bench::works) && middle.is_some_and(|one| one["pid"] != pid)
    })?;
    for name in ["source", "end", "sink"] {
        assert_eq!(
            stage(&before, name)["pid"],
            stage(&after, name)["pid"],
            "{name}"
        );
    }
    up.signal(Signal::INT)?;
    let told = bench::json(&up.output()?)?;
    assert_eq!(told["restarts"], 1, "{told}");
    // The writer has sent what the new reader has received, and what it knows to be gone.
    let edge = edge(&told, "source");
    let number = |key: &str| edge[key].as_u64().unwrap_or_default();
    assert!(number("lost") > 0, "{told}");
    assert_eq!(
        number("sent"),
        number("received") + number("lost"),
        "{told}"
    );
    assert_eq!(bench.left(), Vec::<String>::new());
    Ok(())
}

/// `grantflow feed` into a stage whose edge begins in dom0.
fn fed() -> Result<(), Failed> {
    const FED: &str = r#"
[[stage]]
name = "smooth"
app = "filter"
[[stage]]
name = "log"
app = "log"
[[edge]]
name = "readings"
from = "dom0"
to = "smooth"
[[edge]]
from = "smooth"
to = "log"
"#;
    let bench = Bench::new()?;
    let mut up = bench.run(&bench.file("fed", FED)?)?;
    bench.status_when("fed", |stages| stages.len() == 2)?;
    let numbers = ["--format", "numbers", "--name", "n"];
    let mut wrong = bench.grantflow(&["feed", "--to", "nothing"]);
    assert_eq!(wrong.args(numbers).output()?.status.code(), Some(2));
    let mut feed = bench.grantflow(&["feed", "--json", "--to", "fed/readings"]);
    let mut feed = feed.args(numbers).stdin(Stdio::piped()).spawn()?;
    let lines: String = (0..1000).map(|number| format!("{number}\n")).collect();
    if let Some(mut input) = feed.stdin.take() {
        input.write_all(lines.as_bytes())?;
    }
    let told = bench::json(&feed.wait_with_output()?)?;
    assert_eq!(
        (&told["readings"], &told["lost"], &told["bad"]),
        (&1000.into(), &0.into(), &0.into()),
        "{told}"
    );
    let told = bench::json(&up.output()?)?;
    assert_eq!(edge(&told, "smooth")["received"], 1000, "{told}");
    Ok(())
}

fn composer_killed() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let file = bench.file("endless", ENDLESS)?;
    let mut up = bench.run(&file)?;
    let stages = bench.status_when("endless", |stages| stages.iter().all(bench::works))?;
    up.signal(Signal::KILL)?;
    up.wait()?;
    for stage in &stages {
        bench::until("a process has outlived its composer", || {
            !is_alive(&stage["pid"])
        })?;
    }
    bench.status_when("endless", |stages| {
        stages.iter().all(|stage| stage["state"] == "gone")
    })?;
    // What it has left is in nobody's way, and goes with the next.
    assert_eq!(bench.left(), ["endless"]);
    let mut next = bench.run(&file)?;
    bench.status_when("endless", |stages| stages.iter().all(bench::works))?;
    let down = bench.grantflow(&["down", "--now", "endless"]).output()?;
    assert!(down.status.success(), "{down:?}");
    next.wait()?;
    assert_eq!(bench.left(), Vec::<String>::new());
    Ok(())
}

fn does_not_start() -> Result<(), Failed> {
    let bench = Bench::new()?;
    // No recording and no signal: the program itself finds that out.
    let text = ENDLESS.replace("signal = \"sine\", ", "");
    let file = bench.file("broken", &text)?;
    let output = bench.up(&file).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("source ended at once"), "{said}");
    assert_eq!(bench.left(), Vec::<String>::new());
    assert_eq!(bench.processes(), Vec::<i32>::new());

    fs::remove_file(bench.programs().join("log"))?;
    fs::write(bench.programs().join("log"), "no program")?;
    let output = bench.up(&bench.file("broken", ENDLESS)?).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(bench.left(), Vec::<String>::new());
    assert_eq!(bench.processes(), Vec::<i32>::new());
    Ok(())
}

fn down() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let file = bench.file("endless", ENDLESS)?;
    let mut first = bench.run(&file)?;
    let before = bench.status_when("endless", |stages| stages.iter().all(bench::works))?;
    let second = bench.up(&file).output()?;
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("another grantflow"), "{said}");
    let after = bench.status_when("endless", |stages| stages.iter().all(bench::works))?;
    assert_eq!(stage(&before, "end")["pid"], stage(&after, "end")["pid"]);
    let down = bench.grantflow(&["down"]).output()?;
    assert!(down.status.success(), "{down:?}");
    assert_eq!(bench.left(), Vec::<String>::new());
    let told = bench::json(&first.output()?)?;
    for edge in ["source", "middle", "end"].map(|name| edge(&told, name)) {
        assert_eq!(
            (&edge["sent"], &edge["lost"]),
            (&edge["received"], &0.into()),
            "{told}"
        );
    }
    Ok(())
}

/// Two stages in a circle, the first of which is fed from outside: it is the one to ask.
const CIRCLE: &str = r#"
[[stage]]
name = "first"
app = "filter"
[[stage]]
name = "second"
app = "filter"
[[edge]]
name = "fed"
from = "dom0"
to = "first"
[[edge]]
from = "first"
to = "second"
[[edge]]
name = "back"
from = "second"
to = "first"
feedback = true
"#;

fn circle() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let mut up = bench.run(&bench.file("circle", CIRCLE)?)?;
    bench.status_when("circle", |stages| {
        stage(stages, "first")["state"] == "waiting fed"
            && stage(stages, "second")["state"] == "running"
    })?;
    up.signal(Signal::INT)?;
    let output = up.output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("asking the sources"), "{said}");
    assert!(!said.contains("asking the others"), "{said}");
    bench::json(&output)?;
    Ok(())
}

/// A stage that prints each reading.
const PRINTED: &str = r#"
[[stage]]
name = "source"
app = "sensor"
parameters = { signal = "sine", rate = 200, count = 0 }
[[stage]]
name = "sink"
app = "log"
[[edge]]
from = "source"
to = "sink"
"#;

fn logs() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let mut up = bench.run(&bench.file("printed", PRINTED)?)?;
    let prints = |stages: &[serde_json::Value]| {
        let sink = stage(stages, "sink");
        sink["state"] == "running" && sink["readings"]["used"].as_u64() >= Some(10)
    };
    let before = bench.status_when("printed", prints)?;
    let logs = bench.grantflow(&["logs", "printed", "sink", "-n", "2"]);
    let text = |output: Output| String::from_utf8_lossy(&output.stdout).into_owned();
    let last = text({ logs }.output()?);
    let is_reading = |line: &str| line.starts_with("sink | [{");
    assert!(
        last.lines().count() == 2 && last.lines().all(is_reading),
        "{last}"
    );
    let unknown = bench.grantflow(&["logs", "printed", "sing"]).output()?;
    assert_eq!(unknown.status.code(), Some(2), "{unknown:?}");
    let follower = bench.grantflow(&["logs", "-f", "printed"]).spawn()?;
    // What the first process has printed stays.
    let pid = stage(&before, "sink")["pid"].clone();
    send(&pid, Signal::KILL)?;
    bench.status_when("printed", |stages| {
        stage(stages, "sink")["pid"] != pid && prints(stages)
    })?;
    let down = bench.grantflow(&["down", "printed"]).output()?;
    assert!(down.status.success(), "{down:?}");
    let followed = text(follower.wait_with_output()?);
    let said = String::from_utf8_lossy(&up.output()?.stderr).into_owned();
    let of = |text: &str, stage: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.starts_with(stage));
        lines.map(str::to_owned).collect()
    };
    for stage in ["sink   | ", "source | "] {
        assert_eq!(of(&followed, stage), of(&said, stage));
    }
    assert!(of(&followed, "sink").len() > 20, "{followed}");
    assert_eq!(bench.left(), Vec::<String>::new());
    Ok(())
}

fn watched() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let mut up = bench.run(&bench.file("endless", ENDLESS)?)?;
    bench.status_when("endless", |stages| stages.iter().all(bench::works))?;
    let top = bench::json(&bench.grantflow(&["top", "--json", "endless"]).output()?)?;
    let middle = stage(top["stages"].as_array().ok_or("no stages")?, "middle");
    assert!(middle["rates"]["received"].as_f64() > Some(0.0), "{top}");
    assert!(middle["rates"]["cpu"].as_f64().is_some(), "{top}");
    let edges = top["edges"].as_array().ok_or("no edges")?;
    assert!(edges[0]["rates"]["bytes"].as_f64() > Some(0.0), "{top}");
    let metrics = bench.grantflow(&["metrics", "--once"]).output()?;
    let metrics = String::from_utf8_lossy(&metrics.stdout).into_owned();
    let up_now = "grantflow_stage_up{pipeline=\"endless\",stage=\"middle\"} 1\n";
    assert!(
        metrics.contains(up_now) && metrics.ends_with("# EOF\n"),
        "{metrics}"
    );
    let down = bench.grantflow(&["down", "--now"]).output()?;
    assert!(down.status.success(), "{down:?}");
    up.wait()?;
    Ok(())
}

fn parameters() -> Result<(), Failed> {
    let bench = Bench::new()?;
    // More than a domain's command line holds, and a secret, which goes with the module.
    let columns = || 1..=60;
    let list = |of: &dyn Fn(u32) -> String| columns().map(of).collect::<Vec<_>>().join(", ");
    let text = format!(
        "[[stage]]\nname = \"a\"\napp = \"sensor\"\ndata = \"data.csv\"\nsecret = \"secret\"\n\
         parameters.time = \"the time\"\nparameters.name = {{ {} }}\nparameters.unit = {{ {} }}\n\
         [[stage]]\nname = \"b\"\napp = \"log\"\n[[edge]]\nfrom = \"a\"\nto = \"b\"\n",
        list(&|column| format!("{column} = \"water-{column}\"")),
        list(&|column| format!("{column} = \"Cel\""))
    );
    let data = format!(
        "the time, {}\n2026-01-01T00:00:00Z, {}\n",
        list(&|column| format!("c{column}")),
        list(&|column| column.to_string())
    );
    fs::write(bench.folder().join("data.csv"), data.replace(", ", ","))?;
    fs::write(bench.folder().join("secret"), "user:password")?;
    let output = bench.up(&bench.file("long", &text)?).output()?;
    let told = bench::json(&output)?;
    assert_eq!(edge(&told, "a")["received"], 60, "{told}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("water-60"), "{said}");
    assert!(!said.contains("password"), "{said}");
    Ok(())
}

fn unknown_app() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let file = bench.file("typo", &ENDLESS.replace("\"filter\"", "\"fitler\""))?;
    let output = bench.up(&file).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("typo.toml:8:7: ") && said.contains("filter"),
        "{said}"
    );
    Ok(())
}
