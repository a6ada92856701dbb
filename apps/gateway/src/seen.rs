//! Which messages have come already, and how many readings went missing between them.
//!
//! A gateway names each message by the random number of its start and which message it is since then (user property `id`). One
//! without a name is known by its packet identifier and its content, which is enough for what the broker itself sends twice.

use alloc::collections::VecDeque;

/// How many publishers are kept apart; of more, the one that was silent longest is forgotten.
const PUBLISHERS: usize = 64;

/// So many messages behind the newest one of a publisher are still told apart.
const WINDOW: u64 = 64;

/// So many nameless messages are remembered: as many as the broker may have sent without an acknowledgement, twice.
const NAMELESS: usize = 2 * crate::subscription::RECEIVE_MAXIMUM;

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is new. So many readings went missing before it.
    New {
        /// How many.
        lost: u64,
    },
    /// It is new, and one that was sent after it came before it.
    Late,
    /// It came before.
    Again,
}

/// The name of a message: which start of a publisher, and which message since then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name {
    /// A random number of the start.
    pub boot: u64,
    /// Which message, from 1 on.
    pub sequence: u64,
}

impl Name {
    /// Reads `BOOT-SEQUENCE`, as a gateway writes it.
    pub fn parse(text: &str) -> Option<Self> {
        let (boot, sequence) = text.split_once('-')?;
        let is_boot = boot.len() == 16 && boot.bytes().all(|b| b.is_ascii_hexdigit());
        let sequence: u64 = sequence.parse().ok()?;
        let boot = u64::from_str_radix(boot, 16).ok().filter(|_| is_boot)?;
        (sequence > 0).then_some(Self { boot, sequence })
    }
}

#[derive(Debug)]
struct Publisher {
    boot: u64,
    newest: u64,
    /// A bit for each of the messages up to the newest, which has the lowest.
    seen: u64,
    /// Readings that it has sent before its next message, as far as we know.
    expected: u64,
}

/// What has come.
#[derive(Debug, Default)]
pub struct Seen {
    /// The one that spoke last comes last.
    publishers: VecDeque<Publisher>,
    nameless: VecDeque<(u16, u64)>,
}

impl Seen {
    /// Notes a message, and says what it is. `seq` is how many readings its publisher had sent before it, if it said so;
    /// `resumed`, that what came before may have come to an earlier start of ours.
    pub fn named(&mut self, name: Name, seq: Option<u64>, resumed: bool) -> Fate {
        let Name { boot, sequence } = name;
        let known = self.publishers.iter().position(|one| one.boot == boot);
        let Some(mut publisher) = known.and_then(|at| self.publishers.remove(at)) else {
            if self.publishers.len() == PUBLISHERS {
                self.publishers.pop_front();
            }
            let seq = seq.unwrap_or(0);
            self.publishers.push_back(Publisher {
                boot,
                newest: sequence,
                seen: 1,
                expected: seq,
            });
            return Fate::New {
                lost: if resumed { 0 } else { seq },
            };
        };
        let fate = publisher.note(sequence, seq);
        self.publishers.push_back(publisher);
        fate
    }

    /// The message that was noted last holds so many readings.
    pub fn held(&mut self, readings: u64) {
        if let Some(publisher) = self.publishers.back_mut() {
            publisher.expected = publisher.expected.saturating_add(readings);
        }
    }

    /// Notes a message without a name; `again` says that the broker may have sent it before.
    pub fn nameless(&mut self, id: u16, again: bool, topic: &str, payload: &[u8]) -> Fate {
        let this = (id, digest(topic.as_bytes(), digest(payload, OFFSET)));
        if again && self.nameless.contains(&this) {
            return Fate::Again;
        }
        if self.nameless.len() == NAMELESS {
            self.nameless.pop_front();
        }
        self.nameless.push_back(this);
        Fate::New { lost: 0 }
    }
}

