//! From the text of a file to a [`Pipeline`], or to everything that is wrong with it.

use std::ops::Range;
use std::time::Duration;

use stage::params::{Address, EdgeName, FromParam, MAX_RING, MIN_RING, Size};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{self, Key, MEMORY_MAX, NAME_MAX, Shape, Table};
use super::model::{Broker, Edge, End, Located, Network, Parameter, Pipeline, Restart, Stage};
use super::problem::Problem;
use super::similar::suggest;

/// The longest file, in bytes; a thousand stages take a fifth of it.
pub const FILE_MAX: usize = 1 << 20;

/// Reads a file's `text`; `fallback` is the pipeline's name if it gives none, and should come from the file's name.
pub fn read(text: &str, fallback: &str) -> Result<Pipeline, Vec<Problem>> {
    if text.len() > FILE_MAX {
        let message = format!(
            "the file has {} bytes; a pipeline's has {FILE_MAX} at most",
            text.len()
        );
        return Err(vec![Problem::new(&(0..0), message)]);
    }
    let (root, errors) = DeTable::parse_recoverable(text);
    let mut problems: Vec<Problem> = errors
        .iter()
        .map(|error| Problem::new(&error.span().unwrap_or(0..0), error.message()))
        .collect();
    // What follows would only repeat what a slip of the syntax has brought about.
    if !problems.is_empty() {
        return Err(problems);
    }
    let tables = Tables::split(root.get_ref(), &mut problems);
    let pipeline = tables.pipeline(fallback, &mut problems);
    if problems.is_empty() {
        Ok(pipeline)
    } else {
        Err(problems)
    }
}

/// A value that has the shape its key asks for.
#[derive(Debug, Clone)]
enum Value {
    Text(String),
    Number(u32),
    Flag(bool),
    Parameters(Vec<Parameter>),
}

/// The checked keys of one table.
#[derive(Debug, Default)]
struct Fields {
    /// Where the table stands.
    at: Range<usize>,
    values: Vec<(&'static str, Located<Value>)>,
}

impl Fields {
    fn find(&mut self, name: &str) -> Option<Located<Value>> {
        let place = self.values.iter().position(|(key, _)| *key == name)?;
        Some(self.values.swap_remove(place).1)
    }

    fn text(&mut self, name: &str) -> Option<Located<String>> {
        let Located {
            value: Value::Text(text),
            at,
        } = self.find(name)?
        else {
            return None;
        };
        Some(Located { value: text, at })
    }

    /// A required text; where it is missing that was said, and anything stands in for it.
    fn needed(&mut self, name: &str) -> Located<String> {
        self.text(name).unwrap_or_else(|| Located {
            value: String::new(),
            at: self.at.clone(),
        })
    }

    fn number(&mut self, name: &str) -> Option<Located<u32>> {
        let Located {
            value: Value::Number(number),
            at,
        } = self.find(name)?
        else {
            return None;
        };
        Some(Located { value: number, at })
    }

    fn flag(&mut self, name: &str) -> bool {
        matches!(
            self.find(name),
            Some(Located {
                value: Value::Flag(true),
                ..
            })
        )
    }

