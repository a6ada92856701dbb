//! What is wrong with a file, and where.

use std::fmt;
use std::ops::Range;

/// A mistake in a pipeline's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The bytes of the file that it is about.
    pub at: Range<usize>,
    /// What is wrong and what would be right, in one line.
    pub message: String,
}

impl Problem {
    /// A mistake at these bytes.
    pub fn new(at: &Range<usize>, message: impl fmt::Display) -> Self {
        Self {
            at: at.clone(),
            message: printable(&message.to_string()),
        }
    }
}

/// What a file may say is shown on a terminal: no line ends, no control characters.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// The text of a file, to tell where in it something stands.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// How messages call the file.
    pub name: &'a str,
    /// All of it.
    pub text: &'a str,
}

impl Source<'_> {
    /// The line and the column of a byte, both from 1, columns in characters.
    pub fn place(&self, offset: usize) -> (usize, usize) {
        let before = match self.text.get(..offset) {
            Some(before) => before,
            None => self.text,
        };
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        (line, before[line_start..].chars().count() + 1)
    }

    /// `FILE:LINE:COLUMN: what is wrong`.
    pub fn tell(&self, problem: &Problem) -> String {
        let (line, column) = self.place(problem.at.start);
        format!("{}:{line}:{column}: {}", self.name, problem.message)
    }

    /// All of them in the order of the file, a line each.
    pub fn tell_all(&self, problems: &[Problem]) -> String {
        let mut sorted: Vec<&Problem> = problems.iter().collect();
        sorted.sort_by_key(|problem| problem.at.start);
        let lines: Vec<String> = sorted.iter().map(|problem| self.tell(problem)).collect();
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one_and_in_characters() {
        let source = Source {
            name: "p.toml",
            text: "a = 1\nä = 2\n",
        };
        assert_eq!(source.place(0), (1, 1));
        assert_eq!(source.place(6), (2, 1));
        assert_eq!(source.place(9), (2, 3), "ä is one column");
        assert_eq!(source.place(7), (3, 1), "no character begins there");
        assert_eq!(source.place(1000), (3, 1));
    }

    #[test]
    fn problems_are_told_in_the_order_of_the_file_and_cannot_draw_on_a_terminal() {
        let source = Source {
            name: "p.toml",
            text: "a = 1\nb = 2\n",
        };
        let problems = [
            Problem::new(&(6..7), "second"),
            Problem::new(&(0..1), "first \x1b[31m\n"),
        ];
        assert_eq!(
            source.tell_all(&problems),
            "p.toml:1:1: first \u{fffd}[31m\u{fffd}\np.toml:2:1: second"
        );
    }
}
