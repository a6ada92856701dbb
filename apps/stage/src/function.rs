//! What one writes to make a function: the [`Stage`] trait, and what it is handed.
//!
//! ```
//! use stage::params::Count;
//! use stage::{DropCause, EdgeKind, Kind, Outputs, Parameter, Reading, Setup, SetupError, Stage};
//! use stage::{Value, Verdict};
//!
//! /// Multiplies every value by a factor.
//! struct Scale {
//!     factor: f64,
//! }
//!
//! impl Stage for Scale {
//!     const NAME: &'static str = "scale";
//!     const ABOUT: &'static str = "multiplies every value by a factor";
//!     const PARAMETERS: &'static [Parameter] =
//!         &[Parameter::new("factor", Kind::Number, "1", "what each value is multiplied by")];
//!     const EDGES: &'static [EdgeKind] = &[
//!         EdgeKind::inputs(Count::AtLeastOne, "readings to scale"),
//!         EdgeKind::outputs(Count::AtLeastOne, "scaled readings"),
//!     ];
//!
//!     fn new(setup: &Setup<'_>) -> Result<Self, SetupError> {
//!         Ok(Self { factor: setup.params.require("factor")? })
//!     }
//!
//!     fn reading(&mut self, _input: usize, reading: &Reading<'_>, out: &mut Outputs) -> Verdict {
//!         let Value::Number(value) = reading.value else {
//!             return Verdict::Dropped(DropCause::WrongType);
//!         };
//!         out.emit(&Reading { value: Value::Number(value * self.factor), ..*reading })
//!     }
//! }
//! ```

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::counters::StageCounters;
use crate::module::Module;
use crate::params::{Edge, EdgeKind, Parameter, Params};
use crate::plan::SetupError;
use crate::senml::{PackQueue, Reading, json};

/// A function: readings in, readings out. Synchronous and without a platform; the
/// [`runner`](crate::runner) brings readings, takes away what was emitted and keeps the clock.
pub trait Stage: Sized {
    /// The name of the app, as in the file name of its image.
    const NAME: &'static str;
    /// What it does, in one line.
    const ABOUT: &'static str;
    /// The parameters it takes beside the common ones.
    const PARAMETERS: &'static [Parameter];
    /// The kinds of edges it takes; a direction that is not listed takes none.
    const EDGES: &'static [EdgeKind];
    /// Whether the image carries a network, and so takes `ip=`.
    const NETWORK: bool = false;

    /// Makes the function from its checked parameters. An error ends the boot with one line.
    fn new(setup: &Setup<'_>) -> Result<Self, SetupError>;

    /// Takes one reading from the input edge with index `input` (order of the command line), and
    /// says what became of it.
    fn reading(&mut self, input: usize, reading: &Reading<'_>, out: &mut Outputs) -> Verdict {
        let _ = (input, reading, out);
        Verdict::Dropped(DropCause::WrongType)
    }

    /// A pack has ended whose readings it was given, whole or as far as it could be read.
    fn pack_ended(&mut self, input: usize, out: &mut Outputs) {
        let _ = (input, out);
    }

    /// Makes readings of its own; `now` is monotonic and counts from the start of the stage. Called
    /// once at the start and then when the answer says. A source emits little at each call (a
    /// reading, a row): between calls the runner sees to back-pressure.
    fn poll(&mut self, now: Duration, out: &mut Outputs) -> Next {
        let _ = (now, out);
        Next::Idle
    }

    /// All inputs have ended, or the stage was told to stop: emits what is left.
    fn finish(&mut self, out: &mut Outputs) {
        let _ = out;
    }

    /// Appends what it counts beside the [`counters`](crate::counters) of every stage, as `key=number` pairs.
    fn own_counters(&self, text: &mut String) {
        let _ = text;
    }
}

/// What a function is made from.
#[derive(Debug)]
pub struct Setup<'a> {
    /// Its parameters, checked against [`Stage::PARAMETERS`] and the common ones.
    pub params: &'a Params<'a>,
    /// The files of the boot module.
    pub module: &'a Module,
    /// Its input edges; the index of an edge here is what [`Stage::reading`] is given.
    pub inputs: &'a [Edge],
    /// Its output edges; the index of an edge here is what [`Outputs::emit_to`] takes.
    pub outputs: &'a [Edge],
}

/// What became of a reading that was taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// The function used it.
    Used,
    /// It was dropped, for this cause.
    Dropped(DropCause),
}

/// Why a reading was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropCause {
    /// Behind its series' watermark by more than the lateness.
    Late,
    /// Its value is not a number (NaN) or infinite.
    NotFinite,
    /// Its value is outside the range given for its series.
    OutOfRange,
    /// Its value is of a type, or in a unit, that the function cannot use.
    WrongType,
    /// It stood in a row that could not be read.
    Malformed,
    /// Its cell in the row was empty.
    Empty,
    /// One more series than the function keeps.
    TooManySeries,
    /// SenML cannot carry it: its name, its stamp, or its length.
    Unsendable,
    /// Its stamp is farther from those of other series than their clocks may disagree.
    Skewed,
    /// It was used and then could not be handed on to the world outside.
    Undelivered,
}

