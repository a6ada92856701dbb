//! What a pipeline takes of a host: memory, grants, event channels, command lines, added up before anything starts. Pure.

use std::fmt;
use std::path::Path;

use serde::Serialize;
use stage::params::{DEFAULT_RING, Direction};

use super::plan::{Plan, Planned, SizeOf};
use crate::xl::HostInfo;
use crate::xl::boot::command_line;
use crate::xl::config::COMMAND_LINE_MAX;

const KIB: u64 = 1 << 10;
const PAGE: u64 = 4 * KIB;

/// KiB that Xen takes for a domain beside its memory. Measured in the lab: sixteen domains of 1 MiB took 17 MiB; rounded up, for
/// what they open later.
const XEN_BESIDE_KIB: u64 = 128;

/// Grants that a domain has from its builder: console and xenstore, and reserved entries (`GNTTAB_NR_RESERVED_ENTRIES`).
const GRANTS_OF_XEN: u64 = 8;

/// Grants of a network interface: two rings, and the pages that carry frames (`unikernel::net::network`).
const GRANTS_OF_NETWORK: u64 = 2 + 64 + 128;

/// Entries in a frame of a grant table, version 1.
const GRANTS_IN_FRAME: u64 = 512;

/// Event channels beside those of edges: xenstore, console, timer.
const PORTS_OF_XEN: u64 = 3;

/// What one stage takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StageSums {
    /// Its name.
    pub stage: String,
    /// Its memory in MiB.
    pub memory_mib: u64,
    /// What of it is taken before the first reading: image, data and the rings that it reads from, in KiB.
    pub taken_kib: u64,
    /// Pages that others may map: rings that it reads from, and its network.
    pub grants: u64,
    /// Event channels.
    pub ports: u64,
    /// Bytes of its command line; more than fit travel in its module.
    pub command_line: u64,
    /// Whether they travel there.
    pub in_module: bool,
}

/// What all stages take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sums {
    /// Each of them.
    pub stages: Vec<StageSums>,
    /// Memory of all domains, and what Xen takes beside, in MiB.
    pub memory_mib: u64,
    /// Grants of all.
    pub grants: u64,
    /// Event channels of all.
    pub ports: u64,
}

/// The sums of a plan.
pub fn sums(plan: &Plan, size: SizeOf<'_>) -> Sums {
    let stages: Vec<StageSums> = plan.stages.iter().map(|stage| of(stage, size)).collect();
    let all = |of: fn(&StageSums) -> u64| stages.iter().map(of).fold(0, u64::saturating_add);
    Sums {
        memory_mib: memory_mib(plan.stages.iter()),
        grants: all(|stage| stage.grants),
        ports: all(|stage| stage.ports),
        stages,
    }
}

/// MiB that domains for these stages take, with what Xen takes beside.
pub fn memory_mib<'p>(stages: impl Iterator<Item = &'p Planned>) -> u64 {
    let kib = stages.map(|stage| {
        let frames = frames(grants(stage));
        u64::from(stage.memory_mib) * KIB + XEN_BESIDE_KIB + frames * PAGE / KIB
    });
    kib.fold(0, u64::saturating_add).div_ceil(KIB)
}

/// Frames of a table with so many grants.
const fn frames(grants: u64) -> u64 {
    grants.div_ceil(GRANTS_IN_FRAME)
}

fn of(stage: &Planned, size: SizeOf<'_>) -> StageSums {
    let file = |path: &Path| size(path).unwrap_or(0);
    let data = stage.input.data.as_deref().map_or(0, file);
    let rings = rings(stage, Direction::In).fold(0, u64::saturating_add);
    let edges = rings_count(stage);
    // What cannot be written at all is an error of its own when the domain is made.
    let line = command_line(&stage.input.parameters).unwrap_or_default();
    StageSums {
        stage: stage.stage.clone(),
        memory_mib: stage.memory_mib.into(),
        taken_kib: (file(&stage.image) + data + rings).div_ceil(KIB),
        grants: grants(stage),
        ports: PORTS_OF_XEN + edges + u64::from(stage.bridge.is_some()),
        command_line: line.len() as u64,
        in_module: line.len() > COMMAND_LINE_MAX || stage.input.secret.is_some(),
    }
}

