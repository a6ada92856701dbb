use super::*;
use proptest::prelude::*;
use stage::senml::{Item, StreamDecoder};
use stage::{Direction, DropCause, Params, Plan, Value};
use std::boxed::Box;
use std::format;
use std::string::{String, ToString};
use std::vec;
use std::vec::Vec;

fn leak(text: &str) -> &'static [u8] {
    Box::leak(text.to_string().into_boxed_str()).as_bytes()
}

fn sensor(command: &str, csv: &str) -> Result<Sensor, String> {
    let command = format!("out.x=1 {command}");
    let plan = Plan::new::<Sensor>(command.as_bytes(), leak(csv)).map_err(|e| e.to_string())?;
    assert_eq!(plan.params.edges(Direction::Out).unwrap().len(), 1);
    plan.build::<Sensor>().map_err(|e| e.to_string())
}

/// Polls at the times that the sensor asks for, 10,000 times at most: when each reading was emitted,
/// and what.
fn play(command: &str, csv: &str) -> Vec<(Duration, String, i64, f64, String)> {
    let mut sensor = sensor(command, csv).unwrap();
    let mut emitted = Vec::new();
    let mut now = Duration::from_secs(7);
    for _ in 0..10_000 {
        // One pack for each poll, so that what is emitted can be told apart.
        let mut out = Outputs::new([60_000]);
        let next = sensor.poll(now, &mut out);
        emitted.extend(
            readings(&mut out)
                .into_iter()
                .map(|(name, nanos, value, unit)| {
                    (now - Duration::from_secs(7), name, nanos, value, unit)
                }),
        );
        match next {
            Next::Now => {}
            Next::At(time) => now = now.max(time),
            Next::Idle | Next::Done => return emitted,
        }
    }
    emitted
}

/// What has been emitted, taken through the wire.
fn readings(out: &mut Outputs) -> Vec<(String, i64, f64, String)> {
    let (mut bytes, mut sealed) = (Vec::new(), Vec::new());
    out.queue_mut(0).unwrap().take(&mut bytes, &mut sealed);
    let mut decoder = StreamDecoder::new();
    decoder.space(bytes.len()).unwrap()[..bytes.len()].copy_from_slice(&bytes);
    decoder.filled(bytes.len());
    let mut all = Vec::new();
    while let Item::Pack(pack) = decoder.next_item().unwrap() {
        let mut readings = pack.readings(Default::default()).unwrap();
        while let Some(reading) = readings.next_reading().unwrap() {
            let Value::Number(value) = reading.value else {
                panic!("{reading:?}")
            };
            all.push((
                reading.name.into(),
                reading.time.nanos(),
                value,
                reading.unit.into(),
            ));
        }
    }
    all
}

fn names(command: &str, header: &str) -> Vec<String> {
    let csv = format!("{header}\n2026-01-01,1,2\n");
    play(command, &csv)
        .into_iter()
        .map(|(_, name, ..)| name)
        .collect()
}

#[test]
fn columns_have_the_names_given_or_those_of_the_header() {
    assert_eq!(names("", "time,a,b"), ["a", "b"]);
    assert_eq!(
        names("", "time,Water flow [l/s],Ü"),
        ["Water_flow_l_s", "value-2"]
    );
    assert_eq!(names("name.2=y name.a=x", "time,a,b"), ["x", "y"]);
    assert_eq!(names("name.2=x", "time,2,b"), ["2", "x"]);
    assert_eq!(names("", "\u{feff}\"time\",\"a,b\",c"), ["a_b", "c"]);
}

#[test]
fn the_time_column_may_stand_anywhere() {
    let seen = |command: &str, csv: &str| {
        let seen = play(command, csv).into_iter();
        seen.map(|(_, name, nanos, value, _)| (name, nanos / 1_000_000_000, value))
            .collect::<Vec<_>>()
    };
    let new_year = 1_767_225_600;
    let expected = vec![("a".into(), new_year, 5.0)];
    assert_eq!(seen("", "a,when\n5,2026-01-01"), expected);
    assert_eq!(seen("time=when", "a,when\n5,2026-01-01"), expected);
    assert_eq!(
        seen("", "5,2026-01-01T00:00:00"),
        vec![("value-1".into(), new_year, 5.0)]
    );
    assert_eq!(seen("", "a,when\nx,never\n5,2026-01-01"), expected);
}

#[test]
fn units_are_given_and_checked() {
    let seen = play("unit.1=Cel", "time,a,b\n2026-01-01,1,2");
    assert_eq!(
        seen.into_iter().map(|r| r.4).collect::<Vec<_>>(),
        ["Cel", ""]
    );
}

#[test]
fn wrong_columns_name_their_key() {
    let csv = "time,a,b\n2026-01-01,1,2";
    for (command, key) in [
        (
            "name.3=x",
            "name.3: \"3\" is not the header of a value column or its number, 1 to 2 (a, b)",
        ),
        ("name.0=x", "name.0:"),
        ("name.time=x", "name.time:"),
        ("name.1=\"a b\"", "name.1: \"a b\" is not a SenML name"),
        ("name.1=x name.a=y", "name.a: given twice"),
        ("name.1=b", "name.2: \"b\" is not free"),
        ("unit.1=C unit.a=K", "unit.a: given twice"),
        ("speed=0", "speed:"),
        ("rate=fast", "rate: \"fast\" is not max or a number above 0"),
        (
            "signal=sine",
            "signal: \"sine\" is not possible together with data.csv",
        ),
    ] {
        let error = sensor(command, csv).unwrap_err();
        assert!(error.starts_with(key), "{command}: {error}");
    }
    for (command, key) in [
        ("signal=sine name.2=x", "name.2:"),
        ("signal=sine unit.1=x", "unit.1:"),
        ("signal=sine period=0", "period:"),
    ] {
        let error = sensor(command, "").unwrap_err();
        assert!(error.starts_with(key), "{command}: {error}");
    }
}

