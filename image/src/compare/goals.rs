//! What is to be reached: how much better the unikernel's side has to be. Pure.

use super::catalogue::{Better, Contestant, Measure};
use super::figures::Figures;
use super::results::{Failed, Goal, Sample};

/// One goal: a ratio of two medians, each of the best setting of its side.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GoalSpec {
    /// Its word.
    pub id: &'static str,
    /// The least ratio.
    pub goal: f64,
    /// Who has to be better by so much; a setting of theirs that failed in any round does not count.
    pub ours: &'static [Contestant],
    /// Than the best of these; a round that failed does not make their others count less.
    pub theirs: &'static [Contestant],
    /// By what.
    pub measure: Measure,
    /// At which size of messages.
    pub size: Option<u64>,
    /// What a reader calls it: who is divided by whom so that more is better.
    pub words: &'static str,
}

use Contestant as C;
use Measure as M;

const VCHAN: &[C] = &[C::UnikernelVchan];
const LINUX: &[C] = &[C::LinuxVchan, C::LinuxLibxenvchan, C::LinuxTcp, C::LinuxUdp];

/// All of them, in the order of tables.
pub const GOALS: [GoalSpec; 15] = [
    row(
        "vchan-vs-linux-tcp-64",
        500.0,
        VCHAN,
        &[C::LinuxTcp],
        M::Throughput,
        Some(64),
        "throughput 64 B, vchan : Linux TCP",
    ),
    row(
        "vchan-vs-linux-tcp-1k",
        40.0,
        VCHAN,
        &[C::LinuxTcp],
        M::Throughput,
        Some(1024),
        "throughput 1 KiB, vchan : Linux TCP",
    ),
    row(
        "vchan-vs-linux-tcp-64k",
        10.0,
        VCHAN,
        &[C::LinuxTcp],
        M::Throughput,
        Some(65_536),
        "throughput 64 KiB, vchan : Linux TCP",
    ),
    row(
        "vchan-vs-unikernel-tcp-64",
        50.0,
        VCHAN,
        &[C::UnikernelTcp],
        M::Throughput,
        Some(64),
        "throughput 64 B, vchan : unikernel TCP",
    ),
    row(
        "vchan-vs-unikernel-tcp-1k",
        20.0,
        VCHAN,
        &[C::UnikernelTcp],
        M::Throughput,
        Some(1024),
        "throughput 1 KiB, vchan : unikernel TCP",
    ),
    row(
        "vchan-vs-unikernel-tcp-64k",
        10.0,
        VCHAN,
        &[C::UnikernelTcp],
        M::Throughput,
        Some(65_536),
        "throughput 64 KiB, vchan : unikernel TCP",
    ),
    row(
        "rtt-linux-tcp-vs-vchan",
        20.0,
        VCHAN,
        &[C::LinuxTcp],
        M::RttP50,
        Some(64),
        "round trip 64 B, Linux TCP : vchan",
    ),
    row(
        "vchan-vs-libxenvchan-64",
        5.0,
        VCHAN,
        &[C::LinuxLibxenvchan],
        M::Throughput,
        Some(64),
        "throughput 64 B, vchan : libxenvchan",
    ),
    row(
        "vchan-vs-libxenvchan-4k",
        1.5,
        VCHAN,
        &[C::LinuxLibxenvchan],
        M::Throughput,
        Some(4096),
        "throughput 4 KiB, vchan : libxenvchan",
    ),
    row(
        "rtt-libxenvchan-vs-vchan",
        2.0,
        VCHAN,
        &[C::LinuxLibxenvchan],
        M::RttP50,
        Some(64),
        "round trip 64 B, libxenvchan : vchan",
    ),
    row(
        "unikernel-tcp-vs-linux-tcp",
        1.0,
        &[C::UnikernelTcp],
        &[C::LinuxTcp],
        M::Throughput,
        Some(65_536),
        "throughput 64 KiB, unikernel : Linux TCP",
    ),
    row(
        "create-to-first-record",
        10.0,
        VCHAN,
        LINUX,
        M::CreateToFirstRecord,
        None,
        "create to first record, Linux : unikernel",
    ),
    row(
        "memory",
        32.0,
        VCHAN,
        LINUX,
        M::LeastMemory,
        None,
        "least memory, Linux : unikernel",
    ),
    row(
        "image",
        50.0,
        VCHAN,
        LINUX,
        M::ImageSize,
        None,
        "image, Linux : unikernel",
    ),
    row(
        "cpu-per-million",
        100.0,
        VCHAN,
        &[C::LinuxTcp],
        M::CpuPerMillion,
        Some(64),
        "CPU time 64 B, Linux TCP : vchan",
    ),
];

const fn row(
    id: &'static str,
    goal: f64,
    ours: &'static [C],
    theirs: &'static [C],
    measure: M,
    size: Option<u64>,
    words: &'static str,
) -> GoalSpec {
    GoalSpec {
        id,
        goal,
        ours,
        theirs,
        measure,
        size,
        words,
    }
}

