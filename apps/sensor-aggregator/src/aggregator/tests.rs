use super::*;
use crate::series::MAX_SERIES;
use proptest::prelude::*;
use stage::{Plan, Timestamp};
use std::string::ToString;

const NEW_YEAR: i64 = 1_767_225_600;

fn aggregator(command: &str) -> Result<Aggregator, String> {
    let plan = Plan::new::<Aggregator>(command.as_bytes(), b"").map_err(|e| e.to_string())?;
    plan.build::<Aggregator>().map_err(|e| e.to_string())
}

struct Bench {
    aggregator: Aggregator,
    out: Outputs,
}

impl Bench {
    fn new(command: &str) -> Self {
        let command = format!("in.a=1 results=console {command}");
        Self {
            aggregator: aggregator(&command).unwrap(),
            out: Outputs::new([]),
        }
    }

    fn add(&mut self, reading: &Reading<'_>) -> Verdict {
        self.aggregator.reading(0, reading, &mut self.out)
    }

    fn hours(&mut self, name: &str, hours: impl IntoIterator<Item = i64>) -> Vec<Verdict> {
        hours
            .into_iter()
            .map(|hour| self.add(&at(name, hour, hour as f64)))
            .collect()
    }

    fn finish(mut self) -> String {
        self.aggregator.finish(&mut self.out);
        self.out.console_text().to_owned()
    }
}

fn at(name: &str, hour: i64, value: f64) -> Reading<'_> {
    Reading::number(
        name,
        Timestamp::from_seconds(NEW_YEAR + hour * 3_600).unwrap(),
        value,
    )
}

#[test]
fn a_window_is_reported_when_it_is_over() {
    let mut bench = Bench::new("");
    bench.hours("s", 0..24);
    assert_eq!(bench.out.console_text(), "");
    bench.hours("s", [24]);
    let line = "[{\"bn\":\"s:\",\"bt\":1767225600,\"n\":\"count\",\"u\":\"count\",\"v\":24},\
                {\"n\":\"mean\",\"v\":11.5},{\"n\":\"min\",\"v\":0},{\"n\":\"max\",\"v\":23},\
                {\"n\":\"stddev_pop\",\"v\":6.922186552431729},\
                {\"n\":\"missing\",\"u\":\"count\",\"v\":0},{\"n\":\"flagged\",\"u\":\"count\",\"v\":0}]\n";
    assert_eq!(bench.out.console_text(), line);
    let rest = bench.finish();
    assert_eq!(rest.lines().count(), 2);
    assert!(rest.contains("\"bt\":1767312000,\"n\":\"count\",\"u\":\"count\",\"v\":1}"));
}

#[test]
fn each_series_has_its_own_watermark() {
    let mut bench = Bench::new("");
    let verdicts = [bench.hours("new", [24 * 365]), bench.hours("old", [0, 1])].concat();
    assert_eq!(verdicts, [Verdict::Used; 3]);
    assert_eq!(
        bench.hours("new", [24 * 365 - 1]),
        [Verdict::Dropped(DropCause::Late)]
    );
    assert_eq!(bench.finish().lines().count(), 2);
}

