use super::*;
use crate::time::Timestamp;
use core::time::Duration;
use proptest::prelude::*;
use std::format;
use std::string::ToString;
use std::vec;

const DECLARED: &[Parameter] = &[
    Parameter::new("text", Kind::Text, "some text", "a text"),
    Parameter::new("count", Kind::Integer, "", "a number of things"),
    Parameter::new("level", Kind::Number, "1.5", "a level").in_unit("m"),
    Parameter::new("span", Kind::Duration, "24h", "a span"),
    Parameter::new("size", Kind::Size, "", "a size"),
    Parameter::new("from", Kind::Time, "", "a time"),
    Parameter::new("mode", Kind::Choice(&["a", "b"]), "a", "a mode"),
    Parameter::new("max.SERIES", Kind::Number, "", "a family"),
];

fn parse(text: &str) -> Result<Params<'_>, ParamError> {
    Params::parse(text, COMMON.iter().chain(DECLARED))
}

#[test]
fn values_of_every_kind() {
    let params =
        parse("text=\"two words\" count=7\tlevel=-2e3 \n span=15m size=16K from=2026-01-01 mode=b");
    let params = params.unwrap();
    assert_eq!(params.require("text"), Ok("two words"));
    assert_eq!(params.require("count"), Ok(7u64));
    assert_eq!(params.require("level"), Ok(-2000.0));
    assert_eq!(params.require("span"), Ok(Duration::from_secs(900)));
    assert_eq!(params.require("size"), Ok(Size(16_384)));
    assert_eq!(
        params.require("from"),
        Ok(Timestamp::from_seconds(1_767_225_600).unwrap())
    );
    assert_eq!(params.text("mode"), Some("b"));
}

#[test]
fn defaults_and_absence() {
    let params = parse("text=\"\" ").unwrap();
    assert_eq!(params.require("text"), Ok(""));
    assert_eq!(params.require("level"), Ok(1.5));
    assert_eq!(params.get::<u64>("count"), Ok(None));
    assert!(!params.is_given("level") && params.is_given("text"));
    let missing = params.require::<u64>("count").unwrap_err();
    assert_eq!(
        missing.to_string(),
        "count: missing; give count=VALUE (a number of things)"
    );
}

#[test]
fn families() {
    let params = parse("max.a/b=1 max.c=2 max.d.e=3").unwrap();
    assert_eq!(
        params.family_of("max."),
        Ok(vec![("a/b", 1.0), ("c", 2.0), ("d.e", 3.0)])
    );
    for text in ["max.=1", "max=1"] {
        let error = parse(text).unwrap_err();
        assert!(matches!(error.problem(), ParamProblem::Unknown { .. }));
    }
}

#[test]
fn every_error_names_its_key() {
    for (text, message) in [
        (
            "span",
            "span: a parameter without a value; write span=VALUE",
        ),
        ("=5", "=5: a parameter without a value; write =5=VALUE"),
        ("a count=1", "a: a parameter without a value; write a=VALUE"),
        ("text=\"open", "text: the quoted value has no closing quote"),
        (
            "text=\"a\"b",
            "text: a quote inside the value; quote all of it, as in text=\"two words\"",
        ),
        (
            "text=a\"b",
            "text: a quote inside the value; quote all of it, as in text=\"two words\"",
        ),
        ("count=1 count=2", "count: given twice"),
        ("count=+1", "count: \"+1\" is not a whole number"),
        ("count=", "count: \"\" is not a whole number"),
        ("level=NaN", "level: \"NaN\" is not a decimal number"),
        (
            "span=5",
            "span: \"5\" is not a span of time such as 500ms, 30s, 15m, 24h or 7d",
        ),
        (
            "span=99999999999d",
            "span: \"99999999999d\" is not a span of time such as 500ms, 30s, 15m, 24h or 7d",
        ),
        ("mode=c", "mode: \"c\" is not one of a, b"),
        ("max.x=high", "max.x: \"high\" is not a decimal number"),
    ] {
        assert_eq!(parse(text).unwrap_err().to_string(), message);
    }
    let unknown = parse("modes=a").unwrap_err().to_string();
    assert!(unknown.starts_with("modes: unknown parameter; this image takes stage, log, in.EDGE"));
}

#[test]
fn the_command_line_wins_over_the_module() {
    let params = Params::parse_layers(&["count=1 mode=a", "count=2"], DECLARED).unwrap();
    assert_eq!(
        (params.require("count"), params.text("mode")),
        (Ok(2u64), Some("a"))
    );
    let twice = Params::parse_layers(&["count=1", "count=2 count=3"], DECLARED);
    assert_eq!(
        twice.map(drop),
        Err(ParamProblem::Twice {
            key: "count".into()
        }
        .into())
    );
}