/// Who reads from an edge shares its pages: the ring, where it does not fit beside the indices, and the page of those.
fn grants(stage: &Planned) -> u64 {
    let rings = rings(stage, Direction::In).map(|ring| {
        let outside = if ring <= PAGE / 2 {
            0
        } else {
            ring.div_ceil(PAGE)
        };
        1 + outside
    });
    let network = if stage.bridge.is_some() {
        GRANTS_OF_NETWORK
    } else {
        0
    };
    rings.sum::<u64>() + network + GRANTS_OF_XEN
}

fn rings_count(stage: &Planned) -> u64 {
    let both = [Direction::In, Direction::Out];
    both.map(|direction| rings(stage, direction).count() as u64)
        .iter()
        .sum()
}

/// The rings of a stage's edges of a direction, in bytes.
fn rings(stage: &Planned, direction: Direction) -> impl Iterator<Item = u64> {
    let parameters = stage.input.parameters.iter();
    parameters
        .filter(move |(key, _)| key.starts_with(direction.prefix()))
        .map(|(_, value)| ring(value).into())
}

/// The ring that an edge's parameter asks for: `?,ring=65536`.
pub fn ring(edge: &str) -> u32 {
    let mut parts = edge.split(',').skip(1);
    parts
        .find_map(|part| part.strip_prefix("ring="))
        .and_then(|ring| ring.parse().ok())
        .unwrap_or(DEFAULT_RING)
}

/// Why a pipeline does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TooMuch {
    /// A stage's memory cannot hold what is in it before it begins.
    #[error(
        "`{stage}` has {memory_mib} MiB, and its image, data and rings alone take {taken_kib} KiB; give it more `memory`, or its edges a smaller `ring`"
    )]
    InStage {
        /// The stage.
        stage: String,
        /// Its memory.
        memory_mib: u64,
        /// What is in it.
        taken_kib: u64,
    },
    /// A stage shares more pages than its grant table holds.
    #[error(
        "`{stage}` shares {grants} pages and Xen gives a domain {most} (gnttab_max_frames={frames}); give its edges a smaller `ring`, or Xen a larger gnttab_max_frames="
    )]
    Grants {
        /// The stage.
        stage: String,
        /// Its grants.
        grants: u64,
        /// What there are.
        most: u64,
        /// The setting.
        frames: u64,
    },
}

impl TooMuch {
    /// The stage that it is about.
    pub fn stage(&self) -> &str {
        match self {
            Self::InStage { stage, .. } | Self::Grants { stage, .. } => stage,
        }
    }
}

impl Sums {
    /// What fits on no host.
    pub fn too_much(&self) -> Vec<TooMuch> {
        let full = |stage: &&StageSums| stage.taken_kib >= stage.memory_mib * KIB;
        let stages = self.stages.iter().filter(full);
        let told = stages.map(|stage| TooMuch::InStage {
            stage: stage.stage.clone(),
            memory_mib: stage.memory_mib,
            taken_kib: stage.taken_kib,
        });
        told.collect()
    }

    /// What does not fit on this one, its free memory aside.
    pub fn too_much_for(&self, host: &HostInfo) -> Option<TooMuch> {
        let most = host.grant_frames.saturating_mul(GRANTS_IN_FRAME);
        let beyond = self.stages.iter().find(|stage| stage.grants > most)?;
        Some(TooMuch::Grants {
            stage: beyond.stage.clone(),
            grants: beyond.grants,
            most,
            frames: host.grant_frames,
        })
    }
}

/// The most stages of a table, which is to fit on a screen.
const ROWS: usize = 40;

