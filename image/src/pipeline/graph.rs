//! A pipeline as a picture: DOT for Graphviz, and SVG drawn here.
//!
//! Readings flow from left to right: a stage stands to the right of all whose readings it takes, and a feedback edge runs back.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use super::model::{Edge, End, Pipeline, Stage};

/// What is said of stages and edges beside what the file says, by their names: how they are while the pipeline runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks {
    /// Of stages.
    pub stages: BTreeMap<String, Mark>,
    /// Of edges.
    pub edges: BTreeMap<String, Mark>,
}

/// What is said of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// In a few words, any characters.
    pub text: String,
    /// Whether it is drawn in red.
    pub is_fault: bool,
}

/// The most characters of a mark that have room in a box, or between two.
const MARK_MAX: usize = 21;

impl Mark {
    fn short(&self) -> String {
        self.text.chars().take(MARK_MAX).collect()
    }
}

/// Text between XML's tags.
fn xml(text: &str) -> String {
    let escaped = |c: char| match c {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '"' => "&quot;".to_owned(),
        // No escape makes these legal in XML.
        c if c.is_control() => "?".to_owned(),
        c => c.to_string(),
    };
    text.chars().map(escaped).collect()
}

/// Text between DOT's quotes.
fn quoted(text: &str) -> String {
    let escaped = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        c if c.is_control() => "?".to_owned(),
        c => c.to_string(),
    };
    text.chars().map(escaped).collect()
}

/// What is drawn: the stages, and dom0 where an edge begins or ends there.
#[derive(Debug, PartialEq, Eq)]
struct Node<'p> {
    /// Its name.
    name: &'p str,
    /// What it runs.
    about: String,
    /// Its column, from the left.
    column: usize,
    /// Its row in the column, from the top.
    row: usize,
}

/// Bytes as one writes them: `16K`.
fn bytes(number: u32) -> String {
    match number {
        // No ring: a topic at a broker ([`super::hosts::bridged`]).
        0 => "MQTT".to_owned(),
        n if n >= 1 << 20 && n.is_multiple_of(1 << 20) => format!("{}M", n >> 20),
        n if n >= 1 << 10 && n.is_multiple_of(1 << 10) => format!("{}K", n >> 10),
        n => n.to_string(),
    }
}

/// What a stage runs, and where, if the file says.
fn about(stage: &Stage) -> String {
    let app = &stage.app.value;
    match &stage.host {
        Some(host) => format!("{app} on {}", host.value),
        None => app.clone(),
    }
}

/// The pipeline in the language of Graphviz. Names need no escaping: their letters are few.
pub fn dot(pipeline: &Pipeline, marks: &Marks) -> String {
    let mut text = format!(
        "digraph \"{}\" {{\n  rankdir=LR;\n  node [shape=box, style=rounded];\n",
        pipeline.name.value
    );
    let marked = |mark: Option<&Mark>| {
        let said = mark.map(|mark| format!("\\n{}", quoted(&mark.text)));
        let red = mark.is_some_and(|mark| mark.is_fault);
        let red = if red {
            ", color=red, fontcolor=red"
        } else {
            ""
        };
        (said.unwrap_or_default(), red)
    };
    for stage in &pipeline.stages {
        let (said, red) = marked(marks.stages.get(&stage.name.value));
        let _ = writeln!(
            text,
            "  \"{0}\" [label=\"{0}\\n{1}{said}\"{red}];",
            stage.name.value,
            about(stage)
        );
    }
    for edge in &pipeline.edges {
        let style = if edge.feedback {
            ", style=dashed, constraint=false"
        } else {
            ""
        };
        let (said, red) = marked(marks.edges.get(&edge.name.value));
        let (from, to) = (&edge.from.value, &edge.to.value);
        let label = format!("{} {}{said}", edge.name.value, bytes(edge.ring.value));
        let _ = writeln!(
            text,
            "  \"{from}\" -> \"{to}\" [label=\"{label}\"{style}{red}];"
        );
    }
    text.push_str("}\n");
    text
}

