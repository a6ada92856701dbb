//! The XenStore wire protocol: `xs_wire.h` and `docs/misc/xenstore.txt`, data in, data out.

use alloc::{string::String, vec::Vec};
use core::fmt;

/// The most bytes that may follow a header (`XENSTORE_PAYLOAD_MAX`); a guest that sends more is cut off for good.
pub const PAYLOAD_MAX: usize = 4096;
/// The longest path that starts with `/`, in bytes (`XENSTORE_ABS_PATH_MAX`).
pub const ABS_PATH_MAX: usize = 3072;
/// The longest path below `/local/domain/<self>`, in bytes (`XENSTORE_REL_PATH_MAX`).
pub const REL_PATH_MAX: usize = 2048;
/// The size of `xsd_sockmsg`, in bytes.
pub const HEADER_SIZE: usize = 16;

/// What a message asks or tells (`enum xsd_sockmsg_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageType {
    /// `XS_DIRECTORY` (1): the names of a node's children.
    Directory,
    /// `XS_READ` (2): a node's value.
    Read,
    /// `XS_GET_PERMS` (3): a node's permissions.
    GetPerms,
    /// `XS_WATCH` (4): tell me when this or anything below it changes.
    Watch,
    /// `XS_UNWATCH` (5): the end of a watch.
    Unwatch,
    /// `XS_TRANSACTION_START` (6).
    TransactionStart,
    /// `XS_TRANSACTION_END` (7): `T` commits, `F` aborts.
    TransactionEnd,
    /// `XS_WRITE` (11): a node's new value; missing parents are made.
    Write,
    /// `XS_MKDIR` (12): an empty node, unless there is one.
    Mkdir,
    /// `XS_RM` (13): a node and all below it are removed.
    Rm,
    /// `XS_SET_PERMS` (14): a node's new permissions.
    SetPerms,
    /// `XS_WATCH_EVENT` (15): a watch fired; comes unasked.
    WatchEvent,
    /// `XS_ERROR` (16): the reply to a request that failed; the payload names the errno.
    Error,
    /// A type that this client has no use for.
    Other(u32),
}

impl MessageType {
    /// The type with this number in `xs_wire.h`.
    pub const fn from_u32(number: u32) -> Self {
        match number {
            1 => Self::Directory,
            2 => Self::Read,
            3 => Self::GetPerms,
            4 => Self::Watch,
            5 => Self::Unwatch,
            6 => Self::TransactionStart,
            7 => Self::TransactionEnd,
            11 => Self::Write,
            12 => Self::Mkdir,
            13 => Self::Rm,
            14 => Self::SetPerms,
            15 => Self::WatchEvent,
            16 => Self::Error,
            other => Self::Other(other),
        }
    }

    /// The number of this type in `xs_wire.h`.
    pub const fn to_u32(self) -> u32 {
        match self {
            Self::Directory => 1,
            Self::Read => 2,
            Self::GetPerms => 3,
            Self::Watch => 4,
            Self::Unwatch => 5,
            Self::TransactionStart => 6,
            Self::TransactionEnd => 7,
            Self::Write => 11,
            Self::Mkdir => 12,
            Self::Rm => 13,
            Self::SetPerms => 14,
            Self::WatchEvent => 15,
            Self::Error => 16,
            Self::Other(other) => other,
        }
    }
}

/// `xsd_sockmsg` without its length, which is the payload's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the message asks or tells.
    pub message_type: MessageType,
    /// Chosen by who asks, echoed in the reply; 0 in watch events.
    pub req_id: u32,
    /// The transaction it belongs to; 0 is none.
    pub tx_id: u32,
}

/// One message: a header and at most [`PAYLOAD_MAX`] bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Type and ids.
    pub header: Header,
    /// What follows the header; strings end with NUL, except values.
    pub payload: Vec<u8>,
}

/// A payload of this many bytes, more than [`PAYLOAD_MAX`], would have the connection cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadTooLong(pub usize);

impl fmt::Display for PayloadTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("xenstore payload of more than 4096 bytes: shorten the path or the value")
    }
}

impl core::error::Error for PayloadTooLong {}

