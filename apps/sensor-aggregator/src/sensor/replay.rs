//! Replaying a recorded CSV file.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use stage::decimal;
use stage::params::{ParamError, ParamProblem};
use stage::senml::{is_name, unit};
use stage::time::StampError;
use stage::{DropCause, Next, Outputs, Params, Reading, SetupError, Timestamp, Value, Verdict};

use super::pace::Pace;
use crate::csv::{self, Row, Rows};

/// How many bad rows are told one by one; after that, only their number at the end.
const TOLD: u64 = 10;

/// A value column.
#[derive(Debug)]
pub(super) struct Column {
    /// Its header; empty without one.
    header: String,
    pub(super) name: String,
    pub(super) unit: String,
}

/// A file being replayed.
#[derive(Debug)]
pub(super) struct Replay {
    rows: Rows<'static>,
    /// Which field holds the stamp.
    time_field: usize,
    columns: Vec<Column>,
    /// The values of the row that waits for its time.
    values: Vec<Option<f64>>,
    waiting: Option<Timestamp>,
    pace: Pace,
    rows_read: u64,
    rows_bad: u64,
}

/// What is wrong with a row.
#[derive(Debug, Clone, Copy, PartialEq)]
enum RowError {
    Quotes,
    Fields { found: usize, expected: usize },
    Stamp(StampError),
    Value { column: usize },
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quotes => f.write_str("wrong quotes"),
            Self::Fields { found, expected } => write!(f, "{found} fields, not {expected}"),
            Self::Stamp(error) => write!(f, "the time is {error}"),
            Self::Value { column } => write!(f, "value column {column} is not a number"),
        }
    }
}

impl Replay {
    pub(super) fn new(data: &'static [u8], params: &Params<'_>) -> Result<Self, SetupError> {
        let layout = Layout::find(data, params.text("time"))?;
        let mut columns = layout.columns;
        name_columns(&mut columns, params)?;
        let values = columns.iter().map(|_| None).collect();
        let mut replay = Self {
            rows: layout.rows,
            time_field: layout.time_field,
            columns,
            values,
            waiting: None,
            pace: Pace::new(params)?,
            rows_read: 0,
            rows_bad: 0,
        };
        replay.require_a_good_row()?;
        Ok(replay)
    }

    /// Looks ahead for one row that can be used; the replay itself still begins with the first row.
    fn require_a_good_row(&mut self) -> Result<(), SetupError> {
        let mut first_error = None;
        let mut rows = 0;
        for row in self.rows.clone() {
            let line = row.as_ref().map_or_else(|error| error.line, |row| row.line);
            match row
                .map_err(|_| RowError::Quotes)
                .and_then(|row| self.parse(&row))
            {
                Ok(_) => return Ok(()),
                Err(error) => drop(first_error.get_or_insert((line, error))),
            }
            rows += 1;
        }
        Err(SetupError::Function(match first_error {
            Some((line, error)) => {
                format!("data.csv: none of its {rows} rows can be used; line {line}: {error}")
            }
            None => "data.csv: it holds no rows; give a CSV file as ramdisk=".into(),
        }))
    }

    pub(super) fn poll(&mut self, now: Duration, out: &mut Outputs) -> Next {
        let Some(time) = self.waiting.take().or_else(|| self.next_good_row(out)) else {
            log::info!(
                "data.csv: {} rows replayed, {} skipped",
                self.rows_read - self.rows_bad,
                self.rows_bad
            );
            return Next::Done;
        };
        let due = self.pace.due(now, time);
        if due > now {
            self.waiting = Some(time);
            return Next::At(due);
        }
        self.emit(time, out);
        Next::Now
    }

    fn emit(&mut self, time: Timestamp, out: &mut Outputs) {
        for (column, value) in self.columns.iter().zip(&self.values) {
            let verdict = match value {
                Some(value) => out.emit(&Reading {
                    name: &column.name,
                    unit: &column.unit,
                    time,
                    value: Value::Number(*value),
                }),
                None => Verdict::Dropped(DropCause::Empty),
            };
            out.count(verdict);
        }
        self.pace.advance(self.columns.len());
    }