impl Publisher {
    fn note(&mut self, sequence: u64, seq: Option<u64>) -> Fate {
        if let Some(ahead) = sequence.checked_sub(self.newest).filter(|ahead| *ahead > 0) {
            self.newest = sequence;
            self.seen = u32::try_from(ahead)
                .ok()
                .and_then(|ahead| self.seen.checked_shl(ahead))
                .unwrap_or(0)
                | 1;
            let Some(seq) = seq else {
                return Fate::New { lost: 0 };
            };
            let lost = seq.saturating_sub(self.expected);
            self.expected = seq;
            return Fate::New { lost };
        }
        let behind = self.newest - sequence;
        if behind >= WINDOW || self.seen >> behind & 1 == 1 {
            return Fate::Again;
        }
        self.seen |= 1 << behind;
        Fate::Late
    }
}

/// The offset basis of FNV-1a, 64 bits.
const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a: whoever makes two messages that agree in it makes one of their own go missing.
fn digest(bytes: &[u8], basis: u64) -> u64 {
    bytes.iter().fold(basis, |digest, byte| {
        (digest ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn name(boot: u64, sequence: u64) -> Name {
        Name { boot, sequence }
    }

    #[test]
    fn names_read_back_and_others_are_none() {
        let text = "00000000deadbeef-17";
        assert_eq!(Name::parse(text), Some(name(0xdead_beef, 17)));
        for text in [
            "",
            "-",
            "1-1",
            "00000000deadbeef",
            "00000000deadbeef-0",
            "+0000000deadbeef-1",
            "00000000deadbeef--1",
        ] {
            assert_eq!(Name::parse(text), None, "{text}");
        }
    }

    #[test]
    fn gaps_are_counted_from_the_first_word_of_a_publisher() {
        let mut seen = Seen::default();
        assert_eq!(
            seen.named(name(1, 4), Some(30), false),
            Fate::New { lost: 30 }
        );
        seen.held(10);
        assert_eq!(
            seen.named(name(1, 5), Some(40), false),
            Fate::New { lost: 0 }
        );
        seen.held(5);
        assert_eq!(
            seen.named(name(1, 8), Some(52), false),
            Fate::New { lost: 7 }
        );
        assert_eq!(seen.named(name(1, 7), Some(50), false), Fate::Late);
        assert_eq!(seen.named(name(1, 7), Some(50), false), Fate::Again);
        // Another start of the gateway, whose first messages an earlier start of ours has had.
        assert_eq!(
            seen.named(name(2, 9), Some(90), true),
            Fate::New { lost: 0 }
        );
    }

    #[test]
    fn the_broker_may_send_again_and_may_use_an_identifier_for_something_else() {
        let mut seen = Seen::default();
        let mut take = |id, again, payload: &str| seen.nameless(id, again, "t", payload.as_bytes());
        assert_eq!(take(1, false, "a"), Fate::New { lost: 0 });
        assert_eq!(take(1, true, "a"), Fate::Again);
        assert_eq!(take(1, true, "b"), Fate::New { lost: 0 });
        assert_eq!(take(2, true, "a"), Fate::New { lost: 0 });
        assert_eq!(take(1, false, "a"), Fate::New { lost: 0 });
    }

    proptest! {
        #[test]
        fn no_message_counts_twice_and_none_is_forgotten(
            order in prop::collection::vec((0u64..3, 1u64..60), 1..200),
        ) {
            let (mut seen, mut oracle) = (Seen::default(), BTreeSet::new());
            for (boot, sequence) in order {
                let fate = seen.named(name(boot, sequence), None, false);
                prop_assert_eq!(fate == Fate::Again, !oracle.insert((boot, sequence)));
            }
        }

        #[test]
        fn many_publishers_take_bounded_room(boots in prop::collection::vec(any::<u64>(), 0..300)) {
            let mut seen = Seen::default();
            for boot in boots {
                let _ = seen.named(name(boot, 1), None, false);
            }
            prop_assert!(seen.publishers.len() <= PUBLISHERS);
        }
    }
}
