//! Futures on one thread: it sleeps in `poll(2)` on whatever they wait for.
//!
//! There is no thread in the background: the thread that waits is the one that the kernel wakes, which is as quick as it gets.

use core::cell::RefCell;
use core::future::Future;
use core::pin::{Pin, pin};
use core::sync::atomic::{AtomicU8, Ordering};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::task::Wake;
use std::time::Instant;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::{read, write};

/// A file whose readiness ends a wait.
pub(crate) type Watched = Arc<dyn AsFd + Send + Sync>;

/// How long to sleep where nobody else could wake us, because the process has no file descriptor left for that.
const WITHOUT_NOTIFIER: Duration = Duration::from_millis(10);

/// What the futures of this thread wait for, collected anew each time they are polled.
#[derive(Default)]
struct Interests {
    files: Vec<(Watched, PollFlags)>,
    deadline: Option<Instant>,
}

thread_local! {
    static INTERESTS: RefCell<Option<Interests>> = const { RefCell::new(None) };
    static NOTIFIER: RefCell<Option<Arc<Notifier>>> = const { RefCell::new(None) };
}

fn with_interests(note: impl FnOnce(&mut Interests)) {
    INTERESTS.with_borrow_mut(|interests| match interests {
        Some(interests) => note(interests),
        None => panic!("vchan_linux's futures are run by vchan_linux::block_on: no other executor knows what they wait for"),
    });
}

/// The future that is polled right now is to be polled again when `file` is ready.
pub(crate) fn watch(file: Watched, flags: PollFlags) {
    with_interests(|interests| interests.files.push((file, flags)));
}

/// The future that is polled right now is to be polled again at `deadline`.
pub(crate) fn wake_at(deadline: Instant) {
    with_interests(|interests| interests.deadline = earlier(interests.deadline, Some(deadline)));
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// Running: a wake needs no system call. Asleep: it does. Woken: the next sleep is none.
const RUNNING: u8 = 0;
const ASLEEP: u8 = 1;
const WOKEN: u8 = 2;

/// How one thread is woken by another.
struct Notifier {
    state: AtomicU8,
    /// None where the process has no file descriptor left.
    bell: Option<OwnedFd>,
}

impl Notifier {
    /// This thread's, or a new one where a `block_on` around this one has it.
    fn take() -> Arc<Self> {
        NOTIFIER.take().unwrap_or_else(|| {
            Arc::new(Self {
                state: AtomicU8::new(RUNNING),
                bell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok(),
            })
        })
    }

    /// Sleeps until a file is ready, the deadline has passed, or someone wakes us.
    fn sleep(&self, interests: &Interests, deadline: Option<Instant>) {
        // AcqRel, as all of them: what a waker did before it woke us is visible to the polling that follows.
        let asleep = self
            .state
            .compare_exchange(RUNNING, ASLEEP, Ordering::AcqRel, Ordering::Acquire)
            .is_ok();
        if asleep {
            self.poll(interests, deadline);
        }
        self.state.swap(RUNNING, Ordering::AcqRel);
    }

    fn poll(&self, interests: &Interests, deadline: Option<Instant>) {
        let files = interests.files.iter();
        let mut polled: Vec<PollFd<'_>> = files
            .map(|(file, flags)| PollFd::from_borrowed_fd(file.as_fd(), *flags))
            .collect();
        let bell = self.bell.as_ref();
        polled.extend(bell.map(|bell| PollFd::new(bell, PollFlags::IN)));
        let mut timeout = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        if bell.is_none() {
            timeout =
                Some(timeout.map_or(WITHOUT_NOTIFIER, |timeout| timeout.min(WITHOUT_NOTIFIER)));
        }
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        // An error (a signal, no memory) is a wake-up without a cause, after which everyone looks again.
        let _ = poll(&mut polled, timeout.as_ref());
        let rung = bell.is_some() && polled.last().is_some_and(|bell| !bell.revents().is_empty());
        if let (Some(bell), true) = (bell, rung) {
            // Nothing is there to be read where two of us do; nobody else holds this file.
            let _ = read(bell, &mut [0; 8]);
        }
    }
}

impl Wake for Notifier {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(WOKEN, Ordering::AcqRel) == ASLEEP
            && let Some(bell) = &self.bell
        {
            // It fails only where 2^64 - 2 wakes wait already.
            let _ = write(bell, &1u64.to_ne_bytes());
        }
    }
}

/// Runs a future on this thread, which sleeps while there is nothing to do.
pub fn block_on<F: Future>(future: F) -> F::Output {
    loop_until(future, None).unwrap_or_else(|| unreachable!("a wait without a deadline has an end"))
}

