//! `log`: prints every reading on its console, a line of SenML JSON each.
//!
//! JSON has no word for values that are not finite; such a reading is dropped (`nan`).

use stage::params::Count;
use stage::{
    DropCause, EdgeKind, Outputs, Parameter, Reading, Setup, SetupError, Stage, Value, Verdict,
};

/// The log.
#[derive(Debug)]
pub struct Log;

impl Stage for Log {
    const NAME: &'static str = "log";
    const ABOUT: &'static str = "prints every reading on its console";
    const PARAMETERS: &'static [Parameter] = &[];
    const EDGES: &'static [EdgeKind] = &[EdgeKind::inputs(Count::AtLeastOne, "readings")];

    fn new(_: &Setup<'_>) -> Result<Self, SetupError> {
        Ok(Self)
    }

    fn reading(&mut self, _input: usize, reading: &Reading<'_>, out: &mut Outputs) -> Verdict {
        if let Value::Number(value) | Value::Sum(value) = reading.value
            && !value.is_finite()
        {
            return Verdict::Dropped(DropCause::NotFinite);
        }
        out.print(&[*reading]);
        Verdict::Used
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{Bench, number};

    #[test]
    fn a_reading_is_a_line_and_what_json_cannot_say_is_dropped() {
        let mut bench = Bench::<Log>::new("", 0);
        assert_eq!(bench.reading(&number("s", 1.5)), Verdict::Used);
        assert_eq!(
            bench.reading(&Reading {
                value: Value::Boolean(true),
                ..number("s:alert", 0.0)
            }),
            Verdict::Used
        );
        assert_eq!(
            bench.reading(&number("s", f64::NAN)),
            Verdict::Dropped(DropCause::NotFinite)
        );
        let expected = "[{\"bn\":\"s\",\"bt\":1767225600,\"v\":1.5}]\n[{\"bn\":\"s:alert\",\"bt\":1767225600,\"vb\":true}]\n";
        assert_eq!(bench.out.console_text(), expected);
    }
}
