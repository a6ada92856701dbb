mod quantiles;
mod sliding;

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::vec::Vec;

const HOUR: i64 = 3_600 * NANOS_PER_SECOND;

fn daily(lateness_hours: u64) -> Windows {
    hourly(24, 24, lateness_hours)
}

/// Windows of so many hours, so many apart; with percentiles.
fn hourly(length: u64, hop: u64, lateness: u64) -> Windows {
    let hours = |hours| Duration::from_secs(hours * 3_600);
    Windows::new(hours(length), hours(hop), hours(lateness), true).unwrap()
}

fn at(hour: i64) -> Timestamp {
    Timestamp::from_nanos(19_000 * 24 * HOUR + hour * HOUR)
}

/// All windows of the readings in the order given, and how many were late.
fn run(
    windows: &Windows,
    readings: &[(i64, Sample)],
    every: Option<Duration>,
) -> (Vec<Summary>, usize) {
    let mut series = Series::new();
    let (mut closed, mut late) = (Vec::new(), 0);
    for (hour, sample) in readings {
        late += usize::from(series.add(windows, at(*hour), *sample).is_err());
        closed.extend(core::iter::from_fn(|| series.close_next(windows, every)));
    }
    closed.extend(core::iter::from_fn(|| series.close_first(windows, every)));
    (closed, late)
}

fn values(hours: impl IntoIterator<Item = i64>) -> Vec<(i64, Sample)> {
    hours
        .into_iter()
        .map(|hour| (hour, Sample::Value(hour as f64)))
        .collect()
}

#[test]
fn windows_are_aligned_to_midnight() {
    let (closed, late) = run(&daily(0), &values(10..50), None);
    assert_eq!(late, 0);
    let seen: Vec<_> = closed
        .iter()
        .map(|w| (w.start, w.moments.count(), w.missing))
        .collect();
    assert_eq!(
        seen,
        [
            (at(0), 14, Some(10)),
            (at(24), 24, Some(0)),
            (at(48), 2, Some(22))
        ]
    );
}

#[test]
fn a_day_before_the_epoch_has_its_own_window() {
    let windows = daily(0);
    assert_eq!(
        windows.start_of(Timestamp::from_nanos(-1)),
        Timestamp::from_nanos(-24 * HOUR)
    );
    assert_eq!(
        windows.start_of(Timestamp::from_nanos(0)),
        Timestamp::from_nanos(0)
    );
}

#[test]
fn late_by_the_lateness_is_used_and_by_more_is_not() {
    let (closed, late) = run(&daily(3), &values([10, 7, 6, 13, 10]), None);
    assert_eq!(late, 1);
    assert_eq!(closed[0].moments.count(), 4);
    let (_, late) = run(&daily(0), &values([10, 10, 9]), None);
    assert_eq!(late, 1);
}

#[test]
fn a_window_stays_open_for_the_lateness() {
    let mut series = Series::new();
    let windows = daily(3);
    series.add(&windows, at(23), Sample::Value(1.0)).unwrap();
    series.add(&windows, at(26), Sample::Value(1.0)).unwrap();
    assert_eq!(series.close_next(&windows, None), None);
    series.add(&windows, at(23), Sample::Value(1.0)).unwrap();
    series.add(&windows, at(27), Sample::Value(1.0)).unwrap();
    assert_eq!(
        series.close_next(&windows, None).map(|w| w.moments.count()),
        Some(2)
    );
    assert_eq!(series.close_next(&windows, None), None);
}

#[test]
fn flagged_readings_are_present_and_enter_nothing() {
    let (closed, _) = run(
        &daily(0),
        &[
            (1, Sample::Value(4.0)),
            (2, Sample::Flagged),
            (24, Sample::Flagged),
        ],
        None,
    );
    assert_eq!((closed[0].flagged, closed[0].missing), (1, Some(22)));
    assert_eq!(
        (closed[0].moments.mean(), closed[0].moments.deviation()),
        (Some(4.0), Some(0.0))
    );
    assert_eq!(
        (
            closed[1].moments.count(),
            closed[1].moments.mean(),
            closed[1].missing
        ),
        (0, None, Some(23))
    );
}

#[test]
fn the_spacing_is_given_or_the_common_step() {
    let missing = |hours: &[i64], every| {
        let (closed, _) = run(&daily(0), &values(hours.iter().copied()), every);
        closed
            .iter()
            .map(|window| window.missing)
            .collect::<Vec<_>>()
    };
    assert_eq!(missing(&[5], None), [None]);
    assert_eq!(missing(&[5, 5], None), [None]);
    assert_eq!(missing(&[0, 6, 10], None), [Some(9)]);
    assert_eq!(missing(&[5, 29], None), [None, Some(0)]);
    assert_eq!(missing(&[5, 29, 30], None), [None, Some(22)]);
    assert_eq!(missing(&[0, 4, 24, 27], None), [Some(4), Some(22)]);
    assert_eq!(missing(&[5], Some(Duration::from_secs(3_600))), [Some(23)]);
    assert_eq!(
        missing(&[5], Some(Duration::from_secs(5 * 3_600))),
        [Some(3)]
    );
}