#[test]
fn a_rate_counts_readings_and_speed_follows_the_stamps() {
    let csv = "time,a,b\n2026-01-01T00:00:00,1,2\n2026-01-01T01:00:00,3,4\n2026-01-01T03:00:00,5,6";
    let times = |command| {
        play(command, csv)
            .iter()
            .map(|r| r.0.as_millis())
            .collect::<Vec<_>>()
    };
    assert_eq!(times("rate=10"), [0, 0, 200, 200, 400, 400]);
    assert_eq!(times("speed=3600"), [0, 0, 1000, 1000, 3000, 3000]);
    assert_eq!(times("rate=max"), [0; 6]);
}

#[test]
fn a_pace_survives_stamps_that_go_back_and_numbers_that_are_extreme() {
    let csv = "time,a\n2026-01-01T03:00:00,1\n2026-01-01T01:00:00,3";
    assert_eq!(play("speed=1", csv).len(), 2);
    let params = Params::parse("speed=1e-300", Sensor::PARAMETERS).unwrap();
    let mut pace = pace::Pace::new(&params).unwrap();
    let stamp = |seconds| stage::Timestamp::from_seconds(seconds).unwrap();
    assert_eq!(pace.due(Duration::ZERO, stamp(1)), Duration::ZERO);
    assert_eq!(
        pace.due(Duration::ZERO, stamp(2)),
        Duration::from_secs(1 << 32)
    );
}

#[test]
fn cells_that_are_empty_or_wrong_are_counted() {
    let csv = "time,a,b\n2026-01-01,,2\n2026-01-02,inf,-0\n2026-01-03,1,2,3\n2026-01-04,1\n2026-01-05,0x1,2\n1977-01-01,1,2";
    let mut sensor = sensor("", csv).unwrap();
    let mut out = Outputs::new([4096]);
    while sensor.poll(Duration::ZERO, &mut out) == Next::Now {}
    let counters = out.counters().clone();
    assert_eq!(
        (counters.readings_in, counters.used, counters.out),
        (12, 3, 3)
    );
    let dropped = [
        DropCause::Empty,
        DropCause::Malformed,
        DropCause::Unsendable,
    ];
    assert_eq!(dropped.map(|cause| counters.dropped(cause)), [1, 6, 2]);
    let values: Vec<u64> = readings(&mut out).iter().map(|r| r.2.to_bits()).collect();
    assert_eq!(values, [2.0, f64::INFINITY, -0.0].map(f64::to_bits));
}

#[test]
fn signals_have_their_shape() {
    let values = |command: &str| play(command, "").iter().map(|r| r.3).collect::<Vec<_>>();
    let sine = values("signal=sine count=5 every=15s amplitude=2 offset=10 period=60s");
    for (value, expected) in sine.iter().zip([10.0, 12.0, 10.0, 8.0, 10.0]) {
        assert!((value - expected).abs() < 1e-9, "{sine:?}");
    }
    let noise = values("signal=noise count=1000 amplitude=3 offset=-1");
    assert!(noise.iter().all(|v| (-4.0..=2.0).contains(v)));
    let mean = noise.iter().sum::<f64>() / 1000.0;
    assert!((mean + 1.0).abs() < 0.3, "{mean}");
    let walk = values("signal=walk count=1000 amplitude=0.5 offset=20");
    assert_eq!(walk[0], 20.0);
    assert!(
        walk.windows(2)
            .all(|pair| (pair[1] - pair[0]).abs() <= 0.5 && pair[0] != pair[1])
    );
}

#[test]
fn a_seed_gives_one_signal() {
    let values = |seed| play(&format!("signal=walk seed={seed} count=50"), "");
    assert_eq!(values(5), values(5));
    assert_ne!(values(5), values(6));
    // The first numbers of SplitMix64 from 1234567, by its authors' program, taken to -1..1.
    let numbers = [6_457_827_717_110_365_317u64, 3_203_168_211_198_807_973];
    let expected = numbers.map(|n| (n >> 11) as f64 / 2f64.powi(52) - 1.0);
    let noise: Vec<f64> = play("signal=noise seed=1234567 count=2", "")
        .iter()
        .map(|r| r.3)
        .collect();
    assert_eq!(noise, expected);
}

#[test]
fn a_signal_has_its_stamps_name_and_unit() {
    let seen = play(
        "signal=sine count=3 every=500ms start=2026-01-01 name.1=level unit.1=m rate=2",
        "",
    );
    let start = 1_767_225_600_000_000_000;
    let expected = [0, 1, 2].map(|n| {
        (
            Duration::from_millis(500 * n),
            "level",
            start + 500_000_000 * n as i64,
            "m",
        )
    });
    let seen: Vec<_> = seen
        .iter()
        .map(|(now, name, nanos, _, unit)| (*now, name.as_str(), *nanos, unit.as_str()))
        .collect();
    assert_eq!(seen, expected);
}

#[test]
fn a_signal_without_end_ends_with_time_itself() {
    assert_eq!(play("signal=noise count=0", "").len(), 10_000);
    let end = play("signal=noise count=0 every=40000d", "");
    assert_eq!(end.len(), 3);
}

proptest! {
    #[test]
    fn any_file_is_answered(csv in "([a-c0-9,\"\n -]|2026-01-0[1-9]){0,80}") {
        if let Ok(mut sensor) = sensor("", &csv) {
            let mut out = Outputs::new([4096]);
            while sensor.poll(Duration::ZERO, &mut out) == Next::Now {}
            prop_assert!(out.counters().balanced());
            prop_assert_eq!(out.counters().used, out.counters().out);
        }
    }
}
