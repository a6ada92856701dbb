use super::*;
use crate::bench::{Bench, number, records};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::format;

/// A reading so many milliseconds into 2026.
fn at(name: &str, millis: i64, value: f64) -> Reading<'_> {
    let start = number(name, value);
    Reading {
        time: Timestamp::from_nanos(start.time.nanos() + millis * 1_000_000),
        ..start
    }
}

/// What comes out of these readings: milliseconds, name and value.
fn joined(bench: &mut Bench<Join>) -> Vec<(i64, String, f64)> {
    let start = number("", 0.0).time.nanos();
    records(&mut bench.out)
        .into_iter()
        .map(|(name, time, value)| {
            let Value::Number(value) = value else {
                panic!("{value:?}")
            };
            ((time.nanos() - start) / 1_000_000, name, value)
        })
        .collect()
}

/// The same with a series a second, `x` leading; milliseconds, and the values of `x` and `y`.
fn pairs(command: &str, given: &[(&str, i64, f64)]) -> (Vec<(i64, f64, f64)>, String) {
    let mut bench = Bench::<Join>::new(&format!("lead=x with=y {command}"), 1);
    for (name, millis, value) in given {
        let _ = bench.reading(&at(name, *millis, *value));
    }
    bench.finish();
    let own = bench.own();
    let all = joined(&mut bench);
    let rows = all.chunks(2).map(|row| {
        assert_eq!((row[0].1.as_str(), row[1].1.as_str()), ("x", "y"));
        assert_eq!(row[0].0, row[1].0);
        (row[0].0, row[0].2, row[1].2)
    });
    (rows.collect(), own)
}

#[test]
fn the_nearest_is_joined_or_the_last_before() {
    let given = [
        ("y", 0, 10.0),
        ("x", 400, 1.0),
        ("y", 1_000, 11.0),
        ("x", 1_600, 2.0),
        ("y", 2_000, 12.0),
        ("x", 2_000, 3.0),
    ];
    let (nearest, own) = pairs("", &given);
    assert_eq!(
        nearest,
        [(400, 1.0, 10.0), (1_600, 2.0, 12.0), (2_000, 3.0, 12.0)]
    );
    assert_eq!(own, "joined=3 unmatched=0");
    let (last, _) = pairs("match=last", &given);
    assert_eq!(
        last,
        [(400, 1.0, 10.0), (1_600, 2.0, 11.0), (2_000, 3.0, 12.0)]
    );
}

#[test]
fn what_is_too_far_is_not_joined_and_is_counted() {
    let given = [
        ("x", 0, 1.0),
        ("y", 1_001, 10.0),
        ("x", 2_000, 2.0),
        ("x", 2_002, 3.0),
    ];
    let (rows, own) = pairs("", &given);
    assert_eq!(
        (rows, own.as_str()),
        (alloc::vec![(2_000, 2.0, 10.0)], "joined=1 unmatched=2")
    );
}

#[test]
fn a_row_comes_as_soon_as_nothing_can_change_it() {
    let mut bench = Bench::<Join>::new("lead=x with=y,z", 1);
    let mut rows = |name, millis| {
        let _ = bench.reading(&at(name, millis, 0.0));
        joined(&mut bench).len() / 3
    };
    assert_eq!([rows("x", 1_000), rows("y", 1_000)], [0, 0]);
    // Nearer than 300 ms something may come, until it is known that nothing does.
    assert_eq!([rows("z", 700), rows("z", 1_200)], [0, 1]);
    assert_eq!(
        [rows("x", 2_000), rows("z", 2_000), rows("y", 2_000)],
        [0, 0, 1]
    );
}

#[test]
fn units_and_names_are_kept_and_strangers_are_told_apart() {
    let mut bench = Bench::<Join>::new("lead=x with=y", 1);
    let dropped = Verdict::Dropped;
    assert_eq!(bench.reading(&at("x", 0, 1.0).in_unit("m")), Verdict::Used);
    assert_eq!(
        bench.reading(&at("x", 5, 1.0)),
        dropped(DropCause::WrongType)
    );
    assert_eq!(
        bench.reading(&at("w", 0, 1.0)),
        dropped(DropCause::TooManySeries)
    );
    assert_eq!(
        bench.reading(&at("y", 0, f64::NAN)),
        dropped(DropCause::NotFinite)
    );
    let ancient = Reading {
        time: Timestamp::from_nanos(5),
        ..at("y", 0, 1.0)
    };
    assert_eq!(bench.reading(&ancient), dropped(DropCause::Unsendable));
    let text = Reading {
        value: Value::Text("1"),
        ..at("y", 0, 1.0)
    };
    assert_eq!(bench.reading(&text), dropped(DropCause::WrongType));
    assert_eq!(bench.reading(&at("y", 0, 2.0).in_unit("Pa")), Verdict::Used);
    assert_eq!(joined(&mut bench).len(), 2);
}

