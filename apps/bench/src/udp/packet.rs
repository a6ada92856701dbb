//! What a datagram looks like: a header of [`HEADER`] bytes, big endian, and after that of a message as much of the stream as it
//! is long. Pure.

/// `gf`, what it is, how often it was sent before, its number.
pub const HEADER: usize = 16;

/// The longest over IPv4.
pub const SIZE_MAX: usize = 65_507;

/// An answer: the header and how many messages have come.
pub const ANSWER: usize = HEADER + 8;

const MAGIC: [u8; 2] = *b"gf";

/// What a datagram is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A message.
    Message,
    /// A message whose sender wants to know what has come. Its number is asked for with all before it.
    Asking,
    /// A question alone: what has come of the messages before this number?
    Question,
    /// The same, and that nothing more will come.
    Farewell,
    /// What has come of the messages before this number.
    Answer,
}

const KINDS: [Kind; 5] = [
    Kind::Message,
    Kind::Asking,
    Kind::Question,
    Kind::Farewell,
    Kind::Answer,
];

/// The beginning of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What it is.
    pub kind: Kind,
    /// How often it was sent before.
    pub attempt: u32,
    /// The number of a message, from 0 on, those of the warm-up first; or the first number that a question leaves out.
    pub number: u64,
}

impl Header {
    /// Its bytes.
    pub fn bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..2].copy_from_slice(&MAGIC);
        // There are few of them.
        let kind = KINDS.iter().position(|kind| *kind == self.kind);
        bytes[2] = kind.unwrap_or_default() as u8;
        bytes[4..8].copy_from_slice(&self.attempt.to_be_bytes());
        bytes[8..].copy_from_slice(&self.number.to_be_bytes());
        bytes
    }

    /// Reads one; `None` for what is none of ours.
    pub fn parse(datagram: &[u8]) -> Option<Self> {
        let (header, _) = datagram.split_first_chunk::<HEADER>()?;
        let [m0, m1, kind, zero, a0, a1, a2, a3, number @ ..] = *header;
        let kind = *KINDS.get(usize::from(kind))?;
        ([m0, m1] == MAGIC && zero == 0).then_some(Self {
            kind,
            attempt: u32::from_be_bytes([a0, a1, a2, a3]),
            number: u64::from_be_bytes(number),
        })
    }

    /// The answer to this question, as a datagram.
    pub fn answer(self, arrived: u64) -> [u8; ANSWER] {
        let answer = Self {
            kind: Kind::Answer,
            ..self
        };
        let mut bytes = [0; ANSWER];
        bytes[..HEADER].copy_from_slice(&answer.bytes());
        bytes[HEADER..].copy_from_slice(&arrived.to_be_bytes());
        bytes
    }
}

/// What an answer says has come.
pub fn arrived(answer: &[u8]) -> Option<u64> {
    let (_, number) = answer.split_first_chunk::<HEADER>()?;
    Some(u64::from_be_bytes(number.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_as_it_was_written_and_nothing_else_is() {
        for kind in KINDS {
            let header = Header {
                kind,
                attempt: 7,
                number: 0x0102_0304_0506_0708,
            };
            let bytes = header.bytes();
            assert_eq!(Header::parse(&bytes), Some(header));
            assert_eq!(Header::parse(&bytes[..15]), None);
            for (place, value) in [(0, b'x'), (2, 5), (3, 1)] {
                let mut wrong = bytes;
                wrong[place] = value;
                assert_eq!(Header::parse(&wrong), None, "{place}");
            }
            let answer = header.answer(9);
            assert_eq!(arrived(&answer), Some(9));
            assert_eq!(Header::parse(&answer).unwrap().number, header.number);
            assert_eq!(arrived(&answer[..23]), None);
        }
    }
}
