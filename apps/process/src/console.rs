//! Standard output, for what a function prints, and standard error, for the log. Neither may hold up the edges: a terminal or a
//! pipe that nobody reads is waited for in the reactor, or not at all.

use core::cell::RefCell;
use core::sync::atomic::{AtomicU64, Ordering};
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Instant;

use log::{Level, Metadata, Record};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use vchan_linux::Writable;

/// A pipe that is ready for writing takes so much without blocking (POSIX: `PIPE_BUF` is at least 512).
const CHUNK: usize = 512;

/// Standard output, as a console.
pub struct Console {
    output: Arc<dyn AsFd + Send + Sync>,
    /// What is still to be written of the line that was begun.
    rest: RefCell<Vec<u8>>,
}

/// Nobody reads it any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReaderGone;

impl Console {
    /// The console of this process.
    pub fn of_process() -> Self {
        Self::over(Arc::new(io::stdout()))
    }

    /// Over this file, which may be one that blocks.
    pub fn over(output: Arc<dyn AsFd + Send + Sync>) -> Self {
        Self {
            output,
            rest: RefCell::default(),
        }
    }

    /// Writes a line, waiting for room. A line whose wait was dropped is ended by the next.
    pub async fn line(&self, line: &str) -> Result<(), ReaderGone> {
        self.write_rest().await?;
        {
            let mut rest = self.rest.borrow_mut();
            rest.extend_from_slice(line.as_bytes());
            rest.push(b'\n');
        }
        self.write_rest().await
    }

    async fn write_rest(&self) -> Result<(), ReaderGone> {
        while !self.rest.borrow().is_empty() {
            Writable::new(Arc::clone(&self.output)).await;
            let mut rest = self.rest.borrow_mut();
            let chunk = rest.get(..CHUNK).unwrap_or(&rest);
            match rustix::io::write(&*self.output, chunk) {
                Ok(count) => drop(rest.drain(..count)),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(_) => {
                    rest.clear();
                    return Err(ReaderGone);
                }
            }
        }
        Ok(())
    }
}

/// The log, on standard error: a line that finds no room is dropped and counted.
struct Logger {
    start: Instant,
    dropped: AtomicU64,
}

/// Logs from here on.
pub fn start_log() {
    let logger = Box::leak(Box::new(Logger {
        start: Instant::now(),
        dropped: AtomicU64::new(0),
    }));
    // Nobody else has set one.
    let _ = log::set_logger(logger);
    log::set_max_level(log::LevelFilter::Info);
}

impl log::Log for Logger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        if !takes_a_line(io::stderr().as_fd()) {
            // Relaxed, here and below: nothing but the number.
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        let mut line = String::new();
        if dropped > 0 {
            line = format!("{dropped} lines of the log found no room\n");
        }
        let seconds = self.start.elapsed().as_secs_f64();
        let level = match record.level() {
            Level::Error => "error: ",
            Level::Warn => "warning: ",
            _ => "",
        };
        line += &format!(
            "[{seconds:13.6}] {level}{}\n",
            one_line(&record.args().to_string())
        );
        // What cannot be said there cannot be complained about either.
        let _ = io::stderr().write_all(line.as_bytes());
    }

    fn flush(&self) {}
}

fn takes_a_line(file: BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::from_borrowed_fd(file, PollFlags::OUT)];
    poll(&mut polled, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

/// The text without control characters: a message may hold what a peer or a file says.
pub fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// The last line before the process ends by a fault of its own.
pub fn last_words(text: &str) {
    let _ = writeln!(io::stderr(), "{}", one_line(text));
}

#[cfg(test)]
mod tests {
    use core::time::Duration;
    use std::io::{BufRead as _, BufReader, Read as _};
    use std::os::fd::OwnedFd;

    use vchan_linux::{block_on, block_until};

    use super::*;

    #[test]
    fn a_full_pipe_is_waited_for_and_a_line_that_was_dropped_is_ended_by_the_next() {
        let (reader, writer) = io::pipe().unwrap();
        let console = Console::over(Arc::new(OwnedFd::from(writer)));
        let long = "x".repeat(100_000);
        let soon = Instant::now() + Duration::from_millis(50);
        assert_eq!(block_until(soon, console.line(&long)), None);
        let reading = std::thread::spawn(move || {
            let mut lines = BufReader::new(reader).lines();
            [(); 2].map(|()| lines.next().unwrap().unwrap().len())
        });
        block_on(console.line("next")).unwrap();
        assert_eq!(reading.join().unwrap(), [100_000, 4]);
    }

    #[test]
    fn a_reader_that_has_gone_is_told() {
        let (mut reader, writer) = io::pipe().unwrap();
        let console = Console::over(Arc::new(OwnedFd::from(writer)));
        block_on(console.line("one")).unwrap();
        let mut read = [0; 4];
        reader.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"one\n");
        drop(reader);
        assert_eq!(block_on(console.line("two")), Err(ReaderGone));
    }

    #[test]
    fn nothing_that_is_logged_steers_a_terminal() {
        assert_eq!(one_line("a\x1b[2J\nb\u{85}"), "a [2J b ");
    }
}
