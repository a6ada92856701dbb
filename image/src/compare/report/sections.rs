//! What a report says, in which order. Pure.

use super::document::{Block, Document, Figure, Section, Table};
use super::view::{NATIVE, ON_XEN, View, clipped};
use super::{charts, lead, numbers, tables};
use crate::compare::against::{Against, OtherMachine, Verdict};
use crate::compare::catalogue::{Contestant, Measure};
use crate::compare::goals::GoalSpec;
use crate::compare::results::Results;
use crate::compare::stats::LEAST_CHANGE;

/// Changes that stand open; the others are folded away.
const CHANGES_SHOWN: usize = 15;
/// Of charts that have them.
const WHISKERS: &str = "Whiskers: the least and the most.";

/// The whole report; beside an older run, if there is one to be held against.
pub fn document(results: &Results, against: Option<&Result<Against, OtherMachine>>) -> Document {
    let view = View::new(results);
    let mut sections = vec![lead::first(&view), goals(&view)];
    sections.extend(against.map(held_against));
    sections.extend(throughput(&view));
    sections.extend(round_trips(&view));
    sections.extend(cpu(&view));
    sections.extend(guests(&view));
    sections.extend(pipelines(&view));
    sections.extend(native(&view));
    sections.extend([paper(&view), set_up(&view), failures(&view), samples(&view)]);
    Document {
        title: view.title(),
        subtitle: lead::subtitle(results),
        sections,
    }
}

fn goals(view: &View) -> Section {
    let goals = &view.results.goals;
    let met = goals.iter().filter(|goal| goal.met).count();
    let measured = goals.iter().filter(|goal| goal.value.is_some()).count();
    let missed: Vec<&str> = goals
        .iter()
        .filter(|goal| goal.value.is_some() && !goal.met)
        .map(|goal| GoalSpec::find(&goal.id).map_or("", |spec| spec.words))
        .collect();
    let mut text = format!("{met} of {} goals are met", goals.len());
    if !missed.is_empty() {
        text += &format!(", {} missed: {}", missed.len(), missed.join("; "));
    }
    text += &match goals.len() - measured {
        0 => ".".to_owned(),
        open => format!("; {open} could not be told."),
    };
    text += &out_of_reach(view);
    let measures = [
        Measure::Throughput,
        Measure::RttP50,
        Measure::CreateToFirstRecord,
        Measure::LeastMemory,
        Measure::ImageSize,
        Measure::CpuPerMillion,
    ];
    let set_up = "Ratios of the medians below, each side at its best setting; to the right of the line the goal is met.";
    let chart = Block::Chart(Figure {
        name: "goals",
        title: with_emulator(view, "What was reached over what was to be"),
        chart: charts::goals(view),
        set_up: format!("{set_up} {}", view.set_up(&ON_XEN, &measures)),
    });
    let table = Block::Table(tables::goals(view), Some("The goals in numbers".to_owned()));
    Section {
        id: "goals",
        head: "Goals",
        blocks: vec![Block::Paragraph(text), chart, table],
    }
}

/// Which missed goals nothing could meet on this machine, and why.
fn out_of_reach(view: &View) -> String {
    let missed = view.results.goals.iter().filter(|goal| !goal.met);
    let specs = missed.filter_map(|goal| GoalSpec::find(&goal.id));
    let over: Vec<(&GoalSpec, f64, f64)> = specs
        .filter_map(|spec| {
            let (most, ratio) = spec.ceiling(&view.figures)?;
            (ratio < spec.goal).then_some((spec, most, ratio))
        })
        .collect();
    if over.is_empty() {
        return String::new();
    }
    let each = over.iter().map(|(spec, most, ratio)| {
        let most = numbers::value(Measure::Throughput, *most);
        format!("{}, {} at {most}", spec.words, numbers::times(*ratio))
    });
    format!(
        " Out of reach on this machine, where the first of the two moves no more at any size of messages: {}.",
        each.collect::<Vec<_>>().join("; ")
    )
}

fn throughput(view: &View) -> Option<Section> {
    let chart = charts::throughput(view, &ON_XEN)?;
    let loads = [Measure::Throughput];
    Some(Section {
        id: "throughput",
        head: "Throughput",
        blocks: vec![
            Block::Chart(Figure {
                name: "throughput",
                title: with_emulator(view, "Throughput by the size of messages"),
                chart,
                set_up: format!("{WHISKERS} {}", view.set_up(&ON_XEN, &loads)),
            }),
            folded(
                tables::by_size(view, &ON_XEN, Measure::Throughput),
                "Throughput in numbers",
            ),
        ],
    })
}

fn round_trips(view: &View) -> Option<Section> {
    Some(Section {
        id: "round-trips",
        head: "Round trips",
        blocks: vec![
            Block::Chart(Figure {
                name: "round-trips",
                title: with_emulator(view, "Round trips, from the median to the longest"),
                chart: charts::round_trips(view, &ON_XEN)?,
                set_up: format!(
                    "Each mark by itself the median of all rounds. Under load a second pair of the same kind streams 64 KiB messages. {}",
                    view.set_up(&ON_XEN, &[Measure::RttP50, Measure::LoadedRttP50])
                ),
            }),
            folded(tables::round_trips(view, &ON_XEN), "Round trips in numbers"),
        ],
    })
}