#[test]
fn a_series_that_is_dead_holds_no_more_than_is_kept() {
    let mut bench = Bench::<Join>::new("lead=x with=y keep=8", 1);
    for n in 0..1_000 {
        let _ = bench.reading(&at("x", n * 1_000, 0.0));
    }
    assert_eq!(bench.own(), "joined=0 unmatched=992");
    // It comes back, and is joined from then on, with the last reading before it too: that is no farther than a second.
    for n in 1_000..1_010 {
        let _ = bench.reading(&at("y", n * 1_000, 0.0));
        let _ = bench.reading(&at("x", n * 1_000, 0.0));
    }
    assert_eq!(bench.own(), "joined=11 unmatched=999");
    let mut others = Bench::<Join>::new("lead=x with=y keep=8", 1);
    for n in 0..1_000 {
        assert_eq!(others.reading(&at("y", n * 1_000, 0.0)), Verdict::Used);
    }
    let _ = others.reading(&at("x", 990_000, 0.0));
    let _ = others.reading(&at("x", 992_000, 0.0));
    assert_eq!(others.own(), "joined=1 unmatched=1");
}

/// S4: two clocks that drift apart are joined while they agree as far as is asked for, and refused when they do not; none of it
/// holds up the other.
#[test]
fn s4_clocks_that_drift_apart_are_refused_beyond_the_bound() {
    let mut bench = Bench::<Join>::new("lead=x with=y skew=1500ms tolerance=600ms", 1);
    let mut refused = 0;
    // A second a reading; the clock of y is 500 ppm fast: 600 ms after 1,200 s, 1,500 ms after 3,000.
    for second in 0..4_000 {
        assert_eq!(bench.reading(&at("x", second * 1_000, 0.0)), Verdict::Used);
        match bench.reading(&at("y", second * 1_000 + second / 2, 0.0)) {
            Verdict::Used => assert!(second <= 3_001, "{second}"),
            Verdict::Dropped(cause) => {
                assert!(cause == DropCause::Skewed && second > 3_000, "{second}");
                refused += 1;
            }
        }
    }
    // From 3,002 s on.
    assert_eq!(refused, 998);
    bench.finish();
    for (time, name, _) in joined(&mut bench) {
        assert!(time <= 3_005_000, "{name} at {time} was joined");
    }
    // As slow as the other was fast.
    let mut slow = Bench::<Join>::new("lead=x with=y skew=1s tolerance=1s", 1);
    let mut last_joined = String::new();
    for second in 0..4_000 {
        let _ = slow.reading(&at("x", second * 1_000, 0.0));
        let verdict = slow.reading(&at("y", second * 1_000 - second / 2, 0.0));
        assert_eq!(verdict == Verdict::Used, second <= 2_001, "{second}");
        if second == 2_100 {
            last_joined = slow.own().split(' ').next().unwrap().into();
        }
    }
    assert!(slow.own().starts_with(&last_joined), "{}", slow.own());
}

/// S4: a clock that goes back is late until it is where it was, and one that jumps does not take the others with it.
#[test]
fn s4_time_that_goes_back_is_late_and_a_jump_is_refused() {
    let mut bench = Bench::<Join>::new("lead=x with=y skew=10s", 1);
    for second in 0..20 {
        let _ = bench.reading(&at("x", second * 1_000, 0.0));
        let _ = bench.reading(&at("y", second * 1_000, 0.0));
    }
    for name in ["x", "y"] {
        let back = bench.reading(&at(name, 15_000, 0.0));
        assert_eq!(back, Verdict::Dropped(DropCause::Late));
    }
    let year = 365 * 86_400_000;
    let jump = bench.reading(&at("y", year, 0.0));
    assert_eq!(jump, Verdict::Dropped(DropCause::Skewed));
    for second in 20..30 {
        assert_eq!(bench.reading(&at("x", second * 1_000, 0.0)), Verdict::Used);
        assert_eq!(bench.reading(&at("y", second * 1_000, 0.0)), Verdict::Used);
    }
    bench.finish();
    assert_eq!(bench.own(), "joined=30 unmatched=0");
}

