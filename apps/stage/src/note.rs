//! The ELF note `Grantflow`: what an image takes, readable without booting it.
//!
//! A standard ELF note (gABI, "Note Section") in section `.note.Grantflow`: three little-endian
//! words (length of the name with its NUL, length of the descriptor, type 1), the name `Grantflow`
//! padded to 4 bytes, the descriptor padded to 4 bytes. The descriptor is UTF-8 text; each line ends
//! with a newline, its fields are divided by tabs:
//!
//! ```text
//! grantflow  1
//! app        NAME  ABOUT
//! param      NAME  KIND  DEFAULT  UNIT  HELP
//! edge       in|out  COUNT  HELP
//! ```
//!
//! KIND is a word of [`Kind::word`](crate::Kind::word), `choice` being followed by `:` and its words
//! with `|` between; COUNT is `1`, `0..1`, `1..` or `0..`; DEFAULT and UNIT may be empty. The common
//! parameters are listed too. Later versions may add kinds of lines and fields at the end of a line;
//! a reader passes over what it does not know.
//!
//! An image emits it at compile time:
//!
//! ```text
//! #[unsafe(link_section = ".note.Grantflow")]
//! #[used]
//! static NOTE: Note<{ note::length::<Sensor>() }> = note::encode::<Sensor, _>();
//! ```

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::function::Stage;
use crate::params::{COMMON, Count, Direction, EdgeKind, Kind, NETWORK, Parameter, family};

/// The name of the note.
pub const NAME: &str = "Grantflow";

/// The type of the note.
pub const TYPE: u32 = 1;

/// Name and NUL, padded to 4 bytes.
const PADDED_NAME: usize = (NAME.len() + 1).next_multiple_of(4);

/// The length of the three words and the name.
const HEADER: usize = 12 + PADDED_NAME;

/// The note, aligned as the ELF format asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(4))]
pub struct Note<const N: usize>(pub [u8; N]);

/// The length of the note of `S`, in bytes.
pub const fn length<S: Stage>() -> usize {
    let (_, length) = describe::<S, 0>([]);
    HEADER + length.next_multiple_of(4)
}

/// The note of `S`; `N` is its [`length`]. Ends the compilation if a text holds a tab or a newline.
pub const fn encode<S: Stage, const N: usize>() -> Note<N> {
    let (mut bytes, length) = describe::<S, N>([0; N]);
    let mut words = [0; 12];
    copy_word(&mut words, 0, NAME.len() as u32 + 1);
    copy_word(&mut words, 4, length as u32);
    copy_word(&mut words, 8, TYPE);
    let mut at = 0;
    while at < words.len() {
        bytes[at] = words[at];
        at += 1;
    }
    while at < words.len() + NAME.len() {
        bytes[at] = NAME.as_bytes()[at - words.len()];
        at += 1;
    }
    Note(bytes)
}

const fn copy_word(words: &mut [u8; 12], at: usize, word: u32) {
    let bytes = word.to_le_bytes();
    let mut index = 0;
    while index < bytes.len() {
        words[at + index] = bytes[index];
        index += 1;
    }
}

/// Writes the descriptor behind the header as far as `bytes` reaches, and measures it.
const fn describe<S: Stage, const N: usize>(bytes: [u8; N]) -> ([u8; N], usize) {
    let mut text = Text { bytes, length: 0 };
    text.line(&["grantflow", "1"]);
    text.line(&["app", S::NAME, S::ABOUT]);
    text.parameters(COMMON);
    if S::NETWORK {
        text.parameters(NETWORK);
    }
    text.parameters(S::PARAMETERS);
    text.edges(S::EDGES);
    (text.bytes, text.length)
}

struct Text<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Text<N> {
    const fn byte(&mut self, byte: u8) {
        let at = HEADER + self.length;
        if at < N {
            self.bytes[at] = byte;
        }
        self.length += 1;
    }

    const fn field(&mut self, text: &str) {
        let mut index = 0;
        while index < text.len() {
            let byte = text.as_bytes()[index];
            assert!(
                byte != b'\t' && byte != b'\n',
                "a tab or newline in a text of the note"
            );
            self.byte(byte);
            index += 1;
        }
    }

    const fn line(&mut self, fields: &[&str]) {
        let mut index = 0;
        while index < fields.len() {
            if index > 0 {
                self.byte(b'\t');
            }
            self.field(fields[index]);
            index += 1;
        }
        self.byte(b'\n');
    }

    const fn parameters(&mut self, parameters: &[Parameter]) {
        let mut index = 0;
        while index < parameters.len() {
            let parameter = &parameters[index];
            self.field("param");
            self.byte(b'\t');
            self.field(parameter.name);
            self.byte(b'\t');
            self.kind(&parameter.kind);
            self.byte(b'\t');
            self.line(&[parameter.default, parameter.unit, parameter.help]);
            index += 1;
        }
    }

    const fn kind(&mut self, kind: &Kind) {
        self.field(kind.word());
        if let Kind::Choice(words) = kind {
            let mut index = 0;
            while index < words.len() {
                self.byte(if index == 0 { b':' } else { b'|' });
                self.field(words[index]);
                index += 1;
            }
        }
    }

    const fn edges(&mut self, edges: &[EdgeKind]) {
        let mut index = 0;
        while index < edges.len() {
            let edge = &edges[index];
            let direction = match edge.direction {
                Direction::In => "in",
                Direction::Out => "out",
            };
            self.line(&["edge", direction, edge.count.word(), edge.help]);
            index += 1;
        }
    }
}

/// A note read back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Description {
    /// The name of the app.
    pub app: String,
    /// What it does.
    pub about: String,
    /// Its parameters, the common ones first.
    pub parameters: Vec<ParameterLine>,
    /// Its kinds of edges.
    pub edges: Vec<EdgeLine>,
}

