//! `actuate`: turns alerts into commands for something that can be shut, such as a [valve](crate::valve).
//!
//! It is to be shut from when the first alert is raised until the last is cleared. A command is a record with the name of what it
//! is for (`name`) and a truth value, true for open; each is sent once, and none before the first alert.
//!
//! Two commands are at least `dwell` apart, by their stamps. What would come sooner is held back until then, and forgotten
//! if it has come to nothing by then: an alert that trembles does not wear out a valve. Time is that of the stamps that come
//! in, whatever they belong to: readings among the alerts (`detect` with `emit=all`) let what is held back go without the next
//! alert. What is still held back at the end is sent then.

use alloc::string::String;
use core::fmt::Write as _;
use core::time::Duration;

use stage::params::Count;
use stage::{DropCause, EdgeKind, Kind, Outputs, Parameter, Reading, Setup, SetupError};
use stage::{Stage, Timestamp, Value, Verdict};

use crate::detect::SUFFIX;
use crate::series::{PerSeries, record_name};

const END_OF_TIME: Timestamp = Timestamp::from_nanos(i64::MAX);

fn after(time: Timestamp, span: Duration) -> Timestamp {
    time.checked_add(span).unwrap_or(END_OF_TIME)
}

/// What turns alerts into commands.
#[derive(Debug)]
pub struct Actuate {
    name: String,
    dwell: Duration,
    alerts: PerSeries<Alert>,
    /// Alerts that stand.
    raised: u64,
    /// The stamp of the last change of `raised` between none and some.
    changed: Timestamp,
    /// What the last command said, and its stamp.
    last: Option<(bool, Timestamp)>,
    opened: u64,
    closed: u64,
}

/// The last that was told of an alert.
#[derive(Debug, Default)]
struct Alert {
    is_raised: bool,
    time: Option<Timestamp>,
}

impl Stage for Actuate {
    const NAME: &'static str = "actuate";
    const ABOUT: &'static str =
        "turns alerts into commands: shut while any alert stands, else open";
    const PARAMETERS: &'static [Parameter] = &[
        Parameter::new(
            "name",
            Kind::Text,
            "valve",
            "what the commands are for: the name of their records",
        ),
        Parameter::new(
            "dwell",
            Kind::Duration,
            "0",
            "least time between two commands, by their stamps",
        ),
    ];
    const EDGES: &'static [EdgeKind] = &[
        EdgeKind::inputs(Count::AtLeastOne, "alerts, and readings for their time"),
        EdgeKind::outputs(Count::AtLeastOne, "commands"),
    ];

    fn new(setup: &Setup<'_>) -> Result<Self, SetupError> {
        Ok(Self {
            name: record_name(setup.params)?,
            dwell: setup.params.require("dwell")?,
            alerts: PerSeries::default(),
            raised: 0,
            changed: Timestamp::default(),
            last: None,
            opened: 0,
            closed: 0,
        })
    }

    fn reading(&mut self, _input: usize, reading: &Reading<'_>, out: &mut Outputs) -> Verdict {
        let verdict = match reading.value {
            Value::Number(_) => Verdict::Used,
            Value::Boolean(is_raised) if reading.name.ends_with(SUFFIX) => {
                // What was held back is due, perhaps, before the alert that would call it off.
                self.command(reading.time, out);
                self.alert(reading, is_raised)
            }
            _ => Verdict::Dropped(DropCause::WrongType),
        };
        if verdict == Verdict::Used {
            self.command(reading.time, out);
        }
        verdict
    }

    fn finish(&mut self, out: &mut Outputs) {
        self.command(END_OF_TIME, out);
    }

    fn own_counters(&self, text: &mut String) {
        // Writing into a String cannot fail.
        let _ = write!(text, "opened={} closed={}", self.opened, self.closed);
    }
}

impl Actuate {
    fn alert(&mut self, reading: &Reading<'_>, is_raised: bool) -> Verdict {
        let alert = match self.alerts.of(reading.name, Alert::default) {
            Ok(alert) => alert,
            Err(cause) => return Verdict::Dropped(cause),
        };
        if alert.time.is_some_and(|before| reading.time < before) {
            return Verdict::Dropped(DropCause::Late);
        }
        alert.time = Some(reading.time);
        if core::mem::replace(&mut alert.is_raised, is_raised) == is_raised {
            return Verdict::Used;
        }
        let stood = self.raised > 0;
        self.raised = if is_raised {
            self.raised + 1
        } else {
            self.raised - 1
        };
        if stood != (self.raised > 0) {
            self.changed = reading.time;
        }
        Verdict::Used
    }

