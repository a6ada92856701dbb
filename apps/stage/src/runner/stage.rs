//! One stage from its start to its end.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::RefCell;

use super::board::{Board, Phase};
use super::companion::{Beside, Companion};
use super::host::{Host, OpenError};
use super::input::Input;
use super::join::Join;
use super::output::Output;
use super::source;
use crate::counters::Counters;
use crate::function::{Outputs, Stage};
use crate::params::{Direction, Edge, takes};
use crate::plan::{Plan, SetupError};
use crate::state::State;

/// Why a stage failed; the message is one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// It could not be set up.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// An edge cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// Runs a stage to its end, and returns what it has counted. The state is published as it changes:
/// `starting` first, `done` or `failed REASON` last.
pub async fn run<S: Stage, H: Host>(plan: &Plan<'_>, host: &H) -> Result<Counters, RunError> {
    run_beside::<S, H, ()>(plan, host, ()).await
}

/// The same for a function with a companion.
pub async fn run_beside<S: Stage, H: Host, C: Companion<S>>(
    plan: &Plan<'_>,
    host: &H,
    companion: C,
) -> Result<Counters, RunError> {
    host.set_state(&State::Starting);
    let outcome = start::<S, H, C>(plan, host, companion).await;
    host.set_state(&match &outcome {
        Ok(_) => State::Done,
        Err(error) => State::Failed(error.to_string()),
    });
    outcome
}

async fn start<S: Stage, H: Host, C: Companion<S>>(
    plan: &Plan<'_>,
    host: &H,
    companion: C,
) -> Result<Counters, RunError> {
    let function = RefCell::new(plan.build::<S>()?);
    let edges: Vec<Edge> = [plan.inputs.as_slice(), plan.outputs.as_slice()].concat();
    let outputs = Outputs::of_edges(&plan.outputs);
    let board = Board::new(host, &edges, outputs);
    let outcome = work(&board, &function, &plan.inputs, companion).await;
    let counters = board.counters(&|text: &mut String| function.borrow().own_counters(text));
    host.publish(&counters);
    outcome.map(|()| counters)
}

/// Which task has ended.
pub(super) enum Ended {
    /// One that brings readings.
    Producer,
    /// One that takes them away.
    Consumer,
    /// Any other.
    Helper,
}

async fn work<'a, S: Stage, H: Host, C: Companion<S> + 'a>(
    board: &'a Board<'a, H>,
    function: &'a RefCell<S>,
    inputs: &[Edge],
    companion: C,
) -> Result<(), RunError> {
    let mut tasks: Join<'a, Result<Ended, OpenError>> = Join::new();
    let output_count = board.outputs.borrow().edges.len();
    // A feedback edge may end after the stage, whose own end it waits for.
    let forward = inputs.iter().filter(|edge| !edge.feedback).count();
    let inputs = inputs.len();
    // A function that takes no edges of a direction has no code for them in its image.
    if const { takes(S::EDGES, Direction::In) } {
        for index in 0..inputs {
            tasks.push(Input::new(board, function, index).run());
        }
    }
    if const { takes(S::EDGES, Direction::Out) } {
        for slot in 0..output_count {
            tasks.push(Output::new(board, inputs + slot, slot).run());
        }
    }
    if const { C::PRESENT } {
        tasks.push(async move {
            companion.run(Beside::new(board, function)).await;
            Ok(if C::IS_SOURCE {
                Ended::Producer
            } else {
                Ended::Consumer
            })
        });
    }
    tasks.push(async move {
        source::run(board, function).await;
        // A function with inputs ends with them, and one whose companion is its source with that.
        Ok(if forward == 0 && !C::IS_SOURCE {
            Ended::Producer
        } else {
            Ended::Helper
        })
    });
    tasks.push(async move {
        source::console(board).await;
        Ok(Ended::Consumer)
    });
    tasks.push(async move {
        board.host.stop_requested().await;
        board.stop();
        Ok(Ended::Helper)
    });
    tasks.push(async move {
        let own = |text: &mut String| function.borrow().own_counters(text);
        board.publish_changes(own).await;
        Ok(Ended::Helper)
    });
    let mut producers = forward.max(1);
    let mut consumers = output_count + 1 + usize::from(C::PRESENT && !C::IS_SOURCE);
    while consumers > 0 {
        match tasks.next().await.transpose()? {
            Some(Ended::Producer) => {
                producers -= 1;
                if producers == 0 {
                    function
                        .borrow_mut()
                        .finish(&mut board.outputs.borrow_mut());
                    board.enter(Phase::Finishing);
                }
            }
            Some(Ended::Consumer) => consumers -= 1,
            Some(Ended::Helper) => {}
            None => break,
        }
    }
    Ok(())
}
