//! The checks over the in-process platform, and exact filling in every layout.

use vchan::conformance::{fills_exactly, legal_layouts};
use vchan::in_process::{Host, Meeting, block_on};

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

macro_rules! conforms {
    ($($name:ident)*) => {
        mod conforms {
            $(#[test]
            fn $name() {
                super::check(async |meeting: super::Meeting| {
                    vchan::conformance::$name(&meeting, &meeting).await
                });
            })*
        }
    };
}

vchan::conformance_checks!(conforms);
