//! A Mosquitto of the test's own, and a subscriber at it. Both end with the test, whatever becomes of it.

use std::io::{self, BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

/// How long a program may take to get ready; far more than it takes.
const PATIENCE: Duration = Duration::from_secs(30);

const BROKER: &str = "mosquitto";
const SUBSCRIBER: &str = "mosquitto_sub";
const PUBLISHER: &str = "mosquitto_pub";
const PASSWORDS: &str = "mosquitto_passwd";

/// The first program that is missing.
pub fn missing() -> Option<&'static str> {
    let programs = [
        BROKER, SUBSCRIBER, PUBLISHER, PASSWORDS, "setpriv", "stdbuf",
    ];
    programs.into_iter().find(|name| find(name).is_none())
}

fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Where Debian has the broker, which is not in everybody's PATH.
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    folders
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// A program that the kernel kills when its parent ends.
fn program(name: &str) -> Command {
    let mut command = Command::new("setpriv");
    // Lines are wanted as they are written, not when a buffer is full.
    command.args(["--pdeathsig", "KILL", "stdbuf", "-oL"]);
    command.arg(find(name).unwrap_or_else(|| name.into()));
    command
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Forwards the lines of an output; the channel closes with it.
fn lines(output: impl io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// A broker with files of its own.
pub struct Broker {
    folder: TempDir,
    port: u16,
    running: Option<(Running, Receiver<String>)>,
}

impl Broker {
    /// Starts one on a free port of loopback; `{folder}` in the configuration is its own.
    pub fn start(config: &str) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let path = folder.path().display().to_string();
        let open = if config.contains("allow_anonymous") {
            ""
        } else {
            "allow_anonymous true\n"
        };
        let keep = if config.contains("persistence") {
            ""
        } else {
            "persistence true\n"
        };
        let text = format!(
            "listener {port} 127.0.0.1\nuser root\nlog_dest stdout\n{keep}persistence_location {path}/\n\
             max_queued_messages 0\nmax_inflight_messages 0\n{open}{}",
            config.replace("{folder}", &path)
        );
        std::fs::write(folder.path().join("mosquitto.conf"), text)?;
        std::fs::write(folder.path().join("passwords"), "")?;
        let mut broker = Self {
            folder,
            port,
            running: None,
        };
        broker.again()?;
        Ok(broker)
    }

    /// Starts it again after [`stop`](Self::stop), and waits until it listens.
    pub fn again(&mut self) -> io::Result<()> {
        let config = self.folder.path().join("mosquitto.conf");
        let mut child = program(BROKER)
            .arg("-c")
            .arg(config)
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let running = Running(child);
        let said = lines(output);
        let mut all = Vec::new();
        while let Ok(line) = said.recv_timeout(PATIENCE) {
            if line.ends_with(" running") {
                self.running = Some((running, said));
                return Ok(());
            }
            all.push(line);
        }
        Err(io::Error::other(format!(
            "mosquitto does not start: {all:?}"
        )))
    }

    /// Ends it in order, so that it writes down what it has not delivered.
    pub fn stop(&mut self) -> io::Result<()> {
        self.signal("TERM")?;
        self.signal("CONT")?;
        if let Some((mut running, _)) = self.running.take() {
            running.0.wait()?;
        }
        Ok(())
    }

    /// Sends it a signal.
    pub fn signal(&self, name: &str) -> io::Result<()> {
        let Some((running, _)) = &self.running else {
            return Ok(());
        };
        let id = running.0.id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status()?;
        if status.success() {
            Ok(())
        } else {
            Err(io::Error::other("kill failed"))
        }
    }

    /// Sets a password; a broker that runs takes it at once.
    pub fn password(&self, user: &str, password: &str) -> io::Result<()> {
        let file = self.folder.path().join("passwords");
        let set = Command::new(find(PASSWORDS).ok_or(io::ErrorKind::NotFound)?)
            .args(["-b", &file.display().to_string(), user, password])
            .status()?;
        if !set.success() {
            return Err(io::Error::other("mosquitto_passwd failed"));
        }
        self.signal("HUP")
    }

    /// Publishes a message at QoS 1.
    pub fn publish(&self, topic: &str, payload: &str) -> io::Result<()> {
        let port = self.port.to_string();
        let status = program(PUBLISHER)
            .args(["-h", "127.0.0.1", "-p", &port, "-V", "5", "-q", "1"])
            .args(["-t", topic, "-m", payload])
            .status()?;
        if status.success() {
            Ok(())
        } else {
            Err(io::Error::other("mosquitto_pub failed"))
        }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// A message as a subscriber got it.
#[derive(Debug)]
pub struct Line {
    /// Where.
    pub topic: String,
    /// Its user property `id`.
    pub id: String,
    /// What.
    pub payload: String,
}

/// Everything at a topic, from now on; it comes back after the broker does.
pub struct Subscriber {
    _running: Running,
    lines: Receiver<String>,
}

impl Subscriber {
    /// Subscribes, and waits until the broker has granted it.
    pub fn start(broker: &Broker, topic: &str) -> io::Result<Self> {
        let port = broker.port.to_string();
        let mut child = program(SUBSCRIBER)
            .args([
                "-h",
                "127.0.0.1",
                "-p",
                &port,
                "-V",
                "5",
                "-q",
                "1",
                "-t",
                topic,
            ])
            .args([
                "-c",
                "-i",
                "subscriber",
                "-x",
                "3600",
                "-F",
                "%t\t%P\t%p",
                "-d",
            ])
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let running = Running(child);
        let lines = lines(output);
        loop {
            let line = lines
                .recv()
                .map_err(|_| io::Error::other("mosquitto_sub has not subscribed"))?;
            if line.starts_with("Subscribed") {
                return Ok(Self {
                    _running: running,
                    lines,
                });
            }
        }
    }

    /// What has come since the last call.
    pub fn lines(&mut self) -> Vec<Line> {
        self.lines
            .try_iter()
            .filter_map(|line| parse(&line))
            .collect()
    }
}

/// Lines without the fields are what the subscriber says of itself.
fn parse(line: &str) -> Option<Line> {
    let mut fields = line.splitn(3, '\t');
    let topic = fields.next()?.into();
    let id = fields
        .next()?
        .strip_prefix("id:")
        .unwrap_or_default()
        .into();
    let payload = fields.next()?.into();
    Some(Line { topic, id, payload })
}
