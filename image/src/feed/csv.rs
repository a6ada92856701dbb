//! Rows of a time and values, as the image `sensor` takes them. Pure.

use stage::senml::{is_name, unit};
use stage::{Reading, Timestamp, Value};

use super::format::{BadLine, Sink};

/// What was said of columns on the command line: by a value column's number from 1, or by its header.
#[derive(Debug, Clone, Default)]
pub struct Columns {
    /// The header of the time's column.
    pub time: Option<String>,
    /// Column (none where the format has but one), and name.
    pub names: Vec<(Option<String>, String)>,
    /// Column, and unit.
    pub units: Vec<(Option<String>, String)>,
}

impl Columns {
    /// `[COLUMN=]TEXT` of a command line.
    pub fn split(text: &str) -> (Option<String>, String) {
        match text.split_once('=') {
            Some((column, text)) => (Some(column.to_owned()), text.to_owned()),
            None => (None, text.to_owned()),
        }
    }

    /// Whether nothing was said.
    pub fn is_empty(&self) -> bool {
        self.time.is_none() && self.names.is_empty() && self.units.is_empty()
    }

    /// Refuses names and units that SenML does not know.
    pub fn check(&self) -> Result<(), String> {
        if let Some((_, name)) = self.names.iter().find(|(_, name)| !is_name(name)) {
            return Err(format!(
                "`{name}` is no SenML name: A-Z a-z 0-9 - : . / _, the first a letter or digit"
            ));
        }
        match self.units.iter().find(|(_, one)| !unit::is_registered(one)) {
            None => Ok(()),
            Some((_, unit)) => Err(format!(
                "`{unit}` is no unit of RFC 8428 or RFC 8798, such as l/s or Cel"
            )),
        }
    }

    /// The name and the unit where there is no column to say them of.
    pub fn only(self) -> Result<(String, String), String> {
        let one = |what: &str, mut all: Vec<(Option<String>, String)>| match (all.pop(), all.len())
        {
            (None, _) => Ok(String::new()),
            (Some((None, text)), 0) => Ok(text),
            _ => Err(format!("numbers have one {what}: --{what} TEXT")),
        };
        if self.time.is_some() {
            return Err("numbers have no column of times: leave --time out".into());
        }
        Ok((one("name", self.names)?, one("unit", self.units)?))
    }

    fn of(list: &[(Option<String>, String)], number: usize, header: &str) -> Option<String> {
        let says =
            |column: &str| !header.is_empty() && column == header || column.parse() == Ok(number);
        let found = list
            .iter()
            .find(|(column, _)| column.as_deref().is_none_or(says));
        found.map(|(_, text)| text.clone())
    }
}

/// Reads rows.
#[derive(Debug)]
pub struct Csv {
    columns: Columns,
    layout: Option<Layout>,
    /// The header, until a row says where the time is.
    header: Vec<String>,
}

/// Which field is what.
#[derive(Debug)]
struct Layout {
    time: usize,
    fields: usize,
    /// Name and unit of each value column.
    series: Vec<(String, String)>,
}

impl Csv {
    /// With what was said of the columns.
    pub fn new(columns: Columns) -> Self {
        Self {
            columns,
            layout: None,
            header: Vec::new(),
        }
    }

    /// The next row may be a header.
    pub fn begin_anew(&mut self) {
        *self = Self::new(std::mem::take(&mut self.columns));
    }

    /// The readings of a row; a header has none.
    pub fn row(&mut self, text: &[u8], emit: Sink<'_>) -> Result<(), BadLine> {
        let fields = fields(text)?;
        let layout = match self.layout.take() {
            Some(layout) => layout,
            None => match self.find_layout(&fields)? {
                Some(layout) => layout,
                None => return Ok(()),
            },
        };
        let layout = self.layout.insert(layout);
        if fields.len() != layout.fields {
            let (found, expected) = (fields.len(), layout.fields);
            return Err(BadLine::Row(format!("{found} fields, not {expected}")));
        }
        let time = stamp(&fields[layout.time]).map_err(BadLine::Row)?;
        let mut values = Vec::new();
        let fields = fields.iter().enumerate();
        for (number, (_, field)) in fields.filter(|(at, _)| *at != layout.time).enumerate() {
            values.push(match field.trim().as_bytes() {
                // Nothing was measured.
                [] => None,
                text => Some(stage::decimal::parse(text).ok_or_else(|| {
                    BadLine::Row(format!("value column {} is not a number", number + 1))
                })?),
            });
        }
        for ((name, unit), value) in layout.series.iter().zip(values) {
            if let Some(value) = value {
                let value = Value::Number(value);
                emit(&Reading {
                    name,
                    unit,
                    time,
                    value,
                })?;
            }
        }
        Ok(())
    }

