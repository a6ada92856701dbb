//! Parameters: what a stage is told at boot, on its command line or in its module.
//!
//! The text is `key=value key="value with spaces"`; a quoted value ends at the next double quote and
//! has no escapes. What a function takes is declared as [`Parameter`]s; what nobody declared, and a
//! value of the wrong kind, is an error that names the key. A declared name with an upper-case
//! placeholder after its last dot, such as `unit.COL`, is a family: any key that begins with `unit.`.

mod address;
mod edge;
mod kind;
mod text;

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

pub use address::Address;
pub(crate) use edge::takes;
pub use edge::{
    Count, DEFAULT_RING, Direction, Edge, EdgeKind, EdgeName, MAX_DOMAIN, MAX_EDGES, MAX_RING,
    MIN_RING, Peer,
};
pub use kind::{FromParam, Kind, Size};

/// The longest command line that Xen hands to a domain, in bytes; `xl` cuts the rest.
pub const COMMAND_LINE_LIMIT: usize = 1023;

/// The description of one parameter.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    /// Its key, or a family such as `name.COL`.
    pub name: &'static str,
    /// What its value looks like.
    pub kind: Kind,
    /// The value when it is not given; empty for none.
    pub default: &'static str,
    /// The unit of its value; empty for none.
    pub unit: &'static str,
    /// What it does, in one line.
    pub help: &'static str,
    check: kind::Check,
}

impl Parameter {
    /// A parameter without a unit; `default` is empty for none.
    pub const fn new(
        name: &'static str,
        kind: Kind,
        default: &'static str,
        help: &'static str,
    ) -> Self {
        Self {
            name,
            kind,
            default,
            unit: "",
            help,
            check: kind.check(),
        }
    }

    /// The same, with a unit.
    pub const fn in_unit(self, unit: &'static str) -> Self {
        Self { unit, ..self }
    }

    /// What keys of a family begin with (`name.` for `name.COL`); `None` for a single key.
    pub fn family(&self) -> Option<&'static str> {
        family(self.name)
    }

    fn matches(&self, key: &str) -> bool {
        match self.family() {
            Some(prefix) => key.len() > prefix.len() && key.starts_with(prefix),
            None => key == self.name,
        }
    }
}

/// What keys of the family `name` begin with, if it is one.
pub(crate) fn family(name: &str) -> Option<&str> {
    let dot = name.bytes().rposition(|b| b == b'.')?;
    let (prefix, placeholder) = name.split_at_checked(dot + 1)?;
    let is_placeholder = placeholder.bytes().all(|b| b.is_ascii_uppercase());
    is_placeholder.then_some(prefix)
}

/// The parameters that every image takes.
pub const COMMON: &[Parameter] = &[
    Parameter::new(
        "stage",
        Kind::Text,
        "",
        "name of this stage in its pipeline",
    ),
    Parameter::new(
        "log",
        Kind::Choice(&["off", "error", "warn", "info", "debug", "trace"]),
        "info",
        "what is logged on the console",
    ),
    Parameter::new(
        "in.EDGE",
        Kind::Edge,
        "",
        "input edge: PEER[,ring=SIZE][,stale=SPAN][,feedback], PEER a domain id or ?",
    ),
    Parameter::new(
        "out.EDGE",
        Kind::Edge,
        "",
        "output edge: PEER[,ring=SIZE][,feedback][,drop=newest], PEER a domain id or ?",
    ),
];

/// What images with a network take beside.
pub const NETWORK: &[Parameter] = &[Parameter::new(
    "ip",
    Kind::Network,
    "dhcp",
    "address: dhcp or A.B.C.D/N[,gw=A.B.C.D][,dns=A.B.C.D]",
)];

/// Parameters that were given, checked against what was declared.
#[derive(Debug, Clone)]
pub struct Params<'a> {
    given: Vec<(&'a str, &'a str)>,
    declared: Vec<&'static Parameter>,
}

