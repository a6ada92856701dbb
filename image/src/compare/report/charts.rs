//! Which charts there are, and what stands in them. Pure.

use super::chart::Chart;
use super::chart::bars::{Axis, Bars, Group, Look, Row, Shape};
use super::chart::lines::{Line, Lines, Point};
use super::numbers;
use super::palette::series;
use super::view::{ON_XEN, View};
use crate::compare::catalogue::{Better, Contestant, Measure};
use crate::compare::figures::Figure;
use crate::compare::goals::{GOALS, GoalSpec};

/// The paper's figures: how many times the throughput of, and less latency than, TCP/IP over virtual interfaces.
pub const PAPER_THROUGHPUT: f64 = 5.0;
/// See [`PAPER_THROUGHPUT`].
pub const PAPER_LATENCY: f64 = 2.5;

/// What was reached, by what was to be.
pub fn goals(view: &View) -> Chart {
    let goal = |id: &str| view.results.goals.iter().find(|goal| goal.id == id);
    let row = |spec: &GoalSpec| {
        let held = goal(spec.id);
        let least = held.map_or(spec.goal, |goal| goal.goal);
        let (look, shape, text) = match held.and_then(|goal| Some((goal, goal.value?))) {
            None => (
                Look::Quiet,
                Shape::Nothing,
                format!("not measured (goal {})", numbers::times(least)),
            ),
            Some((goal, value)) => {
                let spread = None;
                let value_of_goal = value / goal.goal;
                let (look, word) = if goal.met {
                    (Look::Met, "met")
                } else {
                    (Look::Missed, "missed")
                };
                let text = format!(
                    "{} of {}, {word}",
                    numbers::times_of(value, goal.goal),
                    numbers::times(goal.goal)
                );
                let shape = if value_of_goal.is_finite() {
                    Shape::Bar {
                        value: value_of_goal,
                        spread,
                    }
                } else {
                    Shape::Nothing
                };
                (look, shape, text)
            }
        };
        Row {
            label: spec.words.to_owned(),
            look,
            shape,
            text,
        }
    };
    Chart::Bars(Bars {
        axis: Axis::AroundOne,
        groups: vec![Group {
            head: String::new(),
            rows: GOALS.iter().map(row).collect(),
            tick: Some(|value| {
                if value == 1.0 {
                    "goal".to_owned()
                } else {
                    numbers::times(value)
                }
            }),
        }],
        legend: vec![],
    })
}

/// Throughput over the size of messages.
pub fn throughput(view: &View, contestants: &[Contestant]) -> Option<Chart> {
    let measure = Measure::Throughput;
    let sizes = view.figures.sizes(contestants, measure);
    let line = |contestant: Contestant| {
        let mut points = Vec::new();
        let mut failed = Vec::new();
        for size in sizes.iter().copied().flatten() {
            let best = view.figures.best(contestant, measure, Some(size));
            match best.map(|(_, figure)| figure.summary) {
                Some(Some(summary)) => points.push(Point {
                    size,
                    value: summary.median,
                    spread: (summary.least, summary.most),
                }),
                Some(None) => failed.push(size),
                None => {}
            }
        }
        let mut label = contestant.name().to_owned();
        if points.is_empty() {
            label += " (failed)";
        } else if !failed.is_empty() {
            label += " (\u{d7} failed)";
        }
        Line {
            label,
            series: series(contestant),
            points,
            failed,
        }
    };
    let lines: Vec<Line> = view
        .tried(contestants, measure)
        .into_iter()
        .map(line)
        .filter(|line| !line.points.is_empty() || !line.failed.is_empty())
        .collect();
    (!lines.is_empty()).then_some(Chart::Lines(Lines {
        lines,
        tick: |value| numbers::value(Measure::Throughput, value),
        what: "payload one way",
    }))
}

/// Medians, long ones and longest ones, of an idle machine.
pub const ROUND_TRIPS: [Measure; 4] = [
    Measure::RttP50,
    Measure::RttP99,
    Measure::RttP999,
    Measure::RttMax,
];
/// The same under load.
pub const LOADED: [Measure; 4] = [
    Measure::LoadedRttP50,
    Measure::LoadedRttP99,
    Measure::LoadedRttP999,
    Measure::LoadedRttMax,
];

/// Round trips, idle and under load.
pub fn round_trips(view: &View, contestants: &[Contestant]) -> Option<Chart> {
    let group = |head: &str, measures: [Measure; 4]| {
        let size = view.small(contestants, measures[0]);
        let row = |contestant: Contestant| {
            let (subject, figure) = view.figures.best(contestant, measures[0], size)?;
            let marks: Vec<Option<f64>> = measures
                .iter()
                .map(|&measure| Some(view.beside(subject, measure)?.summary?.median))
                .collect();
            let (shape, text) = match figure.summary {
                None => (Shape::Nothing, "failed".to_owned()),
                Some(summary) => {
                    let median = numbers::value(measures[0], summary.median);
                    let longest = marks.last().copied().flatten();
                    let text = match longest {
                        Some(longest) => {
                            format!("{median} to {}", numbers::value(measures[0], longest))
                        }
                        None => median,
                    };
                    (Shape::Range(marks), text)
                }
            };
            Some(with_failures(contestant, shape, text, figure))
        };
        let rows: Vec<Row> = contestants
            .iter()
            .filter_map(|&contestant| row(contestant))
            .collect();
        let size = size.map(numbers::size).unwrap_or_default();
        (!rows.is_empty()).then(|| Group {
            head: format!("{head}, {size}").trim_end_matches(", ").to_owned(),
            rows,
            tick: Some(|value| numbers::value(Measure::RttP50, value)),
        })
    };
    let groups = [
        group("nothing else running", ROUND_TRIPS),
        group("under load", LOADED),
    ];
    bars(
        Axis::Log,
        groups,
        vec!["median", "99 %", "99.9 %", "longest"],
    )
}

