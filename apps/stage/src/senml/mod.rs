//! Readings on the wire: SenML (RFC 8428) as a CBOR sequence of packs (RFC 8742), and as lines of
//! JSON, which is read back too.
//!
//! What we write uses `bn` for a name where it differs from the record before, `bt` once for the
//! whole second of a pack's first stamp, `t` for what a stamp is past it, and `u` and a value in each
//! record. Stamps are exact: whole seconds as integers, others as decimal fractions (tag 4). Numbers
//! are float32 where that is the same number, else float64. What we read is all of RFC 8428 but the
//! update time (`ut`), which is passed over, and the sum beside a value.
//!
//! Two things are this project's own. The first record of a pack carries the extension field `seq`:
//! how many readings were sent on the edge before this pack. And an empty pack (`0x80`) says *end of
//! stream*.

mod boundary;
mod cbor;
pub mod json;
mod json_pack;
mod number;
mod pack;
mod queue;
mod reading;
mod stream;
pub mod unit;

pub use boundary::FramingError;
pub use json_pack::{JsonError, pack_of_json};
pub use pack::{Pack, PackError, Readings};
pub use queue::{EncodeError, PackQueue, Sealed};
pub use reading::{MAX_NAME, Reading, Value, is_name};
pub use stream::{Item, StreamDecoder, StreamError};

use crate::time::NANOS_PER_SECOND;

/// The longest pack, in bytes.
pub const MAX_PACK: usize = 64 << 10;

/// The end of a stream: an empty pack.
pub const END_OF_STREAM: u8 = 0x80;

/// The extension field of a pack's first record: readings sent on the edge before it.
pub const SEQ: &str = "seq";

/// Stamps below this many seconds are relative to now (RFC 8428, section 4.5.3), so an event before
/// 1978-07-04 cannot be told.
pub const ABSOLUTE_FROM: i64 = 1 << 28;

const ABSOLUTE_FROM_NANOS: i64 = ABSOLUTE_FROM * NANOS_PER_SECOND;

/// Labels of the fields (RFC 8428, section 6, table 4).
mod label {
    pub const BASE_VERSION: i8 = -1;
    pub const BASE_NAME: i8 = -2;
    pub const BASE_TIME: i8 = -3;
    pub const BASE_UNIT: i8 = -4;
    pub const BASE_VALUE: i8 = -5;
    pub const BASE_SUM: i8 = -6;
    pub const NAME: i8 = 0;
    pub const UNIT: i8 = 1;
    pub const VALUE: i8 = 2;
    pub const STRING_VALUE: i8 = 3;
    pub const BOOLEAN_VALUE: i8 = 4;
    pub const SUM: i8 = 5;
    pub const TIME: i8 = 6;
    pub const UPDATE_TIME: i8 = 7;
    pub const DATA_VALUE: i8 = 8;
}

#[cfg(test)]
mod tests;
