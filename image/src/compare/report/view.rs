//! What all parts of a report look at: results, their figures, and the sentences that every figure carries. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::numbers;
use crate::compare::catalogue::{Contestant, Measure};
use crate::compare::figures::{Figure, Figures};
use crate::compare::goals::GoalSpec;
use crate::compare::results::{Results, Subject};
use crate::compare::stats::Summary;

/// Results with their figures.
pub struct View<'a> {
    /// The results.
    pub results: &'a Results,
    /// Their samples by what they are of.
    pub figures: Figures,
}

/// The contestants with Xen beneath.
pub const ON_XEN: [Contestant; 6] = [
    Contestant::UnikernelVchan,
    Contestant::UnikernelTcp,
    Contestant::LinuxVchan,
    Contestant::LinuxLibxenvchan,
    Contestant::LinuxTcp,
    Contestant::LinuxUdp,
];

/// Those without.
pub const NATIVE: [Contestant; 3] = [
    Contestant::NativeVchan,
    Contestant::NativeLibxenvchan,
    Contestant::NativeMemcpy,
];

/// Under this name [`Machine::more`](crate::compare::results::Machine::more) has the host's own CPU, where it is another than the
/// machine under Xen sees.
pub const HOST_CPU: &str = "host CPU";

/// A host that did so much else meanwhile counts as busy. Its load before does not: building what is compared is one.
const BUSY_SHARE: f64 = 0.05;

impl<'a> View<'a> {
    /// Looks at these.
    pub fn new(results: &'a Results) -> Self {
        Self {
            results,
            figures: Figures::of(&results.samples, &results.failures),
        }
    }

    /// The title, which says so if the machine was emulated.
    pub fn title(&self) -> String {
        let title = self.results.title.trim();
        let title = if title.is_empty() {
            "A comparison"
        } else {
            title
        };
        match &self.results.machine.emulator {
            Some(emulator) if !title.contains(emulator.as_str()) => {
                format!("{title}, emulated by {emulator}")
            }
            _ => title.to_owned(),
        }
    }

    /// Those of these contestants of which something was tried by this measure.
    pub fn tried(&self, contestants: &[Contestant], measure: Measure) -> Vec<Contestant> {
        let any = |contestant: &Contestant| {
            let mut subjects = self.figures.iter().map(|(subject, _)| subject);
            subjects.any(|s| s.contestant == *contestant && s.measure == measure)
        };
        contestants.iter().copied().filter(any).collect()
    }

    /// The size that a chart of one size shows: 64 bytes if there are any, or else the smallest.
    pub fn small(&self, contestants: &[Contestant], measure: Measure) -> Option<u64> {
        let sizes = self.figures.sizes(contestants, measure);
        let small = Some(64);
        if sizes.contains(&small) {
            return small;
        }
        sizes.first().copied().flatten()
    }

    /// The figure of another measure in the same setting, or in the best one.
    pub fn beside(&self, subject: &Subject, measure: Measure) -> Option<&Figure> {
        let same = Subject {
            measure,
            ..subject.clone()
        };
        let best = || self.figures.best(subject.contestant, measure, subject.size);
        self.figures
            .get(&same)
            .or_else(|| best().map(|(_, figure)| figure))
    }

    /// In one sentence, how the figures of these contestants and measure came about.
    pub fn set_up(&self, contestants: &[Contestant], measures: &[Measure]) -> String {
        let shown = |subject: &Subject| {
            contestants.contains(&subject.contestant) && measures.contains(&subject.measure)
        };
        let rounds: BTreeSet<usize> = self
            .figures
            .iter()
            .filter(|(subject, figure)| shown(subject) && !figure.values.is_empty())
            .map(|(_, figure)| figure.values.len())
            .collect();
        let rounds = match (rounds.first(), rounds.last()) {
            (Some(1), Some(1)) => "One round, so without a spread.".to_owned(),
            (Some(least), Some(most)) if least == most => {
                format!("Medians of {most} rounds.")
            }
            (Some(least), Some(most)) => {
                format!("Medians of {least} to {most} rounds.")
            }
            _ => "No round gave a figure.".to_owned(),
        };
        let native = contestants.iter().all(|contestant| contestant.is_native());
        let place = if native { self.host() } else { self.machine() };
        let settings = self.settings(contestants, measures);
        format!(
            "{rounds} {place}{settings}{}",
            if self.is_busy() {
                " The host was busy."
            } else {
                ""
            }
        )
    }

