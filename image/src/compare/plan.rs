//! What is tried in which order. Pure.
//!
//! Contestants take turns: in each round, each figure is taken from each of them before the next figure, and who begins changes.
//! What slows the machine for a while then slows all of them. Before a figure is taken for the first time, the bytes of those who
//! give it are looked at.

use std::collections::BTreeSet;

use super::catalogue::{Contestant, Measure};
use super::goals::{GOALS, GoalSpec};
use super::results::{Scope, Subject};
use super::ways::{Setting, Way};

/// Rounds where nothing else is said.
pub const ROUNDS: u32 = 5;

/// Rounds with `--quick`.
pub const QUICK_ROUNDS: u32 = 3;

const SIZES: [u64; 9] = [
    16,
    64,
    256,
    1 << 10,
    4 << 10,
    16 << 10,
    64 << 10,
    256 << 10,
    1 << 20,
];
const ROUND_TRIP_SIZES: [u64; 3] = [64, 1 << 10, 64 << 10];
const LOADED_SIZES: [u64; 1] = [64];
// What lies between lies between.
const COUNTED_SIZES: [u64; 2] = [64, 64 << 10];

/// What is done with a pair of guests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trial {
    /// Every byte that comes is looked at; gives no figure.
    Check {
        /// Of messages that are sent back, rather than of a stream.
        echo: bool,
    },
    /// Messages go one way; CPU time is measured beside.
    Throughput,
    /// Each message is sent back.
    RoundTrip,
    /// The same while a second pair of the same kind streams.
    LoadedRoundTrip,
    /// Hypercalls and events are counted, by Xen where it can.
    Calls,
}

impl Trial {
    /// The trials that give figures, in the order in which they are taken.
    const GIVING: [Self; 4] = [
        Self::Throughput,
        Self::RoundTrip,
        Self::LoadedRoundTrip,
        Self::Calls,
    ];

    /// What it gives, the first of it what a person is told of.
    pub fn measures(self) -> &'static [Measure] {
        match self {
            Self::Check { .. } => &[],
            Self::Throughput => &[
                Measure::Throughput,
                Measure::CpuPerMillion,
                Measure::Dom0CpuPerMillion,
                Measure::CpuPerGb,
                Measure::Dom0CpuPerGb,
            ],
            Self::RoundTrip => &[
                Measure::RttP50,
                Measure::RttP99,
                Measure::RttP999,
                Measure::RttMax,
            ],
            Self::LoadedRoundTrip => &[
                Measure::LoadedRttP50,
                Measure::LoadedRttP99,
                Measure::LoadedRttP999,
                Measure::LoadedRttMax,
            ],
            Self::Calls => &[Measure::HypercallsPerMessage, Measure::EventsPerMessage],
        }
    }

    fn sizes(self) -> &'static [u64] {
        match self {
            Self::Check { .. } | Self::Throughput => &SIZES,
            Self::RoundTrip => &ROUND_TRIP_SIZES,
            Self::LoadedRoundTrip => &LOADED_SIZES,
            Self::Calls => &COUNTED_SIZES,
        }
    }
}

/// What is tried at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Work {
    /// A pair of guests.
    Pair {
        /// What is done with it.
        trial: Trial,
        /// Which pair.
        way: Way,
        /// Bytes in a message.
        size: u64,
    },
    /// The life of guests: boot, memory, how many fit, recovery, pipelines.
    Life {
        /// Whose.
        contestant: Contestant,
        /// What of it.
        measure: Measure,
    },
}

impl Work {
    /// What it gives a figure of, the main one first; nothing for a check.
    pub fn subjects(&self) -> Vec<Subject> {
        match *self {
            Self::Pair { trial, way, size } => {
                let of = |measure: &Measure| Subject {
                    contestant: way.contestant,
                    setting: way.setting.word().to_owned(),
                    measure: *measure,
                    size: Some(size),
                };
                trial.measures().iter().map(of).collect()
            }
            Self::Life {
                contestant,
                measure,
            } => vec![Subject {
                contestant,
                setting: String::new(),
                measure,
                size: None,
            }],
        }
    }

