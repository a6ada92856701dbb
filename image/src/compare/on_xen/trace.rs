//! What Xen's own trace tells of hypercalls: whose they are, and which. Pure.
//!
//! A trace is records one after another, each of 32-bit words: a header, two words of time where it says so, and up to seven
//! more. `xentrace` puts records of one CPU after another's, and before each such window a record of its own (public headers:
//! `trace.h`, `event_channel.h`). Records of hypercalls do not say whose they are; what the scheduler writes beside them does.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use crate::xl::DomId;

/// What is traced: what PV guests enter Xen by (subclass `TRC_PV_ENTRY`), and changes of what runs (`TRC_SCHED_MIN`).
pub const MASK: u32 = 0x0022_1000;

const LOST_RECORDS: u32 = 0x0001_f001;
const CPU_CHANGE: u32 = 0x0001_f003;
const RUNSTATE_CHANGE: u32 = 0x0002_1001;
const CONTINUE_RUNNING: u32 = 0x0002_1002;
const HYPERCALL: u32 = 0x0020_100d;

/// The first word of a hypercall's record: its number, and whether its first argument is told.
const NUMBER: u32 = 0x000f_ffff;
const FIRST_ARGUMENT: u32 = 0x3 << 20;

/// `event_channel_op`, and which of its operations sends.
const EVENT_CHANNEL_OP: u32 = 32;
const SEND: u32 = 4;

/// Why a trace cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A record or a window goes on where the trace has ended.
    #[error("Xen's trace ends within a record")]
    Cut,
    /// What stands there is none.
    #[error("Xen's trace has no record at byte {0}, where one must begin")]
    NoRecord(usize),
}

/// Hypercalls of one domain.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Calls {
    /// All of them; what is in a multicall is one with it.
    pub hypercalls: u64,
    /// Those that send an event; any on event channels where the trace does not tell which operation it is.
    pub events: u64,
}

impl AddAssign for Calls {
    fn add_assign(&mut self, more: Self) {
        self.hypercalls += more.hypercalls;
        self.events += more.events;
    }
}

/// What a trace has told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace {
    domains: BTreeMap<u16, Calls>,
    /// Of domains that are not known, since nothing else ran on their CPUs.
    pub unknown: u64,
    /// How often Xen found no room for what it had to tell.
    pub lost: u64,
}

/// What runs on a CPU, and what was called on it before that was known.
#[derive(Debug, Default)]
struct Cpu {
    domain: Option<u16>,
    before: Calls,
}

impl Trace {
    /// Reads what `xentrace` has written.
    pub fn read(bytes: &[u8]) -> Result<Self, Broken> {
        let mut trace = Self::default();
        let mut cpus: BTreeMap<u32, Cpu> = BTreeMap::new();
        let mut here: Option<u32> = None;
        let (mut window_end, mut rest) = (0, bytes);
        while !rest.is_empty() {
            let at = bytes.len() - rest.len();
            let (header, after) = word(rest)?;
            let event = header & 0x0fff_ffff;
            let time = if header >> 31 == 1 { 8 } else { 0 };
            let extra = 4 * (header >> 28 & 7) as usize;
            let data = after.get(time..time + extra).ok_or(Broken::Cut)?;
            rest = after.get(time + extra..).unwrap_or_default();
            let end = bytes.len() - rest.len();
            if at == window_end {
                // Only a new window can begin here.
                if event != CPU_CHANGE || data.len() < 8 {
                    return Err(Broken::NoRecord(at));
                }
                let (cpu, data) = word(data)?;
                let (size, _) = word(data)?;
                here = Some(cpu);
                let size = size as usize;
                if size > rest.len() {
                    return Err(Broken::Cut);
                }
                window_end = end + size;
                continue;
            }
            let Some(cpu) = here.filter(|_| end <= window_end) else {
                return Err(Broken::NoRecord(at));
            };
            let cpu = cpus.entry(cpu).or_default();
            let first = word(data).ok().map(|(first, _)| first);
            match (event, first) {
                (LOST_RECORDS, _) => trace.lost += 1,
                (HYPERCALL, Some(first)) => {
                    let calls = calls(first, data);
                    match cpu.domain {
                        Some(domain) => *trace.domains.entry(domain).or_default() += calls,
                        None => cpu.before += calls,
                    }
                }
                (_, Some(first)) => {
                    let Some((stops, starts)) = running(event) else {
                        continue;
                    };
                    let domain = (first >> 16) as u16;
                    if stops && cpu.domain.is_none() {
                        let before = std::mem::take(&mut cpu.before);
                        *trace.domains.entry(domain).or_default() += before;
                    }
                    if stops || starts {
                        cpu.domain = Some(domain);
                    }
                }
                _ => {}
            }
        }
        trace.unknown = cpus.values().map(|cpu| cpu.before.hypercalls).sum();
        Ok(trace)
    }

