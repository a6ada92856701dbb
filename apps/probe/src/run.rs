//! From the boot to what `do=` asks for.

use alloc::string::String;

use unikernel::hypercall::{ShutdownReason, shutdown};
use unikernel::rt::{self, Boot};
use unikernel::stage::Plan;
use unikernel::{console, stage};

use crate::function::{Probe, STAGE};
use crate::{Report, channel, conformance, faults, limits, machine, matrix, output, store, victim};

/// Does what `do=` says, and ends the domain.
pub fn main(boot: Boot) -> ! {
    let line = boot.info.command_line.unwrap_or_default();
    let plan = match Plan::new::<Probe>(line.as_bytes(), boot.module) {
        Ok(plan) if plan.params.text("do") != Some(STAGE) && boot.info.command_line.is_ok() => plan,
        // A stage like any other; and bad parameters end like any other's.
        _ => rt::run::<Probe>(boot),
    };
    log::set_max_level(plan.log_level());
    let report = Report::new(&boot.store);
    let pages = boot.info.nr_pages;
    boot.run(async move {
        let reason = match act(&plan, &report, pages).await {
            Ok(()) => ShutdownReason::Poweroff,
            Err(message) => {
                console::last_words(format_args!("error: {message}"));
                ShutdownReason::Crash
            }
        };
        console::drain();
        shutdown(reason)
    })
}

async fn act(plan: &stage::Plan<'_>, report: &Report, pages: usize) -> Result<(), String> {
    match plan.params.text("do").unwrap_or_default() {
        "panic" => panic!("as do=panic asked"),
        "panic-connected" => channel::each(plan, report, channel::panic).await,
        "fault" => faults::write_to_null(),
        "stack" => faults::overflow_the_stack(),
        "opcode" => faults::invalid_opcode(),
        "heap-panic" => limits::allocate_carelessly(pages),
        "heap" => limits::heap(report, pages).await,
        "scarce" => limits::scarce(report, pages).await,
        "grants" => limits::grants(report, pages).await,
        "ports" => limits::ports(report).await,
        "console" => output::flood(plan, report).await,
        "idle" => core::future::pending().await,
        "clock" => machine::clock(report).await,
        "entropy" => machine::entropy(report).await,
        "abi" => machine::abi(report).await,
        "abort" => machine::abort(),
        "xenstore" => store::round_trip(report).await,
        "source" => channel::each(plan, report, channel::source).await,
        "sink" => channel::each(plan, report, channel::sink).await,
        "echo" => channel::each(plan, report, channel::echo).await,
        "victim" => victim::meet_all(plan, report).await,
        "exchange" => channel::each(plan, report, channel::exchange).await,
        "matrix" => matrix::run(plan, report).await,
        "conformance" => conformance::run(report).await,
        other => Err(alloc::format!("do={other} is nothing that this image does")),
    }
}
