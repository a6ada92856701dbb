//! The PV console (`public/io/console.h`): a sink for `log`, lines that wait for room, and a reader.
//!
//! Nobody has to read a console, so log lines never wait: what does not fit is dropped and counted, and the count is told with
//! the next line that fits. Only [`write_line`], meant for results, waits.

use alloc::string::String;
use alloc::sync::Arc;
use core::fmt::{self, Write};
use core::sync::atomic::Ordering;
use core::time::Duration;

use log::{Level, LevelFilter, Log, Metadata, Record};
use spin::Mutex;

use crate::events::Port;
use crate::hypercall;
use crate::memory::Shared;
use crate::time;
use crate::xen_abi::xencons_interface as xencons;

struct Console {
    page: Shared,
    port: Arc<Port>,
    /// Our own index, free-running; the shared one is only told.
    out_prod: u32,
    in_cons: u32,
    /// Log lines that found no room since the last one that did.
    dropped: u64,
    dropped_in_all: u64,
}

static CONSOLE: Mutex<Option<Console>> = Mutex::new(None);
static LOGGER: Logger = Logger;

/// How long the end of the domain waits for the back end to take the last lines.
const DRAIN: Duration = Duration::from_secs(1);

impl Console {
    /// Free bytes towards the back end. An index of its that makes no sense counts as "none": the console is not worth a crash.
    fn room(&self) -> usize {
        // Acquire: the back end has read the bytes before it frees their room.
        let cons = self.page.load_u32(xencons::OUT_CONS, Ordering::Acquire);
        let unread = self.out_prod.wrapping_sub(cons) as usize;
        xencons::OUT_SIZE.saturating_sub(unread)
    }

    /// Puts as much of `bytes` into the ring as fits, unseen by the back end until [`Self::publish`].
    fn put(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.room());
        let (taken, _) = bytes.split_at(count);
        let position = self.out_prod as usize % xencons::OUT_SIZE;
        let (first, second) = taken.split_at(count.min(xencons::OUT_SIZE - position));
        self.page.write(xencons::OUT + position, first);
        self.page.write(xencons::OUT, second);
        self.out_prod = self.out_prod.wrapping_add(count as u32);
        count
    }

    fn publish(&self) {
        // Release: the bytes are in the ring before the index covers them.
        self.page
            .store_u32(xencons::OUT_PROD, self.out_prod, Ordering::Release);
        self.port.notify();
    }

    /// A whole line or nothing.
    fn log_line(&mut self, line: &str) {
        let mut notice = Small::default();
        if self.dropped > 0 {
            let _ = write!(
                notice,
                "({} log lines dropped: nobody read the console)",
                self.dropped
            );
            notice.end();
        }
        if self.room() < notice.as_str().len() + line.len() {
            self.dropped += 1;
            self.dropped_in_all += 1;
            return;
        }
        self.put(notice.as_str().as_bytes());
        self.put(line.as_bytes());
        self.dropped = 0;
        self.publish();
    }

    fn read(&mut self, out: &mut [u8]) -> usize {
        // Acquire: the back end has written the bytes before its index covers them.
        let prod = self.page.load_u32(xencons::IN_PROD, Ordering::Acquire);
        let unread = prod.wrapping_sub(self.in_cons) as usize;
        if unread > xencons::IN_SIZE {
            return 0;
        }
        let position = self.in_cons as usize % xencons::IN_SIZE;
        let count = unread.min(out.len()).min(xencons::IN_SIZE - position);
        let (out, _) = out.split_at_mut(count);
        self.page.read(xencons::IN + position, out);
        self.in_cons = self.in_cons.wrapping_add(count as u32);
        // Release: the bytes are read before their room is free.
        self.page
            .store_u32(xencons::IN_CONS, self.in_cons, Ordering::Release);
        if count > 0 {
            self.port.notify();
        }
        count
    }
}

/// Writes a line before anything is set up, if there is room for it: no heap, no clock, no port of our own.
pub fn early(page: &Shared, port: u32, arguments: fmt::Arguments<'_>) {
    let mut line = Small::default();
    let _ = line.write_fmt(arguments);
    line.end();
    let bytes = line.as_str().as_bytes();
    let prod = page.load_u32(xencons::OUT_PROD, Ordering::Relaxed);
    let position = prod as usize % xencons::OUT_SIZE;
    if position + bytes.len() > xencons::OUT_SIZE {
        return;
    }
    page.write(xencons::OUT + position, bytes);
    // Release: the bytes are in the ring before the index covers them.
    page.store_u32(
        xencons::OUT_PROD,
        prod.wrapping_add(bytes.len() as u32),
        Ordering::Release,
    );
    // With nobody at the other end the line stays in the ring.
    let _ = hypercall::evtchn_send(port);
}

/// Starts the console and makes it the sink of `log`.
pub fn start(page: Shared, port: Port) {
    *CONSOLE.lock() = Some(Console {
        out_prod: page.load_u32(xencons::OUT_PROD, Ordering::Relaxed),
        in_cons: page.load_u32(xencons::IN_CONS, Ordering::Relaxed),
        page,
        port: Arc::new(port),
        dropped: 0,
        dropped_in_all: 0,
    });
    // Fails only when a logger is set already.
    let _ = log::set_logger(&LOGGER);
    log::set_max_level(LevelFilter::Info);
}

