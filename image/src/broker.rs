//! A Mosquitto on loopback, outside of everything that is on trial, and a subscriber there that gets every message.
//!
//! Both are Debian's programs, run with files of their own in a temporary folder. They end when their handle is dropped,
//! and the kernel ends them when the thread that started them does. The broker's queue limits are lifted, so that it drops
//! nothing on a slow subscriber.

use std::io::{BufRead as _, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The programs, and the packages of Debian that have them.
const BROKER: (&str, &str) = ("mosquitto", "mosquitto");
const SUBSCRIBER: (&str, &str) = ("mosquitto_sub", "mosquitto-clients");

/// How long a program may take to get ready; far more than it takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why there is no broker or no subscriber.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// It is not installed.
    #[error("cannot find {program}: apt-get install {package}")]
    Missing {
        /// The program.
        program: &'static str,
        /// The package that has it.
        package: &'static str,
    },
    /// It could not be started.
    #[error("cannot run {program}")]
    Process {
        /// The program.
        program: &'static str,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// It ended, or was not ready in time.
    #[error("{program} did not get ready: {said}")]
    NotReady {
        /// The program.
        program: &'static str,
        /// What it said.
        said: String,
    },
}

/// A program, and the lines of its standard output.
#[derive(Debug)]
struct Running {
    child: Child,
    lines: Receiver<(Instant, String)>,
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    /// Starts a program and waits for a line that says that it is ready.
    fn start(
        (program, package): (&'static str, &'static str),
        arguments: &[&str],
        is_ready: impl Fn(&str) -> bool,
    ) -> Result<Self, BrokerError> {
        let path = find(program).ok_or(BrokerError::Missing { program, package })?;
        // The kernel kills it when its parent ends; and lines come as they are written, not when a buffer is full. A group
        // of its own: Ctrl-C reaches this tool alone.
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "stdbuf", "-oL"])
            .arg(path)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(|error| BrokerError::Process { program, error })?;
        let output = child.stdout.take();
        let (sender, lines) = channel();
        let running = Self { child, lines };
        if let Some(output) = output {
            thread::spawn(move || {
                each_line(output, |line| sender.send((Instant::now(), line)).is_ok());
            });
        }
        let mut said = Vec::new();
        while let Ok((_, line)) = running.lines.recv_timeout(PATIENCE) {
            if is_ready(&line) {
                return Ok(running);
            }
            said.push(line);
        }
        let said = said.join("; ");
        Err(BrokerError::NotReady { program, said })
    }
}

fn each_line(output: impl Read, mut each: impl FnMut(String) -> bool) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        if !each(line) {
            return;
        }
    }
}

/// Where a program is; Debian has the broker where not everybody's `PATH` leads.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    folders
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// A message as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where.
    pub topic: String,
    /// Its user property `id`, or nothing.
    pub id: String,
    /// What.
    pub payload: Vec<u8>,
}

/// A running broker.
#[derive(Debug)]
pub struct Broker {
    _running: Running,
    _folder: TempDir,
    port: u16,
}

