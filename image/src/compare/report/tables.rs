//! The tables of a report. Pure.

use super::charts::{LOADED, PAPER_LATENCY, PAPER_THROUGHPUT, ROUND_TRIPS};
use super::document::{Cell, Table, Tone};
use super::numbers;
use super::view::{View, cell, clipped};
use crate::compare::against::{Against, Verdict};
use crate::compare::catalogue::{Contestant, Measure};
use crate::compare::figures::Figure;
use crate::compare::goals::GoalSpec;
use crate::compare::results::Subject;

/// The goals.
pub fn goals(view: &View) -> Table {
    let rows = view.results.goals.iter().map(|goal| {
        let words = GoalSpec::find(&goal.id).map_or(goal.id.as_str(), |spec| spec.words);
        let (value, tone, verdict) = match goal.value {
            None => ("\u{2013}".to_owned(), Tone::Plain, "not measured"),
            Some(value) if goal.met => (numbers::times(value), Tone::Good, "met"),
            Some(value) => (numbers::times_of(value, goal.goal), Tone::Bad, "missed"),
        };
        vec![
            words.into(),
            goal.id.as_str().into(),
            Cell::from(numbers::times(goal.goal)),
            value.into(),
            Cell::toned(verdict, tone),
        ]
    });
    Table {
        head: heads(&["ratio of medians", "id", "goal", "reached", ""]),
        rows: rows.collect(),
        words: 2,
    }
}

/// A measure over the sizes of messages, a row for each contestant, at the best of its settings.
pub fn by_size(view: &View, contestants: &[Contestant], measure: Measure) -> Table {
    let sizes = view.figures.sizes(contestants, measure);
    let mut head = heads(&["median"]);
    head.extend(
        sizes
            .iter()
            .map(|size| size.map_or_else(String::new, numbers::size)),
    );
    let rows = view
        .tried(contestants, measure)
        .into_iter()
        .map(|contestant| {
            let best = |&size: &Option<u64>| view.figures.best(contestant, measure, size);
            let cells = sizes
                .iter()
                .map(|size| cell(measure, best(size).map(|(_, figure)| figure)).into());
            let mut row: Vec<Cell> = vec![contestant.name().into()];
            row.extend(cells);
            row
        });
    Table {
        rows: rows.collect(),
        head,
        words: 1,
    }
}

/// Throughput without Xen as a share of memcpy's.
pub fn of_memcpy(view: &View, contestants: &[Contestant]) -> Table {
    let measure = Measure::Throughput;
    let sizes = view.figures.sizes(contestants, measure);
    let mut head = heads(&["share of memcpy"]);
    head.extend(
        sizes
            .iter()
            .map(|size| size.map_or_else(String::new, numbers::size)),
    );
    let median = |contestant, size| {
        let (_, figure) = view.figures.best(contestant, measure, size)?;
        Some(figure.summary?.median)
    };
    let share = |contestant, size| {
        let share = median(contestant, size)? / median(Contestant::NativeMemcpy, size)?;
        share.is_finite().then(|| numbers::percent(share))
    };
    let others = view.tried(contestants, measure).into_iter();
    let rows = others
        .filter(|&c| c != Contestant::NativeMemcpy)
        .map(|contestant| {
            let mut row: Vec<Cell> = vec![contestant.name().into()];
            let shares = sizes.iter().map(|&size| share(contestant, size));
            row.extend(
                shares.map(|share| Cell::from(share.unwrap_or_else(|| "\u{2013}".to_owned()))),
            );
            row
        });
    Table {
        rows: rows.collect(),
        head,
        words: 1,
    }
}

/// Round trips, idle and under load, of the size that the chart shows.
pub fn round_trips(view: &View, contestants: &[Contestant]) -> Table {
    let columns = [ROUND_TRIPS, LOADED].concat();
    let mut head = heads(&["round trip"]);
    head.extend(["median", "99 %", "99.9 %", "longest"].map(str::to_owned));
    head.extend(["loaded: median", "99 %", "99.9 %", "longest"].map(str::to_owned));
    let row = |&contestant: &Contestant| {
        let cells: Vec<Cell> = [ROUND_TRIPS, LOADED]
            .iter()
            .flat_map(|measures| {
                let size = view.small(contestants, measures[0]);
                let best = view.figures.best(contestant, measures[0], size);
                measures.map(|measure| {
                    let figure = best.and_then(|(subject, _)| view.beside(subject, measure));
                    cell(measure, figure).into()
                })
            })
            .collect();
        let tried = columns
            .iter()
            .any(|&measure| view.tried(&[contestant], measure) == [contestant]);
        tried.then(|| [vec![contestant.name().into()], cells].concat())
    };
    Table {
        head,
        rows: contestants.iter().filter_map(row).collect(),
        words: 1,
    }
}

