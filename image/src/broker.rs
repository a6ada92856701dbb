//! A Mosquitto on loopback or another address of this machine, outside of everything that is on trial, and a subscriber of any broker.
//!
//! Both are Debian's programs; the broker has files of its own in a temporary folder. They end when their handle is dropped,
//! and the kernel ends them when the thread that started them does. The broker's queue limits are lifted, so that it drops
//! nothing on a slow subscriber.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{BufRead as _, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use stage::params::Address;
use tempfile::TempDir;

/// The programs, and the packages of Debian that have them.
const BROKER: (&str, &str) = ("mosquitto", "mosquitto");
const SUBSCRIBER: (&str, &str) = ("mosquitto_sub", "mosquitto-clients");

/// The broker's configuration, in its folder.
const CONFIG: &str = "mosquitto.conf";

/// What sees to it that a program ends with its parent; part of every Debian.
const GUARDIAN: &str = "setpriv";

/// How long a program may take to get ready; far more than it takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long the broker keeps what a subscriber is to get, should its connection break, in seconds.
const SESSION_EXPIRY: &str = "600";

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
    fn start(
        program: (&'static str, &'static str),
        arguments: &[&str],
    ) -> Result<Self, BrokerError> {
        let failed = |error| BrokerError::Process {
            program: program.0,
            error,
        };
        let mut child = command(program)?
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        let output = child.stdout.take();
        let (sender, lines) = channel();
        if let Some(output) = output {
            thread::spawn(move || {
                each_line(output, |line| sender.send((Instant::now(), line)).is_ok());
            });
        }
        Ok(Self { child, lines })
    }

    /// Waits until `is_ready`, as long as the program runs.
    fn wait(
        &mut self,
        program: &'static str,
        is_ready: impl Fn() -> bool,
    ) -> Result<(), BrokerError> {
        let deadline = Instant::now() + PATIENCE;
        while !is_ready() {
            let ended = self.child.try_wait();
            let has_ended = ended
                .map_err(|error| BrokerError::Process { program, error })?
                .is_some();
            if has_ended || Instant::now() > deadline {
                // Both outlast the program's own end, if it has come to that.
                let _ = self.child.kill();
                let said: Vec<String> = self.lines.iter().map(|(_, line)| line).collect();
                let said = said.join("; ");
                return Err(BrokerError::NotReady { program, said });
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

/// A program that the kernel kills when its parent ends. A group of its own: Ctrl-C reaches this tool alone.
fn command((program, package): (&'static str, &'static str)) -> Result<Command, BrokerError> {
    let path = find(program).ok_or(BrokerError::Missing { program, package })?;
    let mut command = Command::new(GUARDIAN);
    command
        .args(["--pdeathsig", "KILL"])
        .arg(path)
        .stdin(Stdio::null())
        .process_group(0);
    Ok(command)
}

fn each_line(output: impl Read, mut each: impl FnMut(String) -> bool) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        if !each(line) {
            return;
        }
    }
}

/// Where a program is; Debian has the broker where not everybody's `PATH` leads.
pub fn find(program: &str) -> Option<PathBuf> {
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
    running: Running,
    folder: TempDir,
    socket: SocketAddr,
}

impl Broker {
    /// Starts a broker on a free port of loopback, and waits until it listens.
    pub fn start() -> Result<Self, BrokerError> {
        Self::start_at(Ipv4Addr::LOCALHOST)
    }

    /// The same at another address of this machine.
    pub fn start_at(host: Ipv4Addr) -> Result<Self, BrokerError> {
        Self::with(host, |_| "persistence false\n".to_owned())
    }

    /// The same for one that writes down at its end what it has, and goes on with that when it is started again.
    pub fn start_lasting() -> Result<Self, BrokerError> {
        Self::with(Ipv4Addr::LOCALHOST, |folder| {
            format!(
                "persistence true\npersistence_location {}/\n",
                folder.display()
            )
        })
    }

    fn with(host: Ipv4Addr, more: impl FnOnce(&Path) -> String) -> Result<Self, BrokerError> {
        let free = TcpListener::bind((host, 0)).and_then(|free| free.local_addr());
        let socket = free.map_err(failed)?;
        let port = socket.port();
        let folder = tempfile::tempdir().map_err(failed)?;
        let config = folder.path().join(CONFIG);
        let more = more(folder.path());
        // Where it is started as root it would change to a user who cannot read its folder.
        let text = format!(
            "listener {port} {host}\nuser root\nallow_anonymous true\nlog_dest stdout\n\
             max_queued_messages 0\nmax_inflight_messages 0\n{more}"
        );
        std::fs::write(&config, text).map_err(failed)?;
        Ok(Self {
            running: run(folder.path(), socket)?,
            folder,
            socket,
        })
    }

    /// Ends it in order, and starts it again after a while.
    pub fn pause(&mut self, span: Duration) -> Result<(), BrokerError> {
        let id = self.running.child.id().to_string();
        Command::new("kill").arg(&id).status().map_err(failed)?;
        self.running.child.wait().map_err(failed)?;
        thread::sleep(span);
        self.running = run(self.folder.path(), self.socket)?;
        Ok(())
    }

    /// Where it listens.
    pub fn address(&self) -> Address {
        Address {
            host: self.socket.ip().to_string(),
            port: self.socket.port(),
        }
    }
}

/// The broker of this folder, once it listens.
fn run(folder: &Path, socket: SocketAddr) -> Result<Running, BrokerError> {
    let config = folder.join(CONFIG).display().to_string();
    let mut running = Running::start(BROKER, &["-c", &config])?;
    let is_listening = || TcpStream::connect(socket).is_ok();
    running.wait(BROKER.0, is_listening)?;
    Ok(running)
}

fn failed(error: std::io::Error) -> BrokerError {
    BrokerError::Process {
        program: BROKER.0,
        error,
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
    /// Subscribes at a broker, and waits until the broker has granted it: from then on every message comes.
    pub fn start(broker: &Address, filter: &str) -> Result<Self, BrokerError> {
        let program = SUBSCRIBER.0;
        let failed = |error| BrokerError::Process { program, error };
        let port = broker.port.to_string();
        let id = format!("grantflow-{}", unique());
        let session = [
            "-h",
            &broker.host,
            "-p",
            &port,
            "-V",
            "5",
            "-i",
            &id,
            "-c",
            "-x",
            SESSION_EXPIRY,
            "-q",
            "1",
            "-t",
            filter,
        ];
        // Once to have the subscription granted, where the program ends with that; then to go on with its session.
        let mut granted = command(SUBSCRIBER)?
            .args(session)
            .arg("-E")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let status = wait_for(&mut granted, PATIENCE).map_err(failed)?;
        if !status.success() {
            let mut said = String::new();
            // What it said is only of use if it can be read.
            let _ = granted
                .stderr
                .take()
                .map(|mut pipe| pipe.read_to_string(&mut said));
            let said = said.trim().replace('\n', "; ");
            return Err(BrokerError::NotReady { program, said });
        }
        // The payload in hexadecimal digits: nothing in it can be taken for the end of a line.
        let arguments = [session.as_slice(), &["-F", FORMAT]].concat();
        let running = Running::start(SUBSCRIBER, &arguments)?;
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

/// The programs of a [`Subscriber`], with their names, as far as they are installed: what a machine that is to have one needs.
pub fn subscriber_programs() -> Vec<(&'static str, PathBuf)> {
    let found = [SUBSCRIBER.0, GUARDIAN].map(|name| find(name).map(|path| (name, path)));
    found.into_iter().flatten().collect()
}

/// Another word at each call, so that no two clients of a broker get into each other's way.
pub fn unique() -> String {
    let number = RandomState::new().build_hasher().finish();
    format!("{number:016x}")
}

/// A program's end; one that takes too long is killed.
fn wait_for(child: &mut Child, patience: Duration) -> std::io::Result<ExitStatus> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() > deadline {
            child.kill()?;
            return child.wait();
        }
        thread::sleep(Duration::from_millis(5));
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
        let error = Running::start(("no-such-program", "some-package"), &[]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot find no-such-program: apt-get install some-package"
        );
    }

    #[test]
    fn a_program_that_ends_before_it_is_ready_is_told_with_what_it_said() {
        let mut running = Running::start(("echo", "coreutils"), &["no", "way"]).unwrap();
        let error = running.wait("echo", || false).unwrap_err();
        assert_eq!(error.to_string(), "echo did not get ready: no way");
    }

    #[test]
    fn dropping_it_ends_the_program() {
        let running = Running::start(("sleep", "coreutils"), &["3600"]).unwrap();
        let process = format!("/proc/{}", running.child.id());
        assert!(std::path::Path::new(&process).exists());
        drop(running);
        assert!(!std::path::Path::new(&process).exists());
    }
}
