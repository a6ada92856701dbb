//! Orders of the toolstack: `xl shutdown` and `xl reboot`, given in `control/shutdown` (`docs/misc/xenstore-paths.pandoc`).

use core::cell::Cell;

use crate::hypercall::ShutdownReason;
use crate::xenstore::{Client, Error, Listening};

const SHUTDOWN: &str = "control/shutdown";

/// The watch on the toolstack's orders.
pub struct Orders {
    store: Client,
    watch: Cell<Option<Listening>>,
    reason: Cell<ShutdownReason>,
}

/// The watch, lent to the future that waits for an order, and given back when that is dropped.
struct Lent<'a> {
    home: &'a Cell<Option<Listening>>,
    // An option, so that drop can hand it back.
    watch: Option<Listening>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.home.set(self.watch.take());
    }
}

impl Lent<'_> {
    async fn changed(&mut self) -> Result<(), Error> {
        match &mut self.watch {
            Some(watch) => watch.changed().await,
            None => Ok(()),
        }
    }
}

impl Orders {
    /// Starts to listen, and says that it does. Sends its requests without waiting for an answer.
    pub fn new(store: &Client) -> Self {
        for feature in ["control/feature-poweroff", "control/feature-reboot"] {
            // Only an announcement: the orders are obeyed whether or not the toolstack lets us make it.
            drop(store.write(feature, "1"));
        }
        Self {
            watch: Cell::new(Some(store.watch(SHUTDOWN).into())),
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

    fn lend(&self) -> Option<Lent<'_>> {
        let watch = self.watch.take()?;
        Some(Lent {
            home: &self.watch,
            watch: Some(watch),
        })
    }

    async fn listen(&self) -> Result<(), Error> {
        let Some(mut watch) = self.lend() else {
            // Lent to another future already: that one gets the order.
            return core::future::pending().await;
        };
        loop {
            // Read before the wait: a future that was dropped may have taken the news of an order with it.
            let order = self.store.read(SHUTDOWN).await.unwrap_or_default();
            if let Some(reason) = parse_order(&order) {
                self.reason.set(reason);
                return self.store.write(SHUTDOWN, "").await;
            }
            watch.changed().await?;
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
