//! A comparison in a terminal: the goals, what failed, where the report is. Pure.

use std::fmt::Write as _;

use super::numbers;
use super::view::View;
use crate::compare::against::{Against, OtherMachine, Verdict};
use crate::compare::goals::GoalSpec;
use crate::compare::results::Results;

/// Lines that are shown of a list; the report has them all.
const SHOWN: usize = 10;
/// The columns of a line.
const COLUMNS: usize = 100;

/// The text.
pub fn text(results: &Results, against: Option<&Result<Against, OtherMachine>>) -> String {
    let view = View::new(results);
    let mut text = String::new();
    let mut line = |words: String| {
        let _ = writeln!(text, "{}", fitted(&words));
    };
    line(view.title());
    for goal in &results.goals {
        let words = GoalSpec::find(&goal.id).map_or(goal.id.as_str(), |spec| spec.words);
        let (value, verdict) = match goal.value {
            None => ("-".to_owned(), "not measured"),
            Some(value) if goal.met => (numbers::times(value), "met"),
            Some(value) => (numbers::times_of(value, goal.goal), "MISSED"),
        };
        line(format!(
            "{words:<56} {value:>10} of {:>6}  {verdict}",
            numbers::times(goal.goal)
        ));
    }
    let met = results.goals.iter().filter(|goal| goal.met).count();
    line(format!("{met} of {} goals are met", results.goals.len()));
    let failures = results.failures.iter().map(|failed| {
        let subject = &failed.subject;
        format!(
            "failed: {}{}, {}{}: {}",
            subject.contestant.name(),
            after(&subject.setting),
            subject.measure.name(),
            after(&subject.size.map(numbers::size).unwrap_or_default()),
            failed.reason
        )
    });
    shown(failures.collect(), &mut line);
    shown(
        results
            .warnings
            .iter()
            .map(|warning| format!("warning: {warning}"))
            .collect(),
        &mut line,
    );
    if let Some(why) = &results.cut_short {
        line(format!("cut short: {why}"));
    }
    match against {
        None => {}
        Some(Err(other)) => line(format!("warning: {other}")),
        Some(Ok(against)) => {
            let told = against
                .changes
                .iter()
                .filter(|c| !matches!(c.verdict, Verdict::Same | Verdict::Unknown));
            let changes = told.map(|change| {
                let subject = &change.subject;
                format!(
                    "{}: {}{}, {}{}{}",
                    change.verdict.words(),
                    subject.contestant.name(),
                    after(&subject.setting),
                    subject.measure.name(),
                    after(&subject.size.map(numbers::size).unwrap_or_default()),
                    change
                        .gain
                        .map(|gain| format!(": {} as good", numbers::times(gain)))
                        .unwrap_or_default()
                )
            });
            shown(changes.collect(), &mut line);
            line(format!(
                "against {}: {} better, {} worse, {} within the noise",
                against.before,
                against.count(Verdict::Better),
                against.count(Verdict::Worse),
                against.count(Verdict::Same)
            ));
        }
    }
    text
}

fn after(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!(" {text}")
    }
}

fn shown(lines: Vec<String>, line: &mut impl FnMut(String)) {
    let more = lines.len().saturating_sub(SHOWN);
    lines.into_iter().take(SHOWN).for_each(&mut *line);
    if more > 0 {
        line(format!("and {more} more, in the report"));
    }
}

/// In one line of a terminal, with nothing that steers it.
fn fitted(text: &str) -> String {
    let plain = |char: char| match super::svg::plain(char) {
        '\n' | '\t' => ' ',
        char => char,
    };
    if text.chars().count() <= COLUMNS {
        return text.chars().map(plain).collect();
    }
    text.chars()
        .map(plain)
        .take(COLUMNS - 3)
        .chain("...".chars())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::against::against;
    use crate::compare::testing;

    #[test]
    fn every_line_fits_the_terminal_and_every_goal_is_there() {
        let mut rich = testing::rich();
        rich.warnings
            .push("\u{1b}[2J".to_owned() + &"x".repeat(300));
        let mut older = rich.clone();
        older
            .samples
            .iter_mut()
            .for_each(|sample| sample.value *= 3.0);
        let text = text(&rich, Some(&against(&older, &rich)));
        for line in text.lines() {
            assert!(
                line.chars().count() <= COLUMNS && !line.contains('\u{1b}'),
                "{line}"
            );
        }
        let verdicts = ["  met", "  MISSED", "  not measured"];
        let goals = text
            .lines()
            .filter(|line| verdicts.iter().any(|verdict| line.ends_with(verdict)));
        assert_eq!(goals.count(), rich.goals.len());
        assert!(
            text.contains("failed: Linux, vchan-linux stream, throughput 64 B: made up"),
            "{text}"
        );
        assert!(
            text.contains("and ") && text.contains("more, in the report"),
            "{text}"
        );
    }
}
