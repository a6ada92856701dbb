//! A user of their own for each test: a runtime folder, programs of stages, pipelines; and what is left of them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take that happens at all.
const PATIENCE: Duration = Duration::from_secs(60);

/// The apps of the pipelines here.
const APPS: [(&str, &str); 10] = [
    ("sensor-aggregator", "sensor"),
    ("sensor-aggregator", "filter"),
    ("sensor-aggregator", "aggregator"),
    ("sensor-aggregator", "detect"),
    ("sensor-aggregator", "join"),
    ("sensor-aggregator", "actuate"),
    ("sensor-aggregator", "valve"),
    ("sensor-aggregator", "log"),
    ("gateway", "gateway"),
    ("gateway", "mqtt-in"),
];

/// The example pipelines.
pub fn pipelines() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines")
}

/// The stages' programs, built once, as the tests themselves are.
fn built() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.arg("build").current_dir(env!("CARGO_MANIFEST_DIR"));
        for (package, app) in APPS {
            cargo.args(["--package", package, "--bin", app]);
        }
        let own = Path::new(env!("CARGO_BIN_EXE_grantflow"));
        let folder = own.parent().unwrap_or(own);
        let target = folder.parent().unwrap_or(folder);
        let profile = match folder.file_name().and_then(|name| name.to_str()) {
            None | Some("debug") => "dev",
            Some(other) => other,
        };
        cargo
            .args(["--profile", profile, "--target-dir"])
            .arg(target);
        assert!(
            cargo.status().is_ok_and(|status| status.success()),
            "cargo build"
        );
        folder.to_owned()
    })
}

pub struct Bench {
    place: TempDir,
}

/// A `grantflow up` that runs.
pub struct Up(Option<Child>);

impl Bench {
    pub fn new() -> io::Result<Self> {
        let place = TempDir::with_prefix("gf")?;
        let bench = Self { place };
        fs::create_dir(bench.programs())?;
        for (_, app) in APPS {
            std::os::unix::fs::symlink(built().join(app), bench.programs().join(app))?;
        }
        Ok(bench)
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        self.place.path()
    }

    /// Where the stages' programs are.
    pub fn programs(&self) -> PathBuf {
        self.folder().join("programs")
    }

    /// A pipeline's file.
    pub fn file(&self, name: &str, text: &str) -> io::Result<PathBuf> {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data");
        let text = text.replace("../../data", &data.display().to_string());
        let path = self.folder().join(format!("{name}.toml"));
        fs::write(&path, text)?;
        Ok(path)
    }

    /// The program, of a user whose runtime folder is here.
    pub fn grantflow(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_grantflow"));
        command
            .args(arguments)
            .env("XDG_RUNTIME_DIR", self.folder())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// `grantflow up` of a file.
    pub fn up(&self, file: &Path) -> Command {
        let mut command = self.grantflow(&["up", "--target", "process", "--json", "--programs"]);
        command.arg(self.programs()).arg(file);
        command
    }

    /// The same, in the background.
    pub fn run(&self, file: &Path) -> io::Result<Up> {
        self.up(file).spawn().map(|child| Up(Some(child)))
    }

    /// The stages, once they are as wanted.
    pub fn status_when(
        &self,
        name: &str,
        wanted: impl Fn(&[Value]) -> bool,
    ) -> Result<Vec<Value>, Failed> {
        let mut last = Vec::new();
        until("the stages are not as they should be", || {
            let output = self.grantflow(&["status", "--json", name]).output();
            let told = output.ok().and_then(|output| json(&output).ok());
            last = told
                .and_then(|told| told["stages"].as_array().cloned())
                .unwrap_or_default();
            !last.is_empty() && wanted(&last)
        })
        .map_err(|error| format!("{error:?}: {last:?}"))?;
        Ok(last)
    }

    /// The pipelines that have a folder.
    pub fn left(&self) -> Vec<String> {
        let folders = fs::read_dir(self.folder().join("grantflow"));
        let folders = folders.into_iter().flatten().flatten();
        folders
            .map(|folder| folder.file_name().to_string_lossy().into_owned())
            .collect()
    }

    /// The processes whose programs are here.
    pub fn processes(&self) -> Vec<i32> {
        let own = self.folder().to_string_lossy().into_owned();
        let all = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok());
        pids.filter(|pid: &i32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            line.starts_with(&own) && is_alive(&Value::from(*pid))
        })
        .collect()
    }
}

impl Up {
    /// Sends a signal.
    pub fn signal(&mut self, signal: Signal) -> Result<(), Failed> {
        let pid = self.0.as_ref().map(|child| Value::from(child.id()));
        send(&pid.unwrap_or_default(), signal)
    }

    /// Waits for the end.
    pub fn wait(&mut self) -> Result<ExitStatus, Failed> {
        Ok(self.output()?.status)
    }

    /// Waits for the end, and for what it said.
    pub fn output(&mut self) -> Result<Output, Failed> {
        let child = self.0.take().ok_or("it has ended already")?;
        Ok(child.wait_with_output()?)
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What a command that went well has printed.
pub fn json(output: &Output) -> Result<Value, Failed> {
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// A stage by name.
pub fn stage<'v>(stages: &'v [Value], name: &str) -> &'v Value {
    static NONE: Value = Value::Null;
    let found = stages.iter().find(|stage| stage["stage"] == name);
    found.unwrap_or(&NONE)
}

/// An edge by name.
pub fn edge<'v>(told: &'v Value, name: &str) -> &'v Value {
    static NONE: Value = Value::Null;
    let edges = told["edges"].as_array();
    let found = edges.and_then(|edges| edges.iter().find(|edge| edge["name"] == name));
    found.unwrap_or(&NONE)
}

/// Whether a stage runs, and readings have come through it. Windows end late: the last stage has none.
pub fn works(stage: &Value) -> bool {
    let received = stage["readings"]["received"].as_u64().unwrap_or(0);
    stage["state"] == "running" && (received > 0 || stage["stage"] == "sink")
}

/// Whether a process runs.
pub fn is_alive(pid: &Value) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
    !stat.is_empty() && !state.starts_with('Z')
}

/// Sends a signal to a process.
pub fn send(pid: &Value, signal: Signal) -> Result<(), Failed> {
    let pid = pid.as_i64().and_then(|pid| i32::try_from(pid).ok());
    let pid = pid.and_then(Pid::from_raw).ok_or("no process")?;
    Ok(kill_process(pid, signal)?)
}

/// Waits until something has happened.
pub fn until(failed: &str, mut happened: impl FnMut() -> bool) -> Result<(), Failed> {
    let begin = Instant::now();
    while !happened() {
        if begin.elapsed() > PATIENCE {
            return Err(failed.into());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