    /// The stamp of the next row that can be used, its values in `values`.
    fn next_good_row(&mut self, out: &mut Outputs) -> Option<Timestamp> {
        loop {
            let row = self.rows.next()?;
            self.rows_read += 1;
            let line = row.as_ref().map_or_else(|error| error.line, |row| row.line);
            match row
                .map_err(|_| RowError::Quotes)
                .and_then(|row| self.parse(&row))
            {
                Ok(time) => return Some(time),
                Err(error) => self.skip(line, error, out),
            }
        }
    }

    fn skip(&mut self, line: u32, error: RowError, out: &mut Outputs) {
        self.rows_bad += 1;
        if self.rows_bad <= TOLD {
            log::warn!("data.csv line {line}: {error}; row skipped");
        }
        for _ in &self.columns {
            out.count(Verdict::Dropped(DropCause::Malformed));
        }
    }

    fn parse(&mut self, row: &Row<'_>) -> Result<Timestamp, RowError> {
        let mut time = None;
        let mut found = 0;
        let mut column = 0;
        for (index, field) in row.fields().enumerate() {
            found += 1;
            let field = field.trim_ascii();
            if index == self.time_field {
                time = Some(Timestamp::parse(field).map_err(RowError::Stamp)?);
                continue;
            }
            column += 1;
            if let Some(value) = self.values.get_mut(column - 1) {
                *value = number(field).map_err(|()| RowError::Value { column })?;
            }
        }
        let expected = self.columns.len() + 1;
        match time {
            Some(time) if found == expected => Ok(time),
            _ => Err(RowError::Fields { found, expected }),
        }
    }
}

/// A number, or nothing for an empty field.
fn number(field: &[u8]) -> Result<Option<f64>, ()> {
    if field.is_empty() {
        return Ok(None);
    }
    decimal::parse(field).map(Some).ok_or(())
}

/// Which column is what, and where the rows begin.
struct Layout {
    rows: Rows<'static>,
    time_field: usize,
    columns: Vec<Column>,
}

impl Layout {
    fn find(data: &'static [u8], time_header: Option<&str>) -> Result<Self, SetupError> {
        let refused = |text: String| Err(SetupError::Function(text));
        let mut rows = Rows::new(data);
        let whole = rows.clone();
        let first = match rows.next() {
            Some(Ok(first)) => first,
            Some(Err(error)) => {
                return refused(format!(
                    "data.csv line {}: wrong quotes in the header",
                    error.line
                ));
            }
            None => return refused("data.csv: empty; give a CSV file as ramdisk=".into()),
        };
        let has_header = stamp_field(&first).is_none();
        if !has_header {
            rows = whole;
        }
        let headers: Vec<String> = first
            .fields()
            .map(|field| csv::text(field.trim_ascii()))
            .collect();
        let named = time_header.map(|name| headers.iter().position(|h| has_header && h == name));
        let time_field = match named {
            Some(None) => {
                let name = time_header.unwrap_or_default();
                return Err(ParamError::bad("time", name, "the header of a column").into());
            }
            Some(Some(index)) => index,
            None => match rows.clone().flatten().find_map(|row| stamp_field(&row)) {
                Some(index) if index < headers.len() => index,
                _ if rows.clone().next().is_none() => {
                    return refused("data.csv: it holds a header and no rows".into());
                }
                _ => {
                    return refused(format!(
                        "data.csv: no time column: no field of any row is an RFC 3339 stamp; columns: {}",
                        headers.join(", ")
                    ));
                }
            },
        };
        let value_headers = headers
            .into_iter()
            .enumerate()
            .filter(|(at, _)| *at != time_field);
        let columns: Vec<Column> = value_headers
            .map(|(_, header)| Column {
                header: if has_header { header } else { String::new() },
                name: String::new(),
                unit: String::new(),
            })
            .collect();
        if columns.is_empty() {
            return refused("data.csv: only a time column; it needs one with values".into());
        }
        Ok(Self {
            rows,
            time_field,
            columns,
        })
    }
}

