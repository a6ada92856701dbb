//! Made-up results for tests. No figure here was measured.

use std::collections::BTreeMap;

use super::catalogue::{Contestant, Measure};
use super::goals;
use super::results::{
    About, Failed, Load, Machine, MeasureInfo, Results, SCHEMA, Sample, Scope, Subject,
};

/// One sample.
pub fn sample(
    contestant: Contestant,
    setting: &str,
    measure: Measure,
    size: Option<u64>,
    round: u32,
    value: f64,
) -> Sample {
    Sample {
        subject: Subject {
            contestant,
            setting: setting.to_owned(),
            measure,
            size,
        },
        round,
        value,
    }
}

/// One failure.
pub fn failed(
    contestant: Contestant,
    setting: &str,
    measure: Measure,
    size: Option<u64>,
    round: u32,
    reason: &str,
) -> Failed {
    Failed {
        subject: Subject {
            contestant,
            setting: setting.to_owned(),
            measure,
            size,
        },
        round,
        reason: reason.to_owned(),
    }
}

/// Nothing was measured, nobody was set up.
pub fn bare() -> Results {
    Results {
        schema: SCHEMA,
        title: "made up for a test: nothing".into(),
        tool: "grantflow 0.0.0".into(),
        started: "2026-01-02T03:04:05Z".into(),
        seconds: 0.0,
        scope: Scope::default(),
        cut_short: None,
        machine: Machine::default(),
        contestants: vec![],
        measures: vec![],
        goals: vec![],
        samples: vec![],
        failures: vec![],
        warnings: vec![],
    }
}

/// The sizes of messages in [`rich`].
pub const SIZES: [u64; 6] = [64, 256, 1024, 4096, 16_384, 65_536];

/// Every contestant, every measure, five rounds, some failures.
pub fn rich() -> Results {
    let (samples, failures) = (samples(), failures());
    let about = |id: Contestant| About {
        id,
        name: id.name().to_owned(),
        setup: format!(
            "two functions as {}\nmade up for a test, never run",
            id.name()
        ),
    };
    Results {
        title: "MADE UP FOR A TEST: unikernels and Linux guests".into(),
        seconds: 1_834.5,
        scope: Scope {
            quick: false,
            only: vec!["everything".into()],
            rounds: ROUNDS,
        },
        cut_short: Some("made up: nobody waited".into()),
        machine: Machine {
            cpu: "Imaginary CPU 9000".into(),
            cpus: 2,
            memory_mib: 2048,
            emulator: Some("QEMU 7.2 (TCG)".into()),
            xen: "4.17.5".into(),
            dom0_kernel: "6.1.0-49-amd64".into(),
            load: Some(Load {
                before: 1.25,
                others: 0.31,
            }),
            more: BTreeMap::from([("host CPU".into(), "Made-up Host 1".into())]),
        },
        contestants: Contestant::ALL.map(about).to_vec(),
        measures: Measure::ALL.map(MeasureInfo::from).to_vec(),
        goals: goals::evaluate(&samples, &failures),
        samples,
        failures,
        warnings: vec!["made up: the machine was busy".into()],
        ..bare()
    }
}

const ROUNDS: u32 = 5;

fn failures() -> Vec<Failed> {
    use Contestant as C;
    let size = Some(65_536);
    let throughput = Measure::Throughput;
    vec![
        failed(
            C::LinuxUdp,
            "",
            throughput,
            size,
            1,
            "made up: a message of 65536 bytes is too long",
        ),
        failed(
            C::LinuxVchan,
            "stream",
            throughput,
            Some(64),
            3,
            "made up: byte 12 of message 9 is wrong",
        ),
        failed(
            C::LinuxTcp,
            "",
            Measure::ImageSize,
            None,
            1,
            "made up: the image could not be built",
        ),
        failed(
            C::LinuxUdp,
            "",
            Measure::Recovery,
            None,
            1,
            "made up: nobody answered in 60 s",
        ),
    ]
}