    /// Sends the command that is due by `now`, if there is one.
    fn command(&mut self, now: Timestamp, out: &mut Outputs) {
        let open = self.raised == 0;
        let (said, due) = match self.last {
            // Open is what it was before anything was said.
            None => (true, self.changed),
            // By a clock that is back by more than the wait there is nothing to wait for.
            Some((said, time)) if after(self.changed, self.dwell) < time => (said, self.changed),
            Some((said, time)) => (said, self.changed.max(after(time, self.dwell))),
        };
        if open == said || now < due {
            return;
        }
        self.last = Some((open, due));
        let count = if open {
            &mut self.opened
        } else {
            &mut self.closed
        };
        *count += 1;
        let sent = out.emit(&Reading {
            name: &self.name,
            unit: "",
            time: due,
            value: Value::Boolean(open),
        });
        if sent != Verdict::Used {
            log::error!("{}: a command cannot be sent", self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{Bench, number};
    use proptest::prelude::*;
    use std::vec::Vec;

    /// A reading that many minutes into 2026.
    fn at(minutes: u64, name: &'static str, value: Value<'static>) -> Reading<'static> {
        let start = number(name, 0.0);
        Reading {
            time: start
                .time
                .checked_add(Duration::from_secs(60 * minutes))
                .unwrap(),
            value,
            ..start
        }
    }

    /// What is commanded, and when, if `given` comes: minutes, alert (none for a reading) and whether it is raised.
    fn commands(command: &str, given: &[(u64, &'static str, bool)]) -> Vec<(u64, bool)> {
        let mut bench = Bench::<Actuate>::new(command, 1);
        for (minutes, name, raised) in given {
            let value = match *name {
                "" => at(*minutes, "reading", Value::Number(1.0)),
                name => at(*minutes, name, Value::Boolean(*raised)),
            };
            assert_eq!(bench.reading(&value), Verdict::Used);
        }
        bench.finish();
        let start = number("", 0.0).time;
        let told = crate::bench::records(&mut bench.out);
        told.into_iter()
            .map(|(name, time, value)| {
                assert_eq!(name, "valve");
                let Value::Boolean(open) = value else {
                    panic!("{value:?}")
                };
                (time.saturating_since(start).as_secs() / 60, open)
            })
            .collect()
    }

    #[test]
    fn an_alert_shuts_and_its_end_opens_once_each() {
        let given = [
            (0, "a:alert", false),
            (1, "a:alert", true),
            (2, "a:alert", true),
            (3, "a:alert", false),
            (4, "a:alert", false),
        ];
        assert_eq!(commands("", &given), [(1, false), (3, true)]);
    }

    #[test]
    fn it_stays_shut_until_the_last_alert_is_over() {
        let given = [
            (1, "a:alert", true),
            (2, "b:alert", true),
            (3, "a:alert", false),
            (5, "b:alert", false),
        ];
        assert_eq!(commands("", &given), [(1, false), (5, true)]);
    }

    #[test]
    fn commands_are_apart_and_what_came_to_nothing_is_forgotten() {
        let trembling = [
            (1, "a:alert", true),
            (2, "a:alert", false),
            (3, "a:alert", true),
            (20, "a:alert", false),
        ];
        assert_eq!(commands("dwell=10m", &trembling), [(1, false), (20, true)]);
        // A reading lets go what is due; without one it waits for the next alert, or the end.
        let short = [(1, "a:alert", true), (2, "a:alert", false), (12, "", false)];
        assert_eq!(commands("dwell=10m", &short), [(1, false), (11, true)]);
        let next = [&short[..2], &[(30, "a:alert", true)]].concat();
        assert_eq!(
            commands("dwell=10m", &next),
            [(1, false), (11, true), (30, false)]
        );
        assert_eq!(commands("dwell=10m", &short[..2]), [(1, false), (11, true)]);
    }

    #[test]
    fn a_clock_that_went_wrong_and_back_does_not_hold_it_shut() {
        let given = [
            (9_999_999, "a:alert", true),
            (5, "b:alert", true),
            (6, "b:alert", false),
        ];
        assert_eq!(commands("dwell=1h", &given), [(9_999_999, false)]);
        let over = [
            (6_000, "a:alert", true),
            (60, "b:alert", true),
            (6_060, "a:alert", false),
            (120, "b:alert", false),
        ];
        assert_eq!(commands("dwell=1h", &over), [(6_000, false), (120, true)]);
        let mut bench = Bench::<Actuate>::new("dwell=1h", 1);
        let _ = bench.reading(&at(9_999_999, "a:alert", Value::Boolean(true)));
        let late = bench.reading(&at(7, "a:alert", Value::Boolean(false)));
        assert_eq!(late, Verdict::Dropped(DropCause::Late));
        assert_eq!(bench.own(), "opened=0 closed=1");
    }

    #[test]
    fn what_is_no_alert_says_so() {
        let mut bench = Bench::<Actuate>::new("", 1);
        for (name, value) in [
            ("a", Value::Boolean(true)),
            ("a:alert", Value::Text("true")),
            ("a:alert", Value::Sum(1.0)),
        ] {
            assert_eq!(
                bench.reading(&at(0, name, value)),
                Verdict::Dropped(DropCause::WrongType)
            );
        }
        assert!(Bench::<Actuate>::refused("name=a b").starts_with("b"));
        assert!(Bench::<Actuate>::refused("name=+").starts_with("name"));
        assert!(Bench::<Actuate>::refused("dwell=5").starts_with("dwell"));
    }

    proptest! {
        #[test]
        fn commands_alternate_and_keep_their_distance(
            alerts in prop::collection::vec((0..200u64, 0..3usize, any::<bool>()), 0..60), dwell in 0..30u64
        ) {
            let mut alerts = alerts;
            alerts.sort_by_key(|(minutes, ..)| *minutes);
            let given: Vec<_> = alerts.iter().map(|(minutes, name, raised)| (*minutes, ["a:alert", "b:alert", ""][*name], *raised)).collect();
            let told = commands(&std::format!("dwell={dwell}m"), &given);
            for (place, (minutes, open)) in told.iter().enumerate() {
                prop_assert_eq!(*open, place % 2 == 1);
                prop_assert!(place == 0 || *minutes >= told[place - 1].0 + dwell);
            }
            // In the end it is as the alerts want it.
            let stands = ["a:alert", "b:alert"].iter().any(|name| {
                given.iter().rfind(|(_, of, _)| of == name).is_some_and(|(.., raised)| *raised)
            });
            prop_assert_eq!(told.len() % 2 == 1, stands);
        }
    }
}