/// Runs a future on this thread until `deadline`; `None` if it was not done by then. The future is dropped then, which
/// loses nothing with those of this crate.
pub fn block_until<F: Future>(deadline: Instant, future: F) -> Option<F::Output> {
    loop_until(future, Some(deadline))
}

fn loop_until<F: Future>(future: F, until: Option<Instant>) -> Option<F::Output> {
    let notifier = Notifier::take();
    let waker = Waker::from(Arc::clone(&notifier));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    let output = loop {
        let (polled, interests) = collect(|| future.as_mut().poll(&mut context));
        match polled {
            Poll::Ready(output) => break Some(output),
            Poll::Pending if until.is_some_and(|until| Instant::now() >= until) => break None,
            Poll::Pending => notifier.sleep(&interests, earlier(interests.deadline, until)),
        }
    };
    NOTIFIER.set(Some(notifier));
    output
}

/// Calls `poll` with an empty list of interests; returns what it filled in.
fn collect<T>(poll: impl FnOnce() -> T) -> (T, Interests) {
    /// Puts back the list of the `block_on` around this one, also after a panic.
    struct Restore(Option<Interests>);
    impl Drop for Restore {
        fn drop(&mut self) {
            INTERESTS.set(self.0.take());
        }
    }
    let outer = Restore(INTERESTS.replace(Some(Interests::default())));
    let polled = poll();
    let interests = INTERESTS.take().unwrap_or_default();
    drop(outer);
    (polled, interests)
}

/// Waits until a file can be read, has ended or is broken: for input that is not the channel's.
pub struct Readable(Watched);

impl Readable {
    /// For this file, which stays open as long as the wait.
    pub fn new(file: Arc<dyn AsFd + Send + Sync>) -> Self {
        Self(file)
    }
}

impl Future for Readable {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if is_ready(&*self.0, PollFlags::IN) {
            return Poll::Ready(());
        }
        watch(Arc::clone(&self.0), PollFlags::IN);
        Poll::Pending
    }
}

/// Whether one of `flags`, the file's end or an error stands.
pub(crate) fn is_ready(file: &(impl AsFd + ?Sized), flags: PollFlags) -> bool {
    let mut polled = [PollFd::from_borrowed_fd(file.as_fd(), flags)];
    poll(&mut polled, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

/// Waits until then.
pub async fn sleep_until(deadline: Instant) {
    core::future::poll_fn(|_| {
        if Instant::now() >= deadline {
            return Poll::Ready(());
        }
        wake_at(deadline);
        Poll::Pending
    })
    .await;
}

/// The output of whichever is done first; the other one is dropped.
pub async fn first<T>(one: impl Future<Output = T>, other: impl Future<Output = T>) -> T {
    let (mut one, mut other) = (pin!(one), pin!(other));
    core::future::poll_fn(|context| match one.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(output),
        Poll::Pending => other.as_mut().poll(context),
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::thread;

    use super::*;

    #[test]
    fn a_file_a_deadline_and_a_thread_each_end_a_sleep() {
        let (one, mut other) = UnixStream::pair().unwrap();
        let one: Watched = Arc::new(OwnedFd::from(one));
        let soon = || Instant::now() + Duration::from_millis(20);
        assert!(block_until(soon(), Readable::new(Arc::clone(&one))).is_none());
        std::io::Write::write_all(&mut other, b"x").unwrap();
        block_on(Readable::new(one));
        block_on(sleep_until(soon()));

        let (sender, receiver) = std::sync::mpsc::channel::<Waker>();
        let rung = Arc::new(AtomicU8::new(0));
        let ringer = thread::spawn({
            let rung = Arc::clone(&rung);
            move || {
                for waker in receiver {
                    rung.fetch_add(1, Ordering::AcqRel);
                    waker.wake();
                }
            }
        });
        for round in 1..=50 {
            let mut sent = false;
            block_on(core::future::poll_fn(|context| {
                if !sent {
                    sent = true;
                    sender.send(context.waker().clone()).unwrap();
                }
                match rung.load(Ordering::Acquire) {
                    number if number == round => Poll::Ready(()),
                    _ => Poll::Pending,
                }
            }));
        }
        drop(sender);
        ringer.join().unwrap();
    }

    #[test]
    fn one_within_another_does_not_take_its_wake_ups() {
        let (one, mut other) = UnixStream::pair().unwrap();
        let one: Watched = Arc::new(OwnedFd::from(one));
        std::io::Write::write_all(&mut other, b"x").unwrap();
        block_on(async {
            let inner = core::future::poll_fn(|_| {
                block_on(Readable::new(Arc::clone(&one)));
                Poll::Ready(())
            });
            first(inner, Readable::new(Arc::clone(&one))).await;
            sleep_until(Instant::now() + Duration::from_millis(5)).await;
        });
    }
}
