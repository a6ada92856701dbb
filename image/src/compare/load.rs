//! How busy the host is with other things.

use std::fs;

use super::results::Load;

/// A share of the host's CPU time that others take beyond which figures are doubtful.
const BUSY: f64 = 0.15;

/// The CPU of this host, by its own name.
pub fn host_cpu() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    let (_, name) = line.split_once(':')?;
    Some(name.trim().to_owned())
}

/// Looks at the host's own counts, from here until [`end`](Self::end).
#[derive(Debug)]
pub struct HostLoad {
    before: f64,
    start: Option<Spent>,
}

/// CPU time in the kernel's ticks.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Spent {
    /// Of all CPUs at work.
    busy: u64,
    /// Of all CPUs.
    all: u64,
    /// Of this process and those that it has waited for.
    own: u64,
}

impl HostLoad {
    /// Begins.
    pub fn begin() -> Self {
        let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let first = text.split_whitespace().next();
        Self {
            before: first.and_then(|load| load.parse().ok()).unwrap_or(0.0),
            start: Spent::now(),
        }
    }

    /// Ends, once the processes that this one has started have.
    pub fn end(&self) -> Option<Load> {
        let others = Spent::now()?.others_since(self.start?);
        Some(Load {
            before: self.before,
            others,
        })
    }
}

impl Spent {
    fn now() -> Option<Self> {
        let stat = fs::read_to_string("/proc/stat").ok()?;
        let own = fs::read_to_string("/proc/self/stat").ok()?;
        Self::read(&stat, &own)
    }

    /// Reads `/proc/stat` and `/proc/self/stat` (proc(5)).
    fn read(stat: &str, own: &str) -> Option<Self> {
        let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let fields: Vec<u64> = line
            .split_whitespace()
            .map_while(|field| field.parse().ok())
            .collect();
        // user nice system idle iowait irq softirq steal; what guests get is in user already.
        let all: u64 = fields.iter().take(8).sum();
        let idle: u64 = fields.iter().skip(3).take(2).sum();
        // Behind the name, which may hold anything, utime is the 12th field; stime, cutime and cstime follow.
        let (_, behind) = own.rsplit_once(')')?;
        let own = behind.split_whitespace().skip(11).take(4);
        let own: Option<Vec<u64>> = own.map(|field| field.parse().ok()).collect();
        Some(Self {
            busy: all - idle,
            all,
            own: own?.iter().sum(),
        })
    }

    /// The share of all CPU time that others have taken since.
    fn others_since(self, earlier: Self) -> f64 {
        let all = self.all.saturating_sub(earlier.all);
        let busy = self.busy.saturating_sub(earlier.busy);
        let own = self.own.saturating_sub(earlier.own);
        if all == 0 {
            return 0.0;
        }
        (busy.saturating_sub(own) as f64 / all as f64).clamp(0.0, 1.0)
    }
}

/// What to say of it, where there is something to say.
pub fn warning(load: &Load) -> Option<String> {
    (load.others > BUSY).then(|| {
        format!(
            "the machine was busy: others took {:.0} % of its CPU time meanwhile; ratios hold better than figures, and a \
             quiet machine is better for both",
            load.others * 100.0
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "7 (a ) b) S 1 7 7 0 -1 4194304 200 0 0 0 30 10 5 5 20 0 1 0 100 1 1";

    #[test]
    fn what_others_took_is_neither_idle_nor_ours() {
        let at = |user: u64, idle: u64, own: &str| {
            Spent::read(
                &format!("cpu  {user} 0 0 {idle} 0 0 0 0 0 0\ncpu0 1\n"),
                own,
            )
            .unwrap()
        };
        let start = at(100, 100, OWN);
        assert_eq!((start.busy, start.all, start.own), (100, 200, 50));
        let later = OWN.replace(" 30 10 ", " 60 30 ");
        // 200 ticks on, 100 of them busy, 50 of those ours.
        assert_eq!(at(200, 200, &later).others_since(start), 0.25);
        assert_eq!(start.others_since(start), 0.0);
        assert_eq!(Spent::read("", OWN), None);
        assert_eq!(Spent::read("cpu  1 2 3 4 5\n", "7 (a"), None);
    }

    #[test]
    fn a_busy_machine_is_said() {
        let load = |others| Load {
            before: 0.5,
            others,
        };
        assert!(warning(&load(0.02)).is_none());
        assert!(warning(&load(0.5)).unwrap().contains("50 %"));
    }

    #[test]
    fn this_machine_tells() {
        let load = HostLoad::begin();
        let end = load.end().unwrap();
        assert!((0.0..=1.0).contains(&end.others));
    }
}
