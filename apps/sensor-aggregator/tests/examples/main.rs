//! The examples of `image/pipelines`, as their files stand, run in memory; what they find is worked out from the recordings by
//! other means.

mod composer;

use std::collections::BTreeMap;

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

/// The figures of each window of each series, by series, second and figure.
type Windows = BTreeMap<(String, i64, String), f64>;

/// All windows of some readings, worked out from all of them kept.
fn windows(
    series: &str,
    readings: &[(i64, f64)],
    length: i64,
    hop: i64,
    percentiles: &[u32],
) -> Windows {
    let mut all = Windows::new();
    let (first, last) = (readings[0].0, readings[readings.len() - 1].0);
    let mut start = (first - length).div_euclid(hop) * hop;
    while start <= last {
        let inside = readings
            .iter()
            .filter(|(time, _)| (start..start + length).contains(time));
        let mut values: Vec<f64> = inside.map(|(_, value)| *value).collect();
        values.sort_by(f64::total_cmp);
        if let (Some(min), Some(max)) = (values.first(), values.last()) {
            let count = values.len() as f64;
            let mut figure = |name: &str, value: f64| {
                all.insert((series.to_owned(), start, name.to_owned()), value);
            };
            figure("count", count);
            figure("mean", values.iter().sum::<f64>() / count);
            figure("min", *min);
            figure("max", *max);
            for percent in percentiles {
                let rank = (values.len() * *percent as usize).div_ceil(100).max(1);
                figure(&format!("p{percent}"), values[rank - 1]);
            }
        }
        start += hop;
    }
    all
}

/// The windows that a `log` printed have these figures, of those that are worked out here.
fn assert_windows(lines: impl IntoIterator<Item = Line>, expected: &Windows) {
    let mut found = 0;
    for line in lines {
        let (series, figure) = line.name.rsplit_once(':').unwrap();
        if ["stddev_pop", "missing", "flagged"].contains(&figure) {
            continue;
        }
        let key = (series.to_owned(), line.second, figure.to_owned());
        let value: f64 = line.value.parse().unwrap();
        assert!(
            (value - expected[&key]).abs() < 1e-9,
            "{line:?}: {}",
            expected[&key]
        );
        found += 1;
    }
    assert_eq!(found, expected.len());
}

#[test]
fn alerts_are_raised_and_cleared_in_turn() {
    let outcome = run_example("alerts.toml", "");
    let told = outcome["log"].records();
    // Raised from the start, since the flow is above its limit but for three times.
    assert_eq!(told.len(), 7);
    for (place, line) in told.iter().enumerate() {
        let expected = if place % 2 == 0 { "true" } else { "false" };
        assert_eq!(
            (line.name.as_str(), line.value.as_str()),
            ("water-flow:alert", expected)
        );
    }
}

#[test]
fn the_weather_station_publishes_sliding_days_and_their_percentiles() {
    let outcome = run_example("weather-station.toml", "");
    let csv = include_str!("../../../../data/seattle-weather-hourly-normals.csv");
    let mut expected = Windows::new();
    for (column, series) in ["pressure", "temperature", "wind"].into_iter().enumerate() {
        let rows = csv.lines().skip(1).map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            let stamp = stage::Timestamp::parse(fields[0].as_bytes()).unwrap();
            (stamp.seconds(), fields[column + 1].parse().unwrap())
        });
        let rows: Vec<(i64, f64)> = rows.collect();
        assert_eq!(rows.len(), 8_759);
        expected.extend(windows(series, &rows, 24 * HOUR, 6 * HOUR, &[10, 50, 90]));
    }
    assert_windows(outcome["gateway"].records(), &expected);
    assert_eq!(outcome["hourly"].counters.own, "joined=8759 unmatched=0");
}

#[test]
fn thirty_two_sensors_meet_in_one_aggregator() {
    let outcome = run_example("many-to-one.toml", &["s01", "s20", "s32"].map(tap).concat());
    let all = &outcome["all"].counters;
    assert_eq!(all.stage.readings_in, 32 * 600);
    assert_eq!(all.stage.used, 32 * 600);
    let mut series: Vec<String> = Vec::new();
    for line in outcome["log"].records() {
        let (name, figure) = line.name.rsplit_once(':').unwrap();
        match figure {
            "count" => {
                assert_eq!(line.value, "100", "{line:?}");
                series.push(name.to_owned());
            }
            "missing" | "flagged" => assert_eq!(line.value, "0", "{line:?}"),
            _ => {}
        }
    }
    series.sort();
    let expected = (1..=32).flat_map(|n| vec![format!("s{n:02}"); 6]);
    assert_eq!(series, expected.collect::<Vec<_>>());
    // Three of them by hand.
    for name in ["s01", "s20", "s32"] {
        let heard = outcome[&format!("tap-{name}")].records();
        let made: Vec<(i64, f64)> = heard
            .iter()
            .map(|line| (line.second, line.value.parse().unwrap()))
            .collect();
        let mut told = outcome["log"].records();
        told.retain(|line| line.name.starts_with(&format!("{name}:")));
        assert_windows(told, &windows(name, &made, 10, 10, &[50, 95]));
    }
}