impl DropCause {
    /// Every cause; the index of a cause here is its value as a number.
    pub const ALL: [Self; 10] = [
        Self::Late,
        Self::NotFinite,
        Self::OutOfRange,
        Self::WrongType,
        Self::Malformed,
        Self::Empty,
        Self::TooManySeries,
        Self::Unsendable,
        Self::Skewed,
        Self::Undelivered,
    ];

    /// Its key in the text of the [`counters`](crate::counters).
    pub const fn key(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::NotFinite => "nan",
            Self::OutOfRange => "range",
            Self::WrongType => "type",
            Self::Malformed => "malformed",
            Self::Empty => "empty",
            Self::TooManySeries => "series",
            Self::Unsendable => "unsendable",
            Self::Skewed => "skew",
            Self::Undelivered => "undelivered",
        }
    }
}

/// When a function wants to be polled again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Next {
    /// As soon as there is room: more is ready.
    Now,
    /// At this time, on the clock that [`Stage::poll`] is given.
    At(Duration),
    /// Never by itself: it lives on its inputs. A stage without inputs then ends.
    Idle,
    /// Never: the source has run dry.
    Done,
}

/// Where a function puts what it emits. Nothing is sent during the call; nothing is lost after it.
#[derive(Debug)]
pub struct Outputs {
    pub(crate) edges: Vec<PackQueue>,
    pub(crate) console: String,
    pub(crate) counters: StageCounters,
    /// The function takes no readings for now.
    pub(crate) held: bool,
}

impl Outputs {
    /// For edges whose packs are at most `pack_limits` bytes long, one number for each edge.
    pub fn new(pack_limits: impl IntoIterator<Item = usize>) -> Self {
        Self {
            edges: pack_limits.into_iter().map(PackQueue::new).collect(),
            console: String::new(),
            counters: StageCounters::default(),
            held: false,
        }
    }

    /// For these edges.
    pub(crate) fn of_edges(edges: &[Edge]) -> Self {
        let mut outputs = Self::new(edges.iter().map(crate::runner::buffer_size));
        for (queue, edge) in outputs.edges.iter_mut().zip(edges) {
            queue.never_full(edge.feedback || edge.drop_newest);
        }
        outputs
    }

    /// Emits a reading on every output edge. Dropped as unsendable, on all of them, if SenML cannot
    /// carry it.
    pub fn emit(&mut self, reading: &Reading<'_>) -> Verdict {
        for index in 0..self.edges.len() {
            // An edge refuses for the reading's sake alone, so the first one refuses for all.
            if self.edges[index].push(reading).is_err() {
                return Verdict::Dropped(DropCause::Unsendable);
            }
        }
        self.counters.out += 1;
        Verdict::Used
    }

    /// Emits a reading on one output edge. An index without an edge drops it as unsendable.
    pub fn emit_to(&mut self, output: usize, reading: &Reading<'_>) -> Verdict {
        match self.edges.get_mut(output).map(|edge| edge.push(reading)) {
            Some(Ok(())) => {
                self.counters.out += 1;
                Verdict::Used
            }
            _ => Verdict::Dropped(DropCause::Unsendable),
        }
    }

    /// Emits a pack on the console, as one line of SenML JSON. JSON has no word for NaN and
    /// infinity: records with such a value are left out and not counted as emitted.
    pub fn print(&mut self, pack: &[Reading<'_>]) {
        self.counters.out += json::line(pack, &mut self.console);
    }

    /// Counts readings as emitted to a [companion](crate::runner::Companion), which is woken.
    pub fn hand_over(&mut self, readings: u64) {
        self.counters.out += readings;
    }

    /// Counts readings as undelivered that were used before.
    pub fn take_back(&mut self, readings: u64) {
        self.counters.used = self.counters.used.saturating_sub(readings);
        self.counters.dropped[DropCause::Undelivered as usize] += readings;
    }

    /// Whether inputs and source are to wait, as they do for a full output.
    pub fn hold_back(&mut self, held: bool) {
        self.held = held;
    }

    /// What has been counted so far.
    pub fn counters(&self) -> &StageCounters {
        &self.counters
    }

    /// The packs that wait for one output edge: for a runner of one's own, and for tests.
    pub fn queue_mut(&mut self, output: usize) -> Option<&mut PackQueue> {
        self.edges.get_mut(output)
    }

    /// The lines that wait for the console.
    pub fn console_text(&self) -> &str {
        &self.console
    }

    /// Counts a reading that the function took from a source of its own. Those that
    /// [`Stage::reading`] is given are counted by the runner.
    pub fn count(&mut self, verdict: Verdict) {
        self.counters.count(verdict);
    }
}