fn samples() -> Vec<Sample> {
    let mut samples = Vec::new();
    let mut jitter = 17_u64;
    let mut five = |contestant, setting: &str, measure, size, value: f64| {
        for round in 1..=ROUNDS {
            jitter = jitter
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let value = value * (0.96 + 0.08 * (jitter >> 40) as f64 / (1_u64 << 24) as f64);
            samples.push(sample(contestant, setting, measure, size, round, value));
        }
    };
    for (index, contestant) in Contestant::ALL.into_iter().enumerate() {
        // How fast it is with the smallest and the largest messages, in bytes a second; and its round trip.
        let (small, large, rtt) = [
            (90e6, 1.4e9, 9e3),
            (1.1e6, 36e6, 240e3),
            (40e6, 0.9e9, 90e3),
            (9e6, 0.8e9, 110e3),
            (0.15e6, 45e6, 900e3),
            (0.4e6, 20e6, 700e3),
            (900e6, 9e9, 0.35e3),
            (110e6, 7e9, 1.4e3),
            (2_500e6, 11e9, 0.2e3),
        ][index];
        let settings: &[&str] = match contestant {
            Contestant::UnikernelVchan | Contestant::LinuxVchan => {
                &["packet", "stream", "zerocopy"]
            }
            Contestant::LinuxTcp => &["default", "nodelay", "nodelay,gso"],
            _ => &[""],
        };
        for (step, size) in SIZES.into_iter().enumerate() {
            let bytes = small * f64::powf(large / small, step as f64 / 5.0);
            for (worse, setting) in settings.iter().enumerate() {
                if (contestant, size) == (Contestant::LinuxUdp, 65_536) {
                    continue;
                }
                let value = bytes / (1.0 + 0.2 * worse as f64);
                five(contestant, setting, Measure::Throughput, Some(size), value);
                five(
                    contestant,
                    setting,
                    Measure::CpuPerMillion,
                    Some(size),
                    4e6 * size as f64 / value,
                );
            }
        }
        let round_trips = [
            (Measure::RttP50, 1.0),
            (Measure::RttP99, 1.6),
            (Measure::RttP999, 6.0),
            (Measure::RttMax, 40.0),
            (Measure::LoadedRttP50, 1.3),
            (Measure::LoadedRttP99, 5.0),
            (Measure::LoadedRttP999, 22.0),
            (Measure::LoadedRttMax, 210.0),
        ];
        for (measure, times) in round_trips {
            five(contestant, settings[0], measure, Some(64), rtt * times);
        }
        if contestant.is_native() {
            continue;
        }
        let unikernel = index < 2;
        let of_linux = |unikernels: f64, linux: f64| if unikernel { unikernels } else { linux };
        five(
            contestant,
            settings[0],
            Measure::Dom0CpuPerMillion,
            Some(64),
            0.4 * rtt / 1e3,
        );
        five(
            contestant,
            settings[0],
            Measure::CpuPerGb,
            Some(65_536),
            4e9 / large,
        );
        five(
            contestant,
            settings[0],
            Measure::Dom0CpuPerGb,
            Some(65_536),
            1e9 / large,
        );
        five(
            contestant,
            settings[0],
            Measure::HypercallsPerMessage,
            Some(64),
            rtt / 1e5,
        );
        five(
            contestant,
            settings[0],
            Measure::EventsPerMessage,
            Some(64),
            rtt / 2e5,
        );
        five(
            contestant,
            "",
            Measure::CreateToFirstRecord,
            None,
            of_linux(0.31, 9.4),
        );
        five(
            contestant,
            "",
            Measure::EntryToFirstRecord,
            None,
            of_linux(0.02, 8.8),
        );
        if unikernel {
            five(contestant, "", Measure::ImageSize, None, 137e3);
        }
        five(
            contestant,
            "",
            Measure::LeastMemory,
            None,
            of_linux(1.0, 56.0),
        );
        five(contestant, "", Measure::Fit, None, of_linux(192.0, 14.0));
        if contestant != Contestant::LinuxUdp {
            five(contestant, "", Measure::Recovery, None, of_linux(0.5, 9.9));
        }
        five(
            contestant,
            "",
            Measure::PipelineAggregator,
            None,
            of_linux(240e3, 31e3),
        );
        five(
            contestant,
            "",
            Measure::PipelineBroker,
            None,
            of_linux(20e3, 9e3),
        );
    }
    samples
}
