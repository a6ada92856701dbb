//! What bad sensors may not do to any function.

use core::time::Duration;
use std::string::String;
use std::vec::Vec;
use std::{format, vec};

use proptest::prelude::*;
use stage::{DropCause, Next, Reading, Stage, Timestamp, Value, Verdict};

use crate::bench::{Bench, number, records};
use crate::{Actuate, Aggregator, Detect, Filter, Join, Valve};

fn at(name: &str, second: u64, value: f64) -> Reading<'_> {
    let start = number(name, value);
    Reading {
        time: start.time.checked_add(Duration::from_secs(second)).unwrap(),
        ..start
    }
}

type Records = Vec<(String, Timestamp, Value<'static>)>;

/// What a function emits for these values of one series, a second apart, and what became of each.
fn emits<S: Stage>(
    command: &str,
    values: impl IntoIterator<Item = (u64, f64)>,
) -> (Records, Vec<Verdict>) {
    let mut bench = Bench::<S>::new(command, 1);
    let verdicts = values
        .into_iter()
        .map(|(second, value)| bench.reading(&at("s", second, value)))
        .collect();
    bench.finish();
    (records(&mut bench.out), verdicts)
}

/// The records of a function are the same with what it must refuse between the readings as without; and it says what it refused.
fn is_not_poisoned<S: Stage>(
    command: &str,
    values: &[(u64, f64)],
    range: core::ops::RangeInclusive<f64>,
) {
    let is_good = |value: f64| range.contains(&value);
    let (all, verdicts) = emits::<S>(command, values.iter().copied());
    for ((_, value), verdict) in values.iter().zip(verdicts) {
        let expected = match value {
            value if !value.is_finite() => Verdict::Dropped(DropCause::NotFinite),
            value if !is_good(*value) => Verdict::Dropped(DropCause::OutOfRange),
            _ => Verdict::Used,
        };
        assert_eq!(verdict, expected, "{}: {value}", S::NAME);
    }
    for (name, _, value) in &all {
        assert!(
            !matches!(value, Value::Number(value) if !value.is_finite()),
            "{} emits {value:?} as {name}",
            S::NAME
        );
    }
    let good = values.iter().copied().filter(|(_, value)| is_good(*value));
    assert_eq!(all, emits::<S>(command, good).0, "{}", S::NAME);
}

const ANY: core::ops::RangeInclusive<f64> = f64::MIN..=f64::MAX;

/// Every way in which a float can be, and some that a good sensor gives.
fn float() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<u32>().prop_map(|bits| f64::from(f32::from_bits(bits))),
        (-40.0..60.0f64),
        prop::sample::select(vec![
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            -0.0,
            1e-42,
            85.0
        ]),
    ]
}

proptest! {
    /// S2: NaN, infinities and what is out of range leave no trace in any state, whatever the bits; the functions go on.
    #[test]
    fn s2_no_bits_of_a_float_poison_a_state(values in prop::collection::vec(float(), 1..120)) {
        let values: Vec<(u64, f64)> = (0..).zip(values).collect();
        is_not_poisoned::<Filter>("median=5 mean=4", &values, ANY);
        is_not_poisoned::<Filter>("median=3 dead-band=0.5 min.s=-50 max.s=80", &values, -50.0..=80.0);
        is_not_poisoned::<Detect>("sigmas=3 warm-up=5 emit=all stuck=4", &values, ANY);
        is_not_poisoned::<Valve>("", &values, ANY);
        is_not_poisoned::<Join>("lead=s with=t", &values, ANY);
    }

    /// S2: in a window they are flagged, and the figures are those of the rest.
    #[test]
    fn s2_what_is_flagged_enters_no_figure(values in prop::collection::vec(float(), 1..120)) {
        let values: Vec<(u64, f64)> = (0..).zip(values).collect();
        let command = "window=1m hop=20s every=1s percentiles=0,50,100 min.s=-50 max.s=80";
        let is_good = |value: f64| (-50.0..=80.0).contains(&value);
        let figures = |records: Records| -> Records {
            // A window of flagged readings alone has no figure, and without them is none.
            let is_beside = |(name, _, value): &(String, Timestamp, Value<'_>)| {
                let is_empty = name.ends_with("count") && *value == Value::Number(0.0);
                is_empty || name.ends_with("flagged") || name.ends_with("missing")
            };
            records.into_iter().filter(|record| !is_beside(record)).collect()
        };
        let flagged: f64 = emits::<Aggregator>(command, values.iter().copied()).0.iter()
            .filter(|(name, ..)| name.ends_with("flagged"))
            .map(|(_, _, value)| match value { Value::Number(value) => *value, _ => f64::NAN }).sum();
        // Each lies in three windows.
        let bad = values.iter().filter(|(_, value)| !is_good(*value)).count();
        prop_assert_eq!(flagged, 3.0 * bad as f64);
        let good = values.iter().copied().filter(|(_, value)| is_good(*value));
        prop_assert_eq!(
            figures(emits::<Aggregator>(command, values.iter().copied()).0),
            figures(emits::<Aggregator>(command, good).0)
        );
    }

    /// S3: readings in any order within the lateness, with gaps, give the same windows, in the order of time; none is told twice.
    #[test]
    fn s3_any_order_within_the_lateness_gives_the_same_windows_in_order(
        seconds in prop::collection::btree_set(0u64..300, 1..80), shuffle in prop::collection::vec(0u64..30, 80), hop in prop::sample::select(vec![20, 30, 60]),
    ) {
        let command = format!("window=1m hop={hop}s lateness=30s every=1s percentiles=90");
        let ordered: Vec<(u64, f64)> = seconds.iter().map(|second| (*second, *second as f64)).collect();
        let mut keyed: Vec<_> = ordered.iter().zip(shuffle).collect();
        keyed.sort_by_key(|((second, _), off)| second + off);
        let (told, verdicts) = emits::<Aggregator>(&command, keyed.into_iter().map(|(reading, _)| *reading));
        prop_assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Used));
        // The running mean behind the deviation depends on the order in its last bits.
        let exact = |records: Records| -> Records { records.into_iter().filter(|(name, ..)| !name.ends_with("stddev_pop")).collect() };
        let told = exact(told);
        prop_assert_eq!(&told, &exact(emits::<Aggregator>(&command, ordered).0));
        let means: Vec<_> = told.iter().filter(|(name, ..)| name == "s:count").map(|(_, time, _)| *time).collect();
        prop_assert!(means.windows(2).all(|pair| pair[0] < pair[1]));
    }

    /// S3: what is too late, or goes back, is dropped as late and changes nothing that was told.
    #[test]
    fn s3_alerts_that_come_late_or_twice_command_nothing(seconds in prop::collection::vec(0u64..50, 1..60)) {
        let mut bench = Bench::<Actuate>::new("", 1);
        let (mut latest, mut expected) = (0, Vec::new());
        for (place, second) in seconds.into_iter().enumerate() {
            let raised = place % 3 == 0;
            let alert = Reading { value: Value::Boolean(raised), ..at("s:alert", second, 0.0) };
            let verdict = bench.reading(&alert);
            prop_assert_eq!(verdict == Verdict::Used, second >= latest);
            prop_assert_eq!(bench.reading(&alert), verdict, "the same again");
            if second >= latest {
                latest = second;
                if expected.last().unwrap_or(&true) == &raised {
                    expected.push(!raised);
                }
            }
        }
        let told: Vec<bool> = records(&mut bench.out).into_iter().map(|(_, _, value)| value == Value::Boolean(true)).collect();
        prop_assert_eq!(told, expected);
    }
}