/// A `param` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterLine {
    /// Its key, or a family such as `name.COL`.
    pub name: String,
    /// The word of its kind, with the words of a choice.
    pub kind: String,
    /// Its default; empty for none.
    pub default: String,
    /// Its unit; empty for none.
    pub unit: String,
    /// What it does.
    pub help: String,
}

impl ParameterLine {
    /// What keys of a family begin with (`name.` for `name.COL`); `None` for a single key.
    pub fn family(&self) -> Option<&str> {
        family(&self.name)
    }

    /// Whether this is the parameter of `key`.
    pub fn matches(&self, key: &str) -> bool {
        match self.family() {
            Some(prefix) => key.len() > prefix.len() && key.starts_with(prefix),
            None => key == self.name,
        }
    }

    /// Whether `value` is of its kind; what it should be, if not. A kind that only a later version knows takes anything.
    pub fn check(&self, value: &str) -> Result<(), String> {
        if let Some(words) = self.choices() {
            let expected = || words.clone().collect::<Vec<_>>().join(", ");
            return match words.clone().any(|word| word == value) {
                true => Ok(()),
                false => Err(format!("one of {}", expected())),
            };
        }
        match Kind::named(&self.kind) {
            Some(kind) if !kind.check()(&[], value) => Err(kind.expected()),
            _ => Ok(()),
        }
    }

    /// The words of a choice.
    pub fn choices(&self) -> Option<impl Iterator<Item = &str> + Clone> {
        self.kind
            .strip_prefix("choice:")
            .map(|words| words.split('|'))
    }
}

impl EdgeLine {
    /// Whether an app may have `edges` edges of this kind.
    pub fn admits(&self, edges: usize) -> bool {
        match Count::named(&self.count) {
            Some(count) => count.admits(edges),
            None => true,
        }
    }
}

/// An `edge` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdgeLine {
    /// Which end the app is.
    pub direction: Direction,
    /// How many it takes: `1`, `0..1`, `1..` or `0..`.
    pub count: String,
    /// What they carry.
    pub help: String,
}

/// Why a note cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// There is no note `Grantflow` of type 1 in the section.
    #[error("no note Grantflow of type 1; is this an image of grantflow?")]
    Absent,
    /// The lengths do not fit the section.
    #[error("the note is cut short")]
    Cut,
    /// The descriptor is not UTF-8.
    #[error("the note is not UTF-8 text")]
    NotText,
    /// The descriptor does not begin with a version this tool knows.
    #[error("the note is of another version; rebuild the image, or use a newer tool")]
    Version,
    /// A line lacks fields, or holds a word that stands for nothing.
    #[error("line {line} of the note is malformed")]
    Line {
        /// The line, the first being 1.
        line: usize,
    },
}

/// Finds and reads the note in the bytes of a note section (`.note.Grantflow`, or one with several
/// notes).
pub fn parse(section: &[u8]) -> Result<Description, NoteError> {
    let mut rest = section;
    while !rest.is_empty() {
        let name_length = word(rest, 0)?;
        let length = word(rest, 4)?;
        let kind = word(rest, 8)?;
        let body = &rest[12..];
        let (name, body) = split_padded(body, name_length)?;
        let (descriptor, after) = split_padded(body, length)?;
        if name.strip_suffix(b"\0") == Some(NAME.as_bytes()) && kind == TYPE {
            return parse_descriptor(descriptor);
        }
        rest = after;
    }
    Err(NoteError::Absent)
}

fn word(bytes: &[u8], at: usize) -> Result<u32, NoteError> {
    let bytes = bytes.get(at..at + 4).ok_or(NoteError::Cut)?;
    Ok(u32::from_le_bytes(
        bytes.try_into().map_err(|_| NoteError::Cut)?,
    ))
}

/// The first `length` bytes, and what follows their padding (which the end may lack).
fn split_padded(bytes: &[u8], length: u32) -> Result<(&[u8], &[u8]), NoteError> {
    let length = usize::try_from(length).map_err(|_| NoteError::Cut)?;
    let (field, _) = bytes.split_at_checked(length).ok_or(NoteError::Cut)?;
    let padded = length.checked_next_multiple_of(4).ok_or(NoteError::Cut)?;
    Ok((field, bytes.get(padded..).unwrap_or_default()))
}

fn parse_descriptor(descriptor: &[u8]) -> Result<Description, NoteError> {
    let text = core::str::from_utf8(descriptor).map_err(|_| NoteError::NotText)?;
    let mut lines = text.lines().enumerate();
    if lines.next().map(|(_, line)| line) != Some("grantflow\t1") {
        return Err(NoteError::Version);
    }
    let mut description = Description::default();
    for (index, line) in lines {
        read_line(line, &mut description).ok_or(NoteError::Line { line: index + 1 })?;
    }
    Ok(description)
}

fn read_line(line: &str, description: &mut Description) -> Option<()> {
    let mut fields = line.split('\t');
    let mut field = move || fields.next().map(ToOwned::to_owned);
    match field()?.as_str() {
        "app" => (description.app, description.about) = (field()?, field()?),
        "param" => description.parameters.push(ParameterLine {
            name: field()?,
            kind: field()?,
            default: field()?,
            unit: field()?,
            help: field()?,
        }),
        "edge" => description.edges.push(EdgeLine {
            direction: match field()?.as_str() {
                "in" => Direction::In,
                "out" => Direction::Out,
                _ => return None,
            },
            count: field()?,
            help: field()?,
        }),
        _ => {}
    }
    Some(())
}

#[cfg(test)]
mod tests;
