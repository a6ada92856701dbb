//! Futures on one thread: it sleeps in `poll(2)` on whatever they wait for.
//!
//! There is no thread in the background: the thread that waits is the one that the kernel wakes, which is as quick as it gets.
//! What a future waits for is kept under its waker, so that futures may run within one that polls only those of them that were
//! woken.

use core::cell::RefCell;
use core::future::Future;
use core::pin::{Pin, pin};
use core::sync::atomic::{AtomicU8, Ordering};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Weak};
use std::task::Wake;
use std::time::Instant;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::{read, write};

/// A file whose readiness ends a wait.
pub(crate) type Watched = Arc<dyn AsFd + Send + Sync>;

/// How long to sleep where nobody else could wake us, because the process has no file descriptor left for that.
const WITHOUT_NOTIFIER: Duration = Duration::from_millis(10);

/// How long a thread that does not come to sleep goes without a look at its files.
const BUSY: Duration = Duration::from_micros(100);

/// What the futures with one waker wait for. It goes when they are woken by it: whoever waits on says so anew.
struct Interest {
    waker: Waker,
    /// Weak, so that a wait that was dropped keeps no file open.
    files: Vec<(Weak<dyn AsFd + Send + Sync>, PollFlags)>,
    deadline: Option<Instant>,
}

/// What the futures of one `block_on` wait for.
#[derive(Default)]
struct Interests(Vec<Interest>);

thread_local! {
    static INTERESTS: RefCell<Option<Interests>> = const { RefCell::new(None) };
    static NOTIFIER: RefCell<Option<Arc<Notifier>>> = const { RefCell::new(None) };
}

fn with_interests<T>(note: impl FnOnce(&mut Interests) -> T) -> T {
    INTERESTS.with_borrow_mut(|interests| match interests {
        Some(interests) => note(interests),
        None => panic!("vchan_linux's futures are run by vchan_linux::block_on: no other executor knows what they wait for"),
    })
}

/// The future that is polled right now is to be polled again when `file` is ready.
pub(crate) fn watch(context: &Context<'_>, file: &Watched, flags: PollFlags) {
    with_interests(|interests| {
        let files = &mut interests.of(context.waker()).files;
        let known = files.iter().any(|(known, wanted)| {
            *wanted == flags && core::ptr::addr_eq(known.as_ptr(), Arc::as_ptr(file))
        });
        if !known {
            files.push((Arc::downgrade(file), flags));
        }
    });
}