/// Several measures, a column each; those that go with the first are of the same setting.
pub fn of_guests(
    view: &View,
    contestants: &[Contestant],
    columns: &[(Measure, Option<u64>)],
) -> Table {
    let tried: Vec<_> = columns
        .iter()
        .filter(|(measure, _)| !view.tried(contestants, *measure).is_empty())
        .collect();
    let mut head = heads(&[""]);
    head.extend(tried.iter().map(|(measure, size)| match size {
        Some(size) => format!("{}, {}", measure.name(), numbers::size(*size)),
        None => measure.name().to_owned(),
    }));
    let row = |&contestant: &Contestant| {
        let cells: Vec<Cell> = tried
            .iter()
            .map(|(measure, size)| {
                let best = view.figures.best(contestant, *measure, *size);
                cell(*measure, best.map(|(_, figure)| figure)).into()
            })
            .collect();
        let any = tried
            .iter()
            .any(|(measure, _)| !view.tried(&[contestant], *measure).is_empty());
        any.then(|| [vec![contestant.name().into()], cells].concat())
    };
    Table {
        head,
        rows: contestants.iter().filter_map(row).collect(),
        words: 1,
    }
}

/// The paper's two figures in rows of their own, before ours.
pub fn paper(view: &View) -> Table {
    let ratio = |theirs: &'static [Contestant], measure, size| {
        Cell::from(
            view.over(theirs, measure, size)
                .map_or_else(|| "\u{2013}".to_owned(), numbers::times),
        )
    };
    let paper = |who: &str, throughput: f64, latency: f64| -> Vec<Cell> {
        let blank = Cell::from("");
        let throughput = Cell::from(numbers::times(throughput));
        vec![
            who.into(),
            throughput,
            blank.clone(),
            blank,
            numbers::times(latency).into(),
        ]
    };
    let ours = |who: &str, theirs: &'static [Contestant]| -> Vec<Cell> {
        vec![
            who.into(),
            ratio(theirs, Measure::Throughput, 64),
            ratio(theirs, Measure::Throughput, 1024),
            ratio(theirs, Measure::Throughput, 65_536),
            ratio(theirs, Measure::RttP50, 64),
        ]
    };
    let mut head = heads(&["shared memory over TCP/IP"]);
    head.extend(["throughput, 64 B", "1 KiB", "64 KiB", "latency, 64 B"].map(str::to_owned));
    Table {
        head,
        rows: vec![
            paper(
                "the paper, sizes not given in its abstract",
                PAPER_THROUGHPUT,
                PAPER_LATENCY,
            ),
            ours("here: unikernel vchan, Linux TCP", &[Contestant::LinuxTcp]),
            ours(
                "here: unikernel vchan, unikernel TCP",
                &[Contestant::UnikernelTcp],
            ),
        ],
        words: 1,
    }
}

/// What failed.
pub fn failures(view: &View) -> Table {
    let row = |(subject, figure): (&Subject, &Figure)| {
        let row = |(round, reason): &(u32, String)| {
            let mut row = named(subject);
            row.push(round.to_string().into());
            row.push(Cell::toned(clipped(reason), Tone::Bad));
            row
        };
        figure.failures.iter().map(row).collect::<Vec<_>>()
    };
    Table {
        head: heads(&["who", "setting", "by what", "size", "round", "why"]),
        rows: view.figures.iter().flat_map(row).collect(),
        words: 6,
    }
}

/// Every figure with all its samples.
pub fn samples(view: &View) -> Table {
    let row = |(subject, figure): (&Subject, &Figure)| {
        let mut row = named(subject);
        row.push(subject.measure.unit().into());
        row.push(cell(subject.measure, Some(figure)).into());
        // As exact as they were measured.
        let values: Vec<String> = figure.values.iter().map(|value| exact(*value)).collect();
        row.push(Cell::toned(values.join(" "), Tone::Plain));
        row
    };
    Table {
        head: heads(&[
            "who", "setting", "by what", "size", "unit", "median", "samples",
        ]),
        rows: view.figures.iter().map(row).collect(),
        words: 7,
    }
}

/// What differs from an older run beyond the noise.
pub fn against(against: &Against) -> Table {
    let told = |verdict| !matches!(verdict, Verdict::Same | Verdict::Unknown);
    let rows = against
        .changes
        .iter()
        .filter(|change| told(change.verdict))
        .map(|change| {
            let measure = change.subject.measure;
            let value = |value: Option<f64>| {
                Cell::from(
                    value.map_or_else(|| "\u{2013}".to_owned(), |v| numbers::value(measure, v)),
                )
            };
            let tone = match change.verdict {
                Verdict::Better | Verdict::WorksNow => Tone::Good,
                Verdict::Worse | Verdict::FailsNow => Tone::Bad,
                _ => Tone::Plain,
            };
            let gain = change
                .gain
                .map_or_else(|| "\u{2013}".to_owned(), numbers::times);
            let mut row = vec![Cell::toned(change.verdict.words(), tone)];
            row.extend(named(&change.subject));
            row.extend([gain.into(), value(change.before), value(change.now)]);
            row
        });
    Table {
        head: heads(&[
            "", "who", "setting", "by what", "size", "gain", "before", "now",
        ]),
        rows: rows.collect(),
        words: 5,
    }
}

fn named(subject: &Subject) -> Vec<Cell> {
    vec![
        subject.contestant.name().into(),
        Cell::toned(clipped(&subject.setting), Tone::Plain),
        subject.measure.name().into(),
        subject.size.map(numbers::size).unwrap_or_default().into(),
    ]
}

fn exact(value: f64) -> String {
    if value != 0.0 && !(1e-6..1e15).contains(&value.abs()) {
        format!("{value:e}")
    } else {
        value.to_string()
    }
}

fn heads(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
