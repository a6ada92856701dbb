//! A message that goes in one piece, without a decision, goes as any other: two channels are used alike, one by calls that look for
//! such a piece and one by calls that do not, and no difference is seen by either end.

use proptest::prelude::*;
use vchan::conformance::{pair, pattern};
use vchan::in_process::{Host, block_on};
use vchan::{Layout, OfferOptions, Policy};

#[derive(Clone, Copy, Debug)]
enum Op {
    Send(usize),
    /// As much as the ring has room for.
    Fill,
    Receive(usize),
    Publish,
    Free,
    Policies(bool, bool),
}

/// Most are short, beside a quarter of a ring of 1 KiB and beside what is left of it.
fn op() -> impl Strategy<Value = Op> {
    let len = || prop_oneof![4 => 1..100usize, 1 => 100..300usize, 1 => 900..=1024usize];
    prop_oneof![
        6 => prop_oneof![20 => len(), 1 => Just(0)].prop_map(Op::Send),
        6 => len().prop_map(Op::Receive),
        1 => Just(Op::Fill),
        1 => Just(Op::Publish),
        1 => Just(Op::Free),
        1 => any::<(bool, bool)>().prop_map(|(writer, reader)| Op::Policies(writer, reader)),
    ]
}

fn policy(batched: bool) -> Policy {
    if batched {
        Policy::Batched
    } else {
        Policy::Eager
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn pieces_go_as_whatever_is_looked_at_goes(ops in proptest::collection::vec(op(), 1..300)) {
        block_on(async {
            let host = Host::new();
            let options = || OfferOptions::from(Layout::new(10, 11).unwrap());
            let [one, other] = ["one", "other"].map(|name| host.meeting(name));
            let (mut by_piece, mut to_piece) = pair(&one, &one, options()).await;
            let (mut by_rule, mut to_rule) = pair(&other, &other, options()).await;
            let mut sent = 0;
            for op in ops {
                match op {
                    Op::Send(_) | Op::Fill => {
                        let len = match op {
                            Op::Send(len) => len,
                            _ => 1024 - to_piece.writer().unread() as usize,
                        };
                        let message = pattern(sent, len);
                        let (a, b) = message.split_at(len / 2);
                        let went = to_piece.writer().try_send(&message);
                        assert_eq!(went, to_rule.writer().try_send_vectored(&[a, b]), "{op:?}");
                        sent += usize::from(went == Ok(true)) * len;
                    }
                    Op::Receive(len) => {
                        let (mut piece, mut rule) = (vec![0; len], vec![0; len]);
                        let came = by_piece.reader().try_recv(&mut piece).unwrap();
                        if len > 256 {
                            // More than a quarter of the ring is freed by quarters.
                            assert_eq!(by_rule.reader().try_recv(&mut rule), Ok(came));
                        } else {
                            let lent = by_rule.reader().try_peek(len).unwrap();
                            assert_eq!(came.is_some(), lent.is_some(), "{op:?}");
                            if let Some(lent) = lent {
                                lent.slice().copy_to(0, &mut rule);
                                lent.consume(len);
                            }
                        }
                        assert_eq!(piece, rule);
                    }
                    Op::Publish => {
                        assert_eq!(to_piece.writer().publish(), to_rule.writer().publish());
                    }
                    Op::Free => {
                        by_piece.reader().free();
                        by_rule.reader().free();
                    }
                    Op::Policies(writer, reader) => {
                        for end in [&mut to_piece, &mut to_rule] {
                            end.writer().set_policy(policy(writer));
                        }
                        for end in [&mut by_piece, &mut by_rule] {
                            end.reader().set_policy(policy(reader));
                        }
                    }
                }
                assert_eq!(to_piece.writer().unread(), to_rule.writer().unread(), "{op:?}");
            }
            assert_eq!(by_piece.stats().counters().bytes_read, by_rule.stats().counters().bytes_read);
            assert_eq!(to_piece.stats().counters().bytes_written, to_rule.stats().counters().bytes_written);
        });
    }
}