#[test]
fn a_command_line_that_may_have_been_cut_is_refused() {
    assert_eq!(command_line(&[b'x'; 1022]).map(str::len), Ok(1022));
    assert_eq!(command_line(&[b'x'; 1023]), Err(ParamProblem::Cut.into()));
    assert_eq!(command_line(b"a=1\0rubbish\xFF"), Ok("a=1"));
    assert_eq!(command_line(b"a=\xFF"), Err(ParamProblem::NotText.into()));
}

#[test]
fn edges_are_read() {
    let params = parse("in.flow=5 in.w-2=?,ring=3K out.x=0,ring=1M in.y=32751,ring=1024").unwrap();
    let inputs = params.edges(Direction::In).unwrap();
    let seen: Vec<_> = inputs
        .iter()
        .map(|e| (e.name.as_str(), e.peer, e.ring))
        .collect();
    assert_eq!(
        seen,
        [
            ("flow", Peer::Domain(5), DEFAULT_RING),
            ("w-2", Peer::Ask, 4096),
            ("y", Peer::Domain(32_751), 1024),
        ]
    );
    assert_eq!(params.edges(Direction::Out).unwrap()[0].ring, MAX_RING);
}

#[test]
fn an_edge_may_say_how_long_silence_is_too_long_that_it_leads_back_and_that_it_drops() {
    let text = "in.a=5,stale=30s in.b=?,stale=500ms,ring=1M in.c=?,ring=1M,stale=7d in.d=?";
    let inputs = parse(text).unwrap().edges(Direction::In).unwrap();
    let seen: Vec<_> = inputs.iter().map(|edge| (edge.stale, edge.ring)).collect();
    let span = |millis| Some(Duration::from_millis(millis));
    assert_eq!(
        seen,
        [
            (span(30_000), DEFAULT_RING),
            (span(500), MAX_RING),
            (span(7 * 86_400_000), MAX_RING),
            (None, DEFAULT_RING),
        ]
    );
    let feedback = parse("in.a=5,feedback in.b=?,feedback,stale=1s in.c=5").unwrap();
    let inputs = feedback.edges(Direction::In).unwrap();
    let seen: Vec<_> = inputs.iter().map(|edge| edge.feedback).collect();
    assert_eq!(seen, [true, true, false]);
    let outputs = parse("out.a=5,drop=newest out.b=?,ring=1M").unwrap();
    let outputs = outputs.edges(Direction::Out).unwrap();
    let seen: Vec<_> = outputs.iter().map(|edge| edge.drop_newest).collect();
    assert_eq!(seen, [true, false]);
    // It is the writer who drops.
    assert!(
        parse("in.a=5,drop=newest")
            .unwrap()
            .edges(Direction::In)
            .is_err()
    );
    for wrong in [
        "out.a=5,drop=oldest",
        "out.a=5,drop",
        "out.a=5,drop=newest,drop=newest",
    ] {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
    // It is the reader who waits.
    let outputs = parse("out.a=5,stale=30s").unwrap().edges(Direction::Out);
    let error = outputs.unwrap_err();
    assert!(matches!(error.problem(), ParamProblem::BadValue { .. }));
}

#[test]
fn wrong_edges_are_refused() {
    for value in [
        "",
        "-1",
        "32752",
        "65536",
        "5,",
        "5,ring=",
        "5,ring=1023",
        "5,ring=1025K",
        "5,ring=2M",
        "5,x=1",
        "? ",
        "5,ring=4K,ring=4K",
        "5,feedback,feedback",
        "5,feedback=",
        "feedback",
        "5,stale=",
        "5,stale=0",
        "5,stale=5",
        "5,stale=5s,stale=6s",
        "stale=5s,5",
    ] {
        let text = format!("in.a=\"{value}\"");
        let error = parse(&text).unwrap_err();
        let is_bad = matches!(error.problem(), ParamProblem::BadValue { .. });
        assert!(is_bad, "{value}");
    }
    for name in ["A", "-a", "_a", "a.b", "abcdefghijklm", "ä"] {
        let text = format!("in.{name}=1");
        let edges = parse(&text).unwrap().edges(Direction::In);
        assert_eq!(
            edges,
            Err(ParamProblem::EdgeName {
                key: format!("in.{name}")
            }
            .into())
        );
    }
    assert_eq!(
        EdgeName::new("abcdefghijkl").map(|name| name.to_string()),
        Some("abcdefghijkl".into())
    );
    assert_eq!(EdgeName::new(""), None);
}

proptest! {
    #[test]
    fn what_is_written_is_read(pairs in prop::collection::btree_map("max\\.[a-z]{1,6}", -1e9..1e9, 0..6)) {
        let text: Vec<_> = pairs.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let text = text.join(" ");
        let params = parse(&text).unwrap();
        for (key, value) in &pairs {
            prop_assert_eq!(params.require(key), Ok(*value));
        }
    }

    #[test]
    fn any_text_is_answered(text in "[a-z=\". ,?]{0,40}") {
        if let Err(error) = parse(&text) {
            prop_assert!(!error.to_string().contains('\n'));
        }
    }
}
