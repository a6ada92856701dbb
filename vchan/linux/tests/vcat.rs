//! The program `vcat` between processes of this host: its modes, what it says and how it ends, and kill -9.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A folder to meet in, and programs that do.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn vcat(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vcat"));
        command
            .args(line.split_whitespace())
            .env("XDG_RUNTIME_DIR", self.0.path());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn start(&self, line: &str) -> Child {
        self.vcat(line).spawn().unwrap()
    }

    /// Runs it with this input.
    fn with_input(&self, line: &str, input: &[u8]) -> Output {
        let mut child = self.vcat(line).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        thread::scope(|scope| {
            // It may end before it has read everything.
            scope.spawn(move || stdin.write_all(input));
            child.wait_with_output().unwrap()
        })
    }

    fn sockets(&self) -> Vec<String> {
        let folder = self.0.path().join("grantflow/vchan");
        let entries = fs::read_dir(folder).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    /// Waits until the server's socket stands.
    fn until_offered(&self, name: &str) {
        let socket = self.0.path().join("grantflow/vchan").join(name);
        until(|| socket.exists());
    }
}

/// Looks again and again, for as long as the slowest machine may take.
fn until(mut what: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if what() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("it has not come to that within 30 s");
}

fn data(len: usize) -> Vec<u8> {
    (0..len as u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

fn ended_well(child: Child) -> Vec<u8> {
    good(child.wait_with_output().unwrap())
}

fn good(output: Output) -> Vec<u8> {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
    output.stdout
}

/// What it said on its way to `status`.
fn bad(output: &Output, status: i32) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(status), "{said}");
    said
}

#[test]
fn files_go_either_way_and_arrive_as_they_were() {
    for (from, to) in [("listen", "connect"), ("connect", "listen")] {
        let place = Place::new();
        let sent = data(3_000_001);
        fs::write(place.path("in"), &sent).unwrap();
        let to = place.start(&format!("{to} local:e recv:{}", place.path("out")));
        let from = place.start(&format!("{from} local:e send:{}", place.path("in")));
        ended_well(from);
        ended_well(to);
        assert!(fs::read(place.path("out")).unwrap() == sent);
        assert_eq!(place.sockets(), [""; 0]);
    }
}

#[test]
fn programs_talk_and_their_failure_is_told() {
    let place = Place::new();
    let program = |line: &str, script: &str| {
        let mut command = place.vcat(line);
        command.args(["--", "sh", "-c", script]).spawn().unwrap()
    };
    let server = program("listen local:e", "read question; echo \"$question it is\"");
    let client = program(
        "connect local:e",
        "echo cold; read answer; test \"$answer\" = 'cold it is'",
    );
    ended_well(client);
    ended_well(server);

    let server = program("listen local:e", "echo that is all; exit 3");
    let client = place.start("connect local:e recv:-");
    assert_eq!(ended_well(client), b"that is all\n");
    assert!(bad(&server.wait_with_output().unwrap(), 1).contains("exit status: 3"));
    let nothing = place
        .vcat("listen local:e")
        .args(["--", "/nonexistent"])
        .spawn()
        .unwrap();
    let mut client = place.start("connect local:e recv:-");
    assert!(bad(&nothing.wait_with_output().unwrap(), 1).contains("/nonexistent"));
    assert!(client.wait().unwrap().success());
    assert_eq!(place.sockets(), [""; 0]);
}

#[test]
fn the_last_answer_is_waited_for() {
    let place = Place::new();
    let server = place.start("listen local:e -- cat");
    let sent = data(200_000);
    let answer = good(place.with_input("connect --linger 2 local:e", &sent));
    assert!(
        answer == sent,
        "{} of {} bytes came back",
        answer.len(),
        sent.len()
    );
    ended_well(server);
    assert_eq!(place.sockets(), [""; 0]);
}

#[test]
fn unix_sockets_are_joined() {
    let place = Place::new();
    let behind = UnixListener::bind(place.path("behind")).unwrap();
    let server = place.start(&format!("listen local:e unix:{}", place.path("behind")));
    let client = place.start(&format!(
        "connect local:e unix-listen:{}",
        place.path("before")
    ));
    until(|| Path::new(&place.path("before")).exists());
    let mut near = UnixStream::connect(place.path("before")).unwrap();
    let (mut far, _) = behind.accept().unwrap();
    near.write_all(b"question").unwrap();
    let mut text = [0; 8];
    far.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"question");
    far.write_all(b"answer").unwrap();
    drop(far);
    let mut answer = String::new();
    near.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "answer");
    drop(near);
    ended_well(client);
    ended_well(server);
    assert!(
        !Path::new(&place.path("before")).exists(),
        "the socket's file was left"
    );
}

