//! A reader that goes away ends the program as it ends others: by the signal, without a word.

use std::io::{self, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

const SIGPIPE: i32 = 13;

/// The program with these arguments.
fn grantflow(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_grantflow"));
    command
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null());
    command
}

/// A pipe whose reader has gone.
fn unread() -> io::PipeWriter {
    let (_, writer) = io::pipe().unwrap();
    writer
}

#[test]
fn results_that_nobody_reads() {
    for arguments in [
        &["images", "--list"][..],
        &["images", "--list", "--json"],
        &["lab", "test", "--list"],
    ] {
        let output = grantflow(arguments).stdout(unread()).output().unwrap();
        assert_eq!(output.status.signal(), Some(SIGPIPE), "{arguments:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments:?}");
    }
}

#[test]
fn messages_that_nobody_reads() {
    let status = grantflow(&["lab", "run", "/nowhere"])
        .stderr(unread())
        .status()
        .unwrap();
    assert_eq!(status.signal(), Some(SIGPIPE));
}

#[test]
fn results_that_cannot_be_written_are_a_failure_that_says_so() {
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let mut child = grantflow(&["images", "--list"])
        .stdout(full)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(said.contains("No space left"), "{said}");
}
