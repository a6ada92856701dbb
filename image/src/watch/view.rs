//! A pipeline as lines of text: what `grantflow top` shows and `top --once` prints. Pure.

use std::cmp::Ordering;

use super::rates::{EdgeRates, Rates, StageRates};
use crate::compose::snapshot::{EdgeSnapshot, Phase, Snapshot, StageSnapshot};

/// A line, and how it stands out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What it says: printable, and no longer than was asked for.
    pub text: String,
    /// How it stands out.
    pub tone: Tone,
}

impl Line {
    /// The same in at most `width`, such that no terminal acts on it, whatever it is made of.
    pub fn cut(self, width: usize) -> Self {
        line(self.text, width, self.tone)
    }
}

/// How a line stands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Not at all.
    Plain,
    /// It heads a table.
    Heading,
    /// Somebody should look at it.
    Fault,
}

/// The order of stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// As in the file.
    #[default]
    File,
    /// Those that need a look first.
    Faults,
    /// Those that use most CPU first.
    Cpu,
    /// Those that take in most readings first.
    Readings,
}

impl Order {
    /// The one after it.
    pub const fn next(self) -> Self {
        match self {
            Self::File => Self::Faults,
            Self::Faults => Self::Cpu,
            Self::Cpu => Self::Readings,
            Self::Readings => Self::File,
        }
    }

    /// Its word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Faults => "faults",
            Self::Cpu => "CPU",
            Self::Readings => "readings",
        }
    }
}

/// Columns of figures: heading and width.
const OF_STAGE: [(&str, usize); 9] = [
    ("domid", 5),
    ("in/s", 6),
    ("out/s", 6),
    ("drop/s", 6),
    ("wake/s", 6),
    ("CPU%", 4),
    ("MiB", 4),
    ("rst", 3),
    ("rec", 3),
];
const OF_EDGE: [(&str, usize); 6] = [
    ("rdgs/s", 6),
    ("B/s", 6),
    ("full", 5),
    ("wait", 5),
    ("wake/s", 6),
    ("lost", 6),
];

/// The narrowest column of names, and the room that states have at least.
const NAME_MIN: usize = 5;
const STATE_MIN: usize = 14;

/// The tables of stages and edges, in lines of at most `width`.
pub fn lines(snapshot: &Snapshot, rates: &Rates, order: Order, width: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    let figures: usize = OF_STAGE.iter().map(|(_, width)| width + 1).sum();
    let longest = |names: &mut dyn Iterator<Item = &String>| names.map(String::len).max();
    let wanted = longest(&mut snapshot.stages.iter().map(|stage| &stage.stage)).unwrap_or(0);
    let room = width.saturating_sub(figures + 1 + STATE_MIN);
    let name = wanted.clamp(NAME_MIN, room.max(NAME_MIN));
    let mut head = cell("stage", name, Side::Left);
    head += &cells(OF_STAGE.map(|(heading, width)| (heading.to_owned(), width)));
    lines.push(line(head + " state", width, Tone::Heading));
    for (stage, rates) in sorted(snapshot, rates, order) {
        let tone = tone(stage.phase.is_fault());
        let values = of_stage(stage, &rates);
        let mut text = cell(&stage.stage, name, Side::Left);
        text += &cells(figures_of(OF_STAGE, values));
        lines.push(line(format!("{text} {}", stage.state), width, tone));
    }
    if snapshot.edges.is_empty() {
        return lines;
    }
    lines.push(line(String::new(), width, Tone::Plain));
    let figures: usize = OF_EDGE.iter().map(|(_, width)| width + 1).sum();
    let name = width.saturating_sub(figures + 2) / 3;
    let edges = &snapshot.edges;
    let ends = |edge: &EdgeSnapshot| {
        [
            edge.name.clone(),
            end(edge.from.as_ref()),
            end(edge.to.as_ref()),
        ]
    };
    let mut widths = ["edge", "from", "to"].map(str::len);
    for edge in edges {
        for (width, text) in widths.iter_mut().zip(ends(edge)) {
            *width = (*width).max(text.len()).min(name.max(NAME_MIN));
        }
    }
    let names = |texts: [String; 3]| {
        let texts = texts.iter().zip(widths);
        let texts: Vec<String> = texts
            .map(|(text, width)| cell(text, width, Side::Left))
            .collect();
        texts.join(" ")
    };
    let head = names(["edge", "from", "to"].map(str::to_owned))
        + &cells(OF_EDGE.map(|(heading, width)| (heading.to_owned(), width)));
    lines.push(line(head, width, Tone::Heading));
    for (place, edge) in edges.iter().enumerate() {
        let rates = rates.edges.get(place).copied().unwrap_or_default();
        let text = names(ends(edge)) + &cells(figures_of(OF_EDGE, of_edge(edge, &rates)));
        lines.push(line(text, width, tone(is_lossy(edge, &rates))));
    }
    lines
}

