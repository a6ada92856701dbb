//! What has to be done for a pipeline: its domains, each with all that it is told, and who meets whom. Pure.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use stage::note::Description;

use super::load::Loaded;
use crate::pipeline::{Edge, End, Pipeline, Restart, Stage};
use crate::xl::{Action, BootInput, XlConfig};

/// Everything of a pipeline that runs on this host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The pipeline's name.
    pub name: String,
    /// Its stages, in the order of the file.
    pub stages: Vec<Planned>,
    /// Its edges, likewise.
    pub wires: Vec<Wire>,
}

/// A stage as a domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Planned {
    /// The stage's name.
    pub stage: String,
    /// The domain's.
    pub domain: String,
    /// Its image.
    pub image: PathBuf,
    /// Its memory in MiB.
    pub memory_mib: u32,
    /// The bridge that its network interface joins, where it has one.
    pub bridge: Option<String>,
    /// What it is told at boot.
    pub input: BootInput,
    /// When it is started again.
    pub restart: Restart,
}

/// An edge, by the places of the stages at its ends; dom0 where there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wire {
    /// Its name at both ends.
    pub name: String,
    /// Who writes.
    pub from: Option<usize>,
    /// Who reads.
    pub to: Option<usize>,
    /// Whether it closes a circle on purpose.
    #[serde(default)]
    pub feedback: bool,
}

/// Sizes of files, in bytes; those that cannot be read have none.
pub type SizeOf<'f> = &'f dyn Fn(&Path) -> Option<u64>;

/// The plan of a pipeline whose images lie in `images`.
pub fn plan(loaded: &Loaded, images: &Path, size: SizeOf<'_>) -> Plan {
    let pipeline = &loaded.pipeline;
    let stages = pipeline.stages.iter();
    let stages = stages.map(|stage| planned(loaded, stage, images, size));
    let place = |end: &End| match end {
        End::Dom0 => None,
        End::Stage(name) => pipeline.stage(name),
    };
    let wires = pipeline.edges.iter().map(|edge| Wire {
        name: edge.name.value.clone(),
        from: place(&edge.from.value),
        to: place(&edge.to.value),
        feedback: edge.feedback,
    });
    Plan {
        name: pipeline.name.value.clone(),
        stages: stages.collect(),
        wires: wires.collect(),
    }
}

fn planned(loaded: &Loaded, stage: &Stage, images: &Path, size: SizeOf<'_>) -> Planned {
    let pipeline = &loaded.pipeline;
    let takes = |key: &str| {
        let image = loaded.images.get(&stage.app.value);
        image.is_some_and(|image| takes(image, key))
    };
    let has_network = takes("ip");
    let broker = pipeline.broker.as_ref().filter(|_| takes("broker"));
    let secret = stage.secret.as_ref().or_else(|| broker?.secret.as_ref());
    let mut told = Told::new(stage);
    told.add("stage", &stage.name.value);
    edges(pipeline, stage, &mut told);
    told.add_unless_given("log", &pipeline.log);
    if has_network {
        told.add_unless_given("ip", &pipeline.network.ip);
    }
    if let Some(broker) = broker {
        told.add_unless_given("broker", &broker.address.value);
        let client = pipeline.domain(stage);
        told.add_unless_given("client-id", &client);
    }
    told.add_own();
    let file = |path: &str| loaded.folder.join(path);
    let input = BootInput {
        parameters: told.parameters,
        data: stage.data.as_ref().map(|data| file(&data.value)),
        secret: secret.map(|secret| file(&secret.value)),
    };
    let image = images.join(format!("{}.elf", stage.app.value));
    let memory = stage.memory.as_ref().map(|memory| memory.value);
    let enough = || {
        enough(
            pipeline,
            stage,
            has_network,
            size(&image),
            input.data.as_deref().and_then(size),
        )
    };
    Planned {
        stage: stage.name.value.clone(),
        domain: pipeline.domain(stage),
        memory_mib: memory.unwrap_or_else(enough),
        bridge: has_network.then(|| pipeline.network.bridge.clone()),
        image,
        input,
        restart: stage.restart,
    }
}

fn takes(image: &Description, key: &str) -> bool {
    image
        .parameters
        .iter()
        .any(|parameter| parameter.matches(key))
}