/// S1: a series that is silent among others is told within two of its periods, once, and so is its return; its last value is not
/// told again.
#[test]
fn s1_a_silent_series_is_told_within_two_periods_and_once() {
    let mut bench = Bench::<Detect>::new("stale=1200ms emit=all", 1);
    let mut told = Vec::new();
    let mut next = Duration::ZERO;
    // Tenths of seconds: both read once a second, until one of them stops after ten and comes back after thirty.
    for tenth in 0..400u64 {
        let now = Duration::from_millis(100 * tenth);
        if tenth % 10 == 0 {
            let second = tenth / 10;
            assert_eq!(bench.reading(&at("a", second, 1.0)), Verdict::Used);
            if !(10..30).contains(&second) {
                assert_eq!(bench.reading(&at("b", second, 2.0)), Verdict::Used);
            }
        }
        if now >= next {
            match bench.poll(now) {
                Next::At(time) => next = time,
                other => panic!("{other:?}"),
            }
        }
        told.extend(
            records(&mut bench.out)
                .into_iter()
                .map(|record| (tenth, record)),
        );
    }
    let stale: Vec<_> = told
        .iter()
        .filter(|(_, (name, ..))| name.ends_with(":stale"))
        .collect();
    let (first, (name, time, value)) = stale[0];
    assert_eq!((name.as_str(), value), ("b:stale", &Value::Boolean(true)));
    // Its last reading was that of the ninth second.
    assert!((90 + 12..=90 + 20).contains(first), "{first}");
    assert_eq!(
        *time,
        at("b", 9, 0.0)
            .time
            .checked_add(Duration::from_millis(1200))
            .unwrap()
    );
    let (back, (name, time, value)) = stale[1];
    assert_eq!(
        (name.as_str(), value, back),
        ("b:stale", &Value::Boolean(false), &300)
    );
    assert_eq!(*time, at("b", 30, 0.0).time);
    assert_eq!(stale.len(), 2);
    let of_b = told.iter().filter(|(_, (name, ..))| name == "b").count();
    assert_eq!(of_b, 20);
}

/// S2: a value that does not move is an alert, and one that does ends it.
#[test]
fn s2_a_sensor_that_is_stuck_is_told_once() {
    let values = [1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 3.0, 3.0];
    let (told, _) = emits::<Detect>("stuck=3", (0..).zip(values));
    let told: Vec<_> = told
        .into_iter()
        .map(|(_, time, value)| (time.saturating_since(at("s", 0, 0.0).time).as_secs(), value))
        .collect();
    assert_eq!(
        told,
        [(3, Value::Boolean(true)), (6, Value::Boolean(false))]
    );
}

/// S5: a series that changes its unit, or what its values are, is refused for it, and counted; what agrees goes on.
#[test]
fn s5_a_series_of_another_unit_or_type_is_refused_and_counted() {
    fn refuses<S: Stage>(command: &str) {
        let mut bench = Bench::<S>::new(command, 1);
        let metres = at("s", 0, 1.0).in_unit("m");
        assert_eq!(bench.reading(&metres), Verdict::Used);
        for other in [
            at("s", 1, 1.0).in_unit("Cel"),
            at("s", 1, 1.0),
            Reading {
                value: Value::Text("1"),
                ..at("s", 1, 0.0)
            },
            Reading {
                value: Value::Data(b"1"),
                ..at("s", 1, 0.0)
            },
        ] {
            assert_eq!(
                bench.reading(&other),
                Verdict::Dropped(DropCause::WrongType),
                "{}: {other:?}",
                S::NAME
            );
        }
        assert_eq!(bench.reading(&at("s", 1, 2.0).in_unit("m")), Verdict::Used);
    }
    refuses::<Aggregator>("");
    refuses::<Join>("lead=s with=t");
}
