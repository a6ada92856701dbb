//! Why a call failed: xenstored's errno names, what breaks a connection, and the client's error.

use core::fmt;

use super::wire::{self, PathError, ProtocolViolation};

/// Why xenstored refused a request: the name of an errno, cut to 16 printable ASCII characters and filled up with zeros.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno([u8; 16]);

macro_rules! errnos {
    ($($name:ident $doc:literal)*) => {
        /// The names of `xsd_errors`, and some that xenstored sends beside.
        impl Errno {
            $(#[doc = $doc] pub const $name: Self = Self::named(stringify!($name).as_bytes());)*
        }
    };
}

errnos! {
    EINVAL "Malformed request, path or permission."
    EACCES "No permission for this node."
    EEXIST "There already: the watch with this path and token."
    EISDIR "A directory where a value is expected."
    ENOENT "No such node, transaction or watch."
    ENOMEM "xenstored has no memory left."
    ENOSPC "Over a quota: nodes, watches, transactions or value size."
    EIO "xenstored's database failed."
    ENOTEMPTY "The node has children."
    ENOSYS "xenstored does not know this request."
    EROFS "The node cannot be changed."
    EBUSY "A limit of this connection is reached; try later."
    EAGAIN "The transaction met another change: do it again."
    EISCONN "Connected already."
    E2BIG "The reply or the value is too big."
    EPERM "Not allowed for this domain."
    EQUOTA "Over a quota, in oxenstored's words."
}

impl Errno {
    /// The errno that an `XS_ERROR` payload names.
    pub fn from_payload(payload: &[u8]) -> Self {
        Self::named(payload.strip_suffix(b"\0").unwrap_or(payload))
    }

    const fn named(name: &[u8]) -> Self {
        let mut bytes = [0; 16];
        let mut at = 0;
        while at < name.len() && at < bytes.len() {
            // A name goes to the console: no control characters from outside.
            bytes[at] = if name[at].is_ascii_graphic() {
                name[at]
            } else {
                b'?'
            };
            at += 1;
        }
        Self(bytes)
    }

    /// Its name in `errno.h`.
    pub fn name(&self) -> &str {
        let name = self.0.split(|byte| *byte == 0).next();
        name.and_then(|name| str::from_utf8(name).ok())
            .unwrap_or("")
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why the connection is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The ring or what carries it failed; in its own words.
    Transport(&'static str),
    /// xenstored sent what no message is.
    Protocol(ProtocolViolation),
    /// The task that moves the bytes has ended.
    Stopped,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transport(reason) => {
                f.write_str("xenstore ring: ")?;
                f.write_str(reason)
            }
            Self::Protocol(violation) => violation.fmt(f),
            Self::Stopped => f.write_str("Driver::run has ended"),
        }
    }
}

impl core::error::Error for Broken {}

/// Why a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// xenstored refused.
    Store(Errno),
    /// The path cannot be sent.
    Path(PathError),
    /// Path and value together exceed 4,096 bytes.
    TooLong,
    /// The reply is not of the form that the request has.
    Reply,
    /// The transaction met another change each time it was tried.
    Conflict,
    /// [`WAITING_MAX`](super::connection::WAITING_MAX) requests wait already; await some of them first.
    Busy,
    /// The answer was already given: a future was polled after it had finished.
    Taken,
    /// The connection broke; later calls fail too.
    Broken(Broken),
}

impl Error {
    /// What xenstored named as the cause, if it was xenstored that refused.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Store(errno) => Some(*errno),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(errno) => {
                f.write_str("xenstored refused: ")?;
                f.write_str(errno.name())
            }
            Self::Path(error) => error.fmt(f),
            Self::TooLong => {
                f.write_str("xenstore path and value exceed 4096 bytes: shorten the value")
            }
            Self::Reply => f.write_str("xenstored's reply has the wrong form"),
            Self::Conflict => {
                f.write_str("xenstore transaction met other changes each time: try again later")
            }
            Self::Busy => f.write_str("256 xenstore requests wait already: await some first"),
            Self::Taken => f.write_str("this xenstore request was answered before"),
            Self::Broken(broken) => broken.fmt(f),
        }
    }
}

impl core::error::Error for Error {}

impl From<PathError> for Error {
    fn from(error: PathError) -> Self {
        Self::Path(error)
    }
}

impl From<wire::PayloadTooLong> for Error {
    fn from(_: wire::PayloadTooLong) -> Self {
        Self::TooLong
    }
}

impl From<Broken> for Error {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}
