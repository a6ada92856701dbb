//! Bytes that come by themselves: from a pipe, a file that grows, a serial port.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::termios::{ControlModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr};
use vchan_linux::{Readable, sleep_until};

use crate::output;

/// How often to look whether a file has grown, or a port is back.
const LOOK: Duration = Duration::from_millis(250);

/// What a read has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// So many bytes.
    Bytes(usize),
    /// A new beginning: another file, or the same from its start.
    Anew,
    /// The end.
    End,
}

/// Where bytes come from.
#[derive(Debug)]
pub enum Bytes {
    /// A pipe, or a file once, until its end.
    Pipe(Arc<File>),
    /// A file that grows, and is renamed or emptied now and then, as logs are.
    Growing(Growing),
    /// A serial port.
    Serial(Serial),
}

impl Bytes {
    /// Waits until [`read`](Self::read) has something to do.
    pub async fn ready(&mut self) {
        match self {
            Self::Pipe(file) => Readable::new(Arc::<File>::clone(file)).await,
            Self::Growing(growing) => {
                while !growing.has_news() {
                    sleep_until(Instant::now() + LOOK).await;
                }
            }
            Self::Serial(serial) => serial.ready().await,
        }
    }

    /// Reads what is there.
    pub fn read(&mut self, into: &mut [u8]) -> io::Result<Piece> {
        match self {
            Self::Pipe(file) => match retry(|| (&**file).read(into))? {
                0 => Ok(Piece::End),
                count => Ok(Piece::Bytes(count)),
            },
            Self::Growing(growing) => growing.read(into),
            Self::Serial(serial) => Ok(serial.read(into)),
        }
    }
}

fn retry(mut read: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match read() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// A file that is followed by its name.
#[derive(Debug)]
pub struct Growing {
    path: PathBuf,
    file: Option<File>,
    /// Bytes read of it.
    at: u64,
}

impl Growing {
    /// The file of this name, from its beginning. It need not be there yet.
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            file: None,
            at: 0,
        }
    }

    fn has_news(&self) -> bool {
        match &self.file {
            None => self.path.exists(),
            Some(file) => {
                let is_other_length = file.metadata().is_ok_and(|meta| meta.len() != self.at);
                is_other_length || self.is_replaced(file)
            }
        }
    }

    /// Whether the name is another file's. As long as it is nobody's, the old one is read on.
    fn is_replaced(&self, file: &File) -> bool {
        let identity = |meta: std::fs::Metadata| (meta.dev(), meta.ino());
        match (std::fs::metadata(&self.path), file.metadata()) {
            (Ok(now), Ok(open)) => identity(now) != identity(open),
            _ => false,
        }
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<Piece> {
        let Some(file) = &mut self.file else {
            self.file = Some(File::open(&self.path)?);
            return Ok(Piece::Anew);
        };
        if file.metadata()?.len() < self.at {
            file.rewind()?;
            self.at = 0;
            return Ok(Piece::Anew);
        }
        let count = retry(|| file.read(into))?;
        self.at += count as u64;
        // What a writer has left in the old file is read first.
        if count == 0 && self.is_replaced(self.file.as_ref().ok_or(io::ErrorKind::NotFound)?) {
            (self.file, self.at) = (None, 0);
        }
        Ok(Piece::Bytes(count))
    }
}

/// A serial port, opened again when it comes back after it was pulled out.
#[derive(Debug)]
pub struct Serial {
    path: PathBuf,
    baud: u32,
    port: Option<Arc<File>>,
}

impl Serial {
    /// Opens the port: raw bytes at this speed, eight bits, no parity.
    pub fn open(path: &Path, baud: u32) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            baud,
            port: Some(Arc::new(port(path, baud)?)),
        })
    }

    async fn ready(&mut self) {
        loop {
            if let Some(port) = &self.port {
                return Readable::new(Arc::<File>::clone(port)).await;
            }
            sleep_until(Instant::now() + LOOK).await;
            self.port = port(&self.path, self.baud).ok().map(Arc::new);
            if self.port.is_some() {
                output::tell(format_args!("{} is back", self.path.display()));
            }
        }
    }

    fn read(&mut self, into: &mut [u8]) -> Piece {
        let Some(port) = &self.port else {
            return Piece::Bytes(0);
        };
        match retry(|| (&**port).read(into)) {
            Ok(count @ 1..) => Piece::Bytes(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Piece::Bytes(0),
            ended => {
                let why = ended
                    .err()
                    .map_or_else(|| "it hung up".to_owned(), |error| error.to_string());
                output::tell(format_args!(
                    "{} is gone ({why}); waiting for it",
                    self.path.display()
                ));
                self.port = None;
                Piece::Anew
            }
        }
    }
}

