//! A program on Linux, from its arguments to the line that says how it went.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use core::future::Future;
use core::time::Duration;
use std::env;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::panic;
use std::process::ExitCode;
use std::time::Instant;

use process::console::{last_words, start_log};
use process::help;
use stage::params::COMMON;
use stage::{Plan, Stage};
use vchan_linux::sleep_until;

use crate::machine::Machine;

/// How a program ends that was told nonsense.
const WRONG_INPUT: u8 = 2;

/// Reads what program `S` is told, does it, and prints the line that `measure` has made, or one on standard error that says what
/// went wrong. `teaches` is what `--help` says before the parameters.
pub fn main<S: Stage, T>(
    teaches: &str,
    read: impl FnOnce(&Plan<'_>) -> Result<T, String>,
    measure: impl FnOnce(T) -> Result<String, String>,
) -> ExitCode {
    // One line, and then the process aborts.
    panic::set_hook(Box::new(|info| last_words(&info.to_string())));
    start_log();
    let line = match words(env::args_os().skip(1)) {
        Ok(Some(line)) => line,
        // Whoever has stopped reading knows enough.
        Ok(None) => {
            let _ = io::stdout().write_all(help::<S>(teaches).as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(error) => return fail(&error, ExitCode::from(WRONG_INPUT)),
    };
    let plan = Plan::of_text::<S>(&line, b"").map_err(|error| error.to_string());
    let task = plan.and_then(|plan| {
        log::set_max_level(plan.log_level());
        read(&plan)
    });
    let task = match task {
        Ok(task) => task,
        Err(error) => return fail(&error, ExitCode::from(WRONG_INPUT)),
    };
    match measure(task).and_then(|line| {
        let written = writeln!(io::stdout(), "{line}");
        written.map_err(|error| format!("standard output: {error}"))
    }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, ExitCode::FAILURE),
    }
}

fn fail(message: &str, code: ExitCode) -> ExitCode {
    last_words(&format!("error: {message}"));
    code
}

/// The command line as an image has it; `None` where help is wanted.
fn words(words: impl IntoIterator<Item = OsString>) -> Result<Option<String>, String> {
    let mut line = String::new();
    for word in words {
        match word.to_str() {
            Some("-h" | "--help") => return Ok(None),
            Some(word) if word.contains('=') && !word.contains(char::is_whitespace) => {
                line.push_str(word);
                line.push(' ');
            }
            _ => {
                let word = word.to_string_lossy();
                let word = word.escape_debug();
                return Err(format!("{word}: not KEY=VALUE without spaces; see --help"));
            }
        }
    }
    Ok(Some(line))
}

/// What `--help` says.
fn help<S: Stage>(teaches: &str) -> String {
    let mut text = format!(
        "{}: {}\n\nUsage: {} [KEY=VALUE]...\n\n{teaches}\nParameters:\n",
        S::NAME,
        S::ABOUT,
        S::NAME
    );
    // Nothing here is a stage of a pipeline.
    let log = COMMON.iter().filter(|parameter| parameter.name == "log");
    for parameter in S::PARAMETERS.iter().chain(log) {
        help::parameter(&mut text, parameter);
    }
    text.push_str(
        "\nPrints one line of JSON on standard output, and what happens on standard error. Ends with 0, with 1\n\
         if it failed, with 2 if it was told nonsense.\n",
    );
    text
}

/// Linux, as the machine that is measured on.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    start: Instant,
}

impl Process {
    /// Its time begins now.
    pub fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }
}

impl Machine for Process {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn hypercalls(&self) -> Option<u64> {
        None
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> {
        sleep_until(Instant::now() + time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{TcpBench, UdpBench, VchanBench};

    #[test]
    fn words_become_the_command_line_of_an_image() {
        let read = |given: &[&str]| words(given.iter().map(OsString::from));
        assert_eq!(
            read(&["role=client", "size=1"]),
            Ok(Some("role=client size=1 ".into()))
        );
        assert_eq!(read(&["a=b", "--help"]), Ok(None));
        for wrong in ["size", "path=a b", "--json"] {
            let error = read(&[wrong]).unwrap_err();
            assert!(error.starts_with(wrong), "{error}");
        }
    }

    #[test]
    fn help_names_every_parameter_and_fits_a_screen() {
        let texts = [
            (help::<TcpBench>(""), TcpBench::PARAMETERS),
            (help::<UdpBench>(""), UdpBench::PARAMETERS),
            (help::<VchanBench>(""), VchanBench::PARAMETERS),
        ];
        for (text, parameters) in texts {
            for parameter in parameters {
                let told = format!("  {}=", parameter.name);
                assert!(text.contains(&told), "{told} in {text}");
            }
            assert!(
                text.contains("  timeout=") && text.contains("  log="),
                "{text}"
            );
            assert!(text.lines().all(|line| line.len() <= 100), "{text}");
        }
    }
}
