//! A pipeline on several hosts: an edge from one to another becomes a topic at the broker, with a bridge at either end.
//!
//! The stages are not told of it: the writing one meets a `gateway` at the other end of its edge, the reading one an `mqtt-in`.
//! Both are stages like any other, named by the edge.

use super::check::Catalogue;
use super::model::{Edge, End, Located, Parameter, Pipeline, Stage};
use super::problem::Problem;

/// The bridge on the writing side, and the one on the reading side: the app, what its name ends with, what it is told beside
/// the topic.
const OUT: Bridge = Bridge {
    app: "gateway",
    suffix: "-out",
    parameters: &[("format", "cbor"), ("drop", "never"), ("end", "on")],
};
const IN: Bridge = Bridge {
    app: "mqtt-in",
    suffix: "-in",
    parameters: &[("end", "on")],
};

struct Bridge {
    app: &'static str,
    suffix: &'static str,
    parameters: &'static [(&'static str, &'static str)],
}

impl Bridge {
    fn name(&self, edge: &Edge) -> String {
        format!("{}{}", edge.name.value, self.suffix)
    }

    /// The end of an edge that it is.
    fn end(&self, edge: &Edge) -> Located<End> {
        Located {
            value: End::Stage(self.name(edge)),
            at: edge.name.at.clone(),
        }
    }

    /// The stage, beside the one that it serves.
    fn stage(&self, pipeline: &Pipeline, edge: &Edge, beside: &Stage) -> Stage {
        let located = |value: String| Located {
            value,
            at: edge.name.at.clone(),
        };
        let topic = topic(pipeline, edge);
        let told = [("topic", topic.as_str())];
        let told = told.iter().chain(self.parameters);
        Stage {
            name: located(self.name(edge)),
            app: located(self.app.to_owned()),
            memory: None,
            restart: beside.restart,
            host: beside.host.clone(),
            data: None,
            secret: None,
            parameters: told
                .map(|(key, value)| Parameter {
                    key: located((*key).to_owned()),
                    value: located((*value).to_owned()),
                })
                .collect(),
        }
    }
}

/// Where the readings of an edge that crosses go.
fn topic(pipeline: &Pipeline, edge: &Edge) -> String {
    format!("grantflow-edge/{}/{}", pipeline.name.value, edge.name.value)
}

/// The hosts that a pipeline names, in the order of its file.
pub fn hosts(pipeline: &Pipeline) -> Vec<&str> {
    let mut hosts = Vec::new();
    for host in pipeline.stages.iter().filter_map(host) {
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    hosts
}

fn host(stage: &Stage) -> Option<&str> {
    stage.host.as_ref().map(|host| host.value.as_str())
}

/// The stages at the ends of an edge, if it goes from one host to another.
fn crossing<'p>(pipeline: &'p Pipeline, edge: &Edge) -> Option<(&'p Stage, &'p Stage)> {
    let stage = |end: &Located<End>| match &end.value {
        End::Dom0 => None,
        End::Stage(name) => pipeline.stages.get(pipeline.stage(name)?),
    };
    let (from, to) = (stage(&edge.from)?, stage(&edge.to)?);
    (host(from) != host(to)).then_some((from, to))
}

/// The whole pipeline with its bridges. An edge between two bridges, which has no ring, is a topic.
pub fn bridged(pipeline: &Pipeline) -> Pipeline {
    let mut whole = Pipeline {
        edges: Vec::new(),
        ..pipeline.clone()
    };
    for edge in &pipeline.edges {
        let Some((from, to)) = crossing(pipeline, edge) else {
            whole.edges.push(edge.clone());
            continue;
        };
        whole.stages.push(OUT.stage(pipeline, edge, from));
        whole.stages.push(IN.stage(pipeline, edge, to));
        whole.edges.push(Edge {
            to: OUT.end(edge),
            // It is no way back for the bridge, which ends with it.
            feedback: false,
            ..edge.clone()
        });
        let mut topic = Edge {
            from: OUT.end(edge),
            to: IN.end(edge),
            ..edge.clone()
        };
        topic.ring.value = 0;
        whole.edges.push(topic);
        whole.edges.push(Edge {
            from: IN.end(edge),
            ..edge.clone()
        });
    }
    whole
}

