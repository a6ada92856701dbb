//! Where processes meet: a folder of mode 700 that holds one socket for each offer.

use core::fmt;
use core::mem::MaybeUninit;
use std::env;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::inotify;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};
use rustix::process::geteuid;

use super::{Error, kernel};
use crate::reactor::Readable;

/// Why a folder is not one to meet in.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be used to meet in: {reason}", path.display())]
pub struct FolderError {
    /// The folder.
    pub path: PathBuf,
    /// Why not.
    pub reason: String,
}

/// A name that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Of another form.
    #[error("{0:?} is no name to meet under: 1 to 64 of A-Z a-z 0-9 . _ -, the first one no dot")]
    Form(String),
    /// Together with the folder too long for a socket's address.
    #[error("{} is longer than the 107 bytes of a socket's address; take a shorter name or folder", .0.display())]
    Long(PathBuf),
}

/// A folder whose meetings are open to the processes of one user, and to nobody else.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// The folder of this user: `vchan` in the folder of [`home`](Self::home).
    pub fn of_user() -> Result<Self, FolderError> {
        let home = Self::at(Self::home())?;
        Self::at(home.path().join("vchan"))
    }

    /// Where all that concerns running programs of this user has its folder: `$XDG_RUNTIME_DIR/grantflow`, or a folder in the
    /// system's temporary one where that is unset. [`at`](Self::at) makes it, or sees that it is this user's.
    pub fn home() -> PathBuf {
        let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        match runtime.filter(|path| path.is_absolute()) {
            Some(runtime) => runtime.join("grantflow"),
            None => env::temp_dir().join(format!("grantflow-{}", geteuid().as_raw())),
        }
    }

    /// This folder, which is made if it is not there; the one around it must be. It must be ours, and of mode 700.
    pub fn at(path: impl Into<PathBuf>) -> Result<Self, FolderError> {
        let path = path.into();
        let bad = |reason: String| FolderError {
            path: path.clone(),
            reason,
        };
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(bad(error.to_string()));
            }
            _ => {}
        }
        // Not through a link: what stands here may be another user's trap.
        let found = fs::symlink_metadata(&path).map_err(|error| bad(error.to_string()))?;
        if !found.is_dir() {
            return Err(bad("it is no folder; remove it".to_owned()));
        }
        if found.uid() != geteuid().as_raw() {
            return Err(bad(format!("it belongs to user {}", found.uid())));
        }
        if found.mode() & 0o077 != 0 {
            return Err(bad("others may enter it; set its mode to 700".to_owned()));
        }
        Ok(Self(path))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn place(&self, name: &str) -> Result<Place, NameError> {
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if !(1..=64).contains(&name.len()) || !name.bytes().all(letters) || name.starts_with('.') {
            return Err(NameError::Form(name.to_owned()));
        }
        let path = self.0.join(name);
        let address = SocketAddrUnix::new(&path).map_err(|_| NameError::Long(path.clone()))?;
        Ok(Place(Arc::new(Inner {
            folder: self.0.clone(),
            path,
            name: name.to_owned(),
            address,
        })))
    }
}

struct Inner {
    folder: PathBuf,
    path: PathBuf,
    name: String,
    address: SocketAddrUnix,
}

/// Where one server's socket stands.
#[derive(Clone)]
pub(super) struct Place(Arc<Inner>);

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.path.fmt(f)
    }
}

impl Place {
    pub(super) fn name(&self) -> &str {
        &self.0.name
    }

    /// Whoever holds this is alone in making and removing sockets, so that one to which nobody listens is a dead server's.
    fn lock(&self) -> Result<File, Error> {
        let locked = File::open(&self.0.folder).and_then(|folder| {
            folder.lock()?;
            Ok(folder)
        });
        locked.map_err(kernel("the folder to meet in cannot be locked"))
    }

