//! The other process is a liar: what it may do to us between connecting and dying.

mod held;

use std::fs;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use held::Held;
use proptest::prelude::*;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, accept, bind, connect, listen, recv, send, sendmsg, socket_with,
};
use tempfile::TempDir;
use vchan_linux::local::{Error, Folder, Meeting};
use vchan_linux::platform::{Access, Rendezvous, SharedMemory};
use vchan_linux::{
    ConnectError, ConnectOptions, Endpoint, OfferOptions, Stream, block_on, block_until, interface,
};

const PATIENCE: Option<Duration> = Some(Duration::from_secs(60));

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

    fn meeting(&self) -> Meeting {
        Meeting::new(&self.folder, "edge").unwrap()
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("edge")
    }
}

fn seqpacket() -> OwnedFd {
    let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
    socket_with(family, kind, SocketFlags::CLOEXEC, None).unwrap()
}

/// A server of our own making, which sends this to the first client and returns the connection.
fn serve(place: &Place, message: Vec<u8>, files: Vec<OwnedFd>) -> thread::JoinHandle<OwnedFd> {
    let listener = seqpacket();
    bind(&listener, &SocketAddrUnix::new(place.socket()).unwrap()).unwrap();
    listen(&listener, 1).unwrap();
    thread::spawn(move || {
        let client = accept(&listener).unwrap();
        let files: Vec<BorrowedFd<'_>> = files.iter().map(|file| file.as_fd()).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !files.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(&files)));
        }
        // A message without a byte says nothing, as a real one never does.
        sendmsg(
            &client,
            &[IoSlice::new(&message)],
            &mut control,
            SendFlags::empty(),
        )
        .unwrap();
        client
    })
}

/// `ring-ref`, `port` and runs of pages, as an honest server says it.
fn hello(ring_ref: u32, port: u32, runs: &[(u32, u32)]) -> Vec<u8> {
    let head = [0, ring_ref, port, runs.len() as u32];
    let runs = runs.iter().flat_map(|&(first, pages)| [first, pages]);
    let words = head.into_iter().chain(runs).flat_map(u32::to_ne_bytes);
    b"vchan\0\0\x01".iter().copied().chain(words).collect()
}

fn memfd(bytes: u64, seals: SealFlags) -> OwnedFd {
    let file = memfd_create("x", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&file, bytes).unwrap();
    fcntl_add_seals(&file, seals).unwrap();
    file
}

/// How joining ends.
fn refused(place: &Place) -> ConnectError<Error> {
    let joined = block_on(Endpoint::connect(
        &place.meeting(),
        ConnectOptions::default(),
    ));
    joined.err().expect("it joined")
}

#[test]
fn pages_that_could_go_away_are_not_mapped() {
    let _alone = held::alone();
    let page = interface::PAGE_SIZE as u64;
    let before = Held::now();
    for (case, says) in [
        (memfd(page, SealFlags::empty()), "sealed"),
        (memfd(page, SealFlags::GROW | SealFlags::SEAL), "sealed"),
        (memfd(page - 1, SealFlags::SHRINK), "instead of 1 pages"),
        (memfd(0, SealFlags::SHRINK), "instead of 1 pages"),
        (fs::File::open("/dev/zero").unwrap().into(), "sealed"),
        (tempfile::tempfile().unwrap().into(), "sealed"),
        (seqpacket(), "sealed"),
        // Nobody may write, so that we may not either.
        (
            memfd(page, SealFlags::SHRINK | SealFlags::WRITE),
            "not permitted",
        ),
    ] {
        let place = Place::new();
        let server = serve(&place, hello(1, 9, &[(1, 1)]), vec![case]);
        let error = refused(&place).to_string();
        assert!(error.contains(says), "{error}");
        server.join().unwrap();
    }
    assert_eq!(Held::now(), before);
}

