//! A task beside a function, for what leaves the stage, or comes to it, by another way than its edges.

use core::cell::RefCell;

use super::board::{Board, Phase};
use super::host::Host;
use crate::function::Outputs;
use crate::state::Awaited;

/// What carries a function's results to the world outside. It runs as long as the stage and decides when that ends: after
/// the function has finished, the stage waits for it as for an output.
///
/// The function says that there is something to carry with [`Outputs::hand_over`], that it can take no more for now with
/// [`Outputs::hold_back`], and what was lost on the way with [`Outputs::take_back`].
///
/// The companion of a source carries the other way: it waits for [room](Beside::room) and has the function emit.
#[expect(
    async_fn_in_trait,
    reason = "a stage runs on one thread: futures need not be Send"
)]
pub trait Companion<S> {
    /// Whether there is one.
    const PRESENT: bool = true;
    /// Whether it brings the readings of a function without inputs, which then ends with it.
    const IS_SOURCE: bool = false;

    /// Carries until all is carried or given up.
    async fn run<H: Host>(self, beside: Beside<'_, S, H>);
}

/// None: a function whose results leave by its edges or the console.
impl<S> Companion<S> for () {
    const PRESENT: bool = false;

    async fn run<H: Host>(self, _: Beside<'_, S, H>) {}
}

/// A companion's view of its stage.
pub struct Beside<'a, S, H> {
    board: &'a Board<'a, H>,
    function: &'a RefCell<S>,
}

impl<'a, S, H: Host> Beside<'a, S, H> {
    pub(super) fn new(board: &'a Board<'a, H>, function: &'a RefCell<S>) -> Self {
        Self { board, function }
    }

    /// The platform: its clock.
    pub fn host(&self) -> &'a H {
        self.board.host
    }

    /// Calls the function. Inputs that are held back look again whether they still are.
    pub fn with<T>(&self, call: impl FnOnce(&mut S, &mut Outputs) -> T) -> T {
        let mut outputs = self.board.outputs.borrow_mut();
        let value = call(&mut self.function.borrow_mut(), &mut outputs);
        self.board.note(false);
        self.board.room.notify();
        value
    }

    /// Calls the function of a source, which may emit.
    pub fn emit<T>(&self, call: impl FnOnce(&mut S, &mut Outputs) -> T) -> T {
        let value = self.with(call);
        self.board.note(true);
        value
    }

    /// Whether a source may emit: every output has met its reader, and none is full.
    pub fn has_room(&self) -> bool {
        self.board.outputs_met() && self.board.has_room()
    }

    /// Waits for [`has_room`](Self::has_room).
    pub async fn room(&self) {
        self.board.changed.until(|| self.board.outputs_met()).await;
        self.board.room.until(|| self.board.has_room()).await;
    }

    /// Waits for a condition that changes when the function hands over, when it has finished, or when the stage is told to
    /// stop.
    pub async fn until(&self, mut condition: impl FnMut(&S) -> bool) {
        let function = self.function;
        self.board
            .emitted
            .until(|| condition(&function.borrow()))
            .await;
    }

    /// Whether the function has finished: nothing more is handed over.
    pub fn is_finishing(&self) -> bool {
        self.board.phase() == Phase::Finishing
    }

    /// Whether the stage was told to stop.
    pub fn is_stopped(&self) -> bool {
        self.board.is_stopped()
    }

