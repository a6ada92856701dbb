//! Rows of a CSV file (RFC 4180), read where they stand: nothing is copied or allocated.
//!
//! Lines end with LF or CRLF; blank lines and a byte-order mark are passed over. A row whose quotes
//! are wrong is reported, and reading goes on at the next line.

use alloc::string::String;

/// The rows of a file.
#[derive(Debug, Clone)]
pub struct Rows<'a> {
    rest: &'a [u8],
    line: u32,
}

/// One row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row<'a> {
    /// The line it begins on, the first of the file being 1.
    pub line: u32,
    bytes: &'a [u8],
}

/// A row whose quotes are wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Misquoted {
    /// The line it begins on.
    pub line: u32,
}

impl<'a> Rows<'a> {
    /// The rows of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes),
            line: 1,
        }
    }

    /// Passes over line ends that end no row.
    fn skip_blank(&mut self) {
        loop {
            let rest = match self.rest {
                [b'\n', rest @ ..] | [b'\r', b'\n', rest @ ..] => rest,
                _ => return,
            };
            self.rest = rest;
            self.line += 1;
        }
    }

    /// Takes `length` bytes and the line end behind them.
    fn take(&mut self, length: usize) -> &'a [u8] {
        let (row, rest) = self.rest.split_at(length);
        self.rest = match rest {
            [b'\n', rest @ ..] => {
                self.line += 1;
                rest
            }
            _ => rest,
        };
        row.strip_suffix(b"\r").unwrap_or(row)
    }
}

impl<'a> Iterator for Rows<'a> {
    type Item = Result<Row<'a>, Misquoted>;

    fn next(&mut self) -> Option<Self::Item> {
        self.skip_blank();
        if self.rest.is_empty() {
            return None;
        }
        let line = self.line;
        Some(match row_length(self.rest) {
            Some((length, newlines)) => {
                self.line += newlines;
                Ok(Row {
                    line,
                    bytes: self.take(length),
                })
            }
            None => {
                let end = self.rest.iter().position(|b| *b == b'\n');
                self.take(end.unwrap_or(self.rest.len()));
                Err(Misquoted { line })
            }
        })
    }
}

/// The length of the first row without its line end, and the newlines within its quotes; `None` if
/// its quotes are wrong.
fn row_length(bytes: &[u8]) -> Option<(usize, u32)> {
    let (mut at, mut newlines) = (0, 0);
    loop {
        let (_, length, within) = field(&bytes[at..])?;
        at += length;
        newlines += within;
        match bytes.get(at) {
            Some(b',') => at += 1,
            _ => return Some((at, newlines)),
        }
    }
}

/// The first field: its content, its length with quotes, and the newlines in it. The byte after it
/// is a comma, a newline, or none; a carriage return before a newline counts to an unquoted field.
fn field(bytes: &[u8]) -> Option<(&[u8], usize, u32)> {
    let Some(quoted) = bytes.strip_prefix(b"\"") else {
        let end = bytes.iter().position(|b| matches!(b, b',' | b'\n' | b'"'));
        let end = end.unwrap_or(bytes.len());
        return (bytes.get(end) != Some(&b'"')).then_some((&bytes[..end], end, 0));
    };
    let mut close = 0;
    loop {
        close += quoted[close..].iter().position(|b| *b == b'"')?;
        match quoted.get(close + 1) {
            Some(b'"') => close += 2,
            None | Some(b',' | b'\n') => break,
            Some(b'\r') if matches!(quoted.get(close + 2), None | Some(b'\n')) => {
                let newlines = count_newlines(&quoted[..close]);
                return Some((&quoted[..close], close + 3, newlines));
            }
            Some(_) => return None,
        }
    }
    Some((
        &quoted[..close],
        close + 2,
        count_newlines(&quoted[..close]),
    ))
}

fn count_newlines(bytes: &[u8]) -> u32 {
    bytes.iter().map(|b| u32::from(*b == b'\n')).sum()
}

