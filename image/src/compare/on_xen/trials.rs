//! What is done with a pair, and what figures come of it.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use super::answer::RoundTrips;
use super::pairs::{self, Load, Pairs, Ran};
use super::site::{LOOK, Part, Site, Trouble};
use super::trace::{Window, per_message};
use super::xentrace::Tracing;
use crate::compare::catalogue::{Contestant, Measure};
use crate::compare::plan::{Trial, Work};
use crate::compare::ways::Way;
use crate::xl::DomId;

/// How long what is measured should take, in seconds.
const LONG: f64 = 0.8;
const QUICK: f64 = 0.5;

/// A run that took less than this part of it is taken again with more messages, so often at most.
const TOO_SHORT: f64 = 0.3;
const TRIES: u32 = 3;

/// One message in so many goes before the clock starts.
const WARM_UP: u64 = 10;

/// Messages at least, so that one of them that is late does not decide.
const LEAST: u64 = 20;

/// And round trips, so that there is one in a thousand, or in a hundred for a quick look.
const LEAST_TRIPS: u64 = 1_000;
const LEAST_TRIPS_QUICK: u64 = 200;

/// Bytes that are looked at in a check: more than once around the rings.
const CHECKED: u64 = 300_000;

/// Without Xen's trace, what is known of hypercalls and events is what programs count themselves.
const UNCOUNTED: &str = "so hypercalls and events are what both ends count themselves: those of Linux guests' kernels and of dom0 \
    are not among them, so Linux guests have no hypercalls here and its TCP and UDP neither";

/// What its trace tells of them.
const TRACED: &str = "hypercalls and events are what Xen has traced, a long run less a short one: all hypercalls of both guests, \
    and of dom0 where messages go through it (TCP, UDP), less what dom0 calls while nobody works; events are all calls of \
    event_channel_op, of which the trace does not tell the few that send nothing; Xen keeps 2 MiB a CPU for its trace until \
    it is booted again";

/// A run that is traced takes so many seconds, but it has no more messages than this; the one that it is compared with has this
/// part of them.
const TRACED_LONG: f64 = 0.6;
const MOST_TRACED: u64 = 1_000_000;
const LEAST_TRACED: u64 = 400;
const SHORT: u64 = 4;

/// How long dom0 is looked at while nobody works.
const IDLE: Duration = Duration::from_secs(2);

/// What has been learnt of pairs so far.
#[derive(Debug)]
pub struct Trials {
    quick: bool,
    pairs: Pairs,
    /// Seconds that a message takes, and a round trip, idle and loaded.
    paces: BTreeMap<(Way, u64, bool, bool), f64>,
    /// Who gave wrong bytes, at which size, and what.
    condemned: BTreeMap<(Way, Option<u64>), String>,
    /// Hypercalls and events of dom0 in a second in which nobody works, or why Xen traces none.
    idle: Option<Result<[f64; 2], String>>,
}

impl Trials {
    /// Nothing has been learnt.
    pub fn new(quick: bool) -> Self {
        Self {
            quick,
            pairs: Pairs::default(),
            paces: BTreeMap::new(),
            condemned: BTreeMap::new(),
            idle: None,
        }
    }

    /// Ends the guests that stay between figures.
    pub fn clear(&mut self, site: &Site<'_>) -> Result<(), Trouble> {
        self.pairs.clear(site)
    }

