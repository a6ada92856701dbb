//! A pipeline that a file describes.

use std::fmt;
use std::ops::Range;

/// Something of a file, and where in it it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<T> {
    /// What it is.
    pub value: T,
    /// The bytes of the file that say so.
    pub at: Range<usize>,
}

impl<T> Located<T> {
    /// The same of another type.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Located<U> {
        Located {
            value: change(self.value),
            at: self.at,
        }
    }
}

/// A whole pipeline; every name in it is legal, and nothing else is checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pipeline {
    /// Its name, with which its domains' names begin.
    pub name: Located<String>,
    /// Its stages, in the order of the file.
    pub stages: Vec<Stage>,
    /// Its edges, likewise.
    pub edges: Vec<Edge>,
    /// The broker of its stages.
    pub broker: Option<Broker>,
    /// How stages with a network are connected.
    pub network: Network,
    /// What its stages log.
    pub log: String,
}

/// A stage: an image in a domain of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// Its name.
    pub name: Located<String>,
    /// The image that it runs.
    pub app: Located<String>,
    /// Its memory in MiB, where the file says.
    pub memory: Option<Located<u32>>,
    /// When it is started again.
    pub restart: Restart,
    /// The host that runs it, where the file says.
    pub host: Option<Located<String>>,
    /// Its recorded data, as the file writes the path.
    pub data: Option<Located<String>>,
    /// Its passwords, likewise.
    pub secret: Option<Located<String>>,
    /// What the image is told, in the order of the file.
    pub parameters: Vec<Parameter>,
}

/// A parameter of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Its key, `name.1` for instance.
    pub key: Located<String>,
    /// Its value as text.
    pub value: Located<String>,
}

/// Readings from one stage to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// Its name at both ends.
    pub name: Located<String>,
    /// Who writes.
    pub from: Located<End>,
    /// Who reads.
    pub to: Located<End>,
    /// Bytes that may be on their way.
    pub ring: Located<u32>,
    /// How long its writer may say nothing, where the file says.
    pub stale: Option<String>,
    /// Whether it closes a circle on purpose.
    pub feedback: bool,
    /// Whether its writer leaves readings out rather than wait (`keys::DROP_NEWEST`).
    pub drop_newest: bool,
}

/// One end of an edge, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// A program in dom0.
    Dom0,
    /// The stage of this name, which may not exist.
    Stage(String),
}

impl End {
    /// The word of a file for dom0; no stage may have the name.
    pub const DOM0: &str = "dom0";

    /// The end of this name.
    pub fn named(name: String) -> Self {
        if name == Self::DOM0 {
            Self::Dom0
        } else {
            Self::Stage(name)
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dom0 => f.write_str(Self::DOM0),
            Self::Stage(name) => f.write_str(name),
        }
    }
}

/// When a stage that has ended is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// Not at all.
    Never,
    /// When it crashed, was destroyed, or said that it failed.
    #[default]
    OnFailure,
    /// Whenever it has ended, unless it was asked to.
    Always,
}

impl Restart {
    /// The policy of this word (`keys::RESTARTS`).
    pub fn named(word: &str) -> Option<Self> {
        match word {
            "never" => Some(Self::Never),
            "on-failure" => Some(Self::OnFailure),
            "always" => Some(Self::Always),
            _ => None,
        }
    }
}

/// The broker of a pipeline's stages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// HOST:PORT.
    pub address: Located<String>,
    /// User name and password for stages that name no secret of their own, as the file writes the path.
    pub secret: Option<Located<String>>,
}

/// How stages with a network are connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// The bridge of dom0 that their interfaces join.
    pub bridge: String,
    /// `ip=` of those that do not say otherwise.
    pub ip: String,
}

impl Pipeline {
    /// The stage of a name, by its place.
    pub fn stage(&self, name: &str) -> Option<usize> {
        self.stages
            .iter()
            .position(|stage| stage.name.value == name)
    }

    /// The name of a stage's domain.
    pub fn domain(&self, stage: &Stage) -> String {
        format!("{}-{}", self.name.value, stage.name.value)
    }
}
