//! The metrics of a pipeline, before the programs that are to read them: `promtool` and a Prometheus, where they are installed.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use grantflow::compose::snapshot::{EdgeSnapshot, Phase, Snapshot, StageSnapshot};
use grantflow::watch::metrics::serve::{Metrics, bind, serve};
use grantflow::watch::metrics::text::{Format, text};
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;
use stage::counters::Counters;

/// How long a Prometheus may take from its start to a scrape that is told.
const PATIENCE: Duration = Duration::from_secs(120);

fn main() {
    let arguments = Arguments::from_args();
    let missing = find("promtool").is_none() || find("prometheus").is_none();
    if missing {
        eprintln!(
            "SKIPPED: promtool and prometheus are not installed (make tools), the tests with them are IGNORED"
        );
    }
    let trials = vec![
        Trial::test("promtool_finds_nothing_to_say", promtool),
        Trial::test("a_prometheus_scrapes_every_sample", prometheus),
    ];
    let trials = trials
        .into_iter()
        .map(|trial| trial.with_ignored_flag(missing));
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

/// In PATH, or where `make tools` has unpacked Debian's package.
fn find(program: &str) -> Option<PathBuf> {
    let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/prometheus/usr/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([unpacked]);
    folders
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// Two stages with an edge between, one of them with a name that wants escaping.
fn snapshot() -> Snapshot {
    let counters = |nodes: &[(&str, &str)]| {
        let mut counters = Counters::default();
        for (node, text) in nodes {
            assert_eq!(counters.absorb(node, text), Ok(true));
        }
        counters
    };
    let writer = [
        ("stats/stage", "in=70 used=60 out=60 late=10 heap=4096"),
        (
            "stats/out/ab",
            "bytes=900 packs=4 readings=60 blocked=1500000",
        ),
        ("stats/own", "acknowledged=7"),
    ];
    let reader = [
        ("stats/stage", "in=59 used=59 out=0"),
        ("stats/in/ab", "bytes=800 packs=4 readings=59"),
    ];
    let stage = |name: &str, counters: Counters| StageSnapshot {
        stage: name.into(),
        domain: format!("p-{name}"),
        domid: Some(1),
        pid: None,
        incarnation: name.into(),
        phase: Phase::Running,
        state: "running".into(),
        memory_mib: 2,
        cpu_seconds: 1.25,
        restarts: 1,
        counters: Some(counters),
    };
    let (a, b) = (counters(&writer), counters(&reader));
    let edge = EdgeSnapshot {
        name: "ab".into(),
        from: Some("a".into()),
        to: Some("b\"\\".into()),
        ring: 16_384,
        writer: Some(a.edges[0].counters.clone()),
        reader: Some(b.edges[0].counters.clone()),
    };
    Snapshot {
        name: "p".into(),
        generation: 2,
        at: Duration::ZERO,
        stages: vec![stage("a", a), stage("b\"\\", b)],
        edges: vec![edge],
    }
}

fn promtool() -> Result<(), Failed> {
    for snapshot in [None, Some(&snapshot())] {
        let mut child = Command::new(find("promtool").ok_or("gone")?)
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let text = text("p", snapshot, Format::Prometheus);
        child
            .stdin
            .take()
            .ok_or("no pipe")?
            .write_all(text.as_bytes())?;
        let output = child.wait_with_output()?;
        let said =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        if !output.status.success() || !said.trim().is_empty() {
            return Err(format!("promtool ({}) says:\n{said}\nof\n{text}", output.status).into());
        }
    }
    Ok(())
}

/// A program that ends with the test.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn prometheus() -> Result<(), Failed> {
    let listener = bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let target = listener.local_addr()?;
    let stop = Arc::new(AtomicBool::new(false));
    let open = Arc::new(AtomicUsize::new(0));
    let (until, counted) = (Arc::clone(&stop), Arc::clone(&open));
    let metrics = Metrics::new(move |format| {
        counted.fetch_add(
            usize::from(format == Format::OpenMetrics),
            Ordering::Relaxed,
        );
        Ok(text("p", Some(&snapshot()), format))
    });
    let server = thread::spawn(move || serve(&listener, metrics, &until));
    let outcome = scrape(target);
    stop.store(true, Ordering::Relaxed);
    server.join().map_err(|_| "the server panicked")??;
    outcome?;
    assert!(open.load(Ordering::Relaxed) > 0, "it asked for OpenMetrics");
    Ok(())
}

fn scrape(target: SocketAddr) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("prometheus.yml");
    fs::write(
        &config,
        format!(
            "global: {{scrape_interval: 500ms}}\nscrape_configs:\n- job_name: grantflow\n  static_configs: [{{targets: ['{target}']}}]\n"
        ),
    )?;
    // Free a moment ago; Prometheus does not say which port it took if it is left to it.
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let log = fs::File::create(folder.path().join("log"))?;
    let mut prometheus = Ends(
        Command::new(find("prometheus").ok_or("gone")?)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?,
    );
    let begin = Instant::now();
    // Every sample of the pipeline, by one query.
    let samples = loop {
        let found = query(address, "%7Bpipeline%3D%22p%22%7D").unwrap_or_default();
        if !found.is_empty() {
            break found;
        }
        if begin.elapsed() >= PATIENCE || prometheus.0.try_wait()?.is_some() {
            let targets = get(address, "/api/v1/targets").unwrap_or_default();
            let log = fs::read_to_string(folder.path().join("log"))?;
            return Err(format!("nothing was scraped: {targets}\n{log}").into());
        }
        thread::sleep(Duration::from_millis(200));
    };
    let written = text("p", Some(&snapshot()), Format::OpenMetrics);
    let written = written.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(samples.len(), written.count());
    let value = |name: &str, labels: &[(&str, &str)]| {
        let found = samples.iter().find(|sample| {
            let metric = &sample["metric"];
            metric["__name__"] == *name && labels.iter().all(|(key, value)| metric[*key] == **value)
        });
        found.and_then(|sample| sample["value"][1].as_str().map(str::to_owned))
    };
    for (name, labels, expected) in [
        (
            "grantflow_readings_received_total",
            [("stage", "b\"\\"), ("edge", "ab")],
            "59",
        ),
        (
            "grantflow_readings_dropped_total",
            [("stage", "a"), ("cause", "late")],
            "10",
        ),
        (
            "grantflow_edge_blocked_seconds_total",
            [("stage", "a"), ("edge", "ab")],
            "1.5",
        ),
        (
            "grantflow_stage_state",
            [("stage", "a"), ("grantflow_stage_state", "running")],
            "1",
        ),
        (
            "grantflow_stage_own",
            [("stage", "a"), ("name", "acknowledged")],
            "7",
        ),
    ] {
        assert_eq!(value(name, &labels).as_deref(), Some(expected), "{name}");
    }
    Ok(())
}

fn query(address: SocketAddr, query: &str) -> Option<Vec<Value>> {
    let answer = get(address, &format!("/api/v1/query?query={query}")).ok()?;
    let answer: Value = serde_json::from_str(&answer).ok()?;
    answer["data"]["result"].as_array().cloned()
}

/// The body of an answer; HTTP/1.0, so that it comes in one piece.
fn get(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut client = TcpStream::connect(address)?;
    client.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(client, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    client.read_to_string(&mut answer)?;
    Ok(answer
        .split_once("\r\n\r\n")
        .map(|(_, body)| body.to_owned())
        .unwrap_or_default())
}