impl<'a> Params<'a> {
    /// Reads `text` and checks every key and value against `declared`.
    pub fn parse(
        text: &'a str,
        declared: impl IntoIterator<Item = &'static Parameter>,
    ) -> Result<Self, ParamError> {
        Self::parse_layers(&[text], declared)
    }

    /// As [`parse`](Self::parse), from several texts. A key may stand in more than one: the last
    /// text wins, so the command line comes last.
    pub fn parse_layers(
        texts: &[&'a str],
        declared: impl IntoIterator<Item = &'static Parameter>,
    ) -> Result<Self, ParamError> {
        let mut params = Self {
            given: Vec::new(),
            declared: declared.into_iter().collect(),
        };
        for text in texts {
            params.take_layer(text)?;
        }
        Ok(params)
    }

    fn take_layer(&mut self, text: &'a str) -> Result<(), ParamError> {
        let mut layer: Vec<(&str, &str)> = Vec::new();
        let mut rest = text.trim_ascii_start();
        while !rest.is_empty() {
            let (key, value, after) = text::pair(rest)?;
            self.check(key, value)?;
            if layer.iter().any(|(known, _)| *known == key) {
                return Err(ParamProblem::Twice {
                    key: key.to_owned(),
                }
                .into());
            }
            layer.push((key, value));
            rest = after.trim_ascii_start();
        }
        self.given
            .retain(|(key, _)| !layer.iter().any(|(later, _)| later == key));
        self.given.append(&mut layer);
        Ok(())
    }

    fn check(&self, key: &str, value: &str) -> Result<(), ParamError> {
        let Some(parameter) = self.declared.iter().find(|p| p.matches(key)) else {
            let mut known = String::new();
            for parameter in &self.declared {
                text::list(&mut known, parameter.name);
            }
            return Err(ParamProblem::Unknown {
                key: key.to_owned(),
                known,
            }
            .into());
        };
        if (parameter.check)(parameter.kind.words(), value) {
            Ok(())
        } else {
            Err(ParamError::bad(key, value, &parameter.kind.expected()))
        }
    }

    /// The text of a parameter: as given, or its default.
    pub fn text(&self, key: &str) -> Option<&'a str> {
        let given = self
            .given
            .iter()
            .find(|(known, _)| *known == key)
            .map(|(_, value)| *value);
        given.or_else(|| {
            let default = self.declared.iter().find(|p| p.name == key)?.default;
            (!default.is_empty()).then_some(default)
        })
    }

    /// Whether the key was given, default or no default.
    pub fn is_given(&self, key: &str) -> bool {
        self.given.iter().any(|(known, _)| *known == key)
    }

    /// The value of a parameter, if it was given or has a default.
    pub fn get<T: FromParam<'a>>(&self, key: &str) -> Result<Option<T>, ParamError> {
        self.text(key).map(|text| read(key, text)).transpose()
    }

    /// The value of a parameter that has to be there.
    pub fn require<T: FromParam<'a>>(&self, key: &str) -> Result<T, ParamError> {
        self.get(key)?.ok_or_else(|| {
            let parameter = self.declared.iter().find(|p| p.matches(key));
            let help = parameter.map_or("", |p| p.help);
            let key = key.to_owned();
            ParamProblem::Missing { key, help }.into()
        })
    }

    /// The members of a family, in the order given: what follows the prefix (with its dot), and the
    /// value's text.
    pub fn family(&self, prefix: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.given.iter().filter_map(move |(key, value)| {
            let member = key
                .strip_prefix(prefix)
                .filter(|member| !member.is_empty())?;
            Some((member, *value))
        })
    }

    /// The members of a family as values.
    pub fn family_of<T: FromParam<'a>>(
        &self,
        prefix: &str,
    ) -> Result<Vec<(&'a str, T)>, ParamError> {
        let mut members = Vec::new();
        for (key, value) in &self.given {
            if let Some(member) = key.strip_prefix(prefix)
                && !member.is_empty()
            {
                members.push((member, read(key, value)?));
            }
        }
        Ok(members)
    }

    /// The edges of one direction, in the order given.
    pub fn edges(&self, direction: Direction) -> Result<Vec<Edge>, ParamError> {
        let mut edges = Vec::new();
        for (name, value) in self.family(direction.prefix()) {
            edges.push(Edge::parse(direction, name, value)?);
        }
        Ok(edges)
    }
}

