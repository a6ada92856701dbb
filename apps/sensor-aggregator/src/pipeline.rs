//! Whole pipelines over edges in memory, their results recomputed from the CSV files by other means.

use futures_util::future::join4;
use stage::counters::Counters;
use stage::runner::{RunError, run};
use stage::senml::{Item, StreamDecoder};
use stage::state::State;
use stage::testing::{MemoryHost, Network, PipeReader};
use stage::{Direction, Plan, Stage, Value};
use std::boxed::Box;
use std::collections::BTreeMap;
use std::format;
use std::rc::Rc;
use std::string::{String, ToString};
use std::vec::Vec;

use crate::{Aggregator, Sensor};

const WATER: &[u8] = include_bytes!("../../../data/water-flow.csv");
const WEATHER: &[u8] = include_bytes!("../../../data/seattle-weather-hourly-normals.csv");
const DAY: i64 = 86_400;

/// Name, second, value and unit.
type Record = (String, i64, f64, String);

/// Count, mean, min, max, deviation and missing of each window of each series.
type Windows = BTreeMap<(String, i64), [f64; 6]>;

/// What came out of a pipeline, and what each stage said of itself.
type Outcome = (Vec<Record>, [Counters; 3], [Vec<State>; 3]);

async fn stage<S: Stage>(
    host: &MemoryHost,
    command: &str,
    module: &'static [u8],
) -> Result<Counters, RunError> {
    let plan = Plan::new::<S>(command.as_bytes(), module)?;
    run::<S, _>(&plan, host).await
}

/// Reads a stream to its end: every record's name, second, value and unit.
async fn collect(mut reader: PipeReader) -> Vec<Record> {
    use embedded_io_async::Read as _;
    let mut decoder = StreamDecoder::new();
    let mut records = Vec::new();
    loop {
        match decoder.next_item().unwrap() {
            Item::End => return records,
            Item::Pack(pack) => {
                let mut readings = pack.readings(Default::default()).unwrap();
                while let Some(r) = readings.next_reading().unwrap() {
                    let Value::Number(value) = r.value else {
                        panic!("{r:?}")
                    };
                    records.push((r.name.into(), r.time.seconds(), value, r.unit.into()));
                }
            }
            Item::Incomplete => {
                let count = reader.read(decoder.space(333).unwrap()).await.unwrap();
                assert_ne!(count, 0, "closed without an end of stream");
                decoder.filled(count);
            }
        }
    }
}

/// The windows of one column, by the straightforward way: all values kept, two passes.
fn recompute(csv: &str, column: usize, series: &str) -> Windows {
    let mut days: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
    for line in csv.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        days.entry(seconds(fields[0]).div_euclid(DAY))
            .or_default()
            .push(fields[column].parse().unwrap());
    }
    days.into_iter()
        .map(|(day, values)| {
            let count = values.len() as f64;
            let mean = values.iter().sum::<f64>() / count;
            let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
            let min = values.iter().copied().fold(f64::INFINITY, f64::min);
            let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            (
                (series.into(), day * DAY),
                [count, mean, min, max, variance.sqrt(), 24.0 - count],
            )
        })
        .collect()
}

/// A stamp's seconds, by counting days one year and one month at a time.
fn seconds(stamp: &str) -> i64 {
    let number = |range: core::ops::Range<usize>| stamp[range].parse::<i64>().unwrap();
    let leap = |year: i64| year % 4 == 0;
    let months = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let year = number(0..4);
    let mut days: i64 = (1970..year).map(|year| 365 + i64::from(leap(year))).sum();
    for month in 1..number(5..7) {
        days += months[month as usize - 1] + i64::from(month == 2 && leap(year));
    }
    days += number(8..10) - 1;
    let local = days * DAY + number(11..13) * 3600 + number(14..16) * 60 + number(17..19);
    if stamp.len() == 19 {
        local
    } else {
        local - number(20..22) * 3600
    }
}

fn windows(records: &[Record]) -> BTreeMap<(String, i64), BTreeMap<String, f64>> {
    let mut windows: BTreeMap<(String, i64), BTreeMap<String, f64>> = BTreeMap::new();
    for (name, time, value, _) in records {
        let (series, figure) = name.rsplit_once(':').unwrap();
        let window = windows.entry((series.into(), *time)).or_default();
        assert_eq!(
            window.insert(figure.into(), *value),
            None,
            "{name} twice at {time}"
        );
    }
    windows
}