/// Why there is no part of a pipeline for a host; what to do is part of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// It was not said which.
    #[error("{name} runs on the hosts {hosts}: say with --host which of them this is")]
    Unsaid {
        /// The pipeline.
        name: String,
        /// Its hosts.
        hosts: String,
    },
    /// There is no such host.
    #[error("no stage of {name} runs on the host `{host}`; {known}")]
    Unknown {
        /// The pipeline.
        name: String,
        /// What was said.
        host: String,
        /// What could have been.
        known: String,
    },
}

/// What of a pipeline runs on one host: its stages there, and the bridges beside them. Without a name all of it, if that is one
/// host's.
pub fn part(pipeline: &Pipeline, this: Option<&str>) -> Result<Pipeline, HostError> {
    let hosts = hosts(pipeline);
    let name = pipeline.name.value.clone();
    let Some(this) = this else {
        return match hosts.as_slice() {
            [] | [_] => Ok(pipeline.clone()),
            many => Err(HostError::Unsaid {
                name,
                hosts: many.join(", "),
            }),
        };
    };
    if !hosts.contains(&this) {
        let known = match hosts.as_slice() {
            [] => "its file names no hosts (host = at a stage)".to_owned(),
            hosts => format!("its hosts are: {}", hosts.join(", ")),
        };
        return Err(HostError::Unknown {
            name,
            host: this.to_owned(),
            known,
        });
    }
    let mut part = bridged(pipeline);
    part.stages.retain(|stage| host(stage) == Some(this));
    let is_here = |end: &Located<End>| match &end.value {
        End::Dom0 => true,
        End::Stage(name) => part.stages.iter().any(|stage| stage.name.value == *name),
    };
    part.edges
        .retain(|edge| is_here(&edge.from) && is_here(&edge.to));
    Ok(part)
}