impl fmt::Display for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let longest = self.stages.iter().map(|stage| stage.stage.len()).max();
        let width = longest.unwrap_or(0).max(5);
        writeln!(
            f,
            "{:<width$} {:>7} {:>9} {:>7} {:>6} {:>13}",
            "stage", "MiB", "taken KiB", "grants", "ports", "command line"
        )?;
        for stage in self.stages.iter().take(ROWS) {
            let line = if stage.in_module {
                "in the module".to_owned()
            } else {
                format!("{} bytes", stage.command_line)
            };
            writeln!(
                f,
                "{:<width$} {:>7} {:>9} {:>7} {:>6} {line:>13}",
                stage.stage, stage.memory_mib, stage.taken_kib, stage.grants, stage.ports
            )?;
        }
        if self.stages.len() > ROWS {
            writeln!(f, "and {} more: see --json", self.stages.len() - ROWS)?;
        }
        writeln!(
            f,
            "{:<width$} {:>7} {:>9} {:>7} {:>6}",
            "all", self.memory_mib, "", self.grants, self.ports
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::Restart;
    use crate::xl::BootInput;

    fn stage(parameters: &[(&str, &str)], network: bool) -> Planned {
        let parameters = parameters.iter();
        Planned {
            stage: "s".into(),
            domain: "p-s".into(),
            image: "/s.elf".into(),
            memory_mib: 1,
            bridge: network.then(|| "xenbr0".into()),
            input: BootInput {
                parameters: parameters
                    .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                    .collect(),
                data: Some("/d.csv".into()),
                secret: None,
            },
            restart: Restart::Never,
        }
    }

    fn of(stages: Vec<Planned>) -> Sums {
        let plan = Plan {
            name: "p".into(),
            stages,
            wires: Vec::new(),
        };
        // An image of 150 KiB, data of 50.
        let size = |path: &Path| Some(if path.ends_with("s.elf") { 150 } else { 50 } * KIB);
        sums(&plan, &size)
    }

    #[test]
    fn who_reads_shares_its_rings_and_both_ends_wait_on_a_port() {
        let edges = [
            ("in.a", "?"),
            ("in.b", "?,ring=1048576,stale=5s"),
            ("in.c", "?,ring=2048"),
            ("out.d", "0,ring=65536"),
        ];
        let sums = of(vec![stage(&edges, false), stage(&[], true)]);
        let [one, two] = sums.stages.as_slice() else {
            panic!("{sums:?}")
        };
        assert_eq!(one.grants, (1 + 4) + (1 + 256) + 1 + 8);
        assert_eq!(one.taken_kib, 150 + 50 + 16 + 1024 + 2);
        assert_eq!((one.ports, two.ports), (7, 4));
        assert_eq!(two.grants, 2 + 64 + 128 + 8);
        assert_eq!((sums.grants, sums.ports), (one.grants + two.grants, 11));
        assert_eq!(sums.memory_mib, 3, "2 MiB, and what Xen takes beside");
        let edges: Vec<String> = (0..120).map(|edge| format!("in.e{edge}")).collect();
        let edges: Vec<(&str, &str)> = edges
            .iter()
            .map(|key| (key.as_str(), "?,ring=1048576"))
            .collect();
        let many = vec![stage(&edges, false); 8];
        // Each 1 MiB, 128 KiB, and 61 pages of its grant table.
        assert_eq!(memory_mib(many.iter()), 11);
    }

    #[test]
    fn what_is_too_much_is_told_with_what_to_do() {
        let small = of(vec![stage(&[("in.a", "?")], false)]);
        assert_eq!(small.too_much(), []);
        let large = of(vec![stage(&[("in.b", "?,ring=1048576")], false)]);
        let told = large.too_much()[0].to_string();
        assert!(
            told.starts_with("`s` has 1 MiB") && told.contains("1224 KiB; give it more `memory`"),
            "{told}"
        );
        let host = |grant_frames| HostInfo {
            free_mib: 64,
            grant_frames,
        };
        let edges: Vec<(String, &str)> = (0..4)
            .map(|edge| (format!("in.e{edge}"), "?,ring=1048576"))
            .collect();
        let edges: Vec<(&str, &str)> = edges
            .iter()
            .map(|(key, value)| (key.as_str(), *value))
            .collect();
        let many = of(vec![stage(&edges, false)]);
        assert_eq!(many.too_much_for(&host(64)), None);
        let told = many.too_much_for(&host(2)).unwrap().to_string();
        assert!(
            told.contains("shares 1036 pages and Xen gives a domain 1024 (gnttab_max_frames=2)"),
            "{told}"
        );
    }

    #[test]
    fn a_table_of_many_stages_fits_on_a_screen_and_sums_up_all_of_them() {
        let text = of(vec![stage(&[], false); 1000]).to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), ROWS + 3);
        assert_eq!(lines[ROWS + 1], "and 960 more: see --json");
        assert!(lines[ROWS + 2].ends_with("8000   3000"), "{text}");
    }

    #[test]
    fn a_line_that_is_too_long_travels_in_the_module_and_the_table_says_so() {
        let long = "x".repeat(COMMAND_LINE_MAX);
        let sums = of(vec![stage(&[("name.1", &long)], false)]);
        assert!(sums.stages[0].in_module && !of(vec![stage(&[], false)]).stages[0].in_module);
        assert_eq!(
            sums.to_string(),
            "stage     MiB taken KiB  grants  ports  command line\n\
             s           1       200       8      3 in the module\n\
             all         2                 8      3\n"
        );
    }
}
