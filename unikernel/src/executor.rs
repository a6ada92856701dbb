//! Tasks on one vCPU. Pure: it knows neither events nor time, only who is ready.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::task::Wake;
use alloc::vec::Vec;
use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Waker};

use spin::Mutex;

type Task = Pin<Box<dyn Future<Output = ()>>>;
type Ready = Arc<Mutex<VecDeque<usize>>>;

/// What a waker points to: the task's number, and whether it stands in the queue already.
struct Handle {
    task: usize,
    queued: AtomicBool,
    ready: Ready,
}

impl Wake for Handle {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Relaxed: one vCPU, and the queue's lock orders the rest.
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.ready.lock().push_back(self.task);
        }
    }
}

/// Owns the tasks and runs those that are ready, each until it waits.
#[derive(Default)]
pub struct Executor {
    tasks: Vec<Option<(Task, Arc<Handle>)>>,
    ready: Ready,
    new: Spawner,
}

/// Starts tasks from within tasks.
#[derive(Clone, Default)]
pub struct Spawner {
    tasks: alloc::rc::Rc<core::cell::RefCell<Vec<Task>>>,
}

impl Spawner {
    /// Has the executor run `future`, beside the others, to its end.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        self.tasks.borrow_mut().push(Box::pin(future));
    }
}

impl Executor {
    /// Starts tasks.
    pub fn spawner(&self) -> Spawner {
        self.new.clone()
    }

    /// Polls every task that is ready now, once each; whether there was one. Tasks that become ready meanwhile wait for the
    /// next call, so that whoever calls gets to look at events in between.
    pub fn run_ready(&mut self) -> bool {
        self.adopt();
        let count = self.ready.lock().len();
        for _ in 0..count {
            let next = self.ready.lock().pop_front();
            if let Some(task) = next {
                self.poll(task);
            }
        }
        count > 0
    }

    fn adopt(&mut self) {
        let new = core::mem::take(&mut *self.new.tasks.borrow_mut());
        for task in new {
            let index = self
                .tasks
                .iter()
                .position(Option::is_none)
                .unwrap_or(self.tasks.len());
            let handle = Arc::new(Handle {
                task: index,
                queued: AtomicBool::new(true),
                ready: Arc::clone(&self.ready),
            });
            let slot = Some((task, handle));
            match self.tasks.get_mut(index) {
                Some(free) => *free = slot,
                None => self.tasks.push(slot),
            }
            let mut ready = self.ready.lock();
            ready.push_back(index);
            // Each task stands in the queue once at most, so that to wake one needs no memory.
            ready.reserve(self.tasks.len());
        }
    }

    fn poll(&mut self, index: usize) {
        let Some(slot) = self.tasks.get_mut(index) else {
            return;
        };
        // A task that woke itself and then ended is still queued, and the slot may be another's by now: a spurious poll, which
        // futures expect.
        let Some((task, handle)) = slot else {
            return;
        };
        handle.queued.store(false, Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(handle));
        if task
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_ready()
        {
            // Wakers that outlive the task find it queued for ever, and leave the queue alone.
            handle.queued.store(true, Ordering::Relaxed);
            *slot = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::rc::Rc;
    use core::cell::{Cell, RefCell};
    use core::future::poll_fn;
    use core::task::Poll;

    #[test]
    fn tasks_run_in_the_order_in_which_they_became_ready() {
        let mut executor = Executor::default();
        let order = Rc::new(RefCell::new(Vec::new()));
        for name in ["a", "b"] {
            let order = Rc::clone(&order);
            executor.spawner().spawn(async move {
                order.borrow_mut().push(name);
                let mut first = true;
                poll_fn(|cx| {
                    cx.waker().wake_by_ref();
                    if core::mem::take(&mut first) {
                        Poll::Pending
                    } else {
                        Poll::Ready(())
                    }
                })
                .await;
                order.borrow_mut().push(name);
            });
        }
        while executor.run_ready() {}
        assert_eq!(*order.borrow(), ["a", "b", "a", "b"]);
    }

    #[test]
    fn a_task_that_waits_is_polled_only_when_woken() {
        let mut executor = Executor::default();
        let polls = Rc::new(Cell::new(0));
        let waker = Rc::new(RefCell::new(None::<Waker>));
        let (counter, place) = (Rc::clone(&polls), Rc::clone(&waker));
        executor.spawner().spawn(poll_fn(move |cx| {
            counter.set(counter.get() + 1);
            *place.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        }));
        while executor.run_ready() {}
        assert_eq!(polls.get(), 1);
        let woken = waker.borrow().clone().unwrap();
        woken.wake_by_ref();
        woken.wake_by_ref();
        while executor.run_ready() {}
        assert_eq!(polls.get(), 2);
    }

    #[test]
    fn to_wake_every_task_at_once_needs_no_memory() {
        let mut executor = Executor::default();
        let wakers = Rc::new(RefCell::new(Vec::new()));
        for _ in 0..20 {
            // One after the other, so that the queue has never held them all.
            let place = Rc::clone(&wakers);
            executor.spawner().spawn(poll_fn(move |cx| {
                place.borrow_mut().push(cx.waker().clone());
                Poll::Pending
            }));
            while executor.run_ready() {}
        }
        let capacity = executor.ready.lock().capacity();
        wakers.take().into_iter().for_each(Waker::wake);
        let ready = executor.ready.lock();
        assert_eq!((ready.len(), ready.capacity()), (20, capacity));
    }

    #[test]
    fn a_task_that_ended_leaves_its_slot_and_its_waker_harmless() {
        let mut executor = Executor::default();
        let waker = Rc::new(RefCell::new(None::<Waker>));
        let place = Rc::clone(&waker);
        executor.spawner().spawn(poll_fn(move |cx| {
            *place.borrow_mut() = Some(cx.waker().clone());
            Poll::Ready(())
        }));
        while executor.run_ready() {}
        waker.borrow().clone().unwrap().wake();
        assert!(!executor.run_ready());
        executor.spawner().spawn(async {});
        executor.run_ready();
        assert_eq!(executor.tasks.len(), 1);
    }
}
