//! One event channel port of either platform, as the protocol sees it: a file that becomes readable with an event.

use core::future::Future;
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rustix::event::PollFlags;
use vchan::platform::{EventChannel, Wake};

use crate::reactor;

/// How often a sleeping endpoint asks whether its peer still exists: on Xen a dead domain sends no event.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// How often a wait looks at the ring before it sleeps: some tens of microseconds, which is what it takes to sleep and be woken.
const LOOKS: u32 = 1000;

/// What a source of events has brought since it was last asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Nothing.
    Nothing,
    /// One event or more.
    Event,
    /// The peer's end is closed: the last thing to come.
    Gone,
}

/// Where a platform's events come from. Its file is readable as long as [`take`](Self::take) has news.
pub trait Source: AsFd + Send + Sync + 'static {
    /// The number of our own port.
    fn number(&self) -> u32;
    /// Sends one event.
    fn notify(&self);
    /// Takes the events that are there, so that the file is readable no longer. Never blocks.
    fn take(&self) -> News;
    /// Whether the peer has its port.
    fn peer_bound(&self) -> bool;
}

/// For callers that sleep in a `poll` or `epoll` of their own: the file (`AsFd`) becomes readable with an event.
///
/// One file stands for both directions and for the close. After it was readable, try both to read and to write, as far as
/// either matters, before the next sleep; the calls of a non-blocking [`Stream`](crate::Stream) do the rest.
pub trait PollEvents: EventChannel + AsFd {
    /// Takes the events that make the file readable. Whether the peer's end was seen to be closed, so that
    /// [`look_for_peer`](vchan::Reader::look_for_peer) is in place.
    fn acknowledge(&self) -> bool;
}

/// One port.
pub struct Port<S>(pub(crate) Arc<Bell<S>>);

/// What those who wait on a port share.
pub(crate) struct Bell<S> {
    pub(crate) source: S,
    count: AtomicU64,
    /// How often the peer's end was seen to be closed.
    losses: AtomicU64,
    waiting: Mutex<Vec<Waker>>,
    heartbeat: Duration,
    /// See [`EventChannel::wake_cost`].
    looks: u32,
}

/// The lock, also after a panic elsewhere: what these locks guard is never left half changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: Source> Bell<S> {
    /// One more event for everyone who waits.
    pub(crate) fn ring(&self) {
        self.move_on(&[&self.count]);
    }

    fn move_on(&self, counters: &[&AtomicU64]) {
        // The counters move under the lock under which a waiter compares them, so that no waiter registers in between.
        let waiting = {
            let mut waiting = lock(&self.waiting);
            for counter in counters {
                counter.fetch_add(1, Ordering::AcqRel);
            }
            core::mem::take(&mut *waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Takes what has come and tells the others who wait: the file, readable no longer, does not wake them.
    fn take(&self) -> News {
        let news = self.source.take();
        match news {
            News::Nothing => {}
            News::Event => self.ring(),
            News::Gone => self.move_on(&[&self.count, &self.losses]),
        }
        news
    }

    /// What ends a wait that began with these counts.
    fn cause(&self, seen: u64, losses: u64) -> Option<Wake> {
        // The loss first: it moves both.
        if self.losses.load(Ordering::Acquire) != losses {
            Some(Wake::Heartbeat)
        } else if self.count.load(Ordering::Acquire) != seen {
            Some(Wake::Event)
        } else {
            None
        }
    }

    /// Leaves the waker, unless there is a cause not to wait.
    fn register(&self, seen: u64, losses: u64, context: &Context<'_>) -> Option<Wake> {
        let mut waiting = lock(&self.waiting);
        let cause = self.cause(seen, losses);
        if cause.is_none() && !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            waiting.push(context.waker().clone());
        }
        cause
    }
}

impl<S: Source> AsFd for Bell<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }
}

impl<S: Source> Port<S> {
    pub(crate) fn new(source: S) -> Self {
        Self::with_heartbeat(source, HEARTBEAT)
    }

    fn with_heartbeat(source: S, heartbeat: Duration) -> Self {
        Self(Arc::new(Bell {
            source,
            count: AtomicU64::new(0),
            losses: AtomicU64::new(0),
            waiting: Mutex::default(),
            heartbeat,
            // On the only CPU, the peer would be kept from answering.
            looks: match std::thread::available_parallelism() {
                Ok(cpus) if cpus.get() > 1 => LOOKS,
                _ => 0,
            },
        }))
    }
}

impl<S: Source> EventChannel for Port<S> {
    fn port(&self) -> u32 {
        self.0.source.number()
    }

    fn notify(&self) {
        self.0.source.notify();
    }

    fn event_count(&self) -> u64 {
        // Acquire: what the thread that took the event saw is visible to us.
        self.0.count.load(Ordering::Acquire)
    }

