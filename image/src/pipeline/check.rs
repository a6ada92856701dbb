//! Holds a pipeline against the images it names: everything that can be known before anything is started.

use std::collections::{BTreeMap, HashMap};

use stage::note::Description;
use stage::params::{Direction, MAX_EDGES};

use super::model::{Edge, End, Located, Parameter, Pipeline, Stage};
use super::problem::Problem;
use super::similar::suggest;

/// The images there are, each by the name of its app with what its note says.
pub type Catalogue = BTreeMap<String, Description>;

/// Parameters that the tool writes itself, and what in the file they come from.
const OURS: [(&str, &str); 3] = [
    ("stage", "its `name`"),
    ("in.", "[[edge]]"),
    ("out.", "[[edge]]"),
];

/// Everything that is wrong with the pipeline as a whole, in no order.
pub fn check(pipeline: &Pipeline, images: &Catalogue) -> Vec<Problem> {
    let mut problems = Vec::new();
    if pipeline.stages.is_empty() {
        let said = "the file has no stage; begin with [[stage]], its name and its app";
        problems.push(Problem::new(&(0..0), said));
    }
    unique(
        pipeline.stages.iter().map(|stage| &stage.name),
        "stages",
        &mut problems,
    );
    unique(
        pipeline.edges.iter().map(|edge| &edge.name),
        "edges",
        &mut problems,
    );
    for stage in &pipeline.stages {
        check_stage(pipeline, stage, images, &mut problems);
    }
    for edge in &pipeline.edges {
        check_edge(pipeline, edge, &mut problems);
    }
    check_circles(pipeline, &mut problems);
    super::hosts::check(pipeline, images, &mut problems);
    problems
}

/// A name that is given a second time; `what` are the things it names.
fn unique<'p>(
    names: impl Iterator<Item = &'p Located<String>>,
    what: &str,
    problems: &mut Vec<Problem>,
) {
    let mut seen: HashMap<&str, ()> = HashMap::new();
    for name in names {
        if seen.insert(&name.value, ()).is_some() {
            let said = format!(
                "two {what} are named `{}`; name one of them otherwise",
                name.value
            );
            problems.push(Problem::new(&name.at, said));
        }
    }
}

fn check_stage(
    pipeline: &Pipeline,
    stage: &Stage,
    images: &Catalogue,
    problems: &mut Vec<Problem>,
) {
    if stage.name.value == End::DOM0 {
        let said = "no stage can be named `dom0`, which stands for programs of the host; name it otherwise";
        problems.push(Problem::new(&stage.name.at, said));
    }
    let Some(image) = images.get(&stage.app.value) else {
        let known = suggest(&stage.app.value, images.keys().map(String::as_str));
        let said = format!("there is no image `{}`; {known}", stage.app.value);
        problems.push(Problem::new(&stage.app.at, said));
        return;
    };
    let mut keys: HashMap<&str, ()> = HashMap::new();
    for parameter in &stage.parameters {
        if keys.insert(&parameter.key.value, ()).is_some() {
            let said = format!("`{}` is given twice", parameter.key.value);
            problems.push(Problem::new(&parameter.key.at, said));
        }
        check_parameter(parameter, image, problems);
    }
    for direction in [Direction::In, Direction::Out] {
        check_count(pipeline, stage, image, direction, problems);
    }
    check_ports(pipeline, stage, problems);
}

fn ours(key: &str) -> Option<&'static (&'static str, &'static str)> {
    OURS.iter()
        .find(|(ours, _)| key == *ours || (ours.ends_with('.') && key.starts_with(ours)))
}

/// Whether the tool writes the parameter of this key itself.
pub(super) fn is_ours(key: &str) -> bool {
    ours(key).is_some()
}

fn check_parameter(parameter: &Parameter, image: &Description, problems: &mut Vec<Problem>) {
    let (key, value) = (&parameter.key.value, &parameter.value.value);
    if let Some((_, instead)) = ours(key) {
        let said = format!("`{key}` comes from {instead}; remove it here");
        problems.push(Problem::new(&parameter.key.at, said));
        return;
    }
    let Some(known) = image.parameters.iter().find(|known| known.matches(key)) else {
        let names = image.parameters.iter().map(|known| known.name.as_str());
        let names = names.filter(|name| !is_ours(name));
        let said = format!(
            "`{}` takes no parameter `{key}`; {}",
            image.app,
            suggest(key, names)
        );
        problems.push(Problem::new(&parameter.key.at, said));
        return;
    };
    if let Err(expected) = known.check(value) {
        let said = format!("`{key}`: \"{value}\" is not {expected}");
        problems.push(Problem::new(&parameter.value.at, said));
    } else if value.contains(|c: char| c == '"' || c.is_control()) {
        let said = format!(
            "`{key}` holds a double quote or a control character, which no parameter can carry"
        );
        problems.push(Problem::new(&parameter.value.at, said));
    }
}