/// The future that is polled right now is to be polled again at `deadline`.
pub(crate) fn wake_at(context: &Context<'_>, deadline: Instant) {
    with_interests(|interests| {
        let interest = interests.of(context.waker());
        interest.deadline = earlier(interest.deadline, Some(deadline));
    });
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

impl Interests {
    fn of(&mut self, waker: &Waker) -> &mut Interest {
        let known = self
            .0
            .iter()
            .position(|interest| interest.waker.will_wake(waker));
        let place = known.unwrap_or_else(|| {
            self.0.push(Interest {
                waker: waker.clone(),
                files: Vec::new(),
                deadline: None,
            });
            self.0.len() - 1
        });
        &mut self.0[place]
    }

    /// Forgets what was waited for under this waker: all that is told anew when its future is polled.
    fn forget(&mut self, waker: &Waker) {
        self.0.retain(|interest| !interest.waker.will_wake(waker));
    }

    fn deadline(&self) -> Option<Instant> {
        self.0
            .iter()
            .fold(None, |first, interest| earlier(first, interest.deadline))
    }

    /// The files that are still open, each with the place of its interest.
    fn files(&mut self) -> Vec<(usize, Watched, PollFlags)> {
        let mut files = Vec::new();
        for (place, interest) in self.0.iter_mut().enumerate() {
            interest.files.retain(|(file, flags)| {
                let file = file.upgrade();
                let is_open = file.is_some();
                files.extend(file.map(|file| (place, file, *flags)));
                is_open
            });
        }
        files
    }

    /// Takes away the interests that are due or at one of these places, which are in order, for their wakers.
    fn take(&mut self, places: &[usize]) -> Vec<Waker> {
        let now = Instant::now();
        let mut place = 0;
        let due = self.0.extract_if(.., |interest| {
            let is_ready = places.binary_search(&place).is_ok();
            place += 1;
            is_ready || interest.deadline.is_some_and(|deadline| deadline <= now)
        });
        due.map(|interest| interest.waker).collect()
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

    /// Sleeps until a file is ready, a deadline has passed, or someone wakes us, and wakes those whose file or deadline it was.
    /// Does not sleep if we were woken since the last time, and then looks only now and then: `looked` is when.
    fn sleep(&self, until: Option<Instant>, looked: &mut Instant) {
        // AcqRel, as all of them: what a waker did before it woke us is visible to the polling that follows.
        let asleep = self
            .state
            .compare_exchange(RUNNING, ASLEEP, Ordering::AcqRel, Ordering::Acquire)
            .is_ok();
        let now = Instant::now();
        if asleep || now.saturating_duration_since(*looked) >= BUSY {
            *looked = now;
            let deadline = earlier(with_interests(|interests| interests.deadline()), until);
            self.poll(if asleep { deadline } else { Some(now) });
        }
        self.state.swap(RUNNING, Ordering::AcqRel);
    }

    fn poll(&self, deadline: Option<Instant>) {
        let files = with_interests(Interests::files);
        let mut polled: Vec<PollFd<'_>> = files
            .iter()
            .map(|(_, file, flags)| PollFd::from_borrowed_fd(file.as_fd(), *flags))
            .collect();
        let bell = self.bell.as_ref();
        polled.extend(bell.map(|bell| PollFd::new(bell, PollFlags::IN)));
        let mut timeout = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        if bell.is_none() {
            timeout =
                Some(timeout.map_or(WITHOUT_NOTIFIER, |timeout| timeout.min(WITHOUT_NOTIFIER)));
        }
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        // An error (a signal, no memory) says nothing of the files; those who wait for one look for themselves.
        let failed = poll(&mut polled, timeout.as_ref()).is_err();
        let rung = bell.is_some() && polled.last().is_some_and(|bell| !bell.revents().is_empty());
        if let (Some(bell), true) = (bell, rung) {
            // Nothing is there to be read where two of us do; nobody else holds this file.
            let _ = read(bell, &mut [0; 8]);
        }
        let ready = files
            .iter()
            .zip(&polled)
            .filter(|(_, polled)| failed || !polled.revents().is_empty())
            .map(|((place, ..), _)| *place);
        let places: Vec<usize> = ready.collect();
        drop(polled);
        // We are awake: those who are woken now need not ring.
        self.state.swap(RUNNING, Ordering::AcqRel);
        with_interests(|interests| interests.take(&places))
            .into_iter()
            .for_each(Waker::wake);
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
    /// Puts back the list of the `block_on` around this one, also after a panic.
    struct Restore(Option<Interests>);
    impl Drop for Restore {
        fn drop(&mut self) {
            INTERESTS.set(self.0.take());
        }
    }
    let _outer = Restore(INTERESTS.replace(Some(Interests::default())));
    let notifier = Notifier::take();
    let waker = Waker::from(Arc::clone(&notifier));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    let mut looked = Instant::now();
    let output = loop {
        with_interests(|interests| interests.forget(&waker));
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => break Some(output),
            Poll::Pending if until.is_some_and(|until| Instant::now() >= until) => break None,
            Poll::Pending => notifier.sleep(until, &mut looked),
        }
    };
    NOTIFIER.set(Some(notifier));
    output
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

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        poll_file(&self.0, PollFlags::IN, context)
    }
}

/// Waits until a file takes bytes, or its reader has gone: for output that is not the channel's.
pub struct Writable(Watched);

impl Writable {
    /// For this file, which stays open as long as the wait.
    pub fn new(file: Arc<dyn AsFd + Send + Sync>) -> Self {
        Self(file)
    }
}

impl Future for Writable {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        poll_file(&self.0, PollFlags::OUT, context)
    }
}

fn poll_file(file: &Watched, flags: PollFlags, context: &Context<'_>) -> Poll<()> {
    if is_ready(&**file, flags) {
        return Poll::Ready(());
    }
    watch(context, file, flags);
    Poll::Pending
}