fn cpu(view: &View) -> Option<Section> {
    let small = view.small(&ON_XEN, Measure::CpuPerMillion);
    let large = view
        .figures
        .sizes(&ON_XEN, Measure::CpuPerGb)
        .last()
        .copied()
        .flatten();
    let columns = [
        (Measure::CpuPerMillion, small),
        (Measure::Dom0CpuPerMillion, small),
        (Measure::HypercallsPerMessage, small),
        (Measure::EventsPerMessage, small),
        (Measure::CpuPerGb, large),
        (Measure::Dom0CpuPerGb, large),
    ];
    Some(Section {
        id: "cpu",
        head: "CPU time",
        blocks: vec![
            Block::Chart(Figure {
                name: "cpu",
                title: with_emulator(view, "CPU time of a million messages"),
                chart: charts::cpu(view)?,
                set_up: format!(
                    "{WHISKERS} {}",
                    view.set_up(&ON_XEN, &[Measure::CpuPerMillion])
                ),
            }),
            folded(
                tables::of_guests(view, &ON_XEN, &columns),
                "CPU time, hypercalls and events in numbers",
            ),
        ],
    })
}

fn guests(view: &View) -> Option<Section> {
    let measures = [
        Measure::CreateToFirstRecord,
        Measure::EntryToFirstRecord,
        Measure::LeastMemory,
        Measure::ImageSize,
        Measure::Fit,
        Measure::Recovery,
    ];
    Some(Section {
        id: "guests",
        head: "Boot, memory, image, recovery",
        blocks: vec![
            Block::Chart(Figure {
                name: "guests",
                title: with_emulator(view, "What a guest takes"),
                chart: charts::guests(view)?,
                set_up: format!("{WHISKERS} {}", view.set_up(&ON_XEN, &measures)),
            }),
            folded(
                tables::of_guests(view, &ON_XEN, &measures.map(|measure| (measure, None))),
                "The same in numbers",
            ),
        ],
    })
}

fn pipelines(view: &View) -> Option<Section> {
    let measures = [Measure::PipelineAggregator, Measure::PipelineBroker];
    let columns = measures.map(|measure| (measure, view.small(&ON_XEN, measure)));
    Some(Section {
        id: "pipelines",
        head: "Whole pipelines",
        blocks: vec![
            Block::Chart(Figure {
                name: "pipelines",
                title: with_emulator(view, "Readings a second through a whole pipeline"),
                chart: charts::pipelines(view)?,
                set_up: format!("{WHISKERS} {}", view.set_up(&ON_XEN, &measures)),
            }),
            folded(
                tables::of_guests(view, &ON_XEN, &columns),
                "Pipelines in numbers",
            ),
        ],
    })
}

fn native(view: &View) -> Option<Section> {
    let set_up = || view.set_up(&NATIVE, &[Measure::Throughput]);
    let mut blocks = Vec::new();
    if let Some(chart) = charts::throughput(view, &NATIVE) {
        blocks.push(Block::Chart(Figure {
            name: "native",
            title: "Without Xen, beside the copies alone".to_owned(),
            chart,
            set_up: format!("{WHISKERS} {}", set_up()),
        }));
        blocks.push(Block::Table(tables::of_memcpy(view, &NATIVE), None));
        blocks.push(folded(
            tables::by_size(view, &NATIVE, Measure::Throughput),
            "Throughput in numbers",
        ));
    }
    if let Some(chart) = charts::round_trips(view, &NATIVE) {
        blocks.push(Block::Chart(Figure {
            name: "native-round-trips",
            title: "Round trips without Xen".to_owned(),
            chart,
            set_up: view.set_up(&NATIVE, &[Measure::RttP50, Measure::LoadedRttP50]),
        }));
        blocks.push(folded(
            tables::round_trips(view, &NATIVE),
            "Round trips in numbers",
        ));
    }
    (!blocks.is_empty()).then_some(Section {
        id: "native",
        head: "Two CPUs without Xen",
        blocks,
    })
}

fn paper(view: &View) -> Section {
    const OURS: [Contestant; 3] = [
        Contestant::UnikernelVchan,
        Contestant::UnikernelTcp,
        Contestant::LinuxTcp,
    ];
    let text = "The paper says of its shared-memory channel that it has five times the throughput and 2.5 times less latency than \
         TCP/IP over virtual interfaces. Its abstract gives neither hardware nor sizes of messages, so these figures stand \
         beside ours, not against them.";
    Section {
        id: "paper",
        head: "Beside the paper",
        blocks: vec![
            Block::Paragraph(text.to_owned()),
            Block::Source(
                "Interdomain I/O Optimization in Virtualized Sensor Networks, Sensors 2018, 18(12), 4395",
                "https://doi.org/10.3390/s18124395",
            ),
            Block::Chart(Figure {
                name: "paper",
                title: with_emulator(view, "Shared memory over TCP/IP: the paper and here"),
                chart: charts::paper(view),
                set_up: format!(
                    "The paper's rows are its own words. Ours: {}",
                    view.set_up(&OURS, &[Measure::Throughput, Measure::RttP50])
                ),
            }),
            Block::Table(tables::paper(view), None),
        ],
    }
}

