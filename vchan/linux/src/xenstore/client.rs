//! One connection to xenstored. Requests block, for a bounded time; a watch is waited for without blocking.

use core::time::Duration;
use std::env;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, OFlags};
use rustix::io::{Errno, read, write};
use thiserror::Error;

use super::wire::{self, Decoder, HEADER_SIZE, Message, PAYLOAD_MAX, PathError, Violation};
use crate::reactor::Readable;

/// xenstored's socket, where it runs in this very domain; `$XENSTORED_PATH` names the only one to try, as for libxenstore.
const SOCKETS: [&str; 2] = ["/run/xenstored/socket", "/var/run/xenstored/socket"];
/// The kernel's way to it, in any domain.
const DEVICES: [&str; 2] = ["/dev/xen/xenbus", "/proc/xen/xenbus"];

/// How long a request may take. It takes milliseconds, also on a slow machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many requests are sent before the first reply is read: paths of the greatest length fit into a socket's buffer so often, so
/// that neither side waits for the other to read.
const AT_ONCE: usize = 32;

/// How often a transaction is tried that meets other changes.
const TRIES: u32 = 12;

/// Why a call failed.
#[derive(Debug, Error)]
pub enum Error {
    /// There is no xenstore here.
    #[error(
        "xenstore cannot be reached: {0}; is this a Xen domain, with /dev/xen/xenbus or xenstored's socket open to this user?"
    )]
    Unreachable(#[source] io::Error),
    /// xenstored refused; the name of an errno.
    #[error("xenstored refused {request} of {path}: {errno}")]
    Refused {
        /// What was asked.
        request: &'static str,
        /// Of which node.
        path: String,
        /// `ENOENT`, `EACCES`, `EAGAIN`, ...
        errno: String,
    },
    /// The path cannot be sent.
    #[error("not a xenstore path: {0}")]
    Path(#[from] PathError),
    /// Path and value together are more than 4,096 bytes.
    #[error("path and value together exceed xenstore's 4096 bytes")]
    TooLong,
    /// The transaction met other changes each time.
    #[error("a xenstore transaction met other changes {TRIES} times; try again later")]
    Conflict,
    /// No answer.
    #[error("xenstored has not answered within 10 s")]
    Timeout,
    /// Not the protocol.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// A reply to another request, or of another form.
    #[error("xenstored's reply is not one to the request")]
    Reply,
    /// The connection is at its end.
    #[error("the connection to xenstored broke: {0}")]
    Broken(#[source] io::Error),
}

impl Error {
    /// Whether xenstored refused with the errno of this name.
    pub fn is(&self, name: &str) -> bool {
        matches!(self, Error::Refused { errno, .. } if errno == name)
    }
}

impl From<Errno> for Error {
    fn from(error: Errno) -> Self {
        Error::Broken(error.into())
    }
}

/// A transaction, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tx(u32);

impl Tx {
    /// Outside a transaction.
    pub const NONE: Self = Self(0);
}

/// One connection. Watches and transactions end with it.
pub struct Connection {
    file: Arc<OwnedFd>,
    /// Whether several requests may be on their way: the kernel's device takes one at a time.
    is_socket: bool,
    decoder: Decoder,
    last_req_id: u32,
    /// A watch has fired since it was last waited for.
    fired: bool,
}

impl Connection {
    /// A connection to the store of this machine.
    pub fn open() -> Result<Self, Error> {
        if let Some(named) = env::var_os("XENSTORED_PATH") {
            let stream = UnixStream::connect(Path::new(&named)).map_err(Error::Unreachable)?;
            return Self::over(stream.into());
        }
        let mut error = io::Error::from(io::ErrorKind::NotFound);
        for socket in SOCKETS {
            match UnixStream::connect(socket) {
                Ok(stream) => return Self::over(stream.into()),
                Err(failed) => error = failed,
            }
        }
        for device in DEVICES {
            match OpenOptions::new().read(true).write(true).open(device) {
                Ok(file) => return Self::over(file.into()),
                // What a domain without the socket should hear about is the device.
                Err(failed) => error = failed,
            }
        }
        Err(Error::Unreachable(error))
    }

    /// A connection over this file, of which nobody else may read.
    pub fn over(file: OwnedFd) -> Result<Self, Error> {
        rustix::fs::fcntl_setfl(&file, OFlags::RDWR | OFlags::NONBLOCK)?;
        let mode = rustix::fs::fstat(&file)?.st_mode;
        Ok(Self {
            file: Arc::new(file),
            is_socket: FileType::from_raw_mode(mode) == FileType::Socket,
            decoder: Decoder::default(),
            last_req_id: 0,
            fired: false,
        })
    }

    /// The value of a node.
    pub fn read(&mut self, tx: Tx, path: &str) -> Result<Vec<u8>, Error> {
        self.call(wire::READ, tx, path, &[])
    }

    /// The names of a node's children.
    pub fn directory(&mut self, tx: Tx, path: &str) -> Result<Vec<String>, Error> {
        self.call(wire::DIRECTORY, tx, path, &[]).and_then(names)
    }

    /// The values of nodes, each of which may be refused for itself: one wait for all, where several would be most of the time.
    pub fn read_all(
        &mut self,
        tx: Tx,
        paths: &[String],
    ) -> Result<Vec<Result<Vec<u8>, Error>>, Error> {
        self.call_all(wire::READ, tx, paths)
    }

    /// The names of nodes' children, likewise.
    pub fn directory_all(
        &mut self,
        tx: Tx,
        paths: &[String],
    ) -> Result<Vec<Result<Vec<String>, Error>>, Error> {
        let all = self.call_all(wire::DIRECTORY, tx, paths)?;
        let all = all.into_iter().map(|one| match one.map(names) {
            Ok(Err(error)) => Err(error),
            Ok(names) => Ok(names),
            Err(refused) => Ok(Err(refused)),
        });
        all.collect()
    }

    /// Writes a node, with those above it that are missing.
    pub fn write(&mut self, tx: Tx, path: &str, value: &[u8]) -> Result<(), Error> {
        self.call(wire::WRITE, tx, path, &[value]).and_then(ok)
    }

    /// Gives a node to domain `owner`, readable for `reader` and nobody else.
    pub fn set_perms(&mut self, tx: Tx, path: &str, owner: u16, reader: u16) -> Result<(), Error> {
        let entries = format!("n{owner}\0r{reader}\0");
        self.call(wire::SET_PERMS, tx, path, &[entries.as_bytes()])
            .and_then(ok)
    }

    /// Removes a node and all below it.
    pub fn rm(&mut self, tx: Tx, path: &str) -> Result<(), Error> {
        self.call(wire::RM, tx, path, &[]).and_then(ok)
    }

    /// Has [`changed`](Self::changed) return whenever something changes at or below `path`, and once at first.
    pub fn watch(&mut self, path: &str) -> Result<(), Error> {
        self.call(wire::WATCH, Tx::NONE, path, &[b"watch\0"])
            .and_then(ok)
    }

    /// Waits until a watch fires.
    pub async fn changed(&mut self) -> Result<(), Error> {
        while !self.fired {
            // What is no event now is an answer to nothing.
            match self.next()? {
                Some(_) => return Err(Error::Reply),
                None if self.fired => {}
                None => Readable::new(Arc::<OwnedFd>::clone(&self.file)).await,
            }
        }
        self.fired = false;
        Ok(())
    }

    /// Whether the store knows a domain of this id, which it does until that one is gone.
    pub fn is_domain_introduced(&mut self, domain: u16) -> Result<bool, Error> {
        let reply = self.request(
            wire::IS_DOMAIN_INTRODUCED,
            Tx::NONE,
            &domain.to_string(),
            &[],
        )?;
        match reply.as_slice() {
            b"T\0" => Ok(true),
            b"F\0" => Ok(false),
            _ => Err(Error::Reply),
        }
    }

    /// Does `body` in a transaction, again where that met other changes.
    pub fn transaction<T>(
        &mut self,
        mut body: impl FnMut(&mut Self, Tx) -> Result<T, Error>,
    ) -> Result<T, Error> {
        for attempt in 0..TRIES {
            let id = self.request(wire::TRANSACTION_START, Tx::NONE, "", &[])?;
            let id = id.strip_suffix(b"\0").ok_or(Error::Reply)?;
            let tx = Tx(vchan::keys::parse(id).map_err(|_| Error::Reply)?);
            let done = body(self, tx);
            let end = if done.is_ok() { "T" } else { "F" };
            let ended = self
                .request(wire::TRANSACTION_END, tx, end, &[])
                .and_then(ok);
            match (done, ended) {
                (Err(error), _) if !error.is("EAGAIN") => return Err(error),
                (Ok(value), Ok(())) => return Ok(value),
                (Ok(_), Err(error)) if !error.is("EAGAIN") => return Err(error),
                // 1 ms, 2 ms, ... 1 s: whoever was in the way is done by then.
                _ => thread::sleep(Duration::from_millis(1 << attempt.min(10))),
            }
        }
        Err(Error::Conflict)
    }

    fn call(&mut self, kind: u32, tx: Tx, path: &str, rest: &[&[u8]]) -> Result<Vec<u8>, Error> {
        wire::check_path(path)?;
        self.request(kind, tx, path, rest)
    }

    /// The same request of each path: the answers, and those that are refusals.
    fn call_all(
        &mut self,
        kind: u32,
        tx: Tx,
        paths: &[String],
    ) -> Result<Vec<Result<Vec<u8>, Error>>, Error> {
        for path in paths {
            wire::check_path(path)?;
        }
        let mut answers = Vec::new();
        let at_once = if self.is_socket { AT_ONCE } else { 1 };
        for some in paths.chunks(at_once) {
            let deadline = Instant::now() + PATIENCE;
            let first = self.last_req_id;
            let mut bytes = Vec::new();
            for path in some {
                let request = self.message(kind, tx, path, &[]);
                bytes.extend(request.bytes().ok_or(Error::TooLong)?);
            }
            self.send(&bytes, deadline)?;
            for (path, place) in some.iter().zip(1..) {
                match self.reply((kind, first.wrapping_add(place)), tx, path, deadline) {
                    Err(error) if !matches!(error, Error::Refused { .. }) => return Err(error),
                    answer => answers.push(answer),
                }
            }
        }
        Ok(answers)
    }

    /// Sends `word`, a NUL and `rest`; returns the reply's payload.
    fn request(&mut self, kind: u32, tx: Tx, word: &str, rest: &[&[u8]]) -> Result<Vec<u8>, Error> {
        let deadline = Instant::now() + PATIENCE;
        let request = self.message(kind, tx, word, rest);
        self.send(&request.bytes().ok_or(Error::TooLong)?, deadline)?;
        self.reply((kind, request.req_id), tx, word, deadline)
    }

    /// The next request.
    fn message(&mut self, kind: u32, tx: Tx, word: &str, rest: &[&[u8]]) -> Message {
        self.last_req_id = self.last_req_id.wrapping_add(1);
        Message {
            kind,
            req_id: self.last_req_id,
            tx_id: tx.0,
            payload: [&[word.as_bytes(), b"\0"], rest].concat().concat(),
        }
    }

    /// The payload of the next reply, which must be the one to this request.
    fn reply(
        &mut self,
        (kind, req_id): (u32, u32),
        tx: Tx,
        word: &str,
        deadline: Instant,
    ) -> Result<Vec<u8>, Error> {
        let reply = loop {
            match self.next()? {
                Some(reply) => break reply,
                None => self.wait(PollFlags::IN, deadline)?,
            }
        };
        if reply.req_id != req_id || reply.tx_id != tx.0 {
            return Err(Error::Reply);
        }
        match reply.kind {
            wire::ERROR => Err(Error::Refused {
                request: name(kind),
                path: word.to_owned(),
                errno: errno(&reply.payload),
            }),
            answered if answered == kind => Ok(reply.payload),
            _ => Err(Error::Reply),
        }
    }

    fn send(&self, mut bytes: &[u8], deadline: Instant) -> Result<(), Error> {
        while !bytes.is_empty() {
            match write(&*self.file, bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(Errno::AGAIN) => self.wait(PollFlags::OUT, deadline)?,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn wait(&self, flags: PollFlags, deadline: Instant) -> Result<(), Error> {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).ok();
        match poll(&mut [PollFd::new(&*self.file, flags)], timeout.as_ref()) {
            Ok(0) => Err(Error::Timeout),
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The next reply that is there; `None` for now. Events are taken note of.
    fn next(&mut self) -> Result<Option<Message>, Error> {
        loop {
            match self.decoder.message()? {
                // Which node it was does not matter: who waits looks again.
                Some(message) if message.kind == wire::WATCH_EVENT => self.fired = true,
                Some(reply) => return Ok(Some(reply)),
                None => {
                    let mut piece = [0; HEADER_SIZE + PAYLOAD_MAX];
                    match read(&*self.file, &mut piece) {
                        Ok(0) => return Err(Error::Broken(io::ErrorKind::UnexpectedEof.into())),
                        Ok(length) => self.decoder.push(&piece[..length]),
                        Err(Errno::AGAIN) => return Ok(None),
                        Err(Errno::INTR) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            }
        }
    }
}

/// What stands in the reply to [`wire::DIRECTORY`].
fn names(reply: Vec<u8>) -> Result<Vec<String>, Error> {
    let names = String::from_utf8(reply).map_err(|_| Error::Reply)?;
    let names = names.split_terminator('\0');
    Ok(names.map(str::to_owned).collect())
}

fn ok(reply: Vec<u8>) -> Result<(), Error> {
    match reply.as_slice() {
        b"OK\0" => Ok(()),
        _ => Err(Error::Reply),
    }
}

fn name(kind: u32) -> &'static str {
    match kind {
        wire::DIRECTORY => "a listing",
        wire::READ => "reading",
        wire::WATCH => "a watch",
        wire::WRITE => "writing",
        wire::RM => "removal",
        wire::SET_PERMS => "permissions",
        _ => "a request",
    }
}

/// The name in an error's payload, without what a terminal should not see.
fn errno(payload: &[u8]) -> String {
    let name = payload.strip_suffix(b"\0").unwrap_or(payload);
    let printable = name.iter().take(16).map(|&byte| match byte {
        byte if byte.is_ascii_graphic() => char::from(byte),
        _ => '?',
    });
    printable.collect()
}

#[cfg(test)]
mod tests;