    /// The machine under Xen, in a sentence.
    pub fn machine(&self) -> String {
        let machine = &self.results.machine;
        let emulated = match &machine.emulator {
            Some(emulator) => format!(" emulated by {} on {}", clipped(emulator), self.host_cpu()),
            None => String::new(),
        };
        format!(
            "Xen {}, dom0 Linux {}, {} CPUs ({}){emulated}, {} MiB.",
            or_unknown(&machine.xen),
            or_unknown(&machine.dom0_kernel),
            machine.cpus,
            or_unknown(&machine.cpu),
            machine.memory_mib
        )
    }

    fn host(&self) -> String {
        format!(
            "Two threads on the host itself ({}), without Xen and not emulated.",
            self.host_cpu()
        )
    }

    /// The CPU of the host, which an emulated machine does not see.
    fn host_cpu(&self) -> String {
        let machine = &self.results.machine;
        match (machine.more.get(HOST_CPU), &machine.emulator) {
            (Some(cpu), _) => or_unknown(cpu),
            (None, None) => or_unknown(&machine.cpu),
            (None, Some(_)) => "a CPU that was not told".to_owned(),
        }
    }

    /// Which settings the best figures have.
    fn settings(&self, contestants: &[Contestant], measures: &[Measure]) -> String {
        let mut used: BTreeMap<Contestant, BTreeSet<&str>> = BTreeMap::new();
        for &measure in measures {
            for size in self.figures.sizes(contestants, measure) {
                for &contestant in contestants {
                    let best = self.figures.best(contestant, measure, size);
                    if let Some((subject, _)) = best.filter(|(s, _)| !s.setting.is_empty()) {
                        used.entry(contestant).or_default().insert(&subject.setting);
                    }
                }
            }
        }
        if used.is_empty() {
            return String::new();
        }
        let list: Vec<String> = used
            .into_iter()
            .map(|(contestant, settings)| {
                let settings: Vec<String> = settings.into_iter().map(clipped).collect();
                format!("{}: {}", contestant.name(), settings.join(" or "))
            })
            .collect();
        format!(" Each at its best setting; {}.", list.join("; "))
    }

    /// How many times better vchan between unikernels is than these, each at its best setting.
    pub fn over(&self, theirs: &'static [Contestant], measure: Measure, size: u64) -> Option<f64> {
        let spec = GoalSpec {
            id: "",
            goal: 1.0,
            ours: &[Contestant::UnikernelVchan],
            theirs,
            measure,
            size: Some(size),
            words: "",
        };
        spec.value(&self.figures)
    }

    /// Whether others used the host so much that figures are doubtful.
    pub fn is_busy(&self) -> bool {
        let load = self.results.machine.load;
        load.is_some_and(|load| load.others > BUSY_SHARE)
    }
}

/// A median with its spread: `1.4 GB/s ± 4 %`.
pub fn with_spread(measure: Measure, summary: &Summary) -> String {
    let median = numbers::value(measure, summary.median);
    match summary.spread() {
        Some(spread) => format!("{median} \u{b1} {}", numbers::percent(spread / 2.0)),
        None => median,
    }
}

/// The same, or why there is none.
pub fn cell(measure: Measure, figure: Option<&Figure>) -> String {
    let Some(figure) = figure else {
        return "\u{2013}".to_owned();
    };
    match (&figure.summary, figure.failed()) {
        (Some(summary), None) => with_spread(measure, summary),
        (Some(summary), Some(failed)) => format!("{} ({failed})", with_spread(measure, summary)),
        (None, _) => "failed".to_owned(),
    }
}

fn or_unknown(text: &str) -> String {
    match text.trim() {
        "" => "not told".to_owned(),
        text => clipped(text),
    }
}

/// Texts from guests may be of any length.
pub fn clipped(text: &str) -> String {
    const MOST: usize = 400;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}\u{2026}", &text[..end]),
        None => text.to_owned(),
    }
}
