//! Who is compared, and by what. Pure.

use serde::{Deserialize, Serialize};

/// A way to move readings between two functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Contestant {
    /// Two unikernels, vchan between them.
    UnikernelVchan,
    /// Two unikernels, TCP (smoltcp) over netfront and a bridge in dom0.
    UnikernelTcp,
    /// Two Linux guests, vchan by this project's crate `vchan-linux`.
    LinuxVchan,
    /// Two Linux guests, vchan by Debian's libxenvchan.
    LinuxLibxenvchan,
    /// Two Linux guests, the kernel's TCP over vif and bridge.
    LinuxTcp,
    /// Two Linux guests, the kernel's UDP over vif and bridge.
    LinuxUdp,
    /// Two CPUs of the host without Xen: this project's vchan.
    NativeVchan,
    /// Two CPUs of the host without Xen: unmodified libxenvchan.
    NativeLibxenvchan,
    /// Two CPUs of the host without Xen: a copy in and a copy out, the bound.
    NativeMemcpy,
}

impl Contestant {
    /// All of them, in the order of tables.
    pub const ALL: [Self; 9] = [
        Self::UnikernelVchan,
        Self::UnikernelTcp,
        Self::LinuxVchan,
        Self::LinuxLibxenvchan,
        Self::LinuxTcp,
        Self::LinuxUdp,
        Self::NativeVchan,
        Self::NativeLibxenvchan,
        Self::NativeMemcpy,
    ];

    /// Its word in files and options.
    pub fn id(self) -> &'static str {
        match self {
            Self::UnikernelVchan => "unikernel-vchan",
            Self::UnikernelTcp => "unikernel-tcp",
            Self::LinuxVchan => "linux-vchan",
            Self::LinuxLibxenvchan => "linux-libxenvchan",
            Self::LinuxTcp => "linux-tcp",
            Self::LinuxUdp => "linux-udp",
            Self::NativeVchan => "native-vchan",
            Self::NativeLibxenvchan => "native-libxenvchan",
            Self::NativeMemcpy => "native-memcpy",
        }
    }

    /// What a reader calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::UnikernelVchan => "unikernel, vchan",
            Self::UnikernelTcp => "unikernel, TCP",
            Self::LinuxVchan => "Linux, vchan-linux",
            Self::LinuxLibxenvchan => "Linux, libxenvchan",
            Self::LinuxTcp => "Linux, TCP",
            Self::LinuxUdp => "Linux, UDP",
            Self::NativeVchan => "native, vchan",
            Self::NativeLibxenvchan => "native, libxenvchan",
            Self::NativeMemcpy => "native, memcpy",
        }
    }

    /// Whether it runs on the host itself, without Xen.
    pub fn is_native(self) -> bool {
        matches!(
            self,
            Self::NativeVchan | Self::NativeLibxenvchan | Self::NativeMemcpy
        )
    }
}

/// Which of two values is the better one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// The higher.
    Higher,
    /// The lower.
    Lower,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// Payload one way; by the size of a message.
    Throughput,
    /// Half of the round trips took less; by size, nothing else running.
    RttP50,
    /// 99 % of them did.
    RttP99,
    /// 99.9 % of them did.
    RttP999,
    /// The longest.
    RttMax,
    /// The same while a second pair of the same kind streams 64 KiB messages.
    LoadedRttP50,
    /// See [`LoadedRttP50`](Self::LoadedRttP50).
    LoadedRttP99,
    /// See [`LoadedRttP50`](Self::LoadedRttP50).
    LoadedRttP999,
    /// See [`LoadedRttP50`](Self::LoadedRttP50).
    LoadedRttMax,
    /// CPU time of both guests and dom0 for a million messages; by size.
    CpuPerMillion,
    /// Of it, dom0's.
    Dom0CpuPerMillion,
    /// CPU time of both guests and dom0 for 10^9 bytes of payload; by size.
    CpuPerGb,
    /// Of it, dom0's.
    Dom0CpuPerGb,
    /// Hypercalls of both guests and dom0 for a message; by size.
    HypercallsPerMessage,
    /// Events sent by both guests and dom0 for a message; by size.
    EventsPerMessage,
    /// From `xl create` until a function's first record is at its reader.
    CreateToFirstRecord,
    /// The same from the guest's first instruction.
    EntryToFirstRecord,
    /// What `xl create` loads: image, or kernel and initramfs.
    ImageSize,
    /// The least `memory=` with which the function does its work.
    LeastMemory,
    /// How many such guests the machine holds.
    Fit,
    /// From the destruction of a stage until its reader has the next record.
    Recovery,
    /// The whole pipeline: from the source until the aggregator has used it.
    PipelineAggregator,
    /// The whole pipeline: from the source until the broker has acknowledged it.
    PipelineBroker,
}

