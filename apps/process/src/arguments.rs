//! The command line of a stage's program. Pure.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use stage::EdgeName;

use crate::tcp::Address;

/// What a program is told beside the parameters of its stage.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Arguments {
    /// The parameters, as an image has them on its command line.
    pub parameters: String,
    /// `--module`: what an image has as its boot module.
    pub module: Option<PathBuf>,
    /// `--keys`: where it tells about itself and is told of its peers.
    pub keys: Option<PathBuf>,
    /// `--meet`: where its edges meet.
    pub meet: Option<PathBuf>,
    /// `--xen`: over Xen's devices and xenstore.
    pub xen: bool,
    /// `--tcp`: where its edges meet over TCP.
    pub tcp: Vec<Address>,
    /// `--parent`: with which process it ends.
    pub parent: Option<i32>,
}

/// What is wanted of the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// To say what it takes.
    Help,
    /// To run.
    Run(Arguments),
}

/// A command line that cannot be read; one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// Not text.
    #[error("{0}: not UTF-8 text")]
    NotText(String),
    /// Neither an option nor a parameter.
    #[error("{0}: neither KEY=VALUE nor an option; see --help")]
    Unknown(String),
    /// An option without what belongs to it.
    #[error("{0}: give it a value, as --help says")]
    NoValue(&'static str),
    /// An option twice.
    #[error("{0}: given twice")]
    Twice(&'static str),
    /// Not the number of a process.
    #[error("--parent: \"{0}\" is not the number of a process")]
    Parent(String),
    /// Options that contradict each other.
    #[error("--meet: a folder of this host, which {0} does without")]
    MeetAnd(&'static str),
    /// Not the place of an edge.
    #[error("--tcp: \"{0}\" is not EDGE=ADDRESS:PORT, as in flow=10.0.0.2:7000")]
    Tcp(String),
    /// An edge with two places.
    #[error("--tcp: {0}: given twice")]
    TcpTwice(String),
}

/// Reads the words after the program's name.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Request, ArgumentError> {
    let mut arguments = Arguments::default();
    let mut parent = None;
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let mut address = None;
        let (option, slot) = match word.to_str() {
            Some("-h" | "--help") => return Ok(Request::Help),
            Some("--xen") => {
                arguments.xen = true;
                continue;
            }
            Some("--module") => ("--module", &mut arguments.module),
            Some("--keys") => ("--keys", &mut arguments.keys),
            Some("--meet") => ("--meet", &mut arguments.meet),
            Some("--tcp") => ("--tcp", &mut address),
            Some("--parent") => ("--parent", &mut parent),
            Some(word) if !word.starts_with('-') && word.contains('=') => {
                add(&mut arguments.parameters, word);
                continue;
            }
            Some(word) => return Err(ArgumentError::Unknown(word.escape_debug().to_string())),
            None => {
                return Err(ArgumentError::NotText(
                    word.to_string_lossy().escape_debug().to_string(),
                ));
            }
        };
        let value = words.next().filter(|value| !value.is_empty());
        let value = value.ok_or(ArgumentError::NoValue(option))?;
        if slot.replace(value.into()).is_some() {
            return Err(ArgumentError::Twice(option));
        }
        if let Some(word) = address {
            let address = place(&word)?;
            if arguments.tcp.iter().any(|other| other.edge == address.edge) {
                return Err(ArgumentError::TcpTwice(address.edge));
            }
            arguments.tcp.push(address);
        }
    }
    if arguments.meet.is_some() && (arguments.xen || !arguments.tcp.is_empty()) {
        let other = if arguments.xen { "--xen" } else { "--tcp" };
        return Err(ArgumentError::MeetAnd(other));
    }
    arguments.parent = parent.map(number).transpose()?;
    Ok(Request::Run(arguments))
}

fn number(word: PathBuf) -> Result<i32, ArgumentError> {
    let text = word.to_string_lossy();
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| ArgumentError::Parent(text.escape_debug().to_string()))
}

fn place(word: &Path) -> Result<Address, ArgumentError> {
    let text = word.to_string_lossy();
    let parts = text.split_once('=').and_then(|(edge, socket)| {
        let name = EdgeName::new(edge)?;
        Some((name.to_string(), socket.parse().ok()?))
    });
    let (edge, socket) =
        parts.ok_or_else(|| ArgumentError::Tcp(text.escape_debug().to_string()))?;
    Ok(Address { edge, socket })
}

/// Adds a word as a parameter. The shell has taken away the quotes around a value with spaces.
fn add(parameters: &mut String, word: &str) {
    if !parameters.is_empty() {
        parameters.push(' ');
    }
    match word.split_once('=') {
        Some((key, value))
            if value.is_empty()
                || value.contains(char::is_whitespace) && !value.starts_with('"') =>
        {
            parameters.push_str(key);
            parameters.push_str("=\"");
            parameters.push_str(value);
            parameters.push('"');
        }
        _ => parameters.push_str(word),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    fn read(words: &[&str]) -> Result<Request, ArgumentError> {
        parse(words.iter().map(OsString::from))
    }

    #[test]
    fn parameters_are_what_an_image_has_on_its_command_line() {
        let Ok(Request::Run(arguments)) = read(&[
            "in.flow=?",
            "--module",
            "data.csv",
            "name.1=water flow",
            "log=",
            "topic=\"a b\"",
            "--tcp",
            "flow=10.0.0.2:7000",
            "--parent",
            "7",
        ]) else {
            panic!("not read");
        };
        assert_eq!(
            arguments.parameters,
            r#"in.flow=? name.1="water flow" log="" topic="a b""#
        );
        assert_eq!(arguments.module, Some("data.csv".into()));
        let flow = Address {
            edge: "flow".into(),
            socket: ([10, 0, 0, 2], 7000).into(),
        };
        assert_eq!(arguments.tcp, [flow]);
        assert_eq!(arguments.parent, Some(7));
        assert_eq!(read(&["a=b", "--help", "nonsense"]), Ok(Request::Help));
        assert_eq!(read(&[]), Ok(Request::Run(Arguments::default())));
    }

    #[test]
    fn what_is_neither_is_named() {
        for (words, told) in [
            (&["rate"][..], "rate: neither"),
            (&["--rate=1"], "--rate=1: neither"),
            (&["--module"], "--module: give it a value"),
            (&["--keys", ""], "--keys: give it a value"),
            (&["--meet", "a", "--meet", "b"], "--meet: given twice"),
            (&["--meet", "a", "--xen"], "--meet: a folder"),
            (
                &["--tcp", "a=[::1]:9", "--meet", "a"],
                "--meet: a folder of this host, which --tcp",
            ),
            (
                &["--tcp", "a=1.2.3.4:5", "--tcp", "a=1.2.3.4:6"],
                "--tcp: a: given twice",
            ),
            (&["--tcp", "1.2.3.4:5"], "--tcp: \"1.2.3.4:5\" is not EDGE="),
            (&["--tcp", "a=1.2.3.4"], "--tcp: \"a=1.2.3.4\" is not"),
            (&["--tcp", "A=1.2.3.4:5"], "--tcp: \"A="),
            (&["--tcp"], "--tcp: give it a value"),
            (&["--parent", "-1"], "--parent: \"-1\""),
            (&["\x1b[2J"], "\\u{1b}[2J: neither"),
        ] {
            let error = read(words).unwrap_err().to_string();
            assert!(error.starts_with(told), "{error}");
        }
        let wild = OsString::from_vec(vec![0xFF, b'=']);
        assert!(matches!(parse([wild]), Err(ArgumentError::NotText(_))));
    }
}
