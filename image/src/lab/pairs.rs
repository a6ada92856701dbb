//! A scenario for two machines: both boot at a time and run the same script, which tells them apart by MACHINE. Between them is
//! a broker outside, of the scenario's own; who connects to `outside/pause` has it end and come back, and is told when it has.

use std::io::{self, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::job::Job;
use super::scenarios::{Ended, Scenario, Verdict};
use super::trials::{Ran, started};
use crate::broker::Broker;
use crate::failure::Failure;
use crate::progress::Progress;

/// How the machines are called.
const MACHINES: [&str; 2] = ["a", "b"];

/// How long the broker stays away.
const AWAY: Duration = Duration::from_secs(3);

/// How often to look whether somebody wants it to go.
const LOOK: Duration = Duration::from_millis(50);

/// Runs the scenario that `job` holds in two machines; `one` runs it in one.
pub(super) fn run(
    job: &Job,
    scenario: &Scenario,
    results: &Path,
    progress: &Progress,
    one: impl Fn(&Job, &Path) -> Ran + Sync,
) -> Result<Ran, Failure> {
    let mut job = job.clone();
    let broker = started(Broker::start_lasting(), &mut job, progress)?;
    let pauses = TcpListener::bind(("127.0.0.1", 0))?;
    pauses.set_nonblocking(true)?;
    let address = super::outside(pauses.local_addr()?.port());
    job.bytes("outside/pause", 0o644, address.to_string().as_bytes());
    let over = AtomicBool::new(false);
    let ran: Vec<Ran> = thread::scope(|scope| {
        scope.spawn(|| pause(broker, &pauses, &over));
        let machines = MACHINES.map(|machine| {
            let mut job = job.clone();
            job.bytes("machine", 0o644, machine.as_bytes());
            let one = &one;
            scope.spawn(move || one(&job, &results.join(format!("machine-{machine}"))))
        });
        let ran = machines.map(|machine| {
            let ran = machine.join();
            ran.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        over.store(true, Ordering::Relaxed);
        ran.into()
    });
    let mut both = Ran {
        ended: Vec::new(),
        end: Ok(()),
    };
    let mut ends = Vec::new();
    for (machine, ran) in MACHINES.iter().zip(ran) {
        ends.push((*machine, ran.ended.into_iter().next()));
        both.end = both.end.and(ran.end);
    }
    both.ended.extend(verdict(&scenario.name, &ends));
    Ok(both)
}

/// Has the broker end and come back whenever somebody asks, until all is over.
fn pause(mut broker: Option<Broker>, asked: &TcpListener, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        match asked.accept() {
            Ok((mut who, _)) => {
                let outcome = broker.as_mut().map(|broker| broker.pause(AWAY));
                let said = match outcome {
                    Some(Ok(())) => "back\n".to_owned(),
                    Some(Err(error)) => format!("{error}\n"),
                    None => "no broker\n".to_owned(),
                };
                // Who does not wait for it need not hear it.
                let _ = who.write_all(said.as_bytes());
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(LOOK),
            Err(_) => return,
        }
    }
}

/// What became of a scenario, from what did in each machine; nothing if one of them never said.
fn verdict(name: &str, ends: &[(&str, Option<Ended>)]) -> Option<Ended> {
    let mut all = Vec::new();
    for (machine, ended) in ends {
        all.push((*machine, ended.as_ref()?));
    }
    let worst = [Verdict::Failed, Verdict::Skipped, Verdict::Passed];
    let verdict = worst
        .into_iter()
        .find(|verdict| all.iter().any(|(_, ended)| ended.verdict == *verdict))?;
    let reasons: Vec<String> = all
        .iter()
        .filter(|(_, ended)| !ended.reason.is_empty())
        .map(|(machine, ended)| format!("{machine}: {}", ended.reason))
        .collect();
    Some(Ended {
        name: name.to_owned(),
        verdict,
        seconds: all
            .iter()
            .fold(0.0, |most, (_, ended)| ended.seconds.max(most)),
        reason: reasons.join("; "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_machines_have_to_pass() {
        let ended = |verdict, reason: &str| {
            Some(Ended {
                name: "x".to_owned(),
                verdict,
                seconds: 1.0,
                reason: reason.to_owned(),
            })
        };
        let of = |a, b| verdict("x", &[("a", a), ("b", b)]);
        let passed = || ended(Verdict::Passed, "");
        assert_eq!(of(passed(), passed()), passed());
        let failed = of(passed(), ended(Verdict::Failed, "why")).unwrap();
        assert_eq!(
            (failed.verdict, failed.reason.as_str()),
            (Verdict::Failed, "b: why")
        );
        assert_eq!(
            of(ended(Verdict::Skipped, ""), passed()).unwrap().verdict,
            Verdict::Skipped
        );
        assert_eq!(
            of(passed(), None),
            None,
            "one that never ended is no success"
        );
    }
}