fn check(records: &[Record], expected: &Windows) {
    let windows = windows(records);
    assert_eq!(
        windows.keys().collect::<Vec<_>>(),
        expected.keys().collect::<Vec<_>>()
    );
    for (key, [count, mean, min, max, deviation, missing]) in expected {
        let found = &windows[key];
        assert_eq!(found.len(), 7, "{key:?}");
        for (figure, exact) in [
            ("count", count),
            ("min", min),
            ("max", max),
            ("missing", missing),
            ("flagged", &0.0),
        ] {
            assert_eq!(found[figure].to_bits(), exact.to_bits(), "{key:?} {figure}");
        }
        assert!((found["mean"] - mean).abs() < 1e-9, "{key:?} mean");
        assert!(
            (found["stddev_pop"] - deviation).abs() < 1e-9,
            "{key:?} deviation"
        );
    }
}

fn expected() -> Windows {
    let weather = core::str::from_utf8(WEATHER).unwrap();
    let mut expected = recompute(core::str::from_utf8(WATER).unwrap(), 1, "water-flow");
    expected.extend(recompute(weather, 1, "pressure"));
    expected.extend(recompute(weather, 2, "temperature"));
    expected.extend(recompute(weather, 3, "wind"));
    expected
}

/// Both files through two sensors and the aggregator; what it emits, and everybody's counters.
fn demo(ring: &str, pace: &str) -> Outcome {
    let network = Network::new();
    let hosts = [(); 3].map(|()| MemoryHost::new(&network));
    let flow = format!("stage=flow out.flow=?,ring={ring} name.1=water-flow unit.1=l/s {pace}");
    let weather = format!("out.weather=2,ring={ring} unit.temperature=Cel unit.3=m/s {pace}");
    let aggregator =
        format!("in.flow=3,ring={ring} in.weather=4,ring={ring} out.results=0,ring={ring}");
    let (a, b, c, records) = network
        .block_on(join4(
            stage::<Sensor>(&hosts[0], &flow, WATER),
            stage::<Sensor>(&hosts[1], &weather, WEATHER),
            stage::<Aggregator>(&hosts[2], &aggregator, b""),
            async { collect(network.open_input("results", 2048).await).await },
        ))
        .unwrap();
    let states = hosts.map(|host| host.states.take());
    (records, [a.unwrap(), b.unwrap(), c.unwrap()], states)
}

#[test]
fn recorded_data_comes_out_as_1153_windows() {
    for ring in ["1K", "16K"] {
        let (records, counters, states) = demo(ring, "rate=max");
        let expected = expected();
        assert_eq!(expected.len(), 1_153);
        check(&records, &expected);
        for states in states {
            assert_eq!(states.first(), Some(&State::Starting));
            assert_eq!(states.last(), Some(&State::Done));
            assert!(states.contains(&State::Running), "{states:?}");
        }
        let [flow, weather, aggregator] = &counters;
        assert_eq!((flow.stage.readings_in, flow.stage.out), (1_268, 1_268));
        assert_eq!(
            (weather.stage.readings_in, weather.stage.out),
            (3 * 8_759, 3 * 8_759)
        );
        assert_eq!(aggregator.stage.readings_in, 1_268 + 3 * 8_759);
        assert_eq!(aggregator.stage.out, 7 * 1_153);
        assert!(counters.iter().all(|c| c.stage.balanced()));
        for (name, sensor) in [("flow", flow), ("weather", weather)] {
            let sent = sensor.edge(Direction::Out, name).unwrap();
            let received = aggregator.edge(Direction::In, name).unwrap();
            assert_eq!(
                (sent.readings, sent.lost),
                (received.readings, received.lost)
            );
            assert_eq!((sent.bytes, sent.packs), (received.bytes, received.packs));
        }
    }
}

#[test]
fn at_a_given_rate_each_row_is_sent_at_once() {
    let (records, [flow, weather, _], _) = demo("16K", "rate=1000");
    check(&records, &expected());
    assert_eq!(flow.edge(Direction::Out, "flow").unwrap().packs, 1_268);
    assert_eq!(
        weather.edge(Direction::Out, "weather").unwrap().packs,
        8_759
    );
}

