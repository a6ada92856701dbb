//! The examples of `image/pipelines`, as their files stand, run in memory; what they find is worked out from the recordings by
//! other means.

mod composer;

use composer::{Line, Outcome, run_example, run_text};

/// A `log` that hears what a stage emits.
fn tap(stage: &str) -> String {
    format!(
        "\n[[stage]]\nname = \"tap-{stage}\"\napp = \"log\"\n[[edge]]\nname = \"tap-{stage}\"\nfrom = \"{stage}\"\nto = \"tap-{stage}\"\n"
    )
}

/// Seconds and values of the recorded flow.
fn water_flow() -> Vec<(i64, f64)> {
    let csv = include_str!("../../../../data/water-flow.csv");
    let rows = csv.lines().skip(1).map(|line| {
        let (stamp, value) = line.split_once(',').unwrap();
        let stamp = stage::Timestamp::parse(stamp.as_bytes()).unwrap();
        (stamp.seconds(), value.parse().unwrap())
    });
    rows.collect()
}

/// The first and the last second of each run of readings that are so.
fn runs(flow: &[(i64, f64)], is_so: impl Fn(f64) -> bool) -> Vec<(i64, i64)> {
    let chunks = flow.chunk_by(|(_, a), (_, b)| is_so(*a) == is_so(*b));
    let chunks = chunks.filter(|chunk| is_so(chunk[0].1));
    chunks
        .map(|chunk| (chunk[0].0, chunk[chunk.len() - 1].0))
        .collect()
}

/// The four anomalies that the recording is known for: three of low flow and a small peak.
fn anomalies() -> Vec<(i64, i64)> {
    let flow = water_flow();
    let (low, high) = (
        runs(&flow, |value| value < 60.0),
        runs(&flow, |v| v > 108.0),
    );
    assert_eq!((low.len(), high.len()), (3, 1));
    let mut all = [low, high].concat();
    all.sort();
    all
}

/// Spans from a record of this value to the next of the other; the records alternate.
fn spans(records: &[Line], name: &str, begin: &str) -> Vec<(i64, i64)> {
    let told: Vec<&Line> = records.iter().filter(|line| line.name == name).collect();
    assert_eq!(told.len() % 2, 0, "{told:?}");
    told.chunks(2)
        .map(|pair| {
            assert!(pair[0].value == begin && pair[1].value != begin, "{pair:?}");
            (pair[0].second, pair[1].second)
        })
        .collect()
}

const HOUR: i64 = 3_600;

/// Each anomaly lies in a span of its own, which begins no more than an hour before it and ends no more than five after.
fn assert_found(spans: &[(i64, i64)]) {
    let anomalies = anomalies();
    assert_eq!(spans.len(), anomalies.len(), "{spans:?}");
    for ((begin, end), (first, last)) in spans.iter().zip(&anomalies) {
        assert!(begin <= first && first - begin <= HOUR, "{begin} {first}");
        assert!(end > last && end - last <= 5 * HOUR, "{end} {last}");
    }
}

#[test]
fn the_waterworks_finds_the_four_anomalies_and_shuts_and_opens_its_valve() {
    let taps = ["alarm", "control", "valve"].map(tap).concat();
    let outcome = run_example("waterworks.toml", &taps);
    assert_found(&spans(
        &outcome["tap-alarm"].records(),
        "water-flow:alert",
        "true",
    ));
    let commands = spans(&outcome["tap-control"].records(), "valve", "false");
    assert_found(&commands);
    assert!(commands.iter().all(|(shut, open)| open - shut >= 2 * HOUR));
    assert_eq!(outcome["valve"].counters.own, "opened=4 closed=4");
    assert_eq!(outcome["control"].counters.own, "opened=4 closed=4");
    // The valve does as it is told from the reading that follows, for which alone an hour's way round it is.
    let state = outcome["tap-valve"].records();
    let shut: Vec<i64> = state
        .iter()
        .filter(|line| line.name == "valve" && line.value == "0")
        .map(|line| line.second)
        .collect();
    let expected = |second: &i64| commands.iter().any(|(a, b)| a < second && second <= b);
    let flow = water_flow();
    let expected: Vec<i64> = flow.iter().map(|(t, _)| *t).filter(expected).collect();
    assert_eq!(shut, expected);
    // What flows behind it is what it lets through.
    for line in state.iter().filter(|line| line.name == "water-flow:passed") {
        let (_, metered) = flow.iter().find(|(t, _)| *t == line.second).unwrap();
        let passed = if shut.contains(&line.second) {
            0.0
        } else {
            *metered
        };
        assert_eq!(line.value.parse(), Ok(passed), "{line:?}");
    }
}

#[test]
fn the_waterworks_publishes_windows_of_flow_valve_and_weather() {
    let outcome = run_example("waterworks.toml", "");
    let windows = |series: &str| {
        let lines = outcome["gateway"].records();
        let mean = format!("{series}:mean");
        lines.iter().filter(|line| line.name == mean).count()
    };
    let days = 58;
    for (series, expected) in [
        ("water-flow", days),
        ("water-flow:passed", days),
        ("valve", days),
        ("pressure", 365),
        ("temperature", 365),
        ("wind", 365),
    ] {
        assert_eq!(windows(series), expected, "{series}");
    }
}

/// The file says that from six to nine standard deviations it finds the same.
#[test]
fn how_far_is_unusual_need_not_be_known_exactly() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../image/pipelines");
    let text = std::fs::read_to_string(folder.join("waterworks.toml")).unwrap();
    for sigmas in [6, 7, 9] {
        let set = text.replace(
            "sigmas.water-flow = 8",
            &format!("sigmas.water-flow = {sigmas}"),
        );
        assert_ne!(set, text);
        let outcome: Outcome = run_text(&(set + &tap("alarm")), &folder);
        let alerts = spans(&outcome["tap-alarm"].records(), "water-flow:alert", "true");
        assert_eq!(alerts.len(), 4, "{sigmas}");
    }
}
