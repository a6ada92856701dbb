//! What every platform must do, as checks over any pair of rendezvous values that meet each other; they may be one value.
//!
//! Each check makes its channels, uses them and drops them, and panics if something is not as it must be; the caller looks
//! afterwards whether anything is left. [`conformance_checks`](crate::conformance_checks) lists them.

mod calls;
mod streams;
mod tools;

pub use calls::*;
pub use streams::*;
pub use tools::{both, now, pair, pattern};

use crate::Layout;
use crate::platform::Rendezvous;

/// Calls a macro with the name of every check, each an `async fn(&R, &R)` of this module.
#[macro_export]
macro_rules! conformance_checks {
    ($with:ident) => {
        $with! {
            fills_exactly_in_each_kind_of_layout
            fills_exactly_where_indexes_wrap
            streams_both_ways
            messages_are_whole
            closes_in_order
            close_wakes_sleepers
            drains
            waits_for_a_client
            hears_a_client_that_left
            waits_for_a_server
            empty_buffers_do_nothing
            sends_no_needless_events
            a_full_ring_tells_of_the_close
            pieces_are_one
            lends_the_ring
            batches_up_to_a_quarter
            an_endpoint_that_waits_holds_nothing_back
        }
    };
}

/// Every check in turn, for a platform that runs no tests of its own; `before` hears the name of each.
pub async fn all<R: Rendezvous>(server: &R, client: &R, mut before: impl FnMut(&str)) {
    macro_rules! run {
        ($($name:ident)*) => {
            $(
                before(stringify!($name));
                $name(server, client).await;
            )*
        };
    }
    conformance_checks!(run);
}

/// Every pair of orders that vchan has a place for.
pub fn legal_layouts() -> impl Iterator<Item = Layout> {
    (10..=20).flat_map(|left| (10..=20).filter_map(move |right| Layout::new(left, right).ok()))
}

/// Of each way to place the two rings one or more.
fn kinds(orders: &[(u16, u16)]) -> impl Iterator<Item = Layout> {
    orders
        .iter()
        .filter_map(|&(left, right)| Layout::new(left, right).ok())
}