/// The column of each stage: one more than the largest of those whose readings it takes. Circles were refused before; in one
/// that was not, a stage simply stops moving to the right.
fn columns(pipeline: &Pipeline) -> Vec<usize> {
    let place: HashMap<&str, usize> = pipeline
        .stages
        .iter()
        .enumerate()
        .map(|(number, stage)| (stage.name.value.as_str(), number))
        .collect();
    let number = |end: &End| match end {
        End::Stage(name) => place.get(name.as_str()).copied(),
        End::Dom0 => None,
    };
    let edges: Vec<(usize, usize)> = pipeline
        .edges
        .iter()
        .filter(|edge| !edge.feedback)
        .filter_map(|edge| Some((number(&edge.from.value)?, number(&edge.to.value)?)))
        .collect();
    let from_dom0 = pipeline
        .edges
        .iter()
        .any(|edge| edge.from.value == End::Dom0);
    let mut columns = vec![usize::from(from_dom0); pipeline.stages.len()];
    for _ in 0..pipeline.stages.len() {
        let mut moved = false;
        for (from, to) in &edges {
            if columns[*to] <= columns[*from] {
                columns[*to] = columns[*from] + 1;
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
    columns
}

/// Where everything stands.
fn nodes(pipeline: &Pipeline) -> Vec<Node<'_>> {
    let columns = columns(pipeline);
    let mut rows: HashMap<usize, usize> = HashMap::new();
    let mut nodes: Vec<Node<'_>> = Vec::new();
    let mut add = |name, about: String, column| {
        let row = rows.entry(column).or_default();
        nodes.push(Node {
            name,
            about,
            column,
            row: *row,
        });
        *row += 1;
    };
    // A source of dom0's stands left of all, its sink right of all.
    let last = columns.iter().copied().max().unwrap_or(0);
    if pipeline
        .edges
        .iter()
        .any(|edge| edge.from.value == End::Dom0)
    {
        add(FROM_DOM0, "into the pipeline".to_owned(), 0);
    }
    for (stage, column) in pipeline.stages.iter().zip(&columns) {
        add(&stage.name.value, about(stage), *column);
    }
    if pipeline.edges.iter().any(|edge| edge.to.value == End::Dom0) {
        add(TO_DOM0, "out of the pipeline".to_owned(), last + 1);
    }
    nodes
}

/// How dom0 is called where it writes, and where it reads; no stage can have these names.
const FROM_DOM0: &str = "dom0 (feed)";
const TO_DOM0: &str = "dom0 (reader)";

const WIDTH: usize = 150;
const HEIGHT: usize = 48;
const GAP_X: usize = 130;
const GAP_Y: usize = 36;
const MARGIN: usize = 24;

const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#1b1f24}.app,.ring{font-size:11px;fill:#57606a}\
rect{fill:#f6f8fa;stroke:#57606a;rx:8px}path{fill:none;stroke:#0969da;stroke-width:1.5}.back{stroke-dasharray:5 4}\
#tip path{fill:#0969da;stroke:none}rect.bad,path.bad{stroke:#d1242f;stroke-width:2.5}text.bad{fill:#d1242f}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.app,.ring{fill:#9198a1}rect{fill:#161b22;stroke:#9198a1}\
path{stroke:#4493f8}#tip path{fill:#4493f8}rect.bad,path.bad{stroke:#f85149}text.bad{fill:#f85149}}";

/// The pipeline as a picture that stands alone, light or dark as its reader is.
pub fn svg(pipeline: &Pipeline, marks: &Marks) -> String {
    let nodes = nodes(pipeline);
    let most = |of: fn(&Node<'_>) -> usize| nodes.iter().map(of).max().map_or(1, |most| most + 1);
    let width = 2 * MARGIN + most(|node| node.column) * (WIDTH + GAP_X) - GAP_X;
    // A feedback edge runs below everything.
    let height = 2 * MARGIN + most(|node| node.row) * (HEIGHT + GAP_Y);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         role=\"img\" aria-label=\"pipeline {}\">\n<style>{STYLE}</style>\n\
         <defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" orient=\"auto\">\
         <path d=\"M0 0 8 4 0 8z\"/></marker></defs>\n",
        pipeline.name.value
    );
    for edge in &pipeline.edges {
        let mark = marks.edges.get(&edge.name.value);
        draw_edge(&mut text, &nodes, edge, mark, height);
    }
    for node in &nodes {
        let (x, y) = corner(node);
        let middle = x + WIDTH / 2;
        let mark = marks.stages.get(node.name);
        let bad = mark.filter(|mark| mark.is_fault);
        let (rect, app) = bad.map_or(("", "app"), |_| (" class=\"bad\"", "app bad"));
        // Three lines stand closer together than two.
        let (first, second) = if mark.is_some() { (16, 29) } else { (20, 37) };
        let _ = write!(
            text,
            "<g><rect{rect} x=\"{x}\" y=\"{y}\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\
             <text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>\
             <text class=\"app\" x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            y + first,
            node.name,
            y + second,
            node.about
        );
        if let Some(mark) = mark {
            let _ = write!(
                text,
                "<text class=\"{app}\" x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                y + 42,
                xml(&mark.short())
            );
        }
        text.push_str("</g>\n");
    }
    text.push_str("</svg>\n");
    text
}

fn corner(node: &Node<'_>) -> (usize, usize) {
    (
        MARGIN + node.column * (WIDTH + GAP_X),
        MARGIN + node.row * (HEIGHT + GAP_Y),
    )
}

fn draw_edge(
    text: &mut String,
    nodes: &[Node<'_>],
    edge: &Edge,
    mark: Option<&Mark>,
    bottom: usize,
) {
    let find = |end: &End, dom0: &str| {
        nodes.iter().find(|node| match end {
            End::Dom0 => node.name == dom0,
            End::Stage(name) => node.name == name,
        })
    };
    let (Some(from), Some(to)) = (
        find(&edge.from.value, FROM_DOM0),
        find(&edge.to.value, TO_DOM0),
    ) else {
        return;
    };
    let (x1, y1) = corner(from);
    let (x2, y2) = corner(to);
    let (x1, y1, y2) = (x1 + WIDTH, y1 + HEIGHT / 2, y2 + HEIGHT / 2);
    // What is said of it stands in a second line.
    let second = if mark.is_some() { 12 } else { 0 };
    let (line, at) = if edge.feedback {
        let low = bottom - MARGIN / 2;
        let (below, into) = (x1 + GAP_X / 3, x2 - MARGIN / 2);
        let line = format!(
            "M{x1} {y1}C{below} {y1} {below} {low} {} {low}H{x2}C{into} {low} {into} {y2} {x2} {y2}",
            x1 - MARGIN
        );
        (line, (usize::midpoint(x1, x2), low - 4 - second))
    } else {
        let middle = usize::midpoint(x1, x2);
        let line = format!("M{x1} {y1}C{middle} {y1} {middle} {y2} {x2} {y2}");
        // Beside the writer's end, on the side that the line does not turn to.
        let side = if y2 < y1 { y1 + 15 } else { y1 - 6 - second };
        (line, (x1 + 8, side))
    };
    let is_fault = mark.is_some_and(|mark| mark.is_fault);
    let class = match (edge.feedback, is_fault) {
        (false, false) => "",
        (true, false) => " class=\"back\"",
        (false, true) => " class=\"bad\"",
        (true, true) => " class=\"back bad\"",
    };
    let _ = writeln!(
        text,
        "<path{class} d=\"{line}\" marker-end=\"url(#tip)\"/><text class=\"ring\" x=\"{}\" y=\"{}\">{} {}</text>",
        at.0,
        at.1,
        edge.name.value,
        bytes(edge.ring.value)
    );
    if let Some(mark) = mark {
        let bad = if is_fault { " bad" } else { "" };
        let _ = writeln!(
            text,
            "<text class=\"ring{bad}\" x=\"{}\" y=\"{}\">{}</text>",
            at.0,
            at.1 + second,
            xml(&mark.short())
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::read;

    const VALVE: &str = r#"
name = "valve"
[[stage]]
name = "flow"
app = "sensor"
[[stage]]
name = "detect"
app = "detect"
[[stage]]
name = "valve"
app = "actuate"
[[edge]]
from = "flow"
to = "detect"
[[edge]]
from = "detect"
to = "valve"
[[edge]]
name = "command"
from = "valve"
to = "flow"
feedback = true
ring = "1K"
[[edge]]
name = "log"
from = "valve"
to = "dom0"
"#;

    #[test]
    fn readings_flow_from_left_to_right() {
        let pipeline = read(VALVE, "p").unwrap();
        let columns: Vec<(&str, usize)> = nodes(&pipeline)
            .iter()
            .map(|node| (node.name, node.column))
            .collect();
        assert_eq!(
            columns,
            [("flow", 0), ("detect", 1), ("valve", 2), (TO_DOM0, 3)]
        );
    }

    #[test]
    fn dot_names_every_stage_and_edge() {
        let expected = "digraph \"valve\" {
  rankdir=LR;
  node [shape=box, style=rounded];
  \"flow\" [label=\"flow\\nsensor\"];
  \"detect\" [label=\"detect\\ndetect\"];
  \"valve\" [label=\"valve\\nactuate\"];
  \"flow\" -> \"detect\" [label=\"flow 16K\"];
  \"detect\" -> \"valve\" [label=\"detect 16K\"];
  \"valve\" -> \"flow\" [label=\"command 1K\", style=dashed, constraint=false];
  \"valve\" -> \"dom0\" [label=\"log 16K\"];
}
";
        assert_eq!(dot(&read(VALVE, "p").unwrap(), &Marks::default()), expected);
    }

    #[test]
    fn the_picture_shows_every_box_once_and_every_edge_once() {
        let picture = svg(&read(VALVE, "p").unwrap(), &Marks::default());
        assert_eq!(picture.matches("<rect").count(), 4);
        assert_eq!(picture.matches("marker-end").count(), 4);
        assert_eq!(picture.matches("class=\"back\"").count(), 1);
        assert!(picture.contains(">command 1K</text>"));
    }

    #[test]
    fn even_a_circle_is_drawn() {
        let circle = VALVE.replace("feedback = true", "feedback = false");
        assert!(svg(&read(&circle, "p").unwrap(), &Marks::default()).ends_with("</svg>\n"));
    }

    /// How the pipeline may be: one stage and one edge at fault, and a state with all that would end a string.
    fn marks() -> Marks {
        let mark = |text: &str, is_fault| Mark {
            text: text.into(),
            is_fault,
        };
        Marks {
            stages: BTreeMap::from([
                ("flow".into(), mark("running", false)),
                ("detect".into(), mark("failed \"<&\\\x1b>\"", true)),
                ("elsewhere".into(), mark("is not in the file", true)),
            ]),
            edges: BTreeMap::from([
                ("flow".into(), mark("12/s", false)),
                ("command".into(), mark("0/s, 3 lost", true)),
            ]),
        }
    }

    #[test]
    fn dot_tells_how_a_running_pipeline_is() {
        let dot = dot(&read(VALVE, "p").unwrap(), &marks());
        for line in [
            r#"  "flow" [label="flow\nsensor\nrunning"];"#,
            r#"  "detect" [label="detect\ndetect\nfailed \"<&\\?>\"", color=red, fontcolor=red];"#,
            r#"  "flow" -> "detect" [label="flow 16K\n12/s"];"#,
            r#"  "valve" -> "flow" [label="command 1K\n0/s, 3 lost", style=dashed, constraint=false, color=red, fontcolor=red];"#,
            r#"  "valve" -> "dom0" [label="log 16K"];"#,
        ] {
            assert!(dot.lines().any(|one| one == line), "{line}\n{dot}");
        }
        assert!(!dot.contains("elsewhere"));
    }

    #[test]
    fn the_picture_tells_how_a_running_pipeline_is_and_faults_are_red() {
        let picture = svg(&read(VALVE, "p").unwrap(), &marks());
        assert_eq!(picture.matches("<rect class=\"bad\"").count(), 1);
        assert_eq!(picture.matches("class=\"back bad\"").count(), 1);
        assert!(picture.contains(">running</text>") && picture.contains(">12/s</text>"));
        assert!(picture.contains(">failed &quot;&lt;&amp;\\?&gt;&quot;</text>"));
        assert!(
            picture.contains("<text class=\"ring bad\"") && picture.contains(">0/s, 3 lost</text>")
        );
        let long = Mark {
            text: "<".repeat(80),
            is_fault: false,
        };
        assert_eq!(long.short().len(), MARK_MAX);
    }
}
