//! The protocol of xenstore: `public/io/xs_wire.h` and `docs/misc/xenstore.txt`, data in, data out.

use thiserror::Error;

/// `XS_DIRECTORY`: list a node's children.
pub const DIRECTORY: u32 = 1;
/// `XS_READ`.
pub const READ: u32 = 2;
/// `XS_WATCH`: ask for an event whenever something changes at or below a path.
pub const WATCH: u32 = 4;
/// `XS_TRANSACTION_START`.
pub const TRANSACTION_START: u32 = 6;
/// `XS_TRANSACTION_END`: `T` commits, `F` does not.
pub const TRANSACTION_END: u32 = 7;
/// `XS_WRITE`.
pub const WRITE: u32 = 11;
/// `XS_RM`: remove a node and all below it.
pub const RM: u32 = 13;
/// `XS_SET_PERMS`.
pub const SET_PERMS: u32 = 14;
/// `XS_WATCH_EVENT`: sent without a request.
pub const WATCH_EVENT: u32 = 15;
/// `XS_ERROR`: the reply that names an errno.
pub const ERROR: u32 = 16;
/// `XS_IS_DOMAIN_INTRODUCED`.
pub const IS_DOMAIN_INTRODUCED: u32 = 17;

/// Size of `xsd_sockmsg`.
pub const HEADER_SIZE: usize = 16;
/// `XENSTORE_PAYLOAD_MAX`: whoever sends more is cut off.
pub const PAYLOAD_MAX: usize = 4096;
/// `XENSTORE_ABS_PATH_MAX`.
pub const ABS_PATH_MAX: usize = 3072;
/// `XENSTORE_REL_PATH_MAX`: of a path below `/local/domain/<self>`.
pub const REL_PATH_MAX: usize = 2048;

/// One message, either way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it asks or tells: one of the constants of this module, or something else.
    pub kind: u32,
    /// Of the request; the reply has the same.
    pub req_id: u32,
    /// The transaction, or 0.
    pub tx_id: u32,
    /// What follows the header.
    pub payload: Vec<u8>,
}

impl Message {
    /// The bytes to send; `None` if the payload is longer than [`PAYLOAD_MAX`].
    pub fn bytes(&self) -> Option<Vec<u8>> {
        let len = u32::try_from(self.payload.len()).ok()?;
        if self.payload.len() > PAYLOAD_MAX {
            return None;
        }
        let header = [self.kind, self.req_id, self.tx_id, len];
        let header = header.into_iter().flat_map(u32::to_le_bytes);
        Some(header.chain(self.payload.iter().copied()).collect())
    }
}

/// The store announced a longer payload than it may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("xenstored announced a message of {0} bytes; 4096 is the most")]
pub struct Violation(pub u32);

/// Puts messages together from pieces of any length.
#[derive(Debug, Default)]
pub struct Decoder(Vec<u8>);

impl Decoder {
    /// Takes what has arrived. Together with [`message`](Self::message) after each piece, it holds one message and a piece at most.
    pub fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// The next whole message. After an error there is none any more.
    pub fn message(&mut self) -> Result<Option<Message>, Violation> {
        let Some((header, rest)) = self.0.split_first_chunk::<HEADER_SIZE>() else {
            return Ok(None);
        };
        let mut fields = [0; 4];
        for (field, bytes) in fields.iter_mut().zip(header.as_chunks().0) {
            *field = u32::from_le_bytes(*bytes);
        }
        let [kind, req_id, tx_id, len] = fields;
        if len as usize > PAYLOAD_MAX {
            return Err(Violation(len));
        }
        let Some(payload) = rest.get(..len as usize) else {
            return Ok(None);
        };
        let message = Message {
            kind,
            req_id,
            tx_id,
            payload: payload.to_vec(),
        };
        self.0.drain(..HEADER_SIZE + len as usize);
        Ok(Some(message))
    }
}