impl Broker {
    /// Starts a broker on a free port of loopback, and waits until it listens.
    pub fn start() -> Result<Self, BrokerError> {
        let failed = |error| BrokerError::Process {
            program: BROKER.0,
            error,
        };
        let free_port = || {
            TcpListener::bind(("127.0.0.1", 0))?
                .local_addr()
                .map(|address| address.port())
        };
        let port = free_port().map_err(failed)?;
        let folder = tempfile::tempdir().map_err(failed)?;
        let config = folder.path().join("mosquitto.conf");
        // Where it is started as root it would change to a user who cannot read its folder.
        let text = format!(
            "listener {port} 127.0.0.1\nuser root\nallow_anonymous true\nlog_dest stdout\npersistence false\n\
             max_queued_messages 0\nmax_inflight_messages 0\n"
        );
        std::fs::write(&config, text).map_err(failed)?;
        let config = config.display().to_string();
        let running = Running::start(BROKER, &["-c", &config], |line| line.ends_with(" running"))?;
        Ok(Self {
            _running: running,
            _folder: folder,
            port,
        })
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// What a subscriber has to say.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// A message, and when it was here.
    Message(Instant, Message),
    /// Nothing within the time given.
    Silence,
    /// The program has ended.
    Closed,
}

/// Gets every message at a topic filter, from its start on.
#[derive(Debug)]
pub struct Subscriber {
    running: Running,
}

impl Subscriber {
    /// Subscribes at a broker on loopback, and waits until the broker has granted it.
    pub fn start(port: u16, filter: &str) -> Result<Self, BrokerError> {
        let port = port.to_string();
        // The payload in hexadecimal digits: nothing in it can be taken for the end of a line.
        let arguments = [
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-V",
            "5",
            "-q",
            "1",
            "-t",
            filter,
            "-F",
            FORMAT,
            "-d",
        ];
        let is_ready = |line: &str| line.starts_with("Subscribed ");
        let running = Running::start(SUBSCRIBER, &arguments, is_ready)?;
        Ok(Self { running })
    }

    /// Waits up to `patience` for the next message.
    pub fn next(&mut self, patience: Duration) -> Heard {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.running.lines.recv_timeout(left) {
                Ok((at, line)) => {
                    // The rest is what the program says of itself.
                    if let Some(message) = parse(&line) {
                        return Heard::Message(at, message);
                    }
                }
                Err(RecvTimeoutError::Timeout) => return Heard::Silence,
                Err(RecvTimeoutError::Disconnected) => return Heard::Closed,
            }
        }
    }
}

/// A mark, topic, user properties and payload.
const FORMAT: &str = "message\t%t\t%P\t%x";

/// A message in [`FORMAT`].
fn parse(line: &str) -> Option<Message> {
    let mut fields = line.strip_prefix("message\t")?.splitn(3, '\t');
    let (topic, properties, payload) = (fields.next()?, fields.next()?, fields.next()?);
    let id = properties
        .split(' ')
        .find_map(|property| property.strip_prefix("id:"));
    let payload = payload.as_bytes().chunks(2).map(|digits| {
        let digits = std::str::from_utf8(digits).ok()?;
        u8::from_str_radix(digits, 16).ok()
    });
    Some(Message {
        topic: topic.into(),
        id: id.unwrap_or_default().into(),
        payload: payload.collect::<Option<_>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_message_or_what_the_program_says_of_itself() {
        let message = parse("message\ta/b\tid:00ff-1\t5b0a5d").unwrap();
        let expected = Message {
            topic: "a/b".into(),
            id: "00ff-1".into(),
            payload: b"[\n]".to_vec(),
        };
        assert_eq!(message, expected);
        assert_eq!(parse("message\ta\t\t").unwrap().id, "");
        for line in [
            "Client (null) received PUBLISH (d0, q0, r0, m0, 'a', ... (5 bytes))",
            "message\ta\t\tx",
            "message\ta",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        let error = Running::start(("no-such-program", "some-package"), &[], |_| true).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot find no-such-program: apt-get install some-package"
        );
    }

    #[test]
    fn a_program_that_ends_before_it_is_ready_is_told_with_what_it_said() {
        let error = Running::start(("echo", "coreutils"), &["no", "way"], |_| false).unwrap_err();
        assert_eq!(error.to_string(), "echo did not get ready: no way");
    }

    #[test]
    fn dropping_it_ends_the_program() {
        let script = "echo ready; exec sleep 3600";
        let running = Running::start(("sh", "dash"), &["-c", script], |_| true).unwrap();
        let process = format!("/proc/{}", running.child.id());
        assert!(std::path::Path::new(&process).exists());
        drop(running);
        assert!(!std::path::Path::new(&process).exists());
    }
}
