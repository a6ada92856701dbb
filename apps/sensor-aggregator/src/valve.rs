//! `valve`: simulates a valve that a flow goes through, with a meter before it.
//!
//! Open at the start, it obeys commands as they come, in the order in which they come: records with its name (`name`) and a truth
//! value, true for open. Any other number is what the meter reads. For each, these are emitted with its time:
//!
//! | name | unit | value |
//! |---|---|---|
//! | `SERIES` | of the reading | as it came |
//! | `SERIES:passed` | of the reading | the same while the valve is open, 0 while it is shut |
//! | the valve's name | `/` | 1 open, 0 shut; once for all series of the same time |
//!
//! The meter goes on reading while the valve is shut, so that what shut it can be seen to end.

use alloc::string::String;
use core::fmt::Write as _;

use stage::params::Count;
use stage::senml::MAX_NAME;
use stage::{DropCause, EdgeKind, Kind, Outputs, Parameter, Reading, Setup, SetupError};
use stage::{Stage, Timestamp, Value, Verdict};

use crate::series::record_name;

/// What the name of the flow behind the valve ends with.
pub const PASSED: &str = ":passed";

/// The valve.
#[derive(Debug)]
pub struct Valve {
    name: String,
    is_open: bool,
    /// The time of the last record of the valve's own state.
    told: Option<Timestamp>,
    opened: u64,
    closed: u64,
    /// Where the name of the flow behind the valve is put together.
    passed: String,
}

impl Stage for Valve {
    const NAME: &'static str = "valve";
    const ABOUT: &'static str = "simulates a valve behind a flow meter, which obeys commands";
    const PARAMETERS: &'static [Parameter] = &[Parameter::new(
        "name",
        Kind::Text,
        "valve",
        "the name of its commands, and of its own state",
    )];
    const EDGES: &'static [EdgeKind] = &[
        EdgeKind::inputs(Count::AtLeastOne, "flows, and commands"),
        EdgeKind::outputs(
            Count::AtLeastOne,
            "flows before and behind the valve, and its state",
        ),
    ];

    fn new(setup: &Setup<'_>) -> Result<Self, SetupError> {
        Ok(Self {
            name: record_name(setup.params)?,
            is_open: true,
            told: None,
            opened: 0,
            closed: 0,
            passed: String::new(),
        })
    }

    fn reading(&mut self, _input: usize, reading: &Reading<'_>, out: &mut Outputs) -> Verdict {
        match reading.value {
            Value::Boolean(open) if reading.name == self.name => {
                self.obey(open);
                Verdict::Used
            }
            Value::Number(value) if reading.name != self.name => self.flow(reading, value, out),
            _ => Verdict::Dropped(DropCause::WrongType),
        }
    }

    fn own_counters(&self, text: &mut String) {
        // Writing into a String cannot fail.
        let _ = write!(text, "opened={} closed={}", self.opened, self.closed);
    }
}

impl Valve {
    fn obey(&mut self, open: bool) {
        if self.is_open == open {
            return;
        }
        self.is_open = open;
        let count = if open {
            &mut self.opened
        } else {
            &mut self.closed
        };
        *count += 1;
        log::info!("{} is {}", self.name, if open { "open" } else { "shut" });
    }

    fn flow(&mut self, reading: &Reading<'_>, value: f64, out: &mut Outputs) -> Verdict {
        if !value.is_finite() {
            return Verdict::Dropped(DropCause::NotFinite);
        }
        if reading.name.len() + PASSED.len() > MAX_NAME {
            return Verdict::Dropped(DropCause::Unsendable);
        }
        self.passed.clear();
        self.passed.push_str(reading.name);
        self.passed.push_str(PASSED);
        let behind = Reading {
            name: &self.passed,
            value: Value::Number(if self.is_open { value } else { 0.0 }),
            ..*reading
        };
        let state = f64::from(u8::from(self.is_open));
        let state = Reading::number(&self.name, reading.time, state).in_unit("/");
        let is_told = self.told.replace(reading.time) == Some(reading.time);
        // The first is refused for its name or its time, which the others share.
        let mut verdict = out.emit(reading);
        for record in [&behind, &state].into_iter().take(2 - usize::from(is_told)) {
            if verdict == Verdict::Used {
                verdict = out.emit(record);
            }
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{Bench, command, emitted, number};
    use std::string::ToString;
    use std::vec::Vec;

    fn seen(bench: &mut Bench<Valve>) -> Vec<(String, f64)> {
        emitted(&mut bench.out)
    }

    fn records(list: &[(&str, f64)]) -> Vec<(String, f64)> {
        list.iter()
            .map(|(name, value)| (name.to_string(), *value))
            .collect()
    }

    #[test]
    fn what_flows_behind_it_is_what_it_lets_through_and_the_meter_goes_on() {
        let mut bench = Bench::<Valve>::new("", 1);
        let _ = bench.reading(&number("flow", 7.0));
        assert_eq!(bench.reading(&command("valve", false)), Verdict::Used);
        let _ = bench.reading(&number("flow", 8.0));
        assert_eq!(
            seen(&mut bench),
            records(&[
                ("flow", 7.0),
                ("flow:passed", 7.0),
                ("valve", 1.0),
                ("flow", 8.0),
                ("flow:passed", 0.0),
            ])
        );
        let _ = bench.reading(&command("valve", true));
        let later = Reading {
            time: number("", 0.0)
                .time
                .checked_add(core::time::Duration::from_secs(1))
                .unwrap(),
            ..number("flow", 9.0)
        };
        let _ = bench.reading(&later);
        assert_eq!(
            seen(&mut bench),
            records(&[("flow", 9.0), ("flow:passed", 9.0), ("valve", 1.0)])
        );
        assert_eq!(bench.own(), "opened=1 closed=1");
    }

    #[test]
    fn a_command_that_is_obeyed_already_changes_nothing() {
        let mut bench = Bench::<Valve>::new("name=gate", 1);
        for open in [true, false, false, true, true] {
            assert_eq!(bench.reading(&command("gate", open)), Verdict::Used);
        }
        assert_eq!(bench.own(), "opened=1 closed=1");
        let other = bench.reading(&command("valve", false));
        assert_eq!(other, Verdict::Dropped(DropCause::WrongType));
        assert_eq!(bench.own(), "opened=1 closed=1");
    }

    #[test]
    fn what_is_no_flow_says_why() {
        let mut bench = Bench::<Valve>::new("", 1);
        let dropped = Verdict::Dropped;
        assert_eq!(
            bench.reading(&number("flow", f64::NAN)),
            dropped(DropCause::NotFinite)
        );
        assert_eq!(
            bench.reading(&number("valve", 1.0)),
            dropped(DropCause::WrongType)
        );
        let long = "n".repeat(MAX_NAME - 3);
        assert_eq!(
            bench.reading(&number(&long, 1.0)),
            dropped(DropCause::Unsendable)
        );
        assert_eq!(seen(&mut bench), []);
        assert!(Bench::<Valve>::refused("name=-").starts_with("name"));
    }
}