#[test]
fn what_cannot_be_used_says_why() {
    let mut bench = Bench::new("min.s=-5 max.s=5 lateness=1h");
    let dropped = Verdict::Dropped;
    assert_eq!(bench.add(&at("s", 2, 5.0)), Verdict::Used);
    assert_eq!(bench.add(&at("s", 2, 5.1)), dropped(DropCause::OutOfRange));
    assert_eq!(bench.add(&at("s", 2, -5.1)), dropped(DropCause::OutOfRange));
    assert_eq!(bench.add(&at("t", 2, 99.0)), Verdict::Used);
    assert_eq!(
        bench.add(&at("s", 2, f64::NAN)),
        dropped(DropCause::NotFinite)
    );
    assert_eq!(
        bench.add(&at("s", 2, f64::NEG_INFINITY)),
        dropped(DropCause::NotFinite)
    );
    assert_eq!(bench.add(&at("s", 1, 0.0)), Verdict::Used);
    assert_eq!(bench.add(&at("s", 0, 0.0)), dropped(DropCause::Late));
    assert_eq!(bench.add(&at("s", 0, f64::NAN)), dropped(DropCause::Late));
    assert_eq!(
        bench.add(&at("s", 2, 0.0).in_unit("m")),
        dropped(DropCause::WrongType)
    );
    let text = Reading {
        value: Value::Text("5"),
        ..at("s", 2, 0.0)
    };
    assert_eq!(bench.add(&text), dropped(DropCause::WrongType));
    assert_eq!(
        bench.add(&at(&"n".repeat(245), 2, 0.0)),
        dropped(DropCause::Unsendable)
    );
    assert_eq!(bench.add(&at(&"n".repeat(244), 2, 0.0)), Verdict::Used);
    assert_eq!(
        bench.add(&at("u", -500_000, 0.0)),
        dropped(DropCause::Unsendable)
    );
    let lines = bench.finish();
    assert!(
        lines.contains("\"n\":\"flagged\",\"u\":\"count\",\"v\":4}"),
        "{lines}"
    );
    assert_eq!(lines.lines().count(), 3);
}

#[test]
fn series_are_bounded() {
    let mut bench = Bench::new("");
    for index in 0..MAX_SERIES {
        assert_eq!(bench.add(&at(&format!("s{index}"), 0, 0.0)), Verdict::Used);
    }
    assert_eq!(
        bench.add(&at("one-more", 0, 0.0)),
        Verdict::Dropped(DropCause::TooManySeries)
    );
    assert_eq!(bench.add(&at("s7", 0, 0.0)), Verdict::Used);
}

#[test]
fn the_spacing_of_one_series_wins_over_that_of_all() {
    let mut bench = Bench::new("every=2h every.b=6h");
    bench.hours("a", [0]);
    bench.hours("b", [0]);
    let lines = bench.finish();
    let missing: Vec<&str> = lines
        .lines()
        .filter_map(|line| line.split("missing").nth(1))
        .collect();
    assert!(
        missing[0].contains("\"v\":11}") && missing[1].contains("\"v\":3}"),
        "{lines}"
    );
}

#[test]
fn wrong_parameters_name_their_key() {
    for (command, start) in [
        (
            "in.a=1",
            "results: \"edge\" is not possible without out.EDGE",
        ),
        (
            "in.a=1 out.b=1 results=console",
            "results: \"console\" is not possible together",
        ),
        ("results=console", "in.EDGE: 0 given; this image takes 1.."),
        (
            "in.a=1 results=console window=7h",
            "window: \"7h\" is not a length that divides 24h",
        ),
        (
            "in.a=1 results=console window=1s lateness=1h",
            "lateness: \"1h\" is not a lateness of at most",
        ),
        (
            "in.a=1 results=console hop=7h",
            "hop: \"7h\" is not 1/64 of the window or more",
        ),
        ("in.a=1 results=console hop=0", "hop: \"0\""),
        (
            "in.a=1 results=console percentiles=50,",
            "percentiles: \"50,\" is not up to 8 numbers",
        ),
        (
            "in.a=1 results=console percentiles=1,2,3,4,5,6,7,8,9",
            "percentiles:",
        ),
        ("in.a=1 results=console every=0", "every:"),
        ("in.a=1 results=console every.s=0", "every.s:"),
        (
            "in.a=1 results=console min.s=2 max.s=1",
            "max.s: \"1\" is not at least min",
        ),
        (
            "in.a=1 results=console min.-=2",
            "min.-: \"-\" is not the name of a series",
        ),
        (
            "in.a=1 results=file",
            "results: \"file\" is not one of edge, console",
        ),
    ] {
        let error = aggregator(command).unwrap_err();
        assert!(error.starts_with(start), "{command}: {error}");
    }
}