impl GoalSpec {
    /// The goal of this word.
    pub fn find(id: &str) -> Option<&'static Self> {
        GOALS.iter().find(|goal| goal.id == id)
    }

    /// What was reached; `None` where a side is missing, failed, or is nothing to divide by.
    pub fn value(&self, figures: &Figures) -> Option<f64> {
        let whole = |figure: &super::figures::Figure| figure.failures.is_empty();
        let (_, ours) = figures.best_among(self.ours, self.measure, self.size, whole)?;
        let (_, theirs) = figures.best_among(self.theirs, self.measure, self.size, |_| true)?;
        let ratio = match self.measure.better() {
            Better::Higher => ours.median / theirs.median,
            Better::Lower => theirs.median / ours.median,
        };
        ratio.is_finite().then_some(ratio)
    }

    /// The most that our side moves at any size of messages, and how many times that is of what theirs moves at this one: where the
    /// goal is more, it is out of reach of this machine. Of throughput alone.
    pub fn ceiling(&self, figures: &Figures) -> Option<(f64, f64)> {
        if self.measure != M::Throughput {
            return None;
        }
        let sizes = figures.sizes(self.ours, self.measure);
        let most = |size| figures.best_among(self.ours, self.measure, size, |_| true);
        let most = sizes
            .into_iter()
            .filter_map(|size| Some(most(size)?.1.median))
            .max_by(f64::total_cmp)?;
        let (_, theirs) = figures.best_among(self.theirs, self.measure, self.size, |_| true)?;
        let ratio = most / theirs.median;
        ratio.is_finite().then_some((most, ratio))
    }
}

/// All goals, held against these samples.
pub fn evaluate(samples: &[Sample], failures: &[Failed]) -> Vec<Goal> {
    let figures = Figures::of(samples, failures);
    let held = |goal: &GoalSpec| {
        let value = goal.value(&figures);
        Goal {
            id: goal.id.to_owned(),
            goal: goal.goal,
            value,
            met: value.is_some_and(|value| value >= goal.goal),
        }
    };
    GOALS.iter().map(held).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::testing::{failed, sample};

    #[test]
    fn a_goal_is_out_of_reach_where_no_size_moves_as_much() {
        let throughput = |who, size, value| sample(who, "", M::Throughput, Some(size), 1, value);
        let samples = [
            throughput(C::UnikernelVchan, 64, 100.0),
            throughput(C::UnikernelVchan, 1 << 16, 1_000.0),
            throughput(C::UnikernelVchan, 1 << 20, 900.0),
            throughput(C::UnikernelTcp, 64, 40.0),
            throughput(C::UnikernelTcp, 1 << 16, 500.0),
        ];
        let figures = Figures::of(&samples, &[]);
        let of = |id| GoalSpec::find(id).unwrap().ceiling(&figures);
        assert_eq!(of("vchan-vs-unikernel-tcp-64"), Some((1_000.0, 25.0)));
        assert_eq!(of("vchan-vs-linux-tcp-64"), None, "nobody to divide by");
        assert_eq!(of("memory"), None);
    }

    fn goal(id: &str, samples: &[Sample], failures: &[Failed]) -> Goal {
        let goals = evaluate(samples, failures);
        goals.into_iter().find(|goal| goal.id == id).unwrap()
    }

    fn throughput(contestant: C, setting: &str, value: f64) -> Vec<Sample> {
        (1..=3)
            .map(|round| {
                let value = value * f64::from(round) / 2.0;
                sample(contestant, setting, M::Throughput, Some(64), round, value)
            })
            .collect()
    }

    #[test]
    fn each_side_stands_with_its_best_setting_by_the_median() {
        let samples = [
            throughput(C::UnikernelVchan, "packet", 1_000.0),
            throughput(C::UnikernelVchan, "zerocopy", 5_000.0),
            throughput(C::LinuxTcp, "gso", 5.0),
            throughput(C::LinuxTcp, "nodelay", 10.0),
        ]
        .concat();
        let reached = goal("vchan-vs-linux-tcp-64", &samples, &[]);
        assert_eq!(
            (reached.goal, reached.value, reached.met),
            (500.0, Some(500.0), true)
        );
        let missed = goal("vchan-vs-linux-tcp-1k", &samples, &[]);
        assert_eq!((missed.value, missed.met), (None, false));
    }

    #[test]
    fn less_time_is_more_and_any_linux_guest_stands_for_linux() {
        let boot =
            |contestant, value| sample(contestant, "", M::CreateToFirstRecord, None, 1, value);
        let samples = [
            boot(C::UnikernelVchan, 0.5),
            boot(C::LinuxTcp, 8.0),
            boot(C::LinuxVchan, 6.0),
        ];
        let reached = goal("create-to-first-record", &samples, &[]);
        assert_eq!((reached.value, reached.met), (Some(12.0), true));
    }

    #[test]
    fn a_failed_round_takes_a_setting_from_us_and_not_from_them() {
        let samples = [
            throughput(C::UnikernelVchan, "packet", 1_000.0),
            throughput(C::UnikernelVchan, "zerocopy", 5_000.0),
            throughput(C::LinuxTcp, "gso", 10.0),
        ]
        .concat();
        let fault = |contestant, setting| {
            failed(
                contestant,
                setting,
                M::Throughput,
                Some(64),
                4,
                "wrong bytes",
            )
        };
        let value = |failures: &[Failed]| goal("vchan-vs-linux-tcp-64", &samples, failures).value;
        assert_eq!(value(&[fault(C::LinuxTcp, "gso")]), Some(500.0));
        assert_eq!(value(&[fault(C::UnikernelVchan, "zerocopy")]), Some(100.0));
        let both = [
            fault(C::UnikernelVchan, "zerocopy"),
            fault(C::UnikernelVchan, "packet"),
        ];
        assert_eq!(value(&both), None);
    }

    #[test]
    fn nothing_is_not_divided_by() {
        let samples = [
            throughput(C::UnikernelVchan, "", 1_000.0),
            throughput(C::LinuxTcp, "", 0.0),
        ]
        .concat();
        let reached = goal("vchan-vs-linux-tcp-64", &samples, &[]);
        assert_eq!((reached.value, reached.met), (None, false));
    }

    #[test]
    fn words_of_goals_stand_once() {
        let mut ids = GOALS.map(|goal| goal.id);
        ids.sort_unstable();
        assert!(ids.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