    /// Whether it gives no figure, and looks at bytes.
    pub fn is_check(&self) -> bool {
        matches!(
            self,
            Self::Pair {
                trial: Trial::Check { .. },
                ..
            }
        )
    }

    /// What a failed check of one spoils of the other: all of the same way and size, or for a quick look all of the way.
    fn shares_bytes(&self, other: &Self, quick: bool) -> bool {
        match (self, other) {
            (
                Self::Pair { way, size, .. },
                Self::Pair {
                    way: of, size: at, ..
                },
            ) => way == of && (quick || size == at),
            _ => false,
        }
    }

    /// The check that comes before this figure: of messages that go the same way at the same size, and there and back where
    /// these do. For a quick look, the way's first one stands for all, of a stream.
    fn check(&self, quick: bool) -> Option<Self> {
        let Self::Pair { trial, way, size } = *self else {
            return None;
        };
        let back = matches!(trial, Trial::RoundTrip | Trial::LoadedRoundTrip);
        let trial = Trial::Check {
            echo: back && !quick,
        };
        Some(Self::Pair { trial, way, size })
    }

    /// Who.
    pub fn contestant(&self) -> Contestant {
        match self {
            Self::Pair { way, .. } => way.contestant,
            Self::Life { contestant, .. } => *contestant,
        }
    }
}

/// One step of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// In which round, from 1; a check counts to that of the figure that it comes before.
    pub round: u32,
    /// What is tried.
    pub work: Work,
}

/// What is measured of the life of guests.
struct Life {
    measure: Measure,
    /// Whose.
    contestants: &'static [Contestant],
    /// The same with `--quick`, where what takes long is left out that cannot be the best.
    quick: &'static [Contestant],
    /// Whether once is enough, since it is the same each time.
    once: bool,
}

/// All of it; whoever carries it out, in `on_xen::life`, adds it here. What comes later may need what came before.
const LIFE: &[Life] = {
    use Contestant as C;
    const ALL: &[C] = &[C::UnikernelVchan, C::LinuxVchan, C::LinuxTcp];
    const VCHAN: &[C] = &[C::UnikernelVchan, C::LinuxVchan];
    const fn life(measure: Measure, quick: &'static [C], once: bool) -> Life {
        Life {
            measure,
            contestants: ALL,
            quick,
            once,
        }
    }
    &[
        life(Measure::ImageSize, ALL, true),
        life(Measure::CreateToFirstRecord, VCHAN, false),
        life(Measure::EntryToFirstRecord, &[], false),
        life(Measure::LeastMemory, VCHAN, true),
        life(Measure::Fit, &[], true),
        life(Measure::Recovery, &[], false),
        life(Measure::PipelineAggregator, &[], false),
        life(Measure::PipelineBroker, &[], false),
    ]
};

/// A word after `--only` that is nothing.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("--only: there is no `{0}`; `grantflow compare --list` says what there is")]
pub struct Unknown(pub String);

/// What `--only` asks for.
#[derive(Debug, Default)]
struct Only {
    contestants: BTreeSet<Contestant>,
    measures: BTreeSet<Measure>,
    goals: Vec<&'static GoalSpec>,
}

impl Only {
    fn new(words: &[String]) -> Result<Self, Unknown> {
        let mut only = Self::default();
        for word in words {
            let contestant = Contestant::ALL.into_iter().find(|one| one.id() == word);
            let measure = Measure::ALL.into_iter().find(|one| one.id() == word);
            let goal = GOALS.iter().find(|goal| goal.id == word);
            if contestant.is_none() && measure.is_none() && goal.is_none() {
                return Err(Unknown(word.clone()));
            }
            only.contestants.extend(contestant);
            only.measures.extend(measure);
            only.goals.extend(goal);
        }
        Ok(only)
    }

