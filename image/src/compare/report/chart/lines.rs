//! Lines over the size of messages, both axes by powers.

use super::super::numbers;
use super::super::palette::SERIES;
use super::super::svg::{Svg, width_of};
use super::scale::Scale;

/// A chart of lines.
#[derive(Debug, Clone)]
pub struct Lines {
    /// The lines.
    pub lines: Vec<Line>,
    /// How a value is written at its axis.
    pub tick: fn(f64) -> String,
    /// What the value is.
    pub what: &'static str,
}

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Whose it is, and where it failed.
    pub label: String,
    /// Its colour, mark and dashes.
    pub series: usize,
    /// Its points, by size.
    pub points: Vec<Point>,
    /// The sizes where it failed.
    pub failed: Vec<u64>,
}

/// One point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Bytes in a message.
    pub size: u64,
    /// The median.
    pub value: f64,
    /// From where to where the rounds lay.
    pub spread: (f64, f64),
}

const FONT: f64 = 13.0;
const SMALL: f64 = 11.5;
/// Between the labels of two lines.
const APART: f64 = 17.0;
const DASHES: [&str; 6] = ["", "7 3", "2 3", "9 3 2 3", "", "5 5"];

impl Lines {
    /// Draws it; its height beside it.
    pub fn draw(&self, width: f64) -> (Svg, f64) {
        let mut svg = Svg::new(width);
        let wide = width >= 600.0;
        let labels = self
            .lines
            .iter()
            .map(|line| width_of(&line.label, FONT))
            .fold(0.0, f64::max);
        // Where the longest label would leave no room for lines, all stand below, as on a phone.
        let beside = wide && labels < width * 0.4;
        let right = if beside {
            width - labels - 46.0
        } else {
            width - 14.0
        };
        let (left, top, bottom) = (64.0, 30.0, if wide { 380.0 } else { 290.0 });
        let (across, up) = self.scales((left, right), (bottom, top));
        self.draw_axes(&mut svg, &across, &up, (left, right, top, bottom));
        for line in &self.lines {
            draw_line(&mut svg, line, &across, &up, bottom);
        }
        svg.text(
            left,
            16.0,
            "quiet",
            &format!("{}; bytes in a message", self.what),
        );
        let below = bottom + 24.0;
        if beside {
            self.label_beside(&mut svg, &across, &up, (right, top, bottom));
            (svg, below)
        } else {
            let height = self.label_below(&mut svg, below + 14.0, width);
            (svg, height)
        }
    }

    fn scales(&self, (left, right): (f64, f64), (bottom, top): (f64, f64)) -> (Scale, Scale) {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let failed = self.lines.iter().flat_map(|line| &line.failed);
        let sizes = points()
            .map(|point| &point.size)
            .chain(failed)
            .map(|&size| size as f64);
        let values = points().flat_map(|point| [point.value, point.spread.0, point.spread.1]);
        (
            Scale::log(sizes, 2.0, left + 10.0, right - 10.0),
            Scale::log(values, 10.0, bottom, top),
        )
    }

    fn draw_axes(&self, svg: &mut Svg, across: &Scale, up: &Scale, room: (f64, f64, f64, f64)) {
        let (left, right, top, bottom) = room;
        for value in up.ticks(10.0, 8) {
            let y = up.at(value);
            svg.line((left, y), (right, y), "grid");
            svg.text(left - 8.0, y + 4.0, "quiet end", &(self.tick)(value));
        }
        let points = self
            .lines
            .iter()
            .flat_map(|line| line.points.iter().map(|point| point.size));
        let mut sizes: Vec<u64> = points
            .chain(self.lines.iter().flat_map(|l| l.failed.clone()))
            .collect();
        sizes.sort_unstable();
        sizes.dedup();
        let mut free = f64::NEG_INFINITY;
        for size in sizes {
            let x = across.at(size as f64);
            svg.line((x, top), (x, bottom), "grid");
            let words = numbers::size(size);
            let half = width_of(&words, SMALL) / 2.0;
            if x - half > free {
                svg.text(x, bottom + 17.0, "quiet mid", &words);
                free = x + half + 6.0;
            }
        }
        svg.line((left, bottom), (right, bottom), "axis");
    }

