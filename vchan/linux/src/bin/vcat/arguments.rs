//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use vchan_linux::Layout;

/// What `--help` prints.
pub const HELP: &str = "\
vcat: bytes between a vchan and pipes, files, programs or UNIX sockets

  vcat listen  [OPTION...] ADDRESS [WHAT]    offers a channel, and waits for its client
  vcat connect [OPTION...] ADDRESS [WHAT]    waits for an offer, and joins

ADDRESS
  xen:DOMID:PATH     the domain at the other end, and a path in xenstore. A server's may begin with data/vchan;
                     a client's is /local/domain/SERVER/data/vchan/CLIENT/NAME
  local:NAME         another process of this user on this host, without Xen

WHAT
  -                  standard input into the channel, and the channel to standard output (if nothing is said)
  send:FILE          FILE into the channel, one way; - is standard input
  recv:FILE          the channel into FILE, one way; - is standard output
  unix:PATH          connects to the UNIX socket PATH, both ways
  unix-listen:PATH   listens at PATH, and takes one connection
  -- PROGRAM ARG...  runs PROGRAM with the channel as its standard input and output

OPTIONS
  --ring SIZE        listen: room from client to server at least, 1 to 1M (64K)
  --back SIZE        listen: room from server to client at least (64K)
  --wait SECONDS     gives up if no peer has come by then
  --idle SECONDS     gives up if nothing moves for so long, either way
  --linger SECONDS   -, unix: how long to go on receiving, with nothing coming, once there is no more to send (0.5);
                     vchan has no half-close, so that the peer cannot be told to finish. `forever` waits for its close
  --used             connect: also takes a channel that an earlier client has used
  -v, --verbose      says what happens, and what was moved
  -h, --help         this text
  -V, --version      the version

EXAMPLES
  vcat listen xen:5:data/vchan/5/out recv:readings.cbor      in dom0: records what the stage of domain 5 sends
  vcat connect local:echo <question >answer                  asks a process of this host ...
  vcat listen local:echo -- sed 's/^/you said: /'            ... that answers with a program
  vcat connect xen:0:/local/domain/0/data/vchan/3/log send:- in domain 3: pipes a log to dom0

It ends when the channel does, or when there is no more to send, after the peer has read it all. Exit status: 0 done, 1 failed,
2 a wrong command line. Bytes that came and could not be delivered, either way, are a failure, and counted.
";

/// Which end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The server.
    Listen,
    /// The client.
    Connect,
}

/// Where the ends meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A domain and a path in xenstore.
    Xen(u16, String),
    /// A name among the processes of this user.
    Local(String),
}

/// What the channel is joined to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Standard input and output.
    Standard,
    /// A file into the channel; `None` is standard input.
    Send(Option<PathBuf>),
    /// The channel into a file; `None` is standard output.
    Receive(Option<PathBuf>),
    /// A UNIX socket that listens.
    Unix(PathBuf),
    /// A UNIX socket to listen at.
    UnixListen(PathBuf),
    /// A program and its arguments.
    Exec(Vec<OsString>),
}

/// A command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arguments {
    /// Which end.
    pub side: Side,
    /// Where.
    pub address: Address,
    /// With what.
    pub what: What,
    /// Listen: the rings.
    pub layout: Layout,
    /// How long to wait for a peer.
    pub wait: Option<Duration>,
    /// How long nothing may move.
    pub idle: Option<Duration>,
    /// How long to go on receiving; `None` is for ever.
    pub linger: Option<Duration>,
    /// Connect: takes used channels.
    pub used: bool,
    /// Says what happens.
    pub verbose: bool,
}

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The help.
    Help,
    /// The version.
    Version,
    /// Work.
    Work(Box<Arguments>),
}