#[test]
fn wrong_command_lines_and_absent_peers_are_told() {
    let place = Place::new();
    let status = |line: &str| place.vcat(line).output().unwrap();
    assert!(bad(&status("listen echo"), 2).contains("local:NAME"));
    assert!(bad(&status("listen local:.."), 2).contains("no name"));
    assert!(bad(&status("connect xen:0:a//b"), 2).contains("slashes"));
    assert!(bad(&status("connect --wait 0.1 local:e"), 1).contains("no peer"));
    assert!(bad(&status("listen --wait 0.1 local:e"), 1).contains("no peer"));
    assert_eq!(place.sockets(), [""; 0]);
    let help = String::from_utf8(good(status("--help"))).unwrap();
    assert!(help.contains("unix-listen:PATH") && help.contains("Exit status"));
    let server = place.start("listen local:e recv:-");
    place.until_offered("e");
    assert!(bad(&status("listen local:e"), 1).contains("another server offers e"));
    let client = place
        .vcat("connect local:e")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    thread::sleep(Duration::from_millis(200));
    assert!(bad(&status("connect local:e"), 1).contains("a client already"));
    // Its standard input ends.
    ended_well(client);
    ended_well(server);
}

#[test]
fn a_channel_on_which_nothing_moves_may_be_given_up() {
    let place = Place::new();
    let mut server = place.start("listen local:e recv:/dev/null");
    let client = place
        .vcat("connect --idle 0.2 local:e")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let output = client.wait_with_output().unwrap();
    assert!(bad(&output, 1).contains("nothing has moved for 0.2 s"));
    assert!(server.wait().unwrap().success());
}

#[test]
fn a_signal_ends_it_in_good_order() {
    let place = Place::new();
    let server = place.start("listen local:e recv:/dev/null");
    place.until_offered("e");
    let client = place
        .vcat("connect local:e")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    until(|| is_connected(&server) && is_connected(&client));
    kill_process(pid(&server), Signal::TERM).unwrap();
    let output = server.wait_with_output().unwrap();
    assert!(bad(&output, 1).contains("signal"));
    ended_well(client);
    assert_eq!(place.sockets(), [""; 0]);
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// Whether it has mapped a channel's pages.
fn is_connected(child: &Child) -> bool {
    let maps = fs::read_to_string(format!("/proc/{}/maps", child.id())).unwrap();
    maps.matches("memfd:vchan").count() == 3
}

#[test]
fn output_that_takes_no_more_is_a_failure() {
    let place = Place::new();
    let mut server = place.start("listen local:e send:/dev/zero");
    let mut client = place.start("connect local:e recv:-");
    client
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut [0; 1000])
        .unwrap();
    drop(client.stdout.take());
    let output = client.wait_with_output().unwrap();
    assert!(bad(&output, 1).contains("takes no more"));
    let mut said = String::new();
    assert_eq!(server.wait().unwrap().code(), Some(1));
    server
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert!(said.contains("before the peer had read the last"), "{said}");
}

// R11 of FAULTS.md.
#[test]
fn a_peer_that_is_killed_is_seen_and_leaves_nothing() {
    for (stays, dies) in [("listen", "connect"), ("connect", "listen")] {
        // It waits for bytes; it is in the middle of sending; it cannot send any more.
        for (staying, dying) in [
            ("recv:-", "recv:-"),
            ("recv:/dev/null", "send:/dev/zero"),
            ("send:/dev/zero", "unix-listen:"),
        ] {
            let place = Place::new();
            let dying = match dying {
                "unix-listen:" => format!("unix-listen:{}", place.path("never")),
                other => other.to_owned(),
            };
            let mut dies = place.start(&format!("{dies} local:e {dying}"));
            let stays = place.start(&format!("{stays} local:e {staying}"));
            until(|| is_connected(&dies) && is_connected(&stays));
            dies.kill().unwrap();
            dies.wait().unwrap();
            let output = stays.wait_with_output().unwrap();
            assert!(
                bad(&output, 1).contains("the peer died"),
                "{staying} {dying}"
            );
            assert_eq!(place.sockets(), [""; 0]);
        }
    }
}

#[test]
fn the_socket_of_a_killed_server_is_in_nobodys_way() {
    let place = Place::new();
    let mut killed = place.start("listen local:e");
    place.until_offered("e");
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!(place.sockets(), ["e"]);
    let client = place.start("connect local:e recv:-");
    let server = place.with_input("listen local:e", b"alive");
    good(server);
    assert_eq!(ended_well(client), b"alive");
    assert_eq!(place.sockets(), [""; 0]);
}
