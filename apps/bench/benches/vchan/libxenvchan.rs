//! Unmodified libxenvchan between two processes, on the stand-ins with which `vchan-linux` is tested against it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use crate::contestants::Sample;
use crate::{Load, cpus, folder};

/// Carries the load, with calls that block or with calls that poll; `None` where the library or a C compiler is missing.
pub fn run(load: Load, count: usize, calls: &str) -> Option<Sample> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| {
        build()
            .inspect_err(|missing| eprintln!("{missing}: libxenvchan is left out"))
            .ok()
    });
    let program = program.as_deref()?;
    let (work, size) = match load {
        Load::Stream(size) => ("stream", size),
        Load::RoundTrip(size) => ("echo", size),
    };
    let [client_cpu, server_cpu] = cpus();
    let start = |role, cpu: usize| -> Child {
        Command::new(program)
            .args([role, calls, work])
            .args([size, count, cpu].map(|number| number.to_string()))
            .env("VCHAN_SOCKET", folder().join("libxenvchan"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program was built just now")
    };
    let (server, client) = (start("server", server_cpu), start("client", client_cpu));
    let ended = [client, server].map(|end| {
        let output = end.wait_with_output().expect("its output is ours");
        assert!(output.status.success(), "libxenvchan: {}", output.status);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut numbers = text.split_whitespace().map(|number| number.parse::<f64>());
        [(); 3].map(|()| numbers.next().and_then(Result::ok).expect("three numbers"))
    });
    let [[nanos, sent, half], [_, answered, _]] = ended;
    Some(Sample {
        nanos: nanos / count as f64,
        events: (sent + answered) * 1000.0 / count as f64,
        half: matches!(load, Load::RoundTrip(_)).then_some(half),
    })
}

fn build() -> Result<PathBuf, &'static str> {
    let home = env::var_os("HOME").map(PathBuf::from);
    let lab = home.map(|home| home.join(".cache/grantflow/lab/parts/tree"));
    let archive = |root: &PathBuf| root.join("usr/lib/x86_64-linux-gnu/libxenvchan.a");
    let root = lab
        .into_iter()
        .chain([PathBuf::from("/")])
        .find(|root| archive(root).is_file())
        .ok_or("no libxenvchan.a (apt-get install libxen-dev)")?;
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("libxenvchan-bench");
    let built = Command::new("gcc")
        .args(["-O2", "-Wall", "-Wextra", "-Werror", "-pthread"])
        .arg("-Wl,--wrap=xenevtchn_notify")
        .arg("-o")
        .arg(&program)
        .arg(package.join("benches/vchan/libxenvchan.c"))
        .arg(package.join("../../vchan/linux/tests/libxenvchan/standins.c"))
        .arg("-isystem")
        .arg(root.join("usr/include"))
        .arg(archive(&root))
        .status()
        .map_err(|_| "no gcc (apt-get install gcc libc6-dev)")?;
    assert!(built.success(), "gcc: {built}");
    Ok(program)
}