impl<'a> Row<'a> {
    /// Its fields without their outer quotes; a doubled quote within stays doubled.
    pub fn fields(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut rest = Some(self.bytes);
        core::iter::from_fn(move || {
            let bytes = rest?;
            // A row was checked when it was cut.
            let (content, length, _) = field(bytes)?;
            rest = bytes
                .get(length + 1..)
                .filter(|_| bytes.get(length) == Some(&b','));
            Some(content)
        })
    }
}

/// The text of a field, doubled quotes made single; bytes that are no UTF-8 are replaced.
pub fn text(field: &[u8]) -> String {
    let mut text = String::with_capacity(field.len());
    for chunk in field.utf8_chunks() {
        let mut quoted = false;
        for c in chunk.valid().chars() {
            // Of two quotes in a row the second one goes.
            quoted = c == '"' && !quoted;
            if c != '"' || quoted {
                text.push(c);
            }
        }
        if !chunk.invalid().is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    fn read(text: &[u8]) -> Vec<Result<(u32, Vec<String>), u32>> {
        Rows::new(text)
            .map(|row| match row {
                Ok(row) => Ok((row.line, row.fields().map(super::text).collect())),
                Err(error) => Err(error.line),
            })
            .collect()
    }

    fn row(line: u32, fields: &[&str]) -> Result<(u32, Vec<String>), u32> {
        Ok((
            line,
            fields.iter().map(|field| String::from(*field)).collect(),
        ))
    }

    #[test]
    fn rows_and_lines() {
        assert_eq!(
            read(b"a,b\n1,2\r\n\n3,\n,"),
            [
                row(1, &["a", "b"]),
                row(2, &["1", "2"]),
                row(4, &["3", ""]),
                row(5, &["", ""]),
            ]
        );
        assert_eq!(read(b"\xEF\xBB\xBFa"), [row(1, &["a"])]);
        assert_eq!(read(b""), []);
        assert_eq!(read(b"\r\n\n"), []);
    }

    #[test]
    fn quotes() {
        assert_eq!(
            read(b"\"a,\"\"b\"\"\nc\",d\n\"e\"\r\nf,\"\"\n\"g\"\r"),
            [
                row(1, &["a,\"b\"\nc", "d"]),
                row(3, &["e"]),
                row(4, &["f", ""]),
                row(5, &["g"]),
            ]
        );
    }

    #[test]
    fn wrong_quotes_cost_one_line() {
        assert_eq!(
            read(b"a\"b,c\n1,2\n\"x\"y\n3\n\"open\n4,5"),
            [
                Err(1),
                row(2, &["1", "2"]),
                Err(3),
                row(4, &["3"]),
                Err(5),
                row(6, &["4", "5"]),
            ]
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            rows in prop::collection::vec(prop::collection::vec("[a-c,\"\r\n ]{0,6}", 1..5), 0..6),
        ) {
            let quote = |field: &String| std::format!("\"{}\"", field.replace('"', "\"\""));
            let lines: Vec<String> = rows.iter()
                .map(|row| row.iter().map(quote).collect::<Vec<_>>().join(","))
                .collect();
            let back: Vec<Vec<String>> =
                read(lines.join("\r\n").as_bytes()).into_iter().map(|row| row.unwrap().1).collect();
            prop_assert_eq!(back, rows);
        }

        #[test]
        fn any_bytes_are_read_to_their_end(bytes in prop::collection::vec(
            prop::sample::select(vec![b'a', b',', b'"', b'\n', b'\r', 0xFF]), 0..60,
        )) {
            let lines = bytes.iter().filter(|b| **b == b'\n').count() + 1;
            let rows = read(&bytes);
            prop_assert!(rows.len() <= lines);
            for row in rows {
                let line = row.map_or_else(|line| line, |(line, _)| line);
                prop_assert!(usize::try_from(line).unwrap() <= lines);
            }
        }
    }
}