/// Whether the image takes as many edges of a direction as the stage has.
fn check_count(
    pipeline: &Pipeline,
    stage: &Stage,
    image: &Description,
    direction: Direction,
    problems: &mut Vec<Problem>,
) {
    let is_here =
        |end: &Located<End>| matches!(&end.value, End::Stage(name) if *name == stage.name.value);
    let here = pipeline.edges.iter().filter(|edge| match direction {
        Direction::In => is_here(&edge.to),
        Direction::Out => is_here(&edge.from),
    });
    let count = here.count();
    let kind = image.edges.iter().find(|kind| kind.direction == direction);
    if kind.map_or(count == 0, |kind| kind.admits(count)) {
        return;
    }
    let (end, takes) = match direction {
        Direction::In => ("to", "input"),
        Direction::Out => ("from", "output"),
    };
    let most = kind.map_or("none", |kind| kind.count.as_str());
    let name = &stage.name.value;
    let said = format!(
        "`{name}` has {count} {takes} edges ([[edge]] with {end} = \"{name}\"), and `{}` takes {most}",
        image.app
    );
    problems.push(Problem::new(&stage.name.at, said));
}

/// A stage waits on all its edges at once, whatever their direction.
fn check_ports(pipeline: &Pipeline, stage: &Stage, problems: &mut Vec<Problem>) {
    let own = End::Stage(stage.name.value.clone());
    let edges = pipeline.edges.iter();
    let ends = edges.flat_map(|edge| [&edge.from.value, &edge.to.value]);
    let count = ends.filter(|end| **end == own).count();
    if count > MAX_EDGES {
        let said = format!(
            "`{}` has {count} edges, in and out, and a stage can wait on {MAX_EDGES}; put a stage between",
            stage.name.value
        );
        problems.push(Problem::new(&stage.name.at, said));
    }
}

fn check_edge(pipeline: &Pipeline, edge: &Edge, problems: &mut Vec<Problem>) {
    for end in [&edge.from, &edge.to] {
        if let End::Stage(name) = &end.value
            && pipeline.stage(name).is_none()
        {
            let stages = pipeline
                .stages
                .iter()
                .map(|stage| stage.name.value.as_str());
            let said = format!("there is no stage `{name}`; {}", suggest(name, stages));
            problems.push(Problem::new(&end.at, said));
        }
    }
    if edge.drop_newest && edge.from.value == End::Dom0 {
        let said = format!(
            "the edge `{}` comes from dom0, and a policy is of a stage that writes; remove `policy`",
            edge.name.value
        );
        problems.push(Problem::new(&edge.from.at, said));
    }
    if edge.from.value == edge.to.value {
        let said = format!(
            "the edge `{}` goes from `{}` to itself; name another stage",
            edge.name.value, edge.from.value
        );
        problems.push(Problem::new(&edge.to.at, said));
    }
}

/// Circles of edges none of which says that it is one on purpose: data that waits for itself.
fn check_circles(pipeline: &Pipeline, problems: &mut Vec<Problem>) {
    let place: HashMap<&str, usize> = pipeline
        .stages
        .iter()
        .enumerate()
        .map(|(number, stage)| (stage.name.value.as_str(), number))
        .collect();
    let mut next: Vec<Vec<(usize, &Edge)>> = vec![Vec::new(); pipeline.stages.len()];
    for edge in pipeline.edges.iter().filter(|edge| !edge.feedback) {
        if let (End::Stage(from), End::Stage(to)) = (&edge.from.value, &edge.to.value)
            && from != to
            && let (Some(from), Some(to)) = (place.get(from.as_str()), place.get(to.as_str()))
        {
            next[*from].push((*to, edge));
        }
    }
    for (circle, edge) in circles(&next) {
        let mut names: Vec<&str> = circle
            .iter()
            .map(|stage| pipeline.stages[*stage].name.value.as_str())
            .collect();
        names.extend(names.first().copied());
        let said = format!(
            "the edges {} make a circle; write feedback = true at the one that carries commands back",
            names.join(" -> ")
        );
        problems.push(Problem::new(&edge.name.at, said));
    }
}

/// The circles that a walk in depth meets, each with the edge that closes it. Without recursion: a file may be a long chain.
fn circles<'e>(next: &[Vec<(usize, &'e Edge)>]) -> Vec<(Vec<usize>, &'e Edge)> {
    let mut found = Vec::new();
    let mut done = vec![false; next.len()];
    for start in 0..next.len() {
        // The way from `start` to here, each with the edges of it that were looked at.
        let mut way: Vec<(usize, usize)> = vec![(start, 0)];
        while let Some((here, looked)) = way.last_mut() {
            if done[*here] {
                way.pop();
                continue;
            }
            let Some((to, edge)) = next[*here].get(*looked) else {
                done[*here] = true;
                way.pop();
                continue;
            };
            *looked += 1;
            match way.iter().position(|(on_way, _)| on_way == to) {
                Some(first) => found.push((
                    way[first..].iter().map(|(stage, _)| *stage).collect(),
                    *edge,
                )),
                None => way.push((*to, 0)),
            }
        }
    }
    found
}

#[cfg(test)]
mod tests;