/// The bytes of a message whose payload is `parts`, one after the other.
pub fn encode(header: Header, parts: &[&[u8]]) -> Result<Vec<u8>, PayloadTooLong> {
    let len = parts
        .iter()
        .fold(0usize, |sum, part| sum.saturating_add(part.len()));
    if len > PAYLOAD_MAX {
        return Err(PayloadTooLong(len));
    }
    let mut bytes = Vec::with_capacity(HEADER_SIZE + len);
    for field in [
        header.message_type.to_u32(),
        header.req_id,
        header.tx_id,
        len as u32,
    ] {
        bytes.extend_from_slice(&field.to_le_bytes());
    }
    for part in parts {
        bytes.extend_from_slice(part);
    }
    Ok(bytes)
}

/// The other side announced a payload of this many bytes, more than [`PAYLOAD_MAX`]: its stream has no more meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtocolViolation {
    /// The `len` field that came, in bytes.
    pub len: u32,
}

impl fmt::Display for ProtocolViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("xenstored announced a message of more than 4096 bytes: restart the domain")
    }
}

impl core::error::Error for ProtocolViolation {}

/// Messages out of bytes that arrive in any pieces. Holds one message at most.
#[derive(Debug, Default)]
pub struct Decoder {
    header: [u8; HEADER_SIZE],
    filled: usize,
    payload: Vec<u8>,
}

impl Decoder {
    /// A decoder at the start of a message.
    pub const fn new() -> Self {
        Self {
            header: [0; HEADER_SIZE],
            filled: 0,
            payload: Vec::new(),
        }
    }

    /// Takes bytes off the front of `input` until a message is whole or `input` is empty. After a violation
    /// nothing more is taken: each later call repeats the error.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Message>, ProtocolViolation> {
        if let Some(rest) = self.header.get_mut(self.filled..) {
            let taken = take(input, rest.len());
            for (to, from) in rest.iter_mut().zip(taken) {
                *to = *from;
            }
            self.filled += taken.len();
        }
        if self.filled < HEADER_SIZE {
            return Ok(None);
        }
        let [message_type, req_id, tx_id, len] = self.fields();
        if len as usize > PAYLOAD_MAX {
            // The header stays: the next call comes here again.
            return Err(ProtocolViolation { len });
        }
        let missing = (len as usize).saturating_sub(self.payload.len());
        let taken = take(input, missing);
        self.payload.reserve_exact(missing);
        self.payload.extend_from_slice(taken);
        if taken.len() < missing {
            return Ok(None);
        }
        self.filled = 0;
        let header = Header {
            message_type: MessageType::from_u32(message_type),
            req_id,
            tx_id,
        };
        Ok(Some(Message {
            header,
            payload: core::mem::take(&mut self.payload),
        }))
    }

    fn fields(&self) -> [u32; 4] {
        let mut fields = [0; 4];
        for (field, bytes) in fields.iter_mut().zip(self.header.as_chunks().0) {
            *field = u32::from_le_bytes(*bytes);
        }
        fields
    }
}

fn take<'a>(input: &mut &'a [u8], at_most: usize) -> &'a [u8] {
    let (taken, rest) = input.split_at(input.len().min(at_most));
    *input = rest;
    taken
}

/// The strings of a payload: each ended by NUL, a last one possibly not.
pub fn strings(payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    let body = payload.strip_suffix(b"\0").unwrap_or(payload);
    let mut parts = body.split(|byte| *byte == 0);
    if body.is_empty() {
        parts.next();
    }
    parts
}

/// Why a path cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathError {
    /// Nothing there.
    Empty,
    /// Longer than [`ABS_PATH_MAX`], or than [`REL_PATH_MAX`] where it is relative.
    TooLong,
    /// A character other than `A-Z a-z 0-9 - / _ @`.
    Character,
    /// Two slashes in a row, or one at the end.
    Slash,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "empty xenstore path",
            Self::TooLong => {
                "xenstore path too long: at most 3072 bytes, 2048 if it does not start with /"
            }
            Self::Character => "xenstore paths hold only A-Z a-z 0-9 - / _ @",
            Self::Slash => "xenstore paths have no double slash and no slash at the end",
        })
    }
}

impl core::error::Error for PathError {}