#[test]
fn windows_slide_and_percentiles_follow_the_other_figures() {
    let mut bench = Bench::new("window=6h hop=2h percentiles=50,99.9,100,0");
    bench.hours("s", 0..8);
    // Those that begin at -4, -2, 0 and 2 hours: the last is over at 8.
    assert_eq!(bench.out.console_text().lines().count(), 3);
    let lines = bench.finish();
    let seen: Vec<(&str, &str)> = lines
        .lines()
        .map(|line| {
            let (begin, figures) = line.split_once("\"flagged\"").unwrap();
            let start = begin.split("\"bt\":").nth(1).unwrap();
            (start.split(',').next().unwrap(), figures)
        })
        .collect();
    let line = |start: &'static str, median: u32, most: u32, least: u32| {
        let figures = format!(
            ",\"u\":\"count\",\"v\":0}},{{\"n\":\"p50\",\"v\":{median}}},{{\"n\":\"p99.9\",\"v\":{most}}},{{\"n\":\"p100\",\"v\":{most}}},{{\"n\":\"p0\",\"v\":{least}}}]"
        );
        (start, figures)
    };
    let expected = [
        line("1767211200", 0, 1, 0),
        line("1767218400", 1, 3, 0),
        line("1767225600", 2, 5, 0),
        line("1767232800", 4, 7, 2),
        line("1767240000", 5, 7, 4),
        line("1767247200", 6, 7, 6),
    ];
    let expected: Vec<_> = expected
        .iter()
        .map(|(start, figures)| (*start, figures.as_str()))
        .collect();
    assert_eq!(seen, expected);
}

#[test]
fn a_window_of_flagged_readings_has_no_percentiles() {
    let mut bench = Bench::new("percentiles=50 max.s=0");
    let _ = bench.add(&at("s", 1, 5.0));
    let lines = bench.finish();
    assert!(
        lines.contains("\"v\":1}]") && !lines.contains("p50"),
        "{lines}"
    );
}

#[test]
fn results_go_to_every_output_edge() {
    let mut aggregator = aggregator("in.a=1 out.b=1 out.c=1").unwrap();
    let mut out = Outputs::new([1000, 1000]);
    assert_eq!(
        aggregator.reading(0, &at("s", 0, 1.0), &mut out),
        Verdict::Used
    );
    aggregator.finish(&mut out);
    // Six records: without a spacing nothing is said to be missing.
    assert_eq!(out.counters().out, 6);
    let sent = [0, 1].map(|edge| out.queue_mut(edge).map(|queue| queue.readings()));
    assert_eq!(sent, [Some(6), Some(6)]);
}

proptest! {
    #[test]
    fn every_reading_is_used_or_dropped_and_every_used_one_reported(
        readings in prop::collection::vec((0usize..4, 0i64..300, any::<f64>()), 0..200),
    ) {
        let mut bench = Bench::new("lateness=12h min.b=-1 max.b=1");
        let mut used = 0;
        let mut flagged = 0;
        for (series, hour, value) in readings {
            match bench.add(&at(["a", "b", "c", "d"][series], hour, value)) {
                Verdict::Used => used += 1,
                Verdict::Dropped(DropCause::NotFinite | DropCause::OutOfRange) => flagged += 1,
                verdict => prop_assert_eq!(verdict, Verdict::Dropped(DropCause::Late)),
            }
        }
        let lines = bench.finish();
        let total = |figure: &str| {
            let start = format!("\"n\":\"{figure}\",\"u\":\"count\",\"v\":");
            let numbers = lines.split(&start).skip(1).filter_map(|rest| rest.split('}').next());
            numbers.map(|number| number.parse::<u64>().unwrap()).sum::<u64>()
        };
        prop_assert_eq!((total("count"), total("flagged")), (used, flagged));
    }
}
