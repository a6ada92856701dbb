//! Where a stage tells about itself and is told of its peers: the same keys as files, or in xenstore.

use core::cell::{Cell, RefCell};
use core::mem::MaybeUninit;
use core::pin::{Pin, pin};
use core::task::{Context, Poll};
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::inotify;
use rustix::io::Errno;
use vchan_linux::Readable;
use vchan_linux::xenstore::{Connection, Error as StoreError, Tx};

/// No key's value is longer: as much as xenstore takes.
const VALUE_MAX: u64 = 4096;

/// What every stage on Xen uses, and its lock nobody else.
const DEVICE: &str = "/dev/xen/evtchn";

/// Where the keys are.
pub struct Keys {
    backend: Backend,
    /// Whether a write has failed, which is said once.
    failed: Cell<bool>,
}

enum Backend {
    Nowhere,
    Files(PathBuf),
    Store {
        store: RefCell<Connection>,
        /// Whose the keys are, as long as it lives.
        _claim: File,
    },
}

/// Why there are no keys; one line.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// A file or folder.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// Xenstore.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// They are another stage's.
    #[error(
        "another stage has this domain's keys in xenstore: give this one a folder for its own, --keys DIR"
    )]
    Taken,
    /// There is nobody to ask.
    #[error("nobody is there to name the peer: give --keys, or a number in place of ?")]
    Nowhere,
}

impl Keys {
    /// None: nothing is told.
    pub fn nowhere() -> Self {
        Self::over(Backend::Nowhere)
    }

    /// Files in this folder, which has to be there.
    pub fn in_folder(folder: &Path) -> Self {
        Self::over(Backend::Files(folder.to_owned()))
    }

    /// Nodes of this domain, which one stage at a time can have; what an earlier one has told there is removed.
    pub fn in_xenstore(mut store: Connection) -> Result<Self, KeysError> {
        let claim = claim(Path::new(DEVICE))?;
        match store.rm(Tx::NONE, "data/grantflow") {
            Err(error) if !error.is("ENOENT") => return Err(error.into()),
            _ => {}
        }
        Ok(Self::over(Backend::Store {
            store: RefCell::new(store),
            _claim: claim,
        }))
    }

    fn over(backend: Backend) -> Self {
        Self {
            backend,
            failed: Cell::new(false),
        }
    }

    /// Writes a key, whole or not at all. That it cannot be written is said once; the stage goes on.
    pub fn write(&self, key: &str, value: &str) {
        let written = match &self.backend {
            Backend::Nowhere => Ok(()),
            Backend::Files(folder) => write_file(&folder.join(key), value),
            Backend::Store { store, .. } => store
                .borrow_mut()
                .write(Tx::NONE, key, value.as_bytes())
                .map_err(KeysError::Store),
        };
        match written {
            Ok(()) => self.failed.set(false),
            Err(error) if !self.failed.replace(true) => log::warn!("cannot tell {key}: {error}"),
            Err(_) => {}
        }
    }

    /// The value of a key; `None` while there is none.
    pub fn read(&self, key: &str) -> Result<Option<String>, KeysError> {
        let value = match &self.backend {
            Backend::Nowhere => return Ok(None),
            Backend::Files(folder) => read_file(&folder.join(key))?,
            Backend::Store { store, .. } => match store.borrow_mut().read(Tx::NONE, key) {
                Ok(value) => Some(value),
                Err(error) if error.is("ENOENT") || error.is("EACCES") => None,
                Err(error) => return Err(error.into()),
            },
        };
        Ok(value.and_then(|bytes| String::from_utf8(bytes).ok()))
    }

    /// A watch on a key.
    pub fn watch(&self, key: &str) -> Result<Watch, KeysError> {
        match &self.backend {
            Backend::Nowhere => Err(KeysError::Nowhere),
            Backend::Files(folder) => watch_file(&folder.join(key)),
            Backend::Store { .. } => {
                let mut store = Connection::open()?;
                store.watch(key)?;
                Ok(Watch(Source::Store(store)))
            }
        }
    }
}

/// Locks a file, which lasts until it is dropped or the process ends.
fn claim(path: &Path) -> Result<File, KeysError> {
    let file = File::open(path).map_err(at(path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(KeysError::Taken),
        Err(TryLockError::Error(error)) => Err(at(path)(error)),
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> KeysError {
    |error| KeysError::File {
        path: path.to_owned(),
        error,
    }
}

/// The folder of a key, made if it is not there. The one of all keys is not made: once it is gone, so is whoever would read them.
fn write_file(path: &Path, value: &str) -> Result<(), KeysError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let write = || {
        fs::write(&beside, value)?;
        fs::rename(&beside, path)
    };
    let written = match write() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            make_folder(path).and_then(|()| write())
        }
        other => other,
    };
    written.map_err(at(path))
}