/// CPU time.
pub fn cpu(view: &View) -> Option<Chart> {
    let measure = Measure::CpuPerMillion;
    let size = view.small(&ON_XEN, measure);
    let mut group = measured(view, measure, size, &ON_XEN);
    if let (Some(group), Some(size)) = (&mut group, size) {
        group.head = format!(
            "{}, both guests and dom0, less is better",
            numbers::size(size)
        );
        group.tick = Some(|value| numbers::value(Measure::CpuPerMillion, value));
    }
    bars(Axis::Log, [group], vec![])
}

/// What a guest takes.
pub fn guests(view: &View) -> Option<Chart> {
    let measures = [
        Measure::CreateToFirstRecord,
        Measure::EntryToFirstRecord,
        Measure::LeastMemory,
        Measure::ImageSize,
        Measure::Fit,
        Measure::Recovery,
    ];
    bars(
        Axis::Linear,
        measures.map(|measure| measured(view, measure, None, &ON_XEN)),
        vec![],
    )
}

/// Whole pipelines.
pub fn pipelines(view: &View) -> Option<Chart> {
    let measures = [Measure::PipelineAggregator, Measure::PipelineBroker];
    let groups = measures.map(|measure| {
        let size = view.small(&ON_XEN, measure);
        measured(view, measure, size, &ON_XEN)
    });
    bars(Axis::Linear, groups, vec![])
}

/// The paper's two figures beside ours.
pub fn paper(view: &View) -> Chart {
    let ours = |(over, theirs): (&str, &'static [Contestant]), measure, size: u64| {
        let value = view.over(theirs, measure, size);
        Row {
            label: format!("here, {} over {over}", numbers::size(size)),
            look: Look::Series(0),
            text: value.map_or_else(|| "not measured".to_owned(), numbers::times),
            shape: value.map_or(Shape::Nothing, |value| Shape::Bar {
                value,
                spread: None,
            }),
        }
    };
    let paper = |value: f64| Row {
        label: "the paper".to_owned(),
        look: Look::Quiet,
        shape: Shape::Bar {
            value,
            spread: None,
        },
        text: numbers::times(value),
    };
    const LINUX: (&str, &[Contestant]) = ("Linux TCP", &[Contestant::LinuxTcp]);
    const OWN: (&str, &[Contestant]) = ("unikernel TCP", &[Contestant::UnikernelTcp]);
    let throughput = Measure::Throughput;
    let mut rows = vec![paper(PAPER_THROUGHPUT)];
    rows.extend([64, 1024, 65_536].map(|size| ours(LINUX, throughput, size)));
    rows.extend([64, 1024, 65_536].map(|size| ours(OWN, throughput, size)));
    let latency = vec![
        paper(PAPER_LATENCY),
        ours(LINUX, Measure::RttP50, 64),
        ours(OWN, Measure::RttP50, 64),
    ];
    let group = |head: &str, rows| Group {
        head: head.to_owned(),
        rows,
        tick: Some(numbers::times),
    };
    Chart::Bars(Bars {
        axis: Axis::AroundOne,
        groups: vec![
            group("throughput, times that of TCP/IP", rows),
            group("latency, TCP/IP's over that of shared memory", latency),
        ],
        legend: vec![],
    })
}

fn bars<const N: usize>(
    axis: Axis,
    groups: [Option<Group>; N],
    legend: Vec<&'static str>,
) -> Option<Chart> {
    let groups: Vec<Group> = groups.into_iter().flatten().collect();
    (!groups.is_empty()).then_some(Chart::Bars(Bars {
        axis,
        groups,
        legend,
    }))
}

/// One measure of all that were tried, each at its best setting.
fn measured(
    view: &View,
    measure: Measure,
    size: Option<u64>,
    contestants: &[Contestant],
) -> Option<Group> {
    let row = |contestant: Contestant| {
        let (_, figure) = view.figures.best(contestant, measure, size)?;
        let (shape, text) = match figure.summary {
            None => (Shape::Nothing, "failed".to_owned()),
            Some(summary) => {
                let spread = (summary.count > 1).then_some((summary.least, summary.most));
                let value = summary.median;
                (Shape::Bar { value, spread }, numbers::value(measure, value))
            }
        };
        Some(with_failures(contestant, shape, text, figure))
    };
    let rows: Vec<Row> = contestants
        .iter()
        .filter_map(|&contestant| row(contestant))
        .collect();
    (!rows.is_empty()).then(|| Group {
        head: format!("{}, {}", measure.name(), better(measure)),
        rows,
        tick: None,
    })
}

fn better(measure: Measure) -> &'static str {
    match measure.better() {
        Better::Higher => "more is better",
        Better::Lower => "less is better",
    }
}

fn with_failures(contestant: Contestant, shape: Shape, text: String, figure: &Figure) -> Row {
    let partly = figure.failed().filter(|_| figure.summary.is_some());
    let look = match figure.summary {
        Some(_) => Look::Series(series(contestant)),
        None => Look::Missed,
    };
    Row {
        label: contestant.name().to_owned(),
        look,
        shape,
        text: match partly {
            Some(failed) => format!("{text} ({failed})"),
            None => text,
        },
    }
}
