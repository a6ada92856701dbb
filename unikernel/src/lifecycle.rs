//! Orders of the toolstack: `xl shutdown` and `xl reboot`, given in `control/shutdown` (`docs/misc/xenstore-paths.pandoc`).

use core::cell::Cell;

use crate::hypercall::ShutdownReason;
use crate::xenstore::{Client, Error, Request, Watch};

const SHUTDOWN: &str = "control/shutdown";

/// The watch on the toolstack's orders.
pub struct Orders {
    store: Client,
    watch: Cell<Option<Request<Watch>>>,
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
            watch: Cell::new(Some(store.watch(SHUTDOWN))),
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
        let Some(watch) = self.watch.take() else {
            return Ok(());
        };
        let mut watch = watch.await?;
        loop {
            watch.changed().await?;
            let order = self.store.read(SHUTDOWN).await.unwrap_or_default();
            let reason = match order.as_slice() {
                b"" => continue,
                b"poweroff" | b"halt" => ShutdownReason::Poweroff,
                b"reboot" => ShutdownReason::Reboot,
                other => {
                    let order = core::str::from_utf8(other).unwrap_or("?");
                    log::warn!("the toolstack's order {order:?} is not supported");
                    continue;
                }
            };
            self.reason.set(reason);
            self.store.write(SHUTDOWN, "").await?;
            return Ok(());
        }
    }
}
