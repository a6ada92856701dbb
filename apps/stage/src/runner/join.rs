//! Several tasks as one future: those that were woken are polled, in the order in which they were.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::task::Wake;
use alloc::vec::Vec;
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::{Context, Poll, Waker};

type Task<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Tasks that run side by side within one future.
pub(crate) struct Join<'a, T> {
    tasks: Vec<(Task<'a, T>, Arc<Handle>)>,
    /// What the handles hold.
    parent: Arc<Parent>,
}

/// The future that the tasks run in.
struct Parent {
    waker: Waker,
    /// Wakes so far.
    wakes: AtomicU64,
}

/// What a task's waker points to.
struct Handle {
    /// Which wake of all it was; 0 once the task is polled.
    woken: AtomicU64,
    parent: Arc<Parent>,
}

impl Handle {
    /// Woken already: a task is polled once before it can wait for anything.
    fn new(parent: &Arc<Parent>) -> Arc<Self> {
        Arc::new(Self {
            woken: AtomicU64::new(parent.next_wake()),
            parent: Arc::clone(parent),
        })
    }
}

impl Parent {
    fn new(waker: &Waker) -> Arc<Self> {
        Arc::new(Self {
            waker: waker.clone(),
            wakes: AtomicU64::new(0),
        })
    }

    fn next_wake(&self) -> u64 {
        // Relaxed: the numbers alone matter.
        self.wakes.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl Wake for Handle {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let number = self.parent.next_wake();
        // Release: what made the task ready comes before its poll, which acquires the number. A task that was woken keeps
        // its place.
        let first = self
            .woken
            .compare_exchange(0, number, Ordering::Release, Ordering::Relaxed);
        if first.is_ok() {
            self.parent.waker.wake_by_ref();
        }
    }
}

impl<'a, T> Join<'a, T> {
    pub(crate) fn new() -> Self {
        Self {
            tasks: Vec::new(),
            parent: Parent::new(Waker::noop()),
        }
    }

    /// Adds a task, before [`next`](Self::next) is called for the first time.
    pub(crate) fn push(&mut self, task: impl Future<Output = T> + 'a) {
        self.tasks.push((Box::pin(task), Handle::new(&self.parent)));
    }

    /// The outcome of the next task that ends; `None` when there is none left.
    pub(crate) fn next(&mut self) -> impl Future<Output = Option<T>> {
        poll_fn(|context| self.poll_next(context))
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<T>> {
        if !self.parent.waker.will_wake(context.waker()) {
            self.parent = Parent::new(context.waker());
            for (_, handle) in &mut self.tasks {
                *handle = Handle::new(&self.parent);
            }
        }
        // What is woken from here on waits for the next call, so that others get their turn.
        let last = self.parent.wakes.load(Ordering::Relaxed);
        while let Some(index) = self.first_woken(last) {
            let Some((task, handle)) = self.tasks.get_mut(index) else {
                break;
            };
            // Acquire: see `wake_by_ref`.
            handle.woken.swap(0, Ordering::Acquire);
            let waker = Waker::from(Arc::clone(handle));
            if let Poll::Ready(outcome) = task.as_mut().poll(&mut Context::from_waker(&waker)) {
                drop(self.tasks.remove(index));
                return Poll::Ready(Some(outcome));
            }
        }
        if self.tasks.is_empty() {
            return Poll::Ready(None);
        }
        Poll::Pending
    }

    /// The task that was woken before all others, of those woken up to the wake `last`.
    fn first_woken(&self, last: u64) -> Option<usize> {
        let woken = self
            .tasks
            .iter()
            .enumerate()
            .filter_map(|(index, (_, handle))| {
                let number = handle.woken.load(Ordering::Relaxed);
                (1..=last).contains(&number).then_some((number, index))
            });
        woken.min().map(|(_, index)| index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;
    use core::pin::pin;
    use std::rc::Rc;

    /// Counts how often it is polled, and ends at the `polls`-th time; waits for a wake of `place`.
    fn counting(
        polls: Rc<Cell<u32>>,
        last: u32,
        place: Rc<Cell<Option<Waker>>>,
    ) -> impl Future<Output = u32> {
        poll_fn(move |context| {
            polls.set(polls.get() + 1);
            place.set(Some(context.waker().clone()));
            if polls.get() == last {
                Poll::Ready(last)
            } else {
                Poll::Pending
            }
        })
    }

    #[derive(Default)]
    struct Count(core::sync::atomic::AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn only_what_was_woken_is_polled() {
        let polls: [Rc<Cell<u32>>; 2] = Default::default();
        let places: [Rc<Cell<Option<Waker>>>; 2] = Default::default();
        let mut join = Join::new();
        for (polls, place) in polls.iter().zip(&places) {
            join.push(counting(polls.clone(), 3, place.clone()));
        }
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let mut context = Context::from_waker(&waker);
        {
            let mut next = pin!(join.next());
            assert!(next.as_mut().poll(&mut context).is_pending());
            assert_eq!(polls.each_ref().map(|polls| polls.get()), [1, 1]);
            let first = places[0].take().unwrap();
            first.wake_by_ref();
            first.wake_by_ref();
            assert_eq!(count.0.load(Ordering::Relaxed), 1);
            assert!(next.as_mut().poll(&mut context).is_pending());
            assert_eq!(polls.each_ref().map(|polls| polls.get()), [2, 1]);
            first.wake();
            assert_eq!(next.as_mut().poll(&mut context), Poll::Ready(Some(3)));
        }
        places[1].take().unwrap().wake();
        assert!(pin!(join.next()).poll(&mut context).is_pending());
        places[1].take().unwrap().wake();
        assert_eq!(pin!(join.next()).poll(&mut context), Poll::Ready(Some(3)));
        assert_eq!(pin!(join.next()).poll(&mut context), Poll::Ready(None));
        assert_eq!(polls.each_ref().map(|polls| polls.get()), [3, 3]);
    }

    #[test]
    fn another_parent_is_woken_from_then_on() {
        let (polls, place) = (
            Rc::<Cell<u32>>::default(),
            Rc::<Cell<Option<Waker>>>::default(),
        );
        let mut join = Join::new();
        join.push(counting(polls.clone(), 9, place.clone()));
        let counts: [Arc<Count>; 2] = Default::default();
        for count in &counts {
            let waker = Waker::from(count.clone());
            assert!(
                pin!(join.next())
                    .poll(&mut Context::from_waker(&waker))
                    .is_pending()
            );
        }
        assert_eq!(polls.get(), 2);
        place.take().unwrap().wake();
        assert_eq!(counts[1].0.load(Ordering::Relaxed), 1);
        assert_eq!(counts[0].0.load(Ordering::Relaxed), 0);
    }
}
