//! The pipeline as data: its stages, its edges, and the series that flow through them.

use std::path::{Path, PathBuf};

use stage::params::Address;

use crate::xl::{Action, BootInput, XlConfig};

/// The edge from the aggregator to the gateway, or to dom0, where a foreign program reads it.
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
    /// The bridge that its network interface joins, where it has one.
    pub bridge: Option<String>,
    /// What it is told at boot.
    pub input: BootInput,
}

/// The way to a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlet {
    /// The broker, as the gateway reaches it.
    pub broker: Address,
    /// The gateway's `ip=`.
    pub ip: String,
    /// The bridge that the gateway's network interface joins.
    pub bridge: String,
    /// What topics and client identifier of this run have in them, so that nobody else's are the same.
    pub run: String,
}

/// The whole pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pipeline {
    /// The stages in the order of their creation: readers before writers.
    pub stages: Vec<StagePlan>,
    /// The edges.
    pub edges: Vec<EdgePlan>,
    /// The stage that publishes the results, by its place, where one does.
    pub gateway: Option<usize>,
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
            bridge: self.bridge.clone(),
            on_poweroff: Action::Preserve,
            on_crash: Action::Preserve,
            ..XlConfig::new(self.domain(), self.kernel(images), self.memory_mib)
        }
    }
}

#[cfg(test)]
impl Outlet {
    /// One for tests.
    pub(super) fn example() -> Self {
        Self {
            broker: Address {
                host: "10.0.2.2".into(),
                port: 1883,
            },
            ip: "dhcp".into(),
            bridge: "xenbr0".into(),
            run: "1f".into(),
        }
    }
}

impl Outlet {
    /// What messages are published below.
    pub fn topic(&self) -> String {
        format!("grantflow/demo-{}", self.run)
    }
}

impl Pipeline {
    /// Two sensors that replay the recordings, the aggregator that makes windows of both, and the gateway that publishes
    /// these where there is a way to a broker.
    pub fn new(recordings: &Recordings, outlet: Option<&Outlet>) -> Self {
        let mut stages = Vec::new();
        let mut add = |stage| {
            stages.push(stage);
            stages.len() - 1
        };
        let gateway = outlet.map(|outlet| add(gateway(outlet)));
        let aggregator = add(aggregator(&recordings.window, gateway.is_some()));
        let flow = add(sensor("flow", 1, &recordings.flow, &FLOW_SERIES));
        let weather = add(sensor("weather", 2, &recordings.weather, &WEATHER_SERIES));
        let edge = |name, from, to| EdgePlan { name, from, to };
        let edges = vec![
            edge("flow", flow, End::Stage(aggregator)),
            edge("weather", weather, End::Stage(aggregator)),
            edge(
                RESULT_EDGE,
                aggregator,
                gateway.map_or(End::Dom0, End::Stage),
            ),
        ];
        Self {
            stages,
            edges,
            gateway,
        }
    }
}

/// The gateway to a broker.
fn gateway(outlet: &Outlet) -> StagePlan {
    let parameters = owned(&[
        ("stage", "gateway"),
        (&format!("in.{RESULT_EDGE}"), "?"),
        ("broker", &outlet.broker.to_string()),
        ("topic", &format!("{}/{{series}}", outlet.topic())),
        ("client-id", &format!("grantflow-demo-{}", outlet.run)),
        ("ip", &outlet.ip),
    ]);
    StagePlan {
        name: "gateway",
        image: "gateway",
        memory_mib: 8,
        bridge: Some(outlet.bridge.clone()),
        input: BootInput {
            parameters,
            ..BootInput::default()
        },
    }
}

/// The aggregator of both recordings.
fn aggregator(window: &str, has_reader: bool) -> StagePlan {
    let parameters = owned(&[
        ("stage", "aggregator"),
        ("in.flow", "?"),
        ("in.weather", "?"),
        (
            &format!("out.{RESULT_EDGE}"),
            if has_reader { "?" } else { "0" },
        ),
        ("window", window),
    ]);
    StagePlan {
        name: "aggregator",
        image: "aggregator",
        memory_mib: 1,
        bridge: None,
        input: BootInput {
            parameters,
            ..BootInput::default()
        },
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
        bridge: None,
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

    fn pipelines() -> [Pipeline; 2] {
        let recordings = Recordings {
            flow: "/d/flow.csv".into(),
            weather: "/d/w.csv".into(),
            window: "24h".into(),
        };
        [None, Some(&Outlet::example())].map(|outlet| Pipeline::new(&recordings, outlet))
    }

    fn written(stage: &StagePlan) -> Result<String, Box<dyn std::error::Error>> {
        let boot = stage.input.prepare(Path::new("/nowhere"))?;
        let config = stage.config(Path::new("/images"), boot.extra, boot.ramdisk);
        Ok(config.render()?)
    }

    #[test]
    fn every_edge_is_a_parameter_at_each_end_that_is_a_stage() {
        for Pipeline { stages, edges, .. } in pipelines() {
            let has = |stage: usize, key: String| {
                let mut parameters = stages[stage].input.parameters.iter();
                parameters.any(|(k, _)| *k == key)
            };
            for edge in edges {
                assert!(has(edge.from, format!("out.{}", edge.name)), "{edge:?}");
                match edge.to {
                    End::Stage(reader) => {
                        assert!(has(reader, format!("in.{}", edge.name)), "{edge:?}");
                        assert!(reader < edge.from, "readers come first: {edge:?}");
                    }
                    End::Dom0 => assert_eq!(edge.name, RESULT_EDGE),
                }
            }
        }
    }

    #[test]
    fn the_weather_sensor_reads_as_written_by_hand() -> Result<(), Box<dyn std::error::Error>> {
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
        assert_eq!(written(&pipelines()[0].stages[2])?, expected);
        Ok(())
    }

    #[test]
    fn the_gateway_is_the_one_stage_with_a_network() -> Result<(), Box<dyn std::error::Error>> {
        let [plain, published] = pipelines();
        assert_eq!((plain.gateway, published.gateway), (None, Some(0)));
        let expected = r#"name = "demo-gateway"
type = "pv"
kernel = "/images/gateway.elf"
memory = 8
vcpus = 1
extra = "stage=gateway in.windows=? broker=10.0.2.2:1883 topic=grantflow/demo-1f/{series} client-id=grantflow-demo-1f ip=dhcp"
vif = ["bridge=xenbr0"]
on_poweroff = "preserve"
on_crash = "preserve"
"#;
        assert_eq!(written(&published.stages[0])?, expected);
        let mut others = plain.stages.iter().chain(&published.stages[1..]);
        assert!(others.all(|stage| stage.bridge.is_none()));
        Ok(())
    }
}
