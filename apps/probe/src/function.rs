//! The probe as a stage like any other, and the parameters of all that it does.

use core::time::Duration;

use unikernel::stage::params::Count;
use unikernel::stage::{
    EdgeKind, Kind, Next, Outputs, Parameter, Reading, Setup, SetupError, Stage, Timestamp, Value,
    Verdict,
};

/// The word of `do=` for a stage.
pub const STAGE: &str = "stage";

/// Emits `count=` readings, one each `every=`, and passes on those that come in.
#[derive(Debug)]
pub struct Probe {
    left: u64,
    every: Duration,
    next: Duration,
}

impl Stage for Probe {
    const NAME: &'static str = "probe";
    const ABOUT: &'static str = "does one thing on request, says how it went, and ends";
    const PARAMETERS: &'static [Parameter] = &[
        Parameter::new(
            "do",
            Kind::Choice(&[
                STAGE,
                "panic",
                "panic-connected",
                "fault",
                "stack",
                "opcode",
                "heap-panic",
                "heap",
                "scarce",
                "grants",
                "ports",
                "console",
                "idle",
                "clock",
                "entropy",
                "abi",
                "abort",
                "xenstore",
                "source",
                "sink",
                "echo",
                "exchange",
                "conformance",
                "victim",
                "matrix",
            ]),
            STAGE,
            "what to do",
        ),
        Parameter::new(
            "count",
            Kind::Integer,
            "0",
            "readings to emit, or lines to print",
        ),
        Parameter::new("every", Kind::Duration, "0", "time between readings"),
        Parameter::new(
            "bytes",
            Kind::Size,
            "64K",
            "bytes to send beside three rings full",
        ),
        Parameter::new("seed", Kind::Integer, "1", "which bytes to send"),
        Parameter::new(
            "back",
            Kind::Size,
            "",
            "ring of the way back, as a server; as large as the other one if not given",
        ),
    ];
    const EDGES: &'static [EdgeKind] = &[
        EdgeKind::inputs(Count::Any, "readings to pass on; bytes to receive"),
        EdgeKind::outputs(Count::Any, "readings; bytes to send"),
    ];

    fn new(setup: &Setup<'_>) -> Result<Self, SetupError> {
        Ok(Self {
            left: setup.params.require("count")?,
            every: setup.params.require("every")?,
            next: Duration::ZERO,
        })
    }

    fn reading(&mut self, _: usize, reading: &Reading<'_>, out: &mut Outputs) -> Verdict {
        out.emit(reading)
    }

    fn poll(&mut self, now: Duration, out: &mut Outputs) -> Next {
        if self.left == 0 {
            return Next::Idle;
        }
        if now < self.next {
            return Next::At(self.next);
        }
        self.left -= 1;
        let reading = Reading {
            name: "probe",
            unit: "",
            value: Value::Number(self.left as f64),
            time: Timestamp::from_nanos(1_600_000_000_000_000_000),
        };
        let verdict = out.emit(&reading);
        out.count(verdict);
        self.next = now + self.every;
        match self.left {
            0 => Next::Idle,
            _ => Next::At(self.next),
        }
    }
}
