//! A report as Markdown. Pure.

use std::fmt::Write as _;

use super::document::{Block, Cell, Document, Table, Tone};
use super::svg::plain;

/// The whole file; charts are named as they stand beside it.
pub fn render(document: &Document) -> String {
    let mut text = format!(
        "# {}\n\n{}\n",
        escaped(&document.title),
        escaped(&document.subtitle)
    );
    for section in &document.sections {
        if !section.head.is_empty() {
            let _ = write!(text, "\n## {}\n", section.head);
        }
        for block in &section.blocks {
            text.push('\n');
            render_block(&mut text, block);
        }
    }
    text
}

fn render_block(text: &mut String, block: &Block) {
    let _ = match block {
        Block::Paragraph(words) => writeln!(text, "{}", escaped(words)),
        Block::Notice(word, words) => writeln!(text, "> **{word}.** {}", escaped(words)),
        Block::Tiles(tiles) => tiles.iter().try_for_each(|tile| {
            writeln!(
                text,
                "* **{}** {} ({})",
                tile.number,
                escaped(&tile.words),
                tile.note
            )
        }),
        Block::Chart(figure) => writeln!(
            text,
            "![{}]({}.svg)\n\n{}",
            escaped(&figure.title),
            figure.name,
            escaped(&figure.set_up)
        ),
        Block::Table(table, None) => write!(text, "{}", rendered(table)),
        Block::Table(table, Some(summary)) => write!(
            text,
            "<details><summary>{}</summary>\n\n{}\n</details>\n",
            escaped(summary),
            rendered(table)
        ),
        Block::Lines(head, lines) => {
            let fence = "`".repeat(longest_run(lines, '`').max(2) + 1);
            let lines: String = lines.chars().map(plain).collect();
            writeln!(
                text,
                "### {}\n\n{fence}text\n{}\n{fence}",
                escaped(head),
                lines.trim_end()
            )
        }
        Block::Source(words, link) => writeln!(text, "[{}]({link})", escaped(words)),
    };
}

fn rendered(table: &Table) -> String {
    let mut text = String::new();
    let row = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    text += &row(table.head.iter().map(|head| escaped(head)).collect());
    text += &row((0..table.head.len())
        .map(|column| if column < table.words { "---" } else { "---:" }.to_owned())
        .collect());
    for cells in &table.rows {
        text += &row(cells.iter().map(render_cell).collect());
    }
    text
}

fn render_cell(cell: &Cell) -> String {
    match cell.tone {
        Tone::Bad if !cell.text.is_empty() => format!("**{}**", escaped(&cell.text)),
        _ => escaped(&cell.text),
    }
}

/// Text that stays text, in one line.
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            // References to people and issues, and links that need no mark.
            '@' => escaped.push_str("&#64;"),
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '#' | '!' | '|' | '~' | '$' => {
                escaped.push('\\');
                escaped.push(char);
            }
            '\n' | '\r' | '\t' => escaped.push(' '),
            char => escaped.push(plain(char)),
        }
    }
    let escaped = escaped.replace("://", ":&#47;&#47;");
    // A line that begins like a list, a rule or a quotation.
    match escaped.trim_start().chars().next() {
        Some('-' | '+' | '=') => format!("\\{}", escaped.trim_start()),
        _ => escaped,
    }
}

fn longest_run(text: &str, of: char) -> usize {
    let runs = text.split(|char| char != of).map(|run| run.chars().count());
    runs.max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        assert_eq!(
            escaped("a|b <script> [x](javascript:y) **b** `c` @me #1 http://x\n\u{1b}"),
            "a\\|b &lt;script&gt; \\[x\\](javascript:y) \\*\\*b\\*\\* \\`c\\` &#64;me \\#1 http:&#47;&#47;x \u{fffd}"
        );
        assert_eq!(escaped("- no list"), "\\- no list");
    }

    #[test]
    fn lines_cannot_end_their_fence() {
        let mut text = String::new();
        render_block(&mut text, &Block::Lines("x".into(), "a\n````\n# b".into()));
        assert!(
            text.contains("\n`````text\na\n````\n# b\n`````\n"),
            "{text}"
        );
    }
}