    /// Does it, and tells the figures.
    pub fn pair(
        &mut self,
        site: &mut Site<'_>,
        round: u32,
        trial: Trial,
        way: Way,
        size: u64,
    ) -> Result<(), Trouble> {
        let who = way.contestant;
        site.about(who, Part::Pair, |site| pairs::setup(site, who));
        let checked = if self.quick { None } else { Some(size) };
        if let Some(reason) = self.condemned.get(&(way, checked)) {
            return Err(Trouble::Failed(reason.clone()));
        }
        let figures = match trial {
            Trial::Check { echo } => {
                return match self.check(site, way, size, echo) {
                    Err(Trouble::Failed(reason)) => {
                        let reason = format!("it failed where every byte was looked at: {reason}");
                        self.condemned.insert((way, checked), reason.clone());
                        Err(Trouble::Failed(reason))
                    }
                    other => other,
                };
            }
            Trial::Throughput => throughput(&self.measure(site, way, size, false, false)?),
            Trial::RoundTrip => round_trips(
                &self.measure(site, way, size, true, false)?,
                [
                    Measure::RttP50,
                    Measure::RttP99,
                    Measure::RttP999,
                    Measure::RttMax,
                ],
            )?,
            Trial::LoadedRoundTrip => round_trips(
                &self.measure(site, way, size, true, true)?,
                [
                    Measure::LoadedRttP50,
                    Measure::LoadedRttP99,
                    Measure::LoadedRttP999,
                    Measure::LoadedRttMax,
                ],
            )?,
            Trial::Calls => match self.idle(site)? {
                Ok(idle) => self.traced(site, way, size, idle)?,
                Err(why) => calls(&self.measure(site, way, size, false, false)?, &why)?,
            },
        };
        for subject in (Work::Pair { trial, way, size }).subjects() {
            let mut figures = figures.iter();
            if let Some((_, value)) = figures.find(|(measure, _)| *measure == subject.measure) {
                site.sample(subject, round, *value);
            }
        }
        Ok(())
    }

    /// Every byte of a stream, or of messages that are sent back, is compared with what was sent. Once more if it fails, as a
    /// guest that did not come up is no wrong byte.
    fn check(
        &mut self,
        site: &mut Site<'_>,
        way: Way,
        size: u64,
        echo: bool,
    ) -> Result<(), Trouble> {
        let load = Load {
            echo,
            size,
            count: (CHECKED / size).clamp(LEAST, 2_000),
            warm_up: 0,
            check: true,
            traced: false,
        };
        if let Err(Trouble::Failed(_)) = self.pairs.run(site, way, &load) {
            self.pairs.run(site, way, &load)?;
        }
        site.go_on()
    }

    /// A run of the right length.
    fn measure(
        &mut self,
        site: &mut Site<'_>,
        way: Way,
        size: u64,
        echo: bool,
        loaded: bool,
    ) -> Result<Ran, Trouble> {
        let wanted = if self.quick { QUICK } else { LONG };
        let least = match (echo, self.quick) {
            (false, _) => LEAST,
            (true, false) => LEAST_TRIPS,
            (true, true) => LEAST_TRIPS_QUICK,
        };
        let key = (way, size, echo, loaded);
        let mut count = match self.paces.get(&key) {
            Some(known) => count(wanted, *known, least),
            // How much longer it takes under load nobody knows.
            None if loaded => least,
            None => count(wanted, pace(way, size, echo), least),
        };
        let mut tries = 1;
        loop {
            let load = Load {
                echo,
                size,
                count,
                warm_up: count / WARM_UP,
                check: false,
                traced: false,
            };
            let ran = match loaded {
                true => self.pairs.run_loaded(site, way, &load)?,
                false => self.pairs.run(site, way, &load)?,
            };
            let took = ran.client.seconds;
            self.paces.insert(key, took / count as f64);
            if took >= wanted * TOO_SHORT || tries >= TRIES {
                return Ok(ran);
            }
            count = self::count(wanted, took / count as f64, least);
            tries += 1;
        }
    }

    /// What Xen traces of a long run and of a short one. Where it has lost something, of fewer messages.
    fn traced(
        &mut self,
        site: &mut Site<'_>,
        way: Way,
        size: u64,
        idle: [f64; 2],
    ) -> Result<Vec<(Measure, f64)>, Trouble> {
        let key = (way, size, false, false);
        if !self.paces.contains_key(&key) {
            self.measure(site, way, size, false, false)?;
        }
        let pace = *self.paces.get(&key).unwrap_or(&1.0);
        let idle = (!way.is_vchan()).then_some(idle);
        let mut long = count(TRACED_LONG, pace, LEAST_TRACED).min(MOST_TRACED);
        for _ in 0..TRIES {
            if let Some(more) = self.window(site, way, size, long)?
                && let Some(less) = self.window(site, way, size, long / SHORT)?
            {
                let [hypercalls, events] = per_message(&less, &more, idle);
                return Ok(vec![
                    (Measure::HypercallsPerMessage, hypercalls),
                    (Measure::EventsPerMessage, events),
                ]);
            }
            long = (long / SHORT).max(LEAST_TRACED);
        }
        Err(Trouble::new(format!(
            "Xen's trace has lost records, {TRIES} times, of fewer messages each time: dom0 is too busy to take them out"
        )))
    }