fn port(path: &Path, baud: u32) -> io::Result<File> {
    // Not waiting for a carrier, and never our controlling terminal.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let port = File::options()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    let mut settings = tcgetattr(&port)?;
    settings.make_raw();
    settings.control_modes |= ControlModes::CLOCAL | ControlModes::CREAD;
    settings.special_codes[SpecialCodeIndex::VMIN] = 1;
    settings.special_codes[SpecialCodeIndex::VTIME] = 0;
    settings.set_speed(baud)?;
    tcsetattr(&port, OptionalActions::Now, &settings)?;
    Ok(port)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;

    use vchan_linux::block_until;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// What comes until `wanted` bytes have, with a `|` for each new beginning.
    fn read(bytes: &mut Bytes, wanted: usize) -> String {
        let (mut text, mut count) = (String::new(), 0);
        while count < wanted {
            block_until(Instant::now() + PATIENCE, bytes.ready()).expect("nothing comes");
            let mut piece = [0; 5];
            match bytes.read(&mut piece).unwrap() {
                Piece::Bytes(length) => {
                    text += std::str::from_utf8(&piece[..length]).unwrap();
                    count += length;
                }
                Piece::Anew => text.push('|'),
                Piece::End => return text + ".",
            }
        }
        text
    }

    #[test]
    fn a_pipe_ends() {
        let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        theirs.write_all(b"1\n2\n").unwrap();
        drop(theirs);
        let file = File::from(std::os::fd::OwnedFd::from(ours));
        assert_eq!(read(&mut Bytes::Pipe(Arc::new(file)), 9), "1\n2\n.");
    }

    #[test]
    fn a_file_is_followed_over_its_renaming_and_its_emptying() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut bytes = Bytes::Growing(Growing::new(&path));
        let append = |text: &str| {
            let mut file = File::options()
                .create(true)
                .append(true)
                .open(&path)
                .unwrap();
            file.write_all(text.as_bytes()).unwrap();
            file
        };
        let mut old = append("first\n");
        assert_eq!(read(&mut bytes, 6), "|first\n");
        append("second\n");
        assert_eq!(read(&mut bytes, 7), "second\n");
        fs::rename(&path, folder.path().join("log.1")).unwrap();
        old.write_all(b"late\n").unwrap();
        append("new\n");
        assert_eq!(read(&mut bytes, 9), "late\n|new\n");
        let file = File::create(&path).unwrap();
        drop(file);
        append("x\n");
        assert_eq!(read(&mut bytes, 2), "|x\n");
    }

    #[test]
    fn a_serial_port_gives_raw_bytes_and_is_waited_for_once_it_is_gone() {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("port");
        let plug = || {
            let other = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
            grantpt(&other).unwrap();
            unlockpt(&other).unwrap();
            let name = ptsname(&other, Vec::new()).unwrap();
            let _ = fs::remove_file(&path);
            std::os::unix::fs::symlink(name.to_str().unwrap(), &path).unwrap();
            File::from(other)
        };
        let mut other = plug();
        let serial = Serial::open(&path, 9600).unwrap();
        let settings = tcgetattr(serial.port.as_ref().unwrap()).unwrap();
        assert_eq!(settings.input_speed(), 9600);
        let mut bytes = Bytes::Serial(serial);
        // No line is waited for, and no byte is changed.
        other.write_all(b"2\r1\x03").unwrap();
        assert_eq!(read(&mut bytes, 4), "2\r1\x03");
        drop(other);
        fs::remove_file(&path).unwrap();
        block_until(Instant::now() + PATIENCE, bytes.ready()).unwrap();
        assert_eq!(bytes.read(&mut [0; 5]).unwrap(), Piece::Anew);
        plug().write_all(b"gone at once").unwrap();
        let mut other = plug();
        other.write_all(b"back").unwrap();
        while !read(&mut bytes, 1).ends_with("back") {}
        assert!(Serial::open(&folder.path().join("no"), 9600).is_err());
    }
}
