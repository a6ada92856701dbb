//! Rows of bars, or of ranges between marks.

use super::super::svg::{Svg, width_of};
use super::scale::Scale;

/// A chart of rows, in groups.
#[derive(Debug, Clone)]
pub struct Bars {
    /// How long bars are.
    pub axis: Axis,
    /// Its groups, one below the other.
    pub groups: Vec<Group>,
    /// What the marks of ranges mean, in their order.
    pub legend: Vec<&'static str>,
}

/// How values become lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    /// From nothing; each group has its own.
    Linear,
    /// By powers of ten, one for all groups.
    Log,
    /// By powers of ten, one for all groups, to the right and the left of 1.
    AroundOne,
}

/// Rows that belong together.
#[derive(Debug, Clone)]
pub struct Group {
    /// What they show; empty where the chart's title says it.
    pub head: String,
    /// The rows.
    pub rows: Vec<Row>,
    /// How a value is written at the axis; without it the axis has no numbers.
    pub tick: Option<fn(f64) -> String>,
}

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Whose it is.
    pub label: String,
    /// The classes of its bar and marks, and the shape of marks.
    pub look: Look,
    /// What is drawn.
    pub shape: Shape,
    /// What is written beside it.
    pub text: String,
}

/// How a row looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// In the colour of a series.
    Series(usize),
    /// In that of what was reached.
    Met,
    /// In that of what was missed.
    Missed,
    /// In that of notes.
    Quiet,
}

impl Look {
    fn class(self) -> &'static str {
        match self {
            Self::Series(index) => ["a", "b", "c", "d", "e", "f"][index % 6],
            Self::Met => "good",
            Self::Missed => "bad",
            Self::Quiet => "note",
        }
    }
}

/// What a row shows.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// A bar, with its least and its most.
    Bar {
        /// How long it is.
        value: f64,
        /// From where to where the rounds lay.
        spread: Option<(f64, f64)>,
    },
    /// Marks from the first to the last, in the order of the legend.
    Range(Vec<Option<f64>>),
    /// Nothing: the text says why.
    Nothing,
}

impl Shape {
    fn values(&self) -> Vec<f64> {
        match self {
            Self::Bar { value, spread } => {
                let spread = spread.iter().flat_map(|&(least, most)| [least, most]);
                spread.chain([*value]).collect()
            }
            Self::Range(marks) => marks.iter().flatten().copied().collect(),
            Self::Nothing => vec![],
        }
    }
}

const FONT: f64 = 13.0;
const SMALL: f64 = 11.5;

/// Where things stand, in a chart of some width.
struct Layout {
    width: f64,
    /// Labels stand over their bars.
    stacked: bool,
    /// Where bars begin and end.
    bars: (f64, f64),
    /// The height of a row.
    row: f64,
}

impl Bars {
    /// Draws it; its height beside it.
    pub fn draw(&self, width: f64) -> (Svg, f64) {
        let mut svg = Svg::new(width);
        let layout = self.layout(width);
        let mut y = self.draw_legend(&mut svg, width);
        let all = self.groups.iter().flat_map(|group| &group.rows);
        let shared: Vec<f64> = all.flat_map(|row| row.shape.values()).collect();
        for group in &self.groups {
            y = self.draw_group(&mut svg, group, &shared, &layout, y);
        }
        (svg, y + 4.0)
    }

    fn layout(&self, width: f64) -> Layout {
        let rows = || self.groups.iter().flat_map(|group| &group.rows);
        let widest = |text: &dyn Fn(&Row) -> f64| rows().map(text).fold(0.0, f64::max);
        let labels = widest(&|row| width_of(&row.label, FONT) + 12.0);
        // What shows nothing has the whole track for its reason.
        let texts = widest(&|row| match row.shape {
            Shape::Nothing if self.axis != Axis::AroundOne => 0.0,
            _ => width_of(&row.text, FONT) + 12.0,
        });
        let stacked = width < 600.0 || labels > width * 0.48;
        let start = if stacked { 1.0 } else { labels };
        let end = (width - texts).max(start + width * 0.25).min(width - 12.0);
        Layout {
            width,
            stacked,
            bars: (start, end),
            row: if stacked { 42.0 } else { 27.0 },
        }
    }

    fn draw_legend(&self, svg: &mut Svg, width: f64) -> f64 {
        if self.legend.is_empty() {
            return 4.0;
        }
        let (mut x, mut y) = (10.0, 16.0);
        for (index, words) in self.legend.iter().enumerate() {
            let wide = width_of(words, SMALL) + 30.0;
            if x + wide > width {
                (x, y) = (10.0, y + 18.0);
            }
            mark(svg, (x, y - 4.0), index, "note");
            svg.text(x + 9.0, y, "quiet", words);
            x += wide;
        }
        y + 8.0
    }