#[test]
fn a_source_that_is_ahead_fills_its_packs() {
    let (_, [flow, ..], _) = demo("16K", "rate=max");
    let sent = flow.edge(Direction::Out, "flow").unwrap();
    // All but the last are full: a quarter of the ring, less what is too short for a reading.
    assert!(sent.packs - 1 <= sent.bytes / 4_000, "{sent:?}");
    assert!(sent.bytes < 25 * sent.readings, "{sent:?}");
}

#[test]
fn results_on_the_console_are_lines_of_json() {
    let network = Network::new();
    let (sensor, aggregator) = (MemoryHost::new(&network), MemoryHost::new(&network));
    aggregator.console_is_read.set(true);
    let (a, b) = network
        .block_on(futures_util::future::join(
            stage::<Sensor>(&sensor, "out.flow=1 name.1=water-flow unit.1=l/s", WATER),
            stage::<Aggregator>(&aggregator, "in.flow=2 results=console", b""),
        ))
        .unwrap();
    assert_eq!(
        (a.unwrap().stage.out, b.unwrap().stage.out),
        (1_268, 7 * 58)
    );
    let lines = aggregator.console.borrow();
    assert_eq!(lines.len(), 58);
    assert!(lines[0].starts_with(
        "[{\"bn\":\"water-flow:\",\"bt\":1647734400,\"n\":\"count\",\"u\":\"count\",\"v\":14},{\"n\":\"mean\",\"u\":\"l/s\","
    ), "{}", lines[0]);
}

#[test]
fn a_bad_start_names_the_key() {
    let network = Network::new();
    let host = MemoryHost::new(&network);
    let fails = |command: &str, module: &'static [u8]| {
        let outcome = network
            .block_on(stage::<Sensor>(&host, command, module))
            .unwrap();
        outcome.unwrap_err().to_string()
    };
    let csv = b"time,a\n2026-01-01,1\n";
    for (command, module, key) in [
        ("out.a=1 rat=1", &csv[..], "rat: unknown"),
        ("out.a=1 rate=0", csv, "rate:"),
        ("out.a=1 rate=2 speed=2", csv, "rate:"),
        ("out.a=1 name.2=x", csv, "name.2:"),
        ("out.a=1 unit.a=furlong", csv, "unit.a:"),
        ("out.a=1 time=when", csv, "time:"),
        ("out.a=1", b"", "module: empty"),
        ("out.a=1", b"x,y\n1,2\n3,4\n", "no time column"),
        ("out.a=1", b"time,a\n", "data.csv"),
        (
            "out.a=1",
            b"time,a\n2026-01-01,x\n2026-01-02,\"\n",
            "none of its 2 rows can be used; line 2",
        ),
        ("rate=max", csv, "out.EDGE"),
        ("out.A=1", csv, "out.A:"),
        ("out.a=1 count=1,5", csv, "count:"),
    ] {
        let message = fails(command, module);
        assert!(message.contains(key), "{command}: {message}");
        assert!(!message.contains('\n'));
    }
}

#[test]
fn bad_rows_are_skipped_and_counted() {
    let rows = "time,a,b\n2026-01-01T00:00:00,1,2\n2026-01-01T01:00:00,x,2\nnever,1,2\n\
                2026-01-01T02:00:00,3\n2026-01-01T03:00:00,\"4\n2026-01-01T04:00:00,,NaN\n";
    let module: &'static [u8] = Box::leak(String::from(rows).into_boxed_str()).as_bytes();
    let network: Rc<Network> = Network::new();
    let host = MemoryHost::new(&network);
    let (counters, records) = network
        .block_on(futures_util::future::join(
            stage::<Sensor>(&host, "out.x=1", module),
            async { collect(network.open_input("x", 1024).await).await },
        ))
        .unwrap();
    let stage = counters.unwrap().stage;
    assert_eq!((stage.readings_in, stage.used, stage.out), (12, 3, 3));
    assert_eq!(stage.dropped(stage::DropCause::Malformed), 8);
    assert_eq!(stage.dropped(stage::DropCause::Empty), 1);
    assert_eq!(records.len(), 3);
    assert!(records[2].2.is_nan());
}