/// The first field that is a stamp.
fn stamp_field(row: &Row<'_>) -> Option<usize> {
    row.fields()
        .position(|field| Timestamp::parse(field.trim_ascii()).is_ok())
}

/// Gives each column its name and unit, from `name.COL=` and `unit.COL=`, or from its header.
fn name_columns(columns: &mut [Column], params: &Params<'_>) -> Result<(), ParamError> {
    for (member, name) in params.family("name.") {
        let column = find_column(columns, "name", member)?;
        check_name(&format!("name.{member}"), name)?;
        if !column.name.is_empty() {
            return Err(ParamProblem::Twice {
                key: format!("name.{member}"),
            }
            .into());
        }
        column.name = name.to_owned();
    }
    for (member, text) in params.family("unit.") {
        let column = find_column(columns, "unit", member)?;
        check_unit(&format!("unit.{member}"), text)?;
        if !column.unit.is_empty() {
            return Err(ParamProblem::Twice {
                key: format!("unit.{member}"),
            }
            .into());
        }
        column.unit = text.to_owned();
    }
    for (index, column) in columns.iter_mut().enumerate() {
        if column.name.is_empty() {
            column.name = default_name(&column.header, index + 1);
        }
    }
    for (index, column) in columns.iter().enumerate() {
        if let Some(other) = columns[..index]
            .iter()
            .position(|other| other.name == column.name)
        {
            let key = format!("name.{}", index + 1);
            let expected = format!("free: value column {} has this name", other + 1);
            return Err(ParamError::bad(&key, &column.name, &expected));
        }
    }
    Ok(())
}

/// Refuses a name that SenML does not allow.
pub(super) fn check_name(key: &str, name: &str) -> Result<(), ParamError> {
    if is_name(name) {
        return Ok(());
    }
    let expected = "a SenML name: A-Z a-z 0-9 - : . / _, the first a letter or digit";
    Err(ParamError::bad(key, name, expected))
}

/// Refuses a unit that is not registered.
pub(super) fn check_unit(key: &str, text: &str) -> Result<(), ParamError> {
    if unit::is_registered(text) {
        return Ok(());
    }
    Err(ParamError::bad(
        key,
        text,
        "a unit registered for SenML (RFC 8428, RFC 8798), as l/s or Cel",
    ))
}

/// The value column that a member of a family names: its number, or else its header.
fn find_column<'c>(
    columns: &'c mut [Column],
    family: &str,
    member: &str,
) -> Result<&'c mut Column, ParamError> {
    let number = member
        .parse::<usize>()
        .ok()
        .filter(|number| (1..=columns.len()).contains(number));
    let index = number
        .map(|number| number - 1)
        .or_else(|| columns.iter().position(|column| column.header == member));
    let known: Vec<&str> = columns
        .iter()
        .map(|column| column.header.as_str())
        .collect();
    let expected = format!(
        "the header of a value column or its number, 1 to {} ({})",
        known.len(),
        known.join(", ")
    );
    match index.and_then(|index| columns.get_mut(index)) {
        Some(column) => Ok(column),
        None => Err(ParamError::bad(
            &format!("{family}.{member}"),
            member,
            &expected,
        )),
    }
}

/// A header made a SenML name.
fn default_name(header: &str, number: usize) -> String {
    let mut name = String::new();
    for c in header.chars().take(64) {
        if c.is_ascii_alphanumeric() || "-:.".contains(c) && !name.is_empty() {
            name.push(c);
        } else if !name.is_empty() && !name.ends_with('_') {
            name.push('_');
        }
    }
    let trimmed = name.trim_end_matches('_');
    if trimmed.is_empty() {
        format!("value-{number}")
    } else {
        trimmed.to_owned()
    }
}
