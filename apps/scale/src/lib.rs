//! The function of the stage `scale`.
#![no_std]
#![forbid(unsafe_code)]

use stage::params::Count;
use stage::{DropCause, EdgeKind, Kind, Outputs, Parameter, Reading};
use stage::{Setup, SetupError, Stage, Value, Verdict};

/// Multiplies every value by a factor.
#[derive(Debug)]
pub struct Scale {
    factor: f64,
}

impl Stage for Scale {
    const NAME: &'static str = "scale";
    const ABOUT: &'static str = "multiplies every value by a factor";
    const PARAMETERS: &'static [Parameter] = &[Parameter::new(
        "factor",
        Kind::Number,
        "1",
        "what each value is multiplied by",
    )];
    const EDGES: &'static [EdgeKind] = &[
        EdgeKind::inputs(Count::AtLeastOne, "readings"),
        EdgeKind::outputs(Count::AtLeastOne, "the same, multiplied"),
    ];

    fn new(setup: &Setup<'_>) -> Result<Self, SetupError> {
        let factor = setup.params.require("factor")?;
        Ok(Self { factor })
    }

    fn reading(&mut self, _input: usize, reading: &Reading<'_>, out: &mut Outputs) -> Verdict {
        let Value::Number(value) = reading.value else {
            return Verdict::Dropped(DropCause::WrongType);
        };
        let value = Value::Number(value * self.factor);
        out.emit(&Reading { value, ..*reading })
    }
}

#[cfg(test)]
mod tests {
    use stage::testing::through;
    use stage::{Reading, Timestamp, Value};

    use super::Scale;

    #[test]
    fn numbers_are_multiplied_and_all_else_is_dropped() {
        let time = Timestamp::from_seconds(1_767_225_600).unwrap();
        let reading = Reading::number("level", time, 21.0).in_unit("m");
        let text = Reading {
            value: Value::Text("high"),
            ..reading
        };
        let lines = through::<Scale>("factor=2", &[reading, text]).unwrap();
        assert_eq!(
            lines,
            [r#"[{"bn":"level","bt":1767225600,"u":"m","v":42}]"#]
        );
    }
}