#[test]
fn what_comes_after_its_place_is_decided_is_late() {
    let mut bench = Bench::<Join>::new("lead=x with=y keep=1 lateness=1h", 1);
    let mut lead = |second: i64| bench.reading(&at("x", second * 1_000, 0.0));
    // The second lets the first no longer wait.
    assert_eq!([lead(10), lead(20)], [Verdict::Used; 2]);
    assert_eq!(lead(5), Verdict::Dropped(DropCause::Late));
    assert_eq!(lead(15), Verdict::Used);
}

#[test]
fn wrong_parameters_name_their_key() {
    for (command, key) in [
        ("with=y", "lead: missing"),
        ("lead=x", "with: missing"),
        ("lead=x,z with=y", "lead:"),
        ("lead=x with=x", "with:"),
        ("lead=x with=y,", "with:"),
        ("lead=+ with=y", "lead:"),
        ("lead=x with=a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q", "with:"),
        ("lead=x with=y keep=0", "keep:"),
        ("lead=x with=y keep=65537", "keep:"),
        ("lead=x with=y match=first", "match:"),
        ("lead=x with=y tolerance=1", "tolerance:"),
    ] {
        let error = Bench::<Join>::refused(command);
        assert!(error.starts_with(key), "{command}: {error}");
    }
}

/// What each reading of `x` goes with, all readings being known.
fn naive(
    given: &BTreeMap<(bool, i64), f64>,
    takes_last: bool,
    tolerance: i64,
) -> Vec<(i64, f64, f64)> {
    let of = |leads: bool| given.iter().filter(move |((lead, _), _)| *lead == leads);
    of(true)
        .filter_map(|((_, time), value)| {
            let near = of(false)
                .filter(|((_, other), _)| !takes_last || other <= time)
                .min_by_key(|((_, other), _)| ((other - time).abs(), *other))?;
            ((near.0.1 - time).abs() <= tolerance).then_some((*time, *value, *near.1))
        })
        .collect()
}

proptest! {
    /// S3: whatever the order within the lateness, and with readings twice, it is what all readings known at once give, in order.
    #[test]
    fn s3_no_order_of_arrival_changes_what_is_joined(
        times in prop::collection::btree_set((any::<bool>(), 0i64..120), 1..80), shuffle in prop::collection::vec(0i64..20, 80),
        twice in prop::collection::vec(prop::bool::weighted(0.2), 80), takes_last in any::<bool>(), tolerance in 0i64..30,
    ) {
        let readings: Vec<((bool, i64), f64)> = times.into_iter().enumerate().map(|(n, key)| (key, n as f64)).collect();
        let mut keyed: Vec<_> = readings.iter().zip(&shuffle).zip(&twice).collect();
        keyed.sort_by_key(|((((_, time), _), off), _)| time + *off);
        let mut given = Vec::new();
        for (((key, value), _), twice) in keyed {
            let name = if key.0 { "x" } else { "y" };
            given.push((name, key.1 * 1_000, *value));
            if *twice {
                given.push((name, key.1 * 1_000, -1.0));
            }
        }
        let how = if takes_last { "last" } else { "nearest" };
        let (rows, own) = pairs(&format!("match={how} tolerance={tolerance}s lateness=20s"), &given);
        let expected: Vec<_> = naive(&readings.iter().copied().collect(), takes_last, tolerance)
            .into_iter().map(|(time, x, y)| (time * 1_000, x, y)).collect();
        let leads = readings.iter().filter(|((leads, _), _)| *leads).count();
        prop_assert_eq!(own, format!("joined={} unmatched={}", expected.len(), leads - expected.len()));
        prop_assert_eq!(rows, expected);
    }

    /// S2: no value, whatever its bits, becomes part of what is emitted unless it is finite.
    #[test]
    fn whatever_comes_results_are_in_order_and_no_more_is_kept(
        given in prop::collection::vec((0usize..3, any::<i64>(), any::<f64>()), 0..300), near in any::<bool>(), keep in 1usize..20
    ) {
        let mut bench = Bench::<Join>::new(&format!("lead=a with=b keep={keep} tolerance=1d lateness=1h skew=7d"), 1);
        let mut last = i64::MIN;
        for (name, nanos, value) in given {
            let nanos = if near { 1_700_000_000_000_000_000 + nanos % 1_000_000_000_000_000 } else { nanos };
            let reading = Reading::number(["a", "b", "c"][name], Timestamp::from_nanos(nanos), value);
            let _ = bench.reading(&reading);
            for (_, time, value) in records(&mut bench.out) {
                prop_assert!(time.nanos() >= last);
                prop_assert!(matches!(value, Value::Number(value) if value.is_finite()));
                last = time.nanos();
            }
            prop_assert!(bench.function().tracks.iter().all(|track| track.readings.len() <= keep));
        }
    }
}
