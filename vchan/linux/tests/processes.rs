//! This process and another one, which may be killed at any point: all is delivered or the death is seen, and nothing is left.

mod held;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use held::Held;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use vchan_linux::local::{Folder, Meeting};
use vchan_linux::{ConnectOptions, Layout, Role, Stale, Stream};

/// Far more than anything takes: it makes a hang a failure.
const PATIENCE: Option<Duration> = Some(Duration::from_secs(60));

struct Place {
    root: TempDir,
    folder: Folder,
}

impl Place {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("grantflow")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs::set_permissions(root.path().join("grantflow"), mode).unwrap();
        let folder = Folder::at(root.path().join("grantflow/vchan")).unwrap();
        Self { root, folder }
    }

    fn meeting(&self) -> Meeting {
        Meeting::new(&self.folder, "edge").unwrap()
    }

    /// The other process, in the other role.
    fn peer(&self, ours: Role, layout: Layout, what: &[&str]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vcat"));
        command.env("XDG_RUNTIME_DIR", self.root.path());
        match ours {
            Role::Server => command.arg("connect"),
            Role::Client => {
                let sizes = [layout.left_size(), layout.right_size()].map(|size| size.to_string());
                command.args(["listen", "--ring", &sizes[0], "--back", &sizes[1]])
            }
        };
        command.arg("local:edge").args(what);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.spawn().unwrap()
    }

    fn join(&self, role: Role, layout: Layout) -> std::io::Result<Stream<Meeting>> {
        let meeting = self.meeting();
        match role {
            Role::Server => Stream::offer(&meeting, layout.into(), PATIENCE),
            Role::Client => Stream::connect(&meeting, ConnectOptions::default(), PATIENCE),
        }
    }

    fn assert_empty(&self) {
        let left = fs::read_dir(self.folder.path()).unwrap().count();
        assert_eq!(left, 0, "a socket's file was left");
    }
}

const ROLES: [Role; 2] = [Role::Server, Role::Client];

fn data(len: usize) -> Vec<u8> {
    (0..len as u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

#[test]
fn bytes_come_back_as_they_went_through_rings_of_every_order() {
    let _alone = held::alone();
    let place = Place::new();
    let before = Held::now();
    for ours in ROLES {
        for order in 10..=20 {
            // What libxenvchan would make of it; the two in-page rings go with each other.
            let size = 1 << order;
            let layout = Layout::for_sizes(size, if order == 10 { 2048 } else { size }).unwrap();
            let mut peer = place.peer(ours, layout, &["--", "cat"]);
            let stream = place.join(ours, layout).unwrap();
            let (mut reader, mut writer) = stream.split();
            reader.set_timeout(PATIENCE);
            writer.set_timeout(PATIENCE);
            let sent = data(3 * size + 1);
            let mut back = vec![0; sent.len()];
            thread::scope(|scope| {
                // Around the ring's size: one less, all, one more, and the rest.
                scope.spawn(|| {
                    let mut rest = sent.as_slice();
                    for piece in [size - 1, size, size + 1, 1] {
                        let (now, later) = rest.split_at(piece.min(rest.len()));
                        writer.write_all(now).unwrap();
                        rest = later;
                    }
                    writer.write_all(rest).unwrap();
                });
                reader.read_exact(&mut back).unwrap();
            });
            assert!(back == sent, "{ours:?}, order {order}");
            drop((reader, writer));
            assert!(peer.wait().unwrap().success());
        }
    }
    assert_eq!(Held::now(), before);
    place.assert_empty();
}

// R11 of FAULTS.md.
#[test]
fn a_peer_killed_at_any_point_is_seen_and_leaves_nothing() {
    let _alone = held::alone();
    let place = Place::new();
    let layout = Layout::for_sizes(4096, 4096).unwrap();
    let before = Held::now();
    for ours in ROLES {
        for round in 0..40 {
            let mut peer = place.peer(ours, layout, &["send:/dev/zero"]);
            let mut stream = place.join(ours, layout).unwrap();
            stream.set_read_timeout(PATIENCE);
            // From nothing read to many times the ring.
            let mut some = vec![0; round * 777];
            stream.read_exact(&mut some).unwrap();
            peer.kill().unwrap();
            let error = std::io::copy(&mut stream, &mut std::io::sink()).unwrap_err();
            assert_eq!(
                error.kind(),
                ErrorKind::ConnectionReset,
                "{ours:?} {round}: {error}"
            );
            let error = stream.write_all(b"hello?").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            peer.wait().unwrap();
            drop(stream);
            place.assert_empty();
        }
    }
    assert_eq!(Held::now(), before);
}

#[test]
fn a_peer_killed_while_it_starts_is_followed_by_the_next_one() {
    let _alone = held::alone();
    let place = Place::new();
    let layout = Layout::default();
    let file = place.root.path().join("file");
    fs::write(&file, "alive").unwrap();
    let send = format!("send:{}", file.display());
    let before = Held::now();
    for ours in ROLES {
        for round in 0..30 {
            thread::scope(|scope| {
                let reading = scope.spawn(|| {
                    // As often as one dies that had come: then the next one comes.
                    loop {
                        let mut stream = place.join(ours, layout).unwrap();
                        stream.set_read_timeout(PATIENCE);
                        let mut text = String::new();
                        match stream.read_to_string(&mut text) {
                            Ok(_) => break text,
                            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
                        }
                    }
                });
                let mut killed = place.peer(ours, layout, &["recv:-"]);
                thread::sleep(Duration::from_micros(round * 200));
                killed.kill().unwrap();
                killed.wait().unwrap();
                let mut next = place.peer(ours, layout, &[&send]);
                assert_eq!(reading.join().unwrap(), "alive", "{ours:?} {round}");
                assert!(next.wait().unwrap().success());
            });
            place.assert_empty();
        }
    }
    assert_eq!(Held::now(), before);
}

#[test]
fn a_poll_loop_of_ones_own_is_woken_for_bytes_space_and_death() {
    let _alone = held::alone();
    let place = Place::new();
    let layout = Layout::for_sizes(4096, 4096).unwrap();
    for ours in ROLES {
        let mut peer = place.peer(ours, layout, &["--", "cat"]);
        let mut stream = place.join(ours, layout).unwrap();
        stream.set_nonblocking(true);
        let sent = data(100_000);
        let (mut out, mut back) = (sent.as_slice(), Vec::new());
        let mut piece = [0; 1500];
        while back.len() < sent.len() {
            let (mut stuck_out, mut stuck_in) = (out.is_empty(), false);
            while !(stuck_out && stuck_in) {
                if !stuck_out {
                    match stream.write(out) {
                        Ok(written) => out = &out[written..],
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::WouldBlock);
                            stuck_out = true;
                        }
                    }
                    stuck_out |= out.is_empty();
                }
                match stream.read(&mut piece) {
                    Ok(read) => {
                        assert!(read > 0, "the end, after {} bytes", back.len());
                        back.extend_from_slice(&piece[..read]);
                    }
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::WouldBlock);
                        stuck_in = true;
                    }
                }
            }
            if back.len() < sent.len() {
                wait_readable(&stream);
            }
        }
        assert!(back == sent);
        peer.kill().unwrap();
        let error = loop {
            match stream.read(&mut piece) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => wait_readable(&stream),
                other => break other.unwrap_err(),
            }
        };
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        peer.wait().unwrap();
    }
}

