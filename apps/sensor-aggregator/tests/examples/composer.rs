//! Runs a pipeline's file in memory: every stage by its function, edges as pipes, a `log` in the place of each gateway.

use std::collections::BTreeMap;
use std::path::Path;

use futures_util::future::{LocalBoxFuture, join_all};
use sensor_aggregator::{Actuate, Aggregator, Detect, Filter, Join, Log, Sensor, Valve};
use stage::counters::Counters;
use stage::runner::run;
use stage::state::State;
use stage::testing::{MemoryHost, Network};
use stage::{Direction, Plan, Stage};
use toml::{Table, Value};

/// What a stage came to.
pub struct Ran {
    pub counters: Counters,
    pub states: Vec<State>,
    /// What it printed.
    pub lines: Vec<String>,
}

/// Every stage, by its name.
pub type Outcome = BTreeMap<String, Ran>;

/// Runs the file `name` of the examples with `more` behind it to its end.
pub fn run_example(name: &str, more: &str) -> Outcome {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../image/pipelines");
    let text = std::fs::read_to_string(folder.join(name)).unwrap();
    run_text(&(text + more), &folder)
}

/// The same for the text of a file that stands in `folder`.
pub fn run_text(text: &str, folder: &Path) -> Outcome {
    let file: Table = text.parse().unwrap();
    let network = Network::new();
    let stages: Vec<Told> = tables(&file, "stage")
        .map(|stage| Told::new(stage, &file, folder))
        .collect();
    let hosts: Vec<MemoryHost> = stages.iter().map(|_| MemoryHost::new(&network)).collect();
    let runs = stages.iter().zip(&hosts).map(|(told, host)| told.run(host));
    let counters = network.block_on(join_all(runs)).unwrap();
    let names = stages.iter().map(|told| told.name.clone());
    let ran = counters.into_iter().zip(hosts).map(|(counters, host)| Ran {
        counters,
        states: host.states.take(),
        lines: host.console.take(),
    });
    let outcome: Outcome = names.zip(ran).collect();
    check_balance(&file, &outcome);
    outcome
}

fn tables<'t>(file: &'t Table, key: &str) -> impl Iterator<Item = &'t Table> {
    let list = file.get(key).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_table)
}

fn text<'t>(table: &'t Table, key: &str) -> Option<&'t str> {
    table.get(key)?.as_str()
}

/// What a stage is told.
struct Told {
    name: String,
    app: String,
    command: String,
    module: &'static [u8],
}

impl Told {
    fn new(stage: &Table, file: &Table, folder: &Path) -> Self {
        let name = text(stage, "name").unwrap().to_owned();
        let app = text(stage, "app").unwrap().to_owned();
        let mut command = format!("stage={name}");
        for edge in tables(file, "edge") {
            let edge_name = edge_name(edge);
            let size = edge.get("ring").and_then(Value::as_str);
            let ring = size.map_or(String::new(), |size| format!(",ring={size}"));
            let is_feedback = edge.get("feedback").and_then(Value::as_bool) == Some(true);
            let feedback = if is_feedback { ",feedback" } else { "" };
            for (end, direction) in [("to", "in"), ("from", "out")] {
                if text(edge, end) == Some(&name) {
                    command += &format!(" {direction}.{edge_name}=1{ring}{feedback}");
                }
            }
        }
        if app != "gateway"
            && let Some(parameters) = stage.get("parameters").and_then(Value::as_table)
        {
            flatten("", parameters, &mut command);
        }
        let module = text(stage, "data").map_or(&[][..], |path| {
            std::fs::read(folder.join(path)).unwrap().leak()
        });
        Self {
            name,
            app,
            command,
            module,
        }
    }

    fn run<'a>(&'a self, host: &'a MemoryHost) -> LocalBoxFuture<'a, Counters> {
        match self.app.as_str() {
            "sensor" => self.run_as::<Sensor>(host),
            "filter" => self.run_as::<Filter>(host),
            "aggregator" => self.run_as::<Aggregator>(host),
            "join" => self.run_as::<Join>(host),
            "detect" => self.run_as::<Detect>(host),
            "actuate" => self.run_as::<Actuate>(host),
            "valve" => self.run_as::<Valve>(host),
            "log" | "gateway" => self.run_as::<Log>(host),
            other => panic!("no function for the app {other}"),
        }
    }

    fn run_as<'a, S: Stage + 'a>(&'a self, host: &'a MemoryHost) -> LocalBoxFuture<'a, Counters> {
        Box::pin(async move {
            let plan = Plan::new::<S>(self.command.as_bytes(), self.module);
            let plan = plan.unwrap_or_else(|error| panic!("{}: {error}", self.name));
            let ran = run::<S, _>(&plan, host).await;
            ran.unwrap_or_else(|error| panic!("{}: {error}", self.name))
        })
    }
}

fn edge_name(edge: &Table) -> &str {
    text(edge, "name").or(text(edge, "from")).unwrap()
}

/// Appends `key=value` for each parameter, tables in tables as keys with dots.
fn flatten(prefix: &str, table: &Table, command: &mut String) {
    for (key, value) in table {
        let key = format!("{prefix}{key}");
        match value {
            Value::Table(inner) => flatten(&format!("{key}."), inner, command),
            Value::String(text) => *command += &format!(" {key}=\"{text}\""),
            Value::Integer(number) => *command += &format!(" {key}={number}"),
            Value::Float(number) => *command += &format!(" {key}={number}"),
            other => panic!("{key}: {other:?}"),
        }
    }
}

/// What holds of every pipeline that has ended: nothing vanished, in a stage or on an edge.
fn check_balance(file: &Table, outcome: &Outcome) {
    for (name, ran) in outcome {
        assert!(ran.counters.stage.balanced(), "{name}: {:?}", ran.counters);
        assert_eq!(ran.states.last(), Some(&State::Done), "{name}");
    }
    for edge in tables(file, "edge") {
        let name = edge_name(edge);
        let counters = |end, direction| {
            let stage = text(edge, end).unwrap();
            outcome[stage].counters.edge(direction, name).unwrap()
        };
        let (sent, received) = (
            counters("from", Direction::Out),
            counters("to", Direction::In),
        );
        assert_eq!(
            sent.readings,
            received.readings + received.lost + sent.lost,
            "{name}"
        );
    }
}

/// A record that `log` printed.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    pub name: String,
    /// Whole seconds.
    pub second: i64,
    /// The text of its value: a number, `true` or `false`.
    pub value: String,
}

impl Ran {
    /// What a `log` printed.
    pub fn records(&self) -> Vec<Line> {
        self.lines.iter().map(|line| parsed(line)).collect()
    }
}

fn parsed(line: &str) -> Line {
    let field = |key: &str| {
        let (_, rest) = line.split_once(&format!("\"{key}\":"))?;
        Some(rest.split([',', '}']).next()?.trim_matches('"'))
    };
    Line {
        name: field("bn").unwrap().to_owned(),
        second: field("bt")
            .unwrap()
            .split('.')
            .next()
            .unwrap()
            .parse()
            .unwrap(),
        value: field("v").or(field("vb")).unwrap().to_owned(),
    }
}
