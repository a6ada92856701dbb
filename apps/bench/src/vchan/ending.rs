//! How a channel ends: nobody closes it before the other end has read what was written.

use alloc::format;
use alloc::string::String;
use core::pin::pin;
use core::time::Duration;

use ::vchan::platform::Rendezvous;
use ::vchan::{Reader, Writer};
use futures_util::FutureExt;
use stage::runner::first;

/// How long a peer may leave what we wrote unread without taking any of it, and how long a client that has sent everything may
/// keep the channel open.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until the peer has read everything, as long as it reads some of it while `patience` lasts.
pub async fn drained<R: Rendezvous>(
    writer: &mut Writer<R>,
    patience: impl AsyncFn(),
) -> Result<(), String> {
    loop {
        let before = writer.unread();
        let outcome = first(pin!(writer.drained()), pin!(patience())).await;
        if outcome.is_none() {
            // What is known of the ring is as old as the last event.
            let _ = writer.drained().now_or_never();
        }
        let unread = writer.unread();
        match outcome {
            Some(Ok(())) => return Ok(()),
            Some(Err(error)) => return Err(format!("{unread} bytes unread: {error}")),
            None if unread < before => {}
            None => {
                return Err(format!(
                    "the peer has left {unread} bytes unread for {} s; closing",
                    PATIENCE.as_secs()
                ));
            }
        }
    }
}

/// Waits until the client, which is first to know that all is done, has closed the channel.
pub async fn closed<R: Rendezvous>(
    reader: &mut Reader<R>,
    check: bool,
    patience: impl AsyncFn(),
) -> Result<(), String> {
    let outcome = first(pin!(reader.peek(1)), pin!(patience())).await;
    match outcome {
        Some(Ok(more)) if check && !more.slice().is_empty() => {
            return Err("more bytes came than were asked for".into());
        }
        Some(Ok(_)) => {}
        // Everything has come before.
        Some(Err(error)) => log::warn!("after the last message: {error}"),
        None => log::warn!(
            "the client has not closed the channel {} s after its last message; closing",
            PATIENCE.as_secs()
        ),
    }
    Ok(())
}
