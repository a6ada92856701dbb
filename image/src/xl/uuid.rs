//! The identity of a domain, which it keeps while its name and its number may become another's.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};

/// A UUID (RFC 9562) in the letters of `xl`: lower case, with dashes.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Uuid(String);

/// What identities of one maker begin with.
pub type Mark = [u8; 6];

/// Not a UUID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no UUID")]
pub struct NotUuid(String);

impl Uuid {
    /// A random one (version 4).
    pub fn random() -> io::Result<Self> {
        let mut bytes = [0; 16];
        File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(Self::version_4(bytes))
    }

    /// One that bears this mark, by which its maker knows it again, and is random otherwise (version 8).
    pub fn marked(mark: Mark) -> io::Result<Self> {
        let mut bytes = [0; 16];
        File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(Self::version_8(mark, bytes))
    }

    fn version_8(mark: Mark, mut bytes: [u8; 16]) -> Self {
        // RFC 9562, section 5.8: what its maker likes in its first bytes.
        bytes[..6].copy_from_slice(&mark);
        bytes[6] = bytes[6] & 0x0F | 0x80;
        bytes[8] = bytes[8] & 0x3F | 0x80;
        bytes.into()
    }

    /// Whether it bears this mark.
    pub fn has_mark(&self, mark: Mark) -> bool {
        let least = Self::version_8(mark, [0; 16]);
        // With the digit of its version.
        self.0.get(..15) == least.0.get(..15)
    }

    fn version_4(mut bytes: [u8; 16]) -> Self {
        // RFC 9562, section 5.4: four bits of version, two of variant.
        bytes[6] = bytes[6] & 0x0F | 0x40;
        bytes[8] = bytes[8] & 0x3F | 0x80;
        bytes.into()
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// From its bytes, in the order of its letters (`xen_domain_handle_t`).
impl From<[u8; 16]> for Uuid {
    fn from(bytes: [u8; 16]) -> Self {
        let mut text = String::new();
        for (place, byte) in bytes.iter().enumerate() {
            if [4, 6, 8, 10].contains(&place) {
                text.push('-');
            }
            text += &format!("{byte:02x}");
        }
        Self(text)
    }
}

#[cfg(test)]
impl Uuid {
    /// Its bytes, in the order of its letters.
    pub fn bytes(&self) -> [u8; 16] {
        let digits = self.0.replace('-', "");
        std::array::from_fn(|byte| {
            u8::from_str_radix(&digits[2 * byte..2 * byte + 2], 16).unwrap_or_default()
        })
    }
}

impl TryFrom<String> for Uuid {
    type Error = NotUuid;

    fn try_from(text: String) -> Result<Self, NotUuid> {
        let dashes = |place| [8, 13, 18, 23].contains(&place);
        let fits = text.len() == 36
            && text.bytes().enumerate().all(|(place, byte)| {
                if dashes(place) {
                    byte == b'-'
                } else {
                    byte.is_ascii_hexdigit()
                }
            });
        if fits {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(NotUuid(text))
        }
    }
}

impl From<Uuid> for String {
    fn from(uuid: Uuid) -> Self {
        uuid.0
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_one_reads_back_and_is_no_other() {
        let (one, other) = (Uuid::random().unwrap(), Uuid::random().unwrap());
        assert_ne!(one, other);
        assert_eq!(Uuid::try_from(String::from(one.clone())), Ok(one));
        let bytes = std::array::from_fn(|place| 0x10 + place as u8);
        assert_eq!(
            Uuid::from(bytes).as_str(),
            "10111213-1415-1617-1819-1a1b1c1d1e1f"
        );
        assert_eq!(Uuid::from(bytes).bytes(), bytes);
        assert_eq!(
            Uuid::version_4([0xFF; 16]).as_str(),
            "ffffffff-ffff-4fff-bfff-ffffffffffff"
        );
    }

    #[test]
    fn a_mark_is_known_again_and_only_where_it_was_set() {
        let mark = *b"a mark";
        let (one, other) = (Uuid::marked(mark).unwrap(), Uuid::marked(mark).unwrap());
        assert_ne!(one, other);
        assert!(one.has_mark(mark) && other.has_mark(mark));
        assert!(!one.has_mark(*b"a merk") && !Uuid::random().unwrap().has_mark(mark));
        // The same first bytes by chance, in a random one.
        let chance = Uuid::version_4(one.bytes());
        assert!(!chance.has_mark(mark), "{chance}");
        assert_eq!(
            Uuid::version_8(mark, [0xFF; 16]).as_str(),
            "61206d61-726b-8fff-bfff-ffffffffffff"
        );
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in [
            "",
            "x",
            "ffffffff-ffff-4fff-bfff-fffffffffff",
            "fffffffffffff-4fff-bfff-ffffffffffff",
            "ffffffff-ffff-4fff-bfff-fffffffffffg",
        ] {
            assert!(Uuid::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
