//! Standard output and standard error, whose readers may go away: `grantflow ... | head -3`.
//!
//! What is written to a pipe that nobody reads any more ends other programs by a signal. Here it would leave QEMU's files and
//! domains behind; so it is remembered, the work stops where it would for Ctrl-C, and `main` ends by the signal at last.

use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

static GONE: AtomicBool = AtomicBool::new(false);

/// Writes a result to standard output.
pub fn write(text: impl fmt::Display) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    noting(write!(stdout, "{text}").and_then(|()| stdout.flush()))
}

/// Writes a line of results to standard output.
pub fn line(text: impl fmt::Display) -> io::Result<()> {
    write(format_args!("{text}\n"))
}

/// Writes a line for a person to standard error. What cannot be written there cannot be complained about either.
pub fn tell(text: impl fmt::Display) {
    let _ = noting(writeln!(io::stderr(), "{text}"));
}

/// Hands on the outcome of a write to either, having noted that its reader has gone.
pub fn noting(written: io::Result<()>) -> io::Result<()> {
    if matches!(&written, Err(error) if error.kind() == io::ErrorKind::BrokenPipe) {
        // Relaxed, here and below: the flag alone is the message.
        GONE.store(true, Ordering::Relaxed);
    }
    written
}

/// Whether a reader has gone.
pub fn reader_is_gone() -> bool {
    GONE.load(Ordering::Relaxed)
}