// R20 of FAULTS.md.
#[test]
fn references_that_were_not_granted_are_not_mapped() {
    let _alone = held::alone();
    let page = interface::PAGE_SIZE as u64;
    for (ring_ref, port, says) in [
        (2, 9, "grant 2"),
        (u32::MAX, 9, "grant 4294967295"),
        (0, 9, "ring-ref is 0"),
        (1, 0, "event-channel is 0"),
    ] {
        let place = Place::new();
        let file = memfd(page, SealFlags::SHRINK);
        let server = serve(&place, hello(ring_ref, port, &[(1, 1)]), vec![file]);
        let error = refused(&place).to_string();
        assert!(error.contains(says), "{error}");
        server.join().unwrap();
    }

    // Pages that are there, in another order than that of their memfd, or beyond its end.
    let place = Place::new();
    let file = memfd(4 * page, SealFlags::SHRINK);
    let server = serve(&place, hello(1, 9, &[(1, 4)]), vec![file]);
    let meeting = place.meeting();
    block_on(meeting.keys()).unwrap();
    assert!(meeting.bind_interdomain(8).is_err());
    let port = meeting.bind_interdomain(9).unwrap();
    assert!(meeting.bind_interdomain(9).is_err(), "bound twice");
    for refs in [
        &[2, 1][..],
        &[1, 3],
        &[4, 5],
        &[5],
        &[1, 1],
        &[u32::MAX, 0],
        &[],
    ] {
        assert!(
            meeting.map_ring(refs, Access::ReadWrite).is_err(),
            "{refs:?}"
        );
    }
    let mapped = meeting.map_ring(&[2, 3, 4], Access::ReadOnly).unwrap();
    assert_eq!(
        mapped.load_u8(3 * interface::PAGE_SIZE - 1, Ordering::Relaxed),
        0
    );
    drop(port);
    assert!(
        meeting.map_ring(&[1], Access::ReadOnly).is_err(),
        "without a port"
    );
    drop(mapped);
    server.join().unwrap();
}

#[test]
fn more_files_than_announced_are_closed() {
    let _alone = held::alone();
    let before = Held::now();
    for came in [0, 2, 3, 4, 16] {
        let place = Place::new();
        let file = || memfd(4096, SealFlags::SHRINK);
        let server = serve(
            &place,
            hello(1, 9, &[(1, 1)]),
            (0..came).map(|_| file()).collect(),
        );
        let error = refused(&place);
        assert!(
            matches!(error, ConnectError::Keys(Error::Hello { .. })),
            "{error}"
        );
        server.join().unwrap();
    }
    assert_eq!(Held::now(), before);
}

#[test]
fn a_server_that_says_nothing_is_waited_for_as_long_as_one_likes() {
    let _alone = held::alone();
    let place = Place::new();
    let listener = seqpacket();
    bind(&listener, &SocketAddrUnix::new(place.socket()).unwrap()).unwrap();
    listen(&listener, 1).unwrap();
    let limit = Some(Duration::from_millis(50));
    let joined = Stream::connect(&place.meeting(), ConnectOptions::default(), limit);
    assert_eq!(
        joined.err().map(|error| error.kind()),
        Some(ErrorKind::TimedOut)
    );
}

// R18 of FAULTS.md.
#[test]
fn events_without_end_and_files_among_them_disturb_nobody() {
    let _alone = held::alone();
    let place = Place::new();
    let before = Held::now();
    let meeting = place.meeting();
    let mut offered = block_on(Endpoint::offer(&meeting, OfferOptions::default())).unwrap();
    let flood = seqpacket();
    connect(&flood, &SocketAddrUnix::new(place.socket()).unwrap()).unwrap();
    recv(&flood, &mut [0; 100], RecvFlags::empty()).unwrap();
    let flooding = thread::spawn(move || {
        let file = fs::File::open("/dev/null").unwrap();
        let files = [file.as_fd()];
        let mut sent = 0_u64;
        loop {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            assert!(control.push(SendAncillaryMessage::ScmRights(&files)));
            let event = [IoSlice::new(&[1; 64])];
            if sendmsg(&flood, &event, &mut control, SendFlags::NOSIGNAL).is_err() {
                return sent;
            }
            sent += 1;
        }
    });
    // Nothing is there to read, however often the other end says so; a limit is kept.
    let soon = std::time::Instant::now() + Duration::from_millis(300);
    assert!(block_until(soon, offered.reader().read(&mut [0; 4])).is_none());
    // Its own events it never takes: ours are dropped once it has enough.
    for _ in 0..10_000 {
        offered.reader().ask();
        vchan_linux::platform::EventChannel::notify(offered.reader().events());
    }
    drop((offered, meeting));
    assert!(flooding.join().unwrap() > 100);
    assert_eq!(Held::now(), before);
}

