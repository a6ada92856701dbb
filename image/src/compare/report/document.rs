//! A report as data, before it is a page or a Markdown file.

use super::chart::Chart;

/// The whole report.
pub struct Document {
    /// Its title.
    pub title: String,
    /// What and when, in a line.
    pub subtitle: String,
    /// Its parts.
    pub sections: Vec<Section>,
}

/// A part of it.
pub struct Section {
    /// Its word in links.
    pub id: &'static str,
    /// Its heading; empty for the first.
    pub head: &'static str,
    /// What it holds.
    pub blocks: Vec<Block>,
}

/// A piece of a part.
pub enum Block {
    /// Text.
    Paragraph(String),
    /// What must not be overlooked, with a word for it.
    Notice(&'static str, String),
    /// Large numbers.
    Tiles(Vec<Tile>),
    /// A chart, and the line that says its set-up.
    Chart(Figure),
    /// A table; with a summary it is folded away.
    Table(Table, Option<String>),
    /// A heading within the part, and lines as they are.
    Lines(String, String),
    /// Where something stands.
    Source(&'static str, &'static str),
}

/// A large number.
pub struct Tile {
    /// The number.
    pub number: String,
    /// Of what.
    pub words: String,
    /// What it was to be, and whether it is.
    pub note: String,
    /// Whether it is.
    pub tone: Tone,
}

/// A chart with what belongs to it.
pub struct Figure {
    /// The name of its file, without `.svg`.
    pub name: &'static str,
    /// Its title.
    pub title: String,
    /// The chart.
    pub chart: Chart,
    /// Its set-up in a line.
    pub set_up: String,
}

/// A table.
#[derive(Default)]
pub struct Table {
    /// The heads of its columns.
    pub head: Vec<String>,
    /// Its rows.
    pub rows: Vec<Vec<Cell>>,
    /// How many columns, from the left, hold words; the others hold numbers.
    pub words: usize,
}

/// A cell of a table.
#[derive(Clone)]
pub struct Cell {
    /// What stands in it.
    pub text: String,
    /// How it is meant.
    pub tone: Tone,
}

/// How something is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it stands.
    Plain,
    /// It is as it should be.
    Good,
    /// It is not.
    Bad,
}

impl Document {
    /// Its charts.
    pub fn charts(&self) -> impl Iterator<Item = &Figure> {
        let blocks = self.sections.iter().flat_map(|section| &section.blocks);
        blocks.filter_map(|block| match block {
            Block::Chart(figure) => Some(figure),
            _ => None,
        })
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        // The one word that says so, wherever it stands.
        let bad = text == "failed" || text.ends_with("failed)");
        Self {
            text,
            tone: if bad { Tone::Bad } else { Tone::Plain },
        }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl Cell {
    /// A cell that is meant so.
    pub fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self {
            text: text.into(),
            tone,
        }
    }
}