fn wait_readable(stream: &impl AsFd) {
    let limit = rustix::event::Timespec {
        tv_sec: 60,
        tv_nsec: 0,
    };
    let mut polled = [PollFd::new(stream, PollFlags::IN)];
    assert_eq!(poll(&mut polled, Some(&limit)).unwrap(), 1, "no event came");
}

#[test]
fn a_wait_has_an_end_and_loses_nothing() {
    let _alone = held::alone();
    let place = Place::new();
    let layout = Layout::for_sizes(4096, 4096).unwrap();
    let mut peer = place.peer(
        Role::Server,
        layout,
        &["--", "sh", "-c", "read line; echo late"],
    );
    let mut stream = place.join(Role::Server, layout).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(50)));
    let error = stream.read(&mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    stream.write_all(b"now\n").unwrap();
    stream.set_read_timeout(PATIENCE);
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(text, "late\n");
    assert!(peer.wait().unwrap().success());
    drop(stream);
    let none = Stream::connect(
        &place.meeting(),
        ConnectOptions::default(),
        Some(Duration::ZERO),
    );
    assert_eq!(
        none.err().map(|error| error.kind()),
        Some(ErrorKind::TimedOut)
    );
}

/// R13: a process that is stopped has its port and its pages as before. A read with a limit says that it is stale, as often as
/// it is asked, and reads on once it goes on.
#[test]
fn r13_a_stopped_process_is_stale_and_is_read_on() {
    let _alone = held::alone();
    for role in ROLES {
        let place = Place::new();
        let layout = Layout::for_sizes(4096, 4096).unwrap();
        let endless = ["--", "sh", "-c", "while sleep 0.01; do echo x; done"];
        let mut peer = place.peer(role, layout, &endless);
        let pid = Pid::from_child(&peer);
        let mut stream = place.join(role, layout).unwrap();
        for _ in 0..2 {
            stream.set_read_timeout(PATIENCE);
            assert!(stream.read(&mut [0; 64]).unwrap() > 0);
            kill_process(pid, Signal::STOP).unwrap();
            stream.set_read_timeout(Some(Duration::from_millis(50)));
            // What was on its way comes first.
            let error = std::iter::repeat_with(|| stream.read(&mut [0; 64]))
                .find_map(Result::err)
                .unwrap();
            for error in [error, stream.read(&mut [0; 64]).unwrap_err()] {
                assert_eq!(error.kind(), ErrorKind::TimedOut);
                assert!(error.get_ref().unwrap().is::<Stale>());
            }
            kill_process(pid, Signal::CONT).unwrap();
        }
        peer.kill().unwrap();
        peer.wait().unwrap();
        stream.set_read_timeout(PATIENCE);
        let error = std::iter::repeat_with(|| stream.read(&mut [0; 64])).find_map(Result::err);
        assert_eq!(
            error.map(|error| error.kind()),
            Some(ErrorKind::ConnectionReset)
        );
    }
}
