//! What the kernel knows of a process (`/proc/PID/stat`, proc(5)).

use std::fs;

use rustix::param::{clock_ticks_per_second, page_size};

/// A process, which its number alone does not name: numbers are given anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ProcessId {
    /// Its number.
    pub pid: i32,
    /// When it was started, in ticks since the host's boot.
    pub started: u64,
}

/// What it has used.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// Seconds of CPU time.
    pub cpu_seconds: f64,
    /// Bytes of memory that are resident.
    pub resident: u64,
    /// It has ended, and its parent has not asked how yet.
    pub is_zombie: bool,
}

impl ProcessId {
    /// The process that has this number now.
    pub fn of(pid: i32) -> Option<Self> {
        let stat = Stat::read(pid)?;
        Some(Self {
            pid,
            started: stat.started,
        })
    }

    /// What it has used so far; `None` once it is gone.
    pub fn usage(&self) -> Option<Usage> {
        let stat = Stat::read(self.pid).filter(|stat| stat.started == self.started)?;
        Some(Usage {
            cpu_seconds: stat.ticks as f64 / clock_ticks_per_second() as f64,
            resident: stat.pages.saturating_mul(page_size() as u64),
            is_zombie: stat.state == 'Z',
        })
    }

    /// Whether it runs.
    pub fn is_alive(&self) -> bool {
        self.usage().is_some_and(|usage| !usage.is_zombie)
    }
}

#[derive(Debug, PartialEq)]
struct Stat {
    state: char,
    ticks: u64,
    started: u64,
    pages: u64,
}

impl Stat {
    fn read(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        // The name, in brackets, may hold anything.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // Numbered from 1 in proc(5), of which the first two stand before.
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Self {
            state: fields.first()?.chars().next()?,
            ticks: number(14)?.saturating_add(number(15)?),
            started: number(22)?,
            pages: number(24)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_shifts_no_field() {
        let text =
            "12 (a) R 1) Z 1 12 12 0 -1 4194304 1 2 3 4 500 70 0 0 20 0 1 0 99 1000 33 1844\n";
        let stat = Stat::parse(text).unwrap();
        let expected = Stat {
            state: 'Z',
            ticks: 570,
            started: 99,
            pages: 33,
        };
        assert_eq!(stat, expected);
        for bad in ["", "12 (a", "12 (a) R 1 2", "12 (a) "] {
            assert_eq!(Stat::parse(bad), None);
        }
    }

    #[test]
    fn a_number_that_was_given_anew_is_another_process() {
        let own = ProcessId::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(own.is_alive() && own.usage().unwrap().resident > 0);
        let other = ProcessId {
            started: own.started + 1,
            ..own
        };
        assert!(!other.is_alive());
    }
}