struct Logger;

impl Log for Logger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let mut line = Small::default();
        let now = time::now();
        let _ = write!(line, "[{:6}.{:06}] ", now.as_secs(), now.subsec_micros());
        match record.level() {
            Level::Error => line.push("error: "),
            Level::Warn => line.push("warning: "),
            _ => {}
        }
        let _ = line.write_fmt(*record.args());
        line.end();
        // The lock is free: there is one vCPU, and nobody logs while it holds the console.
        if let Some(console) = CONSOLE.try_lock().as_deref_mut().and_then(Option::as_mut) {
            console.log_line(line.as_str());
        }
    }

    fn flush(&self) {}
}

/// Log lines that found no room so far.
pub fn dropped_lines() -> u64 {
    CONSOLE
        .lock()
        .as_ref()
        .map_or(0, |console| console.dropped_in_all)
}

fn port() -> Option<Arc<Port>> {
    CONSOLE
        .lock()
        .as_ref()
        .map(|console| Arc::clone(&console.port))
}

/// Writes `line` and a line end, waiting for room as often as needed. Log lines meanwhile go between, never into, short lines:
/// one that fits the ring goes out in one piece.
pub async fn write_line(line: &str) {
    let mut text = String::with_capacity(line.len() + 2);
    text.push_str(line);
    text.push_str("\r\n");
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        let Some(port) = port() else {
            return;
        };
        let seen = port.event_count();
        let whole = rest.len().min(xencons::OUT_SIZE);
        let written = match CONSOLE.lock().as_mut() {
            Some(console) if console.room() >= whole => {
                let written = console.put(rest);
                console.publish();
                written
            }
            Some(_) => 0,
            None => return,
        };
        rest = rest.get(written..).unwrap_or_default();
        if written == 0 {
            port.wait(seen).await;
        }
    }
}

/// Writes bytes as they are, without waiting: what finds no room is dropped, and counted as one line.
pub fn write_bytes(bytes: &[u8]) {
    if let Some(console) = CONSOLE.lock().as_mut() {
        let written = console.put(bytes);
        if written < bytes.len() {
            console.dropped += 1;
            console.dropped_in_all += 1;
        }
        console.publish();
    }
}

/// Bytes typed at the console, at least one; waits for them.
pub async fn read(out: &mut [u8]) -> usize {
    loop {
        let Some(port) = port() else {
            return 0;
        };
        let seen = port.event_count();
        let count = CONSOLE
            .lock()
            .as_mut()
            .map_or(0, |console| console.read(out));
        if count > 0 || out.is_empty() {
            return count;
        }
        port.wait(seen).await;
    }
}

/// Writes a last line, waiting for room for a bounded time: for what comes right before the end. Callable from a fault or a
/// panic, whoever holds the console.
pub fn last_words(arguments: fmt::Arguments<'_>) {
    let mut line = Small::default();
    let _ = line.write_fmt(arguments);
    line.end();
    if let Some(console) = CONSOLE.try_lock().as_deref_mut().and_then(Option::as_mut) {
        wait_until(console, |console| console.room() >= line.as_str().len());
        console.put(line.as_str().as_bytes());
        console.publish();
    }
}

/// Waits, for a bounded time, until the back end has taken everything.
pub fn drain() {
    if let Some(console) = CONSOLE.try_lock().as_deref_mut().and_then(Option::as_mut) {
        wait_until(console, |console| console.room() == xencons::OUT_SIZE);
    }
}

fn wait_until(console: &Console, ready: impl Fn(&Console) -> bool) {
    let deadline = time::now() + DRAIN;
    while !ready(console) && time::now() < deadline {
        // Taken, so that the next sleep is one.
        console.port.take_event();
        if !ready(console) {
            hypercall::poll(&[console.port.number()], deadline.as_nanos() as u64);
        }
    }
}

/// A line of bounded length, without the heap: a log line must not need memory. What is too long is cut.
struct Small {
    bytes: [u8; Self::SIZE],
    len: usize,
}

impl Default for Small {
    fn default() -> Self {
        Self {
            bytes: [0; Self::SIZE],
            len: 0,
        }
    }
}

impl Small {
    const SIZE: usize = 512;
    const END: &str = "\r\n";

    fn push(&mut self, text: &str) {
        let room = Self::SIZE - Self::END.len() - self.len;
        let cut = text.floor_char_boundary(room);
        for byte in text.bytes().take(cut) {
            // One line is one line, whatever is quoted in it.
            self.bytes[self.len] = if byte < b' ' { b' ' } else { byte };
            self.len += 1;
        }
    }

    fn end(&mut self) {
        self.bytes[self.len..self.len + Self::END.len()].copy_from_slice(Self::END.as_bytes());
        self.len += Self::END.len();
    }

    fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }
}

impl Write for Small {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_at_a_character_and_stays_one_line() {
        let mut line = Small::default();
        let _ = write!(line, "a\nb{}", "é".repeat(Small::SIZE));
        line.end();
        let text = line.as_str();
        assert!(text.len() <= Small::SIZE && text.len() >= Small::SIZE - 1);
        assert!(text.starts_with("a bé"));
        assert_eq!(text.matches('\n').count(), 1);
        assert!(text.ends_with("é\r\n"));
    }
}
