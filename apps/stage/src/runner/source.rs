//! The function's own readings, and the console.

use alloc::string::String;
use core::cell::RefCell;
use core::mem;
use core::pin::pin;

use super::DRAIN_PATIENCE;
use super::board::{Board, Phase};
use super::host::Host;
use super::signal::{first, yield_now};
use crate::function::{Next, Stage};

/// How often a source that is always ready is asked before others get their turn. Far more than fit
/// in a pack: it is a full pack that stops a source, this only one without outputs.
const TURN: u32 = 1024;

/// Polls the function as it asks to be, from when every output has met its reader.
pub(super) async fn run<S: Stage, H: Host>(board: &Board<'_, H>, function: &RefCell<S>) {
    let ended = || board.phase() != Phase::Running;
    board.changed.until(|| ended() || board.outputs_met()).await;
    let mut turn = 0;
    loop {
        if !board.has_room() {
            board.room.until(|| ended() || board.has_room()).await;
            turn = 0;
        }
        if ended() {
            return;
        }
        turn += 1;
        match poll(board, function) {
            Next::Now if turn == TURN => {
                yield_now().await;
                turn = 0;
            }
            Next::Now => {}
            Next::At(time) => {
                first(
                    pin!(board.host.sleep_until(time)),
                    pin!(board.changed.until(ended)),
                )
                .await;
                turn = 0;
            }
            Next::Idle | Next::Done => return,
        }
    }
}

fn poll<S: Stage, H: Host>(board: &Board<'_, H>, function: &RefCell<S>) -> Next {
    let mut outputs = board.outputs.borrow_mut();
    let emitted = outputs.counters.out;
    let next = function.borrow_mut().poll(board.host.now(), &mut outputs);
    board.note(outputs.counters.out != emitted);
    next
}

/// Writes what the function prints, line by line, until it has finished.
pub(super) async fn console<H: Host>(board: &Board<'_, H>) {
    let mut text = String::new();
    let mut is_read = true;
    loop {
        let has_text = || !board.outputs.borrow().console.is_empty();
        board
            .emitted
            .until(|| has_text() || board.phase() == Phase::Finishing)
            .await;
        text.clear();
        mem::swap(&mut text, &mut board.outputs.borrow_mut().console);
        board.room.notify();
        if text.is_empty() {
            return;
        }
        // Once nobody reads and the stage has to end, the rest only makes room.
        if is_read && print(board, &text).await.is_none() {
            is_read = false;
            log::warn!("console: nobody reads it; the rest of the results is lost");
        }
    }
}

/// Writes lines; `None` if the stage was told to stop and nobody takes them.
async fn print<H: Host>(board: &Board<'_, H>, text: &str) -> Option<()> {
    let mut rest = text;
    while !rest.is_empty() {
        let line;
        (line, rest) = rest.split_once('\n').unwrap_or((rest, ""));
        let out_of_patience = async {
            board.changed.until(|| board.is_stopped()).await;
            board
                .host
                .sleep_until(board.host.now() + DRAIN_PATIENCE)
                .await;
        };
        first(pin!(board.host.console_line(line)), pin!(out_of_patience)).await?;
    }
    Some(())
}
