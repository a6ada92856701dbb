//! The suite over the in-process platform, in every layout.

mod common;
mod suite;

use suite::*;
use vchan::Layout;
use vchan::in_process::{Host, Meeting, block_on};

/// Every pair of orders that vchan has a place for.
fn legal_layouts() -> impl Iterator<Item = Layout> {
    (10..=20).flat_map(|left| (10..=20).filter_map(move |right| Layout::new(left, right).ok()))
}

fn check<F: Future>(body: impl FnOnce(Meeting) -> F) {
    let host = Host::new();
    block_on(body(host.meeting("edge")));
    host.assert_clean();
}

#[test]
fn fills_exactly_in_every_layout() {
    assert_eq!(legal_layouts().count(), 117);
    for layout in legal_layouts() {
        check(async |meeting: Meeting| fills_exactly(&meeting, &meeting, layout, 0).await);
    }
}

#[test]
fn fills_exactly_where_indexes_wrap() {
    for (left, right) in [(10, 11), (11, 10), (11, 12), (12, 11), (12, 12), (16, 13)] {
        let layout = Layout::new(left, right).unwrap();
        for before_wrap in [1, 2, 341, 500, 1024, 1365] {
            let first_index = 0u32.wrapping_sub(before_wrap);
            check(async |meeting: Meeting| {
                fills_exactly(&meeting, &meeting, layout, first_index).await
            });
        }
    }
}

#[test]
fn streams_both_ways_in_every_kind_of_layout() {
    for (left, right) in [(10, 11), (11, 10), (11, 12), (12, 11), (12, 12), (20, 20)] {
        let layout = Layout::new(left, right).unwrap();
        check(async |meeting: Meeting| streams_both_ways(&meeting, &meeting, layout).await);
    }
}

#[test]
fn messages_are_whole_in_every_kind_of_layout() {
    for (left, right) in [(10, 11), (11, 10), (12, 11), (13, 12)] {
        let layout = Layout::new(left, right).unwrap();
        check(async |meeting: Meeting| messages_are_whole(&meeting, &meeting, layout).await);
    }
}

macro_rules! conforms {
    ($($name:ident)*) => {
        mod conforms {
            $(#[test]
            fn $name() {
                super::check(async |meeting: super::Meeting| {
                    super::suite::$name(&meeting, &meeting).await
                });
            })*
        }
    };
}

conforms! {
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