    /// The layout, once a row says where the time is; until then a first line is a header.
    fn find_layout(&mut self, fields: &[String]) -> Result<Option<Layout>, BadLine> {
        let time = match &self.columns.time {
            Some(named) => self.header.iter().position(|header| header == named),
            None => fields.iter().position(|field| stamp(field).is_ok()),
        };
        let Some(time) = time.filter(|time| *time < fields.len()) else {
            if !self.header.is_empty() {
                return Err(BadLine::Row("no field is a time (RFC 3339)".into()));
            }
            self.header = fields.iter().map(|field| field.trim().to_owned()).collect();
            if let Some(named) = &self.columns.time
                && !self.header.contains(named)
            {
                self.header.clear();
                return Err(BadLine::Row(format!(
                    "no column of this header is `{named}`"
                )));
            }
            return Ok(None);
        };
        let mut series: Vec<(String, String)> = Vec::new();
        for at in (0..fields.len()).filter(|at| *at != time) {
            let number = series.len() + 1;
            let header = self.header.get(at).map_or("", String::as_str);
            let name = Columns::of(&self.columns.names, number, header);
            let unit = Columns::of(&self.columns.units, number, header);
            let mut name = name.unwrap_or_else(|| default_name(header, number));
            if series.iter().any(|(known, _)| *known == name) {
                name = format!("{name}-{number}");
            }
            series.push((name, unit.unwrap_or_default()));
        }
        Ok(Some(Layout {
            time,
            fields: fields.len(),
            series,
        }))
    }
}

/// A header made a SenML name.
fn default_name(header: &str, number: usize) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-:.".contains(c);
    let name: String = header
        .chars()
        .take(64)
        .map(|c| if plain(c) { c } else { '_' })
        .collect();
    let name = name.trim_matches('_');
    if is_name(name) {
        name.to_owned()
    } else {
        format!("value-{number}")
    }
}

fn stamp(field: &str) -> Result<Timestamp, String> {
    Timestamp::parse(field.trim().as_bytes()).map_err(|error| format!("the time is {error}"))
}

/// The fields of one line (RFC 4180); text in quotes ends with the line.
fn fields(line: &[u8]) -> Result<Vec<String>, BadLine> {
    let line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line);
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .buffer_capacity(line.len().max(1))
        .from_reader(line);
    match reader.records().next() {
        Some(Ok(record)) => Ok(record.iter().map(str::to_owned).collect()),
        _ => Err(BadLine::Row("not UTF-8 text".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `NAME=VALUE UNIT` of each reading, or what is wrong with a line.
    fn read(columns: Columns, lines: &[&str]) -> Vec<String> {
        let mut csv = Csv::new(columns);
        let mut found = Vec::new();
        for line in lines {
            let mut of_line = Vec::new();
            let done = csv.row(line.as_bytes(), &mut |reading| {
                let Value::Number(value) = reading.value else {
                    panic!("{reading:?}")
                };
                of_line.push(format!(
                    "{}={value}{} {}",
                    reading.name,
                    reading.unit,
                    reading.time.seconds()
                ));
                Ok(())
            });
            found.extend(of_line);
            found.extend(done.err().map(|error| error.to_string()));
        }
        found
    }

    #[test]
    fn headers_and_options_name_the_series() {
        let columns = Columns {
            names: vec![(Some("2".into()), "wind".into())],
            units: vec![
                (Some("Air temp".into()), "Cel".into()),
                (Some("2".into()), "m/s".into()),
            ],
            ..Columns::default()
        };
        let found = read(
            columns,
            &[
                "when,Air temp,speed",
                "1970-01-02,21.5,3",
                "1970-01-03,,4",
                "1970-01-04T00:00:00Z,1,2",
            ],
        );
        assert_eq!(
            found,
            [
                "Air_temp=21.5Cel 86400",
                "wind=3m/s 86400",
                "wind=4m/s 172800",
                "Air_temp=1Cel 259200",
                "wind=2m/s 259200"
            ]
        );
    }

    #[test]
    fn a_row_is_read_whole_or_not_at_all_and_the_next_one_is() {
        let found = read(
            Columns::default(),
            &[
                "1970-01-02,1,2",
                "1970-01-02,3,x",
                "1970-01-02,3",
                "no time,1,2",
                "\"1970-01-02\",5,6",
            ],
        );
        assert_eq!(
            found,
            [
                "value-1=1 86400",
                "value-2=2 86400",
                "value column 2 is not a number",
                "2 fields, not 3",
                "the time is not an RFC 3339 stamp (2026-01-31T12:00:00+01:00)",
                "value-1=5 86400",
                "value-2=6 86400"
            ]
        );
    }

    #[test]
    fn the_time_is_where_it_was_said_to_be() {
        let columns = Columns {
            time: Some("end".into()),
            ..Columns::default()
        };
        let found = read(columns.clone(), &["v,end", "1,1970-01-02"]);
        assert_eq!(found, ["v=1 86400"]);
        let found = read(columns, &["v,start", "v,end", "1,1970-01-02"]);
        assert_eq!(found, ["no column of this header is `end`", "v=1 86400"]);
        let found = read(Columns::default(), &["a,b", "1,2"]);
        assert_eq!(found, ["no field is a time (RFC 3339)"]);
    }
}
