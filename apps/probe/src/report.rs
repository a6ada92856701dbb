//! Where the probe says what it found out.

use alloc::format;
use alloc::string::ToString;
use core::fmt::Display;

use unikernel::xenstore::Client;

/// Says things on the console and under `data/probe/`.
#[derive(Clone)]
pub struct Report {
    store: Client,
}

impl Report {
    /// Over this connection.
    pub fn new(store: &Client) -> Self {
        Self {
            store: store.clone(),
        }
    }

    /// The connection.
    pub fn store(&self) -> &Client {
        &self.store
    }

    /// Says `value` under `key`, on the console and in xenstore.
    pub async fn say(&self, key: &str, value: impl Display) {
        log::info!("{key}: {value}");
        self.publish(key, value).await;
    }

    /// Says `value` under `key`, in xenstore alone.
    pub async fn publish(&self, key: &str, value: impl Display) {
        let written = self
            .store
            .write(&format!("data/probe/{key}"), value.to_string());
        if let Err(error) = written.await {
            log::error!("{key} could not be written: {error}");
        }
    }
}
