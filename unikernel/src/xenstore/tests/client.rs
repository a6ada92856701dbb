extern crate std;

use alloc::{string::String, sync::Arc, task::Wake, vec::Vec};
use core::{
    cell::RefCell,
    pin::pin,
    task::{Context, Poll, Waker},
};

use proptest::prelude::*;

use crate::xenstore::{
    Access, Broken, Errno, Error, Permission, Request,
    client::Client,
    connection::OUTSTANDING_MAX,
    fake::World,
    wire::{self, MessageType, PathError},
};

const ENOENT: Error = Error::Store(Errno::ENOENT);

#[test]
fn each_call_does_what_it_says() {
    let world = World::new();
    let client = &world.client;
    world.run(async {
        assert_eq!(client.read("a").await, Err(ENOENT));
        client.write("a", "1").await.unwrap();
        client.write("a/b", [0, 255]).await.unwrap();
        client.mkdir("a/c").await.unwrap();
        assert_eq!(client.read("a").await.unwrap(), b"1");
        assert_eq!(client.read("a/b").await.unwrap(), [0, 255]);
        assert_eq!(client.read("a/c").await.unwrap(), b"");
        assert_eq!(client.directory("a").await.unwrap(), ["b", "c"]);
        assert_eq!(client.directory("a/b").await.unwrap(), Vec::<String>::new());
        let perms = [
            Permission::new(Access::None, 7),
            Permission::new(Access::Read, 0),
        ];
        client.set_perms("a/b", &perms).await.unwrap();
        assert_eq!(client.get_perms("a/b").await.unwrap(), perms);
        client.rm("a").await.unwrap();
        assert_eq!(client.read("a/b").await, Err(ENOENT));
    });
    assert!(world.store.tree.borrow().is_empty());
}

#[test]
fn bad_arguments_are_refused_unsent() {
    let world = World::new();
    let client = &world.client;
    world.run(async {
        assert_eq!(
            client.read("a\0b").await,
            Err(Error::Path(PathError::Character))
        );
        assert_eq!(
            client.watch("").await.err(),
            Some(Error::Path(PathError::Empty))
        );
        assert_eq!(client.write("a", [0; 4095]).await, Err(Error::TooLong));
        client.write("a", [b'x'; 4094]).await.unwrap();
        assert_eq!(client.read("a").await.unwrap(), [b'x'; 4094]);
    });
    assert_eq!(
        *world.store.log.borrow(),
        [MessageType::Write, MessageType::Read]
    );
}

#[test]
fn requests_made_together_take_one_round_trip_and_one_notification() {
    let world = World::new();
    let client = &world.client;
    let (a, b) = (client.write("a", "1"), client.read("a"));
    world.run(async {
        // The second is awaited first.
        assert_eq!(b.await.unwrap(), b"1");
        a.await.unwrap();
    });
    assert_eq!((client.round_trips(), client.counters().requests), (1, 2));
    // One for the requests, one after taking the replies.
    assert_eq!(world.store.notifications.get(), 2);
    world.run(async {
        client.read("a").await.unwrap();
        client.read("a").await.unwrap();
    });
    assert_eq!(client.round_trips(), 3);
}

/// A ring that wraps gives and takes less than it holds: what is left needs no further event.
#[test]
fn a_ring_moves_in_any_pieces() {
    let world = World::new();
    for piece in [1, 7, 100] {
        world.store.piece.set(piece);
        world.run(async {
            world.client.write("a", [b'x'; 3000]).await.unwrap();
            assert_eq!(world.client.read("a").await.unwrap(), [b'x'; 3000]);
        });
    }
}

#[test]
fn a_request_answers_once() {
    let world = World::new();
    let (mut good, mut bad) = (world.client.mkdir("a"), world.client.mkdir(""));
    assert_eq!(world.run(&mut good), Ok(()));
    assert_eq!(world.run(&mut bad), Err(Error::Path(PathError::Empty)));
    assert_eq!(world.run(&mut good), Err(Error::Taken));
    assert_eq!(world.run(&mut bad), Err(Error::Taken));
}

#[test]
fn no_more_than_the_quota_is_ever_unanswered() {
    let world = World::new();
    world.store.hold.set(true);
    let requests: Vec<_> = (0..50).map(|_| world.client.mkdir("a")).collect();
    world.settle();
    assert_eq!(world.store.held(), OUTSTANDING_MAX);
    world.store.release_reversed();
    world.run(async {
        for request in requests {
            request.await.unwrap();
        }
    });
    assert_eq!(world.store.most_unanswered.get(), OUTSTANDING_MAX);
    assert_eq!(world.store.log.borrow().len(), 50);
}

#[test]
fn replies_out_of_order_reach_who_asked() {
    let world = World::new();
    for name in ["a", "b", "c"] {
        world.store.set(name, name);
    }
    world.store.hold.set(true);
    let requests = ["a", "b", "c"].map(|name| world.client.read(name));
    world.settle();
    world.store.release_reversed();
    world.run(async {
        for (request, name) in requests.into_iter().zip(["a", "b", "c"]) {
            assert_eq!(request.await.unwrap(), name.as_bytes());
        }
    });
}

