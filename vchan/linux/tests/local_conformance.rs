//! The suite over the platform between processes: here between tasks and threads of one.

#[path = "../../tests/common/mod.rs"]
mod common;
#[path = "../../tests/suite/mod.rs"]
mod suite;

mod held;

use held::Held;
use suite::*;
use vchan_linux::local::{Folder, Meeting};
use vchan_linux::{Layout, block_on};

/// Runs `body` with a meeting for each end; what the process holds afterwards is what it held before.
fn check<F: Future>(body: impl FnOnce(Meeting, Meeting) -> F) {
    let _alone = held::alone();
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::at(place.path().join("vchan")).unwrap();
    let meeting = || Meeting::new(&folder, "edge").unwrap();
    let before = Held::now();
    block_on(body(meeting(), meeting()));
    assert_eq!(Held::now(), before, "left behind");
    let files = std::fs::read_dir(folder.path()).unwrap();
    assert_eq!(files.count(), 0, "a file was left behind");
}

#[test]
fn fills_exactly_in_every_layout() {
    for left in 10..=20 {
        for right in 10..=20 {
            if let Ok(layout) = Layout::new(left, right) {
                check(async |one, other| fills_exactly(&one, &other, layout, 0).await);
            }
        }
    }
}

#[test]
fn fills_exactly_where_indexes_wrap() {
    for (left, right) in [(10, 11), (11, 10), (11, 12), (12, 11), (12, 12), (16, 13)] {
        let layout = Layout::new(left, right).unwrap();
        for before_wrap in [1, 341, 1024, 1365] {
            let first_index = 0u32.wrapping_sub(before_wrap);
            check(async |one, other| fills_exactly(&one, &other, layout, first_index).await);
        }
    }
}

#[test]
fn streams_both_ways_in_every_kind_of_layout() {
    for (left, right) in [(10, 11), (11, 10), (11, 12), (12, 11), (12, 12), (20, 20)] {
        let layout = Layout::new(left, right).unwrap();
        check(async |one, other| streams_both_ways(&one, &other, layout).await);
    }
}

macro_rules! conforms {
    ($($name:ident)*) => {
        mod conforms {
            $(#[test]
            fn $name() {
                super::check(async |one, other| super::suite::$name(&one, &other).await);
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
}
