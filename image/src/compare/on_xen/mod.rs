//! A comparison in a dom0: step by step, each with its figures or its failure.
//!
//! | room | what it is |
//! |---|---|
//! | [`site`] | dom0 at work: guests that are gone afterwards, orders to them, what they answer, events |
//! | [`bridge`] | the bridge of their own |
//! | [`left_behind`] | what a comparison that was killed has left, which the next one removes |
//! | [`pairs`] | two guests of a kind, and messages between them |
//! | [`answer`] | the line that a bench program ends with |
//! | [`cpu`] | CPU time before and after |
//! | [`xentrace`], [`trace`] | Xen's tracer beside a run, and what it has told of hypercalls |
//! | [`machine`] | on what it runs |
//! | [`life`] | what is measured of one guest rather than of a pair, and of whole pipelines |
//! | [`sensors`] | one sensor in a guest, and its reader in dom0 |
//! | [`reader`] | what comes to dom0, and when |
//! | [`boot`], [`memory`], [`fit`], [`recovery`], [`pipelines`] | how each of these figures is taken |
//! | [`trouble`] | why something did not work |
//! | [`bisect`] | the least number that works |

pub mod answer;
pub mod bisect;
pub mod boot;
pub mod bridge;
pub mod cpu;
pub mod fit;
pub mod left_behind;
pub mod life;
pub mod machine;
pub mod memory;
pub mod pairs;
pub mod pipelines;
pub mod reader;
pub mod recovery;
pub mod sensors;
pub mod site;
#[cfg(test)]
mod tests;
pub mod trace;
mod trials;
pub mod trouble;
pub mod xentrace;

pub use site::{Kit, LinuxGuest, Site, Trouble};

use self::life::Life;
use self::trials::Trials;
use super::plan::{self, Step, Work};
use super::results::Event;

/// Takes all steps, telling what comes of each. It is an error only if it was stopped.
pub fn run(steps: &[Step], quick: bool, site: &mut Site<'_>) -> Result<(), Trouble> {
    left_behind::clear(site)?;
    let mut trials = Trials::new(quick);
    let mut life = Life::new(quick);
    for (number, step) in steps.iter().enumerate() {
        site.go_on()?;
        let outcome = match step.work {
            Work::Pair { trial, way, size } => trials.pair(site, step.round, trial, way, size),
            Work::Life {
                contestant,
                measure,
            } => {
                // The first of them: pairs are done with.
                let first = number
                    .checked_sub(1)
                    .and_then(|before| steps.get(before))
                    .is_none_or(|before| matches!(before.work, Work::Pair { .. }));
                let cleared = if first { trials.clear(site) } else { Ok(()) };
                let value = cleared.and_then(|()| life.run(site, contestant, measure));
                value.map(|value| {
                    for subject in step.work.subjects() {
                        site.sample(subject, step.round, value);
                    }
                })
            }
        };
        match outcome {
            Ok(()) => {}
            Err(Trouble::Stopped) => return Err(Trouble::Stopped),
            Err(Trouble::Failed(reason)) => {
                let failed = if step.work.is_check() {
                    plan::failed_with(number, steps, quick)
                } else {
                    vec![step]
                };
                for failed in failed {
                    for subject in failed.work.subjects() {
                        site.failed(subject, failed.round, &reason);
                    }
                }
            }
        }
    }
    trials.clear(site)?;
    life.clear(site)?;
    site.tell(Event::Complete);
    Ok(())
}
