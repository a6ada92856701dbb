//! A small disk for tests.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use crate::output;

/// Set in the process in which a test has its small disk, to where that is.
const DISK: &str = "GRANTFLOW_SMALL_DISK";

/// Runs a test with a file system of this size, as `mount` takes it: in a process of its own, since only that sees it. Says
/// aloud where nobody may mount one.
pub fn on_a_small_disk(module: &str, name: &str, size: &str, test: impl FnOnce(&Path)) {
    if let Some(disk) = std::env::var_os(DISK) {
        return test(Path::new(&disk));
    }
    let disk = tempfile::tempdir().unwrap();
    let mounted = |then: &[&str]| {
        Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c"])
            .arg(r#"mount -t tmpfs -o size="$1" none "$2" && shift 2 && exec "$@""#)
            .args(["sh", size])
            .arg(disk.path())
            .args(then)
            .env(DISK, disk.path())
            .output()
    };
    if !mounted(&["true"]).is_ok_and(|tried| tried.status.success()) {
        output::tell(format_args!(
            "SKIPPED: {name}: no file system can be mounted here (unshare --user --map-root-user --mount)"
        ));
        return;
    }
    let own = std::env::current_exe().unwrap();
    // Without the crate's name, as the harness lists it.
    let (_, module) = module.split_once("::").unwrap();
    let full = format!("{module}::{name}");
    let ran = mounted(&[own.to_str().unwrap(), "--exact", &full, "--nocapture"]).unwrap();
    let [said, wrong] = [&ran.stdout, &ran.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(
        ran.status.success() && said.contains("1 passed"),
        "{said}{wrong}"
    );
}

/// Fills a disk to its last byte.
pub fn fill(disk: &Path) {
    let mut file = File::create(disk.join("filling")).unwrap();
    for bytes in [1 << 16, 1] {
        while file.write_all(&vec![0; bytes]).is_ok() {}
    }
}
