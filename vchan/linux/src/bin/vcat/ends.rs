//! What the channel is joined to, opened.

use std::fs::{self, File};
use std::io::{self, Read, Write, stdin, stdout};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use vchan_linux::{Readable, block_on};

use crate::arguments::What;
use crate::stop::Stop;

/// Where bytes come from: a file that can be waited for.
pub struct Input(Arc<OwnedFd>);

impl Input {
    fn new(file: impl Into<OwnedFd>) -> Self {
        Self(Arc::new(file.into()))
    }

    /// Waits until there is something to read, or the end.
    pub fn ready(&self) -> Readable {
        Readable::new(Arc::<OwnedFd>::clone(&self.0))
    }
}

impl Read for Input {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(&*self.0, out)?)
    }
}

/// What stands at our side of the channel.
pub struct Ends {
    /// What is sent; `None` sends nothing, and goes on until the peer closes.
    pub input: Option<Input>,
    /// Where to what comes; `None` is nowhere.
    pub output: Option<Box<dyn Write + Send>>,
    /// Sending is all there is to do.
    pub one_way: bool,
    child: Option<Child>,
}

/// A UNIX socket's file; removed when dropped.
pub struct Listening(UnixListener, PathBuf);

impl Drop for Listening {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = fs::remove_file(&self.1);
    }
}

/// What can be made ready before there is a channel: the place where a UNIX client may already wait.
pub fn prepare(what: &What) -> Result<Option<Listening>, String> {
    let What::UnixListen(path) = what else {
        return Ok(None);
    };
    remove_dead(path);
    let listener = UnixListener::bind(path).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    let listener = listener.map_err(|error| at(path, &error))?;
    Ok(Some(Listening(listener, path.clone())))
}

/// Removes a socket to which nobody listens any more, and nothing else.
fn remove_dead(path: &Path) {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    if is_socket && UnixStream::connect(path).is_err_and(refused) {
        // If it stays, the bind will say so.
        let _ = fs::remove_file(path);
    }
}

fn at(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}

impl Ends {
    /// Opens what the command line names, now that there is a channel. `None` if it was stopped meanwhile.
    pub fn open(
        what: &What,
        listening: Option<&Listening>,
        stop: &Stop,
    ) -> Result<Option<Self>, String> {
        let standard_input = || {
            let file = stdin().as_fd().try_clone_to_owned();
            file.map(Input::new)
                .map_err(|error| format!("standard input: {error}"))
        };
        let standard_output = || -> Result<Box<dyn Write + Send>, String> {
            // Without the buffer that looks for lines.
            let file = stdout().as_fd().try_clone_to_owned();
            let file = file.map_err(|error| format!("standard output: {error}"))?;
            Ok(Box::new(File::from(file)))
        };
        let both = |input, output| Self {
            input: Some(input),
            output: Some(output),
            one_way: false,
            child: None,
        };
        let ends = match what {
            What::Standard => both(standard_input()?, standard_output()?),
            What::Send(path) => Self {
                input: Some(match path {
                    None => standard_input()?,
                    Some(path) => Input::new(File::open(path).map_err(|error| at(path, &error))?),
                }),
                output: None,
                one_way: true,
                child: None,
            },
            What::Receive(path) => Self {
                input: None,
                output: Some(match path {
                    None => standard_output()?,
                    Some(path) => Box::new(File::create(path).map_err(|error| at(path, &error))?),
                }),
                one_way: false,
                child: None,
            },
            What::Unix(path) => {
                let stream = UnixStream::connect(path).map_err(|error| at(path, &error))?;
                let (input, output) = halves(stream).map_err(|error| at(path, &error))?;
                both(input, output)
            }
            What::UnixListen(path) => {
                let Some(Listening(listener, _)) = listening else {
                    return Ok(None);
                };
                let accepted = accept(listener, stop).map_err(|error| at(path, &error))?;
                let Some(stream) = accepted else {
                    return Ok(None);
                };
                let (input, output) = halves(stream).map_err(|error| at(path, &error))?;
                both(input, output)
            }
            What::Exec(words) => run(words)?,
        };
        Ok(Some(ends))
    }

    /// Waits for a program that was run; an error if it failed.
    pub fn finish(&mut self) -> Result<(), String> {
        // The end of its input.
        self.output = None;
        let Some(child) = &mut self.child else {
            return Ok(());
        };
        match child.wait() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("the program failed: {status}")),
            Err(error) => Err(format!("the program: {error}")),
        }
    }
}

fn accept(listener: &UnixListener, stop: &Stop) -> io::Result<Option<UnixStream>> {
    let waited = Arc::new(listener.as_fd().try_clone_to_owned()?);
    loop {
        match listener.accept() {
            Ok((stream, _)) => return Ok(Some(stream)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if block_on(stop.unless(Readable::new(Arc::<OwnedFd>::clone(&waited)))).is_none() {
            return Ok(None);
        }
    }
}

/// Ends a UNIX connection's sending direction when dropped.
struct Sending(UnixStream);

impl Write for Sending {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        // Whoever has gone already need not be told.
        let _ = self.0.shutdown(Shutdown::Write);
    }
}

fn halves(stream: UnixStream) -> io::Result<(Input, Box<dyn Write + Send>)> {
    // An accepted one has the listener's mode.
    stream.set_nonblocking(false)?;
    let input = Input::new(stream.try_clone()?);
    Ok((input, Box::new(Sending(stream))))
}

fn run(words: &[std::ffi::OsString]) -> Result<Ends, String> {
    let Some((program, arguments)) = words.split_first() else {
        return Err("no program".to_owned());
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command
        .spawn()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    let (Some(input), Some(output)) = (child.stdout.take(), child.stdin.take()) else {
        return Err("the program has no input and output".to_owned());
    };
    Ok(Ends {
        input: Some(Input::new(input)),
        output: Some(Box::new(output)),
        one_way: false,
        child: Some(child),
    })
}