/// Checks a path by the rules of `xenstore.txt`, so that a bad one is refused here with a reason rather than as `EINVAL`.
pub fn check_path(path: &str) -> Result<(), PathError> {
    let bytes = path.as_bytes();
    let Some(first) = bytes.first() else {
        return Err(PathError::Empty);
    };
    if bytes.len()
        > if *first == b'/' {
            ABS_PATH_MAX
        } else {
            REL_PATH_MAX
        }
    {
        return Err(PathError::TooLong);
    }
    if !bytes
        .iter()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-/_@".contains(byte))
    {
        return Err(PathError::Character);
    }
    if bytes.windows(2).any(|pair| pair == b"//") || (bytes.len() > 1 && bytes.ends_with(b"/")) {
        return Err(PathError::Slash);
    }
    Ok(())
}

/// What a domain may do with a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// `n`: nothing.
    None,
    /// `r`: read it and list its children.
    Read,
    /// `w`: write it and create children.
    Write,
    /// `b`: both.
    Both,
}

/// One entry of a node's permissions: `n0`, `r5`. The first entry of a node names its owner, who may do everything,
/// and with its letter what all domains without an entry may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permission {
    /// What it may do.
    pub access: Access,
    /// The domain it is for.
    pub domid: u16,
}

impl Permission {
    /// An entry for `domid`.
    pub const fn new(access: Access, domid: u16) -> Self {
        Self { access, domid }
    }

    /// Reads `r5`; nothing else may stand before or after.
    pub fn parse(entry: &[u8]) -> Option<Self> {
        let (letter, digits) = entry.split_first()?;
        let access = match letter {
            b'n' => Access::None,
            b'r' => Access::Read,
            b'w' => Access::Write,
            b'b' => Access::Both,
            _ => return None,
        };
        Some(Self {
            access,
            domid: u16::try_from(parse_decimal(digits).ok()?).ok()?,
        })
    }

    /// Appends `r5` and a NUL.
    pub fn push_to(self, out: &mut Vec<u8>) {
        out.push(match self.access {
            Access::None => b'n',
            Access::Read => b'r',
            Access::Write => b'w',
            Access::Both => b'b',
        });
        push_decimal(u32::from(self.domid), out);
        out.push(0);
    }
}

/// A value that is not one decimal number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecimalError {
    /// Nothing there.
    Empty,
    /// Something other than digits, or a leading zero: a number has one spelling.
    NotDecimal,
    /// More than 4294967295.
    TooBig,
}

impl fmt::Display for DecimalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "empty value where a decimal number is expected",
            Self::NotDecimal => {
                "not a decimal number: digits only, no sign, space, NUL or leading zero"
            }
            Self::TooBig => "number above 4294967295",
        })
    }
}

impl core::error::Error for DecimalError {}

/// Reads an unsigned decimal number as xenstore values carry them: grant references, ports, domain ids, states.
pub fn parse_decimal(value: &[u8]) -> Result<u32, DecimalError> {
    match value {
        [] => return Err(DecimalError::Empty),
        [b'0', _, ..] => return Err(DecimalError::NotDecimal),
        _ => {}
    }
    if !value.iter().all(u8::is_ascii_digit) {
        return Err(DecimalError::NotDecimal);
    }
    value.iter().try_fold(0u32, |number, digit| {
        number
            .checked_mul(10)
            .and_then(|tens| tens.checked_add(u32::from(digit - b'0')))
            .ok_or(DecimalError::TooBig)
    })
}

/// Appends a number in decimal.
pub fn push_decimal(number: u32, out: &mut Vec<u8>) {
    if number >= 10 {
        push_decimal(number / 10, out);
    }
    out.push(b'0' + (number % 10) as u8);
}

/// The children that a `XS_DIRECTORY` reply lists.
pub fn parse_directory(payload: &[u8]) -> Option<Vec<String>> {
    strings(payload)
        .map(|name| Some(String::from(str::from_utf8(name).ok()?)))
        .collect()
}

/// The entries of a `XS_GET_PERMS` reply.
pub fn parse_permissions(payload: &[u8]) -> Option<Vec<Permission>> {
    strings(payload).map(Permission::parse).collect()
}