#[test]
fn a_watch_fires_at_once_then_on_change_and_merges() {
    let world = World::new();
    let mut watch = world.run(world.client.watch("a")).unwrap();
    assert_eq!(world.run(watch.changed()).unwrap(), "a");
    assert_eq!(world.try_run(watch.changed()), None, "nothing changed");
    world.store.set("a/b", "1");
    assert_eq!(world.run(watch.changed()).unwrap(), "a/b");
    for name in ["a/1", "a/2", "elsewhere", "a/3"] {
        world.store.set(name, "x");
        world.settle();
    }
    assert_eq!(world.run(watch.changed()).unwrap(), "a/3");
    assert_eq!(
        world.try_run(watch.changed()),
        None,
        "three changes are one"
    );
}

#[test]
fn an_event_wakes_who_waits() {
    let world = World::new();
    let mut watch = world.run(world.client.watch("a")).unwrap();
    world.run(watch.changed()).unwrap();
    let store = world.store.clone();
    let mut first = true;
    let mut changed = pin!(watch.changed());
    let path = world.run(core::future::poll_fn(|cx| {
        let poll = changed.as_mut().poll(cx);
        if core::mem::take(&mut first) {
            assert_eq!(poll, Poll::Pending);
            store.set("a", "1");
        }
        poll
    }));
    assert_eq!(path.unwrap(), "a");
}

#[test]
fn a_dropped_watch_is_unwatched_in_every_state() {
    let world = World::new();
    let client = &world.client;
    // Held.
    let watch = world.run(client.watch("a")).unwrap();
    let other = world.run(client.watch("a")).unwrap();
    assert_eq!(world.store.watches.borrow().len(), 2);
    drop(watch);
    world.settle();
    assert_eq!(world.store.watches.borrow().len(), 1);
    drop(other);
    // Never sent; sent; answered and not fetched.
    drop(client.watch("a"));
    for hold in [true, false] {
        let request = client.watch("a");
        world.store.hold.set(hold);
        world.settle();
        drop(request);
        world.store.release_reversed();
        world.settle();
    }
    assert_eq!(*world.store.watches.borrow(), []);
    let sets = world
        .store
        .log
        .borrow()
        .iter()
        .filter(|message_type| **message_type == MessageType::Watch)
        .count();
    assert_eq!(sets, 4);

    world
        .store
        .refusals
        .borrow_mut()
        .push((MessageType::Watch, "EQUOTA"));
    assert_eq!(
        world.run(client.watch("a")).err(),
        Some(Error::Store(Errno::EQUOTA))
    );
}

#[test]
fn a_dropped_request_takes_nobodys_reply() {
    let world = World::new();
    world.store.set("a", "A");
    world.store.set("b", "B");
    world.store.hold.set(true);
    let (a, b) = (world.client.read("a"), world.client.read("b"));
    world.settle();
    drop(a);
    let c = world.client.read("a");
    world.settle();
    world.store.release_reversed();
    assert_eq!(world.run(b).unwrap(), b"B");
    assert_eq!(world.run(c).unwrap(), b"A");
    drop(world.client.write("done", "1"));
    world.settle();
    assert!(world.store.tree.borrow().contains_key("done"));
    assert_eq!(world.client.counters().unknown_replies, 0);
}

/// What breaks a connection, and the reason it should give.
type Cause<'a> = (&'a dyn Fn(&World), Broken);

/// Each way to break: what waits and what comes after fails with the cause.
#[test]
fn a_broken_store_is_an_error_for_every_call() {
    let oversized = [0xff; 16];
    let causes: [Cause; 3] = [
        (
            &|world| world.store.inject(&oversized),
            Broken::Protocol(wire::ProtocolViolation { len: u32::MAX }),
        ),
        (
            &|world| {
                world
                    .store
                    .transport_error
                    .set(Some("indexes out of range"));
                world.store.wake_guest();
            },
            Broken::Transport("indexes out of range"),
        ),
        (&|world| world.kill_driver(), Broken::Stopped),
    ];
    for (break_it, broken) in causes {
        let world = World::new();
        let client = world.client.clone();
        let mut watch = world.run(client.watch("a")).unwrap();
        world.run(watch.changed()).unwrap();
        let tx = world.run(client.begin()).unwrap();
        world.store.hold.set(true);
        let pending = client.read("a");
        world.settle();
        break_it(&world);
        let error = Error::Broken(broken);
        assert_eq!(world.run(pending), Err(error));
        assert_eq!(world.run(watch.changed()), Err(error));
        assert_eq!(world.run(client.read("a")), Err(error));
        assert_eq!(world.run(client.watch("a")).err(), Some(error));
        assert_eq!(world.run(client.transaction(async |_| Ok(()))), Err(error));
        assert_eq!(world.run(tx.commit()), Err(error));
        assert_eq!(client.broken(), Some(broken));
        assert!(broken == Broken::Stopped || world.ended.get() == Some(broken));
    }
}

