//! What stands first in a report. Pure.

use super::document::{Block, Section, Tile, Tone};
use super::numbers;
use super::view::{View, clipped};
use crate::compare::results::Results;

/// What and when, in a line.
pub fn subtitle(results: &Results) -> String {
    let scope = &results.scope;
    let mut parts = vec![
        format!("begun {}", clipped(&results.started)),
        format!("took {}", took(results.seconds)),
        format!("{} rounds", scope.rounds),
    ];
    if scope.quick {
        parts.push("only what the goals need".to_owned());
    }
    if !scope.only.is_empty() {
        parts.push(format!("only {}", clipped(&scope.only.join(", "))));
    }
    parts.push(clipped(&results.tool));
    parts.join(" \u{b7} ")
}

fn took(seconds: f64) -> String {
    match seconds {
        60.0..1e9 => format!(
            "{} min {:02} s",
            (seconds / 60.0) as u64,
            (seconds % 60.0) as u64
        ),
        _ => numbers::seconds(seconds),
    }
}

/// The first part: what must not be overlooked, and the largest numbers.
pub fn first(view: &View) -> Section {
    let results = view.results;
    let mut blocks = Vec::new();
    if let Some(why) = &results.cut_short {
        blocks.push(Block::Notice(
            "Cut short",
            format!("It ended before everything was measured: {}", clipped(why)),
        ));
    }
    if let Some(emulator) = &results.machine.emulator {
        let text = format!(
            "The machine under Xen was {}. {DISTORTS}",
            clipped(emulator)
        );
        blocks.push(Block::Notice("Emulated", text));
    }
    if let Some(load) = results.machine.load.filter(|_| view.is_busy()) {
        blocks.push(Block::Notice(
            "Busy",
            format!(
                "Others took {} of the host's CPU time meanwhile, and its load was {} before: figures are doubtful.",
                numbers::percent(load.others),
                numbers::digits(load.before)
            ),
        ));
    }
    if !results.failures.is_empty() {
        let text = format!(
            "{} runs gave no figure; they stand under Failures.",
            results.failures.len()
        );
        blocks.push(Block::Notice("Failures", text));
    }
    if results.samples.is_empty() {
        blocks.push(Block::Paragraph("Nothing was measured.".to_owned()));
    }
    let tiles: Vec<Tile> = HEADLINES
        .iter()
        .filter_map(|&(id, words)| tile(view, id, words))
        .collect();
    if !tiles.is_empty() {
        blocks.push(Block::Tiles(tiles));
    }
    Section {
        id: "top",
        head: "",
        blocks,
    }
}

/// What emulation by translation does to figures.
const DISTORTS: &str = "Every instruction of guests, Xen and dom0 is translated by a program, so times are many times those of \
     hardware and not in proportion to them: a copy, a barrier, a hypercall or a change of page tables costs what its emulation \
     costs, caches are not modelled, and the machine's CPUs are threads of a host that may do other work. Ratios within one \
     run say more than times, and neither is that of hardware. What is measured without Xen is not emulated.";

const HEADLINES: [(&str, &str); 6] = [
    ("vchan-vs-linux-tcp-64", "the throughput of Linux TCP, 64 B"),
    (
        "vchan-vs-linux-tcp-64k",
        "the throughput of Linux TCP, 64 KiB",
    ),
    (
        "rtt-linux-tcp-vs-vchan",
        "shorter round trips than Linux TCP",
    ),
    ("cpu-per-million", "less CPU time than Linux TCP"),
    (
        "create-to-first-record",
        "sooner at work than a Linux guest",
    ),
    ("memory", "less memory than a Linux guest"),
];

fn tile(view: &View, id: &str, words: &str) -> Option<Tile> {
    let goal = view.results.goals.iter().find(|goal| goal.id == id)?;
    let (verdict, tone) = if goal.met {
        ("met", Tone::Good)
    } else {
        ("missed", Tone::Bad)
    };
    Some(Tile {
        number: numbers::times_of(goal.value?, goal.goal),
        words: words.to_owned(),
        note: format!("goal {} {verdict}", numbers::times(goal.goal)),
        tone,
    })
}
