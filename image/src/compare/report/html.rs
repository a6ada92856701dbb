//! A report as one page that needs nothing else: no script, no network. Pure.

use std::fmt::Write as _;

use super::chart::{NARROW, WIDE};
use super::document::{Block, Cell, Document, Table, Tone};
use super::palette;
use super::svg::Escaped;

/// Longer cells are broken into lines.
const LONG: usize = 40;

/// The whole page.
pub fn render(document: &Document) -> String {
    let title = Escaped(&document.title);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n<style>\n{}{}</style>\n</head>\n\
         <body>\n<main>\n<h1>{title}</h1>\n<p class=\"sub\">{}</p>\n",
        palette::style(":root"),
        include_str!("page.css"),
        Escaped(&document.subtitle)
    );
    for (index, section) in document.sections.iter().enumerate() {
        let _ = writeln!(page, "<section id=\"{}\">", section.id);
        if !section.head.is_empty() {
            let _ = writeln!(page, "<h2>{}</h2>", Escaped(section.head));
        }
        for block in &section.blocks {
            render_block(&mut page, block);
        }
        page.push_str("</section>\n");
        if index == 0 {
            contents(&mut page, document);
        }
    }
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

fn contents(page: &mut String, document: &Document) {
    page.push_str("<nav>");
    for section in document
        .sections
        .iter()
        .filter(|section| !section.head.is_empty())
    {
        let _ = write!(
            page,
            "<a href=\"#{}\">{}</a> ",
            section.id,
            Escaped(section.head)
        );
    }
    page.push_str("</nav>\n");
}

fn render_block(page: &mut String, block: &Block) {
    let _ = match block {
        Block::Paragraph(words) => writeln!(page, "<p>{}</p>", Escaped(words)),
        Block::Notice(word, words) => {
            writeln!(
                page,
                "<div class=\"notice\"><b>{word}.</b> {}</div>",
                Escaped(words)
            )
        }
        Block::Tiles(tiles) => {
            page.push_str("<div class=\"tiles\">\n");
            for tile in tiles {
                let _ = writeln!(
                    page,
                    "<div class=\"tile\"><b>{}</b>{}<small{}>{}</small></div>",
                    Escaped(&tile.number),
                    Escaped(&tile.words),
                    class_of(tile.tone, ""),
                    Escaped(&tile.note)
                );
            }
            writeln!(page, "</div>")
        }
        Block::Chart(figure) => writeln!(
            page,
            "<div class=\"card\"><figure>\n<h3>{}</h3>\n<div class=\"wide\">\n{}</div>\n<div class=\"narrow\">\n{}</div>\n\
             <figcaption class=\"setup\">{}</figcaption>\n</figure></div>",
            Escaped(&figure.title),
            figure.chart.inline(WIDE, &figure.title),
            figure.chart.inline(NARROW, &figure.title),
            Escaped(&figure.set_up)
        ),
        Block::Table(table, None) => {
            render_table(page, table);
            Ok(())
        }
        Block::Table(table, Some(summary)) => {
            let _ = writeln!(page, "<details><summary>{}</summary>", Escaped(summary));
            render_table(page, table);
            writeln!(page, "</details>")
        }
        Block::Lines(head, lines) => writeln!(
            page,
            "<div class=\"card\"><h3>{}</h3><pre>{}</pre></div>",
            Escaped(head),
            Escaped(lines.trim_end())
        ),
        Block::Source(words, link) => {
            writeln!(page, "<p><a href=\"{link}\">{}</a></p>", Escaped(words))
        }
    };
}

fn render_table(page: &mut String, table: &Table) {
    page.push_str("<div class=\"scroll\"><table>\n<thead><tr>");
    let number = |column: usize| if column < table.words { "" } else { "num" };
    for (column, head) in table.head.iter().enumerate() {
        let class = class_of(Tone::Plain, number(column));
        let _ = write!(page, "<th{class} scope=\"col\">{}</th>", Escaped(head));
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for row in &table.rows {
        page.push_str("<tr>");
        for (column, cell) in row.iter().enumerate() {
            let _ = write!(page, "{}", rendered(cell, number(column)));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody></table></div>\n");
}

fn rendered(cell: &Cell, number: &str) -> String {
    let long = if cell.text.chars().count() > LONG {
        "long"
    } else {
        number
    };
    format!(
        "<td{}>{}</td>",
        class_of(cell.tone, long),
        Escaped(&cell.text)
    )
}

fn class_of(tone: Tone, more: &str) -> String {
    let tone = match tone {
        Tone::Plain => "",
        Tone::Good => "tone-good",
        Tone::Bad => "tone-bad",
    };
    match format!("{tone} {more}").trim() {
        "" => String::new(),
        class => format!(" class=\"{class}\""),
    }
}
