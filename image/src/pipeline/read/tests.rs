use proptest::prelude::*;

use super::*;
use crate::pipeline::Source;

const WATER: &str = r#"
[defaults]
ring = "4K"

[[stage]]
name = "flow"
app = "sensor"
memory = 1
data = "data/water-flow.csv"
[stage.parameters]
rate = "max"
name.1 = "water-flow"
start = 2020-01-01T00:00:00Z
count = 1_000

[[stage]]
name = "windows"
app = "aggregator"
restart = "always"
parameters = { window = "24h" }

[[edge]]
from = "flow"
to = "windows"

[[edge]]
name = "out"
from = "windows"
to = "dom0"
ring = 65536
"#;

fn told(text: &str) -> Vec<String> {
    let problems = read(text, "p").expect_err("the file is wrong");
    let source = Source {
        name: "p.toml",
        text,
    };
    source
        .tell_all(&problems)
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_file_is_read_as_it_is_written() {
    let pipeline = read(WATER, "waterworks").unwrap();
    assert_eq!(pipeline.name.value, "waterworks");
    let [flow, windows] = &pipeline.stages[..] else {
        panic!("{:?}", pipeline.stages)
    };
    assert_eq!(
        (flow.name.value.as_str(), flow.app.value.as_str()),
        ("flow", "sensor")
    );
    assert_eq!(flow.memory.as_ref().map(|memory| memory.value), Some(1));
    assert_eq!(
        (flow.restart, windows.restart),
        (Restart::OnFailure, Restart::Always)
    );
    let told: Vec<(&str, &str)> = flow
        .parameters
        .iter()
        .map(|one| (one.key.value.as_str(), one.value.value.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("rate", "max"),
            ("name.1", "water-flow"),
            ("start", "2020-01-01T00:00:00Z"),
            ("count", "1000")
        ],
        "in the order of the file"
    );
    let [first, second] = &pipeline.edges[..] else {
        panic!("{:?}", pipeline.edges)
    };
    assert_eq!(
        (first.name.value.as_str(), first.ring.value),
        ("flow", 4096)
    );
    assert_eq!(
        (second.to.value.clone(), second.ring.value),
        (End::Dom0, 65536)
    );
    assert_eq!(pipeline.network.bridge, "xenbr0");
}

#[test]
fn c1_every_mistake_is_told_at_once_with_its_place_and_what_would_be_right() {
    let text = r#"nmae = "x"
[[stage]]
name = "Flow"
app = "sensor"
memroy = 1
rate = "max"
[[stage]]
name = "b"
memory = 0
restart = "sometimes"
[broker]
[[network]]
[[edge]]
from = "b"
to = 3
ring = "2M"
feedback = "yes"
stale = "0s"
policy = "drop-oldest"
"#;
    assert_eq!(
        told(text),
        [
            "p.toml:1:1: unknown `nmae`; did you mean `name`?",
            "p.toml:3:8: `name` is not a name: 1 to 31 of a-z, 0-9 and -, a letter first",
            "p.toml:5:1: unknown key `memroy` in [[stage]]; did you mean `memory`?",
            "p.toml:6:1: unknown key `rate` in [[stage]]; what the image is told stands in [stage.parameters]",
            "p.toml:7:1: [[stage]] has no `app`: image that it runs",
            "p.toml:9:10: `memory` is not a whole number of MiB from 1 to 1048576",
            "p.toml:10:11: `restart` is not one of never, on-failure, always",
            "p.toml:11:1: [broker] has no `address`: HOST:PORT as the stages reach it",
            "p.toml:12:1: `network` is written [network]",
            "p.toml:15:6: `to` is not a name: 1 to 31 of a-z, 0-9 and -, a letter first",
            "p.toml:16:8: `ring` is not a size from 1K to 1M, a number of bytes or text such as \"64K\"",
            "p.toml:17:12: `feedback` is not true or false",
            "p.toml:18:9: `stale` is not a span of time such as 500ms, 30s, 15m, 24h or 7d, and not 0",
            "p.toml:19:10: `policy` is not one of block, drop-newest",
        ]
    );
}

#[test]
fn c1_a_slip_of_the_syntax_is_told_where_it_is() {
    let lines = told("[[stage]]\nname = \"a\napp = 3\n[x\n");
    assert!(lines[0].starts_with("p.toml:2:"), "{lines:?}");
    assert!(lines.len() > 1, "{lines:?}");
}

#[test]
fn c2_values_outside_their_range_are_refused_at_the_first_one_too_many() {
    for (ring, fits) in [
        ("1K", true),
        ("1023", false),
        ("1M", true),
        ("1048577", false),
        ("-1", false),
    ] {
        let text = format!("[[edge]]\nfrom = \"a\"\nto = \"b\"\nring = \"{ring}\"\n");
        assert_eq!(read(&text, "p").is_ok(), fits, "{ring}");
    }
    let long = "n".repeat(NAME_MAX + 1);
    assert!(read(&format!("name = \"{long}\""), "p").is_err());
    assert!(read(&format!("name = \"{}\"", &long[1..]), "p").is_ok());
}

#[test]
fn without_a_name_the_file_names_the_pipeline_and_the_stage_its_edge() {
    let edge = "[[edge]]\nfrom = \"a-stage-with-a-long-name\"\nto = \"b\"\n";
    assert!(
        told(edge)[0].contains("add name = \"...\""),
        "{:?}",
        told(edge)
    );
    let problems = read("", "My File").expect_err("no name for domains");
    assert!(problems[0].message.contains("write name ="), "{problems:?}");
}

#[test]
fn c1_what_is_too_long_or_too_deep_is_refused() {
    assert!(read(&" ".repeat(FILE_MAX + 1), "p").is_err());
    let deep = format!("a = {}", "[".repeat(100_000));
    assert!(read(&deep, "p").is_err());
    let deep = format!(
        "[[stage]]\n[stage.parameters]\n{} = 1\n",
        vec!["a"; 100_000].join(".")
    );
    assert!(read(&deep, "p").is_err());
}

/// A file that uses most keys, for spoiling.
const SOUND: &str = r#"
name = "p"
[[stage]]
name = "a"
app = "sensor"
memory = 2
restart = "always"
parameters = { rate = 5, signal = "sine", name.1 = "x y" }
[[stage]]
name = "b"
app = "filter"
[stage.parameters]
window = "5s"
[[edge]]
from = "a"
to = "b"
ring = "64K"
feedback = false
[broker]
address = "broker:1883"
[defaults]
log = "debug"
"#;

/// Whatever a text is, it is a pipeline or has mistakes that stand somewhere in it.
fn is_judged(text: &str) -> bool {
    let problems = match read(text, "p") {
        Ok(pipeline) => crate::pipeline::check(&pipeline, &crate::pipeline::testing::images()),
        Err(problems) if problems.is_empty() => return false,
        Err(problems) => problems,
    };
    let lines = text.lines().count().max(1);
    let source = Source {
        name: "p.toml",
        text,
    };
    let told = source.tell_all(&problems);
    let mut placed = problems
        .iter()
        .map(|problem| source.place(problem.at.start));
    placed.all(|(line, column)| (1..=lines + 1).contains(&line) && column >= 1)
        && told.is_empty() == problems.is_empty()
}

proptest! {
    #[test]
    fn c1_no_text_at_all_makes_the_reader_fail(text in any::<String>()) {
        prop_assert!(is_judged(&text));
    }

    /// Spoilt at a few places, each with a piece of itself or with a sign that means something.
    #[test]
    fn c1_no_spoilt_file_makes_the_reader_fail(
        spoils in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..12usize, 0..3usize), 1..6)
    ) {
        const SIGNS: [&str; 12] = ["[", "]", "[[", "{", "}", "\"", "=", ".", "\n", "\0", "\u{202e}", "99999999999999999999"];
        prop_assert!(is_judged(SOUND) && read(SOUND, "p").is_ok());
        let mut text = SOUND.to_owned();
        for (at, other, sign, kind) in spoils {
            let places: Vec<usize> = text.char_indices().map(|(place, _)| place).collect();
            let (a, b) = (*at.get(&places), *other.get(&places));
            let (from, to) = (a.min(b), a.max(b).min(a.min(b) + 40));
            let to = (to..=text.len()).find(|to| text.is_char_boundary(*to)).unwrap_or(from);
            match kind {
                0 => text.replace_range(from..to, ""),
                1 => text.insert_str(a, SIGNS[sign]),
                _ => {
                    let piece = text[from..to].to_owned();
                    text.insert_str(b, &piece);
                }
            }
            if text.is_empty() {
                break;
            }
        }
        prop_assert!(is_judged(&text), "{}", text);
    }
}