/// The parameters of a stage as they come together.
struct Told<'s> {
    stage: &'s Stage,
    parameters: Vec<(String, String)>,
}

impl<'s> Told<'s> {
    fn new(stage: &'s Stage) -> Self {
        Self {
            stage,
            parameters: Vec::new(),
        }
    }

    fn add(&mut self, key: impl Into<String>, value: &str) {
        self.parameters.push((key.into(), value.to_owned()));
    }

    fn add_unless_given(&mut self, key: &str, value: &str) {
        let mut given = self.stage.parameters.iter();
        if !given.any(|parameter| parameter.key.value == key) {
            self.add(key, value);
        }
    }

    fn add_own(&mut self) {
        for parameter in &self.stage.parameters {
            self.add(parameter.key.value.clone(), &parameter.value.value);
        }
    }
}

/// Each edge of a stage: whom to wait for, the ring, whether it leads back, and of an output whether it drops.
fn edges(pipeline: &Pipeline, stage: &Stage, told: &mut Told<'_>) {
    let own = End::Stage(stage.name.value.clone());
    for edge in &pipeline.edges {
        if edge.to.value == own {
            let mut reads = peer(&edge.from.value, edge);
            if let Some(span) = &edge.stale {
                let _ = write!(reads, ",stale={span}");
            }
            told.add(format!("in.{}", edge.name.value), &reads);
        }
        if edge.from.value == own {
            let drops = if edge.drop_newest { ",drop=newest" } else { "" };
            told.add(
                format!("out.{}", edge.name.value),
                &(peer(&edge.to.value, edge) + drops),
            );
        }
    }
}

