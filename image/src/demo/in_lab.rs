//! The demo in the lab: the same program, run in the dom0 of a Xen that is booted for it. Where no broker was named, one is
//! started outside, with a subscriber beside it, and what that one gets is what is verified.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::args::Plan;
use super::messages::Messages;
use super::report::Report;
use super::stages::Outlet;
use super::verify;
use crate::broker::{Broker, Heard, Subscriber};
use crate::failure::Failure;
use crate::lab::{self, Job};
use crate::progress::Progress;

/// What the lab's machine gets, boot and shutdown included, beyond what the pipeline may take.
const BOOT_AND_END: Duration = Duration::from_secs(180);

/// How long the last messages may take to the subscriber outside.
const LAST_MESSAGES: Duration = Duration::from_secs(10);

/// What is published at a broker of the demo's own.
const FILTER: &str = "grantflow/#";

/// Where dom0 leaves the report.
const REPORT: &str = "out/report.json";

/// Runs the demo in the lab, and returns what it has to say.
pub fn run(plan: &Plan, progress: &Progress) -> Result<Report, Failure> {
    let outside = plan.own_broker.then(Outside::start).transpose()?;
    let outlet = plan.outlet.clone().map(|outlet| match &outside {
        Some(outside) => outside.reached_by(outlet),
        None => outlet,
    });
    let results = tempfile::Builder::new()
        .prefix("grantflow-demo-")
        .tempdir()?;
    let job = job(plan, outlet.as_ref())?;
    let outcome =
        lab::run(&job, results.path(), progress, &mut lab::pass_on).map_err(Failure::failed)?;
    progress.say(format_args!(
        "the lab's machine ran for {:.0} s",
        outcome.total.as_secs_f64()
    ));
    let report = match (fs::read(results.path().join(REPORT)), outcome.status) {
        (Ok(text), _) if !text.is_empty() => serde_json::from_slice(&text)?,
        (_, 2) => {
            let said = "the demo in the lab refused its input; see above";
            return Err(Failure::input(said));
        }
        (_, status) => {
            let said = format!("the demo in the lab failed with status {status}; see above");
            return Err(Failure::failed(said));
        }
    };
    match outside {
        Some(outside) => outside.verify(plan, report),
        None => Ok(report),
    }
}

/// A broker outside of the lab, and who listens there.
struct Outside {
    broker: Broker,
    subscriber: Subscriber,
}

impl Outside {
    fn start() -> Result<Self, Failure> {
        let broker = Broker::start()?;
        let subscriber = Subscriber::start(&broker.address(), FILTER)?;
        Ok(Self { broker, subscriber })
    }

    /// The way to this broker from within the lab.
    fn reached_by(&self, outlet: Outlet) -> Outlet {
        Outlet {
            broker: lab::outside(self.broker.address().port),
            ..outlet
        }
    }

    /// Replaces what dom0 got from the broker by what was received here.
    fn verify(mut self, plan: &Plan, mut report: Report) -> Result<Report, Failure> {
        let Some(broker) = report.broker.take() else {
            return Err(Failure::failed("the demo in the lab published nothing"));
        };
        let mut messages = Messages::default();
        let until = Instant::now() + LAST_MESSAGES;
        while messages.counts().messages < broker.acknowledged {
            match self
                .subscriber
                .next(until.saturating_duration_since(Instant::now()))
            {
                Heard::Message(_, message) => {
                    messages.absorb(&message)?;
                }
                Heard::Silence | Heard::Closed => break,
            }
        }
        let seen_in_dom0 = broker.imbalances();
        let broker = broker.received("outside the lab", messages.counts());
        report
            .imbalances
            .retain(|line| !seen_in_dom0.contains(line));
        let imbalances = [broker.imbalances(), report.imbalances.clone()].concat();
        report.broker = Some(broker);
        report.judge(
            &verify::compare(&plan.expected, &messages.finish()?),
            imbalances,
        );
        Ok(report)
    }
}

/// This program, the images and the recordings, and the command line that runs them in dom0.
fn job(plan: &Plan, outlet: Option<&Outlet>) -> Result<Job, Failure> {
    let mut job = Job::new(&script(&plan.recordings.window, plan.timeout, outlet));
    job.timeout = plan.timeout + BOOT_AND_END;
    let programs = |job: &mut Job| -> Result<(), lab::LabError> {
        job.file("water-flow.csv", &plan.recordings.flow)?;
        job.file("weather.csv", &plan.recordings.weather)?;
        let images: BTreeMap<&str, PathBuf> = plan
            .pipeline
            .stages
            .iter()
            .map(|stage| (stage.image, stage.kernel(&plan.images)))
            .collect();
        for (name, image) in images {
            job.file(&format!("images/{name}.elf"), &image)?;
        }
        match outlet {
            Some(_) => lab::fixtures::subscriber(job),
            None => Ok(()),
        }
    };
    let own: &Path = &std::env::current_exe()?;
    job.program("grantflow", own).map_err(Failure::failed)?;
    programs(&mut job).map_err(Failure::failed)?;
    Ok(job)
}

fn script(window: &str, timeout: Duration, outlet: Option<&Outlet>) -> String {
    let mut arguments = vec![("--window", window.to_owned())];
    if let Some(outlet) = outlet {
        arguments.extend([
            ("--broker", outlet.broker.to_string()),
            ("--ip", outlet.ip.clone()),
            ("--bridge", outlet.bridge.clone()),
        ]);
    }
    let arguments: String = arguments
        .into_iter()
        .map(|(option, value)| format!(" {option} {}", quoted(&value)))
        .collect();
    let seconds = timeout.as_secs();
    format!(
        "#!/bin/bash
PATH=$PWD/bin:$PATH
./grantflow demo --target xen --images images --flow water-flow.csv --weather weather.csv \\
  --timeout {seconds}{arguments} --json >/{REPORT}
"
    )
}

/// A word that the shell takes as it stands.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_hands_everything_on() {
        let outlet = Outlet {
            broker: lab::outside(1884),
            ip: "it's".into(),
            bridge: "br0".into(),
            ..Outlet::example()
        };
        let with = script("24h", Duration::from_secs(300), Some(&outlet));
        for part in [
            "--target xen",
            "--window '24h'",
            "--timeout 300",
            "--broker '10.0.2.2:1884'",
            r"--ip 'it'\''s'",
            "--bridge 'br0'",
            "--json",
        ] {
            assert!(with.contains(part), "{part} is not in {with}");
        }
        assert!(!script("24h", Duration::from_secs(300), None).contains("--broker"));
    }
}