fn end(stage: Option<&String>) -> String {
    stage.map_or("dom0", String::as_str).to_owned()
}

fn tone(is_fault: bool) -> Tone {
    if is_fault { Tone::Fault } else { Tone::Plain }
}

/// Whether an edge is losing readings, as far as is known.
pub fn is_lossy(edge: &EdgeSnapshot, rates: &EdgeRates) -> bool {
    match rates.lost {
        Some(lost) => lost > 0.0,
        None => edge.lost() > 0,
    }
}

fn sorted<'s>(
    snapshot: &'s Snapshot,
    rates: &Rates,
    order: Order,
) -> Vec<(&'s StageSnapshot, StageRates)> {
    let rates = rates.stages.iter().copied();
    let mut stages: Vec<_> = snapshot
        .stages
        .iter()
        .zip(rates.chain(std::iter::repeat(StageRates::default())))
        .collect();
    let most = |a: Option<f64>, b: Option<f64>| b.unwrap_or(-1.0).total_cmp(&a.unwrap_or(-1.0));
    // Stable: what is equal stays in the order of the file.
    stages.sort_by(|(a, of_a), (b, of_b)| match order {
        Order::File => Ordering::Equal,
        Order::Faults => b.phase.is_fault().cmp(&a.phase.is_fault()),
        Order::Cpu => most(of_a.cpu, of_b.cpu),
        Order::Readings => most(of_a.received, of_b.received),
    });
    stages
}

fn of_stage(stage: &StageSnapshot, rates: &StageRates) -> [String; 9] {
    let unknown = || "-".to_owned();
    [
        stage.domid.map_or_else(unknown, |id| id.to_string()),
        figure(rates.received),
        figure(rates.sent),
        figure(rates.dropped),
        figure(rates.wakes),
        rates.cpu.map_or_else(unknown, percent),
        figure(Some(stage.memory_mib as f64)),
        stage.restarts.to_string(),
        reconnects(stage).map_or_else(unknown, |count| count.to_string()),
    ]
}

/// Connections of a stage's edges after their first.
pub(super) fn reconnects(stage: &StageSnapshot) -> Option<u64> {
    let edges = &stage.counters.as_ref()?.edges;
    Some(
        edges
            .iter()
            .fold(0, |sum, edge| edge.counters.reconnects.saturating_add(sum)),
    )
}

fn of_edge(edge: &EdgeSnapshot, rates: &EdgeRates) -> [String; 6] {
    let share = |share: Option<f64>| {
        share.map_or_else(|| "-".to_owned(), |share| format!("{}%", percent(share)))
    };
    let full = edge.unread();
    [
        figure(rates.readings),
        figure(rates.bytes),
        share(full.map(|unread| unread as f64 / f64::from(edge.ring.max(1)))),
        share(rates.blocked),
        figure(rates.wakes),
        figure(Some(edge.lost() as f64)),
    ]
}

fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        0.0 => "0".to_owned(),
        percent if percent < 9.95 => format!("{percent:.1}"),
        percent => format!("{percent:.0}"),
    }
}

/// A number in six places, or fewer: `0`, `7.3`, `412`, `12.5k`, `3.1M`.
pub fn figure(value: Option<f64>) -> String {
    let Some(value) = value else {
        return "-".to_owned();
    };
    match value {
        value if value.fract() == 0.0 && value < 1e5 => format!("{value:.0}"),
        value if value < 9.95 => format!("{value:.1}"),
        value if value < 9_999.5 => format!("{value:.0}"),
        value if value < 999.95e3 => format!("{:.1}k", value / 1e3),
        value if value < 999.95e6 => format!("{:.1}M", value / 1e6),
        value if value < 999.95e9 => format!("{:.1}G", value / 1e9),
        value => format!("{value:.0e}"),
    }
}

fn figures_of<const N: usize>(
    columns: [(&str, usize); N],
    values: [String; N],
) -> [(String, usize); N] {
    let mut values = values.into_iter();
    columns.map(|(_, width)| (values.next().unwrap_or_default(), width))
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Left,
    Right,
}

fn cells<const N: usize>(cells: [(String, usize); N]) -> String {
    cells
        .iter()
        .map(|(text, width)| format!(" {}", cell(text, *width, Side::Right)))
        .collect()
}