    fn wait(&self, seen: u64) -> impl Future<Output = Wake> {
        let losses = self.0.losses.load(Ordering::Acquire);
        let mut heartbeat = None;
        core::future::poll_fn(move |context| {
            let bell = &self.0;
            let Some(deadline) = heartbeat else {
                // The first turn never ends the wait, and takes no event: a thread goes through its `poll` once for each wait,
                // so that a peer that sends events without end keeps neither other futures nor a deadline from their turn.
                let deadline = Instant::now() + bell.heartbeat;
                heartbeat = Some(deadline);
                if bell.register(seen, losses, context).is_some() {
                    context.waker().wake_by_ref();
                }
                sleep_on(bell, deadline, context);
                return Poll::Pending;
            };
            let news = match bell.take() {
                News::Event => Some(Wake::Event),
                News::Gone => Some(Wake::Heartbeat),
                News::Nothing => bell.register(seen, losses, context),
            };
            if let Some(cause) = news {
                return Poll::Ready(cause);
            }
            if Instant::now() >= deadline {
                return Poll::Ready(Wake::Heartbeat);
            }
            sleep_on(bell, deadline, context);
            Poll::Pending
        })
    }

    fn wake(&self) {
        self.0.ring();
    }

    fn peer_bound(&self) -> bool {
        self.0.source.peer_bound()
    }

    fn wake_cost(&self) -> u32 {
        self.0.looks
    }
}

fn sleep_on<S: Source>(bell: &Arc<Bell<S>>, deadline: Instant, context: &Context<'_>) {
    let file: reactor::Watched = Arc::<Bell<S>>::clone(bell);
    reactor::watch(context, &file, PollFlags::IN);
    reactor::wake_at(context, deadline);
}

impl<S: Source> AsFd for Port<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl<S: Source> PollEvents for Port<S> {
    fn acknowledge(&self) -> bool {
        self.0.take() == News::Gone
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;
    use std::sync::Barrier;
    use std::thread;

    use super::*;
    use crate::{block_on, block_until};

    /// No wait of these tests ends by it.
    const NEVER: Duration = Duration::from_secs(1 << 20);
    /// Far more than anything takes: it makes a lost wake-up a failure.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// One end of a socket: a byte is an event.
    struct Bytes(UnixStream);

    impl Bytes {
        /// A port, and how its peer sends events.
        fn port(heartbeat: Duration) -> (Port<Bytes>, UnixStream) {
            let (ours, theirs) = UnixStream::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            (Port::with_heartbeat(Bytes(ours), heartbeat), theirs)
        }
    }

    impl AsFd for Bytes {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }
    }

    impl Source for Bytes {
        fn number(&self) -> u32 {
            1
        }

        fn notify(&self) {}

        fn take(&self) -> News {
            match (&self.0).read(&mut [0; 8]) {
                Ok(0) => News::Gone,
                Ok(_) => News::Event,
                Err(_) => News::Nothing,
            }
        }

        fn peer_bound(&self) -> bool {
            true
        }
    }

    /// Everyone waits, then `cause` happens: what each of them was woken by.
    fn woken_by(
        port: &Port<Bytes>,
        rounds: usize,
        mut cause: impl FnMut() + Send,
    ) -> Vec<Option<Wake>> {
        const WAITING: usize = 3;
        let barrier = Barrier::new(WAITING + 1);
        let wait = || {
            let mut woken = Vec::new();
            for _ in 0..rounds {
                let seen = port.event_count();
                barrier.wait();
                woken.push(block_until(Instant::now() + PATIENCE, port.wait(seen)));
                barrier.wait();
            }
            woken
        };
        thread::scope(|scope| {
            let waiting: Vec<_> = (0..WAITING).map(|_| scope.spawn(wait)).collect();
            for round in 0..rounds {
                barrier.wait();
                // At once, and after all of them sleep.
                thread::sleep(Duration::from_millis(round as u64 % 3));
                cause();
                barrier.wait();
            }
            let woken = waiting
                .into_iter()
                .flat_map(|thread| thread.join().unwrap());
            woken.collect()
        })
    }

    #[test]
    fn one_event_wakes_all_who_wait() {
        let (port, mut peer) = Bytes::port(NEVER);
        let woken = woken_by(&port, 60, || peer.write_all(b"x").unwrap());
        assert!(
            woken.iter().all(|&woken| woken == Some(Wake::Event)),
            "{woken:?}"
        );
    }

    #[test]
    fn one_half_wakes_the_other() {
        let (port, _peer) = Bytes::port(NEVER);
        let woken = woken_by(&port, 60, || port.wake());
        assert!(
            woken.iter().all(|&woken| woken == Some(Wake::Event)),
            "{woken:?}"
        );
    }

    #[test]
    fn a_loss_sends_all_who_wait_to_look_for_the_peer() {
        let (port, peer) = Bytes::port(NEVER);
        let woken = woken_by(&port, 1, || peer.shutdown(Shutdown::Both).unwrap());
        assert!(
            woken.iter().all(|&woken| woken == Some(Wake::Heartbeat)),
            "{woken:?}"
        );
    }

    #[test]
    fn nothing_is_a_heartbeat() {
        let (port, _peer) = Bytes::port(Duration::from_millis(5));
        assert_eq!(block_on(port.wait(0)), Wake::Heartbeat);
        assert_eq!(port.event_count(), 0);
    }

    // R18 of FAULTS.md.
    #[test]
    fn a_wait_gives_others_their_turn_even_when_its_event_is_there() {
        let (port, mut peer) = Bytes::port(NEVER);
        peer.write_all(b"x").unwrap();
        let mut turns = 0;
        let other = core::future::poll_fn(|_| {
            turns += 1;
            Poll::<Wake>::Pending
        });
        assert_eq!(block_on(reactor::first(port.wait(0), other)), Wake::Event);
        assert_eq!(turns, 1);
    }
}