    /// What these domains have called.
    pub fn of(&self, domains: &[DomId]) -> Calls {
        let mut all = Calls::default();
        for domain in domains {
            all += self.domains.get(&domain.0).copied().unwrap_or_default();
        }
        all
    }
}

/// The next word, and what comes after it.
fn word(bytes: &[u8]) -> Result<(u32, &[u8]), Broken> {
    let (word, rest) = bytes.split_first_chunk().ok_or(Broken::Cut)?;
    Ok((u32::from_le_bytes(*word), rest))
}

/// Whether an event of the scheduler says that its domain has run on this CPU until now, and that it runs on it from now on.
fn running(event: u32) -> Option<(bool, bool)> {
    // A state of 0 is "running".
    let (before, after) = (event >> 8 & 3, event >> 4 & 3);
    match event & !0x330 {
        RUNSTATE_CHANGE => Some((before == 0, after == 0)),
        CONTINUE_RUNNING => Some((true, true)),
        _ => None,
    }
}

fn calls(first: u32, data: &[u8]) -> Calls {
    let argument = match first & FIRST_ARGUMENT {
        0 => None,
        _ => data.get(4..).and_then(|data| Some(word(data).ok()?.0)),
    };
    let sends = first & NUMBER == EVENT_CHANNEL_OP && argument.is_none_or(|op| op == SEND);
    Calls {
        hypercalls: 1,
        events: u64::from(sends),
    }
}

/// What was called while some messages went through.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// How many, with those of the warm-up.
    pub messages: u64,
    /// How long it was looked.
    pub seconds: f64,
    /// By both guests.
    pub guests: Calls,
    /// By dom0.
    pub dom0: Calls,
}

