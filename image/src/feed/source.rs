//! Where readings come from, whatever it is.

use std::fmt::Display;
use std::time::SystemTime;

use stage::Timestamp;

use super::bytes::{Bytes, Piece};
use super::format::{BadLine, Parser, Sink};
use super::lines::{Line, Lines};
use super::sensors::Sensors;
use crate::output;

/// How many mistakes are told one by one.
const TOLD: u64 = 5;

/// Bytes that are taken at a time.
const PIECE: usize = 64 << 10;

/// Mistakes: counted, and the first ones told.
#[derive(Debug, Default)]
pub struct Bad(u64);

impl Bad {
    /// One more.
    pub fn note(&mut self, place: impl Display, why: impl Display) {
        self.0 += 1;
        if self.0 <= TOLD {
            output::tell(format_args!("{place}: {why}; passed over"));
        }
        if self.0 == TOLD {
            output::tell("further mistakes are counted and not told");
        }
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.0
    }
}

/// The time by the clock of this machine.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let nanos = since.map_or(0, |since| since.as_nanos());
    Timestamp::from_nanos(i64::try_from(nanos).unwrap_or(i64::MAX))
}

/// A source.
#[derive(Debug)]
pub enum Source {
    /// Lines, as they come.
    Lines {
        /// Their bytes.
        bytes: Bytes,
        /// What is cut from them.
        lines: Lines,
        /// What they say.
        parser: Parser,
        /// Room for what is read.
        piece: Vec<u8>,
    },
    /// Sensors, asked now and then.
    Sensors(Sensors),
}

impl Source {
    /// Lines of these bytes, read by `parser`.
    pub fn lines(bytes: Bytes, parser: Parser) -> Self {
        Self::Lines {
            bytes,
            lines: Lines::default(),
            parser,
            piece: vec![0; PIECE],
        }
    }

    /// Waits until there is something to take.
    pub async fn ready(&mut self) {
        match self {
            Self::Lines { bytes, .. } => bytes.ready().await,
            Self::Sensors(sensors) => sensors.ready().await,
        }
    }

    /// Gives what is there to `emit`; whether more will come.
    pub fn take(&mut self, bad: &mut Bad, emit: Sink<'_>) -> Result<bool, String> {
        match self {
            Self::Sensors(sensors) => Ok(sensors.take(now(), bad, emit)),
            Self::Lines {
                bytes,
                lines,
                parser,
                piece,
            } => {
                let mut each = |line: Line<'_>| {
                    let read = match line.text {
                        Some(text) => parser.line(text, now(), emit),
                        None => Err(BadLine::TooLong),
                    };
                    if let Err(error) = read {
                        bad.note(format_args!("line {}", line.number), error);
                    }
                };
                match bytes
                    .read(piece)
                    .map_err(|error| format!("cannot read: {error}"))?
                {
                    Piece::Bytes(count) => lines.take(&piece[..count], each),
                    Piece::Anew => {
                        lines.finish(&mut each);
                        *lines = Lines::default();
                        parser.begin_anew();
                    }
                    Piece::End => {
                        lines.finish(&mut each);
                        return Ok(false);
                    }
                }
                Ok(true)
            }
        }
    }
}
