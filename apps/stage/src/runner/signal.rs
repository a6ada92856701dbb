//! Waiting for something that another task on the same thread does.

use alloc::vec::Vec;
use core::cell::RefCell;
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::{Poll, Waker};

/// Wakes the tasks that wait for a condition, so that they look again.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    waiting: RefCell<Vec<Waker>>,
}

impl Signal {
    /// Has every waiting task look again.
    pub(crate) fn notify(&self) {
        // Drained in place so that the room is kept: this is on the path of every reading.
        for waker in self.waiting.borrow_mut().drain(..) {
            waker.wake();
        }
    }

    /// Waits until `condition` holds. Whoever makes it hold calls [`notify`](Self::notify).
    pub(crate) fn until(&self, mut condition: impl FnMut() -> bool) -> impl Future<Output = ()> {
        poll_fn(move |context| {
            if condition() {
                return Poll::Ready(());
            }
            self.register(context.waker());
            Poll::Pending
        })
    }

    /// Not inlined: one copy serves every condition.
    #[inline(never)]
    fn register(&self, waker: &Waker) {
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|known| known.will_wake(waker)) {
            waiting.push(waker.clone());
        }
    }
}

/// Lets the other tasks that are ready run.
pub fn yield_now() -> impl Future<Output = ()> {
    let mut yielded = false;
    poll_fn(move |context| {
        if core::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
}

/// The first of two to be ready; `first` where both are. `None` if it is the second. Both are pinned by the caller: handed over
/// by value, each would have to be moved once more, which takes code and room.
pub fn first<T>(
    mut first: Pin<&mut impl Future<Output = T>>,
    mut second: Pin<&mut impl Future>,
) -> impl Future<Output = Option<T>> {
    poll_fn(move |context| {
        if let Poll::Ready(value) = first.as_mut().poll(context) {
            return Poll::Ready(Some(value));
        }
        second.as_mut().poll(context).map(|_| None)
    })
}