/// Reads a command line, without the program's name. The error is a sentence.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Asked, String> {
    let mut words = words.into_iter();
    let mut plain = Vec::new();
    let mut exec = None;
    let (mut ring, mut back) = (64 << 10, 64 << 10);
    let (mut rings_named, mut used, mut verbose) = (false, false, false);
    let (mut wait, mut idle, mut linger) = (None, None, None);
    while let Some(word) = words.next() {
        let Some(text) = word.to_str() else {
            plain.push(word);
            continue;
        };
        let mut value = || {
            let value = words.next().and_then(|value| value.into_string().ok());
            value.ok_or_else(|| format!("{text} wants a value"))
        };
        match text {
            "-h" | "--help" => return Ok(Asked::Help),
            "-V" | "--version" => return Ok(Asked::Version),
            "-v" | "--verbose" => verbose = true,
            "--used" => used = true,
            "--ring" => (ring, rings_named) = (size(text, &value()?)?, true),
            "--back" => (back, rings_named) = (size(text, &value()?)?, true),
            "--wait" => wait = Some(seconds(text, &value()?)?),
            "--idle" => idle = Some(seconds(text, &value()?)?),
            "--linger" => linger = Some(lingering(text, &value()?)?),
            "--" => {
                exec = Some(words.by_ref().collect::<Vec<_>>());
                break;
            }
            "-" => plain.push(word),
            _ if text.starts_with('-') => return Err(format!("there is no option {text}")),
            _ => plain.push(word),
        }
    }
    let mut plain = plain.into_iter();
    let side = match plain.next().as_ref().and_then(|word| word.to_str()) {
        Some("listen") => Side::Listen,
        Some("connect") => Side::Connect,
        Some(other) => return Err(format!("{other:?} is neither listen nor connect")),
        None => return Err("listen or connect, and an address, are wanted".to_owned()),
    };
    let address = plain
        .next()
        .ok_or("an address is wanted: xen:DOMID:PATH or local:NAME")?;
    let address = parse_address(&address.to_string_lossy())?;
    let what = match (plain.next(), exec) {
        (Some(word), None) => parse_what(word)?,
        (None, Some(program)) if program.is_empty() => {
            return Err("-- wants a program after it".to_owned());
        }
        (None, Some(program)) => What::Exec(program),
        (None, None) => What::Standard,
        (Some(_), Some(_)) => return Err("either WHAT or -- PROGRAM, not both".to_owned()),
    };
    if let Some(word) = plain.next() {
        return Err(format!("{word:?} is one word too many"));
    }
    match side {
        Side::Connect if rings_named => {
            return Err(
                "--ring and --back are the server's to say: use them with listen".to_owned(),
            );
        }
        Side::Listen if used => return Err("--used goes with connect".to_owned()),
        _ => {}
    }
    // A program that has ended its output has ended; for all others vchan has no way to ask.
    let usual = match what {
        What::Exec(_) => Duration::ZERO,
        _ => Duration::from_millis(500),
    };
    Ok(Asked::Work(Box::new(Arguments {
        side,
        address,
        what,
        layout: Layout::for_sizes(ring, back).map_err(|error| error.to_string())?,
        wait,
        idle,
        linger: linger.unwrap_or(Some(usual)),
        used,
        verbose,
    })))
}

fn parse_address(text: &str) -> Result<Address, String> {
    let wrong = || format!("{text:?} is no address: xen:DOMID:PATH or local:NAME is wanted");
    match text.split_once(':').ok_or_else(wrong)? {
        ("local", name) => Ok(Address::Local(name.to_owned())),
        ("xen", rest) => {
            let (domain, path) = rest.split_once(':').ok_or_else(wrong)?;
            let digits = domain.bytes().all(|byte| byte.is_ascii_digit());
            let domain = domain.parse().ok().filter(|_| digits).ok_or_else(wrong)?;
            Ok(Address::Xen(domain, path.to_owned()))
        }
        _ => Err(wrong()),
    }
}

fn parse_what(word: OsString) -> Result<What, String> {
    let text = word.to_string_lossy();
    let file = |path: &str| (path != "-").then(|| PathBuf::from(path));
    match text.split_once(':') {
        None if text == "-" => Ok(What::Standard),
        Some((_, "")) => Err(format!("{text} wants a path after the colon")),
        Some(("send", path)) => Ok(What::Send(file(path))),
        Some(("recv", path)) => Ok(What::Receive(file(path))),
        Some(("unix", path)) => Ok(What::Unix(path.into())),
        Some(("unix-listen", path)) => Ok(What::UnixListen(path.into())),
        _ => Err(format!(
            "{text:?} is nothing to join a channel to: -, send:FILE, recv:FILE, unix:PATH, unix-listen:PATH or -- PROGRAM"
        )),
    }
}

