//! What came of a comparison: the document `results.json`, and the events that it is gathered from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::catalogue::{Better, Contestant, Measure};

/// The version of the document; raised whenever an older reader would misread it.
pub const SCHEMA: u32 = 1;

/// The whole document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What was compared where; says so if the machine was emulated.
    pub title: String,
    /// The program and its version.
    pub tool: String,
    /// When it began, RFC 3339.
    pub started: String,
    /// How long it took.
    pub seconds: f64,
    /// What was asked for.
    pub scope: Scope,
    /// Why it ended before everything was measured; `None` if it did not.
    pub cut_short: Option<String>,
    /// On what it ran.
    pub machine: Machine,
    /// Who was compared, and how each was set up.
    pub contestants: Vec<About>,
    /// By what.
    pub measures: Vec<MeasureInfo>,
    /// What is to be reached, and whether it was.
    pub goals: Vec<Goal>,
    /// Each figure of each round.
    pub samples: Vec<Sample>,
    /// What failed or gave wrong bytes.
    pub failures: Vec<Failed>,
    /// What makes figures doubtful: a busy machine, a check that was left out.
    pub warnings: Vec<String>,
}

/// What was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// Only what the goals need.
    pub quick: bool,
    /// Only these contestants, measures or goals; empty for all.
    pub only: Vec<String>,
    /// How often each figure is taken.
    pub rounds: u32,
}

/// On what it ran.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The CPU by its own name.
    pub cpu: String,
    /// How many of them the machine under Xen has.
    pub cpus: u32,
    /// Its memory, in MiB.
    pub memory_mib: u64,
    /// `QEMU 7.2 (TCG)` if the machine was emulated.
    pub emulator: Option<String>,
    /// Xen's version.
    pub xen: String,
    /// Dom0's kernel.
    pub dom0_kernel: String,
    /// The host's load before it began and the highest in between, by the host's own count of one minute.
    pub load: Option<Load>,
    /// Whatever else a reader wants to know: name and value.
    pub more: BTreeMap<String, String>,
}

/// How busy the host was.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Before it began.
    pub before: f64,
    /// The share of the host's CPU time that others took meanwhile, 0 to 1.
    pub others: f64,
}

/// A contestant, for readers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Which.
    pub id: Contestant,
    /// What a reader calls it.
    pub name: String,
    /// How it was set up: kernel, memory, options, programs; lines of text.
    pub setup: String,
}

/// A measure, for readers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeasureInfo {
    /// Which.
    pub id: Measure,
    /// What a reader calls it.
    pub name: String,
    /// The unit of its values.
    pub unit: String,
    /// Which of two values is the better one.
    pub better: Better,
}

impl From<Measure> for MeasureInfo {
    fn from(id: Measure) -> Self {
        Self {
            id,
            name: id.name().to_owned(),
            unit: id.unit().to_owned(),
            better: id.better(),
        }
    }
}

/// What is to be reached: a ratio of two medians.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Goal {
    /// Its word.
    pub id: String,
    /// The least ratio.
    pub goal: f64,
    /// What was reached; `None` where one of the two was not measured, or failed.
    pub value: Option<f64>,
    /// Whether that is enough.
    pub met: bool,
}

/// Of what a figure is one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Subject {
    /// Who.
    pub contestant: Contestant,
    /// By which of its settings: `packet`, `stream`, `zerocopy`; `nodelay,gso`; empty where there is one alone.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub setting: String,
    /// By what.
    pub measure: Measure,
    /// Bytes in a message, where that matters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

/// A figure of one round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Of what.
    #[serde(flatten)]
    pub subject: Subject,
    /// In which round, from 1.
    pub round: u32,
    /// How much, in the measure's unit.
    pub value: f64,
}

/// A run that gave no figure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// Of what.
    #[serde(flatten)]
    pub subject: Subject,
    /// In which round, from 1.
    pub round: u32,
    /// Why, in one line.
    pub reason: String,
}

/// What a comparison says while it runs: a line of JSON each, from dom0 to whoever makes the report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// A figure.
    Sample(Sample),
    /// A run that gave none.
    Failed(Failed),
    /// On what it runs; what is known later replaces what was said before.
    Machine(Machine),
    /// How a contestant is set up.
    About(About),
    /// What makes figures doubtful.
    Warning(String),
    /// Everything that was asked for was tried.
    Complete,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_line_of_flat_json() {
        let sample = Sample {
            subject: Subject {
                contestant: Contestant::LinuxTcp,
                setting: "nodelay,gso".into(),
                measure: Measure::RttP999,
                size: Some(64),
            },
            round: 2,
            value: 1.5,
        };
        let line = serde_json::to_string(&Event::Sample(sample.clone())).unwrap();
        assert_eq!(
            line,
            r#"{"sample":{"contestant":"linux-tcp","setting":"nodelay,gso","measure":"rtt-p999","size":64,"round":2,"value":1.5}}"#
        );
        assert_eq!(
            serde_json::from_str::<Event>(&line).unwrap(),
            Event::Sample(sample)
        );
    }
}