    fn parameters(&mut self) -> Vec<Parameter> {
        match self.find("parameters") {
            Some(Located {
                value: Value::Parameters(parameters),
                ..
            }) => parameters,
            _ => Vec::new(),
        }
    }
}

/// All tables of a file, each with the keys that are right in it.
#[derive(Debug, Default)]
struct Tables(Vec<(&'static str, Fields)>);

impl Tables {
    fn split(root: &DeTable<'_>, problems: &mut Vec<Problem>) -> Self {
        let mut tables = Self::default();
        let mut top = Fields::default();
        let before = keys::table("").map_or(&[][..], |table| table.keys);
        for (name, value) in root {
            if let Some(key) = before.iter().find(|key| key.name == name.get_ref()) {
                top.values.extend(field(key, value, problems));
            } else if let Some(table) = keys::table(name.get_ref()) {
                tables.add(table, value, problems);
            } else {
                let known = keys::TABLES
                    .iter()
                    .filter(|table| !table.name.is_empty())
                    .map(|table| table.name);
                let known = known.chain(before.iter().map(|key| key.name));
                let said = format!(
                    "unknown `{}`; {}",
                    name.get_ref(),
                    suggest(name.get_ref(), known)
                );
                problems.push(Problem::new(&name.span(), said));
            }
        }
        tables.0.push(("", top));
        tables
    }

    fn add(
        &mut self,
        table: &'static Table,
        value: &Spanned<DeValue<'_>>,
        problems: &mut Vec<Problem>,
    ) {
        match (value.get_ref(), table.many) {
            (DeValue::Table(content), false) => {
                self.0
                    .push((table.name, fields(table, content, value.span(), problems)));
            }
            (DeValue::Array(elements), true) => {
                for element in elements.iter() {
                    match element.get_ref() {
                        DeValue::Table(content) => {
                            self.0.push((
                                table.name,
                                fields(table, content, element.span(), problems),
                            ));
                        }
                        _ => problems.push(Problem::new(
                            &element.span(),
                            format!("this is no table; write {}", heading(table)),
                        )),
                    }
                }
            }
            _ => problems.push(Problem::new(
                &value.span(),
                format!("`{}` is written {}", table.name, heading(table)),
            )),
        }
    }

    /// Those of a name, in the order of the file.
    fn take(&mut self, name: &str) -> Vec<Fields> {
        let (taken, rest) = std::mem::take(&mut self.0)
            .into_iter()
            .partition(|(table, _)| *table == name);
        self.0 = rest;
        let taken: Vec<(&str, Fields)> = taken;
        taken.into_iter().map(|(_, fields)| fields).collect()
    }

    fn one(&mut self, name: &str) -> Option<Fields> {
        self.take(name).pop()
    }

    fn pipeline(mut self, fallback: &str, problems: &mut Vec<Problem>) -> Pipeline {
        let mut defaults = self.one("defaults").unwrap_or_default();
        let restart = defaults
            .text("restart")
            .and_then(|word| Restart::named(&word.value))
            .unwrap_or_default();
        let memory = defaults.number("memory");
        let host = defaults.text("host");
        let ring = defaults.number("ring").unwrap_or(Located {
            value: stage::params::DEFAULT_RING,
            at: 0..0,
        });
        let log = defaults
            .text("log")
            .map_or_else(|| "info".to_owned(), |level| level.value);
        let stages = self.take("stage").into_iter().map(|mut fields| Stage {
            name: fields.needed("name"),
            app: fields.needed("app"),
            memory: fields.number("memory").or_else(|| memory.clone()),
            restart: fields
                .text("restart")
                .and_then(|word| Restart::named(&word.value))
                .unwrap_or(restart),
            host: fields.text("host").or_else(|| host.clone()),
            data: fields.text("data"),
            secret: fields.text("secret"),
            parameters: fields.parameters(),
        });
        let stages = stages.collect();
        let edges = self
            .take("edge")
            .into_iter()
            .map(|fields| edge(fields, &ring, problems))
            .collect();
        let broker = self.one("broker").map(|mut fields| Broker {
            address: fields.needed("address"),
            secret: fields.text("secret"),
        });
        let mut network = self.one("network").unwrap_or_default();
        let mut network_text = |key: &str, otherwise: &str| {
            network
                .text(key)
                .map_or_else(|| otherwise.to_owned(), |found| found.value)
        };
        let network = Network {
            bridge: network_text("bridge", "xenbr0"),
            ip: network_text("ip", "dhcp"),
        };
        let name = self.one("").and_then(|mut top| top.text("name"));
        Pipeline {
            name: name.unwrap_or_else(|| named_after(fallback, problems)),
            stages,
            edges,
            broker,
            network,
            log,
        }
    }
}

/// A pipeline without a name has the name of its file.
fn named_after(fallback: &str, problems: &mut Vec<Problem>) -> Located<String> {
    if let Err(expected) = text_of(&Shape::Name, fallback) {
        let said = format!(
            "the pipeline has no name, and that of its file, `{fallback}`, is not {expected}; write name = \"...\" first"
        );
        problems.push(Problem::new(&(0..0), said));
    }
    Located {
        value: fallback.to_owned(),
        at: 0..0,
    }
}

fn edge(mut fields: Fields, ring: &Located<u32>, problems: &mut Vec<Problem>) -> Edge {
    let from = fields.needed("from");
    let name = fields.text("name").unwrap_or_else(|| {
        // An end that is missing or malformed was said already.
        if !from.value.is_empty() && EdgeName::new(&from.value).is_none() {
            let said = format!(
                "the edge has no name, and `{}` is not {}; add name = \"...\"",
                from.value,
                expected(&Shape::EdgeName)
            );
            problems.push(Problem::new(&fields.at, said));
        }
        from.clone()
    });
    Edge {
        name,
        to: fields.needed("to").map(End::named),
        from: from.map(End::named),
        ring: fields.number("ring").unwrap_or_else(|| Located {
            value: ring.value,
            at: fields.at.clone(),
        }),
        stale: fields.text("stale").map(|span| span.value),
        feedback: fields.flag("feedback"),
        drop_newest: fields
            .text("policy")
            .is_some_and(|policy| policy.value == keys::DROP_NEWEST),
    }
}

fn heading(table: &Table) -> String {
    if table.many {
        format!("[[{}]]", table.name)
    } else {
        format!("[{}]", table.name)
    }
}

fn fields(
    table: &'static Table,
    content: &DeTable<'_>,
    at: Range<usize>,
    problems: &mut Vec<Problem>,
) -> Fields {
    let mut found = Fields {
        at,
        values: Vec::new(),
    };
    for (name, value) in content {
        match table.keys.iter().find(|key| key.name == name.get_ref()) {
            Some(key) => found.values.extend(field(key, value, problems)),
            None => {
                let mut hint = suggest(name.get_ref(), table.keys.iter().map(|key| key.name));
                if table.name == "stage" && hint.starts_with("there are") {
                    hint = "what the image is told stands in [stage.parameters]".to_owned();
                }
                let said = format!(
                    "unknown key `{}` in {}; {hint}",
                    name.get_ref(),
                    heading(table)
                );
                problems.push(Problem::new(&name.span(), said));
            }
        }
    }
    for key in table
        .keys
        .iter()
        .filter(|key| key.required && !content.contains_key(key.name))
    {
        let said = format!("{} has no `{}`: {}", heading(table), key.name, key.help);
        problems.push(Problem::new(&found.at, said));
    }
    found
}

fn field(
    key: &Key,
    value: &Spanned<DeValue<'_>>,
    problems: &mut Vec<Problem>,
) -> Option<(&'static str, Located<Value>)> {
    let at = value.span();
    let read = match (&key.shape, value.get_ref()) {
        (Shape::Flag, DeValue::Boolean(flag)) => Ok(Value::Flag(*flag)),
        (Shape::Parameters, DeValue::Table(table)) => {
            let mut parameters = Vec::new();
            flatten("", table, &mut parameters, problems);
            Ok(Value::Parameters(parameters))
        }
        (Shape::Mebibytes | Shape::Ring, DeValue::Integer(number)) => {
            let number =
                u64::from_str_radix(&number.as_str().replace('_', ""), number.radix()).ok();
            number
                .and_then(|number| within(&key.shape, number))
                .map(Value::Number)
                .ok_or_else(|| expected(&key.shape))
        }
        (Shape::Ring, DeValue::String(text)) => {
            let size = Size::from_param(text).and_then(|size| within(&key.shape, size.0));
            size.map(Value::Number).ok_or_else(|| expected(&key.shape))
        }
        (Shape::Flag | Shape::Parameters | Shape::Mebibytes | Shape::Ring, _) => {
            Err(expected(&key.shape))
        }
        (shape, DeValue::String(text)) => text_of(shape, text).map(Value::Text),
        (shape, _) => Err(expected(shape)),
    };
    match read {
        Ok(value) => Some((key.name, Located { value, at })),
        Err(expected) => {
            problems.push(Problem::new(
                &at,
                format!("`{}` is not {expected}", key.name),
            ));
            None
        }
    }
}

fn within(shape: &Shape, number: u64) -> Option<u32> {
    let range = match shape {
        Shape::Ring => MIN_RING..=MAX_RING,
        _ => 1..=MEMORY_MAX,
    };
    u32::try_from(number)
        .ok()
        .filter(|number| range.contains(number))
}

/// The text, if it has the shape; what it should be otherwise.
fn text_of(shape: &Shape, text: &str) -> Result<String, String> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let fits = match shape {
        Shape::Name => {
            (1..=NAME_MAX).contains(&text.len())
                && text.bytes().all(|b| plain(b) || b == b'-')
                && text.starts_with(|c: char| c.is_ascii_lowercase())
        }
        Shape::EdgeName => EdgeName::new(text).is_some(),
        Shape::Bridge => {
            (1..=15).contains(&text.len())
                && text
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        }
        Shape::Address => Address::parse(text, Some(1883)).is_some(),
        Shape::Choice(words) => words.contains(&text),
        Shape::Span => Duration::from_param(text).is_some_and(|span| !span.is_zero()),
        _ => !text.is_empty() && !text.contains(char::is_control),
    };
    if fits {
        Ok(text.to_owned())
    } else {
        Err(expected(shape))
    }
}

/// What a value should be; completes "is not".
pub fn expected(shape: &Shape) -> String {
    match shape {
        Shape::Text => "a text without control characters".to_owned(),
        Shape::Name => format!("a name: 1 to {NAME_MAX} of a-z, 0-9 and -, a letter first"),
        Shape::EdgeName => format!(
            "an edge's name: 1 to {} of a-z, 0-9, _ and -, a letter or digit first",
            EdgeName::MAX
        ),
        Shape::File => "a path".to_owned(),
        Shape::Bridge => "a bridge: 1 to 15 letters, digits, `.`, `_` or `-`".to_owned(),
        Shape::Address => "HOST[:PORT], HOST a name or an IPv4 address".to_owned(),
        Shape::Choice(words) => format!("one of {}", words.join(", ")),
        Shape::Mebibytes => format!("a whole number of MiB from 1 to {MEMORY_MAX}"),
        Shape::Ring => "a size from 1K to 1M, a number of bytes or text such as \"64K\"".to_owned(),
        Shape::Span => format!("{}, and not 0", Duration::EXPECTED),
        Shape::Flag => "true or false".to_owned(),
        Shape::Parameters => "a table; write [stage.parameters]".to_owned(),
    }
}

/// `name.1 = "flow"` is a table in TOML and a key with a dot to an image.
fn flatten(
    prefix: &str,
    table: &DeTable<'_>,
    into: &mut Vec<Parameter>,
    problems: &mut Vec<Problem>,
) {
    for (name, value) in table {
        let key = format!("{prefix}{}", name.get_ref());
        let text = match value.get_ref() {
            DeValue::Table(below) => {
                flatten(&format!("{key}."), below, into, problems);
                continue;
            }
            DeValue::String(text) => text.clone().into_owned(),
            DeValue::Integer(number) if number.radix() == 10 => number.as_str().replace('_', ""),
            DeValue::Float(number) => number.as_str().replace('_', ""),
            DeValue::Boolean(flag) => flag.to_string(),
            DeValue::Datetime(stamp) => stamp.to_string(),
            DeValue::Array(_) | DeValue::Integer(_) => {
                problems.push(Problem::new(
                    &value.span(),
                    format!("`{key}` is not a text, a decimal number, a stamp or a flag"),
                ));
                continue;
            }
        };
        into.push(Parameter {
            key: Located {
                value: key,
                at: name.span(),
            },
            value: Located {
                value: text,
                at: value.span(),
            },
        });
    }
}

#[cfg(test)]
mod tests;