/// Why a path is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PathError {
    /// Nothing there.
    #[error("an empty path; for example /local/domain/3/data/vchan/0/edge")]
    Empty,
    /// Longer than [`ABS_PATH_MAX`], or than [`REL_PATH_MAX`] where it is relative.
    #[error("a path longer than 3072 bytes, or 2048 where it does not start with /")]
    TooLong,
    /// A character other than `A-Z a-z 0-9 - / _ @`.
    #[error("a path holds only A-Z a-z 0-9 - / _ @")]
    Character,
    /// Two slashes in a row, or one at the end.
    #[error("a path has no two slashes in a row and none at its end")]
    Slash,
}

/// Checks a path by the rules of `xenstore.txt`, so that a bad one is refused with a reason rather than as `EINVAL`.
pub fn check_path(path: &str) -> Result<(), PathError> {
    let longest = if path.starts_with('/') {
        ABS_PATH_MAX
    } else {
        REL_PATH_MAX
    };
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"-/_@".contains(&byte);
    if path.is_empty() {
        Err(PathError::Empty)
    } else if path.len() > longest {
        Err(PathError::TooLong)
    } else if !path.bytes().all(letters) {
        Err(PathError::Character)
    } else if path.contains("//") || (path.len() > 1 && path.ends_with('/')) {
        Err(PathError::Slash)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_header_is_that_of_xs_wire() {
        let message = Message {
            kind: READ,
            req_id: 0x0102_0304,
            tx_id: 5,
            payload: b"domid\0".to_vec(),
        };
        let bytes = message.bytes().unwrap();
        assert_eq!(
            bytes[..16],
            [2, 0, 0, 0, 4, 3, 2, 1, 5, 0, 0, 0, 6, 0, 0, 0]
        );
        assert_eq!(&bytes[16..], b"domid\0");
        let long = Message {
            payload: vec![0; PAYLOAD_MAX + 1],
            ..message
        };
        assert_eq!(long.bytes(), None);
    }

    #[test]
    fn paths_are_judged() {
        for good in [
            "/",
            "data/vchan/3/e",
            "/local/domain/0/data/vchan/1/a_b-C9",
            "@releaseDomain",
        ] {
            assert_eq!(check_path(good), Ok(()), "{good}");
        }
        for (bad, error) in [
            ("", PathError::Empty),
            ("a//b", PathError::Slash),
            ("a/", PathError::Slash),
            ("a b", PathError::Character),
            ("a\0b", PathError::Character),
            ("ä", PathError::Character),
        ] {
            assert_eq!(check_path(bad), Err(error), "{bad:?}");
        }
        assert_eq!(check_path(&"a".repeat(REL_PATH_MAX)), Ok(()));
        assert_eq!(
            check_path(&"a".repeat(REL_PATH_MAX + 1)),
            Err(PathError::TooLong)
        );
        let long = format!("/{}", "a".repeat(ABS_PATH_MAX));
        assert_eq!(check_path(&long), Err(PathError::TooLong));
    }

    fn message() -> impl Strategy<Value = Message> {
        let payload = prop::collection::vec(any::<u8>(), 0..40);
        (any::<u32>(), any::<u32>(), any::<u32>(), payload).prop_map(
            |(kind, req_id, tx_id, payload)| Message {
                kind,
                req_id,
                tx_id,
                payload,
            },
        )
    }

    proptest! {
        #[test]
        fn messages_come_out_of_pieces_as_they_went_in(
            messages in prop::collection::vec(message(), 0..5), piece in 1..50usize,
        ) {
            let mut bytes = Vec::new();
            for message in &messages {
                bytes.extend(message.bytes().unwrap());
            }
            let (mut decoder, mut out) = (Decoder::default(), Vec::new());
            for piece in bytes.chunks(piece) {
                decoder.push(piece);
                while let Some(message) = decoder.message().unwrap() {
                    out.push(message);
                }
            }
            prop_assert_eq!(out, messages);
        }

        #[test]
        fn anything_may_come(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..10),
            small: bool,
        ) {
            let mut decoder = Decoder::default();
            for mut piece in pieces {
                if small && piece.len() >= 16 {
                    piece[13..16].fill(0);
                }
                decoder.push(&piece);
                while let Ok(Some(message)) = decoder.message() {
                    prop_assert!(message.payload.len() <= PAYLOAD_MAX);
                }
            }
        }
    }
}
