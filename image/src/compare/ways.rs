//! The ways to move readings that are tried: each contestant by each of its settings. Pure.

use super::catalogue::Contestant;

/// A contestant by one of its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Way {
    /// Who.
    pub contestant: Contestant,
    /// By which of its settings.
    pub setting: Setting,
}

/// What can be chosen of a contestant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Setting {
    /// Nothing.
    Only,
    /// vchan: a message at once.
    Packet,
    /// vchan: as much as there is room for, and as there is.
    Stream,
    /// vchan: messages are made and looked at where they lie in the ring.
    ZeroCopy,
    /// TCP of the kernel.
    Tcp {
        /// `TCP_NODELAY`: a small message does not wait for the answer to the one before.
        nodelay: bool,
        /// Segments of up to 64 KiB go to the interface at once.
        gso: bool,
    },
}

impl Setting {
    /// Its word in samples; empty where there is no choice.
    pub fn word(self) -> &'static str {
        match self {
            Self::Only => "",
            Self::Packet => "packet",
            Self::Stream => "stream",
            Self::ZeroCopy => "zerocopy",
            Self::Tcp { nodelay, gso } => match (nodelay, gso) {
                (true, true) => "nodelay,gso",
                (true, false) => "nodelay,no-gso",
                (false, true) => "delay,gso",
                (false, false) => "delay,no-gso",
            },
        }
    }

    /// The settings of a contestant, in the order of tables.
    pub fn all(contestant: Contestant) -> &'static [Self] {
        const fn tcp(nodelay: bool, gso: bool) -> Setting {
            Setting::Tcp { nodelay, gso }
        }
        const TCP: [Setting; 4] = [
            tcp(true, true),
            tcp(true, false),
            tcp(false, true),
            tcp(false, false),
        ];
        match contestant {
            Contestant::UnikernelVchan | Contestant::LinuxVchan => {
                &[Self::Packet, Self::Stream, Self::ZeroCopy]
            }
            Contestant::LinuxLibxenvchan => &[Self::Packet, Self::Stream],
            Contestant::LinuxTcp => &TCP,
            _ => &[Self::Only],
        }
    }
}

impl Way {
    /// All ways of the contestants that run on Xen.
    pub fn all() -> impl Iterator<Item = Self> {
        let on_xen = Contestant::ALL.into_iter().filter(|one| !one.is_native());
        on_xen.flat_map(|contestant| {
            let settings = Setting::all(contestant).iter();
            settings.map(move |setting| Self {
                contestant,
                setting: *setting,
            })
        })
    }

    /// Whether its ends are Linux guests.
    pub fn is_linux(self) -> bool {
        !matches!(
            self.contestant,
            Contestant::UnikernelVchan | Contestant::UnikernelTcp
        )
    }

    /// Whether it goes over vchan.
    pub fn is_vchan(self) -> bool {
        matches!(
            self.contestant,
            Contestant::UnikernelVchan | Contestant::LinuxVchan | Contestant::LinuxLibxenvchan
        )
    }

    /// The longest message that it can move.
    pub fn longest(self) -> u64 {
        match self.contestant {
            // A datagram is no longer.
            Contestant::LinuxUdp => 60_000,
            _ => 1 << 20,
        }
    }
}

/// `linux-tcp nodelay,gso`.
impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.contestant.id())?;
        match self.setting.word() {
            "" => Ok(()),
            word => write!(f, " {word}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_has_a_name_of_its_own_and_none_is_native() {
        let mut names: Vec<String> = Way::all().map(|way| way.to_string()).collect();
        assert!(names.contains(&"linux-tcp delay,no-gso".to_owned()));
        assert!(names.contains(&"unikernel-tcp".to_owned()));
        assert!(!names.iter().any(|name| name.contains("native")));
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