fn size(option: &str, text: &str) -> Result<usize, String> {
    let (digits, factor) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1 << 10),
        None => match text.strip_suffix(['m', 'M']) {
            Some(digits) => (digits, 1 << 20),
            None => (text, 1),
        },
    };
    let bytes = digits
        .parse()
        .ok()
        .and_then(|number: usize| number.checked_mul(factor));
    bytes.ok_or_else(|| format!("{option} {text}: a size is wanted, for example 4096, 64K or 1M"))
}

fn seconds(option: &str, text: &str) -> Result<Duration, String> {
    // A limit that leaves the clock's range is a mistake, not a limit.
    let limit = |seconds: &f64| (0.0..=1e9).contains(seconds);
    let seconds = text.parse().ok().filter(limit).map(Duration::from_secs_f64);
    seconds.ok_or_else(|| format!("{option} {text}: seconds are wanted, for example 0.5 or 30"))
}

fn lingering(option: &str, text: &str) -> Result<Option<Duration>, String> {
    match text {
        "forever" => Ok(None),
        _ => seconds(option, text).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> Result<Asked, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    fn work(line: &str) -> Arguments {
        match asked(line) {
            Ok(Asked::Work(arguments)) => *arguments,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn the_usual_command_lines_are_understood() {
        let plain = work("listen local:echo");
        assert_eq!((plain.side, plain.what), (Side::Listen, What::Standard));
        assert_eq!(plain.address, Address::Local("echo".into()));
        assert_eq!(plain.layout, Layout::for_sizes(65536, 65536).unwrap());
        assert_eq!(plain.linger, Some(Duration::from_millis(500)));
        let full =
            work("connect --wait 2.5 --idle 3 --linger forever --used -v xen:5:/a/b recv:x:y");
        assert_eq!(full.address, Address::Xen(5, "/a/b".into()));
        assert_eq!(full.what, What::Receive(Some("x:y".into())));
        assert_eq!(
            (full.wait, full.linger),
            (Some(Duration::from_millis(2500)), None)
        );
        assert!(full.used && full.verbose);
        assert_eq!(
            work("listen --ring 1 --back 2k local:e").layout,
            Layout::default()
        );
        let exec = work("listen local:e -- sed -n -v p");
        assert_eq!(
            exec.what,
            What::Exec(["sed", "-n", "-v", "p"].map(OsString::from).into())
        );
        assert_eq!(exec.linger, Some(Duration::ZERO));
        assert_eq!(work("connect local:e send:-").what, What::Send(None));
        assert_eq!(asked("listen --help nonsense"), Ok(Asked::Help));
    }

    #[test]
    fn wrong_ones_are_told_what_is_wanted() {
        for (line, word) in [
            ("", "listen or connect"),
            ("lisen local:e", "neither"),
            ("listen", "an address"),
            ("listen echo", "local:NAME"),
            ("listen xen:5", "xen:DOMID:PATH"),
            ("listen xen:+5:a", "xen:DOMID:PATH"),
            ("listen xen:70000:a", "xen:DOMID:PATH"),
            ("listen local:e file:x", "send:FILE"),
            ("listen local:e send:", "path"),
            ("listen local:e - -- cat", "not both"),
            ("listen local:e --", "a program"),
            ("listen local:e - -", "too many"),
            ("listen --rings 5 local:e", "no option --rings"),
            ("listen --ring local:e", "a size"),
            ("listen --ring 2M local:e", "1 MiB"),
            ("listen --wait -1 local:e", "seconds"),
            ("listen --idle 1e300 local:e", "seconds"),
            ("listen --linger NaN local:e", "seconds"),
            ("listen local:e --wait", "wants a value"),
            ("connect --ring 4K local:e", "with listen"),
            ("listen --used local:e", "with connect"),
        ] {
            let error = asked(line).unwrap_err();
            assert!(error.contains(word), "{line}: {error}");
        }
    }
}