    /// Contestants and measures narrow each other down; goals come on top.
    fn wants(&self, subject: &Subject) -> bool {
        if self.goals.iter().any(|goal| needs(goal, subject)) {
            return true;
        }
        let (who, what) = (&self.contestants, &self.measures);
        let chosen = (who.is_empty() || who.contains(&subject.contestant))
            && (what.is_empty() || what.contains(&subject.measure));
        let said = !who.is_empty() || !what.is_empty();
        chosen && (said || self.goals.is_empty())
    }
}

/// Whether a goal is judged by figures of this subject.
fn needs(goal: &GoalSpec, subject: &Subject) -> bool {
    let who = goal.ours.contains(&subject.contestant) || goal.theirs.contains(&subject.contestant);
    who && goal.measure == subject.measure
        && goal.size.is_none_or(|size| Some(size) == subject.size)
}

/// With `--quick`, what no goal needs is left out, and what cannot be the best of a contestant's settings.
fn is_quick(work: &Work, subject: &Subject) -> bool {
    // A round trip has one message under way, which no later one could wait behind.
    let idle = matches!(
        work,
        Work::Pair {
            trial: Trial::RoundTrip,
            way: Way {
                setting: Setting::Tcp { nodelay: false, .. },
                ..
            },
            ..
        }
    );
    !idle && GOALS.iter().any(|goal| needs(goal, subject))
}

/// All steps of a comparison, in their order.
pub fn steps(scope: &Scope) -> Result<Vec<Step>, Unknown> {
    let only = Only::new(&scope.only)?;
    let wanted = |work: &Work| {
        let subjects = work.subjects();
        let mut wanted = subjects.iter();
        wanted.any(|subject| only.wants(subject) && (!scope.quick || is_quick(work, subject)))
    };
    // Each figure with all who give it.
    let mut figures: Vec<Vec<Work>> = Vec::new();
    for trial in Trial::GIVING {
        for size in trial.sizes() {
            let fitting = Way::all().filter(|way| *size <= way.longest());
            let pairs = fitting.map(|way| Work::Pair {
                trial,
                way,
                size: *size,
            });
            figures.push(pairs.filter(&wanted).collect());
        }
    }
    figures.retain(|figure| !figure.is_empty());
    let mut steps = Vec::new();
    let mut checked = BTreeSet::new();
    for round in 1..=scope.rounds {
        for (number, figure) in figures.iter().enumerate() {
            let turn = (round as usize - 1 + number) % figure.len();
            let (later, first) = figure.split_at(turn);
            let works = || first.iter().chain(later);
            for check in works().filter_map(|work| work.check(scope.quick)) {
                let Work::Pair { trial, way, size } = check else {
                    continue;
                };
                if checked.insert((trial, way, (!scope.quick).then_some(size))) {
                    steps.push(Step { round, work: check });
                }
            }
            steps.extend(works().map(|work| Step { round, work: *work }));
        }
    }
    // Last, since guests that stay between figures make room for these.
    for round in 1..=scope.rounds {
        for life in LIFE {
            let contestants = match scope.quick {
                true => life.quick,
                false => life.contestants,
            };
            let works = contestants.iter().map(|contestant| Work::Life {
                contestant: *contestant,
                measure: life.measure,
            });
            let mut works: Vec<Work> = works.filter(&wanted).collect();
            if life.once && round > 1 || works.is_empty() {
                continue;
            }
            let turn = (round as usize - 1) % works.len();
            works.rotate_left(turn);
            steps.extend(works.into_iter().map(|work| Step { round, work }));
        }
    }
    Ok(steps)
}