/// Whether one of `flags`, the file's end or an error stands.
pub(crate) fn is_ready(file: &(impl AsFd + ?Sized), flags: PollFlags) -> bool {
    let mut polled = [PollFd::from_borrowed_fd(file.as_fd(), flags)];
    poll(&mut polled, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

/// Waits until then.
pub async fn sleep_until(deadline: Instant) {
    core::future::poll_fn(|context| {
        if Instant::now() >= deadline {
            return Poll::Ready(());
        }
        wake_at(context, deadline);
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

    /// A task of which a future around it polls it only when it was woken.
    struct Task {
        woken: AtomicU8,
        polls: AtomicU8,
        root: Waker,
    }

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.woken.store(1, Ordering::Release);
            self.root.wake_by_ref();
        }
    }

    /// Runs tasks, of which only those are polled that were woken, until the first of them has ended; how often each was polled.
    fn run(mut tasks: Vec<Pin<Box<dyn Future<Output = ()> + '_>>>) -> Vec<u8> {
        let mut handles: Vec<Arc<Task>> = Vec::new();
        block_on(core::future::poll_fn(|context| {
            while handles.len() < tasks.len() {
                handles.push(Arc::new(Task {
                    woken: AtomicU8::new(1),
                    polls: AtomicU8::new(0),
                    root: context.waker().clone(),
                }));
            }
            for (place, (task, handle)) in tasks.iter_mut().zip(&handles).enumerate() {
                if handle.woken.swap(0, Ordering::AcqRel) == 1 {
                    // As many as fit: a busy one is polled without end.
                    let polls = handle.polls.load(Ordering::Relaxed).saturating_add(1);
                    handle.polls.store(polls, Ordering::Relaxed);
                    let waker = Waker::from(Arc::clone(handle));
                    let polled = task.as_mut().poll(&mut Context::from_waker(&waker));
                    if polled.is_ready() && place == 0 {
                        return Poll::Ready(());
                    }
                }
            }
            Poll::Pending
        }));
        let polls = handles.iter();
        polls
            .map(|handle| handle.polls.load(Ordering::Relaxed))
            .collect()
    }

    #[test]
    fn a_future_that_is_not_polled_keeps_what_it_waits_for_and_is_not_woken_by_what_others_do() {
        let (one, mut other) = UnixStream::pair().unwrap();
        let (quiet, _kept) = UnixStream::pair().unwrap();
        let [one, quiet]: [Watched; 2] =
            [one, quiet].map(|file| Arc::new(OwnedFd::from(file)) as Watched);
        let begin = Instant::now();
        let after = |millis| sleep_until(begin + Duration::from_millis(millis));
        let polls = run(vec![
            Box::pin(Readable::new(one)),
            Box::pin(Readable::new(quiet)),
            Box::pin(async {
                for round in 1..=10 {
                    after(round).await;
                }
                std::io::Write::write_all(&mut other, b"x").unwrap();
            }),
        ]);
        assert_eq!(polls[..2], [2, 1]);
    }

    #[test]
    fn a_future_that_is_always_ready_keeps_no_file_from_being_seen() {
        let (one, mut other) = UnixStream::pair().unwrap();
        let one: Watched = Arc::new(OwnedFd::from(one));
        run(vec![
            Box::pin(Readable::new(one)),
            Box::pin(core::future::poll_fn(|context| {
                // Only once the other waits.
                let _ = std::io::Write::write_all(&mut other, b"x");
                context.waker().wake_by_ref();
                Poll::Pending
            })),
        ]);
    }

    #[test]
    fn a_wait_that_was_dropped_keeps_no_file_open() {
        let (one, other) = UnixStream::pair().unwrap();
        let one: Watched = Arc::new(OwnedFd::from(one));
        let mut waiting = Some(Readable::new(one));
        let deadline = Instant::now() + Duration::from_millis(50);
        run(vec![Box::pin(core::future::poll_fn(|context| {
            if let Some(mut readable) = waiting.take() {
                assert!(Pin::new(&mut readable).poll(context).is_pending());
                drop(readable);
            }
            wake_at(context, deadline);
            match std::io::Read::read(&mut &other, &mut [0]) {
                Ok(0) => Poll::Ready(()),
                _ => Poll::Pending,
            }
        }))]);
    }
}