fn held_against(held: &Result<Against, OtherMachine>) -> Section {
    let mut blocks = Vec::new();
    match held {
        Err(other) => blocks.push(Block::Notice("Not comparable", clipped(&other.to_string()))),
        Ok(against) => {
            let count = |verdict: &Verdict| match against.count(*verdict) {
                0 => None,
                count => Some(format!("{count} {}", verdict.words())),
            };
            let counts = [
                Verdict::Better,
                Verdict::Worse,
                Verdict::FailsNow,
                Verdict::WorksNow,
                Verdict::New,
                Verdict::Gone,
                Verdict::Same,
                Verdict::Unknown,
            ];
            blocks.push(Block::Paragraph(format!(
                "Held against the run begun {}: {}. Beyond the noise is what lies further apart than both spreads \
                 together, and than {}.",
                clipped(&against.before),
                counts.iter().filter_map(count).collect::<Vec<_>>().join(", "),
                numbers::percent(LEAST_CHANGE)
            )));
            if !against.notes.is_empty() {
                let notes = against.notes.iter().map(|note| clipped(note));
                blocks.push(Block::Notice(
                    "Differs too",
                    notes.collect::<Vec<_>>().join("; "),
                ));
            }
            let mut table = tables::against(against);
            let more = table.rows.split_off(table.rows.len().min(CHANGES_SHOWN));
            let (head, words) = (table.head.clone(), table.words);
            if !table.rows.is_empty() {
                blocks.push(Block::Table(table, None));
            }
            if !more.is_empty() {
                let summary = format!("{} more", more.len());
                let rows = more;
                blocks.push(folded(Table { head, rows, words }, &summary));
            }
        }
    }
    Section {
        id: "against",
        head: "Against an older run",
        blocks,
    }
}

fn set_up(view: &View) -> Section {
    let machine = &view.results.machine;
    let load = match machine.load {
        Some(load) => format!(
            "load {} before, others took {} of the host's CPU time",
            numbers::digits(load.before),
            numbers::percent(load.others)
        ),
        None => "nobody looked".to_owned(),
    };
    let mut rows = vec![
        ("CPU", clipped(&machine.cpu)),
        ("CPUs under Xen", machine.cpus.to_string()),
        ("memory under Xen", format!("{} MiB", machine.memory_mib)),
        (
            "emulated by",
            machine
                .emulator
                .as_deref()
                .map_or_else(|| "nothing".to_owned(), clipped),
        ),
        ("Xen", clipped(&machine.xen)),
        ("dom0's kernel", clipped(&machine.dom0_kernel)),
        ("the host meanwhile", load),
    ];
    rows.extend(
        machine
            .more
            .iter()
            .map(|(name, value)| (name.as_str(), clipped(value))),
    );
    let table = Table {
        head: vec!["machine".to_owned(), String::new()],
        rows: rows
            .into_iter()
            .map(|(name, value)| vec![clipped(name).into(), value.into()])
            .collect(),
        words: 2,
    };
    let mut blocks = vec![Block::Table(table, None)];
    let about = &view.results.contestants;
    blocks.extend(
        about
            .iter()
            .map(|about| Block::Lines(clipped(&about.name), about.setup.clone())),
    );
    if about.is_empty() {
        blocks.push(Block::Paragraph(
            "No contestant told how it was set up.".to_owned(),
        ));
    }
    Section {
        id: "set-up",
        head: "Set-up",
        blocks,
    }
}

fn failures(view: &View) -> Section {
    let table = tables::failures(view);
    let mut blocks = vec![if table.rows.is_empty() {
        Block::Paragraph("Nothing failed, and no byte was wrong.".to_owned())
    } else {
        Block::Table(table, None)
    }];
    let warnings = view.results.warnings.iter();
    blocks.extend(warnings.map(|warning| Block::Notice("Warning", clipped(warning))));
    Section {
        id: "failures",
        head: "Failures and warnings",
        blocks,
    }
}

fn samples(view: &View) -> Section {
    let count = view.results.samples.len();
    Section {
        id: "samples",
        head: "All samples",
        blocks: vec![
            Block::Paragraph(
                "The same stand in results.json, whose keys grantflow compare --schema explains."
                    .to_owned(),
            ),
            folded(
                tables::samples(view),
                &format!("{count} samples, in the order of rounds"),
            ),
        ],
    }
}

fn folded(table: Table, summary: &str) -> Block {
    Block::Table(table, Some(summary.to_owned()))
}

fn with_emulator(view: &View, title: &str) -> String {
    match &view.results.machine.emulator {
        Some(emulator) => format!("{title}, emulated by {}", clipped(emulator)),
        None => title.to_owned(),
    }
}
