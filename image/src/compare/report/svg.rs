//! SVG as text: elements, escaped. Pure.

use std::fmt::{self, Write as _};

use super::palette;

/// Text for XML, HTML and their attributes. What no page should obey (control characters, overrides of direction) is shown as
/// U+FFFD.
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|char| match char {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            char => f.write_char(plain(char)),
        })
    }
}

/// The character, or U+FFFD for one that steers instead of being seen.
pub fn plain(char: char) -> char {
    match char {
        '\n' | '\t' => char,
        '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}' => '\u{fffd}',
        '\u{fffe}' | '\u{ffff}' => '\u{fffd}',
        char if char.is_control() => '\u{fffd}',
        char => char,
    }
}

/// A picture that grows; coordinates are pixels of its own width.
pub struct Svg {
    width: f64,
    body: String,
}

impl Svg {
    /// An empty one.
    pub fn new(width: f64) -> Self {
        Self {
            width,
            body: String::new(),
        }
    }

    /// A line of text; `class` says where `x` is: at its begin, `mid`, or `end`.
    pub fn text(&mut self, x: f64, y: f64, class: &str, text: &str) {
        let class = classes(class);
        let _ = writeln!(
            self.body,
            "<text x=\"{x:.1}\" y=\"{y:.1}\"{class}>{}</text>",
            Escaped(text)
        );
    }

    /// A straight line.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        let _ = writeln!(
            self.body,
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" class=\"{class}\"/>"
        );
    }

    /// Straight lines from point to point.
    pub fn polyline(&mut self, points: &[(f64, f64)], class: &str, dashes: &str) {
        let mut list = String::new();
        for (x, y) in points {
            let _ = write!(list, "{x:.1},{y:.1} ");
        }
        let dashes = match dashes {
            "" => String::new(),
            dashes => format!(" stroke-dasharray=\"{dashes}\""),
        };
        let list = list.trim_end();
        let _ = writeln!(
            self.body,
            "<polyline points=\"{list}\" class=\"{class}\"{dashes}/>"
        );
    }

    /// A bar.
    pub fn bar(&mut self, x: f64, y: f64, width: f64, height: f64, class: &str) {
        let _ = writeln!(
            self.body,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"2\" class=\"{class}\"/>"
        );
    }

    /// A closed figure around a point, one of six shapes.
    pub fn mark(&mut self, (x, y): (f64, f64), shape: usize, size: f64, class: &str) {
        let corners: &[(f64, f64)] = match shape % 6 {
            0 => {
                let _ = writeln!(
                    self.body,
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{size:.1}\" class=\"{class}\"/>"
                );
                return;
            }
            1 => &[(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
            2 => &[(0.0, -1.2), (1.1, 0.8), (-1.1, 0.8)],
            3 => &[(0.0, -1.3), (1.3, 0.0), (0.0, 1.3), (-1.3, 0.0)],
            4 => &[(-1.1, -0.8), (1.1, -0.8), (0.0, 1.2)],
            _ => &[(-1.2, -0.45), (1.2, -0.45), (1.2, 0.45), (-1.2, 0.45)],
        };
        let mut list = String::new();
        for (dx, dy) in corners {
            let _ = write!(list, "{:.1},{:.1} ", x + dx * size, y + dy * size);
        }
        let list = list.trim_end();
        let _ = writeln!(self.body, "<polygon points=\"{list}\" class=\"{class}\"/>");
    }

    /// The picture, for a page that has [`palette::style`]. `title` is what a reader hears who does not see it.
    pub fn inline(&self, height: f64, title: &str) -> String {
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" viewBox=\"0 0 {:.0} {height:.0}\" role=\"img\" \
             aria-label=\"{}\">\n{}</svg>\n",
            self.width,
            Escaped(title),
            self.body
        )
    }

    /// The picture as a file of its own, with its title above and its set-up below.
    pub fn standalone(&self, height: f64, title: &str, set_up: &str) -> String {
        const EDGE: f64 = 20.0;
        const HEAD: f64 = 44.0;
        let mut words = Self::new(self.width);
        let mut y = 24.0;
        for line in wrapped(title, 16.0, self.width) {
            words.text(0.0, y, "title", &line);
            y += 22.0;
        }
        let chart = y.max(HEAD);
        y = chart + height + 14.0;
        for line in wrapped(set_up, 11.5, self.width) {
            y += 16.0;
            words.text(0.0, y, "quiet", &line);
        }
        let (width, whole) = (self.width + 2.0 * EDGE, y + EDGE);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" width=\"{width:.0}\" height=\"{whole:.0}\" \
             viewBox=\"-{EDGE:.0} 0 {width:.0} {whole:.0}\" role=\"img\">\n<title>{}</title>\n<style>\n{}</style>\n\
             <rect x=\"-{EDGE:.0}\" width=\"{width:.0}\" height=\"{whole:.0}\" class=\"ground\"/>\n{}\
             <g transform=\"translate(0 {chart:.0})\">\n{}</g>\n</svg>\n",
            Escaped(title),
            palette::style("svg"),
            words.body,
            self.body
        )
    }
}

/// In lines of this width; a word that is longer is cut.
fn wrapped(text: &str, size: f64, width: f64) -> Vec<String> {
    let most = (width / (0.58 * size)).max(10.0) as usize;
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let word: String = word.chars().take(most).collect();
        let line = lines.last().map_or(0, |line| line.chars().count());
        match lines.last_mut() {
            Some(last) if line == 0 => *last = word,
            Some(last) if line + 1 + word.chars().count() <= most => {
                last.push(' ');
                last.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    lines
}

fn classes(class: &str) -> String {
    match class {
        "" => String::new(),
        class => format!(" class=\"{class}\""),
    }
}

/// How wide a text is at most, in a common sans-serif font of this size.
pub fn width_of(text: &str, size: f64) -> f64 {
    let units: f64 = text
        .chars()
        .map(|char| if char.is_ascii() { 0.58 } else { 0.75 })
        .sum();
    units * size
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        let mut svg = Svg::new(100.0);
        svg.text(1.0, 2.0, "", "</text><script>\"'&\u{1b}[31m\0\u{202e}");
        assert_eq!(
            svg.body,
            "<text x=\"1.0\" y=\"2.0\">&lt;/text&gt;&lt;script&gt;&quot;&#39;&amp;\u{fffd}[31m\u{fffd}\u{fffd}</text>\n"
        );
    }
}