    /// A run that is traced; none if something of it was lost.
    fn window(
        &mut self,
        site: &mut Site<'_>,
        way: Way,
        size: u64,
        count: u64,
    ) -> Result<Option<Window>, Trouble> {
        let load = Load {
            echo: false,
            size,
            count,
            warm_up: 0,
            check: false,
            traced: true,
        };
        let ran = self.pairs.run(site, way, &load)?;
        let none = || Trouble::new("nothing was traced");
        let (trace, seconds) = ran.traced.ok_or_else(none)?;
        if trace.lost > 0 {
            return Ok(None);
        }
        let [server, client] = ran.guests;
        for domain in [DomId(0), server, client] {
            if trace.of(&[domain]).hypercalls == 0 {
                return Err(Trouble::new(format!(
                    "Xen's trace has no hypercalls of domain {domain}: it tells those of PV domains alone"
                )));
            }
        }
        if trace.unknown > 0 {
            return Err(Trouble::new(format!(
                "Xen's trace does not tell whose {} hypercalls are",
                trace.unknown
            )));
        }
        Ok(Some(Window {
            messages: count,
            seconds,
            guests: trace.of(&ran.guests),
            dom0: trace.of(&[DomId(0)]),
        }))
    }

    /// What dom0 calls in a second while this program does nothing but look; the first time, whether Xen traces it at all.
    fn idle(&mut self, site: &mut Site<'_>) -> Result<Result<[f64; 2], String>, Trouble> {
        if let Some(idle) = &self.idle {
            return Ok(idle.clone());
        }
        let idle = match look_at_idle(site) {
            Ok(idle) => {
                site.warn(TRACED);
                Ok(idle)
            }
            Err(Trouble::Failed(why)) => {
                site.warn(format_args!("{why}, {UNCOUNTED}"));
                Err(why)
            }
            Err(Trouble::Stopped) => return Err(Trouble::Stopped),
        };
        self.idle = Some(idle.clone());
        Ok(idle)
    }
}

fn look_at_idle(site: &Site<'_>) -> Result<[f64; 2], Trouble> {
    let tracing = Tracing::begin(site)?;
    let end = Instant::now() + IDLE;
    while Instant::now() < end {
        site.go_on()?;
        thread::sleep(LOOK);
    }
    let (trace, seconds) = tracing.end()?;
    let calls = trace.of(&[DomId(0)]);
    if trace.lost > 0 {
        return Err(Trouble::new("Xen's trace loses records of an idle dom0"));
    }
    if calls.hypercalls == 0 {
        return Err(Trouble::new(
            "Xen's trace has no hypercalls of dom0: it tells those of PV domains alone",
        ));
    }
    Ok([calls.hypercalls, calls.events].map(|calls| calls as f64 / seconds))
}

/// How many messages at so many seconds each take about `wanted` seconds.
fn count(wanted: f64, pace: f64, least: u64) -> u64 {
    // 100 million messages are not reached in a second by anything.
    let count = (wanted / pace.max(1e-8)).round() as u64;
    count.max(least)
}

/// A first guess at how long a message takes, or a round trip: as under emulation, so that elsewhere the first run is short and
/// the second right.
fn pace(way: Way, size: u64, echo: bool) -> f64 {
    let bytes = size as f64;
    let (message, byte, trip) = match way.contestant {
        Contestant::UnikernelVchan => (0.3e-6, 1.5e-9, 300e-6),
        Contestant::UnikernelTcp => (40e-6, 200e-9, 1e-3),
        Contestant::LinuxVchan | Contestant::LinuxLibxenvchan => (1e-6, 10e-9, 500e-6),
        _ => (150e-6, 200e-9, 2e-3),
    };
    match echo {
        false => message + byte * bytes,
        true => trip + 2.0 * byte * bytes,
    }
}