/// Text of just this width: filled with spaces, or cut, which is told by a tilde.
fn cell(text: &str, width: usize, side: Side) -> String {
    if text.len() <= width {
        return match side {
            Side::Left => format!("{text:<width$}"),
            Side::Right => format!("{text:>width$}"),
        };
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    kept + "~"
}

/// A line that no terminal acts on, whatever names and states are made of.
fn line(text: String, width: usize, tone: Tone) -> Line {
    let shown = |c: char| match c {
        ' '..='~' => c,
        _ => '?',
    };
    let text: String = text.chars().take(width).map(shown).collect();
    let text = text.trim_end().to_owned();
    Line { text, tone }
}

/// The first line: which pipeline, and over which time rates are.
pub fn title(snapshot: &Snapshot, rates: &Rates) -> String {
    let count = |phase: fn(Phase) -> bool| {
        let stages = snapshot.stages.iter();
        stages.filter(|stage| phase(stage.phase)).count()
    };
    let faults = match count(Phase::is_fault) {
        0 => String::new(),
        faults => format!(", {faults} at fault"),
    };
    format!(
        "{}: {} stages, {} up{faults}; rates over {:.1} s",
        snapshot.name,
        snapshot.stages.len(),
        count(Phase::is_up),
        rates.seconds
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::rates::rates;
    use crate::watch::testing::pipeline;

    fn texts(lines: &[Line]) -> Vec<&str> {
        lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn both_tables_in_eighty_columns() {
        let (before, after) = (pipeline(10, 1_000), pipeline(14, 51_000));
        let rates = rates(&before, &after).unwrap();
        let lines = lines(&after, &rates, Order::File, 80);
        assert_eq!(
            texts(&lines),
            [
                "stage   domid   in/s  out/s drop/s wake/s CPU%  MiB rst rec state",
                "flow        3  12500  12500      0   1250   25    1   0   0 running",
                "windows     4  12500  12500      0   1250   25    1   0   0 running",
                "",
                "edge     from to      rdgs/s    B/s  full  wait wake/s   lost",
                "readings flow windows  12500 125.0k  1.8%   50%   2500      0",
            ]
        );
        assert_eq!(
            title(&after, &rates),
            "water: 2 stages, 2 up; rates over 4.0 s"
        );
    }

    #[test]
    fn hostile_names_and_states_stay_in_their_lines_at_any_width() {
        let mut now = pipeline(14, 5_000);
        now.stages[0].stage = "x".repeat(31);
        now.stages[0].state = format!("failed \x1b[2J\n\u{9b}\u{202e}{}", "y".repeat(100));
        now.edges[0].name = "\x1b]0;owned\x07".into();
        let rates = Rates::default();
        for width in 0..200 {
            for line in lines(&now, &rates, Order::Cpu, width) {
                assert!(line.text.len() <= width);
                assert!(line.text.bytes().all(|byte| (32..127).contains(&byte)));
            }
        }
        let lines = lines(&now, &rates, Order::File, 80);
        assert!(
            lines[1].text.starts_with("xxxxxxxxxxxx~ "),
            "{}",
            lines[1].text
        );
    }

    #[test]
    fn a_figure_has_six_places_at_most() {
        let mut value = 0.0001_f64;
        while value < 1e15 {
            for around in [value * 0.999_99, value, value * 1.000_01] {
                let text = figure(Some(around));
                assert!(text.len() <= 6, "{around}: {text}");
            }
            value *= 1.07;
        }
        let texts = [
            0.0, 7.26, 412.4, 9_999.6, 99_999.0, 999_949.0, 999_951.0, 3.1e6, 2e12,
        ];
        assert_eq!(
            texts.map(|value| figure(Some(value))),
            [
                "0", "7.3", "412", "10.0k", "99999", "999.9k", "1.0M", "3.1M", "2e12"
            ]
        );
        assert_eq!(
            [0.0, 0.004, 0.5, 1.0, 1.5].map(percent),
            ["0", "0.4", "50", "100", "150"]
        );
    }

    #[test]
    fn faults_stand_out_and_come_first_when_asked_for() {
        let mut now = pipeline(14, 5_000);
        now.stages[1].phase = Phase::Stale;
        now.stages[1].state = "stale readings".into();
        now.edges[0].reader.as_mut().unwrap().lost = 3;
        let rates = Rates::default();
        let tones = |order| {
            lines(&now, &rates, order, 80)
                .iter()
                .map(|line| line.tone)
                .collect::<Vec<_>>()
        };
        let (head, plain, fault) = (Tone::Heading, Tone::Plain, Tone::Fault);
        assert_eq!(tones(Order::File), [head, plain, fault, plain, head, fault]);
        assert_eq!(tones(Order::Faults)[1], fault);
        assert!(title(&now, &rates).contains("2 up, 1 at fault"));
        // What was lost long ago is in the figure, and no fault any more.
        let lost = EdgeRates {
            lost: Some(0.0),
            ..EdgeRates::default()
        };
        assert!(!is_lossy(&now.edges[0], &lost));
    }

    #[test]
    fn the_busiest_come_first_when_asked_for() {
        let (before, mut after) = (pipeline(10, 1_000), pipeline(14, 5_000));
        after.stages[1].cpu_seconds += 1.0;
        after.stages[1].counters.as_mut().unwrap().stage.readings_in += 1;
        let rates = rates(&before, &after).unwrap();
        let first = |order| lines(&after, &rates, order, 80)[1].text.clone();
        assert!(first(Order::File).starts_with("flow"));
        assert!(first(Order::Cpu).starts_with("windows"));
        assert!(first(Order::Readings).starts_with("windows"));
    }
}