    fn draw_group(
        &self,
        svg: &mut Svg,
        group: &Group,
        shared: &[f64],
        layout: &Layout,
        y: f64,
    ) -> f64 {
        let mut y = y;
        if !group.head.is_empty() {
            y += 20.0;
            svg.text(0.0, y, "head", &group.head);
            y += 8.0;
        }
        let scale = self.scale(group, shared, layout);
        let height = layout.row * group.rows.len() as f64;
        let (start, _) = layout.bars;
        let zero = match self.axis {
            Axis::AroundOne => scale.at(1.0),
            Axis::Linear | Axis::Log => start,
        };
        // Upright lines cross no label.
        let upright = |svg: &mut Svg, x: f64, class: &str| {
            if !layout.stacked {
                return svg.line((x, y), (x, y + height), class);
            }
            for index in 0..group.rows.len() {
                let bottom = y + layout.row * (index + 1) as f64;
                svg.line((x, bottom - 23.0), (x, bottom - 3.0), class);
            }
        };
        if let Some(tick) = group.tick {
            let room = if layout.stacked { 4 } else { 7 };
            for value in scale.ticks(10.0, room) {
                let x = scale.at(value);
                upright(svg, x, "grid");
                let words = tick(value);
                let half = width_of(&words, SMALL) / 2.0;
                let x = x.clamp(half, (layout.width - half).max(half));
                svg.text(x, y + height + 15.0, "quiet mid", &words);
            }
        }
        for (index, row) in group.rows.iter().enumerate() {
            let top = y + layout.row * index as f64;
            draw_row(svg, row, &scale, layout, top, zero);
        }
        upright(svg, zero, "axis");
        y + height + if group.tick.is_some() { 22.0 } else { 6.0 }
    }

    fn scale(&self, group: &Group, shared: &[f64], layout: &Layout) -> Scale {
        let (start, end) = layout.bars;
        match self.axis {
            Axis::Linear => {
                let own = group.rows.iter().flat_map(|row| row.shape.values());
                Scale::linear(own, start, end)
            }
            Axis::Log => {
                let values = || shared.iter().copied();
                Scale::log(values(), 10.0, start, end).tight(values(), false)
            }
            Axis::AroundOne => {
                let values = || shared.iter().copied().chain([1.0]);
                Scale::log(values(), 10.0, start, end).tight(values(), true)
            }
        }
    }
}

fn draw_row(svg: &mut Svg, row: &Row, scale: &Scale, layout: &Layout, top: f64, zero: f64) {
    let class = row.look.class();
    let (start, end) = layout.bars;
    let (thick, middle) = if layout.stacked {
        (12.0, top + 29.0)
    } else {
        (14.0, top + 13.5)
    };
    if layout.stacked {
        svg.text(0.0, top + 15.0, "", &row.label);
    } else {
        svg.text(start - 8.0, middle + 4.5, "end", &row.label);
    }
    let beside = |svg: &mut Svg, x: f64| {
        let ink = match row.look {
            Look::Met => "good",
            Look::Missed => "bad",
            Look::Quiet => "quiet",
            Look::Series(_) => "",
        };
        svg.text(x, middle + 4.5, ink, &row.text);
    };
    match &row.shape {
        Shape::Nothing => beside(svg, zero + 6.0),
        Shape::Bar { value, spread } => {
            let x = scale.at(*value);
            let wide = (x - zero).abs().max(1.5);
            svg.bar(
                x.min(zero),
                middle - thick / 2.0,
                wide,
                thick,
                &format!("bar {class}"),
            );
            let mut far = x.max(zero);
            if let Some((least, most)) = spread {
                let (least, most) = (scale.at(*least), scale.at(*most));
                if most - least > 1.0 {
                    svg.line((least, middle), (most, middle), "over");
                    for x in [least, most] {
                        svg.line((x, middle - 4.0), (x, middle + 4.0), "over");
                    }
                }
                far = far.max(most);
            }
            beside(svg, far.min(end) + 7.0);
        }
        Shape::Range(marks) => {
            let points: Vec<f64> = marks
                .iter()
                .flatten()
                .map(|&value| scale.at(value))
                .collect();
            let far = points.iter().copied().fold(start, f64::max);
            let near = points.iter().copied().fold(far, f64::min);
            svg.line((near, middle), (far, middle), &format!("track {class}"));
            for (index, value) in marks.iter().enumerate() {
                if let Some(value) = value {
                    mark(svg, (scale.at(*value), middle), index, class);
                }
            }
            beside(svg, far.min(end) + 10.0);
        }
    }
}

/// The mark of the legend's `index`th meaning.
fn mark(svg: &mut Svg, (x, y): (f64, f64), index: usize, class: &str) {
    match index {
        0 => svg.mark((x, y), 0, 5.0, class),
        1 => svg.line((x, y - 6.0), (x, y + 6.0), &format!("whisker {class}")),
        2 => svg.mark((x, y), 3, 4.0, class),
        _ => svg.mark((x, y), 0, 4.0, &format!("open {class}")),
    }
}
