use proptest::prelude::*;

use super::*;
use crate::pipeline::testing::images;
use crate::pipeline::{Source, read};

fn told(text: &str) -> Vec<String> {
    let pipeline = read(text, "p").expect("the file reads");
    let source = Source {
        name: "p.toml",
        text,
    };
    let told = source.tell_all(&check(&pipeline, &images()));
    told.lines().map(str::to_owned).collect()
}

#[test]
fn a_sound_pipeline_has_no_problems() {
    let text = r#"
[[stage]]
name = "s"
app = "sensor"
parameters = { rate = "max", signal = "sine", name.1 = "x" }
[[stage]]
name = "f"
app = "filter"
parameters.window = "5s"
[[edge]]
from = "s"
to = "f"
[[edge]]
from = "f"
to = "dom0"
"#;
    assert_eq!(told(text), Vec::<String>::new());
}

#[test]
fn c1_every_wrong_word_is_told_with_what_would_be_right() {
    let text = r#"[[stage]]
name = "s"
app = "sensr"
[[stage]]
name = "f"
app = "filter"
parameters = { windw = "5s", stage = "x", in.a = "?" }
[[stage]]
name = "f"
app = "filter"
[stage.parameters]
window = "5 seconds"
[[stage]]
name = "dom0"
app = "sensor"
parameters.signal = "cosine"
[[edge]]
from = "f"
to = "g"
[[edge]]
name = "x"
from = "s"
to = "s"
[[edge]]
name = "y"
from = "dom0"
to = "f"
policy = "drop-newest"
"#;
    assert_eq!(
        told(text),
        [
            "p.toml:3:7: there is no image `sensr`; did you mean `sensor`?",
            "p.toml:7:16: `filter` takes no parameter `windw`; did you mean `window`?",
            "p.toml:7:30: `stage` comes from its `name`; remove it here",
            "p.toml:7:46: `in.a` comes from [[edge]]; remove it here",
            "p.toml:9:8: two stages are named `f`; name one of them otherwise",
            "p.toml:12:10: `window`: \"5 seconds\" is not a span of time such as 500ms, 30s, 15m, 24h or 7d",
            "p.toml:14:8: no stage can be named `dom0`, which stands for programs of the host; name it otherwise",
            "p.toml:14:8: `dom0` has 0 output edges ([[edge]] with from = \"dom0\"), and `sensor` takes 1..",
            "p.toml:16:21: `signal`: \"cosine\" is not one of csv, sine",
            "p.toml:19:6: there is no stage `g`; there are: s, f, f, dom0",
            "p.toml:23:6: the edge `x` goes from `s` to itself; name another stage",
            "p.toml:26:8: the edge `y` comes from dom0, and a policy is of a stage that writes; remove `policy`",
        ]
    );
}

#[test]
fn an_image_gets_as_many_edges_as_it_takes() {
    let text = r#"[[stage]]
name = "a"
app = "sensor"
[[stage]]
name = "g"
app = "gateway"
"#;
    assert_eq!(
        told(text),
        [
            "p.toml:2:8: `a` has 0 output edges ([[edge]] with from = \"a\"), and `sensor` takes 1..",
            "p.toml:5:8: `g` has 0 input edges ([[edge]] with to = \"g\"), and `gateway` takes 1",
        ]
    );
}

#[test]
fn c2_more_edges_than_a_stage_can_wait_on_are_refused() {
    let edges = |count: usize| {
        let stages = "[[stage]]\nname = \"f\"\napp = \"filter\"\n".to_owned();
        (0..count).fold(stages, |text, n| {
            // In and out, in turn: they are waited on together.
            let (from, to) = if n % 2 == 0 {
                ("dom0", "f")
            } else {
                ("f", "dom0")
            };
            format!("{text}[[edge]]\nname = \"e{n}\"\nfrom = \"{from}\"\nto = \"{to}\"\n")
        })
    };
    assert_eq!(told(&edges(MAX_EDGES)), Vec::<String>::new());
    let told = told(&edges(MAX_EDGES + 1));
    assert!(
        told[0].contains("121 edges, in and out, and a stage can wait on 120"),
        "{told:?}"
    );
}

/// A file of filters with these edges between them; the third of each says whether it is a feedback.
fn filters(count: usize, edges: &[(usize, usize, bool)]) -> String {
    let mut text = String::new();
    for stage in 0..count {
        text += &format!("[[stage]]\nname = \"s{stage}\"\napp = \"filter\"\n");
    }
    for (number, (from, to, feedback)) in edges.iter().enumerate() {
        text += &format!(
            "[[edge]]\nname = \"e{number}\"\nfrom = \"s{from}\"\nto = \"s{to}\"\nfeedback = {feedback}\n"
        );
    }
    text
}

#[test]
fn c2_a_circle_is_told_whole_and_one_on_purpose_is_none() {
    let lines = told(&filters(
        4,
        &[(0, 1, false), (1, 2, false), (2, 1, false), (2, 3, false)],
    ));
    assert_eq!(lines.len(), 1);
    assert!(
        lines[0].contains("the edges s1 -> s2 -> s1 make a circle"),
        "{lines:?}"
    );
    assert_eq!(
        told(&filters(3, &[(0, 1, false), (1, 2, false), (2, 1, true)])),
        Vec::<String>::new()
    );
}

#[test]
fn a_long_chain_is_no_deep_recursion() {
    let edges: Vec<_> = (0..9_999).map(|n| (n, n + 1, false)).collect();
    let next: Vec<Vec<(usize, &Edge)>> = Vec::new();
    assert!(circles(&next).is_empty());
    // A file that long is refused by its size, so that the walk itself is asked.
    let pipeline = read(&filters(2, &[(0, 1, false)]), "p").expect("the file reads");
    let edge = &pipeline.edges[0];
    let mut next: Vec<Vec<(usize, &Edge)>> = vec![Vec::new(); 10_000];
    for (from, to, _) in &edges {
        next[*from].push((*to, edge));
    }
    assert!(circles(&next).is_empty());
    next[9_999].push((0, edge));
    assert_eq!(circles(&next)[0].0.len(), 10_000);
}

/// Whether the graph can be emptied by taking away, again and again, stages that nothing leads to.
fn has_circle(count: usize, edges: &[(usize, usize, bool)]) -> bool {
    let mut left: Vec<usize> = (0..count).collect();
    loop {
        let before = left.len();
        let leads = |to: usize| {
            edges.iter().any(|(from, end, feedback)| {
                !feedback && *end == to && *from != to && left.contains(from)
            })
        };
        let kept: Vec<usize> = left.iter().copied().filter(|stage| leads(*stage)).collect();
        left = kept;
        if left.len() == before {
            return !left.is_empty();
        }
    }
}

proptest! {
    /// Stages 6 and 7 are not there.
    #[test]
    fn c2_circles_loops_and_loose_ends_are_found_just_where_there_are_some(
        edges in prop::collection::vec((0..8usize, 0..8usize, prop::bool::weighted(0.2)), 0..12)
    ) {
        let told = told(&filters(6, &edges));
        let count = |said: &str| told.iter().filter(|line| line.contains(said)).count();
        let there: Vec<_> = edges.iter().copied().filter(|(from, to, _)| *from < 6 && *to < 6).collect();
        prop_assert_eq!(count("make a circle") > 0, has_circle(6, &there));
        let loose = edges.iter().flat_map(|(from, to, _)| [from, to]).filter(|end| **end >= 6);
        prop_assert_eq!(count("there is no stage"), loose.count());
        prop_assert_eq!(count("to itself"), edges.iter().filter(|(from, to, _)| from == to).count());
    }
}