/// What is wrong with the hosts of a pipeline.
pub(super) fn check(pipeline: &Pipeline, images: &Catalogue, problems: &mut Vec<Problem>) {
    let hosts = hosts(pipeline);
    if hosts.is_empty() {
        return;
    }
    for stage in pipeline.stages.iter().filter(|stage| stage.host.is_none()) {
        let said = format!(
            "`{}` has no host, and other stages have; write host = at it, or under [defaults]",
            stage.name.value
        );
        problems.push(Problem::new(&stage.name.at, said));
    }
    for edge in &pipeline.edges {
        let Some((from, to)) = crossing(pipeline, edge) else {
            continue;
        };
        let name = &edge.name.value;
        if let (None, Some(from), Some(to)) = (&pipeline.broker, host(from), host(to)) {
            let said = format!(
                "the edge `{name}` goes from host {from} to host {to}, by an MQTT broker; add [broker] with its address"
            );
            problems.push(Problem::new(&edge.name.at, said));
        }
        for bridge in [OUT, IN] {
            let bridge_name = bridge.name(edge);
            if let Some(taken) = pipeline.stage(&bridge_name) {
                let said = format!(
                    "`{bridge_name}` is the name of the bridge that the edge `{name}` has between its hosts; name one of them otherwise"
                );
                problems.push(Problem::new(&pipeline.stages[taken].name.at, said));
            }
            if !images.contains_key(bridge.app) {
                let said = format!(
                    "the edge `{name}` goes to another host, and there is no image `{}` for that; `grantflow images` builds it",
                    bridge.app
                );
                problems.push(Problem::new(&edge.name.at, said));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::{Source, read, testing};

    const FILE: &str = r#"name = "water"
[broker]
address = "10.0.0.9"
[[stage]]
name = "flow"
app = "sensor"
host = "a"
[[stage]]
name = "mid"
app = "filter"
host = "b"
restart = "never"
[[stage]]
name = "end"
app = "filter"
host = "b"
[[edge]]
from = "flow"
to = "mid"
ring = "64K"
[[edge]]
name = "on"
from = "mid"
to = "end"
[[edge]]
name = "back"
from = "end"
to = "flow"
feedback = true
[[edge]]
name = "log"
from = "end"
to = "dom0"
"#;

    fn pipeline() -> Pipeline {
        read(FILE, "p").unwrap()
    }

    /// A pipeline in a few words.
    fn words(pipeline: &Pipeline) -> Vec<String> {
        let stages = pipeline.stages.iter().map(|stage| {
            let told: Vec<String> = stage
                .parameters
                .iter()
                .map(|p| format!("{}={}", p.key.value, p.value.value))
                .collect();
            format!(
                "{}: {} {}",
                stage.name.value,
                stage.app.value,
                told.join(" ")
            )
            .trim_end()
            .to_owned()
        });
        let edges = pipeline.edges.iter().map(|edge| {
            let back = if edge.feedback { " back" } else { "" };
            format!(
                "{}: {} -> {} {}{back}",
                edge.name.value, edge.from.value, edge.to.value, edge.ring.value
            )
        });
        stages.chain(edges).collect()
    }

    #[test]
    fn each_host_has_its_stages_and_a_bridge_for_each_edge_that_crosses() {
        let part = |host| words(&part(&pipeline(), Some(host)).unwrap());
        assert_eq!(
            part("a"),
            [
                "flow: sensor",
                "flow-out: gateway topic=grantflow-edge/water/flow format=cbor drop=never end=on",
                "back-in: mqtt-in topic=grantflow-edge/water/back end=on",
                "flow: flow -> flow-out 65536",
                "back: back-in -> flow 16384 back",
            ]
        );
        assert_eq!(
            part("b"),
            [
                "mid: filter",
                "end: filter",
                "flow-in: mqtt-in topic=grantflow-edge/water/flow end=on",
                "back-out: gateway topic=grantflow-edge/water/back format=cbor drop=never end=on",
                "flow: flow-in -> mid 65536",
                "on: mid -> end 16384",
                "back: end -> back-out 16384",
                "log: end -> dom0 16384",
            ]
        );
    }

    #[test]
    fn what_is_one_host_s_needs_no_name() {
        let one = read(
            "[[stage]]\nname = \"s\"\napp = \"sensor\"\n[defaults]\nhost = \"a\"\n",
            "p",
        )
        .unwrap();
        for host in [None, Some("a")] {
            assert_eq!(words(&part(&one, host).unwrap()), ["s: sensor"]);
        }
        let told = |pipeline: &Pipeline, host| part(pipeline, host).unwrap_err().to_string();
        assert_eq!(
            told(&pipeline(), None),
            "water runs on the hosts a, b: say with --host which of them this is"
        );
        assert_eq!(
            told(&pipeline(), Some("c")),
            "no stage of water runs on the host `c`; its hosts are: a, b"
        );
        let none = read("[[stage]]\nname = \"s\"\napp = \"sensor\"\n", "p").unwrap();
        assert!(told(&none, Some("a")).contains("names no hosts"));
    }

    #[test]
    fn a_bridge_is_started_again_as_the_stage_beside_it_is() {
        let whole = bridged(&pipeline());
        let restart = |name| whole.stages[whole.stage(name).unwrap()].restart;
        assert_eq!(restart("flow-in"), restart("mid"));
        assert_ne!(restart("flow-in"), restart("flow-out"));
    }

    #[test]
    fn what_is_missing_for_several_hosts_is_told_at_once() {
        let text = FILE
            .replace("[broker]\naddress = \"10.0.0.9\"\n", "")
            .replace(
                "name = \"end\"\napp = \"filter\"\nhost = \"b\"",
                "name = \"flow-in\"\napp = \"filter\"",
            )
            .replace("\"end\"", "\"flow-in\"");
        let pipeline = read(&text, "p").unwrap();
        let mut problems = Vec::new();
        let mut images = testing::images();
        images.remove("mqtt-in");
        check(&pipeline, &images, &mut problems);
        let source = Source {
            name: "p",
            text: &text,
        };
        let told = source.tell_all(&problems);
        for said in [
            "p:12:8: `flow-in` has no host, and other stages have",
            "p:15:8: the edge `flow` goes from host a to host b, by an MQTT broker; add [broker]",
            "p:12:8: `flow-in` is the name of the bridge",
            "p:15:8: the edge `flow` goes to another host, and there is no image `mqtt-in` for that",
        ] {
            assert!(told.contains(said), "{said}\nnot in\n{told}");
        }
    }
}