impl Measure {
    /// All of them, in the order of tables.
    pub const ALL: [Self; 23] = [
        Self::Throughput,
        Self::RttP50,
        Self::RttP99,
        Self::RttP999,
        Self::RttMax,
        Self::LoadedRttP50,
        Self::LoadedRttP99,
        Self::LoadedRttP999,
        Self::LoadedRttMax,
        Self::CpuPerMillion,
        Self::Dom0CpuPerMillion,
        Self::CpuPerGb,
        Self::Dom0CpuPerGb,
        Self::HypercallsPerMessage,
        Self::EventsPerMessage,
        Self::CreateToFirstRecord,
        Self::EntryToFirstRecord,
        Self::ImageSize,
        Self::LeastMemory,
        Self::Fit,
        Self::Recovery,
        Self::PipelineAggregator,
        Self::PipelineBroker,
    ];

    /// Its word in files and options.
    pub fn id(self) -> &'static str {
        self.row().0
    }

    /// What a reader calls it.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// The unit of its values.
    pub fn unit(self) -> &'static str {
        self.row().2
    }

    /// Which of two values is the better one.
    pub fn better(self) -> Better {
        match self {
            Self::Throughput | Self::Fit | Self::PipelineAggregator | Self::PipelineBroker => {
                Better::Higher
            }
            _ => Better::Lower,
        }
    }

    fn row(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Throughput => ("throughput", "throughput", "bytes/s"),
            Self::RttP50 => ("rtt-p50", "round trip, median", "ns"),
            Self::RttP99 => ("rtt-p99", "round trip, 99 %", "ns"),
            Self::RttP999 => ("rtt-p999", "round trip, 99.9 %", "ns"),
            Self::RttMax => ("rtt-max", "round trip, longest", "ns"),
            Self::LoadedRttP50 => ("loaded-rtt-p50", "round trip under load, median", "ns"),
            Self::LoadedRttP99 => ("loaded-rtt-p99", "round trip under load, 99 %", "ns"),
            Self::LoadedRttP999 => ("loaded-rtt-p999", "round trip under load, 99.9 %", "ns"),
            Self::LoadedRttMax => ("loaded-rtt-max", "round trip under load, longest", "ns"),
            Self::CpuPerMillion => ("cpu-per-million", "CPU time of a million messages", "s"),
            Self::Dom0CpuPerMillion => ("dom0-cpu-per-million", "of it in dom0", "s"),
            Self::CpuPerGb => ("cpu-per-gb", "CPU time of a gigabyte", "s"),
            Self::Dom0CpuPerGb => ("dom0-cpu-per-gb", "of it in dom0", "s"),
            Self::HypercallsPerMessage => ("hypercalls-per-message", "hypercalls a message", "1"),
            Self::EventsPerMessage => ("events-per-message", "events a message", "1"),
            Self::CreateToFirstRecord => {
                ("create-to-first-record", "xl create to first record", "s")
            }
            Self::EntryToFirstRecord => {
                ("entry-to-first-record", "guest entry to first record", "s")
            }
            Self::ImageSize => ("image-size", "image", "bytes"),
            Self::LeastMemory => ("least-memory", "least memory", "MiB"),
            Self::Fit => ("fit", "guests in the machine", "1"),
            Self::Recovery => ("recovery", "recovery of a destroyed stage", "s"),
            Self::PipelineAggregator => {
                ("pipeline-aggregator", "source to aggregator", "readings/s")
            }
            Self::PipelineBroker => ("pipeline-broker", "source to broker", "readings/s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_file_and_each_stands_once_in_its_list() {
        for contestant in Contestant::ALL {
            assert_eq!(
                serde_json::to_value(contestant).unwrap(),
                contestant.id(),
                "{contestant:?}"
            );
        }
        for measure in Measure::ALL {
            assert_eq!(serde_json::to_value(measure).unwrap(), measure.id());
        }
        let sorted = |mut ids: Vec<&'static str>| {
            ids.sort_unstable();
            ids.dedup();
            ids.len()
        };
        assert_eq!(sorted(Contestant::ALL.map(Contestant::id).to_vec()), 9);
        assert_eq!(sorted(Measure::ALL.map(Measure::id).to_vec()), 23);
    }
}
