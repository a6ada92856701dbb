//! The task that moves a connection's bytes over a [`Transport`].

use alloc::rc::Rc;
use core::{
    cell::RefCell,
    fmt,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Poll, Waker},
};

use super::{connection::Connection, error::Broken};
use stage::runner::yield_now;

/// Bytes read at once, on the stack.
const READ_CHUNK: usize = 256;
/// Reads before other tasks get their turn: a full ring.
const READS_PER_PASS: usize = 4;

/// Why a transport cannot go on, for the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransportError(pub &'static str);

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl core::error::Error for TransportError {}

/// What the client needs of the world: the two halves of a `xenstore_domain_interface` and its event channel.
/// No method may call the client.
pub trait Transport {
    /// Copies bytes that arrived into `out` and frees their room in the ring; returns how many, 0 when there are none.
    fn try_read(&self, out: &mut [u8]) -> Result<usize, TransportError>;
    /// Copies as much of `data` into the ring as there is room for; returns how much, 0 when there is none.
    fn try_write(&self, data: &[u8]) -> Result<usize, TransportError>;
    /// Tells xenstored that the ring changed. Called once after each batch of reads and writes, never by those.
    fn notify(&self);
    /// Waits for an event since the last wait; may return without one. An event that came before the call, after the
    /// last wait returned, counts. The future is dropped and made anew at will, and must lose no event by it.
    fn wait(&self) -> impl Future<Output = ()>;
}

pub(super) type Shared = Rc<RefCell<Connection>>;

/// Runs `action` on the connection, then wakes whom it made ready: after the borrow, for a woken task may call back in.
pub(super) fn with<R>(shared: &Shared, action: impl FnOnce(&mut Connection) -> R) -> R {
    let result = action(&mut shared.borrow_mut());
    wake(shared);
    result
}

/// Wakes those whose reply or event has come. Not inlined: one copy serves every action.
#[inline(never)]
fn wake(shared: &Shared) {
    let woken = shared.borrow_mut().take_woken();
    woken.into_iter().for_each(Waker::wake);
}

/// The connection's task: moves bytes between client and transport. Dropped, it breaks the connection.
#[must_use = "nothing is sent or received until `run` is polled"]
pub struct Driver<T> {
    transport: T,
    link: Link,
}

/// Ends the connection when the driver goes, so that no call waits for a reply that cannot come.
struct Link(Shared);

impl Drop for Link {
    fn drop(&mut self) {
        with(&self.0, |connection| connection.fail(Broken::Stopped));
    }
}

impl<T: Transport> Driver<T> {
    pub(super) fn new(transport: T, shared: Shared) -> Self {
        Self {
            transport,
            link: Link(shared),
        }
    }

    /// Runs until the connection breaks, and says why. Spawn it as a task of its own.
    pub async fn run(self) -> Broken {
        loop {
            match self.pass() {
                // Those that a pass has woken submit their next requests, which then share a batch.
                Ok(true) => yield_now().await,
                Ok(false) => self.sleep(pin!(self.transport.wait())).await,
                Err(broken) => return broken,
            }
        }
    }

    /// Moves what can be moved now; returns whether anything was.
    fn pass(&self) -> Result<bool, Broken> {
        let moved = self.move_bytes();
        let broken = match moved {
            Ok(true) => {
                self.transport.notify();
                None
            }
            Ok(false) => None,
            Err(TransportError(reason)) => Some(Broken::Transport(reason)),
        };
        let verdict = with(&self.link.0, |connection| {
            if let Some(broken) = broken {
                connection.fail(broken);
            }
            connection.broken()
        });
        match verdict {
            Some(broken) => Err(broken),
            None => Ok(matches!(moved, Ok(true))),
        }
    }

    fn move_bytes(&self) -> Result<bool, TransportError> {
        let mut moved = false;
        let mut chunk = [0; READ_CHUNK];
        for _ in 0..READS_PER_PASS {
            let count = self.transport.try_read(&mut chunk)?;
            if count == 0 {
                break;
            }
            moved = true;
            let arrived = chunk
                .get(..count)
                .ok_or(TransportError("read more than asked"))?;
            if self.link.0.borrow_mut().receive(arrived).is_err() {
                return Ok(moved);
            }
        }
        loop {
            let mut connection = self.link.0.borrow_mut();
            let output = connection.output();
            if output.is_empty() {
                return Ok(moved);
            }
            match self.transport.try_write(output)? {
                0 => return Ok(moved),
                count if count > output.len() => {
                    return Err(TransportError("wrote more than asked"));
                }
                count => connection.sent(count),
            }
            moved = true;
        }
    }

    /// Waits for an event, which is what `wait` does, or a submission, whichever comes first.
    fn sleep(&self, mut wait: Pin<&mut impl Future<Output = ()>>) -> impl Future<Output = ()> {
        poll_fn(move |cx| {
            let (news, _replaced) =
                with(&self.link.0, |connection| connection.poll_news(cx.waker()));
            if news {
                Poll::Ready(())
            } else {
                wait.as_mut().poll(cx)
            }
        })
    }
}
