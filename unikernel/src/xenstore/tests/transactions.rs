//! Transactions of the client, over the store of [`fake`](crate::xenstore::fake).

use alloc::vec::Vec;
use core::{cell::Cell, pin::pin};

use crate::xenstore::{
    Access, Errno, Error, Permission, TRANSACTION_TRIES, connection::WAITING_MAX, fake::World,
    wire::MessageType,
};

const ENOENT: Error = Error::Store(Errno::ENOENT);

#[test]
fn a_transaction_is_seen_at_once_or_not_at_all() {
    let world = World::new();
    let client = &world.client;
    let watched = world.run(async {
        let mut watch = client.watch("base").await.unwrap();
        watch.changed().await.unwrap();
        watch
    });
    world.run(async {
        client
            .transaction(async |tx| {
                let (a, b) = (
                    tx.write("base/ring-ref", "8"),
                    tx.write("base/event-channel", "3"),
                );
                a.await?;
                b.await?;
                assert_eq!(tx.read("base/ring-ref").await?, b"8");
                assert_eq!(client.read("base/ring-ref").await, Err(ENOENT));
                Ok(())
            })
            .await
            .unwrap();
        assert_eq!(client.read("base/ring-ref").await.unwrap(), b"8");
        assert_eq!(client.read("base/event-channel").await.unwrap(), b"3");
    });
    drop(watched);

    let failed: Result<(), _> = world.run(client.transaction(async |tx| {
        tx.write("base/ring-ref", "9").await?;
        tx.read("missing").await?;
        Ok(())
    }));
    assert_eq!(failed, Err(ENOENT));
    assert_eq!(world.run(client.read("base/ring-ref")).unwrap(), b"8");
    assert!(world.store.transactions.borrow().is_empty());
}

/// Begin, the requests with the commit behind them: two round trips.
#[test]
fn a_commit_can_share_the_batch_of_its_requests() {
    let world = World::new();
    let client = &world.client;
    world.run(async {
        let tx = client.begin().await.unwrap();
        let (a, b) = (
            tx.write("a", "1"),
            tx.set_perms("a", &[Permission::new(Access::None, 7)]),
        );
        let end = tx.commit();
        for request in [a, b, end] {
            request.await.unwrap();
        }
    });
    assert_eq!(client.round_trips(), 2);
    assert_eq!(
        world.store.tree.borrow()["a"],
        (b"1".to_vec(), b"n7\0".to_vec())
    );
}

// R30 of FAULTS.md.
#[test]
fn conflicts_are_retried_ten_times() {
    let world = World::new();
    let tries = Cell::new(0);
    let attempt = || {
        tries.set(0);
        world.run(world.client.transaction(async |tx| {
            tries.set(tries.get() + 1);
            tx.write("a", "1").await
        }))
    };
    world.store.conflicts.set(TRANSACTION_TRIES - 1);
    assert_eq!((attempt(), tries.get()), (Ok(()), TRANSACTION_TRIES));
    world.store.conflicts.set(TRANSACTION_TRIES);
    assert_eq!(
        (attempt(), tries.get()),
        (Err(Error::Conflict), TRANSACTION_TRIES)
    );
    assert_eq!(world.store.conflicts.get(), 0);

    // EAGAIN within the body counts as well, and the transaction is aborted.
    world
        .store
        .refusals
        .borrow_mut()
        .push((MessageType::Write, "EAGAIN"));
    assert_eq!((attempt(), tries.get()), (Ok(()), 2));
    world.settle();
    assert!(world.store.transactions.borrow().is_empty());
}

#[test]
fn each_errno_of_a_transaction_ends_it_unless_it_is_a_conflict() {
    let world = World::new();
    for (stage, errno) in [
        (MessageType::TransactionStart, "EQUOTA"),
        (MessageType::TransactionStart, "ENOSPC"),
        (MessageType::Write, "EACCES"),
        (MessageType::TransactionEnd, "EIO"),
    ] {
        world.store.refusals.borrow_mut().push((stage, errno));
        let outcome = world.run(
            world
                .client
                .transaction(async |tx| tx.write("a", "1").await),
        );
        assert_eq!(
            outcome,
            Err(Error::Store(Errno::from_payload(errno.as_bytes())))
        );
        assert!(world.store.refusals.borrow().is_empty());
        world.settle();
        let left = world.store.transactions.take().len();
        assert_eq!(
            left,
            usize::from(stage == MessageType::TransactionEnd),
            "the fake refused to end it"
        );
    }
}

#[test]
fn a_transaction_given_up_is_aborted() {
    let world = World::new();
    // Between begin and commit.
    let tx = world.run(world.client.begin()).unwrap();
    drop(tx);
    // With a commit that found the line full.
    let tx = world.run(world.client.begin()).unwrap();
    let line: Vec<_> = (0..WAITING_MAX).map(|_| world.client.read("a")).collect();
    assert_eq!(world.run(tx.commit()), Err(Error::Busy));
    drop(line);
    world.settle();
    assert!(world.store.transactions.borrow().is_empty());
    // Before the reply to begin has come, and after.
    for arrived in [false, true] {
        let begin = world.client.begin();
        world.store.hold.set(!arrived);
        world.settle();
        drop(begin);
        world.store.release_reversed();
        world.settle();
    }
    // The helper itself, in mid-body.
    {
        let mut helper = pin!(
            world
                .client
                .transaction(async |_| core::future::pending::<Result<(), Error>>().await)
        );
        let stalled = world.try_run(core::future::poll_fn(|cx| helper.as_mut().poll(cx)));
        assert_eq!(stalled, None);
        assert_eq!(world.store.transactions.borrow().len(), 1);
    }
    world.settle();
    assert!(world.store.transactions.borrow().is_empty());
    assert!(world.store.tree.borrow().is_empty());
}
