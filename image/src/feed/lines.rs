//! Lines out of bytes as they come. Pure.

/// The longest line, in bytes; what is longer is passed over to its end and counted as one that cannot be read.
pub const LONGEST: usize = 64 << 10;

/// Cuts bytes into lines, which end with LF or CRLF.
#[derive(Debug, Default)]
pub struct Lines {
    /// The beginning of a line.
    begun: Vec<u8>,
    /// The line is too long, and what was of it is forgotten.
    too_long: bool,
    /// Lines that have ended.
    number: u64,
}

/// A line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// Its number, from 1.
    pub number: u64,
    /// What it says, without its end; nothing if it was too long.
    pub text: Option<&'a [u8]>,
}

impl Lines {
    /// Takes what came; `each` gets the lines that end in it.
    pub fn take(&mut self, mut bytes: &[u8], mut each: impl FnMut(Line<'_>)) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.add(&bytes[..end]);
            self.end(&mut each);
            bytes = &bytes[end + 1..];
        }
        self.add(bytes);
    }

    /// No more comes: what has no end is a line too.
    pub fn finish(&mut self, mut each: impl FnMut(Line<'_>)) {
        if self.too_long || !self.begun.is_empty() {
            self.end(&mut each);
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        if self.too_long || self.begun.len() + bytes.len() > LONGEST {
            self.too_long = true;
            self.begun.clear();
        } else {
            self.begun.extend_from_slice(bytes);
        }
    }

    fn end(&mut self, each: &mut impl FnMut(Line<'_>)) {
        self.number += 1;
        let text = self.begun.strip_suffix(b"\r").unwrap_or(&self.begun);
        each(Line {
            number: self.number,
            text: (!self.too_long).then_some(text),
        });
        self.begun.clear();
        self.too_long = false;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(pieces: &[&[u8]]) -> Vec<(u64, Option<Vec<u8>>)> {
        let mut found = Vec::new();
        let mut lines = Lines::default();
        let mut each = |line: Line<'_>| found.push((line.number, line.text.map(<[u8]>::to_vec)));
        for piece in pieces {
            lines.take(piece, &mut each);
        }
        lines.finish(&mut each);
        found
    }

    #[test]
    fn lines_end_as_they_do_anywhere_and_the_last_need_not() {
        let found = cut(&[b"a\r\n\nb", b"c\nd"]);
        let texts: Vec<Vec<u8>> = found.into_iter().filter_map(|(_, text)| text).collect();
        assert_eq!(
            texts,
            [b"a".to_vec(), b"".to_vec(), b"bc".to_vec(), b"d".to_vec()]
        );
    }

    #[test]
    fn one_that_is_too_long_is_told_and_the_next_is_read() {
        let long = vec![b'x'; LONGEST - 1];
        let found = cut(&[&long, b"xy", &long, b"\n7\n", &long, b"x\n"]);
        assert_eq!((found[0].0, &found[0].1), (1, &None));
        assert_eq!(found[1], (2, Some(b"7".to_vec())));
        assert_eq!(found[2].1.as_ref().map(Vec::len), Some(LONGEST));
    }

    proptest! {
        #[test]
        fn it_does_not_matter_in_which_pieces_they_come(text in "[ab\r\n]{0,40}", at in 0usize..40) {
            let at = at.min(text.len());
            let (one, other) = text.as_bytes().split_at(at);
            prop_assert_eq!(cut(&[one, other]), cut(&[text.as_bytes()]));
        }
    }
}