/// dom0 is always there under the same number; others are told once they are there.
fn peer(end: &End, edge: &Edge) -> String {
    let peer = match end {
        End::Dom0 => "0",
        End::Stage(_) => "?",
    };
    let mut text = peer.to_owned();
    if edge.ring.value != stage::params::DEFAULT_RING {
        let _ = write!(text, ",ring={}", edge.ring.value);
    }
    if edge.feedback {
        text.push_str(",feedback");
    }
    text
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// What a domain needs beside image, data and rings: stack, page tables, what the boot leaves unused, a heap for packs.
const BESIDE: u64 = 704 * KIB;

/// What a network takes: frames on their way, sockets, a queue of messages.
const NETWORK: u64 = 6 * MIB;

/// MiB that are enough for a stage, where its file names none.
fn enough(
    pipeline: &Pipeline,
    stage: &Stage,
    network: bool,
    image: Option<u64>,
    data: Option<u64>,
) -> u32 {
    let own = End::Stage(stage.name.value.clone());
    let mine = |edge: &&Edge| edge.from.value == own || edge.to.value == own;
    let rings: u64 = pipeline
        .edges
        .iter()
        .filter(mine)
        .map(|edge| u64::from(edge.ring.value))
        .sum();
    let all =
        image.unwrap_or(0) + data.unwrap_or(0) + rings + BESIDE + if network { NETWORK } else { 0 };
    u32::try_from(all.div_ceil(MIB)).unwrap_or(u32::MAX)
}

impl Planned {
    /// Its domain's configuration. It is kept when it ends: its counters and its console are read then, and the composer
    /// decides whether it is started again, not `xl`.
    pub fn config(&self, extra: String, ramdisk: Option<PathBuf>) -> XlConfig {
        XlConfig {
            extra,
            ramdisk,
            bridge: self.bridge.clone(),
            on_poweroff: Action::Preserve,
            on_crash: Action::Preserve,
            ..XlConfig::new(&self.domain, &self.image, self.memory_mib)
        }
    }

    /// All that makes this domain what it is, as text: one that says the same need not be replaced. `digest` stands for the
    /// content of a file.
    pub fn essence(&self, digest: &dyn Fn(&Path) -> String) -> String {
        let mut text = format!(
            "memory={}\nbridge={:?}\nimage={}\n",
            self.memory_mib,
            self.bridge,
            digest(&self.image)
        );
        for (key, value) in &self.input.parameters {
            let _ = writeln!(text, "{key}={value:?}");
        }
        for (name, file) in [("data", &self.input.data), ("secret", &self.input.secret)] {
            if let Some(file) = file {
                let _ = writeln!(text, "{name}={}", digest(file));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::read;
    use crate::pipeline::testing::images;

    const FILE: &str = r#"
name = "water"
[broker]
address = "10.0.0.9"
secret = "broker.txt"
[network]
bridge = "br7"
[defaults]
log = "debug"
[[stage]]
name = "flow"
app = "sensor"
data = "flow.csv"
parameters = { rate = "max" }
[[stage]]
name = "mid"
app = "filter"
memory = 3
parameters.window = "5s"
[[stage]]
name = "out"
app = "gateway"
parameters.ip = "10.0.0.2/24"
[[edge]]
from = "flow"
to = "mid"
ring = "64K"
stale = "90s"
[[edge]]
name = "alerts"
from = "mid"
to = "out"
policy = "drop-newest"
[[edge]]
name = "log"
from = "mid"
to = "dom0"
[[edge]]
name = "again"
from = "mid"
to = "flow"
ring = "1K"
feedback = true
"#;

    fn loaded() -> Loaded {
        Loaded {
            pipeline: read(FILE, "p").unwrap(),
            images: images(),
            folder: "/srv".into(),
        }
    }

    fn planned() -> Plan {
        plan(
            &loaded(),
            Path::new("/images"),
            &|path| match path.extension() {
                Some(end) if end == "csv" => Some(MIB),
                _ => Some(200 * KIB),
            },
        )
    }

    fn extra(stage: &Planned) -> String {
        crate::xl::boot::command_line(&stage.input.parameters).unwrap()
    }

    #[test]
    fn each_stage_is_told_its_edges_and_what_the_file_says_of_all() {
        let Plan { stages, wires, .. } = planned();
        assert_eq!(
            extra(&stages[0]),
            "stage=flow out.flow=?,ring=65536 in.again=?,ring=1024,feedback log=debug rate=max"
        );
        assert_eq!(
            extra(&stages[1]),
            "stage=mid in.flow=?,ring=65536,stale=90s out.alerts=?,drop=newest out.log=0 out.again=?,ring=1024,feedback log=debug window=5s"
        );
        assert_eq!(
            extra(&stages[2]),
            "stage=out in.alerts=? log=debug broker=10.0.0.9 client-id=water-out ip=10.0.0.2/24"
        );
        let ends: Vec<_> = wires.iter().map(|wire| (wire.from, wire.to)).collect();
        assert_eq!(
            ends,
            [
                (Some(0), Some(1)),
                (Some(1), Some(2)),
                (Some(1), None),
                (Some(1), Some(0))
            ]
        );
        let leads_back: Vec<_> = wires.iter().map(|wire| wire.feedback).collect();
        assert_eq!(leads_back, [false, false, false, true]);
    }

    #[test]
    fn a_stage_has_the_network_and_the_secrets_that_its_image_asks_for() {
        let stages = planned().stages;
        let of = |stage: &Planned| (stage.bridge.clone(), stage.input.secret.clone());
        assert_eq!(of(&stages[0]), (None, None));
        assert_eq!(
            of(&stages[2]),
            (Some("br7".into()), Some("/srv/broker.txt".into()))
        );
    }

    #[test]
    fn memory_is_what_the_file_says_or_what_image_data_and_rings_need() {
        let memory: Vec<u32> = planned()
            .stages
            .iter()
            .map(|stage| stage.memory_mib)
            .collect();
        assert_eq!(memory, [2, 3, 7]);
    }

    #[test]
    fn another_image_parameter_or_recording_makes_another_domain() {
        let plan = planned();
        let digest = |path: &Path| path.display().to_string();
        let essence = |change: fn(&mut Planned)| {
            let mut stage = plan.stages[0].clone();
            change(&mut stage);
            stage.essence(&digest)
        };
        let same = essence(|_| {});
        assert_eq!(
            same,
            essence(|stage| stage.restart = Restart::Never),
            "no reason to start anew"
        );
        for change in [
            (|stage| stage.memory_mib += 1) as fn(&mut Planned),
            |stage| stage.image = "/images/other.elf".into(),
            |stage| stage.input.parameters[0].1.push('x'),
            |stage| stage.input.data = None,
        ] {
            assert_ne!(same, essence(change));
        }
    }
}
