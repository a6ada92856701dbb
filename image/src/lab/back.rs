//! The way back out of dom0: four TCP streams to a listener on this machine's loopback address.
//!
//! QEMU's user network turns dom0's connection to 10.0.2.2 into one to 127.0.0.1. Each stream opens with a line
//! `TOKEN CHANNEL`; whoever does not know the token is hung up on.

use std::io::{self, BufRead, BufReader, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

/// Which of a job's two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What came back.
#[derive(Debug)]
pub enum Event {
    /// dom0 is up and about to run the job.
    Ready,
    /// The job wrote something.
    Output(Stream, Vec<u8>),
    /// The job will write no more here.
    Closed(Stream),
    /// The job's files are unpacked, or not.
    Files(io::Result<()>),
    /// The job ended with this status.
    Exit(i32),
}

/// The listening end; it stops listening when dropped.
#[derive(Debug)]
pub struct Back {
    /// The port on the loopback address.
    pub port: u16,
    /// What has come back so far.
    pub events: Receiver<Event>,
    stop: Arc<AtomicBool>,
}

impl Back {
    /// Listens for streams that know `token`; files are unpacked into `results`.
    pub fn listen(token: &str, results: &Path) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let (sender, events) = mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let shared = Shared {
            token: token.to_owned(),
            results: results.to_owned(),
            sender,
        };
        let stopped = Arc::clone(&stop);
        thread::spawn(move || accept(&listener, &shared, &stopped));
        Ok(Self { port, events, stop })
    }
}

impl Drop for Back {
    fn drop(&mut self) {
        // Nothing is published with the flag: the thread only has to see it some day.
        self.stop.store(true, Ordering::Relaxed);
    }
}

#[derive(Clone)]
struct Shared {
    token: String,
    results: PathBuf,
    sender: Sender<Event>,
}

fn accept(listener: &TcpListener, shared: &Shared, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((stream, _)) => {
                let shared = shared.clone();
                thread::spawn(move || serve(stream, &shared));
            }
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// One stream from its first line to its end. An error ends it; what was lost shows as a missing event.
fn serve(stream: TcpStream, shared: &Shared) {
    let Some(mut reader) = open(stream) else {
        return;
    };
    let Some(line) = short_line(&mut reader) else {
        return;
    };
    let Some((token, channel)) = line.split_once(' ') else {
        return;
    };
    if !same(token.as_bytes(), shared.token.as_bytes()) {
        return;
    }
    match channel {
        "stdout" => output(reader, Stream::Stdout, &shared.sender),
        "stderr" => output(reader, Stream::Stderr, &shared.sender),
        "files" => {
            let unpacked = unpack(reader, &shared.results);
            send(&shared.sender, Event::Files(unpacked));
        }
        "control" => control(reader, &shared.sender),
        _ => {}
    }
}

fn open(stream: TcpStream) -> Option<BufReader<TcpStream>> {
    // Accepted sockets inherit nothing on Linux; said once more, since all reads below rely on it.
    stream.set_nonblocking(false).ok()?;
    Some(BufReader::new(stream))
}

/// A line of at most 200 bytes, without its end.
fn short_line(reader: &mut impl BufRead) -> Option<String> {
    let mut line = Vec::new();
    reader.take(200).read_until(b'\n', &mut line).ok()?;
    let text = line.strip_suffix(b"\n")?;
    String::from_utf8(text.to_vec()).ok()
}

/// Compares without saying by its time how much was right.
fn same(one: &[u8], two: &[u8]) -> bool {
    one.len() == two.len() && one.iter().zip(two).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

fn output(mut reader: impl Read, stream: Stream, sender: &Sender<Event>) {
    let mut buffer = [0; 16 * 1024];
    loop {
        match reader.read(&mut buffer) {
            Ok(count) if count > 0 => send(
                sender,
                Event::Output(stream, buffer.iter().copied().take(count).collect()),
            ),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(_) | Err(_) => break,
        }
    }
    send(sender, Event::Closed(stream));
}

fn control(mut reader: BufReader<TcpStream>, sender: &Sender<Event>) {
    while let Some(line) = short_line(&mut reader) {
        match line.split_once(' ') {
            Some(("ready", _)) => send(sender, Event::Ready),
            Some(("exit", status)) => {
                send(sender, Event::Exit(status.parse().unwrap_or(1)));
                // dom0 waits for this stream's end, and the machine is stopped from outside: hold it until then.
                let _ = io::copy(&mut reader, &mut io::sink());
                return;
            }
            _ => {}
        }
    }
}

/// Unpacks a job's files below `results`; the archive cannot leave that folder.
fn unpack(reader: impl Read, results: &Path) -> io::Result<()> {
    let mut archive = tar::Archive::new(reader);
    archive.set_preserve_mtime(false);
    archive.set_preserve_permissions(false);
    archive.unpack(results)
}

fn send(sender: &Sender<Event>, event: Event) {
    // The receiver is gone when the job is over or was given up: nobody is left to tell.
    let _ = sender.send(event);
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn connect(back: &Back) -> TcpStream {
        TcpStream::connect((Ipv4Addr::LOCALHOST, back.port)).unwrap()
    }

    fn next(back: &Back) -> Event {
        back.events.recv_timeout(Duration::from_secs(10)).unwrap()
    }

    #[test]
    fn output_arrives_as_it_is_written_and_then_ends() {
        let folder = tempfile::tempdir().unwrap();
        let back = Back::listen("secret", folder.path()).unwrap();
        let mut stream = connect(&back);
        stream.write_all(b"secret stdout\nhello").unwrap();
        let Event::Output(Stream::Stdout, bytes) = next(&back) else {
            panic!("no output")
        };
        assert_eq!(bytes, b"hello");
        drop(stream);
        assert!(matches!(next(&back), Event::Closed(Stream::Stdout)));
    }

    #[test]
    fn a_stranger_is_hung_up_on() {
        let folder = tempfile::tempdir().unwrap();
        let back = Back::listen("secret", folder.path()).unwrap();
        let mut stream = connect(&back);
        stream.write_all(b"guessed stdout\nevil").unwrap();
        let mut rest = Vec::new();
        // Hanging up with unread bytes may reach us as a reset instead of an end.
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.is_empty());
        assert!(back.events.try_recv().is_err());
    }

    #[test]
    fn the_status_and_the_files_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let back = Back::listen("t", folder.path()).unwrap();
        let mut control = connect(&back);
        control.write_all(b"t control\nready 4.2\n").unwrap();
        assert!(matches!(next(&back), Event::Ready));
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(5);
        header.set_cksum();
        builder
            .append_data(&mut header, "out/result", &b"42 km"[..])
            .unwrap();
        let archive = builder.into_inner().unwrap();
        let mut files = connect(&back);
        files.write_all(b"t files\n").unwrap();
        files.write_all(&archive).unwrap();
        drop(files);
        assert!(matches!(next(&back), Event::Files(Ok(()))));
        assert_eq!(
            std::fs::read(folder.path().join("out/result")).unwrap(),
            b"42 km"
        );
        control.write_all(b"exit 3\n").unwrap();
        assert!(matches!(next(&back), Event::Exit(3)));
    }

    #[test]
    fn a_line_without_end_is_not_waited_for_beyond_200_bytes() {
        assert_eq!(short_line(&mut &[b'a'; 300][..]), None);
        assert_eq!(short_line(&mut &b"abc\nrest"[..]).as_deref(), Some("abc"));
    }
}