#[test]
fn windows_that_cannot_be_aligned_are_refused() {
    let new = |length, lateness| {
        let length = Duration::from_secs(length);
        Windows::new(length, length, Duration::from_secs(lateness), false).map(drop)
    };
    for length in [1, 60, 3_600, 86_400, 7 * 86_400] {
        assert_eq!(new(length, 0), Ok(()));
    }
    for length in [0, 7 * 3_600, 36 * 3_600, u64::MAX] {
        assert_eq!(new(length, 0), Err(WindowError::Length));
    }
    assert_eq!(new(60, 1_024 * 60), Ok(()));
    assert_eq!(new(60, 1_026 * 60), Err(WindowError::Lateness));
}

#[test]
fn stamps_at_the_ends_of_time_are_answered() {
    let mut series = Series::new();
    let windows = daily(1);
    for nanos in [i64::MIN, i64::MIN + 1, 0, i64::MAX - 1, i64::MAX] {
        series
            .add(&windows, Timestamp::from_nanos(nanos), Sample::Value(1.0))
            .unwrap();
        while series.close_next(&windows, None).is_some() {}
    }
    assert_eq!(
        series.add(
            &windows,
            Timestamp::from_nanos(i64::MIN),
            Sample::Value(1.0)
        ),
        Err(Late)
    );
}

#[test]
fn numbers_far_from_zero_keep_their_deviation() {
    let mut moments = Moments::new();
    (0..1_000_000).for_each(|i| moments.add(1e9 + f64::from(i % 2)));
    assert_eq!(moments.mean(), Some(1e9 + 0.5));
    assert!((moments.deviation().unwrap() - 0.5).abs() < 1e-9);
    let mut extreme = Moments::new();
    [f64::MAX, f64::MAX].iter().for_each(|v| extreme.add(*v));
    assert_eq!(extreme.mean(), Some(f64::MAX));
}

/// What a window should come to.
struct Expected {
    count: u64,
    mean: f64,
    min: f64,
    max: f64,
    deviation: f64,
    flagged: u64,
    missing: u64,
}

/// Hourly windows of a day by the straightforward way: everything kept, figures in two passes.
fn naive(readings: &[(i64, Sample)]) -> BTreeMap<i64, Expected> {
    let mut days: BTreeMap<i64, Vec<Sample>> = BTreeMap::new();
    for (hour, sample) in readings {
        days.entry(hour.div_euclid(24)).or_default().push(*sample);
    }
    let expected = |samples: Vec<Sample>| {
        let values: Vec<f64> = samples
            .iter()
            .filter_map(|sample| match sample {
                Sample::Value(value) => Some(*value),
                Sample::Flagged => None,
            })
            .collect();
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>();
        Expected {
            count: values.len() as u64,
            mean,
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            deviation: (squares / n).sqrt(),
            flagged: (samples.len() - values.len()) as u64,
            missing: 24u64.saturating_sub(samples.len() as u64),
        }
    };
    days.into_iter()
        .map(|(day, samples)| (day, expected(samples)))
        .collect()
}

proptest! {
    #[test]
    fn any_order_within_the_lateness_gives_what_two_passes_give(
        readings in prop::collection::vec((0i64..200, prop::option::weighted(0.9, -1e3f64..1e3)), 1..150),
        shuffle in prop::collection::vec(0i64..10, 150),
    ) {
        let mut readings: Vec<(i64, Sample)> = readings.into_iter()
            .map(|(hour, value)| (hour, value.map_or(Sample::Flagged, Sample::Value))).collect();
        let expected = naive(&readings);
        // Sorting by a stamp that is off by less than ten hours moves none past another by more.
        let mut keyed: Vec<_> = readings.drain(..).zip(shuffle).collect();
        keyed.sort_by_key(|((hour, _), off)| hour + off);
        let shuffled: Vec<_> = keyed.into_iter().map(|(reading, _)| reading).collect();
        let (closed, late) = run(&daily(10), &shuffled, Some(Duration::from_secs(3_600)));
        prop_assert_eq!(late, 0);
        prop_assert_eq!(closed.len(), expected.len());
        for (window, (day, expected)) in closed.iter().zip(expected) {
            prop_assert_eq!(window.start, at(day * 24));
            prop_assert_eq!(window.moments.count(), expected.count);
            prop_assert_eq!((window.flagged, window.missing), (expected.flagged, Some(expected.missing)));
            if expected.count > 0 {
                let extremes = (window.moments.min(), window.moments.max());
                prop_assert_eq!(extremes, (Some(expected.min), Some(expected.max)));
                prop_assert!((window.moments.mean().unwrap() - expected.mean).abs() < 1e-9);
                prop_assert!((window.moments.deviation().unwrap() - expected.deviation).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn the_order_of_arrival_changes_no_count(
        hours in prop::collection::vec(0i64..100, 1..40),
        seed in any::<u64>(),
    ) {
        let windows = daily(100);
        let mut shuffled = hours.clone();
        shuffled.sort_by_key(|hour| (*hour as u64 + 1).wrapping_mul(seed | 1));
        let summary = |hours: Vec<i64>| {
            let (closed, late) = run(&windows, &values(hours), None);
            let counts: Vec<_> = closed.iter().map(|w| (w.start, w.moments.count(), w.missing)).collect();
            (counts, late)
        };
        prop_assert_eq!(summary(hours), summary(shuffled));
    }
}
