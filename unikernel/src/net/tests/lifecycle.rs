//! The device's life in a small xenstored: connects, goes, comes back, breaks the protocol.

use std::boxed::Box;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::string::{String, ToString};
use std::task::Poll;
use std::vec::Vec;

use crate::net::device::NetDevice;
use crate::net::fake::connected;
use crate::net::netfront::{Machine, Netfront, Offer};
use crate::xenstore::Error;
use crate::xenstore::fake::World;

#[derive(Clone, Default)]
struct Log {
    lines: Rc<RefCell<Vec<String>>>,
    fault: Rc<Cell<bool>>,
}

impl Machine for Log {
    type Wire = ();

    fn offer(&self, backend: u16) -> Result<Offer<()>, String> {
        self.lines
            .borrow_mut()
            .push(std::format!("offer to {backend}"));
        let (_, transmitter, receiver) = connected(32, 0);
        Ok(Offer {
            transmitter,
            receiver,
            tx_ring_ref: 11,
            rx_ring_ref: 12,
            event_channel: 13,
            wire: (),
        })
    }

    fn up(&self, _: NetDevice, mac: [u8; 6], _: &Rc<()>) {
        self.lines.borrow_mut().push(std::format!("up {mac:x?}"));
    }

    fn down(&self) {
        self.lines.borrow_mut().push("down".to_string());
    }

    async fn fault(&self) -> String {
        poll_fn(|_| match self.fault.take() {
            true => Poll::Ready("as the test asked".to_string()),
            false => Poll::Pending,
        })
        .await
    }

    async fn pause(&self) {}
}

struct Scene {
    world: World,
    log: Log,
    front: Pin<Box<dyn Future<Output = Error>>>,
}

impl Scene {
    fn new() -> Self {
        let (world, log) = (World::new(), Log::default());
        let netfront = Netfront::new(world.client.clone(), log.clone());
        Self {
            front: Box::pin(netfront.run()),
            world,
            log,
        }
    }

    /// Runs until nothing moves any more; what the machine was told meanwhile.
    fn settle(&mut self) -> Vec<String> {
        assert!(self.world.try_run(&mut self.front).is_none());
        self.log.lines.take()
    }

    fn back(&mut self, state: &str) -> Vec<String> {
        self.world.store.set("/back/state", state);
        self.settle()
    }

    fn node(&self, key: &str) -> String {
        let tree = self.world.store.tree.borrow();
        let node = tree.get(&std::format!("device/vif/0/{key}"));
        node.map_or_else(String::new, |(value, _)| {
            String::from_utf8(value.clone()).unwrap()
        })
    }

    /// What `xl network-attach` writes.
    fn attach(&mut self) {
        for (key, value) in [
            ("/back/online", "1"),
            ("/back/state", "2"),
            ("/back/feature-sg", "1"),
            ("/back/feature-gso-tcpv4", "1"),
            ("device/vif/0/mac", "00:16:3e:00:00:01"),
            ("device/vif/0/state", "1"),
            ("device/vif/0/backend-id", "0"),
            ("device/vif/0/backend", "/back"),
        ] {
            self.world.store.set(key, value);
        }
    }

    fn detach(&mut self) {
        self.world.store.remove("device/vif/0");
        self.world.store.remove("/back");
    }
}

const UP: &str = "up [0, 16, 3e, 0, 0, 1]";

#[test]
fn a_device_that_is_attached_connects_and_one_that_is_detached_leaves_nothing() {
    let mut scene = Scene::new();
    assert!(scene.settle().is_empty());
    for _ in 0..3 {
        scene.attach();
        assert_eq!(scene.settle(), ["offer to 0"]);
        for (key, value) in [
            ("state", "4"),
            ("tx-ring-ref", "11"),
            ("rx-ring-ref", "12"),
            ("event-channel", "13"),
            ("request-rx-copy", "1"),
            ("feature-rx-notify", "1"),
            ("feature-sg", "1"),
            ("feature-gso-tcpv4", "1"),
        ] {
            assert_eq!(scene.node(key), value, "{key}");
        }
        assert_eq!(scene.back("4"), [UP]);
        scene.world.store.set("/back/online", "0");
        assert_eq!(scene.back("5"), ["down"]);
        assert_eq!(scene.node("state"), "6");
        assert!(scene.back("6").is_empty());
        assert_eq!(
            scene.node("state"),
            "6",
            "it is to go, and does not begin anew"
        );
        scene.detach();
        assert!(scene.settle().is_empty());
        let left = scene.world.store.tree.borrow();
        assert!(left.is_empty(), "{:?}", left.keys());
    }
}

#[test]
fn a_device_that_vanishes_at_once_is_forgotten() {
    let mut scene = Scene::new();
    scene.attach();
    scene.settle();
    assert_eq!(scene.back("4"), [UP]);
    scene.detach();
    assert_eq!(scene.settle(), ["down"]);
    assert!(scene.world.store.tree.borrow().is_empty());
    scene.attach();
    assert_eq!(scene.settle(), ["offer to 0"]);
}

#[test]
fn n1_a_back_end_that_is_loaded_again_is_met_again() {
    let mut scene = Scene::new();
    scene.attach();
    scene.settle();
    assert_eq!(scene.back("4"), [UP]);
    assert_eq!(scene.back("6"), ["down"]);
    assert_eq!(scene.node("state"), "1");
    assert_eq!(scene.back("2"), ["offer to 0"]);
    assert_eq!(scene.back("4"), [UP]);
}

#[test]
fn n2_a_back_end_that_breaks_the_protocol_gets_one_more_chance() {
    let mut scene = Scene::new();
    scene.attach();
    scene.settle();
    assert_eq!(scene.back("4"), [UP]);
    for chance in [true, false] {
        scene.log.fault.set(true);
        assert_eq!(scene.settle(), ["down"]);
        assert_eq!(scene.node("state"), "5");
        assert!(scene.back("5").is_empty());
        assert!(scene.back("6").is_empty());
        assert_eq!(scene.node("state"), if chance { "1" } else { "6" });
        if chance {
            assert_eq!(scene.back("2"), ["offer to 0"]);
            assert_eq!(scene.back("4"), [UP]);
        }
    }
    assert!(scene.back("2").is_empty());
    // Another device is another matter.
    scene.detach();
    scene.settle();
    scene.attach();
    assert_eq!(scene.settle(), ["offer to 0"]);
}

#[test]
fn an_offer_that_meets_others_changes_is_made_again() {
    let mut scene = Scene::new();
    scene.world.store.conflicts.set(3);
    scene.attach();
    assert_eq!(scene.settle(), ["offer to 0"]);
    assert_eq!(
        (scene.node("state"), scene.node("rx-ring-ref")),
        ("4".into(), "12".into())
    );
}

#[test]
fn a_device_without_a_usable_address_is_not_used() {
    let mut scene = Scene::new();
    scene.attach();
    scene.world.store.set("device/vif/0/mac", "everyone");
    scene.settle();
    assert!(scene.back("4").is_empty());
    assert!(
        scene.back("6").is_empty(),
        "what was not up does not go down"
    );
}
