//! Unmodified libxenvchan at the other end, without Xen: it runs in a process of its own on stand-ins for the libraries below
//! it (`standins.c`), which speak the platform between processes. Where the library or a C compiler is missing, this says so
//! and the tests count as ignored.

mod differences;
#[path = "../held/mod.rs"]
mod held;

use std::env;
use std::io::{BufReader, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use held::Held;
use libtest_mimic::{Arguments, Failed, Trial};
use tempfile::TempDir;
use vchan_linux::local::{Folder, Meeting};
use vchan_linux::{ConnectOptions, Layout, Role, Stream, WriteHalf};

/// Far more than anything takes: it makes a hang a failure.
const PATIENCE: Option<Duration> = Some(Duration::from_secs(60));

type Test = fn(&Path);

fn main() {
    let arguments = Arguments::from_args();
    let program = build();
    if let Err(missing) = &program {
        eprintln!("{missing}: the tests against libxenvchan are IGNORED");
    }
    let tests: [(&str, Test); 9] = [
        ("every_order_that_libxenvchan_makes", every_order),
        ("messages_come_back_all_or_nothing", packets),
        (
            "what_it_sends_before_it_closes_is_read",
            it_closes_after_its_data,
        ),
        (
            "what_is_drained_before_our_close_reaches_it",
            we_close_after_our_data,
        ),
        ("it_closes_while_we_write", it_closes_amid_our_data),
        ("it_is_killed", it_is_killed),
        ("every_length_around_every_ring", differences::every_length),
        (
            "it_loses_what_comes_with_a_close_and_we_do_not",
            differences::last_words,
        ),
        (
            "it_never_tells_of_a_corrupt_index_and_we_do",
            differences::corrupt_index,
        ),
    ];
    let trials = tests.map(|(name, test)| {
        let path = program.as_ref().ok().cloned();
        let run = move || {
            test(&path.ok_or("the program is missing")?);
            Ok::<(), Failed>(())
        };
        Trial::test(name, run).with_ignored_flag(program.is_err())
    });
    let _alone = held::alone();
    let before = Held::now();
    let conclusion = libtest_mimic::run(&arguments, trials.into());
    assert_eq!(Held::now(), before, "left behind");
    conclusion.exit();
}

/// Compiles the C program; says what is missing.
fn build() -> Result<PathBuf, String> {
    // The lab's cache has Debian's packages, unpacked; `libxen-dev` may also be installed.
    let absolute = |name: &str| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    let lab = cache.map(|cache| cache.join("grantflow/lab/parts/tree"));
    let archive = |root: &PathBuf| root.join("usr/lib/x86_64-linux-gnu/libxenvchan.a");
    let roots = lab.into_iter().chain([PathBuf::from("/")]);
    let root = { roots }
        .find(|root| archive(root).is_file())
        .ok_or("no libxenvchan.a (grantflow lab, or apt-get install libxen-dev)")?;
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/libxenvchan");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("libxenvchan-peer");
    let output = Command::new("gcc")
        .args(["-O2", "-g", "-Wall", "-Wextra", "-Werror", "-pthread", "-o"])
        .arg(&program)
        .args(["peer.c", "standins.c"].map(|name| sources.join(name)))
        .arg("-isystem")
        .arg(root.join("usr/include"))
        .arg(archive(&root))
        .output()
        .map_err(|_| "no gcc (apt-get install gcc libc6-dev)")?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "gcc: {said}");
    Ok(program)
}

/// Where the two meet.
struct Place {
    root: TempDir,
    folder: Folder,
}

impl Place {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::at(root.path().join("vchan")).unwrap();
        Self { root, folder }
    }

    /// The C program alone, in the role that is not ours.
    fn start(&self, program: &Path, ours: Role, layout: Layout, work: &str) -> Peer {
        let mut command = Command::new(program);
        match ours {
            Role::Server => command.arg("client"),
            Role::Client => {
                let sizes = [layout.left_size(), layout.right_size()];
                command
                    .arg("server")
                    .args(sizes.map(|size| size.to_string()))
            }
        };
        command
            .args(work.split(' '))
            .env("VCHAN_SOCKET", self.root.path().join("vchan/edge"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        Peer(Some(command.spawn().unwrap()))
    }

    /// Both ends of a channel: the C program in the role that is not ours.
    fn open(
        &self,
        program: &Path,
        ours: Role,
        layout: Layout,
        work: &str,
    ) -> (Stream<Meeting>, Peer) {
        let peer = self.start(program, ours, layout, work);
        let meeting = Meeting::new(&self.folder, "edge").unwrap();
        let stream = match ours {
            Role::Server => Stream::offer(&meeting, layout.into(), PATIENCE),
            Role::Client => Stream::connect(&meeting, ConnectOptions::default(), PATIENCE),
        };
        let mut stream = stream.unwrap();
        assert_eq!(stream.reader().inner().layout(), layout);
        stream.set_read_timeout(PATIENCE);
        stream.set_write_timeout(PATIENCE);
        (stream, peer)
    }
}

/// The C program; killed if a test fails.
struct Peer(Option<Child>);

impl Peer {
    /// How it ended, and what it printed.
    fn ended(mut self) -> (Option<i32>, String) {
        let output = self.0.take().unwrap().wait_with_output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout)
                .unwrap()
                .trim_end()
                .to_owned(),
        )
    }

    /// Its input and output.
    fn talk(&mut self) -> (ChildStdin, BufReader<ChildStdout>) {
        let child = self.0.as_mut().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        (child.stdin.take().unwrap(), output)
    }

    fn kill(&mut self) {
        self.0.as_mut().unwrap().kill().unwrap();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            // It may have ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

const ROLES: [Role; 2] = [Role::Server, Role::Client];

/// The bytes that the C program makes too.
fn data(len: usize) -> Vec<u8> {
    (0..len as u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

/// Count and FNV-1a, as the C program prints them.
fn sum(data: &[u8]) -> String {
    let hash = data.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    format!("{} {hash:016x}", data.len())
}

/// Every pair of orders that `libxenvchan_server_init` makes out of some pair of sizes.
fn orders() -> Vec<Layout> {
    let mut found: Vec<Layout> = Vec::new();
    for left in 10..=20 {
        for right in 10..=20 {
            let layout = Layout::for_sizes(1 << left, 1 << right).unwrap();
            if !found.contains(&layout) {
                found.push(layout);
            }
        }
    }
    assert_eq!(found.len(), 101);
    found
}

/// Sends in pieces of these lengths, again and again, while all of it comes back.
fn exchange(stream: Stream<Meeting>, sent: &[u8], pieces: &[usize]) -> WriteHalf<Meeting> {
    let (mut reader, mut writer) = stream.split();
    let mut back = vec![0; sent.len()];
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut rest = sent;
            for &piece in pieces.iter().cycle() {
                let (now, later) = rest.split_at(piece.min(rest.len()));
                writer.write_all(now).unwrap();
                rest = later;
                if rest.is_empty() {
                    return;
                }
            }
        });
        reader.read_exact(&mut back).unwrap();
    });
    assert!(back == sent, "{} bytes came back changed", sent.len());
    writer
}