#[test]
fn a_driver_never_run_is_an_error_too() {
    struct Silent;
    impl crate::xenstore::Transport for Silent {
        fn try_read(&self, _: &mut [u8]) -> Result<usize, crate::xenstore::TransportError> {
            Ok(0)
        }
        fn try_write(&self, _: &[u8]) -> Result<usize, crate::xenstore::TransportError> {
            Ok(0)
        }
        fn notify(&self) {}
        async fn wait(&self) {}
    }
    let (client, driver) = Client::new(Silent);
    let request = client.read("a");
    drop(driver);
    let result = pin!(request).poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(result, Poll::Ready(Err(Error::Broken(Broken::Stopped))));
}

std::thread_local! {
    static OWNED_BY_WAKER: RefCell<Vec<Request<Vec<u8>>>> = const { RefCell::new(Vec::new()) };
}

/// A waker whose task owns requests: to wake or to drop it drops them, as an executor's task list would.
struct Owner;

impl Wake for Owner {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Owner {
    fn drop(&mut self) {
        drop(OWNED_BY_WAKER.take());
    }
}

#[test]
fn wakers_may_call_back_in() {
    let world = World::new();
    let own = |request| OWNED_BY_WAKER.with_borrow_mut(|owned| owned.push(request));
    let mut watch = world.run(world.client.watch("a")).unwrap();
    world.run(watch.changed()).unwrap();

    // Replaced by another waker, in a request and in a watch.
    let mut request = world.client.read("a");
    own(world.client.read("b"));
    let poll = core::pin::Pin::new(&mut request)
        .poll(&mut Context::from_waker(&Waker::from(Arc::new(Owner))));
    assert!(poll.is_pending());
    assert_eq!(world.run(request), Err(ENOENT));
    own(world.client.read("b"));
    assert!(
        pin!(watch.changed())
            .poll(&mut Context::from_waker(&Waker::from(Arc::new(Owner))))
            .is_pending()
    );
    assert_eq!(world.try_run(watch.changed()), None);

    // Woken by a reply and by an event.
    let mut request = world.client.read("a");
    own(world.client.read("b"));
    let poll = core::pin::Pin::new(&mut request)
        .poll(&mut Context::from_waker(&Waker::from(Arc::new(Owner))));
    assert!(poll.is_pending());
    world.settle();
    own(world.client.read("b"));
    assert!(
        pin!(watch.changed())
            .poll(&mut Context::from_waker(&Waker::from(Arc::new(Owner))))
            .is_pending()
    );
    world.store.set("a", "1");
    world.settle();

    // Dropped with its request and with its watch; then by a break.
    let mut request = world.client.read("a");
    own(world.client.read("b"));
    let poll = core::pin::Pin::new(&mut request)
        .poll(&mut Context::from_waker(&Waker::from(Arc::new(Owner))));
    assert!(poll.is_pending());
    drop(request);
    world.run(watch.changed()).unwrap();
    own(world.client.read("b"));
    assert!(
        pin!(watch.changed())
            .poll(&mut Context::from_waker(&Waker::from(Arc::new(Owner))))
            .is_pending()
    );
    drop(watch);
    let mut request = world.client.read("a");
    own(world.client.read("b"));
    let poll = core::pin::Pin::new(&mut request)
        .poll(&mut Context::from_waker(&Waker::from(Arc::new(Owner))));
    assert!(poll.is_pending());
    world.kill_driver();
    assert!(OWNED_BY_WAKER.take().is_empty(), "the waker was let go");
}

proptest! {
    /// The daemon says anything at any time: each call ends in a value, an error, or waits; nothing panics.
    #[test]
    fn hostile_bytes_harm_no_call(
        pieces in proptest::collection::vec(
            prop_oneof![
                // Headers that pass for replies and events more often than noise does.
                (prop_oneof![Just(2u32), Just(4), Just(6), Just(15), Just(16), any::<u32>()], 0u32..8, 0u32..40,
                 proptest::collection::vec(prop_oneof![Just(0u8), Just(b'1'), any::<u8>()], 0..40))
                    .prop_map(|(message_type, req_id, len, payload)| {
                        let fields = [message_type, req_id, 0, len];
                        fields.iter().flat_map(|field| field.to_le_bytes()).chain(payload).collect()
                    }),
                proptest::collection::vec(any::<u8>(), 0..64),
            ],
            0..12,
        ),
    ) {
        let world = World::new();
        world.store.hold.set(true);
        let client = &world.client;
        let calls = (client.read("a"), client.directory("a"), client.get_perms("a"), client.watch("a"), client.begin());
        world.settle();
        for piece in &pieces {
            world.store.inject(piece);
            world.settle();
        }
        let broken = client.broken().is_some();
        let (read, directory, get_perms, watch, begin) = calls;
        let ended = [
            world.try_run(read).is_some(),
            world.try_run(directory).is_some(),
            world.try_run(get_perms).is_some(),
            world.try_run(watch).is_some(),
            world.try_run(begin).is_some(),
            world.try_run(client.read("b")).is_some(),
        ];
        prop_assert!(!broken || ended.iter().all(|ended| *ended), "a call hangs on a broken connection");
    }
}
