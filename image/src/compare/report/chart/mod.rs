//! Charts as data, and how they are drawn: twice each, for a wide page and for a phone. Pure.

pub mod bars;
pub mod lines;
pub mod scale;

use super::svg::Svg;

/// The width of a chart beside which a page has room.
pub const WIDE: f64 = 760.0;
/// The width of a chart on a phone.
pub const NARROW: f64 = 360.0;

/// A chart.
#[derive(Debug, Clone)]
pub enum Chart {
    /// Rows with bars or ranges.
    Bars(bars::Bars),
    /// Lines over the size of messages.
    Lines(lines::Lines),
}

impl Chart {
    /// For a page, of this width.
    pub fn inline(&self, width: f64, title: &str) -> String {
        let (svg, height) = self.draw(width);
        svg.inline(height, title)
    }

    /// As a file of its own.
    pub fn standalone(&self, title: &str, set_up: &str) -> String {
        let (svg, height) = self.draw(WIDE);
        svg.standalone(height, title, set_up)
    }

    fn draw(&self, width: f64) -> (Svg, f64) {
        match self {
            Self::Bars(bars) => bars.draw(width),
            Self::Lines(lines) => lines.draw(width),
        }
    }
}
