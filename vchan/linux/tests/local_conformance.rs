//! The checks over the platform between processes: here between tasks and threads of one.

mod held;

use held::Held;
use vchan::conformance::{fills_exactly, legal_layouts};
use vchan::platform::{Access, Rendezvous};
use vchan::{Endpoint, OfferOptions};
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
    for layout in legal_layouts() {
        check(async |one, other| fills_exactly(&one, &other, layout, 0).await);
    }
}

/// What a server makes in place, as plain bytes, a client reads, which cannot map the ring for writing.
#[test]
fn plain_bytes_reach_a_client_that_may_only_read() {
    check(async |one, other| {
        let options = OfferOptions {
            layout: Layout::new(12, 13).unwrap(),
            right_ring: Access::ReadOnly,
            ..OfferOptions::default()
        };
        let (mut server, mut client) = vchan::conformance::pair(&one, &other, options).await;
        for skew in [0, 8000] {
            let mut reserved = server.writer().try_reserve(8000).unwrap().unwrap();
            let [head, tail] = reserved.plain().unwrap();
            assert_eq!(head.len(), 8000.min(8192 - skew));
            head.fill(1);
            tail.fill(2);
            let first = head.len();
            reserved.commit(8000).unwrap();
            let mut out = [0; 8192];
            assert_eq!(client.try_read(&mut out), Ok(Some(8000)));
            assert!(out[..first].iter().all(|&byte| byte == 1));
            assert!(out[first..8000].iter().all(|&byte| byte == 2));
        }
        assert_eq!(client.try_write(b"back"), Ok(4));
        assert_eq!(server.try_read(&mut [0; 8]), Ok(Some(4)));
        let plain = client
            .writer()
            .try_reserve(1)
            .unwrap()
            .unwrap()
            .plain()
            .is_some();
        assert!(!plain, "the server may write what we fill");
    });
    check(async |one, other| {
        let options = OfferOptions {
            right_ring: Access::ReadOnly,
            ..Layout::new(12, 12).unwrap().into()
        };
        let _server = Endpoint::offer(&one, options).await.unwrap();
        other.keys().await.unwrap();
        // References count up from 1: the left ring, the right ring, the control page.
        assert!(other.map_ring(&[1], Access::ReadWrite).is_ok());
        assert!(other.map_ring(&[2], Access::ReadWrite).is_err());
        assert!(other.map_ring(&[2], Access::ReadOnly).is_ok());
    });
}

macro_rules! conforms {
    ($($name:ident)*) => {
        mod conforms {
            $(#[test]
            fn $name() {
                super::check(async |one, other| vchan::conformance::$name(&one, &other).await);
            })*
        }
    };
}

vchan::conformance_checks!(conforms);