    /// Each at the end of its line; those that would overlap are pushed apart, with a thin line to where they belong.
    fn label_beside(&self, svg: &mut Svg, across: &Scale, up: &Scale, room: (f64, f64, f64)) {
        let (right, top, bottom) = room;
        let mut ends: Vec<(f64, f64, &Line)> = self
            .lines
            .iter()
            .map(|line| match line.points.last() {
                Some(last) => (across.at(last.size as f64), up.at(last.value), line),
                None => (right - 10.0, bottom, line),
            })
            .collect();
        ends.sort_by(|a, b| a.1.total_cmp(&b.1));
        let wanted: Vec<f64> = ends.iter().map(|end| end.1).collect();
        for ((x, y, line), at) in ends
            .into_iter()
            .zip(spread_out(&wanted, APART, top, bottom))
        {
            let x = x + 8.0;
            svg.polyline(
                &[(x, y), (right + 4.0, y), (right + 20.0, at)],
                "leader",
                "",
            );
            svg.mark(
                (right + 28.0, at),
                line.series,
                4.5,
                series_class(line.series),
            );
            svg.text(right + 38.0, at + 4.5, "", &line.label);
        }
    }

    fn label_below(&self, svg: &mut Svg, top: f64, width: f64) -> f64 {
        let (mut x, mut y) = (10.0, top);
        for line in &self.lines {
            let wide = width_of(&line.label, FONT) + 34.0;
            if x > 10.0 && x + wide > width {
                (x, y) = (10.0, y + 21.0);
            }
            svg.mark(
                (x + 4.0, y - 4.5),
                line.series,
                4.5,
                series_class(line.series),
            );
            svg.text(x + 15.0, y, "", &line.label);
            x += wide;
        }
        y + 12.0
    }
}

fn series_class(series: usize) -> &'static str {
    SERIES[series % SERIES.len()].name
}

fn draw_line(svg: &mut Svg, line: &Line, across: &Scale, up: &Scale, bottom: f64) {
    let class = series_class(line.series);
    let at = |point: &Point| (across.at(point.size as f64), up.at(point.value));
    for point in &line.points {
        let (x, (least, most)) = (across.at(point.size as f64), point.spread);
        let (least, most) = (up.at(least), up.at(most));
        if least - most > 1.0 {
            svg.line((x, least), (x, most), &format!("whisker {class}"));
            for y in [least, most] {
                svg.line((x - 3.5, y), (x + 3.5, y), &format!("whisker {class}"));
            }
        }
    }
    let points: Vec<(f64, f64)> = line.points.iter().map(at).collect();
    svg.polyline(
        &points,
        &format!("{class} series"),
        DASHES[line.series % DASHES.len()],
    );
    for &point in &points {
        svg.mark(point, line.series, 4.0, class);
    }
    for &size in &line.failed {
        let x = across.at(size as f64) + 2.5 * (line.series as f64 - 2.5);
        svg.line(
            (x - 4.0, bottom - 11.0),
            (x + 4.0, bottom - 3.0),
            &format!("whisker {class}"),
        );
        svg.line(
            (x - 4.0, bottom - 3.0),
            (x + 4.0, bottom - 11.0),
            &format!("whisker {class}"),
        );
    }
}

/// As near to where each wants to be as `apart` allows, in their order; between `top` and `bottom` while there is room.
fn spread_out(wanted: &[f64], apart: f64, top: f64, bottom: f64) -> Vec<f64> {
    let mut places: Vec<f64> = Vec::with_capacity(wanted.len());
    for &want in wanted {
        let free = places.last().map_or(top, |last| last + apart);
        places.push(want.max(free));
    }
    // From below, whoever stands too low is lifted, and lifts those above.
    let mut limit = bottom;
    for place in places.iter_mut().rev() {
        *place = place.min(limit);
        limit = *place - apart;
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn labels_never_overlap(mut wanted in prop::collection::vec(30.0..380.0, 0..9)) {
            wanted.sort_by(f64::total_cmp);
            let places = spread_out(&wanted, APART, 30.0, 380.0);
            prop_assert_eq!(places.len(), wanted.len());
            for pair in places.windows(2) {
                prop_assert!(pair[1] - pair[0] >= APART - 1e-9);
            }
            for place in places {
                prop_assert!((29.9..=380.1).contains(&place));
            }
        }
    }

    #[test]
    fn labels_with_room_stay_where_their_lines_end() {
        assert_eq!(
            spread_out(&[40.0, 100.0, 105.0], 17.0, 30.0, 380.0),
            [40.0, 100.0, 117.0]
        );
    }
}