fn read<'a, T: FromParam<'a>>(key: &str, text: &'a str) -> Result<T, ParamError> {
    T::from_param(text).ok_or_else(|| ParamError::bad(key, text, T::EXPECTED))
}

/// Reads the bytes of a command line as far as their first NUL.
pub fn command_line(bytes: &[u8]) -> Result<&str, ParamError> {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    let bytes = &bytes[..end];
    if bytes.len() >= COMMAND_LINE_LIMIT {
        return Err(ParamProblem::Cut.into());
    }
    core::str::from_utf8(bytes).map_err(|_| ParamProblem::NotText.into())
}

/// A parameter that cannot be used; the message is one line. Small, since most functions around
/// parameters hand it on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParamError(Box<ParamProblem>);

/// What is wrong with a parameter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParamProblem {
    /// The command line has the greatest length that arrives, so it may have been cut.
    #[error(
        "the command line is 1023 bytes long, where xl cuts without a word: \
         shorten extra=, or put the parameters into the module (ramdisk=) as the file params"
    )]
    Cut,
    /// The text is not UTF-8.
    #[error("the parameters are not UTF-8 text")]
    NotText,
    /// A word without `=`.
    #[error("{word}: a parameter without a value; write {word}=VALUE")]
    NoValue {
        /// The word.
        word: String,
    },
    /// A value that begins with a quote and has no other.
    #[error("{key}: the quoted value has no closing quote")]
    Unclosed {
        /// The key.
        key: String,
    },
    /// A quote inside a value.
    #[error("{key}: a quote inside the value; quote all of it, as in {key}=\"two words\"")]
    StrayQuote {
        /// The key.
        key: String,
    },
    /// The same key twice.
    #[error("{key}: given twice")]
    Twice {
        /// The key.
        key: String,
    },
    /// A key that nobody declared.
    #[error("{key}: unknown parameter; this image takes {known}")]
    Unknown {
        /// The key.
        key: String,
        /// The names of those it takes.
        known: String,
    },
    /// A value that is not of its parameter's kind, or that the function cannot use.
    #[error("{key}: \"{value}\" is not {expected}")]
    BadValue {
        /// The key.
        key: String,
        /// The value given.
        value: String,
        /// What the value should be.
        expected: String,
    },
    /// A parameter that has to be given.
    #[error("{key}: missing; give {key}=VALUE ({help})")]
    Missing {
        /// The key.
        key: String,
        /// What the parameter is for.
        help: &'static str,
    },
    /// The name of an edge that does not fit.
    #[error("{key}: edge names are 1 to 12 of a-z 0-9 _ -, the first a letter or digit")]
    EdgeName {
        /// The key.
        key: String,
    },
    /// More edges than one stage can wait on.
    #[error("{count} edges; a stage takes at most 120")]
    TooManyEdges {
        /// How many were given.
        count: usize,
    },
    /// More or fewer edges of a direction than the function takes.
    #[error("{direction}.EDGE: {given} given; this image takes {takes}")]
    EdgeCount {
        /// The direction.
        direction: Direction,
        /// How many were given.
        given: usize,
        /// How many it takes.
        takes: &'static str,
    },
}

impl ParamError {
    /// A value that a function cannot use; `expected` completes "is not".
    #[cold]
    pub fn bad(key: &str, value: &str, expected: &str) -> Self {
        ParamProblem::BadValue {
            key: key.to_owned(),
            value: value.to_owned(),
            expected: expected.to_owned(),
        }
        .into()
    }

    /// What is wrong.
    pub fn problem(&self) -> &ParamProblem {
        &self.0
    }
}

impl From<ParamProblem> for ParamError {
    #[cold]
    #[inline(never)]
    fn from(problem: ParamProblem) -> Self {
        Self(Box::new(problem))
    }
}

#[cfg(test)]
mod tests;