    /// Server: a socket that listens here.
    pub(super) fn listen(&self) -> Result<OwnedFd, Error> {
        let _lock = self.lock()?;
        match self.try_connect() {
            Ok(_) | Err(Errno::AGAIN) => return Err(Error::Offered(self.name().to_owned())),
            Err(Errno::CONNREFUSED) => self.remove_dead()?,
            Err(Errno::NOENT) => {}
            Err(error) => return Err(kernel("the place to meet is not free")(error)),
        }
        let make = || {
            let socket = new_socket()?;
            bind(&socket, &self.0.address)?;
            Ok(socket)
        };
        let failed = "no socket to meet at";
        let socket = make().map_err(kernel::<Errno>(failed))?;
        // From here on the file is there, and goes again on an error.
        let open = || {
            fs::set_permissions(&self.0.path, Permissions::from_mode(0o600))?;
            Ok(listen(&socket, 8)?)
        };
        open().map_err(|error: io::Error| {
            self.remove();
            kernel(failed)(error)
        })?;
        Ok(socket)
    }

    /// Server: takes its socket's file away.
    pub(super) fn remove(&self) {
        // Whatever stands in the way of it, there is nobody to tell.
        let _ = fs::remove_file(&self.0.path);
    }

    /// Client: a connection to the server, whose uid is ours or root's; `None` while there is none.
    pub(super) fn connect(&self) -> Result<Option<OwnedFd>, Error> {
        let connected = match self.try_connect() {
            // Killed, or not quite there: with the lock it is clear which.
            Err(Errno::CONNREFUSED) => {
                let _lock = self.lock()?;
                match self.try_connect() {
                    Err(Errno::CONNREFUSED) => return self.remove_dead().map(|()| None),
                    connected => connected,
                }
            }
            connected => connected,
        };
        match connected {
            Ok(socket) if is_ours(&socket) => Ok(Some(socket)),
            Ok(_) => Err(Error::NotOurs(self.name().to_owned())),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(kernel("no connection to the server")(error)),
        }
    }

    fn try_connect(&self) -> Result<OwnedFd, Errno> {
        let socket = new_socket()?;
        connect(&socket, &self.0.address)?;
        Ok(socket)
    }

    /// Under the lock: takes away a file to which nobody listens, if it is a socket.
    fn remove_dead(&self) -> Result<(), Error> {
        let found = fs::symlink_metadata(&self.0.path);
        if found.is_ok_and(|found| !found.file_type().is_socket()) {
            return Err(Error::NotOurs(self.name().to_owned()));
        }
        self.remove();
        Ok(())
    }

    /// Takes away what a dead server has left here.
    pub(super) fn sweep(&self) {
        // A connection is made and dropped, or there is none: both are what was wanted.
        let _ = self.connect();
    }

    /// Client: a watch of the folder.
    pub(super) fn watch(&self) -> Result<Watch, Error> {
        let make = || {
            let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
            let watch = inotify::init(flags)?;
            let flags = inotify::WatchFlags::CREATE
                | inotify::WatchFlags::DELETE_SELF
                | inotify::WatchFlags::MOVE_SELF;
            inotify::add_watch(&watch, &self.0.folder, flags)?;
            Ok(watch)
        };
        let watch = make().map_err(kernel::<Errno>("the folder to meet in cannot be watched"))?;
        Ok(Watch {
            file: Arc::new(watch),
            folder: self.0.folder.clone(),
        })
    }
}

fn new_socket() -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
}

/// Whether the process at the other end is this user's, or root's.
pub(super) fn is_ours(socket: impl AsFd) -> bool {
    rustix::net::sockopt::socket_peercred(socket)
        .is_ok_and(|peer| peer.uid.is_root() || peer.uid == geteuid())
}

/// A watch of the folder.
pub(super) struct Watch {
    file: Arc<OwnedFd>,
    folder: PathBuf,
}

impl Watch {
    /// Waits until something was made in the folder since the last time.
    pub(super) async fn changed(&self) -> Result<(), Error> {
        Readable::new(Arc::<OwnedFd>::clone(&self.file)).await;
        let mut space = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&*self.file, &mut space);
        // Until there are no more; which ones they were does not matter.
        while events.next().is_ok() {}
        match self.folder.is_dir() {
            true => Ok(()),
            false => Err(kernel("the folder to meet in")(Errno::NOENT)),
        }
    }
}