#[test]
fn an_empty_packet_is_the_end() {
    let _alone = held::alone();
    let place = Place::new();
    let meeting = place.meeting();
    let offered = block_on(Endpoint::offer(&meeting, OfferOptions::default())).unwrap();
    let client = seqpacket();
    connect(&client, &SocketAddrUnix::new(place.socket()).unwrap()).unwrap();
    recv(&client, &mut [0; 100], RecvFlags::empty()).unwrap();
    send(&client, &[], SendFlags::empty()).unwrap();
    // It never said open: the offer stands, for the next one.
    let next = thread::scope(|scope| {
        let joining = scope.spawn(|| {
            Stream::connect(&place.meeting(), ConnectOptions::default(), PATIENCE).unwrap()
        });
        block_on(offered.connected()).unwrap();
        joining.join().unwrap()
    });
    let mut server = Stream::from(offered);
    server.write_all(b"hello").unwrap();
    drop(server);
    let mut text = String::new();
    Stream::read_to_string(&mut { next }, &mut text).unwrap();
    assert_eq!(text, "hello");
}

#[test]
fn folders_that_others_may_enter_are_refused() {
    let _alone = held::alone();
    let place = Place::new();
    let path = |name: &str| place.root.path().join(name);
    fs::create_dir(path("open")).unwrap();
    fs::set_permissions(path("open"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(path("file"), "").unwrap();
    symlink(place.folder.path(), path("link")).unwrap();
    for (name, says) in [
        ("open", "others may enter"),
        ("file", "no folder"),
        ("link", "no folder"),
        ("missing/below", "No such file"),
    ] {
        let error = Folder::at(path(name)).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    for name in ["", ".hidden", "a/b", "..", "a b", "ä", &"x".repeat(65)] {
        assert!(Meeting::new(&place.folder, name).is_err(), "{name:?}");
    }
    let deep = Folder::at(path(&"d".repeat(100))).unwrap();
    let error = Meeting::new(&deep, "edge").unwrap_err().to_string();
    assert!(error.contains("107 bytes"), "{error}");
    // What is no socket is nobody's to remove.
    fs::write(place.socket(), "precious").unwrap();
    let error = refused(&place).to_string();
    assert!(error.contains("not a server"), "{error}");
    let offered = block_on(Endpoint::offer(&place.meeting(), OfferOptions::default()));
    assert!(offered.err().unwrap().to_string().contains("not a server"));
    assert_eq!(fs::read(place.socket()).unwrap(), b"precious");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a server says first, with whatever files: an error, and nothing stays.
    #[test]
    fn a_first_message_may_be_anything(
        mut message in prop::collection::vec(any::<u8>(), 1..80),
        runs in prop::collection::vec((0..6u32, 0..3u32), 0..4),
        honest: bool, files in 0..4usize,
    ) {
        let _alone = held::alone();
        let before = Held::now();
        if honest {
            message = hello(1, 9, &runs);
        }
        let place = Place::new();
        let file = || memfd(4096, SealFlags::SHRINK);
        let server = serve(&place, message, (0..files).map(|_| file()).collect());
        let joined = block_on(Endpoint::connect(&place.meeting(), ConnectOptions::default()));
        // A page of zeros is no control page.
        prop_assert!(joined.is_err());
        server.join().unwrap();
        prop_assert_eq!(Held::now(), before);
    }
}