fn make_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn read_file(path: &Path) -> Result<Option<Vec<u8>>, KeysError> {
    use io::Read as _;
    let read = || {
        let mut bytes = Vec::new();
        File::open(path)?.take(VALUE_MAX).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match read() {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if io::Error::kind(&error) == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(path)(error)),
    }
}

fn watch_file(path: &Path) -> Result<Watch, KeysError> {
    let folder = path.parent().unwrap_or(path);
    make_folder(path).map_err(at(folder))?;
    let make = || {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let watch = inotify::init(flags)?;
        let flags = inotify::WatchFlags::MOVED_TO
            | inotify::WatchFlags::CLOSE_WRITE
            | inotify::WatchFlags::DELETE;
        inotify::add_watch(&watch, folder, flags)?;
        Ok(watch)
    };
    let watch = make().map_err(|error: Errno| at(folder)(error.into()))?;
    Ok(Watch(Source::Files(Arc::new(watch))))
}

/// A watch on a key: tells that it may have changed.
pub struct Watch(Source);

enum Source {
    Files(Arc<OwnedFd>),
    Store(Connection),
}

impl Watch {
    /// Ready once the key may have changed since this was last ready.
    pub fn poll_changed(&mut self, context: &mut Context<'_>) -> Poll<Result<(), KeysError>> {
        match &mut self.0 {
            Source::Files(watch) => {
                let mut readable = Readable::new(Arc::<OwnedFd>::clone(watch));
                if Pin::new(&mut readable).poll(context).is_pending() {
                    return Poll::Pending;
                }
                let mut space = [MaybeUninit::uninit(); 4096];
                let mut events = inotify::Reader::new(&**watch, &mut space);
                // Until there are no more; which ones they were does not matter.
                while events.next().is_ok() {}
                Poll::Ready(Ok(()))
            }
            Source::Store(store) => pin!(store.changed())
                .poll(context)
                .map_err(KeysError::Store),
        }
    }
}

#[cfg(test)]
mod tests {
    use core::future::poll_fn;
    use std::time::{Duration, Instant};

    use vchan_linux::{block_on, block_until};

    use super::*;

    #[test]
    fn a_key_is_a_file_that_is_whole_or_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::in_folder(folder.path());
        assert_eq!(keys.read("data/grantflow/state").unwrap(), None);
        for value in ["starting", "running", ""] {
            keys.write("data/grantflow/state", value);
            assert_eq!(
                keys.read("data/grantflow/state").unwrap().as_deref(),
                Some(value)
            );
        }
        let left: Vec<_> = fs::read_dir(folder.path().join("data/grantflow"))
            .unwrap()
            .collect();
        assert_eq!(left.len(), 1);
        let mode = fs::metadata(folder.path().join("data")).unwrap();
        assert_eq!(std::os::unix::fs::MetadataExt::mode(&mode) & 0o777, 0o700);
    }

    #[test]
    fn what_cannot_be_told_is_no_reason_to_end() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("data"), "a file in the way").unwrap();
        Keys::in_folder(folder.path()).write("data/grantflow/state", "running");
        Keys::nowhere().write("data/grantflow/state", "running");
        assert!(Keys::nowhere().watch("x").is_err());
    }

    #[test]
    fn a_second_stage_of_a_domain_is_told_to_have_keys_of_its_own() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let first = claim(file.path()).unwrap();
        let error = claim(file.path()).unwrap_err().to_string();
        assert!(error.contains("--keys DIR"), "{error}");
        drop(first);
        assert!(claim(file.path()).is_ok());
        assert!(claim(Path::new("/nonexistent")).is_err());
    }

    #[test]
    fn a_change_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::in_folder(folder.path());
        let mut watch = keys.watch("grantflow/peer/flow").unwrap();
        let mut changed = |millis| {
            let deadline = Instant::now() + Duration::from_millis(millis);
            block_until(deadline, poll_fn(|context| watch.poll_changed(context))).is_some()
        };
        assert!(!changed(10));
        keys.write("grantflow/peer/flow", "a 1");
        assert!(changed(10_000));
        assert!(!changed(10));
        fs::remove_file(folder.path().join("grantflow/peer/flow")).unwrap();
        assert!(changed(10_000));
        block_on(async {});
    }
}