    /// Says what the companion waits for; shown as the stage's state while every edge is connected.
    pub fn set_awaited(&self, awaited: Option<Awaited>) {
        self.board.set_awaited(awaited);
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;
    use std::string::String;
    use std::vec::Vec;

    use embedded_io_async::Write as _;
    use futures_util::future::join;

    use super::*;
    use crate::counters::Counters;
    use crate::function::{DropCause, Setup, Stage, Verdict};
    use crate::params::{Count, EdgeKind, Parameter};
    use crate::plan::{Plan, SetupError};
    use crate::runner::run_beside;
    use crate::senml::{END_OF_STREAM, PackQueue, Reading};
    use crate::state::State;
    use crate::testing::{MemoryHost, Network};
    use crate::{EdgeName, Timestamp};

    /// How many packs it keeps before it holds back.
    const ROOM: usize = 2;

    /// Keeps the lengths of packs until its companion takes them.
    #[derive(Default)]
    struct Keeper {
        readings: u64,
        packs: Vec<u64>,
        most: usize,
    }

    impl Keeper {
        fn is_full(&self) -> bool {
            self.packs.len() >= ROOM
        }
    }

    impl Stage for Keeper {
        const NAME: &'static str = "keeper";
        const ABOUT: &'static str = "keeps packs";
        const PARAMETERS: &'static [Parameter] = &[];
        const EDGES: &'static [EdgeKind] = &[EdgeKind::inputs(Count::AtLeastOne, "in")];

        fn new(_: &Setup<'_>) -> Result<Self, SetupError> {
            Ok(Self::default())
        }

        fn reading(&mut self, _: usize, _: &Reading<'_>, _: &mut Outputs) -> Verdict {
            self.readings += 1;
            Verdict::Used
        }

        fn pack_ended(&mut self, _: usize, out: &mut Outputs) {
            let readings = core::mem::take(&mut self.readings);
            self.packs.push(readings);
            self.most = self.most.max(self.packs.len());
            out.hand_over(readings);
            out.hold_back(self.is_full());
        }

        fn own_counters(&self, text: &mut String) {
            text.push_str("most=");
            text.push_str(&std::format!("{}", self.most));
        }
    }

    /// Takes a pack each second after the first ten; loses each that holds five readings.
    struct Slow;

    impl Companion<Keeper> for Slow {
        async fn run<H: Host>(self, beside: Beside<'_, Keeper, H>) {
            let second = |number| Duration::from_secs(number);
            beside.set_awaited(Some(Awaited::Broker));
            beside.host().sleep_until(second(10)).await;
            beside.set_awaited(None);
            loop {
                beside
                    .until(|keeper| !keeper.packs.is_empty() || beside.is_finishing())
                    .await;
                let is_empty = beside.with(|keeper, out| {
                    if keeper.packs.first() == Some(&5) {
                        out.take_back(5);
                    }
                    if !keeper.packs.is_empty() {
                        keeper.packs.remove(0);
                    }
                    out.hold_back(keeper.is_full());
                    keeper.packs.is_empty()
                });
                if is_empty && beside.is_finishing() {
                    return;
                }
                let now = beside.host().now();
                beside.host().sleep_until(now + second(1)).await;
            }
        }
    }

    fn packs(lengths: &[u64]) -> Vec<u8> {
        let (mut queue, mut all) = (PackQueue::new(4096), Vec::new());
        let (mut bytes, mut sealed) = (Vec::new(), Vec::new());
        for length in lengths {
            for _ in 0..*length {
                let time = Timestamp::from_seconds(1_700_000_000).unwrap();
                queue.push(&Reading::number("a", time, 1.0)).unwrap();
            }
            queue.take(&mut bytes, &mut sealed);
            all.extend_from_slice(&bytes);
        }
        all.push(END_OF_STREAM);
        all
    }

    #[test]
    fn a_companion_holds_back_what_it_cannot_carry_and_is_waited_for() {
        let network = Network::new();
        let host = MemoryHost::new(&network);
        let stage = async {
            let plan = Plan::new::<Keeper>(b"in.a=1", b"").unwrap();
            let counters: Counters = run_beside(&plan, &host, Slow).await.unwrap();
            counters
        };
        let writer = async {
            let bytes = packs(&[3, 5, 2, 2, 4, 5]);
            network
                .open_output("a")
                .await
                .write_all(&bytes)
                .await
                .unwrap();
        };
        let (counters, ()) = network.block_on(join(stage, writer)).unwrap();
        assert_eq!((counters.stage.readings_in, counters.stage.out), (21, 21));
        assert_eq!(
            (
                counters.stage.used,
                counters.stage.dropped(DropCause::Undelivered)
            ),
            (11, 10)
        );
        assert!(counters.stage.balanced());
        assert_eq!(counters.own, "most=2");
        assert_eq!(network.now(), Duration::from_secs(15));
        let edge = EdgeName::new("a").unwrap();
        let states = [
            State::Starting,
            State::Waiting(Awaited::Edge(edge)),
            State::Waiting(Awaited::Broker),
            State::Running,
            State::Done,
        ];
        assert_eq!(*host.states.borrow(), states);
    }
}
