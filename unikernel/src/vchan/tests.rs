use std::vec::Vec;

use super::*;
use crate::xenstore::fake::World;
use crate::xenstore::wire::MessageType;

const BASE: &str = "/local/domain/3/data/vchan/5/e";

/// A store, and a clock that stands still.
fn world() -> World {
    time::start(Shared::leaked(1));
    World::new()
}

fn value(world: &World, path: &str) -> Option<Vec<u8>> {
    let tree = world.store.tree.borrow();
    tree.get(path).map(|(value, _)| value.clone())
}

/// R27: neither key, one of them, an empty one, and both at last: the client waits, and reads what stands there then.
#[test]
fn r27_keys_that_are_absent_or_half_written_are_waited_for() {
    let world = world();
    let meeting = Meeting::as_client(&world.client, 5, 3, "e");
    let mut keys = pin!(meeting.keys());
    assert!(world.try_run(keys.as_mut()).is_none());
    for (key, text) in [
        ("nonsense", "1"),
        ("event-channel", "7"),
        ("event-channel", "8"),
    ] {
        world.store.set(&format!("{BASE}/{key}"), text);
        assert!(world.try_run(keys.as_mut()).is_none(), "after {key}");
    }
    world.store.set(&format!("{BASE}/ring-ref"), "9");
    let found = world.run(keys).unwrap();
    assert_eq!(
        (&found.ring_ref[..], &found.event_channel[..]),
        (&b"9"[..], &b"8"[..])
    );
}

/// R29: keys that are not for us are as good as none, until they are.
#[test]
fn r29_keys_that_may_not_be_read_are_waited_for() {
    let world = world();
    let refusal = (MessageType::Read, "EACCES");
    world.store.refusals.borrow_mut().extend([refusal; 20]);
    let meeting = Meeting::as_client(&world.client, 5, 3, "e");
    let mut keys = pin!(meeting.keys());
    world.store.set(&format!("{BASE}/event-channel"), "8");
    world.store.set(&format!("{BASE}/ring-ref"), "9");
    assert!(world.try_run(keys.as_mut()).is_none());
    world.store.refusals.borrow_mut().clear();
    // xenstored tells of changed permissions as of a changed value.
    world.store.set(&format!("{BASE}/ring-ref"), "9");
    assert_eq!(world.run(keys).unwrap().ring_ref, b"9");
}

/// R30: whatever xenstored answers to any of the requests of an offer is an error that names it, and leaves no key.
#[test]
fn r30_each_refusal_of_an_offer_is_told_and_leaves_nothing() {
    for kind in [MessageType::Write, MessageType::SetPerms] {
        for errno in [
            "EAGAIN", "EBUSY", "EACCES", "EINVAL", "EIO", "ENOSPC", "EQUOTA", "E2BIG", "EROFS",
        ] {
            let world = world();
            world.store.refusals.borrow_mut().push((kind, errno));
            let meeting = Meeting::as_server(&world.client, 3, 5, "e");
            let error = world.run(meeting.publish(9, 8)).err().unwrap();
            assert!(
                matches!(error, Error::Store(xenstore::Error::Store(_))),
                "{error}"
            );
            world.settle();
            assert_eq!(value(&world, "data/vchan/5/e/ring-ref"), None, "{errno}");
            assert_eq!(
                value(&world, "data/vchan/5/e/event-channel"),
                None,
                "{errno}"
            );
        }
    }
    let world = world();
    let meeting = Meeting::as_server(&world.client, 3, 5, "e");
    let published = world.run(meeting.publish(9, 8)).unwrap();
    assert_eq!(
        value(&world, "data/vchan/5/e/ring-ref").as_deref(),
        Some(&b"9"[..])
    );
    drop(published);
    world.settle();
    assert_eq!(value(&world, "data/vchan/5/e/ring-ref"), None);
}

/// R30: xenstored gone, before an offer and while a client waits: an error at once, and not for ever nothing.
#[test]
fn r30_a_store_that_is_gone_is_told() {
    let world = world();
    let client = Meeting::as_client(&world.client, 5, 3, "e");
    let mut keys = pin!(client.keys());
    assert!(world.try_run(keys.as_mut()).is_none());
    world.kill_driver();
    assert!(matches!(world.run(keys), Err(Error::Store(_))));
    let server = Meeting::as_server(&world.client, 3, 5, "e");
    assert!(matches!(
        world.run(server.publish(9, 8)),
        Err(Error::Store(_))
    ));
}