fn throughput(ran: &Ran) -> Vec<(Measure, f64)> {
    let messages = (ran.client.count + ran.client.warm_up) as f64;
    let gigabytes = messages * ran.client.size as f64 / 1e9;
    let (all, dom0) = (ran.cpu.seconds(), ran.cpu.dom0.as_secs_f64());
    vec![
        (Measure::Throughput, ran.client.bytes_per_s),
        (Measure::CpuPerMillion, all / messages * 1e6),
        (Measure::Dom0CpuPerMillion, dom0 / messages * 1e6),
        (Measure::CpuPerGb, all / gigabytes),
        (Measure::Dom0CpuPerGb, dom0 / gigabytes),
    ]
}

fn round_trips(ran: &Ran, measures: [Measure; 4]) -> Result<Vec<(Measure, f64)>, Trouble> {
    let none = || Trouble::new("the client told no round trips");
    let RoundTrips {
        p50,
        p99,
        p999,
        max,
    } = ran.client.rtt_ns.ok_or_else(none)?;
    Ok(measures.into_iter().zip([p50, p99, p999, max]).collect())
}

/// What both ends counted themselves, where they do.
fn calls(ran: &Ran, why: &str) -> Result<Vec<(Measure, f64)>, Trouble> {
    let each = |of: [Option<u64>; 2]| {
        let [server, client] = of;
        Some((server? + client?) as f64 / ran.client.count as f64)
    };
    let hypercalls = each([ran.server.hypercalls, ran.client.hypercalls]);
    let events = each([ran.server.events_sent, ran.client.events_sent]);
    let figures = [
        (Measure::HypercallsPerMessage, hypercalls),
        (Measure::EventsPerMessage, events),
    ];
    let told = figures
        .into_iter()
        .filter_map(|(measure, value)| Some((measure, value?)));
    let told: Vec<(Measure, f64)> = told.collect();
    if told.is_empty() {
        return Err(Trouble::new(format!(
            "{why}, and its programs do not count"
        )));
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::super::answer::Answer;
    use super::super::cpu::CpuTime;
    use super::*;

    fn ran() -> Ran {
        let answer = Answer {
            size: 1000,
            count: 900_000,
            warm_up: 100_000,
            bytes_per_s: 5e6,
            events_sent: Some(90),
            hypercalls: Some(180),
            ..Answer::default()
        };
        Ran {
            server: answer.clone(),
            client: answer,
            cpu: CpuTime {
                dom0: Duration::from_secs(1),
                guests: Duration::from_secs(3),
            },
            guests: [DomId(1), DomId(2)],
            traced: None,
        }
    }

    #[test]
    fn cpu_time_is_shared_out_over_all_messages_with_those_of_the_warm_up() {
        assert_eq!(
            throughput(&ran()),
            [
                (Measure::Throughput, 5e6),
                (Measure::CpuPerMillion, 4.0),
                (Measure::Dom0CpuPerMillion, 1.0),
                (Measure::CpuPerGb, 4.0),
                (Measure::Dom0CpuPerGb, 1.0),
            ]
        );
    }

    #[test]
    fn what_one_end_does_not_count_is_no_figure() {
        let mut ran = ran();
        ran.server.hypercalls = None;
        assert_eq!(
            calls(&ran, "").unwrap(),
            [(Measure::EventsPerMessage, 0.0002)]
        );
        ran.client.events_sent = None;
        let none = calls(&ran, "no tracer").unwrap_err().to_string();
        assert!(none.starts_with("no tracer"), "{none}");
        assert!(round_trips(&ran, [Measure::RttP50; 4]).is_err());
    }

    #[test]
    fn counts_fit_the_time_that_a_figure_may_take() {
        assert_eq!(count(1.0, 1e-6, 20), 1_000_000);
        assert_eq!(count(1.0, 1.0, 20), 20);
        assert_eq!(count(1.0, 0.0, 20), 100_000_000, "a run of no time at all");
    }
}