/// Hypercalls and events of a message: what a long run took more than a short one, so that beginning and end count nothing. With
/// `idle`, what dom0 calls in a second anyway, dom0's are among them less these; without, dom0 moves nothing.
pub fn per_message(short: &Window, long: &Window, idle: Option<[f64; 2]>) -> [f64; 2] {
    let messages = long.messages.saturating_sub(short.messages).max(1) as f64;
    let seconds = long.seconds - short.seconds;
    let both = |calls: Calls| [calls.hypercalls as f64, calls.events as f64];
    let (more, less) = (long, short);
    let guests = [both(more.guests), both(less.guests)];
    let dom0 = [both(more.dom0), both(less.dom0)];
    [0, 1].map(|which| {
        let guests = guests[0][which] - guests[1][which];
        let dom0 = idle.map_or(0.0, |idle| {
            (dom0[0][which] - dom0[1][which] - idle[which] * seconds).max(0.0)
        });
        // What is less than nothing is noise.
        (guests.max(0.0) + dom0) / messages
    })
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// A record, with a time.
    pub fn record(event: u32, data: &[u32]) -> Vec<u32> {
        let header = event | (data.len() as u32) << 28 | 1 << 31;
        let mut words = vec![header, 17, 0];
        words.extend(data);
        words
    }

    pub fn window(cpu: u32, records: &[Vec<u32>]) -> Vec<u32> {
        let records = records.concat();
        let mut words = vec![CPU_CHANGE | 2 << 28, cpu, 4 * records.len() as u32];
        words.extend(records);
        words
    }

    pub fn bytes(windows: &[Vec<u32>]) -> Vec<u8> {
        let words = windows.concat();
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    pub fn starts(domain: u32) -> Vec<u32> {
        record(RUNSTATE_CHANGE | 1 << 8, &[domain << 16])
    }

    /// A trace in which dom0 and each guest call so often, each third time to send an event, and so many records were lost.
    pub fn made_up(guests: &[u16], calls: u32, lost: u64) -> Vec<u8> {
        let mut records = Vec::new();
        for domain in std::iter::once(&0).chain(guests) {
            records.push(starts(u32::from(*domain)));
            for call in 0..calls {
                let number = if call % 3 == 0 { EVENT_CHANNEL_OP } else { 23 };
                records.push(record(HYPERCALL, &[number]));
            }
        }
        records.extend((0..lost).map(|_| record(LOST_RECORDS, &[1])));
        bytes(&[window(0, &records)])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::testing::{bytes, record, starts, window};
    use super::*;

    fn stops(domain: u32) -> Vec<u32> {
        record(RUNSTATE_CHANGE | 2 << 4, &[domain << 16])
    }

    fn some() -> Vec<u8> {
        let wakes = record(RUNSTATE_CHANGE | 2 << 8 | 1 << 4, &[9 << 16]);
        bytes(&[
            window(
                0,
                &[
                    record(HYPERCALL, &[29]),
                    stops(0),
                    starts(3),
                    wakes,
                    record(HYPERCALL, &[EVENT_CHANNEL_OP]),
                    record(HYPERCALL, &[EVENT_CHANNEL_OP | 1 << 20, SEND]),
                    record(HYPERCALL, &[EVENT_CHANNEL_OP | 1 << 20, SEND + 5]),
                ],
            ),
            window(1, &[starts(4), record(HYPERCALL, &[23])]),
            // What runs on a CPU is known from one window to the next.
            window(0, &[record(HYPERCALL, &[20]), record(0x0020_1003, &[1, 2])]),
        ])
    }

    #[test]
    fn hypercalls_are_those_of_what_runs_on_their_cpu() {
        let trace = Trace::read(&some()).unwrap();
        let of = |domain| {
            let calls = trace.of(&[DomId(domain)]);
            (calls.hypercalls, calls.events)
        };
        assert_eq!(
            [of(0), of(3), of(4), of(9)],
            [(1, 0), (4, 2), (1, 0), (0, 0)]
        );
        assert_eq!(trace.of(&[DomId(3), DomId(4)]).hypercalls, 5);
        assert_eq!((trace.unknown, trace.lost), (0, 0));
    }

    #[test]
    fn what_was_lost_and_whose_calls_are_not_known_is_told() {
        let trace = bytes(&[window(
            7,
            &[
                record(HYPERCALL, &[1]),
                record(LOST_RECORDS, &[5, 0, 0, 0]),
                record(HYPERCALL, &[1]),
            ],
        )]);
        let trace = Trace::read(&trace).unwrap();
        assert_eq!((trace.unknown, trace.lost), (2, 1));
        // It was another that ran before the first that starts.
        let trace = bytes(&[window(7, &[record(HYPERCALL, &[1]), starts(3)])]);
        let trace = Trace::read(&trace).unwrap();
        assert_eq!((trace.unknown, trace.of(&[DomId(3)]).hypercalls), (1, 0));
        assert_eq!(Trace::read(&[]), Ok(Trace::default()));
    }

    #[test]
    fn what_is_no_trace_is_an_error() {
        let whole = some();
        let cuts = (1..whole.len()).filter(|end| Trace::read(&whole[..*end]).is_ok());
        assert_eq!(cuts.count(), 2, "after the first window and the second");
        let absurd = bytes(&[vec![CPU_CHANGE | 2 << 28, 0, u32::MAX]]);
        assert_eq!(Trace::read(&absurd), Err(Broken::Cut));
        let narrow = bytes(&[vec![CPU_CHANGE | 1 << 28, 0]]);
        assert_eq!(Trace::read(&narrow), Err(Broken::NoRecord(0)));
        let no_cpu = bytes(&[record(HYPERCALL, &[1])]);
        assert_eq!(Trace::read(&no_cpu), Err(Broken::NoRecord(0)));
        let mut across = window(0, &[record(HYPERCALL, &[1])]);
        across[2] = 4;
        assert_eq!(Trace::read(&bytes(&[across])), Err(Broken::NoRecord(12)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(change in any::<(u16, u8)>(), noise: Vec<u8>, cut: u16) {
            let mut whole = some();
            let at = usize::from(change.0) % whole.len();
            whole[at] ^= change.1;
            whole.truncate(usize::from(cut) % (whole.len() + 1));
            let _ = Trace::read(&whole);
            let _ = Trace::read(&noise);
        }
    }

    #[test]
    fn a_message_takes_what_a_longer_run_takes_more() {
        let calls = |hypercalls, events| Calls { hypercalls, events };
        let short = Window {
            messages: 100,
            seconds: 1.0,
            guests: calls(1_000, 100),
            dom0: calls(500, 10),
        };
        let long = Window {
            messages: 300,
            seconds: 3.0,
            guests: calls(1_400, 150),
            dom0: calls(1_100, 30),
        };
        assert_eq!(per_message(&short, &long, None), [2.0, 0.25]);
        assert_eq!(per_message(&short, &long, Some([100.0, 0.0])), [4.0, 0.35]);
        // Noise is no gain.
        assert_eq!(per_message(&long, &short, Some([0.0, 0.0])), [0.0, 0.0]);
        assert_eq!(per_message(&short, &long, Some([1e6, 1e6])), [2.0, 0.25]);
    }
}
