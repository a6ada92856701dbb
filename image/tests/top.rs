//! `grantflow top` on a terminal, with an `xl` and a xenstore of scripts: however it ends, the terminal is as it was before.

use std::fs::{self, File, Permissions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use grantflow::compose::record::{Record, StageRecord};
use grantflow::xl::Uuid;
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};

/// Who may not see the machine's own pipelines, if we may.
const NOBODY: u32 = 65_534;

const PATIENCE: Duration = Duration::from_secs(60);

/// Held from the writing of programs to their start: a child that another test starts meanwhile would have them open for
/// writing for a moment, and the kernel starts no such program (`ETXTBSY`).
static STARTING: Mutex<()> = Mutex::new(());

const LIST: &str = "\
Name ID Mem VCPUs State Time(s) UUID Reason-Code Security Label
Domain-0 0 512 1 r----- 33.3 00000000-0000-0000-0000-000000000000 - -
p-flow 7 1 1 -b---- 8.5 c521b7c1-cb50-4aee-901d-ea53cfed144f - -
";

/// A terminal with `grantflow top` on it.
struct Top {
    folder: tempfile::TempDir,
    child: Child,
    /// What the user types into.
    keyboard: File,
    /// What the terminal was told so far.
    seen: Arc<Mutex<Vec<u8>>>,
    /// The program's end, and how it was set before.
    tty: File,
    before: Termios,
}

impl Top {
    /// Starts it with an `xl` of these lines of shell.
    fn start(xl: &str) -> Self {
        let starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        open_to_all(folder.path());
        let record = at("run/grantflow/p/record.json");
        fs::create_dir_all(record.parent().unwrap()).unwrap();
        fs::write(&record, serde_json::to_vec(&pipeline()).unwrap()).unwrap();
        fs::create_dir(at("bin")).unwrap();
        fs::write(at("list"), LIST).unwrap();
        let list = format!("cat '{}'", at("list").display());
        script(&at("bin/xl"), &xl.replace("LIST", &list));
        script(
            &at("bin/xenstore-ls"),
            "echo \"$2/state = \\\"waiting \\\\x1b[2J\\\"\"",
        );
        let program = at("grantflow");
        fs::copy(env!("CARGO_BIN_EXE_grantflow"), &program).unwrap();

        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let tty: File = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty())
            .unwrap()
            .into();
        let size = Winsize {
            ws_row: 24,
            ws_col: 80,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&tty, size).unwrap();
        let before = tcgetattr(&tty).unwrap();
        let mut command = Command::new(program);
        command
            .args(["top", "--interval", "1", "p"])
            .env("PATH", format!("{}:/usr/bin:/bin", at("bin").display()))
            .env("XDG_RUNTIME_DIR", at("run"))
            .env("TERM", "xterm")
            .current_dir("/")
            .stdin(tty.try_clone().unwrap())
            .stdout(tty.try_clone().unwrap())
            .stderr(tty.try_clone().unwrap());
        if rustix::process::geteuid().is_root() {
            chown(record, Some(NOBODY), Some(NOBODY)).unwrap();
            command.uid(NOBODY).gid(NOBODY);
        }
        let child = command.spawn().unwrap();
        drop(starting);
        let keyboard: File = master.into();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (mut screen, told) = (keyboard.try_clone().unwrap(), Arc::clone(&seen));
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = screen.read(&mut bytes) {
                told.lock().unwrap().extend(&bytes[..count]);
            }
        });
        Self {
            folder,
            child,
            keyboard,
            seen,
            tty,
            before,
        }
    }

    fn seen(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap()).into_owned()
    }

    fn until(&mut self, what: &str, mut is: impl FnMut(&mut Self) -> bool) {
        let begin = Instant::now();
        while !is(self) {
            assert!(begin.elapsed() < PATIENCE, "{what}: {:?}", self.seen());
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn shows(&mut self, text: &str) {
        self.until(text, |top| top.seen().contains(text));
    }

    /// It ends with this code, and the terminal is given back: its screen, its cursor, its keys.
    fn has_ended(mut self, code: i32) {
        let mut status = None;
        self.until("its end", |top| {
            status = top.child.try_wait().unwrap();
            status.is_some()
        });
        assert_eq!(status.unwrap().code(), Some(code), "{:?}", self.seen());
        self.shows("\x1b[?1049l");
        let seen = self.seen();
        let (there, back) = (seen.rfind("\x1b[?25l"), seen.rfind("\x1b[?25h"));
        assert!(there < back, "{seen:?}");
        let after = tcgetattr(&self.tty).unwrap();
        assert_eq!(
            (after.local_modes, after.input_modes, after.output_modes),
            (
                self.before.local_modes,
                self.before.input_modes,
                self.before.output_modes
            )
        );
    }
}

impl Drop for Top {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pipeline() -> Record {
    let uuid = "c521b7c1-cb50-4aee-901d-ea53cfed144f".to_owned();
    Record {
        generation: 1,
        stages: vec![StageRecord {
            name: "flow".into(),
            domain: "p-flow".into(),
            uuid: Uuid::try_from(uuid).unwrap(),
            digest: String::new(),
            edges: Vec::new(),
            restarts: 2,
        }],
        ..Record::default()
    }
}

fn open_to_all(path: &Path) {
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}

fn script(path: &Path, text: &str) {
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    open_to_all(path);
}

#[test]
fn a_key_ends_it() {
    let mut top = Top::start("LIST");
    top.shows("p: 1 stages, 1 up");
    top.shows("waiting \\x1b[2J");
    top.keyboard.write_all(b"?").unwrap();
    top.shows("keys and columns");
    top.keyboard.write_all(b"q").unwrap();
    top.has_ended(0);
}

#[test]
fn signals_end_it() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let mut top = Top::start("LIST");
        top.shows("p: 1 stages, 1 up");
        let id = Pid::from_child(&top.child);
        kill_process(id, signal).unwrap();
        top.has_ended(0);
    }
}

#[test]
fn it_ends_with_its_pipeline() {
    let mut top = Top::start("LIST");
    top.shows("p: 1 stages, 1 up");
    fs::remove_file(top.folder.path().join("run/grantflow/p/record.json")).unwrap();
    top.shows("p is down");
    top.has_ended(0);
}

#[test]
fn an_xl_that_hangs_or_fails_holds_up_no_key() {
    let mut top = Top::start("echo 'xl: \x1b[2J no Xen' >&2; exit 1");
    top.shows("no Xen");
    assert!(!top.seen().contains("\x1b[2J no Xen"));
    top.keyboard.write_all(b"q").unwrap();
    top.has_ended(0);
    let mut top = Top::start("exec sleep 20");
    top.shows("looking");
    top.keyboard.write_all(b"\x03").unwrap();
    top.has_ended(0);
}
