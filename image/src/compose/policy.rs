//! When a stage that has ended is started again. Pure: time is what the caller says.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::pipeline::Restart;

/// The wait before a first attempt; it doubles with each further one.
const FIRST: Duration = Duration::from_secs(1);

/// The longest wait.
const LONGEST: Duration = Duration::from_secs(60);

/// A stage that has run for so long is well again.
const WELL: Duration = Duration::from_secs(60);

/// Attempts in a row, none of which made it well, after which a stage is given up.
pub const MOST: u32 = 10;

/// How a stage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It runs.
    Runs,
    /// It has ended in order.
    Ended,
    /// It crashed, is gone, or said that it failed.
    Failed,
}

/// What to do about a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Leave,
    /// Start it again: the attempt of this number in a row.
    Restart(u32),
    /// It has failed too often; said once.
    GiveUp,
}

/// What is known of all stages.
#[derive(Debug, Default)]
pub struct Policy(BTreeMap<String, Trouble>);

#[derive(Debug, Default)]
struct Trouble {
    /// Attempts since it was last well.
    attempts: u32,
    /// When it was last seen to begin to run.
    runs_since: Option<Duration>,
    /// When the next attempt is due; none while it runs.
    due: Option<Duration>,
    given_up: bool,
}

impl Policy {
    /// What to do about a stage that is so at `now`. An attempt that is asked for counts, whatever comes of it.
    pub fn judge(
        &mut self,
        stage: &str,
        restart: Restart,
        health: Health,
        now: Duration,
    ) -> Verdict {
        let trouble = self.0.entry(stage.to_owned()).or_default();
        if health == Health::Runs {
            trouble.runs(now);
        }
        if is_wanted(restart, health) {
            trouble.attempt(now)
        } else {
            Verdict::Leave
        }
    }

    /// Whether a stage that is so will be started again some time, if it goes on as it is.
    pub fn will_restart(&self, stage: &str, restart: Restart, health: Health) -> bool {
        let is_given_up = self.0.get(stage).is_some_and(|trouble| trouble.given_up);
        is_wanted(restart, health) && !is_given_up
    }
}

fn is_wanted(restart: Restart, health: Health) -> bool {
    match (restart, health) {
        (_, Health::Runs) | (Restart::Never, _) | (Restart::OnFailure, Health::Ended) => false,
        (Restart::OnFailure, Health::Failed) | (Restart::Always, _) => true,
    }
}

impl Trouble {
    fn runs(&mut self, now: Duration) {
        self.due = None;
        let since = *self.runs_since.get_or_insert(now);
        if now.saturating_sub(since) >= WELL {
            self.attempts = 0;
            self.given_up = false;
        }
    }

    fn attempt(&mut self, now: Duration) -> Verdict {
        self.runs_since = None;
        if self.attempts >= MOST {
            return match std::mem::replace(&mut self.given_up, true) {
                false => Verdict::GiveUp,
                true => Verdict::Leave,
            };
        }
        let wait = FIRST
            .saturating_mul(1 << self.attempts.min(16))
            .min(LONGEST);
        if now < *self.due.get_or_insert(now + wait) {
            return Verdict::Leave;
        }
        self.due = None;
        self.attempts += 1;
        Verdict::Restart(self.attempts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// The seconds, looked at one by one, at which something is to be done about a stage that is always `health`.
    fn deeds(restart: Restart, health: Health, until: u64) -> Vec<(u64, Verdict)> {
        let mut policy = Policy::default();
        let judged =
            (0..until).map(|second| (second, policy.judge("s", restart, health, at(second))));
        judged
            .filter(|(_, verdict)| *verdict != Verdict::Leave)
            .collect()
    }

    #[test]
    fn each_end_is_answered_as_the_file_says() {
        for (restart, health, answered) in [
            (Restart::Never, Health::Failed, false),
            (Restart::Never, Health::Ended, false),
            (Restart::OnFailure, Health::Failed, true),
            (Restart::OnFailure, Health::Ended, false),
            (Restart::Always, Health::Ended, true),
            (Restart::Always, Health::Runs, false),
        ] {
            assert_eq!(
                !deeds(restart, health, 5).is_empty(),
                answered,
                "{restart:?} {health:?}"
            );
        }
    }

    #[test]
    fn p5_a_stage_that_never_gets_well_is_tried_ever_more_seldom_and_then_given_up() {
        let deeds = deeds(Restart::OnFailure, Health::Failed, 10_000);
        let (last, attempts) = deeds.split_last().unwrap();
        assert_eq!(last.1, Verdict::GiveUp);
        let mut policy = Policy::default();
        for second in 0..10_000 {
            policy.judge("s", Restart::OnFailure, Health::Failed, at(second));
            let will = policy.will_restart("s", Restart::OnFailure, Health::Failed);
            assert_eq!(will, second < last.0, "{second}");
        }
        assert_eq!(attempts.len(), usize::try_from(MOST).unwrap());
        let times: Vec<u64> = attempts.iter().map(|(second, _)| *second).collect();
        let waits: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(times[0], 1);
        assert!(
            waits.is_sorted() && waits[0] >= 2 && *waits.last().unwrap() <= 61,
            "{waits:?}"
        );
    }

    #[test]
    fn a_stage_that_got_well_is_answered_at_once_again_and_another_s_trouble_is_not_its_own() {
        let mut policy = Policy::default();
        let mut judge =
            |stage, health, second| policy.judge(stage, Restart::OnFailure, health, at(second));
        for second in 0..30 {
            judge("s", Health::Failed, second);
        }
        judge("s", Health::Runs, 30);
        judge("s", Health::Runs, 91);
        assert_eq!(judge("s", Health::Failed, 92), Verdict::Leave);
        assert_eq!(judge("s", Health::Failed, 93), Verdict::Restart(1));
        assert_eq!(judge("t", Health::Failed, 93), Verdict::Leave);
        assert_eq!(judge("t", Health::Failed, 94), Verdict::Restart(1));
    }

    #[test]
    fn a_stage_that_crashes_within_its_minute_is_not_well() {
        let mut policy = Policy::default();
        let mut attempts = 0;
        let mut second = 0;
        while attempts < MOST && second < 100_000 {
            let runs = policy.judge("s", Restart::OnFailure, Health::Failed, at(second));
            if let Verdict::Restart(number) = runs {
                attempts = number;
                policy.judge("s", Restart::OnFailure, Health::Runs, at(second + 1));
                policy.judge("s", Restart::OnFailure, Health::Runs, at(second + 50));
                second += 50;
            }
            second += 1;
        }
        assert_eq!(attempts, MOST, "it is given up all the same");
    }
}
