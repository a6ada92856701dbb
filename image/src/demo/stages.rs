//! The pipeline as data: three stages, three edges, and the series that flow through them.

use std::path::{Path, PathBuf};

use crate::xl::{Action, BootInput, XlConfig};

/// The edge from the aggregator to dom0, where a foreign program reads it.
pub const RESULT_EDGE: &str = "windows";

/// The series of the water-flow recording.
pub const FLOW_SERIES: [SeriesInfo; 1] = [SeriesInfo {
    name: "water-flow",
    unit: "l/s",
}];

/// The series of the weather recording, in the order of its columns.
pub const WEATHER_SERIES: [SeriesInfo; 3] = [
    SeriesInfo {
        name: "pressure",
        unit: "hPa",
    },
    SeriesInfo {
        name: "temperature",
        unit: "Cel",
    },
    SeriesInfo {
        name: "wind",
        unit: "m/s",
    },
];

/// The names of the series, as the recomputation needs them.
pub fn names(series: &[SeriesInfo]) -> Vec<&'static str> {
    series.iter().map(|one| one.name).collect()
}

/// A column of a recording: its SenML name and unit (RFC 8428, RFC 8798).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeriesInfo {
    /// The SenML name.
    pub name: &'static str,
    /// The SenML unit.
    pub unit: &'static str,
}

/// One end of an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// A stage of this pipeline, by its place in it.
    Stage(usize),
    /// dom0.
    Dom0,
}

/// An edge of the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EdgePlan {
    /// Its name at both ends.
    pub name: &'static str,
    /// Who writes.
    pub from: usize,
    /// Who reads.
    pub to: End,
}

/// A stage of the pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagePlan {
    /// Its name; its domain is called `demo-NAME`.
    pub name: &'static str,
    /// The image, `IMAGE.elf` in the folder of images.
    pub image: &'static str,
    /// Its memory in MiB.
    pub memory_mib: u32,
    /// What it is told at boot.
    pub input: BootInput,
}

/// The whole pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pipeline {
    /// The stages in the order of their creation: readers before writers.
    pub stages: Vec<StagePlan>,
    /// The edges.
    pub edges: Vec<EdgePlan>,
}

/// What the pipeline is made from.
#[derive(Debug, Clone)]
pub struct Recordings {
    /// The water-flow recording.
    pub flow: PathBuf,
    /// The weather recording.
    pub weather: PathBuf,
    /// The length of a window, as the aggregator reads it.
    pub window: String,
}

impl StagePlan {
    /// The name of its domain.
    pub fn domain(&self) -> String {
        format!("demo-{}", self.name)
    }

    /// Its image in `images`.
    pub fn kernel(&self, images: &Path) -> PathBuf {
        images.join(format!("{}.elf", self.image))
    }

    /// Its domain's configuration. It is kept when it ends, since its counters are read then.
    pub fn config(&self, images: &Path, extra: String, ramdisk: Option<PathBuf>) -> XlConfig {
        XlConfig {
            extra,
            ramdisk,
            on_poweroff: Action::Preserve,
            on_crash: Action::Preserve,
            ..XlConfig::new(self.domain(), self.kernel(images), self.memory_mib)
        }
    }
}

impl Pipeline {
    /// Two sensors that replay the recordings and the aggregator that makes windows of both.
    pub fn new(recordings: &Recordings) -> Self {
        let aggregator = StagePlan {
            name: "aggregator",
            image: "aggregator",
            memory_mib: 1,
            input: BootInput {
                parameters: owned(&[
                    ("stage", "aggregator"),
                    ("in.flow", "?"),
                    ("in.weather", "?"),
                    (&format!("out.{RESULT_EDGE}"), "0"),
                    ("window", &recordings.window),
                ]),
                ..BootInput::default()
            },
        };
        Self {
            stages: vec![
                aggregator,
                sensor("flow", 1, &recordings.flow, &FLOW_SERIES),
                sensor("weather", 2, &recordings.weather, &WEATHER_SERIES),
            ],
            edges: vec![
                EdgePlan {
                    name: "flow",
                    from: 1,
                    to: End::Stage(0),
                },
                EdgePlan {
                    name: "weather",
                    from: 2,
                    to: End::Stage(0),
                },
                EdgePlan {
                    name: RESULT_EDGE,
                    from: 0,
                    to: End::Dom0,
                },
            ],
        }
    }
}

/// A sensor that replays a recording as fast as its reader takes it.
fn sensor(name: &'static str, memory_mib: u32, data: &Path, series: &[SeriesInfo]) -> StagePlan {
    let mut parameters = owned(&[
        ("stage", name),
        (&format!("out.{name}"), "?"),
        ("rate", "max"),
    ]);
    for (column, one) in (1..).zip(series) {
        parameters.push((format!("name.{column}"), one.name.to_owned()));
        parameters.push((format!("unit.{column}"), one.unit.to_owned()));
    }
    let input = BootInput {
        parameters,
        data: Some(data.to_owned()),
        secret: None,
    };
    StagePlan {
        name,
        image: "sensor",
        memory_mib,
        input,
    }
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipeline() -> Pipeline {
        Pipeline::new(&Recordings {
            flow: "/d/flow.csv".into(),
            weather: "/d/w.csv".into(),
            window: "24h".into(),
        })
    }

    #[test]
    fn every_edge_is_a_parameter_at_each_end_that_is_a_stage() {
        let Pipeline { stages, edges } = pipeline();
        let has = |stage: usize, key: String| {
            stages[stage]
                .input
                .parameters
                .iter()
                .any(|(k, _)| *k == key)
        };
        for edge in edges {
            assert!(has(edge.from, format!("out.{}", edge.name)), "{edge:?}");
            match edge.to {
                End::Stage(reader) => assert!(has(reader, format!("in.{}", edge.name)), "{edge:?}"),
                End::Dom0 => assert_eq!(edge.name, RESULT_EDGE),
            }
        }
    }

    #[test]
    fn the_weather_sensor_reads_as_written_by_hand() -> Result<(), Box<dyn std::error::Error>> {
        let weather = &pipeline().stages[2];
        let boot = weather.input.prepare(Path::new("/nowhere"))?;
        let text = weather
            .config(Path::new("/images"), boot.extra, boot.ramdisk)
            .render()?;
        let expected = r#"name = "demo-weather"
type = "pv"
kernel = "/images/sensor.elf"
ramdisk = "/d/w.csv"
memory = 2
vcpus = 1
extra = "stage=weather out.weather=? rate=max name.1=pressure unit.1=hPa name.2=temperature unit.2=Cel name.3=wind unit.3=m/s"
on_poweroff = "preserve"
on_crash = "preserve"
"#;
        assert_eq!(text, expected);
        Ok(())
    }
}