fn every_order(program: &Path) {
    for ours in ROLES {
        for layout in orders() {
            let place = Place::new();
            let (left, right) = (layout.left_size() as usize, layout.right_size() as usize);
            let sent = data(2 * left.max(right) + 3);
            let (stream, peer) = place.open(program, ours, layout, "echo stream 5000");
            // Around both rings' sizes, and single bytes between them.
            let pieces = [left - 1, 1, left, right + 1, 1, right - 1, left + 1];
            drop(exchange(stream, &sent, &pieces));
            assert_eq!(peer.ended(), (Some(0), sum(&sent)), "{ours:?} {layout:?}");
        }
    }
}

fn packets(program: &Path) {
    for ours in ROLES {
        for (left, right) in [
            (1024, 2048),
            (2048, 1024),
            (2048, 4096),
            (4096, 4096),
            (65536, 65536),
        ] {
            let layout = Layout::for_sizes(left, right).unwrap();
            let smaller = left.min(right);
            for piece in [1, 7, smaller - 1, smaller] {
                let place = Place::new();
                let work = format!("echo packet {piece}");
                let (stream, peer) = place.open(program, ours, layout, &work);
                let sent = data(piece * (3 * left.max(right) / piece).min(5000));
                drop(exchange(stream, &sent, &[piece, 2 * piece + 1, 1]));
                assert_eq!(
                    peer.ended(),
                    (Some(0), sum(&sent)),
                    "{ours:?} {layout:?} {piece}"
                );
            }
        }
    }
}

fn it_closes_after_its_data(program: &Path) {
    for ours in ROLES {
        for layout in [Layout::default(), Layout::for_sizes(8192, 8192).unwrap()] {
            for len in [0, 1, 1023, 1024, 1025, 2048, 8191, 8192, 8193, 100_001] {
                let place = Place::new();
                let work = format!("source 3000 {len}");
                let (mut stream, peer) = place.open(program, ours, layout, &work);
                let mut came = Vec::new();
                stream.read_to_end(&mut came).unwrap();
                assert!(
                    came == data(len),
                    "{ours:?} {layout:?}: {} of {len}",
                    came.len()
                );
                let error = stream.write_all(b"more").unwrap_err();
                assert_eq!(error.kind(), ErrorKind::BrokenPipe);
                assert_eq!(peer.ended(), (Some(0), sum(&came)));
            }
        }
    }
}

fn we_close_after_our_data(program: &Path) {
    for ours in ROLES {
        for len in [0, 1, 1024, 4095, 4096, 4097, 100_001] {
            let place = Place::new();
            let layout = Layout::for_sizes(4096, 4096).unwrap();
            // Whatever it reads it sends back, which is read too, or its ring would be full.
            let (stream, peer) = place.open(program, ours, layout, "echo stream 1000");
            let sent = data(len);
            let mut writer = exchange(stream, &sent, &[700]);
            writer.drained().unwrap();
            writer.inner().close();
            assert_eq!(peer.ended(), (Some(0), sum(&sent)), "{ours:?}");
        }
    }
}

fn it_closes_amid_our_data(program: &Path) {
    for ours in ROLES {
        for len in [1, 1000, 4096, 10_000] {
            let place = Place::new();
            let layout = Layout::for_sizes(4096, 4096).unwrap();
            let work = format!("sink {len}");
            let (mut stream, peer) = place.open(program, ours, layout, &work);
            let sent = data(1 << 20);
            // It waits for space until the peer is gone.
            let error = stream.write_all(&sent).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{error}");
            assert_eq!(stream.read(&mut [0]).unwrap(), 0);
            assert_eq!(peer.ended(), (Some(0), sum(&sent[..len])));
        }
    }
}

fn it_is_killed(program: &Path) {
    for ours in ROLES {
        for round in 0..10 {
            let place = Place::new();
            let layout = Layout::for_sizes(4096, 4096).unwrap();
            let (mut stream, mut peer) =
                place.open(program, ours, layout, "source 3000 1000000000");
            let mut some = vec![0; round * 1000];
            stream.read_exact(&mut some).unwrap();
            assert!(some == data(some.len()));
            peer.kill();
            let error = std::io::copy(&mut stream, &mut std::io::sink()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
        }
    }
}
