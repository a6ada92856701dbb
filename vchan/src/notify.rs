//! Asking to be told, and telling: the one-shot bits in `cli_notify` and `srv_notify`.
//!
//! A side that is about to sleep *asks*: it sets a bit in its own request byte and then looks at the peer's index
//! once more. A side that has moved its index *tells*: it looks at the peer's request byte and, if the bit is set,
//! clears it and sends an event. Each side stores one place and then loads the other, so a full fence stands between
//! the two on both sides; of two such sides at least one sees the other's store, and no wake-up is lost:
//!
//! ```text
//! asks                         tells
//! request |= bit               index = new, and
//! fence                        fence (publish_u32, x86: one xchg)
//! load index                   load request, clear bit, send event
//! ```

use core::sync::atomic::Ordering;

use crate::platform::SharedMemory;

/// Sets `bit` in our request byte. The caller must look at the peer's index again before it sleeps.
pub fn ask<M: SharedMemory>(control: &M, request: usize, bit: u8) {
    // Relaxed is enough for the byte itself: the fence orders it, and it carries no data.
    control.fetch_or_u8(request, bit, Ordering::Relaxed);
    // The request is visible before our next load of the peer's index, for the peer that tells.
    control.fence();
}

/// Whether the peer wants an event for what was just published, which [`SharedMemory::publish_u32`] did; takes its
/// request away if so.
#[must_use = "the peer sleeps until it gets the event it asked for"]
pub fn tell<M: SharedMemory>(control: &M, request: usize, bit: u8) -> bool {
    // Test before the atomic: with nobody asking, the line stays shared and no locked instruction runs. Of two loads
    // of this byte only the second, atomic one decides; a peer that changes it in between costs or saves one event,
    // its own.
    // SeqCst: where publishing is one sequentially consistent exchange, this load has its place after it in the one
    // order that all such operations have; on x86 it is a plain load.
    control.load_u8(request, Ordering::SeqCst) & bit != 0
        && control.fetch_and_u8(request, !bit, Ordering::Relaxed) & bit != 0
}