/// The figures that fail with the check of this number as soon as it does: those of the same way and size that were taken before,
/// and the next one. For a quick look, of the same way. Whoever takes the steps fails the rest in their turn.
pub fn failed_with(check: usize, steps: &[Step], quick: bool) -> Vec<&Step> {
    let (before, after) = steps.split_at(check);
    let Some((check, after)) = after.split_first() else {
        return Vec::new();
    };
    let is_spoilt =
        |step: &&Step| !step.work.is_check() && step.work.shares_bytes(&check.work, quick);
    let next = after.iter().find(is_spoilt);
    before.iter().filter(is_spoilt).chain(next).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(quick: bool, only: &[&str], rounds: u32) -> Scope {
        Scope {
            quick,
            only: only.iter().map(|&word| word.to_owned()).collect(),
            rounds,
        }
    }

    fn pairs(steps: &[Step], wanted: Trial) -> Vec<(u32, String, u64)> {
        let pick = |step: &Step| match step.work {
            Work::Pair { trial, way, size } if trial == wanted => {
                Some((step.round, way.to_string(), size))
            }
            _ => None,
        };
        steps.iter().filter_map(pick).collect()
    }

    #[test]
    fn contestants_take_turns_and_who_begins_changes() {
        let steps = steps(&scope(
            true,
            &["vchan-vs-libxenvchan-64", "unikernel-vchan"],
            3,
        ))
        .unwrap();
        let firsts: Vec<String> = (1..=3)
            .map(|round| {
                let all = pairs(&steps, Trial::Throughput);
                let mut of = all
                    .into_iter()
                    .filter(|(r, _, size)| *r == round && *size == 64);
                of.next().unwrap().1
            })
            .collect();
        let mut distinct = firsts.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), 3, "{firsts:?}");
        // Between two turns of one way at a size stand all others at that size.
        let of_64: Vec<String> = pairs(&steps, Trial::Throughput)
            .into_iter()
            .filter(|(round, _, size)| *round == 1 && *size == 64)
            .map(|(_, way, _)| way)
            .collect();
        assert_eq!(of_64.len(), 5);
    }

    #[test]
    fn every_goal_that_a_pair_decides_has_both_its_sides_in_the_quick_form() {
        let steps = steps(&scope(true, &[], 3)).unwrap();
        let given: Vec<Subject> = steps.iter().flat_map(|step| step.work.subjects()).collect();
        for goal in GOALS.iter().filter(|goal| {
            Trial::GIVING
                .iter()
                .any(|trial| trial.measures().contains(&goal.measure))
        }) {
            for side in [goal.ours, goal.theirs] {
                assert!(
                    given
                        .iter()
                        .any(|subject| side.contains(&subject.contestant)
                            && subject.measure == goal.measure
                            && (goal.size.is_none() || goal.size == subject.size)),
                    "{}",
                    goal.id
                );
            }
        }
        assert!(
            pairs(&steps, Trial::Throughput)
                .iter()
                .all(|(_, way, _)| way != "linux-udp")
        );
        assert!(pairs(&steps, Trial::LoadedRoundTrip).is_empty());
        // What was measured was looked at before.
        let measured: BTreeSet<String> = pairs(&steps, Trial::Throughput)
            .into_iter()
            .map(|(_, way, _)| way)
            .collect();
        let checked: BTreeSet<String> = pairs(&steps, Trial::Check { echo: false })
            .into_iter()
            .map(|(_, way, _)| way)
            .collect();
        assert_eq!(measured, checked);
        let checks = steps.iter().filter(|step| step.work.is_check());
        assert_eq!(checks.count(), checked.len(), "each way once");
    }

    #[test]
    fn all_of_it_is_every_way_at_every_size_that_it_can_do() {
        let steps = steps(&scope(false, &[], 5)).unwrap();
        let throughput = pairs(&steps, Trial::Throughput);
        let per_round: usize = Way::all()
            .map(|way| SIZES.iter().filter(|size| **size <= way.longest()).count())
            .sum();
        assert_eq!(throughput.len(), 5 * per_round);
        assert_eq!(pairs(&steps, Trial::Check { echo: false }).len(), per_round);
        let hypercalls = pairs(&steps, Trial::Calls);
        assert!(
            hypercalls
                .iter()
                .all(|(_, _, size)| [64, 65_536].contains(size))
        );
        assert!(throughput.contains(&(5, "linux-udp".into(), 16 << 10)));
        assert!(
            !throughput
                .iter()
                .any(|(_, way, size)| way == "linux-udp" && *size > 60_000)
        );
    }

    #[test]
    fn bytes_are_looked_at_right_before_the_first_figure_that_they_are_measured_by() {
        let steps = steps(&scope(false, &[], 3)).unwrap();
        let ways = Way::all().count();
        let first = steps.iter().position(|step| !step.work.is_check());
        assert_eq!(first, Some(ways), "of the first figure alone");
        let mut checked = BTreeSet::new();
        for (number, step) in steps.iter().enumerate() {
            let Work::Pair { trial, way, size } = step.work else {
                continue;
            };
            let echo = match trial {
                Trial::Check { echo } => {
                    assert!(
                        checked.insert((echo, way, size)),
                        "{way} {size} is once enough"
                    );
                    assert_eq!(step.round, 1);
                    let next = |step: &&Step| {
                        !step.work.is_check() && step.work.shares_bytes(&steps[number].work, false)
                    };
                    let rest = &steps[number + 1..];
                    let figure = rest.iter().position(|step| next(&step)).unwrap();
                    assert!(figure < 2 * ways, "{way} {size}: {figure} steps later");
                    continue;
                }
                Trial::RoundTrip | Trial::LoadedRoundTrip => true,
                Trial::Throughput | Trial::Calls => false,
            };
            assert!(
                checked.contains(&(echo, way, size)),
                "{way} {size} {trial:?}"
            );
        }
        // Nothing is sent back where no round trip is measured.
        let trips: BTreeSet<(String, u64)> = [Trial::RoundTrip, Trial::LoadedRoundTrip]
            .into_iter()
            .flat_map(|trial| pairs(&steps, trial))
            .map(|(_, way, size)| (way, size))
            .collect();
        let back = pairs(&steps, Trial::Check { echo: true });
        assert_eq!(back.len(), trips.len());
        assert!(
            back.iter()
                .all(|(_, way, size)| trips.contains(&(way.clone(), *size)))
        );
    }

    #[test]
    fn the_life_of_guests_comes_last_and_what_is_always_the_same_once() {
        let lives = |quick, rounds| {
            let steps = steps(&scope(quick, &[], rounds)).unwrap();
            let first = steps
                .iter()
                .position(|step| matches!(step.work, Work::Life { .. }));
            let lives = steps.split_at(first.unwrap()).1;
            let of = |measure| {
                let is_it = |step: &&Step| matches!(step.work, Work::Life { measure: of, .. } if of == measure);
                lives.iter().filter(is_it).count()
            };
            assert_eq!(
                lives
                    .iter()
                    .filter(|step| matches!(step.work, Work::Pair { .. }))
                    .count(),
                0
            );
            [
                Measure::ImageSize,
                Measure::CreateToFirstRecord,
                Measure::LeastMemory,
                Measure::Fit,
                Measure::PipelineBroker,
            ]
            .map(of)
        };
        assert_eq!(lives(false, 5), [3, 15, 3, 3, 15]);
        assert_eq!(lives(true, 3), [3, 6, 2, 0, 0]);
    }

    #[test]
    fn only_narrows_down_by_who_and_what_and_adds_goals() {
        let of = |only: &[&str]| steps(&scope(false, only, 1)).unwrap();
        let udp = of(&["linux-udp", "throughput"]);
        assert!(
            udp.iter()
                .all(|step| step.work.contestant() == Contestant::LinuxUdp)
        );
        assert!(pairs(&udp, Trial::RoundTrip).is_empty());
        assert!(!pairs(&udp, Trial::Throughput).is_empty());
        let goal = of(&["rtt-linux-tcp-vs-vchan"]);
        let mut trips: Vec<String> = pairs(&goal, Trial::RoundTrip)
            .into_iter()
            .map(|(_, way, size)| format!("{way} {size}"))
            .collect();
        trips.sort();
        assert_eq!(trips.len(), 7, "{trips:?}");
        assert!(trips.iter().all(|trip| trip.ends_with(" 64")));
        assert!(pairs(&goal, Trial::Throughput).is_empty());
        assert_eq!(
            steps(&scope(false, &["latency"], 1)).unwrap_err(),
            Unknown("latency".into())
        );
    }
}
