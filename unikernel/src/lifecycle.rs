//! Orders of the toolstack: `xl shutdown` and `xl reboot`, given in `control/shutdown` (`docs/misc/xenstore-paths.pandoc`).

use core::cell::{Cell, RefCell};
use core::future::poll_fn;

use crate::hypercall::ShutdownReason;
use crate::xenstore::{Client, Error, Listening};

const SHUTDOWN: &str = "control/shutdown";

/// The watch on the toolstack's orders.
pub struct Orders {
    store: Client,
    watch: RefCell<Listening>,
    reason: Cell<ShutdownReason>,
}

impl Orders {
    /// Starts to listen, and says that it does. Sends its requests without waiting for an answer.
    pub fn new(store: &Client) -> Self {
        for feature in ["control/feature-poweroff", "control/feature-reboot"] {
            // Only an announcement: the orders are obeyed whether or not the toolstack lets us make it.
            drop(store.write(feature, "1"));
        }
        Self {
            watch: RefCell::new(store.watch(SHUTDOWN).into()),
            store: store.clone(),
            reason: Cell::new(ShutdownReason::Poweroff),
        }
    }

    /// Why the domain ends: what the last order said, or [`ShutdownReason::Poweroff`] without one.
    pub fn reason(&self) -> ShutdownReason {
        self.reason.get()
    }

    /// Waits for the order to stop, and acknowledges it. With xenstore broken no order can come, and this waits for ever.
    pub async fn stop(&self) {
        if let Err(error) = self.listen().await {
            log::warn!("no orders of the toolstack any more: xenstore: {error}");
            core::future::pending().await
        }
    }

    async fn listen(&self) -> Result<(), Error> {
        loop {
            // Read before the wait: a future that was dropped may have taken the news of an order with it.
            let order = self.store.read(SHUTDOWN).await.unwrap_or_default();
            if let Some(reason) = parse_order(&order) {
                self.reason.set(reason);
                return self.store.write(SHUTDOWN, "").await;
            }
            // Borrowed while it is polled alone: of several futures that wait, the one that asked last is told.
            poll_fn(|cx| self.watch.borrow_mut().poll_changed(cx)).await?;
        }
    }
}

/// What an order asks for; `None` for none, or for one that is not supported.
fn parse_order(order: &[u8]) -> Option<ShutdownReason> {
    match order {
        b"" => None,
        b"poweroff" | b"halt" => Some(ShutdownReason::Poweroff),
        b"reboot" => Some(ShutdownReason::Reboot),
        other => {
            let order = core::str::from_utf8(other).unwrap_or("?");
            log::warn!("the toolstack's order to {order} is not supported");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xenstore::fake::World;

    #[test]
    fn a_wait_that_is_dropped_takes_no_order_with_it() {
        let world = World::new();
        let orders = Orders::new(&world.client);
        assert_eq!(world.try_run(orders.stop()), None);
        world.store.hold.set(true);
        world.store.set(SHUTDOWN, "reboot");
        // The watch's event is used up, and the order asked for and not yet told.
        assert_eq!(world.try_run(orders.stop()), None);
        world.store.release_reversed();
        world.run(orders.stop());
        assert_eq!(orders.reason(), ShutdownReason::Reboot);
        // Taken note of, as the toolstack waits to see.
        assert_eq!(world.run(world.client.read(SHUTDOWN)).unwrap(), b"");
    }

    #[test]
    fn orders_are_those_that_can_be_obeyed() {
        assert_eq!(parse_order(b"poweroff"), Some(ShutdownReason::Poweroff));
        assert_eq!(parse_order(b"halt"), Some(ShutdownReason::Poweroff));
        assert_eq!(parse_order(b"reboot"), Some(ShutdownReason::Reboot));
        for other in [&b""[..], b"suspend", b"poweroff\0", b"\xff"] {
            assert_eq!(parse_order(other), None);
        }
    }
}
